//! `limbeck datasets`: what there is, and downloads.

use limbeck::Result;
use limbeck::data::catalog;
use serde_json::json;

use crate::arguments::{Datasets, DatasetsAction};
use crate::output::{Output, table, thousands};
use crate::progress::Download;

pub(crate) fn datasets(options: &Datasets, output: &Output) -> Result<()> {
    if let Some(DatasetsAction::Get { name, out }) = &options.action {
        let progress = Download::new(name, output);
        let folder = catalog::get(name, out, &|done, total| progress.update(done, total))?;
        progress.finish();
        let value = json!({ "name": name, "path": folder });
        return output.result(&value, || format!("{name} is in {}", folder.display()));
    }
    let Some(name) = &options.name else {
        return output.result(&catalog::CATALOG, || {
            let rows = catalog::CATALOG
                .iter()
                .map(|set| {
                    vec![
                        set.name.to_owned(),
                        thousands(set.train_rows as u64),
                        thousands(set.test_rows as u64),
                        set.shape.map(|side| side.to_string()).join("x"),
                        set.classes.to_string(),
                        set.licence.to_owned(),
                        set.how_to_get(),
                    ]
                })
                .collect();
            table(
                &[
                    "name", "train", "test", "shape", "classes", "licence", "get it",
                ],
                rows,
                &[1, 2, 4],
            )
        });
    };
    let set = catalog::find(name)?;
    output.result(&set, || {
        format!(
            "{}: {}\n{} training and {} test rows of {}, {} classes\nlicence: {}\norigin: {}\n{}",
            set.name,
            set.task,
            thousands(set.train_rows as u64),
            thousands(set.test_rows as u64),
            set.shape.map(|side| side.to_string()).join("x"),
            set.classes,
            set.licence,
            set.origin,
            set.how_to_get()
        )
    })
}
