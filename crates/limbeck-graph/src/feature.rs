//! A float tensor whose rank is known at run time.
//!
//! Burn carries the rank in the type; a graph read from a file cannot. [`Feature`] is the bridge:
//! one variant per rank, converted to a typed tensor where the rank is known.

use burn::tensor::{Device, Tensor};

use crate::{Error, Result};

/// A float tensor of rank 1 to 6. Images are `[batch, channels, height, width]` wherever a user or a loss
/// sees one.
#[derive(Clone, Debug)]
pub enum Feature {
    /// Rank 1.
    Rank1(Tensor<1>),
    /// Rank 2, usually `[batch, channels]`.
    Rank2(Tensor<2>),
    /// Rank 3, usually `[batch, tokens, channels]` or `[batch, channels, length]`.
    Rank3(Tensor<3>),
    /// Rank 4, usually `[batch, channels, height, width]`.
    Rank4(Tensor<4>),
    /// Rank 5.
    Rank5(Tensor<5>),
    /// Rank 6.
    Rank6(Tensor<6>),
}

/// Runs the same expression on the tensor inside, whatever its rank.
#[macro_export]
macro_rules! each_rank {
    ($feature:expr, $tensor:ident => $body:expr) => {
        match $feature {
            $crate::Feature::Rank1($tensor) => $body,
            $crate::Feature::Rank2($tensor) => $body,
            $crate::Feature::Rank3($tensor) => $body,
            $crate::Feature::Rank4($tensor) => $body,
            $crate::Feature::Rank5($tensor) => $body,
            $crate::Feature::Rank6($tensor) => $body,
        }
    };
}

macro_rules! conversions {
    ($($rank:literal $variant:ident),*) => {$(
        impl From<Tensor<$rank>> for Feature {
            fn from(tensor: Tensor<$rank>) -> Self {
                Self::$variant(tensor)
            }
        }

        impl TryFrom<Feature> for Tensor<$rank> {
            type Error = Error;

            fn try_from(feature: Feature) -> Result<Self> {
                match feature {
                    Feature::$variant(tensor) => Ok(tensor),
                    other => Err(Error::Rank { expected: $rank, shape: other.shape() }),
                }
            }
        }
    )*};
}

conversions!(1 Rank1, 2 Rank2, 3 Rank3, 4 Rank4, 5 Rank5, 6 Rank6);

impl Feature {
    /// The dimensions, outermost first.
    pub fn shape(&self) -> Vec<usize> {
        each_rank!(self, tensor => tensor.dims().to_vec())
    }

    /// The number of dimensions.
    pub fn rank(&self) -> usize {
        self.shape().len()
    }

    /// The device that holds the values.
    pub fn device(&self) -> Device {
        each_rank!(self, tensor => tensor.device())
    }

    /// The same values without their history: no gradient flows back through the result.
    #[must_use]
    pub fn detach(self) -> Self {
        each_rank!(self, tensor => tensor.detach().into())
    }

    /// The values, row major.
    ///
    /// # Errors
    /// If the device cannot hand the values over as `f32`.
    pub fn to_vec(&self) -> Result<Vec<f32>> {
        each_rank!(self, tensor => tensor.to_data().convert::<f32>().try_to_vec::<f32>())
            .map_err(|error| Error::Device(format!("{error:?}")))
    }

    /// `values`, row major, as a tensor of `shape` on `device`.
    ///
    /// # Errors
    /// If the shape's rank is not 1 to 6, or its size is not the number of values.
    pub fn from_vec(values: Vec<f32>, shape: &[usize], device: &Device) -> Result<Self> {
        use burn::tensor::TensorData;
        if shape.iter().product::<usize>() != values.len() {
            return Err(Error::Length {
                shape: shape.to_vec(),
                values: values.len(),
            });
        }
        let data = TensorData::new(values, shape.to_vec());
        Ok(match shape.len() {
            1 => Self::Rank1(Tensor::from_data(data, device)),
            2 => Self::Rank2(Tensor::from_data(data, device)),
            3 => Self::Rank3(Tensor::from_data(data, device)),
            4 => Self::Rank4(Tensor::from_data(data, device)),
            5 => Self::Rank5(Tensor::from_data(data, device)),
            6 => Self::Rank6(Tensor::from_data(data, device)),
            _ => {
                return Err(Error::Rank {
                    expected: 6,
                    shape: shape.to_vec(),
                });
            }
        })
    }
}
