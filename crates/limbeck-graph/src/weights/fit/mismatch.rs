//! Why a checkpoint does not fit a graph.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use super::super::HostTensor;
use crate::error::nearest;
use crate::ir::Graph;

/// The names of each kind that a message lists.
const LISTED: usize = 5;

/// How a checkpoint differs from what a graph needs.
#[derive(Clone, Debug, PartialEq)]
pub struct Mismatch {
    /// The graph's name.
    pub graph: String,
    /// The weights of the graph that were found with the right shape.
    pub matched: usize,
    /// The weights the graph has.
    pub needed: usize,
    /// Weights that the checkpoint does not have.
    pub missing: Vec<Missing>,
    /// Tensors that the graph has no use for.
    pub unexpected: Vec<Unexpected>,
    /// Weights whose shape differs.
    pub wrong: Vec<WrongShape>,
}

/// A weight that the checkpoint does not have.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Missing {
    /// The graph's name for it.
    pub name: String,
    /// Its shape.
    pub shape: Vec<usize>,
    /// Left-over tensors with a similar name, nearest first.
    pub nearest: Vec<String>,
}

/// A tensor that the graph has no use for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unexpected {
    /// The checkpoint's name for it.
    pub name: String,
    /// Its shape.
    pub shape: Vec<usize>,
}

/// A weight whose shape differs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WrongShape {
    /// The graph's name for it.
    pub name: String,
    /// The checkpoint's name for it.
    pub source: String,
    /// The graph's shape.
    pub expected: Vec<usize>,
    /// The checkpoint's shape.
    pub got: Vec<usize>,
}

impl Mismatch {
    /// How `weights`, taken by their own names, differ from what `graph` needs, if they do.
    pub(crate) fn by_name(graph: &Graph, weights: &BTreeMap<String, HostTensor>) -> Option<Self> {
        let same = weights
            .keys()
            .filter(|name| graph.weights.contains_key(*name));
        let sources = same.map(|name| (name.as_str(), name.as_str())).collect();
        let mut mismatch = Self::of(graph, weights, &sources);
        mismatch.find_nearest();
        (!mismatch.is_empty()).then_some(mismatch)
    }

    /// Compares; `sources` has the checkpoint's name for each of the graph's.
    pub(super) fn of(
        graph: &Graph,
        tensors: &BTreeMap<String, HostTensor>,
        sources: &BTreeMap<&str, &str>,
    ) -> Self {
        let mut mismatch = Self {
            graph: graph.name.clone(),
            matched: 0,
            needed: graph.weights.len(),
            missing: Vec::new(),
            unexpected: Vec::new(),
            wrong: Vec::new(),
        };
        for (name, spec) in &graph.weights {
            let source = sources.get(name.as_str()).copied();
            match source.and_then(|source| Some((source, tensors.get(source)?))) {
                None => mismatch.missing.push(Missing {
                    name: name.clone(),
                    shape: spec.shape.clone(),
                    nearest: Vec::new(),
                }),
                Some((source, tensor)) if tensor.shape != spec.shape => {
                    mismatch.wrong.push(WrongShape {
                        name: name.clone(),
                        source: source.to_owned(),
                        expected: spec.shape.clone(),
                        got: tensor.shape.clone(),
                    });
                }
                Some(_) => mismatch.matched += 1,
            }
        }
        let used: BTreeSet<&str> = sources.values().copied().collect();
        let left = tensors
            .iter()
            .filter(|(name, _)| !used.contains(name.as_str()));
        mismatch.unexpected = left
            .map(|(name, tensor)| Unexpected {
                name: name.clone(),
                shape: tensor.shape.clone(),
            })
            .collect();
        mismatch
    }

    /// Whether everything fits.
    pub fn is_empty(&self) -> bool {
        self.missing.is_empty() && self.unexpected.is_empty() && self.wrong.is_empty()
    }

    /// Looks for similar names for the missing weights that a message lists.
    pub(super) fn find_nearest(&mut self) {
        let names = || self.unexpected.iter().map(|tensor| tensor.name.as_str());
        for missing in self.missing.iter_mut().take(LISTED) {
            missing.nearest = nearest(&missing.name, names());
        }
    }

    fn advice(&self) -> &'static str {
        let only_classifier = self.missing.is_empty()
            && self.unexpected.is_empty()
            && !self.wrong.is_empty()
            && self.wrong.iter().all(|wrong| {
                let sizes = wrong.expected.iter().zip(&wrong.got);
                sizes.skip(1).all(|(expected, got)| expected == got)
                    && wrong.expected.len() == wrong.got.len()
                    && self.wrong[0].got.first() == wrong.got.first()
            });
        if only_classifier {
            "; the checkpoint seems to be trained for another number of classes"
        } else if self.matched * 2 < self.needed {
            "; the checkpoint seems to be of another architecture, see `limbeck models`"
        } else {
            ""
        }
    }
}

impl fmt::Display for Mismatch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            graph,
            matched,
            needed,
            ..
        } = self;
        write!(
            f,
            "the weights do not fit `{graph}`: {matched} of {needed} match"
        )?;
        list(f, "wrong shapes", &self.wrong, |f, wrong| {
            write!(f, "`{}`", wrong.name)?;
            if wrong.source != wrong.name {
                write!(f, " (in the checkpoint `{:.80}`)", wrong.source)?;
            }
            write!(f, " expected {:?}, got {:?}", wrong.expected, wrong.got)
        })?;
        list(f, "missing", &self.missing, |f, missing| {
            write!(f, "`{}` {:?}", missing.name, missing.shape)?;
            match missing.nearest.as_slice() {
                [] => Ok(()),
                nearest => write!(f, " (nearest: `{}`)", nearest.join("`, `")),
            }
        })?;
        list(f, "unexpected", &self.unexpected, |f, unexpected| {
            write!(f, "`{:.80}` {:?}", unexpected.name, unexpected.shape)
        })?;
        f.write_str(self.advice())
    }
}

fn list<T>(
    f: &mut fmt::Formatter<'_>,
    title: &str,
    items: &[T],
    write: impl Fn(&mut fmt::Formatter<'_>, &T) -> fmt::Result,
) -> fmt::Result {
    if items.is_empty() {
        return Ok(());
    }
    write!(f, "; {title}: ")?;
    for (index, item) in items.iter().take(LISTED).enumerate() {
        if index > 0 {
            f.write_str(", ")?;
        }
        write(f, item)?;
    }
    match items.len().saturating_sub(LISTED) {
        0 => Ok(()),
        more => write!(f, " and {more} more"),
    }
}
