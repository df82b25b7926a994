//! What methods there are.

use serde::Serialize;

use crate::{Error, Result};

/// One method, for lists and help.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct MethodInfo {
    /// Its name in recipes.
    pub name: &'static str,
    /// One line.
    pub summary: &'static str,
    /// Where it comes from; `None` for the baseline.
    pub paper: Option<Paper>,
    /// Its source file below `crates/limbeck/src/`.
    pub file: &'static str,
    /// The keys of its `[method]` table.
    pub settings: &'static [SettingInfo],
}

/// A citation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Paper {
    /// The authors.
    pub authors: &'static str,
    /// The title.
    pub title: &'static str,
    /// The year.
    pub year: u16,
    /// Where to read it.
    pub url: &'static str,
}

/// One key of a method's table.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct SettingInfo {
    /// The key.
    pub key: &'static str,
    /// Its value where it is left out; `unset` where leaving it out has a meaning of its own.
    pub default: &'static str,
    /// What it does.
    pub meaning: &'static str,
}

const METHODS: &[MethodInfo] = &[
    MethodInfo {
        name: "labels",
        summary: "cross entropy with the labels, no teacher: the baseline",
        paper: None,
        file: "method/labels.rs",
        settings: &[SettingInfo {
            key: "label_smoothing",
            default: "0",
            meaning: "the share of each target spread over all classes, 0 to below 1",
        }],
    },
    MethodInfo {
        name: "soft-targets",
        summary: "match the teacher's softened distribution, optionally with labels",
        paper: Some(Paper {
            authors: "Geoffrey Hinton, Oriol Vinyals, Jeff Dean",
            title: "Distilling the Knowledge in a Neural Network",
            year: 2015,
            url: "https://arxiv.org/abs/1503.02531",
        }),
        file: "method/soft_targets.rs",
        settings: &[
            SettingInfo {
                key: "temperature",
                default: "20",
                meaning: "softens teacher and student, above 0; 2 to 8 suit narrow students",
            },
            SettingInfo {
                key: "soft_weight",
                default: "1",
                meaning: "the factor of the soft term; T^2 is part of the term, not of the weight",
            },
            SettingInfo {
                key: "hard_weight",
                default: "0.5",
                meaning: "the factor of the cross entropy with labels; at 0 no labels are needed",
            },
            SettingInfo {
                key: "alpha",
                default: "unset",
                meaning: "shorthand for soft_weight = alpha and hard_weight = 1 - alpha",
            },
            SettingInfo {
                key: "form",
                default: "divergence",
                meaning: "`divergence` or `cross-entropy`: the value logged, the gradient is the same",
            },
        ],
    },
    MethodInfo {
        name: "logit-regression",
        summary: "regress on the teacher's logits, without labels",
        paper: Some(Paper {
            authors: "Lei Jimmy Ba, Rich Caruana",
            title: "Do Deep Nets Really Need to be Deep?",
            year: 2014,
            url: "https://arxiv.org/abs/1312.6184",
        }),
        file: "method/logit_regression.rs",
        settings: &[
            SettingInfo {
                key: "loss",
                default: "half-squared-norm",
                meaning: "`half-squared-norm` (the paper's) or `mean-square` (divided by classes)",
            },
            SettingInfo {
                key: "whiten",
                default: "false",
                meaning: "compare each class in units of its deviation over the training set",
            },
        ],
    },
];

/// All methods.
pub const fn methods() -> &'static [MethodInfo] {
    METHODS
}

/// The method called `name`.
///
/// # Errors
/// If there is none; the nearest names are suggested.
pub fn find(name: &str) -> Result<&'static MethodInfo> {
    METHODS
        .iter()
        .find(|method| method.name == name)
        .ok_or_else(|| Error::unknown("method", name, METHODS.iter().map(|method| method.name)))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests fail by panicking")]

    use super::*;
    use crate::method::{MethodSettings, check};
    use crate::recipe::{Problems, Section};

    #[test]
    fn the_list_matches_the_code() {
        let root = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
        for method in methods() {
            assert!(root.join(method.file).is_file(), "{}", method.file);
            let parse = |text: String| {
                let problems = Problems::default();
                let mut section = Section::root(text.parse().unwrap(), problems.clone());
                let settings = check(&mut section);
                section.finish();
                let problems = problems.into_vec();
                assert!(problems.is_empty(), "{problems:?}");
                settings.unwrap()
            };
            let name = format!("name = '{}'\n", method.name);
            let bare = parse(name.clone());
            assert_eq!(bare.name(), method.name);
            let typed: String = method
                .settings
                .iter()
                .filter(|setting| setting.default != "unset")
                .map(|setting| match setting.default {
                    word if word.parse::<f64>().is_ok() || word == "false" => {
                        format!("{} = {word}\n", setting.key)
                    }
                    word => format!("{} = '{word}'\n", setting.key),
                })
                .collect();
            assert_eq!(
                parse(format!("{name}{typed}")),
                bare,
                "defaults of `{}`",
                method.name
            );

            // Every key of the settings is listed, and nothing else.
            let serde_json::Value::Object(stored) =
                serde_json::to_value::<MethodSettings>(bare).unwrap()
            else {
                unreachable!()
            };
            let mut stored: Vec<&str> = stored
                .keys()
                .map(String::as_str)
                .filter(|key| *key != "name")
                .collect();
            let mut listed: Vec<&str> = method
                .settings
                .iter()
                .filter(|setting| setting.default != "unset")
                .map(|setting| setting.key)
                .collect();
            stored.sort_unstable();
            listed.sort_unstable();
            assert_eq!(stored, listed, "keys of `{}`", method.name);
        }
    }

    #[test]
    fn unknown_names_suggest_the_nearest() {
        assert_eq!(find("soft-targets").unwrap().paper.unwrap().year, 2015);
        let message = find("logit-regresion").unwrap_err().to_string();
        assert_eq!(
            message,
            "there is no method `logit-regresion`; did you mean `logit-regression`?"
        );
    }
}
