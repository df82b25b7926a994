//! The few calls in a pickle whose result is known without making them: storages and tensors.

use super::super::element::Element;
use super::globals::{dtype_element, storage_element};
use super::value::{Heap, Id, Storage, Tensor, Value};

/// The most axes PyTorch gives a tensor.
const MOST_AXES: usize = 64;

/// The storage that a persistent id stands for.
///
/// The id is `("storage", class, key, device, elements)`, in files before 1.6 followed by
/// `None` or `(key of the view, offset, elements)`; or `("module", class, source file, source)`, which stands
/// for the class.
///
/// # Errors
/// If it is neither.
pub(super) fn storage(heap: &mut Heap<'_>, reference: Id, at: usize) -> Result<Id, String> {
    let parts = heap.sequence(reference);
    let broken = || format!("the pickle refers to a storage in an unknown way at byte {at}");
    let kind = parts.first().and_then(|&kind| heap.text(kind));
    match (kind, parts) {
        (Some("module"), [_, class, ..]) => Ok(*class),
        (Some("storage"), [_, class, key, _, _, rest @ ..]) => {
            let Value::Global { module, name } = heap.get(*class) else {
                return Err(broken());
            };
            let element = storage_element(module, name).ok_or_else(|| {
                format!("the pickle has storages of the unknown class `{module}.{name}`")
            })?;
            heap.text(*key).ok_or_else(broken)?;
            let offset = match rest.first().map(|&view| heap.sequence(view)) {
                Some([_, offset, _]) => size(heap, *offset)?,
                _ => 0,
            };
            let key = *key;
            heap.add(Value::Storage(Box::new(Storage {
                key,
                element,
                offset,
            })))
        }
        _ => Err(broken()),
    }
}

/// The result of calling `class` with `arguments` and the number of objects that were copied for it; `None` for a
/// call that is not known.
///
/// # Errors
/// If a known function's arguments are not what PyTorch writes.
pub(super) fn call(
    heap: &mut Heap<'_>,
    class: Id,
    arguments: Id,
) -> Result<Option<(Id, usize)>, String> {
    let Value::Global { module, name } = heap.get(class) else {
        return Ok(None);
    };
    match (&**module, &**name) {
        ("torch._utils", "_rebuild_tensor" | "_rebuild_tensor_v2" | "_rebuild_tensor_v3") => {
            let third = name == "_rebuild_tensor_v3";
            let Some(tensor) = tensor(heap, heap.sequence(arguments), third)? else {
                return Ok(None);
            };
            let cost = 2 * tensor.shape.len();
            let id = heap.add(Value::Tensor(Box::new(tensor)))?;
            Ok(Some((id, cost)))
        }
        ("torch._utils", "_rebuild_parameter" | "_rebuild_parameter_with_state")
        | ("torch.nn.parameter", "Parameter" | "Buffer")
        | ("torch", "Size") => Ok(heap.sequence(arguments).first().map(|&inner| (inner, 0))),
        // A tensor of a subclass: (function, class, its arguments, state).
        ("torch._tensor", "_rebuild_from_type_v2" | "_rebuild_from_type") => {
            match heap.sequence(arguments) {
                [function, _, inner, ..] if *function != class => {
                    let (function, inner) = (*function, *inner);
                    if matches!(heap.get(function), Value::Global { name, .. } if name.starts_with("_rebuild_from_type"))
                    {
                        return Ok(None);
                    }
                    call(heap, function, inner)
                }
                _ => Ok(None),
            }
        }
        ("collections", "OrderedDict" | "defaultdict") => {
            let entries = entries(heap, arguments);
            let cost = entries.len();
            let id = heap.add(Value::Dictionary(entries))?;
            Ok(Some((id, cost)))
        }
        _ => Ok(None),
    }
}

/// The pairs that an ordered dictionary is made from: `([[key, value], ...],)`, or none.
fn entries(heap: &Heap<'_>, arguments: Id) -> Vec<(Id, Id)> {
    let Some(&list) = heap.sequence(arguments).first() else {
        return Vec::new();
    };
    let pairs = heap
        .sequence(list)
        .iter()
        .filter_map(|&pair| match heap.sequence(pair) {
            &[key, value] => Some((key, value)),
            _ => None,
        });
    pairs.collect()
}

/// `(storage, offset, sizes, strides, ...)`, in version 3 with the dtype as the seventh.
fn tensor(heap: &Heap<'_>, arguments: &[Id], third: bool) -> Result<Option<Tensor>, String> {
    let [storage, offset, shape, strides, rest @ ..] = arguments else {
        return Err(format!(
            "a tensor is made from {} arguments",
            arguments.len()
        ));
    };
    let Value::Storage(storage) = heap.get(*storage) else {
        return Ok(None);
    };
    let dtype = if third { rest.get(2) } else { None };
    let element = match dtype.map(|&dtype| heap.get(dtype)) {
        Some(Value::Global { module, name }) => dtype_element(module, name),
        _ => storage.element,
    };
    let Some(element) = element else {
        return Ok(None);
    };
    let (shape, strides) = (sizes(heap, *shape)?, sizes(heap, *strides)?);
    if shape.len() != strides.len() {
        return Err(format!(
            "a tensor has sizes {shape:?} but strides {strides:?}"
        ));
    }
    let offset = size(heap, *offset)?
        .checked_add(storage.offset)
        .ok_or("a tensor starts beyond any storage")?;
    extent(offset, &shape, &strides, element).ok_or_else(|| {
        format!("a tensor with sizes {shape:?} and strides {strides:?} is too large")
    })?;
    Ok(Some(Tensor {
        key: storage.key,
        element,
        offset,
        shape,
        strides,
    }))
}

/// The bytes of a storage that a view needs, from the storage's start: 0 if it has no values, `None`
/// if the numbers overflow.
pub(super) fn extent(
    offset: usize,
    shape: &[usize],
    strides: &[usize],
    element: Element,
) -> Option<usize> {
    let count = super::super::host::element_count(shape)?;
    count.checked_mul(size_of::<f32>())?;
    if count == 0 {
        return Some(0);
    }
    let last = shape
        .iter()
        .zip(strides)
        .try_fold(offset, |last, (&size, &stride)| {
            last.checked_add((size - 1).checked_mul(stride)?)
        })?;
    last.checked_add(1)?.checked_mul(element.size())
}

fn sizes(heap: &Heap<'_>, id: Id) -> Result<Vec<usize>, String> {
    let items = heap.sequence(id);
    if items.len() > MOST_AXES {
        return Err(format!(
            "a tensor has {} axes, more than {MOST_AXES}",
            items.len()
        ));
    }
    items.iter().map(|&item| size(heap, item)).collect()
}

fn size(heap: &Heap<'_>, id: Id) -> Result<usize, String> {
    match heap.get(id) {
        Value::Integer(value) => usize::try_from(*value)
            .map_err(|_| format!("expected a size or an offset of a tensor, got {value}")),
        _ => Err("expected a size or an offset of a tensor, got another object".to_owned()),
    }
}
