//! Which weights of a graph are trained, chosen by name.

use limbeck_graph::error::{did_you_mean, nearest};
use limbeck_graph::ir::Graph;
use serde::Serialize;

use super::Pattern;

/// Which parameters gradients train: by default all but those that the graph itself keeps.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Selection {
    /// Patterns of what is trained instead of the default.
    pub train: Option<Vec<String>>,
    /// Patterns of what is not trained in any case.
    pub freeze: Vec<String>,
}

/// A choice that leaves nothing to train, or a pattern without a meaning.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unselected {
    /// The key with the mistake: `train` or `freeze`.
    pub key: &'static str,
    /// What is wrong and what to try.
    pub reason: String,
}

impl Selection {
    /// Marks the weights of `graph` that are not trained as frozen, and the others not.
    ///
    /// # Errors
    /// With every pattern that stands for no parameter, or if no parameter is left to train. The graph is then as it was.
    pub fn apply(&self, graph: &mut Graph) -> Result<(), Vec<Unselected>> {
        let mistakes: Vec<Unselected> = [
            ("train", self.train.as_deref().unwrap_or_default()),
            ("freeze", self.freeze.as_slice()),
        ]
        .into_iter()
        .flat_map(|(key, patterns)| patterns.iter().map(move |pattern| (key, pattern)))
        .filter_map(|(key, pattern)| {
            let reason = without_meaning(graph, pattern)?;
            Some(Unselected { key, reason })
        })
        .collect();
        if !mistakes.is_empty() {
            return Err(mistakes);
        }
        let any = |patterns: &[String], name: &str| {
            patterns
                .iter()
                .any(|pattern| Pattern(pattern).matches(name))
        };
        let frozen = |name: &str, marked: bool| {
            let chosen = match &self.train {
                Some(patterns) => any(patterns, name),
                None => !marked,
            };
            !chosen || any(&self.freeze, name)
        };
        let parameters = || {
            let weights = graph.weights.iter();
            weights.filter(|(_, spec)| spec.kind.is_parameter())
        };
        if parameters().all(|(name, spec)| frozen(name, spec.frozen)) {
            let reason = match parameters().next() {
                None => "the network has no weight that could be trained".to_owned(),
                Some(_) => "leaves nothing to train; name fewer weights".to_owned(),
            };
            let key = if self.freeze.is_empty() {
                "train"
            } else {
                "freeze"
            };
            return Err(vec![Unselected { key, reason }]);
        }
        for (name, spec) in &mut graph.weights {
            if spec.kind.is_parameter() {
                spec.frozen = frozen(name, spec.frozen);
            }
        }
        Ok(())
    }
}

/// Why a pattern cannot be meant; `None` if it stands for a parameter.
fn without_meaning(graph: &Graph, pattern: &str) -> Option<String> {
    let matched = |parameter: bool| {
        graph.weights.iter().any(|(name, spec)| {
            spec.kind.is_parameter() == parameter && Pattern(pattern).matches(name)
        })
    };
    if matched(true) {
        return None;
    }
    if matched(false) {
        return Some(format!(
            "`{pattern}` stands for running statistics or constants only, which gradients never train; \
             `batch_norm = \"frozen\"` keeps the statistics"
        ));
    }
    let parameters = graph.weights.iter();
    let names = parameters
        .filter(|(_, spec)| spec.kind.is_parameter())
        .map(|(name, _)| name.as_str());
    let hint = match nearest(pattern, names.clone()) {
        near if !near.is_empty() => did_you_mean(&near),
        _ => match names.take(3).collect::<Vec<_>>() {
            some if some.is_empty() => String::new(),
            some => format!("; there are `{}`", some.join("`, `")),
        },
    };
    Some(format!(
        "`{pattern}` stands for no weight of the network{hint}"
    ))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests fail by panicking")]

    use limbeck_graph::zoo;

    use super::*;

    fn selection(train: Option<&[&str]>, freeze: &[&str]) -> Selection {
        let owned = |names: &[&str]| names.iter().map(|&name| name.to_owned()).collect();
        Selection {
            train: train.map(owned),
            freeze: owned(freeze),
        }
    }

    fn trained(selection: &Selection) -> Vec<String> {
        let mut graph = zoo::build("lenet5", [1, 28, 28], 10).unwrap();
        // A weight that the graph itself keeps.
        graph.weights.get_mut("fc1.bias").unwrap().frozen = true;
        selection.apply(&mut graph).unwrap();
        let weights = graph.weights.iter();
        let trained = weights.filter(|(_, spec)| spec.is_trained());
        trained.map(|(name, _)| name.clone()).collect()
    }

    #[test]
    fn patterns_choose_what_is_trained() {
        let all = trained(&Selection::default());
        assert!(
            !all.contains(&"fc1.bias".to_owned()) && all.len() > 4,
            "{all:?}"
        );
        assert_eq!(
            trained(&selection(Some(&["fc1.*"]), &[])),
            ["fc1.bias", "fc1.weight"]
        );
        assert_eq!(
            trained(&selection(Some(&["fc1.*"]), &["*.bias"])),
            ["fc1.weight"]
        );
        let left = trained(&selection(None, &["fc?.*"]));
        assert!(left.iter().all(|name| name.starts_with("conv")), "{left:?}");
    }

    #[test]
    fn patterns_without_a_meaning_are_named_with_near_weights() {
        let mut graph = zoo::build("resnet-8", [3, 32, 32], 10).unwrap();
        let before = graph.clone();
        let mistakes = selection(Some(&["fc.wieght"]), &["zzz*", "*.running_mean"])
            .apply(&mut graph)
            .unwrap_err();
        let keys: Vec<_> = mistakes.iter().map(|mistake| mistake.key).collect();
        assert_eq!(keys, ["train", "freeze", "freeze"]);
        assert!(mistakes[0].reason.contains("did you mean"), "{mistakes:?}");
        assert!(mistakes[0].reason.contains("`fc.weight`"), "{mistakes:?}");
        assert!(
            mistakes[1].reason.contains("stands for no weight"),
            "{mistakes:?}"
        );
        assert!(mistakes[2].reason.contains("batch_norm"), "{mistakes:?}");
        assert_eq!(graph, before);
        let nothing = selection(None, &["*"]).apply(&mut graph).unwrap_err();
        assert!(
            nothing[0].reason.contains("nothing to train"),
            "{nothing:?}"
        );
        assert_eq!(graph, before);
    }
}
