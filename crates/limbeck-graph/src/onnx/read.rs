//! Reads the messages of a model file (onnx.proto) into checked values.

use std::collections::{BTreeMap, btree_map::Entry};
use std::sync::Arc;

use super::element::ElementType;
use super::external::Located;
use super::node::{Node, Place};
use super::source::Source;
use super::value::{Dimension, ValueInfo, ValueKind};
use super::wire::{Field, Fields};
use super::{Function, Graph, Header, Outcome};

/// The bytes that everything but the tensors' values may take in memory, many times what real models need. Two
/// bytes of a hostile file can ask for a node of two hundred.
const ROOM: usize = 256 << 20;

/// Reads messages of one file.
pub(super) struct Reader<'a> {
    pub(super) source: &'a Arc<Source>,
    /// The file.
    pub(super) bytes: &'a [u8],
    room: usize,
    /// The external files found so far, by the name that the model gives them.
    pub(super) files: BTreeMap<String, Arc<Located>>,
}

impl<'a> Reader<'a> {
    pub(super) fn new(source: &'a Arc<Source>, bytes: &'a [u8]) -> Self {
        Self {
            source,
            bytes,
            room: ROOM,
            files: BTreeMap::new(),
        }
    }

    /// Takes `bytes` from what the model may use.
    pub(super) fn charge(&mut self, bytes: usize) -> Outcome<()> {
        match self.room.checked_sub(bytes) {
            Some(left) => {
                self.room = left;
                Ok(())
            }
            None => Err(format!(
                "its nodes and names take more than {} MiB of memory",
                ROOM >> 20
            )),
        }
    }

    /// A text as a value of its own.
    pub(super) fn own(&mut self, text: &str) -> Outcome<String> {
        self.charge(size_of::<String>() + text.len())?;
        Ok(text.to_owned())
    }

    /// The whole file.
    pub(super) fn model(&mut self) -> Outcome<(Header, Graph)> {
        let mut header = Header::default();
        let mut graph = None;
        let mut fields = Fields::new(self.bytes, 0..self.bytes.len());
        let mut place = Place::default();
        loop {
            let start = fields.position();
            let Some(field) = fields.next().transpose()? else {
                break;
            };
            match field.number {
                1 => header.ir_version = field.integer()?,
                2 => header.producer_name = self.own(field.text()?)?,
                3 => header.producer_version = self.own(field.text()?)?,
                7 if graph.is_some() => return Err("it holds more than one graph".to_owned()),
                7 => {
                    place = Place {
                        field: start..fields.position(),
                        message: field.bytes()?,
                    };
                    graph = Some(field);
                }
                8 => {
                    let (domain, version) = self.operator_set(field.message()?)?;
                    insert(&mut header.opset_imports, domain, version, "operator set")?;
                }
                14 => self.entry(&mut header.metadata, field.message()?)?,
                25 => header.functions.push(self.function(field.message()?)?),
                _ => {}
            }
        }
        // The versions come first: what a file of another kind is blamed for should be that.
        header.check()?;
        let graph = graph.ok_or("it holds no graph")?;
        Ok((header, self.graph(graph.message()?, place)?))
    }

    fn graph(&mut self, mut fields: Fields<'_>, place: Place) -> Outcome<Graph> {
        let mut graph = Graph {
            place,
            ..Graph::default()
        };
        loop {
            let start = fields.position();
            let Some(field) = fields.next().transpose()? else {
                break;
            };
            match field.number {
                1 => {
                    let position = graph.nodes.len();
                    let mut node = self.node(field.message()?, position)?;
                    node.place = Place {
                        field: start..fields.position(),
                        message: field.bytes()?,
                    };
                    graph.nodes.push(node);
                }
                2 => graph.name = self.own(field.text()?)?,
                5 => {
                    let tensor = self.tensor(field.message()?)?;
                    let name = self.own(&tensor.name)?;
                    insert(&mut graph.initialisers, name, tensor, "initialiser")?;
                }
                11 => graph.inputs.push(self.value_info(field.message()?)?),
                12 => graph.outputs.push(self.value_info(field.message()?)?),
                13 => {
                    let info = self.value_info(field.message()?)?;
                    let name = self.own(&info.name)?;
                    insert(&mut graph.value_infos, name, info, "value info")?;
                }
                15 => return Err("it holds sparse initialisers; save them dense".to_owned()),
                _ => {}
            }
        }
        Ok(graph)
    }

    fn node(&mut self, fields: Fields<'_>, position: usize) -> Outcome<Node> {
        self.charge(size_of::<Node>())?;
        let mut node = Node {
            name: String::new(),
            op_type: String::new(),
            domain: String::new(),
            overload: String::new(),
            inputs: Vec::new(),
            outputs: Vec::new(),
            attributes: BTreeMap::new(),
            place: Place::default(),
        };
        let mut attributes = Vec::new();
        for field in fields {
            let field = field.map_err(|problem| format!("node {position}: {problem}"))?;
            match field.number {
                1 => node.inputs.push(self.own(field.text()?)?),
                2 => node.outputs.push(self.own(field.text()?)?),
                3 => node.name = self.own(field.text()?)?,
                4 => node.op_type = self.own(field.text()?)?,
                5 => {
                    self.charge(size_of::<Field<'_>>())?;
                    attributes.push(field);
                }
                7 => node.domain = self.own(own_domain(field.text()?))?,
                8 => node.overload = self.own(field.text()?)?,
                _ => {}
            }
        }
        for field in attributes {
            let read = field.message().and_then(|fields| self.attribute(fields));
            let inserted = read.and_then(|(name, value)| {
                self.charge(size_of_val(&value))?;
                insert(&mut node.attributes, name, value, "attribute")
            });
            inserted.map_err(|problem| format!("{node}: {problem}"))?;
        }
        Ok(node)
    }

    fn value_info(&mut self, fields: Fields<'_>) -> Outcome<ValueInfo> {
        self.charge(size_of::<ValueInfo>())?;
        let mut info = ValueInfo {
            name: String::new(),
            kind: ValueKind::Unknown,
        };
        for field in fields {
            let field = field?;
            match field.number {
                1 => info.name = self.own(field.text()?)?,
                2 => {
                    let kind = self.kind(field.message()?);
                    info.kind =
                        kind.map_err(|problem| format!("value `{}`: {problem}", info.name))?;
                }
                _ => {}
            }
        }
        Ok(info)
    }

    fn kind(&mut self, fields: Fields<'_>) -> Outcome<ValueKind> {
        let mut kind = ValueKind::Unknown;
        for field in fields {
            let field = field?;
            kind = match field.number {
                1 => self.tensor_kind(field.message()?)?,
                4 => ValueKind::Other("sequence"),
                5 => ValueKind::Other("map"),
                7 => ValueKind::Other("opaque value"),
                8 => ValueKind::Other("sparse tensor"),
                9 => ValueKind::Other("optional value"),
                _ => continue,
            };
        }
        Ok(kind)
    }

    fn tensor_kind(&mut self, fields: Fields<'_>) -> Outcome<ValueKind> {
        let mut element = ElementType::Other(0);
        let mut shape = None;
        for field in fields {
            let field = field?;
            match field.number {
                1 => element = element_type(&field)?,
                2 => shape = Some(self.dimensions(field.message()?)?),
                _ => {}
            }
        }
        Ok(ValueKind::Tensor { element, shape })
    }

    fn dimensions(&mut self, fields: Fields<'_>) -> Outcome<Vec<Dimension>> {
        let mut dimensions = Vec::new();
        for field in fields {
            let field = field?;
            if field.number != 1 {
                continue;
            }
            let mut dimension = Dimension::Unknown;
            for field in field.message()? {
                let field = field?;
                dimension = match field.number {
                    1 => match usize::try_from(field.integer()?) {
                        Ok(known) => Dimension::Known(known),
                        Err(_) => Dimension::Unknown,
                    },
                    2 => match field.text()? {
                        "" => Dimension::Unknown,
                        symbol => Dimension::Symbol(self.own(symbol)?),
                    },
                    _ => continue,
                };
            }
            self.charge(size_of::<Dimension>())?;
            dimensions.push(dimension);
        }
        Ok(dimensions)
    }

    fn operator_set(&mut self, fields: Fields<'_>) -> Outcome<(String, i64)> {
        let mut set = (String::new(), 0);
        for field in fields {
            let field = field?;
            match field.number {
                1 => set.0 = self.own(own_domain(field.text()?))?,
                2 => set.1 = field.integer()?,
                _ => {}
            }
        }
        Ok(set)
    }

    /// One pair of texts of a map.
    fn entry(&mut self, map: &mut BTreeMap<String, String>, fields: Fields<'_>) -> Outcome<()> {
        let (key, value) = pair(fields)?;
        let (key, value) = (self.own(key)?, self.own(value)?);
        insert(map, key, value, "metadata")
    }

    fn function(&mut self, fields: Fields<'_>) -> Outcome<Function> {
        let mut function = Function::default();
        self.charge(size_of::<Function>())?;
        for field in fields {
            let field = field?;
            match field.number {
                1 => function.name = self.own(field.text()?)?,
                10 => function.domain = self.own(own_domain(field.text()?))?,
                13 => function.overload = self.own(field.text()?)?,
                _ => {}
            }
        }
        Ok(function)
    }
}

/// ONNX's own operators have two names for their domain.
fn own_domain(domain: &str) -> &str {
    if domain == "ai.onnx" { "" } else { domain }
}

/// The type of elements that a field holds.
pub(super) fn element_type(field: &Field<'_>) -> Outcome<ElementType> {
    let number = field.integer()?;
    let number = i32::try_from(number).map_err(|_| format!("there is no element type {number}"))?;
    Ok(ElementType::from_number(number))
}

/// A key and its value (`StringStringEntryProto`).
pub(super) fn pair<'a>(fields: Fields<'a>) -> Outcome<(&'a str, &'a str)> {
    let mut pair = ("", "");
    for field in fields {
        let field = field?;
        match field.number {
            1 => pair.0 = field.text()?,
            2 => pair.1 = field.text()?,
            _ => {}
        }
    }
    Ok(pair)
}

fn insert<T>(map: &mut BTreeMap<String, T>, key: String, value: T, kind: &str) -> Outcome<()> {
    match map.entry(key) {
        Entry::Vacant(entry) => {
            entry.insert(value);
            Ok(())
        }
        Entry::Occupied(entry) => Err(format!("{kind} `{}` occurs twice", entry.key())),
    }
}
