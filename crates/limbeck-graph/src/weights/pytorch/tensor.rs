//! From a view of a storage to values.

use super::super::HostTensor;
use super::super::element::ByteOrder;
use super::container::Storages;
use super::rebuild::extent;
use super::value::Tensor;

/// Values that may still be made. Several names for one storage and views with a stride of 0 make more values than
/// the file holds; without a limit, a few bytes could ask for all memory.
#[derive(Debug)]
pub(super) struct Room(usize);

impl Room {
    /// Four values per byte of the file, and a few thousand for small files.
    pub(super) const fn for_file(bytes: usize) -> Self {
        Self(bytes.saturating_mul(4).saturating_add(1 << 16))
    }

    fn take(&mut self, values: usize) -> Result<(), String> {
        self.0 = self
            .0
            .checked_sub(values)
            .ok_or("the tensors are out of proportion to the file")?;
        Ok(())
    }
}

/// The values of a view, row major.
///
/// # Errors
/// If the storage is missing or too short, or the elements have no value in `f32`.
pub(super) fn read(
    tensor: &Tensor,
    key: &str,
    storages: &Storages<'_>,
    order: ByteOrder,
    room: &mut Room,
) -> Result<HostTensor, String> {
    let Tensor {
        element,
        offset,
        shape,
        strides,
        ..
    } = tensor;
    let needed = extent(*offset, shape, strides, *element).ok_or("it is too large")?;
    let count = shape.iter().product();
    room.take(count)?;
    if count == 0 {
        return HostTensor::new(shape.clone(), Vec::new()).map_err(|error| error.to_string());
    }
    let storage = storages
        .get(key)
        .ok_or_else(|| format!("its storage `{key:.40}` is not in the file"))?;
    let present = storage.len();
    let used = storage.get(offset * element.size()..needed).ok_or_else(|| {
        format!(
            "expected {needed} bytes in its storage for shape {shape:?}, got {present}; the file is truncated"
        )
    })?;
    let values = if is_contiguous(shape, strides) {
        element.decode(used, order)?
    } else {
        element.decode(&gather(used, element.size(), shape, strides, count), order)?
    };
    HostTensor::new(shape.clone(), values).map_err(|error| error.to_string())
}

/// Whether the values lie one after the other, row major; the stride along an axis of size 1 means nothing.
fn is_contiguous(shape: &[usize], strides: &[usize]) -> bool {
    let mut expected = 1;
    shape.iter().zip(strides).rev().all(|(&size, &stride)| {
        let fits = size == 1 || stride == expected;
        expected *= size;
        fits
    })
}

/// The elements that a view with any strides sees, row major; `bytes` starts at its first element and holds its
/// last one.
fn gather(bytes: &[u8], size: usize, shape: &[usize], strides: &[usize], count: usize) -> Vec<u8> {
    let axes: Vec<(usize, usize)> = shape.iter().copied().zip(strides.iter().copied()).collect();
    // Along an axis of size 1 nothing moves, and the stride there may be any number.
    let moving: Vec<(usize, usize)> = axes.into_iter().filter(|(length, _)| *length > 1).collect();
    let mut gathered = Vec::with_capacity(count * size);
    let mut index = vec![0; moving.len()];
    let mut position = 0;
    for _ in 0..count {
        gathered.extend_from_slice(&bytes[position * size..(position + 1) * size]);
        for (place, (length, stride)) in index.iter_mut().zip(&moving).rev() {
            *place += 1;
            if *place < *length {
                position += stride;
                break;
            }
            position -= stride * (length - 1);
            *place = 0;
        }
    }
    gathered
}
