//! A compiled graph as a Burn module.

use std::sync::Arc;

use burn::module::{Flag, Module, ModuleMapper, ModuleVisitor, Param};
use burn::tensor::Device;

use super::weight::{Storage, Weight, each_storage, map_storage};
use super::{CompiledGraph, ImageLayout, Plan};

/// Whether a node with a training behaviour of its own shows it; Burn's `freeze` clears it.
#[derive(Clone, Debug)]
pub(super) struct TrainingFlag {
    pub(super) node: String,
    pub(super) flag: Param<Flag>,
}

const CONTAINER: &str = "Struct:CompiledGraph";
const FLAG_FIELD: &str = "training";

impl CompiledGraph {
    fn map_weights(mut self, change: impl Fn(Storage) -> Storage) -> Self {
        self.prepared = None;
        self.weights = self
            .weights
            .into_iter()
            .map(|weight| Weight {
                storage: change(weight.storage),
                name: weight.name,
            })
            .collect();
        self
    }

    fn map_flags(mut self, change: impl Fn(Param<Flag>) -> Param<Flag>) -> Self {
        for entry in &mut self.flags {
            entry.flag = change(entry.flag.clone());
        }
        self
    }

    fn planned_for(mut self, device: &Device) -> Self {
        let layout = self
            .forced_layout
            .unwrap_or_else(|| ImageLayout::preferred(device));
        if layout != self.plan.layout() {
            self.plan = Arc::new(Plan::new(&self.graph, &self.analysis, layout));
        }
        self
    }
}

impl Module for CompiledGraph {
    fn collect_devices(&self, devices: Vec<Device>) -> Vec<Device> {
        self.weights.iter().fold(devices, |devices, weight| {
            each_storage!(&weight.storage, module => module.collect_devices(devices))
        })
    }

    fn fork(self, device: &Device) -> Self {
        self.map_weights(|storage| map_storage!(storage, module => module.fork(device)))
            .planned_for(device)
    }

    fn to_device(self, device: &Device) -> Self {
        self.map_weights(|storage| map_storage!(storage, module => module.to_device(device)))
            .planned_for(device)
    }

    fn valid(&self) -> Self {
        self.clone()
            .map_weights(|storage| map_storage!(storage, module => module.valid()))
            .map_flags(|flag| flag.valid())
    }

    fn train(self) -> Self {
        self.map_weights(|storage| map_storage!(storage, module => module.train()))
            .map_flags(Module::train)
    }

    fn materialize(self) -> Self {
        self.map_weights(|storage| map_storage!(storage, module => module.materialize()))
    }

    fn visit<V: ModuleVisitor>(&self, visitor: &mut V) {
        for weight in &self.weights {
            weight
                .name
                .split('.')
                .for_each(|part| visitor.enter_module(part, CONTAINER));
            each_storage!(&weight.storage, module => module.visit(visitor));
            weight
                .name
                .rsplit('.')
                .for_each(|part| visitor.exit_module(part, CONTAINER));
        }
        for entry in &self.flags {
            let path = || entry.node.split('.').chain([FLAG_FIELD]);
            path().for_each(|part| visitor.enter_module(part, CONTAINER));
            entry.flag.visit(visitor);
            path()
                .rev()
                .for_each(|part| visitor.exit_module(part, CONTAINER));
        }
    }

    fn map<M: ModuleMapper>(mut self, mapper: &mut M) -> Self {
        self.prepared = None;
        self.weights = self
            .weights
            .into_iter()
            .map(|Weight { name, storage }| {
                name.split('.')
                    .for_each(|part| mapper.enter_module(part, CONTAINER));
                let storage = map_storage!(storage, module => Module::map(module, mapper));
                name.rsplit('.')
                    .for_each(|part| mapper.exit_module(part, CONTAINER));
                Weight { name, storage }
            })
            .collect();
        for entry in &mut self.flags {
            let path = || entry.node.split('.').chain([FLAG_FIELD]);
            path().for_each(|part| mapper.enter_module(part, CONTAINER));
            entry.flag = Module::map(entry.flag.clone(), mapper);
            path()
                .rev()
                .for_each(|part| mapper.exit_module(part, CONTAINER));
        }
        self
    }
}
