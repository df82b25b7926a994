//! A recipe's `[method]` table, checked.

use serde::{Deserialize, Serialize};

use limbeck_graph::error::{did_you_mean, nearest};

use super::{
    LabelSettings, LabelTraining, LogitRegression, LogitRegressionSettings, Method,
    SoftTargetSettings, SoftTargets, methods,
};
use crate::loss::{LabelSmoothing, Temperature};
use crate::recipe::Section;

/// The checked settings of one method; serialised, they are a valid `[method]` table.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "name", rename_all = "kebab-case")]
pub enum MethodSettings {
    /// Labels only.
    Labels(LabelSettings),
    /// Soft targets.
    SoftTargets(SoftTargetSettings),
    /// Logit regression.
    LogitRegression(LogitRegressionSettings),
}

impl MethodSettings {
    /// Labels alone, without smoothing: the baseline of every comparison.
    pub const LABELS: Self = Self::Labels(LabelSettings {
        label_smoothing: LabelSmoothing::NONE,
    });

    /// Whether it needs a teacher.
    pub fn needs_teacher(&self) -> bool {
        self.build().teacher_taps().is_some()
    }

    /// The temperature of its soft labels, if it has any.
    pub const fn temperature(&self) -> Option<Temperature> {
        match self {
            Self::SoftTargets(settings) => Some(settings.temperature),
            Self::Labels(_) | Self::LogitRegression(_) => None,
        }
    }

    /// The method's name in recipes.
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Labels(_) => LabelTraining::NAME,
            Self::SoftTargets(_) => SoftTargets::NAME,
            Self::LogitRegression(_) => LogitRegression::NAME,
        }
    }

    /// Builds the method.
    pub fn build(&self) -> Box<dyn Method> {
        match *self {
            Self::Labels(settings) => Box::new(LabelTraining::new(settings)),
            Self::SoftTargets(settings) => Box::new(SoftTargets::new(settings)),
            Self::LogitRegression(settings) => Box::new(LogitRegression::new(settings)),
        }
    }
}

/// Reads the `[method]` table of a recipe. Mistakes are recorded in the section; `None` only if the method itself is missing
/// or unknown, in which case its other keys are left unjudged.
pub fn check(section: &mut Section) -> Option<MethodSettings> {
    let Some(name) = section.required::<String>("name") else {
        section.accept_rest();
        return None;
    };
    Some(match name.as_str() {
        LabelTraining::NAME => MethodSettings::Labels(LabelSettings::check(section)),
        SoftTargets::NAME => MethodSettings::SoftTargets(SoftTargetSettings::check(section)),
        LogitRegression::NAME => {
            MethodSettings::LogitRegression(LogitRegressionSettings::check(section))
        }
        _ => {
            let names: Vec<&str> = methods().iter().map(|method| method.name).collect();
            let near = nearest(&name, names.iter().copied());
            let hint = if near.is_empty() {
                format!("; expected one of `{}`", names.join("`, `"))
            } else {
                did_you_mean(&near)
            };
            section.problem("name", format!("there is no method `{name}`{hint}"));
            section.accept_rest();
            return None;
        }
    })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests fail by panicking")]

    use super::*;
    use crate::method::{RegressionLoss, SoftTargetForm};
    use crate::recipe::Problems;

    fn read(text: &str) -> (Option<MethodSettings>, Vec<String>) {
        let problems = Problems::default();
        let mut root = Section::root(text.parse().unwrap(), problems.clone());
        let mut section = root.section("method").unwrap();
        let settings = check(&mut section);
        section.finish();
        (
            settings,
            problems
                .into_vec()
                .iter()
                .map(ToString::to_string)
                .collect(),
        )
    }

    fn valid(keys: &str) -> MethodSettings {
        let (settings, problems) = read(&format!("[method]\n{keys}"));
        assert!(problems.is_empty(), "{problems:?}");
        settings.unwrap()
    }

    fn problems(keys: &str) -> Vec<String> {
        read(&format!("[method]\n{keys}")).1
    }

    #[test]
    fn defaults_are_the_papers() {
        let soft = SoftTargetSettings {
            temperature: Temperature::new(20.0).unwrap(),
            soft_weight: 1.0,
            hard_weight: 0.5,
            form: SoftTargetForm::Divergence,
        };
        assert_eq!(
            valid("name = 'soft-targets'"),
            MethodSettings::SoftTargets(soft)
        );
        let logits = LogitRegressionSettings {
            loss: RegressionLoss::HalfSquaredNorm,
            whiten: false,
        };
        assert_eq!(
            valid("name = 'logit-regression'"),
            MethodSettings::LogitRegression(logits)
        );
        let labels = LabelSettings {
            label_smoothing: LabelSmoothing::NONE,
        };
        assert_eq!(valid("name = 'labels'"), MethodSettings::Labels(labels));
    }

    #[test]
    fn every_key_is_read() {
        let MethodSettings::SoftTargets(soft) = valid(
            "name = 'soft-targets'\ntemperature = 4\nsoft_weight = 0.7\nhard_weight = 0\n\
             form = 'cross-entropy'",
        ) else {
            unreachable!()
        };
        assert_eq!(
            (soft.temperature.get(), soft.soft_weight, soft.hard_weight),
            (4.0, 0.7, 0.0)
        );
        assert_eq!(soft.form, SoftTargetForm::CrossEntropy);

        let MethodSettings::SoftTargets(soft) = valid("name = 'soft-targets'\nalpha = 0.75") else {
            unreachable!()
        };
        assert_eq!((soft.soft_weight, soft.hard_weight), (0.75, 0.25));

        let logits = LogitRegressionSettings {
            loss: RegressionLoss::MeanSquare,
            whiten: true,
        };
        assert_eq!(
            valid("name = 'logit-regression'\nloss = 'mean-square'\nwhiten = true"),
            MethodSettings::LogitRegression(logits)
        );
        let labels = LabelSettings {
            label_smoothing: LabelSmoothing::new(0.1).unwrap(),
        };
        assert_eq!(
            valid("name = 'labels'\nlabel_smoothing = 0.1"),
            MethodSettings::Labels(labels)
        );
    }

    #[test]
    fn mistakes_are_named() {
        assert_eq!(
            problems("name = 'soft-target'\ntemprature = 4"),
            [
                "recipe key `method.name`: there is no method `soft-target`; did you mean `soft-targets`?"
            ]
        );
        assert_eq!(
            problems("name = 'xyz'"),
            ["recipe key `method.name`: there is no method `xyz`; \
              expected one of `labels`, `soft-targets`, `logit-regression`"]
        );
        assert_eq!(
            problems("temperature = 4"),
            ["recipe key `method.name`: is missing; expected text in quotes"]
        );
        assert_eq!(
            problems("name = 'soft-targets'\ntemprature = 4"),
            ["recipe key `method.temprature`: is not a known key; did you mean `temperature`?"]
        );
        assert_eq!(
            problems("name = 'soft-targets'\ntemperature = 0"),
            ["recipe key `method.temperature`: expected a positive number, got `0`"]
        );
        assert_eq!(
            problems("name = 'labels'\nlabel_smoothing = 1.0"),
            ["recipe key `method.label_smoothing`: \
              expected a number of at least 0 and below 1, got `1.0`"]
        );
    }

    #[test]
    fn weights_must_make_sense() {
        assert_eq!(
            problems("name = 'soft-targets'\nhard_weight = -1"),
            ["recipe key `method.hard_weight`: expected a number of at least 0, got -1"]
        );
        assert!(problems("name = 'soft-targets'\nsoft_weight = 0")[0].contains("method `labels`"));
        assert!(problems("name = 'soft-targets'\nalpha = 0")[0].contains("method `labels`"));
        assert_eq!(problems("name = 'soft-targets'\nalpha = 1.5").len(), 1);
        let both = problems("name = 'soft-targets'\nalpha = 0.9\nhard_weight = 1");
        assert!(
            both[0].starts_with("recipe key `method.hard_weight`: cannot stand beside `alpha`")
        );
    }

    #[test]
    fn settings_survive_serialisation() {
        for settings in [
            valid("name = 'labels'\nlabel_smoothing = 0.1"),
            valid("name = 'soft-targets'\ntemperature = 2.5\nalpha = 0.9"),
            valid("name = 'logit-regression'\nwhiten = true"),
        ] {
            let text = serde_json::to_string(&settings).unwrap();
            assert_eq!(
                serde_json::from_str::<MethodSettings>(&text).unwrap(),
                settings
            );
            let method = settings.build();
            assert_eq!(method.name(), settings.name());
        }
        let bad = r#"{"name":"soft-targets","temperature":0.0}"#;
        assert!(serde_json::from_str::<MethodSettings>(bad).is_err());
    }
}
