//! Weights on a device.

use std::sync::{Mutex, MutexGuard, PoisonError};

use burn::module::{Module, ModuleMapper, ModuleVisitor, Param, ParamId};
use burn::tensor::{Device, Tensor, TensorData};

use crate::weights::HostTensor;
use crate::{Feature, Result, each_rank};

/// A weight of a compiled graph.
#[derive(Clone, Debug)]
pub(super) struct Weight {
    pub(super) name: String,
    pub(super) storage: Storage,
}

/// A parameter that trains, or a buffer.
#[derive(Clone, Debug)]
pub(super) enum Storage {
    Rank1(Param<Tensor<1>>),
    Rank2(Param<Tensor<2>>),
    Rank3(Param<Tensor<3>>),
    Rank4(Param<Tensor<4>>),
    Rank5(Param<Tensor<5>>),
    Rank6(Param<Tensor<6>>),
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
            Storage::Rank5($module) => $body,
            Storage::Rank6($module) => $body,
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
            Storage::Rank5($module) => Storage::Rank5($body),
            Storage::Rank6($module) => Storage::Rank6($body),
            Storage::Buffer($module) => Storage::Buffer($body),
        }
    };
}

pub(super) use {each_storage, map_storage};

impl Storage {
    /// `host` on `device`; what is `trained` is trainable where the device can differentiate, all else never is.
    pub(super) fn new(host: HostTensor, trained: bool, device: &Device) -> Result<Self> {
        let value = Feature::from_vec(host.values, &host.shape, device)?;
        Ok(match value {
            value if !trained => Self::Buffer(Buffer::new(value)),
            Feature::Rank1(value) => Self::Rank1(Param::from_tensor(value)),
            Feature::Rank2(value) => Self::Rank2(Param::from_tensor(value)),
            Feature::Rank3(value) => Self::Rank3(Param::from_tensor(value)),
            Feature::Rank4(value) => Self::Rank4(Param::from_tensor(value)),
            Feature::Rank5(value) => Self::Rank5(Param::from_tensor(value)),
            Feature::Rank6(value) => Self::Rank6(Param::from_tensor(value)),
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
            Self::Rank5(param) => Self::Rank5(replace(param, data)),
            Self::Rank6(param) => Self::Rank6(replace(param, data)),
            Self::Buffer(buffer) => {
                let value = each_rank!(buffer.value(), old => {
                    like(&old, Tensor::from_data(data, &old.device())).into()
                });
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
            Self::Rank5(param) => param.val().into(),
            Self::Rank6(param) => param.val().into(),
            Self::Buffer(buffer) => buffer.value(),
        }
    }
}

fn replace<const D: usize>(param: Param<Tensor<D>>, data: TensorData) -> Param<Tensor<D>> {
    param.map(|old| Tensor::from_data(data, &old.device()).set_require_grad(old.is_require_grad()))
}

/// A tensor of the rank of another one.
const fn like<const D: usize>(_: &Tensor<D>, tensor: Tensor<D>) -> Tensor<D> {
    tensor
}

/// A running statistic, a constant or a frozen parameter: part of the module's state, never trained.
///
/// Burn's own `RunningState` is shared by all clones of a module, so that training a copy would change the
/// original. A clone of this one is independent.
#[derive(Debug)]
pub(super) struct Buffer {
    id: ParamId,
    value: Box<Mutex<Feature>>,
}

impl Buffer {
    pub(super) fn new(value: Feature) -> Self {
        Self::with_id(ParamId::new(), value)
    }

    fn with_id(id: ParamId, value: Feature) -> Self {
        let value = each_rank!(value, tensor => tensor.set_require_grad(false).into());
        Self {
            id,
            value: Box::new(Mutex::new(value)),
        }
    }

    pub(super) fn value(&self) -> Feature {
        self.lock().clone()
    }

    pub(super) fn set(&self, value: Feature) {
        *self.lock() = value;
    }

    fn mapped(&self, change: impl FnOnce(Feature) -> Feature) -> Self {
        Self::with_id(self.id, change(self.value()))
    }

    // A tensor is replaced in one assignment, so a panic elsewhere cannot leave it half written.
    fn lock(&self) -> MutexGuard<'_, Feature> {
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
        self.mapped(|value| each_rank!(value, tensor => tensor.to_device(device).detach().into()))
    }

    fn to_device(self, device: &Device) -> Self {
        self.mapped(|value| each_rank!(value, tensor => tensor.to_device(device).into()))
    }

    fn valid(&self) -> Self {
        self.mapped(|value| each_rank!(value, tensor => tensor.without_autodiff().into()))
    }

    fn train(self) -> Self {
        self.mapped(|value| each_rank!(value, tensor => tensor.autodiff().into()))
    }

    fn materialize(self) -> Self {
        self
    }

    fn visit<V: ModuleVisitor>(&self, visitor: &mut V) {
        each_rank!(self.value(), tensor => {
            visitor.visit_float(&Param::initialized(self.id, tensor));
        });
    }

    fn map<M: ModuleMapper>(self, mapper: &mut M) -> Self {
        each_rank!(self.value(), tensor => {
            let mapped = mapper.map_float(Param::initialized(self.id, tensor));
            let (id, value, _) = mapped.consume();
            Self::with_id(id, value.into())
        })
    }
}
