//! Weights on a device.

use std::sync::{Mutex, MutexGuard, PoisonError};

use burn::module::{Module, ModuleMapper, ModuleVisitor, Param, ParamId};
use burn::tensor::{Device, Tensor, TensorData};

use crate::weights::HostTensor;
use crate::{Error, Feature, Result};

/// A weight of a compiled graph.
#[derive(Clone, Debug)]
pub(super) struct Weight {
    pub(super) name: String,
    pub(super) storage: Storage,
}

/// A parameter of one of the ranks that occur, or a buffer.
#[derive(Clone, Debug)]
pub(super) enum Storage {
    Rank1(Param<Tensor<1>>),
    Rank2(Param<Tensor<2>>),
    Rank3(Param<Tensor<3>>),
    Rank4(Param<Tensor<4>>),
    Buffer(Buffer),
}

/// Runs the same expression on the module inside.
macro_rules! each_storage {
    ($storage:expr, $module:ident => $body:expr) => {
        match $storage {
            Storage::Rank1($module) => $body,
            Storage::Rank2($module) => $body,
            Storage::Rank3($module) => $body,
            Storage::Rank4($module) => $body,
            Storage::Buffer($module) => $body,
        }
    };
}

/// Replaces the module inside by what the expression makes of it.
macro_rules! map_storage {
    ($storage:expr, $module:ident => $body:expr) => {
        match $storage {
            Storage::Rank1($module) => Storage::Rank1($body),
            Storage::Rank2($module) => Storage::Rank2($body),
            Storage::Rank3($module) => Storage::Rank3($body),
            Storage::Rank4($module) => Storage::Rank4($body),
            Storage::Buffer($module) => Storage::Buffer($body),
        }
    };
}

pub(super) use {each_storage, map_storage};

impl Storage {
    /// `host` on `device`; a parameter is trainable where the device can differentiate.
    pub(super) fn new(host: HostTensor, buffer: bool, device: &Device) -> Result<Self> {
        let rank = host.shape.len();
        let data = TensorData::new(host.values, host.shape.clone());
        Ok(match (buffer, rank) {
            (true, 1) => Self::Buffer(Buffer::new(Tensor::from_data(data, device))),
            (false, 1) => Self::Rank1(Param::from_tensor(Tensor::from_data(data, device))),
            (false, 2) => Self::Rank2(Param::from_tensor(Tensor::from_data(data, device))),
            (false, 3) => Self::Rank3(Param::from_tensor(Tensor::from_data(data, device))),
            (false, 4) => Self::Rank4(Param::from_tensor(Tensor::from_data(data, device))),
            _ => {
                return Err(Error::Rank {
                    expected: if buffer { 1 } else { 4 },
                    shape: host.shape,
                });
            }
        })
    }

    /// The same weight, name and settings with the values of `host`, which has its shape.
    pub(super) fn with_values(self, host: &HostTensor) -> Self {
        let data = TensorData::new(host.values.clone(), host.shape.clone());
        match self {
            Self::Rank1(param) => Self::Rank1(replace(param, data)),
            Self::Rank2(param) => Self::Rank2(replace(param, data)),
            Self::Rank3(param) => Self::Rank3(replace(param, data)),
            Self::Rank4(param) => Self::Rank4(replace(param, data)),
            Self::Buffer(buffer) => {
                let value = Tensor::from_data(data, &buffer.value().device());
                buffer.set(value);
                Self::Buffer(buffer)
            }
        }
    }

    /// The tensor, connected to the parameter for gradients.
    pub(super) fn feature(&self) -> Feature {
        match self {
            Self::Rank1(param) => param.val().into(),
            Self::Rank2(param) => param.val().into(),
            Self::Rank3(param) => param.val().into(),
            Self::Rank4(param) => param.val().into(),
            Self::Buffer(buffer) => buffer.value().into(),
        }
    }
}

fn replace<const D: usize>(param: Param<Tensor<D>>, data: TensorData) -> Param<Tensor<D>> {
    param.map(|old| Tensor::from_data(data, &old.device()).set_require_grad(old.is_require_grad()))
}

/// A running statistic: part of the module's state, never trained.
///
/// Burn's own `RunningState` is shared by all clones of a module, so that training a copy would change the
/// original. A clone of this one is independent.
#[derive(Debug)]
pub(super) struct Buffer {
    id: ParamId,
    value: Box<Mutex<Tensor<1>>>,
}

impl Buffer {
    pub(super) fn new(value: Tensor<1>) -> Self {
        Self::with_id(ParamId::new(), value)
    }

    fn with_id(id: ParamId, value: Tensor<1>) -> Self {
        Self {
            id,
            value: Box::new(Mutex::new(value.set_require_grad(false))),
        }
    }

    pub(super) fn value(&self) -> Tensor<1> {
        self.lock().clone()
    }

    pub(super) fn set(&self, value: Tensor<1>) {
        *self.lock() = value;
    }

    // A tensor is replaced in one assignment, so a panic elsewhere cannot leave it half written.
    fn lock(&self) -> MutexGuard<'_, Tensor<1>> {
        self.value.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Clone for Buffer {
    fn clone(&self) -> Self {
        Self::with_id(self.id, self.value())
    }
}

impl Module for Buffer {
    fn collect_devices(&self, mut devices: Vec<Device>) -> Vec<Device> {
        let device = self.lock().device();
        if !devices.contains(&device) {
            devices.push(device);
        }
        devices
    }

    fn fork(self, device: &Device) -> Self {
        Self::with_id(self.id, self.value().to_device(device).detach())
    }

    fn to_device(self, device: &Device) -> Self {
        Self::with_id(self.id, self.value().to_device(device))
    }

    fn valid(&self) -> Self {
        Self::with_id(self.id, self.value().without_autodiff())
    }

    fn train(self) -> Self {
        Self::with_id(self.id, self.value().autodiff())
    }

    fn materialize(self) -> Self {
        self
    }

    fn visit<V: ModuleVisitor>(&self, visitor: &mut V) {
        visitor.visit_float(&Param::initialized(self.id, self.value()));
    }

    fn map<M: ModuleMapper>(self, mapper: &mut M) -> Self {
        let mapped = mapper.map_float(Param::initialized(self.id, self.value()));
        let (id, value, _) = mapped.consume();
        Self::with_id(id, value)
    }
}
