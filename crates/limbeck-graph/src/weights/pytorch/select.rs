//! Which of a checkpoint's dictionaries holds the weights.

use std::collections::{HashMap, VecDeque};

use super::value::{Heap, Id, Value};

/// The longest name of a tensor, in bytes.
const LONGEST_NAME: usize = 512;

/// The deepest nesting of modules in a model that was saved whole.
const DEEPEST_MODULE: usize = 64;

/// The objects on the way to the weights that are looked at for a name of the place.
const LONGEST_PLACE: usize = 8;

/// Words that mark a second copy of the weights, taken only if it is the larger one.
const SECOND_CHOICE: [&str; 4] = ["ema", "swa", "average", "shadow"];

/// A choice of named tensors.
#[derive(Debug)]
pub(super) struct Selection {
    /// Where they are, such as `state_dict` or `checkpoint.model`; empty for the outermost object.
    pub place: String,
    /// Names and tensors, in the file's order.
    pub entries: Vec<(String, Id)>,
}

/// The group of named tensors with the most members: a dictionary anywhere in the pickle, or a
/// model that was saved whole.
///
/// Among equals, one that is not called an average of weights is taken, then the first.
///
/// # Errors
/// If there are no named tensors.
pub(super) fn select(heap: &Heap<'_>, root: Id) -> Result<Selection, String> {
    let mut search = Search {
        heap,
        found_in: HashMap::from([(root, None)]),
        queue: VecDeque::from([root]),
        budget: heap.len().saturating_mul(64),
    };
    let mut best_rank = (0, false);
    let mut best = None;
    while let Some(id) = search.queue.pop_front() {
        let entries = if is_module(heap, id) {
            search.module(id)
        } else {
            named_tensors(heap, id)
        };
        if !entries.is_empty() {
            let rank = (entries.len(), !search.is_second_choice(id));
            if rank > best_rank {
                best_rank = rank;
                best = Some((id, entries));
            }
        }
        search.children(id);
    }
    match best {
        Some((id, entries)) => Ok(Selection {
            place: search.keys(id).join("."),
            entries,
        }),
        None => Err(no_tensors(heap, root)),
    }
}

fn no_tensors(heap: &Heap<'_>, root: Id) -> String {
    let keys: Vec<String> = heap
        .pairs(root)
        .iter()
        .filter_map(|(key, _)| heap.text(*key))
        .take(8)
        .map(|key| format!("`{key:.40}`"))
        .collect();
    let inside = if keys.is_empty() {
        String::new()
    } else {
        format!(", only {}", keys.join(", "))
    };
    format!(
        "there is no dictionary of named tensors in it{inside}; save the weights with \
         `torch.save(model.state_dict(), path)`"
    )
}

/// The tensors that a dictionary holds directly. An entry that stands for a tensor of a kind that is not
/// read counts too, so that it is reported instead of missed.
fn named_tensors(heap: &Heap<'_>, id: Id) -> Vec<(String, Id)> {
    let pairs = heap.pairs(id).iter();
    pairs
        .filter_map(|&(key, value)| {
            let name = heap.text(key).filter(|name| name.len() <= LONGEST_NAME)?;
            is_tensor(heap, value).then(|| (name.to_owned(), value))
        })
        .collect()
}

fn is_tensor(heap: &Heap<'_>, id: Id) -> bool {
    match heap.get(id) {
        Value::Tensor(_) => true,
        Value::Object(object) => match heap.get(object.class) {
            Value::Global { module, name } => {
                module == "torch._utils" && name.starts_with("_rebuild")
            }
            _ => false,
        },
        _ => false,
    }
}

/// The state of the `torch.nn.Module` at `id`, which has its parts under `_modules`.
fn module_state(heap: &Heap<'_>, id: Id) -> Option<Id> {
    let Value::Object(object) = heap.get(id) else {
        return None;
    };
    let state = object.state?;
    heap.entry(state, "_modules").map(|_| state)
}

fn is_module(heap: &Heap<'_>, id: Id) -> bool {
    module_state(heap, id).is_some()
}

/// A walk over everything that can be reached, each object once: a pickle may hold cycles.
struct Search<'h, 'a> {
    heap: &'h Heap<'a>,
    /// For each object seen: the object it was seen in first and the key there, if it has one.
    found_in: HashMap<Id, Option<(Id, Option<Id>)>>,
    queue: VecDeque<Id>,
    /// Bytes of names that may still be made for modules: one part may stand in many places.
    budget: usize,
}

impl Search<'_, '_> {
    fn see(&mut self, id: Id, parent: Id, key: Option<Id>) {
        if let std::collections::hash_map::Entry::Vacant(vacant) = self.found_in.entry(id) {
            vacant.insert(Some((parent, key)));
            self.queue.push_back(id);
        }
    }

    fn children(&mut self, id: Id) {
        let heap = self.heap;
        for &(key, value) in heap.pairs(id) {
            self.see(value, id, Some(key));
        }
        for &item in heap.sequence(id) {
            self.see(item, id, None);
        }
        if let Value::Object(object) = heap.get(id) {
            self.see(object.arguments, id, None);
            if let Some(state) = object.state {
                self.see(state, id, None);
            }
        }
    }

    /// The parameters and buffers of a module that was saved whole, named as its `state_dict()` would; its
    /// parts are then not looked at on their own.
    fn module(&mut self, id: Id) -> Vec<(String, Id)> {
        let mut entries = Vec::new();
        let mut open = vec![(id, String::new(), 0)];
        while let Some((module, prefix, depth)) = open.pop() {
            if self.budget == 0 {
                break;
            }
            let Some(state) = module_state(self.heap, module) else {
                continue;
            };
            self.found_in.entry(module).or_insert(None);
            for group in ["_parameters", "_buffers"] {
                if let Some(group) = self.heap.entry(state, group) {
                    if !self.charge(self.heap.pairs(group).len()) {
                        return entries;
                    }
                    for (name, id) in named_tensors(self.heap, group) {
                        if !self.charge(prefix.len() + name.len() + 1) {
                            return entries;
                        }
                        entries.push((format!("{prefix}{name}"), id));
                    }
                    self.found_in.entry(group).or_insert(None);
                }
            }
            let Some(parts) = self.heap.entry(state, "_modules") else {
                continue;
            };
            self.found_in.entry(parts).or_insert(None);
            for &(key, part) in self.heap.pairs(parts).iter().rev() {
                let name = self.heap.text(key).unwrap_or_default();
                if !self.charge(prefix.len() + name.len() + 1) {
                    return entries;
                }
                if depth < DEEPEST_MODULE && prefix.len() + name.len() < LONGEST_NAME {
                    open.push((part, format!("{prefix}{name}."), depth + 1));
                }
            }
        }
        entries
    }

    /// Whether the budget covered the bytes.
    fn charge(&mut self, bytes: usize) -> bool {
        let left = self.budget.checked_sub(bytes);
        self.budget = left.unwrap_or(0);
        left.is_some()
    }

    /// The keys on the way from the outermost object to `id`, the last ones of a long way, each cut short.
    fn keys(&self, id: Id) -> Vec<String> {
        let mut keys = Vec::new();
        let mut at = id;
        for _ in 0..LONGEST_PLACE {
            let Some(Some((parent, key))) = self.found_in.get(&at) else {
                break;
            };
            keys.extend(
                key.and_then(|key| self.heap.text(key))
                    .map(|key| format!("{key:.40}")),
            );
            at = *parent;
        }
        keys.reverse();
        keys
    }

    fn is_second_choice(&self, id: Id) -> bool {
        let place = self.keys(id).join(".").to_lowercase();
        SECOND_CHOICE.iter().any(|word| place.contains(word))
    }
}
