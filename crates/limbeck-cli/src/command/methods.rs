//! `limbeck methods`: what can be distilled, how, and after which paper.

use limbeck::method;
use limbeck::{Error, Result};

use crate::arguments::Named;
use crate::output::{Output, table};

pub(crate) fn methods(options: &Named, output: &Output) -> Result<()> {
    let methods = method::methods();
    let Some(name) = &options.name else {
        return output.result(&methods, || {
            let rows = methods
                .iter()
                .map(|m| {
                    vec![
                        m.name.to_owned(),
                        m.summary.to_owned(),
                        m.paper
                            .map_or_else(String::new, |p| format!("{}, {}", p.authors, p.year)),
                    ]
                })
                .collect();
            table(&["method", "what", "paper"], rows, &[])
        });
    };
    let Some(found) = methods.iter().find(|m| m.name == name) else {
        return Err(Error::unknown(
            "method",
            name,
            methods.iter().map(|m| m.name),
        ));
    };
    output.result(&found, || {
        let rows = found
            .settings
            .iter()
            .map(|s| vec![s.key.to_owned(), s.default.to_owned(), s.meaning.to_owned()])
            .collect();
        format!(
            "{}: {}\n{}\n\n{}",
            found.name,
            found.summary,
            found.paper.map_or_else(String::new, |p| format!(
                "{}: {}, {} ({})",
                p.authors, p.title, p.year, p.url
            )),
            table(&["setting", "default", "meaning"], rows, &[])
        )
    })
}
