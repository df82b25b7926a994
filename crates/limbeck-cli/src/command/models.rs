//! `limbeck models`: the zoo.

use limbeck::graph::zoo;
use limbeck::{Error, Result};

use crate::arguments::Named;
use crate::output::{Output, table};

pub(crate) fn models(options: &Named, output: &Output) -> Result<()> {
    let mut models = zoo::models();
    if let Some(name) = &options.name {
        let names: Vec<&str> = models
            .iter()
            .flat_map(|m| m.names.iter().copied().chain([m.pattern]))
            .collect();
        models.retain(|m| {
            m.pattern.starts_with(name.as_str())
                || m.names.iter().any(|n| n.starts_with(name.as_str()))
        });
        if models.is_empty() {
            return Err(Error::unknown("model", name, names));
        }
    }
    output.result(&models, || {
        if options.name.is_some() {
            return models
                .iter()
                .map(|m| {
                    format!(
                        "{}: {}\n{}\nnames: {}\ntaps: {}\nsmallest image: {}x{}\n",
                        m.pattern,
                        m.description,
                        m.paper,
                        m.names.join(", "),
                        m.taps.join(", "),
                        m.smallest,
                        m.smallest
                    )
                })
                .collect::<Vec<_>>()
                .join("\n");
        }
        let rows = models
            .iter()
            .map(|m| {
                vec![
                    m.pattern.to_owned(),
                    m.description.to_owned(),
                    m.paper.to_owned(),
                ]
            })
            .collect();
        table(&["name", "what", "paper"], rows, &[])
    })
}
