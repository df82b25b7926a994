//! Tensors as slices and back.

use burn::tensor::DType;
use burn_flex::{FlexTensor, Layout};
use burn_std::Shape;

use crate::buffer::Buffer;

/// The values of a dense tensor.
pub(super) fn values(tensor: &FlexTensor) -> &[f32] {
    tensor
        .as_slice()
        .expect("operations get dense tensors of 32-bit floats")
}

/// `tensor` in dense memory that no other tensor shows: its own where that is so, else a copy.
pub(super) fn unshared(tensor: FlexTensor) -> FlexTensor {
    let dense = tensor.to_contiguous();
    drop(tensor);
    if dense.is_unique() {
        return dense;
    }
    filled(dense.layout().shape(), |to| {
        to.copy_from_slice(values(&dense));
    })
}

/// The values of an [`unshared`] tensor, to be changed.
pub(super) fn values_mut(tensor: &mut FlexTensor) -> &mut [f32] {
    tensor
        .try_storage_mut()
        .expect("the memory was made sure to be the tensor's own")
}

/// The sizes of a tensor of rank `D`.
pub(super) fn sizes<const D: usize>(tensor: &FlexTensor) -> [usize; D] {
    let shape: &[usize] = tensor.layout().shape();
    shape
        .try_into()
        .expect("the rank is fixed by the function that made the operation")
}

/// A tensor of the shape `sizes` whose values are in `buffer`.
pub(super) fn tensor(buffer: Buffer, sizes: &[usize]) -> FlexTensor {
    let layout = Layout::contiguous(Shape::from(sizes.to_vec()));
    FlexTensor::new(buffer.into_bytes(), layout, DType::F32)
}

/// A tensor of the shape `sizes` that `fill` writes every value of.
pub(super) fn filled(sizes: &[usize], fill: impl FnOnce(&mut [f32])) -> FlexTensor {
    let mut buffer = Buffer::new(sizes.iter().product());
    fill(buffer.values());
    tensor(buffer, sizes)
}

/// A tensor of rank 1.
pub(super) fn list(values: &[f32]) -> FlexTensor {
    filled(&[values.len()], |to| to.copy_from_slice(values))
}
