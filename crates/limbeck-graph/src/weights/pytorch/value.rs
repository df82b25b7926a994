//! What a pickle can hold, as far as weights need it.

use std::borrow::Cow;

use super::super::element::Element;

/// The place of a [`Value`] on the [`Heap`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Id(u32);

/// A Python object.
///
/// Objects refer to each other by [`Id`]: several names for one object and cycles, which a pickle may hold, then cost
/// nothing to build, to search and to drop.
#[derive(Debug)]
pub(super) enum Value<'a> {
    /// A number that is not an integer, bytes, `None`: nothing that weights depend on.
    Opaque,
    Bool(bool),
    Integer(i64),
    Text(Cow<'a, str>),
    /// A list, a tuple or a set.
    Sequence(Vec<Id>),
    Dictionary(Vec<(Id, Id)>),
    /// A class or a function, by name; never looked up.
    Global {
        module: Cow<'a, str>,
        name: Cow<'a, str>,
    },
    Storage(Box<Storage>),
    Tensor(Box<Tensor>),
    /// What a call of a global would have made. The call did not happen.
    Object(Box<Object>),
}

/// The elements of one or more tensors, kept outside the pickle.
#[derive(Clone, Debug)]
pub(super) struct Storage {
    /// Its name in the file, a text.
    pub key: Id,
    /// The type of its elements; none for plain bytes.
    pub element: Option<Element>,
    /// The first element of a view of another storage.
    pub offset: usize,
}

/// A view of a storage.
#[derive(Debug)]
pub(super) struct Tensor {
    /// The storage's name in the file, a text.
    pub key: Id,
    pub element: Element,
    /// The first element.
    pub offset: usize,
    pub shape: Vec<usize>,
    /// Elements from one place to the next along each axis.
    pub strides: Vec<usize>,
}

/// An instance of a class that is not known.
#[derive(Debug)]
pub(super) struct Object {
    /// What was called.
    pub class: Id,
    /// What it was called with.
    pub arguments: Id,
    /// What was set afterwards.
    pub state: Option<Id>,
    /// Its items, where the class is a kind of dictionary.
    pub items: Vec<(Id, Id)>,
}

/// All objects of a pickle.
#[derive(Debug, Default)]
pub(super) struct Heap<'a> {
    values: Vec<Value<'a>>,
}

/// The most objects in a pickle: a checkpoint of a thousand tensors has a few ten thousand.
const MOST_VALUES: usize = 8_000_000;

/// The entries of a dictionary that [`Heap::entry`] looks at.
const FIRST_ENTRIES: usize = 64;

impl<'a> Heap<'a> {
    /// Adds an object.
    ///
    /// # Errors
    /// If there are too many.
    pub(super) fn add(&mut self, value: Value<'a>) -> Result<Id, String> {
        if self.values.len() >= MOST_VALUES {
            return Err(format!("the pickle holds more than {MOST_VALUES} objects"));
        }
        let id = Id(u32::try_from(self.values.len()).map_err(|error| error.to_string())?);
        self.values.push(value);
        Ok(id)
    }

    pub(super) fn get(&self, id: Id) -> &Value<'a> {
        &self.values[id.0 as usize]
    }

    pub(super) fn get_mut(&mut self, id: Id) -> &mut Value<'a> {
        &mut self.values[id.0 as usize]
    }

    /// All objects, in the order they were made.
    pub(super) fn values(&self) -> impl Iterator<Item = &Value<'a>> {
        self.values.iter()
    }

    /// The text at `id`, if it is one.
    pub(super) fn text(&self, id: Id) -> Option<&str> {
        match self.get(id) {
            Value::Text(text) => Some(text),
            _ => None,
        }
    }

    /// The items of the list or tuple at `id`, none for anything else.
    pub(super) fn sequence(&self, id: Id) -> &[Id] {
        match self.get(id) {
            Value::Sequence(items) => items,
            _ => &[],
        }
    }

    /// The pairs of the dictionary at `id`, or of an object that is a kind of dictionary; none for anything
    /// else.
    pub(super) fn pairs(&self, id: Id) -> &[(Id, Id)] {
        match self.get(id) {
            Value::Dictionary(pairs) => pairs,
            Value::Object(object) => &object.items,
            _ => &[],
        }
    }

    /// The value that the dictionary at `id` has for `key` among its first entries: enough for what Python's own
    /// classes keep, and quick on a dictionary of any size.
    pub(super) fn entry(&self, id: Id, key: &str) -> Option<Id> {
        let mut pairs = self.pairs(id).iter().take(FIRST_ENTRIES);
        pairs
            .find(|(at, _)| self.text(*at) == Some(key))
            .map(|(_, value)| *value)
    }

    /// The number of objects.
    pub(super) fn len(&self) -> usize {
        self.values.len()
    }

    /// `module.name` of the global at `id`; `an object` for anything else.
    pub(super) fn global_name(&self, id: Id) -> String {
        match self.get(id) {
            Value::Global { module, name } => format!("{module}.{name}"),
            _ => "an object".to_owned(),
        }
    }
}
