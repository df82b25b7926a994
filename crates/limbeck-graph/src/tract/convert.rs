//! Between Burn's tensors and tract's.

use std::collections::BTreeMap;

use burn::tensor::Device;
use tract_onnx::prelude::{DatumType, InferenceFact, TValue, Tensor, TractResult};

use super::guard::Guard;
use crate::onnx::{Dimension, ElementType, Graph, ValueKind};
use crate::{Error, Feature, InputTensor, Inputs, Result};

/// What a model takes, in the order of its file.
pub(super) struct Signature {
    inputs: Vec<Input>,
}

struct Input {
    name: String,
    element: DatumType,
    shape: Option<Vec<Dimension>>,
}

impl Signature {
    /// The inputs of `graph`.
    pub(super) fn new(graph: &Graph) -> std::result::Result<Self, String> {
        if graph.inputs.is_empty() {
            return Err("expected at least one input, got none".to_owned());
        }
        let inputs = graph.inputs.iter().map(|info| {
            let unusable = |kind: &str| {
                format!(
                    "its input `{}` is {kind}, expected a tensor of real numbers, integers or truth values",
                    info.name
                )
            };
            let ValueKind::Tensor { element, shape } = &info.kind else {
                return Err(unusable("no tensor"));
            };
            if shape.as_ref().is_some_and(Vec::is_empty) {
                return Err(unusable("a single number"));
            }
            let kind = datum_type(*element)
                .ok_or_else(|| unusable(&format!("a tensor of type {element}")))?;
            Ok(Input {
                name: info.name.clone(),
                element: kind,
                shape: shape.clone(),
            })
        });
        Ok(Self {
            inputs: inputs.collect::<std::result::Result<_, _>>()?,
        })
    }

    pub(super) fn names(&self) -> impl Iterator<Item = &str> {
        self.inputs.iter().map(|input| input.name.as_str())
    }

    /// What tract is told of inputs of these shapes.
    pub(super) fn facts(&self, shapes: &[Vec<usize>]) -> Vec<InferenceFact> {
        let fact = |(input, shape): (&Input, &Vec<usize>)| {
            InferenceFact::dt_shape(input.element, shape.iter().copied())
        };
        self.inputs.iter().zip(shapes).map(fact).collect()
    }

    /// Shapes with a single row, where every other size is known.
    pub(super) fn smallest_shapes(&self) -> Option<Vec<Vec<usize>>> {
        let smallest = |input: &Input| {
            let sizes = input.shape.as_ref()?.iter().enumerate();
            sizes
                .map(|(axis, dimension)| match dimension {
                    Dimension::Known(size) => Some(*size),
                    _ if axis == 0 => Some(1),
                    _ => None,
                })
                .collect()
        };
        self.inputs.iter().map(smallest).collect()
    }

    /// The inputs as tract takes them, checked against what the file says of them.
    pub(super) fn tensors(&self, inputs: &Inputs, guard: Guard<'_>) -> Result<Vec<Tensor>> {
        let mut symbols = BTreeMap::new();
        let mut tensors = Vec::with_capacity(self.inputs.len());
        for input in &self.inputs {
            let given = self.find(inputs, &input.name)?;
            let tensor = input.tensor(given, guard)?;
            input.check(tensor.shape(), &mut symbols)?;
            tensors.push(tensor);
        }
        Ok(tensors)
    }

    /// The input called `name`; only where a model has one alone its name does not matter.
    fn find<'a>(&self, inputs: &'a Inputs, name: &str) -> Result<&'a InputTensor> {
        if self.inputs.len() == 1 {
            return inputs.get(name);
        }
        let named = inputs.iter().find(|(key, _)| *key == name);
        named
            .map(|(_, tensor)| tensor)
            .ok_or_else(|| Error::Unknown {
                kind: "input",
                name: name.to_owned(),
                nearest: inputs.iter().map(|(key, _)| key.to_owned()).collect(),
            })
    }
}

impl Input {
    fn tensor(&self, given: &InputTensor, guard: Guard<'_>) -> Result<Tensor> {
        let cast = |tensor: TractResult<Tensor>| {
            guard.run(|| Ok(tensor?.cast_to_dt(self.element)?.into_owned()))
        };
        match given {
            InputTensor::Float(feature) if self.element.is_float() => {
                cast(Tensor::from_shape(&feature.shape(), &feature.to_vec()?))
            }
            InputTensor::Tokens(tokens) if !self.element.is_float() => {
                let data = tokens.to_data().convert::<i64>();
                let ids = data
                    .try_to_vec::<i64>()
                    .map_err(|error| Error::Device(format!("{error:?}")))?;
                cast(Tensor::from_shape(&tokens.dims(), &ids))
            }
            InputTensor::Float(feature) => {
                Err(self.error(format!("float values {:?}", feature.shape())))
            }
            InputTensor::Tokens(tokens) => {
                Err(self.error(format!("token ids {:?}", tokens.dims())))
            }
        }
    }

    /// Checks the sizes; one that the file calls by a name must be the same wherever it uses the name.
    fn check<'a>(&'a self, got: &[usize], symbols: &mut BTreeMap<&'a str, usize>) -> Result<()> {
        let Some(expected) = &self.shape else {
            return Ok(());
        };
        let wrong = || self.error(format!("{got:?}"));
        if expected.len() != got.len() || got.contains(&0) {
            return Err(wrong());
        }
        for (axis, (dimension, &size)) in expected.iter().zip(got).enumerate() {
            match dimension {
                Dimension::Known(known) if *known != size && axis == 0 => {
                    return Err(self.error(format!(
                        "{got:?}; the model was exported for batches of {known} alone, export it with a dynamic batch"
                    )));
                }
                Dimension::Known(known) if *known != size => return Err(wrong()),
                Dimension::Symbol(symbol) => {
                    let known = *symbols.entry(symbol).or_insert(size);
                    if known != size {
                        return Err(self.error(format!(
                            "{got:?}, but `{symbol}` is {known} in another place"
                        )));
                    }
                }
                _ => {}
            }
        }
        Ok(())
    }

    fn error(&self, got: String) -> Error {
        let kind = if self.element.is_float() {
            "float values"
        } else {
            "token ids"
        };
        let expected = match &self.shape {
            None => kind.to_owned(),
            Some(shape) => {
                let sizes = shape.iter().map(|dimension| match dimension {
                    Dimension::Known(size) => size.to_string(),
                    Dimension::Symbol(symbol) => symbol.clone(),
                    Dimension::Unknown => "?".to_owned(),
                });
                format!("{kind} [{}]", sizes.collect::<Vec<_>>().join(", "))
            }
        };
        Error::Input {
            name: self.name.clone(),
            expected,
            got,
        }
    }
}

/// tract's word for a type of inputs.
const fn datum_type(element: ElementType) -> Option<DatumType> {
    Some(match element {
        ElementType::F16 => DatumType::F16,
        ElementType::F32 => DatumType::F32,
        ElementType::F64 => DatumType::F64,
        ElementType::I8 => DatumType::I8,
        ElementType::I16 => DatumType::I16,
        ElementType::I32 => DatumType::I32,
        ElementType::I64 => DatumType::I64,
        ElementType::U8 => DatumType::U8,
        ElementType::U16 => DatumType::U16,
        ElementType::U32 => DatumType::U32,
        ElementType::U64 => DatumType::U64,
        ElementType::Bool => DatumType::Bool,
        _ => return None,
    })
}

/// A result of tract's on `device`; a single number has the shape `[1]`.
pub(super) fn feature(value: &TValue, device: &Device, guard: Guard<'_>) -> Result<Feature> {
    let (shape, values) = guard.run(|| {
        let tensor: &Tensor = value;
        let integers = match tensor.datum_type() {
            DatumType::TDim => Some(tensor.cast_to::<i64>()?),
            _ => None,
        };
        let tensor = integers.as_deref().unwrap_or(tensor).cast_to::<f32>()?;
        let values = tensor.try_as_plain_ram()?.as_slice::<f32>()?.to_vec();
        Ok((tensor.shape().to_vec(), values))
    })?;
    let shape = if shape.is_empty() { vec![1] } else { shape };
    Feature::from_vec(values, &shape, device)
}
