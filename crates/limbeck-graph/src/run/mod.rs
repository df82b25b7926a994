//! Running a graph on Burn tensors.
//!
//! [`Graph::compile`] makes a [`CompiledGraph`] with fresh weights: a Burn module that optimisers, records and
//! devices know how to handle, and a [`Network`](crate::Network) that methods train. Its [`Plan`] fixes
//! the order of execution, the memory layout of images and when each value is forgotten.

mod execute;
mod features;
mod joined;
mod layout;
mod module;
mod node;
pub(crate) mod ops;
mod pass;
mod plan;
mod prepared;
mod schedule;
mod several;
mod weight;

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use burn::module::Param;
use burn::tensor::Device;

pub use layout::ImageLayout;
pub(crate) use pass::Pass;
pub use plan::{Plan, Step};

use crate::ir::{Analysis, Graph, Op, WeightSpec};
use crate::weights::{self, HostTensor};
use crate::{Error, Result, Seed, initialise};
use module::TrainingFlag;
use prepared::Prepared;
use weight::{Storage, Weight};

/// A graph with weights on a device.
///
/// Inputs on an autodiff device train it: batch norm uses the batch and updates its running statistics, dropout draws
/// from the device's generator (`device.seed`), gradients reach every parameter that is not frozen. Inputs on a plain
/// device evaluate it. A clone shares nothing with the original. Burn's visitors see each weight under its
/// name split at the dots; running statistics, constants and frozen parameters are visited too, so records keep them, and never
/// ask for a gradient.
///
/// ```
/// use burn::module::Module;
/// use burn::tensor::{Device, Tensor};
/// use limbeck_graph::build::Builder;
/// use limbeck_graph::ir::Linear;
/// use limbeck_graph::{Inputs, Network, Seed, Taps};
///
/// let mut b = Builder::new("two-layers");
/// let x = b.rows(4);
/// let h = b.linear("fc1", x, Linear::new(4, 8));
/// let h = b.relu("relu1", h);
/// let y = b.linear("fc2", h, Linear::new(8, 3));
/// let network = b.finish(y)?.compile(Seed::new(0), &Device::flex())?;
///
/// let rows = Tensor::<2>::ones([5, 4], &Device::flex());
/// let trace = network.forward(&Inputs::float(rows), &Taps::new(["relu1"]))?;
/// assert_eq!(trace.output.shape(), [5, 3]);
/// assert_eq!(trace.feature("relu1")?.shape(), [5, 8]);
/// assert_eq!(network.num_params(), 4 * 8 + 8 + 8 * 3 + 3);
/// # Ok::<(), limbeck_graph::Error>(())
/// ```
#[derive(Clone)]
pub struct CompiledGraph {
    graph: Arc<Graph>,
    analysis: Arc<Analysis>,
    plan: Arc<Plan>,
    forced_layout: Option<ImageLayout>,
    weights: Vec<Weight>,
    flags: Vec<TrainingFlag>,
    wiring: Arc<Wiring>,
    /// Thrown away with the first change of a weight.
    prepared: Option<Arc<Prepared>>,
}

/// Where each node finds its weights and its flag.
#[derive(Debug)]
struct Wiring {
    /// For each node, the operator's word for a weight to the position in [`CompiledGraph::weights`].
    weights: Vec<BTreeMap<String, usize>>,
    /// For each node, the position in [`CompiledGraph::flags`].
    flags: Vec<Option<usize>>,
}

impl fmt::Debug for CompiledGraph {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CompiledGraph")
            .field("name", &self.graph.name)
            .field("nodes", &self.graph.nodes.len())
            .field("parameters", &self.graph.parameter_count())
            .field("layout", &self.plan.layout())
            .finish_non_exhaustive()
    }
}

impl Graph {
    /// The graph with fresh weights on `device`, in the memory layout that suits the device.
    ///
    /// # Errors
    /// If the graph is not valid.
    pub fn compile(&self, seed: Seed, device: &Device) -> Result<CompiledGraph> {
        self.compile_as(device, None, |name, spec| Ok(fresh(name, spec, seed)))
    }

    /// The graph on `device` with the weights that `weight` hands over one by one, so that no more than one of them is
    /// in memory beside the graph's own.
    ///
    /// # Errors
    /// If the graph is not valid, `weight` fails or hands over a weight of another shape.
    pub fn compile_from(
        &self,
        device: &Device,
        weight: impl FnMut(&str, &WeightSpec) -> Result<HostTensor>,
    ) -> Result<CompiledGraph> {
        self.compile_as(device, None, weight)
    }

    /// The graph with fresh weights on `device` and images in `layout`, whatever suits the device.
    ///
    /// # Errors
    /// If the graph is not valid.
    pub fn compile_with_layout(
        &self,
        seed: Seed,
        device: &Device,
        layout: ImageLayout,
    ) -> Result<CompiledGraph> {
        self.compile_as(device, Some(layout), |name, spec| {
            Ok(fresh(name, spec, seed))
        })
    }

    fn compile_as(
        &self,
        device: &Device,
        forced_layout: Option<ImageLayout>,
        mut weight: impl FnMut(&str, &WeightSpec) -> Result<HostTensor>,
    ) -> Result<CompiledGraph> {
        let analysis = self.validate()?;
        let layout = forced_layout.unwrap_or_else(|| ImageLayout::preferred(device));
        let mut weights = Vec::with_capacity(self.weights.len());
        let mut positions = BTreeMap::new();
        for (name, spec) in &self.weights {
            let host = weight(name, spec)?;
            if host.shape != spec.shape {
                return Err(Error::Graph {
                    graph: self.name.clone(),
                    problem: format!(
                        "expected the weight `{name}` to be {:?}, got {:?}",
                        spec.shape, host.shape
                    ),
                });
            }
            positions.insert(name.as_str(), weights.len());
            weights.push(Weight {
                name: name.clone(),
                storage: Storage::new(host, spec.is_trained(), device)?,
            });
        }
        let mut flags = Vec::new();
        let mut wiring = Wiring {
            weights: Vec::with_capacity(self.nodes.len()),
            flags: Vec::with_capacity(self.nodes.len()),
        };
        for node in &self.nodes {
            let roles = node.weights.iter();
            wiring.weights.push(
                roles
                    .map(|(role, name)| (role.clone(), positions[name.as_str()]))
                    .collect(),
            );
            wiring.flags.push(
                matches!(node.op, Op::BatchNorm(_) | Op::Dropout(_)).then(|| {
                    flags.push(TrainingFlag {
                        node: node.name.clone(),
                        flag: Param::from_bool(true),
                    });
                    flags.len() - 1
                }),
            );
        }
        Ok(CompiledGraph {
            plan: Arc::new(Plan::new(self, &analysis, layout)),
            graph: Arc::new(self.clone()),
            analysis: Arc::new(analysis),
            forced_layout,
            weights,
            flags,
            wiring: Arc::new(wiring),
            prepared: None,
        })
    }
}

/// A weight as it starts.
fn fresh(name: &str, spec: &WeightSpec, seed: Seed) -> HostTensor {
    HostTensor {
        shape: spec.shape.clone(),
        values: initialise::values(name, spec, seed),
    }
}

impl CompiledGraph {
    /// The graph.
    pub fn graph(&self) -> &Graph {
        &self.graph
    }

    /// The types of all values and the order of the nodes.
    pub fn analysis(&self) -> &Analysis {
        &self.analysis
    }

    /// How the graph runs on its device.
    pub fn plan(&self) -> &Plan {
        &self.plan
    }

    /// All weights on the host by name, running statistics included.
    pub fn weights(&self) -> BTreeMap<String, HostTensor> {
        let read = |weight: &Weight| {
            let feature = weight.storage.feature();
            let values = feature.to_vec().expect("a float tensor converts to f32");
            let shape = feature.shape();
            (weight.name.clone(), HostTensor { shape, values })
        };
        self.weights.iter().map(read).collect()
    }

    /// The same network with the values of `weights`; trainability and the names Burn's optimisers know
    /// stay.
    ///
    /// # Errors
    /// [`Error::Mismatch`] if weights are missing, unknown or of another shape.
    pub fn load(mut self, weights: &BTreeMap<String, HostTensor>) -> Result<Self> {
        weights::check(&self.graph, weights)?;
        self.prepared = None;
        self.weights = self
            .weights
            .into_iter()
            .map(|Weight { name, storage }| Weight {
                storage: storage.with_values(&weights[&name]),
                name,
            })
            .collect();
        Ok(self)
    }
}

#[cfg(test)]
mod tests;
