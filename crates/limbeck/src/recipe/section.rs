//! One table of a recipe, read key by key.

use std::cell::RefCell;
use std::collections::BTreeSet;
use std::rc::Rc;

use limbeck_graph::error::{did_you_mean, nearest};

use crate::error::Problem;

/// The mistakes found so far, shared by all sections of one recipe.
#[derive(Clone, Debug, Default)]
pub struct Problems(Rc<RefCell<Vec<Problem>>>);

impl Problems {
    /// Records a mistake.
    pub fn add(&self, key: impl Into<String>, reason: impl Into<String>) {
        self.0.borrow_mut().push(Problem {
            key: key.into(),
            reason: reason.into(),
        });
    }

    /// Whether none was found.
    pub fn is_empty(&self) -> bool {
        self.0.borrow().is_empty()
    }

    /// How many were found.
    pub fn count(&self) -> usize {
        self.0.borrow().len()
    }

    /// The mistakes, in the order they were found.
    pub fn into_vec(self) -> Vec<Problem> {
        self.0.borrow().clone()
    }
}

/// A type that a recipe value can be read into.
pub trait Value: Sized {
    /// What the user should type, such as `a whole number`.
    const EXPECTED: &'static str;

    /// The value, if it has this type.
    fn from_toml(value: &toml::Value) -> Option<Self>;
}

impl Value for String {
    const EXPECTED: &'static str = "text in quotes";
    fn from_toml(value: &toml::Value) -> Option<Self> {
        value.as_str().map(str::to_owned)
    }
}

impl Value for bool {
    const EXPECTED: &'static str = "true or false";
    fn from_toml(value: &toml::Value) -> Option<Self> {
        value.as_bool()
    }
}

impl Value for f64 {
    const EXPECTED: &'static str = "a finite number";
    fn from_toml(value: &toml::Value) -> Option<Self> {
        match value {
            toml::Value::Float(number) if number.is_finite() => Some(*number),
            toml::Value::Integer(number) => Some(*number as f64),
            _ => None,
        }
    }
}

impl Value for u64 {
    const EXPECTED: &'static str = "a whole number of at least 0";
    fn from_toml(value: &toml::Value) -> Option<Self> {
        value
            .as_integer()
            .and_then(|number| Self::try_from(number).ok())
    }
}

impl Value for usize {
    const EXPECTED: &'static str = u64::EXPECTED;
    fn from_toml(value: &toml::Value) -> Option<Self> {
        value
            .as_integer()
            .and_then(|number| Self::try_from(number).ok())
    }
}

impl<T: Value> Value for Vec<T> {
    const EXPECTED: &'static str = "a list in brackets";
    fn from_toml(value: &toml::Value) -> Option<Self> {
        value.as_array()?.iter().map(T::from_toml).collect()
    }
}

/// The largest count that a recipe can ask for. Products of two stay far below what 64 bits hold.
pub const MOST: usize = 1_000_000_000;

/// One table of a recipe. Asking for a key marks it as known; [`Section::finish`] reports the keys that nobody asked
/// for, with the nearest known name.
#[derive(Debug)]
pub struct Section {
    key: String,
    table: toml::Table,
    known: BTreeSet<String>,
    /// Keys that are not this table's own but come from the one below it ([`Section::overlay`]).
    inherited: BTreeSet<String>,
    problems: Problems,
}

impl Section {
    /// The root table of a recipe.
    pub fn root(table: toml::Table, problems: Problems) -> Self {
        Self {
            key: String::new(),
            table,
            known: BTreeSet::new(),
            inherited: BTreeSet::new(),
            problems,
        }
    }

    /// The dotted key of `name` in this section.
    pub fn key(&self, name: &str) -> String {
        if self.key.is_empty() {
            name.to_owned()
        } else {
            format!("{}.{name}", self.key)
        }
    }

    /// Whether the user typed `name`.
    pub fn has(&self, name: &str) -> bool {
        self.table.contains_key(name)
    }

    /// The value at `name` as typed; asking for it does not make the key known.
    pub fn typed(&self, name: &str) -> Option<&toml::Value> {
        self.table.get(name)
    }

    /// Records a mistake at `name`.
    pub fn problem(&self, name: &str, reason: impl Into<String>) {
        self.problems.add(self.key(name), reason);
    }

    /// The value at `name`, if it was typed and has the right type.
    pub fn optional<T: Value>(&mut self, name: &str) -> Option<T> {
        self.known.insert(name.to_owned());
        let value = self.table.get(name)?;
        let read = T::from_toml(value);
        if read.is_none() {
            self.problem(name, format!("expected {}, got `{value}`", T::EXPECTED));
        }
        read
    }

    /// The value at `name`, or `default`.
    pub fn or<T: Value>(&mut self, name: &str, default: T) -> T {
        self.optional(name).unwrap_or(default)
    }

    /// The value at `name`; its absence is a mistake.
    pub fn required<T: Value>(&mut self, name: &str) -> Option<T> {
        if !self.has(name) {
            self.known.insert(name.to_owned());
            self.problem(name, format!("is missing; expected {}", T::EXPECTED));
            return None;
        }
        self.optional(name)
    }

    /// The number at `name`, or `default`, if `accept` holds for it; otherwise a mistake that says what was
    /// `expected`, and `default`.
    pub fn number(
        &mut self,
        name: &str,
        default: f64,
        expected: &str,
        accept: impl Fn(f64) -> bool,
    ) -> f64 {
        match self.optional::<f64>(name) {
            Some(value) if accept(value) => value,
            Some(value) => {
                self.problem(name, format!("expected {expected}, got {value}"));
                default
            }
            None => default,
        }
    }

    /// The whole number at `name`, or `default`, if it is at least `minimum` and at most [`MOST`].
    pub fn count(&mut self, name: &str, default: usize, minimum: usize) -> usize {
        self.count_up_to(name, default, minimum, MOST)
    }

    /// The whole number at `name`, or `default`, if it is at least `minimum` and at most `most`.
    pub fn count_up_to(
        &mut self,
        name: &str,
        default: usize,
        minimum: usize,
        most: usize,
    ) -> usize {
        match self.optional::<usize>(name) {
            Some(value) if value < minimum => {
                self.problem(name, format!("expected at least {minimum}, got {value}"));
                default
            }
            Some(value) if value > most => {
                self.problem(name, format!("expected at most {most}, got {value}"));
                default
            }
            Some(value) => value,
            None => default,
        }
    }

    /// The choice at `name` out of `choices`, or `default`.
    pub fn choice<T: Clone>(&mut self, name: &str, choices: &[(&str, T)], default: T) -> T {
        let Some(typed) = self.optional::<String>(name) else {
            return default;
        };
        if let Some((_, choice)) = choices.iter().find(|(word, _)| *word == typed) {
            return choice.clone();
        }
        let words: Vec<&str> = choices.iter().map(|(word, _)| *word).collect();
        self.problem(
            name,
            format!(
                "expected one of `{}`, got `{typed}`{}",
                words.join("`, `"),
                did_you_mean(&nearest(&typed, words.iter().copied()))
            ),
        );
        default
    }

    /// The table at `name`, if it was typed.
    pub fn section(&mut self, name: &str) -> Option<Self> {
        self.known.insert(name.to_owned());
        match self.table.get(name)? {
            toml::Value::Table(table) => Some(self.child(name, table.clone())),
            other => {
                self.problem(name, format!("expected a table, got `{other}`"));
                None
            }
        }
    }

    /// The table at `name`, or an empty one.
    pub fn section_or_empty(&mut self, name: &str) -> Self {
        self.section(name)
            .unwrap_or_else(|| self.child(name, toml::Table::new()))
    }

    /// The tables at `name`: one per `[[name]]`, or a single `[name]`.
    pub fn sections(&mut self, name: &str) -> Vec<Self> {
        self.known.insert(name.to_owned());
        match self.table.get(name) {
            None => Vec::new(),
            Some(toml::Value::Table(table)) => vec![self.child(name, table.clone())],
            Some(toml::Value::Array(items)) => items
                .iter()
                .enumerate()
                .filter_map(|(index, item)| match item {
                    toml::Value::Table(table) => {
                        Some(self.child(&format!("{name}[{index}]"), table.clone()))
                    }
                    other => {
                        self.problem(name, format!("expected tables, got `{other}`"));
                        None
                    }
                })
                .collect(),
            Some(other) => {
                self.problem(name, format!("expected a table, got `{other}`"));
                Vec::new()
            }
        }
    }

    /// Makes a key known whose mistake is reported by other means.
    pub fn accept(&mut self, name: &str) {
        self.known.insert(name.to_owned());
    }

    /// Leaves the remaining keys unjudged, where a mistake already found makes their meaning unknown.
    pub fn accept_rest(&mut self) {
        self.known.extend(self.table.keys().cloned());
    }

    /// The table at `name` laid over `base`: keys typed in both come from `name`. What only `base` has may stay
    /// unused, since another choice above it (such as `optimizer`) can leave it without a meaning.
    pub fn overlay(&mut self, name: &str, base: &toml::Table) -> Self {
        let mut merged = base.clone();
        let mut inherited: BTreeSet<String> = base.keys().cloned().collect();
        if let Some(section) = self.section(name) {
            inherited.retain(|key| !section.has(key));
            lay_over(&mut merged, section.table);
        }
        Self {
            inherited,
            ..self.child(name, merged)
        }
    }

    /// A section at `name` in which nothing was typed.
    pub fn empty(&self, name: &str) -> Self {
        self.child(name, toml::Table::new())
    }

    /// The text at `name`, or each text of a list; empty if nothing was typed.
    pub fn one_or_more(&mut self, name: &str) -> Vec<String> {
        match self.table.get(name) {
            Some(toml::Value::Array(_)) => self.optional(name).unwrap_or_default(),
            _ => self.optional::<String>(name).into_iter().collect(),
        }
    }

    /// Reports every key that was typed but never asked for.
    pub fn finish(self) {
        let unasked =
            |name: &&String| !self.known.contains(*name) && !self.inherited.contains(*name);
        for name in self.table.keys().filter(unasked) {
            let near = nearest(name, self.known.iter().map(String::as_str));
            let hint = if near.is_empty() {
                format!(
                    "; known keys: `{}`",
                    self.known
                        .iter()
                        .map(String::as_str)
                        .collect::<Vec<_>>()
                        .join("`, `")
                )
            } else {
                did_you_mean(&near)
            };
            self.problem(name, format!("is not a known key{hint}"));
        }
    }

    fn child(&self, name: &str, table: toml::Table) -> Self {
        Self {
            key: self.key(name),
            table,
            known: BTreeSet::new(),
            inherited: BTreeSet::new(),
            problems: self.problems.clone(),
        }
    }
}

fn lay_over(base: &mut toml::Table, top: toml::Table) {
    for (key, value) in top {
        match (base.get_mut(&key), value) {
            (Some(toml::Value::Table(below)), toml::Value::Table(above)) => lay_over(below, above),
            (_, value) => {
                base.insert(key, value);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn section(text: &str) -> (Section, Problems) {
        let problems = Problems::default();
        let table = text.parse().expect("the test's own TOML");
        (Section::root(table, problems.clone()), problems)
    }

    fn reasons(problems: Problems) -> Vec<String> {
        problems
            .into_vec()
            .iter()
            .map(ToString::to_string)
            .collect()
    }

    #[test]
    fn unknown_keys_name_the_nearest_known_one() {
        let (mut root, problems) = section("temprature = 4.0\n[train]\nzzz = 1");
        root.number("temperature", 1.0, "positive", |t| t > 0.0);
        let mut train = root.section("train").expect("typed above");
        train.count("epochs", 1, 1);
        train.finish();
        root.finish();
        assert_eq!(
            reasons(problems),
            [
                "recipe key `train.zzz`: is not a known key; known keys: `epochs`",
                "recipe key `temprature`: is not a known key; did you mean `temperature`?",
            ]
        );
    }

    #[test]
    fn every_mistake_is_collected() {
        let (mut root, problems) =
            section("a = 'x'\nb = -1\nc = 0\nd = 'sgb'\ne = [1, 'x']\ng = 2000000000");
        assert_eq!(root.or("a", 1.0), 1.0);
        assert_eq!(root.or("b", 7_u64), 7);
        assert_eq!(root.count("c", 3, 1), 3);
        assert_eq!(root.choice("d", &[("sgd", 1), ("adam", 2)], 2), 2);
        assert_eq!(root.optional::<Vec<u64>>("e"), None);
        assert_eq!(root.required::<String>("f"), None);
        assert_eq!(root.count("g", 3, 1), 3);
        root.finish();
        assert_eq!(
            reasons(problems),
            [
                "recipe key `a`: expected a finite number, got `\"x\"`",
                "recipe key `b`: expected a whole number of at least 0, got `-1`",
                "recipe key `c`: expected at least 1, got 0",
                "recipe key `d`: expected one of `sgd`, `adam`, got `sgb`; did you mean `sgd`?",
                "recipe key `e`: expected a list in brackets, got `[1, \"x\"]`",
                "recipe key `f`: is missing; expected text in quotes",
                "recipe key `g`: expected at most 1000000000, got 2000000000",
            ]
        );
    }

    #[test]
    fn an_overlay_may_leave_keys_of_its_base_without_a_meaning() {
        let (mut root, problems) = section("[train]\noptimizer = 'adam'\nmomentun = 0.5");
        let base: toml::Table = "optimizer = 'sgd'\nmomentum = 0.9"
            .parse()
            .expect("the test's own TOML");
        let mut train = root.overlay("train", &base);
        assert_eq!(train.or("optimizer", String::new()), "adam");
        train.finish();
        root.finish();
        assert_eq!(
            reasons(problems),
            ["recipe key `train.momentun`: is not a known key; known keys: `optimizer`"]
        );
    }

    #[test]
    fn an_overlay_keeps_what_it_does_not_name() {
        let (mut root, problems) = section("[train]\nepochs = 2\n[train.deep]\na = 1");
        let base: toml::Table = "epochs = 9\nbatch = 64\n[deep]\na = 0\nb = 5"
            .parse()
            .expect("the test's own TOML");
        let mut train = root.overlay("train", &base);
        assert_eq!(train.count("epochs", 1, 1), 2);
        assert_eq!(train.count("batch", 1, 1), 64);
        let mut deep = train.section("deep").expect("typed above");
        assert_eq!((deep.or("a", 3_u64), deep.or("b", 3_u64)), (1, 5));
        deep.finish();
        train.finish();
        root.finish();
        assert!(problems.is_empty());
    }
}
