//! Writes a model with other weights: a copy of its files in which the elements that changed are replaced.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};

use super::edit::{Edits, Splice};
use super::element::ElementType;
use super::external::{Located, folder};
use super::node::Attribute;
use super::tensor::{Payload, Tensor};
use super::{Model, Outcome};
use crate::error::nearest;
use crate::weights::HostTensor;
use crate::weights::element::{ByteOrder, Element};
use crate::{Error, Result, files};

/// New values for one run of little-endian elements.
struct Patch<'a> {
    start: u64,
    element: Element,
    values: &'a [f32],
}

impl Model {
    /// Writes the model to `path` with new values of the initialisers in `new_initialisers`; the others keep theirs.
    ///
    /// The file is the one that was read but for the elements that changed: an element whose new value is what
    /// [`Tensor::floats`] gives keeps its bits, also where `f32` cannot tell them all. Files with external values are
    /// written likewise beside the new model. Each file is replaced in one step, the model last.
    ///
    /// After a model with external files was written to its own place, this value describes the new files.
    ///
    /// # Errors
    /// If there is no such initialiser, it has another shape, is not of a float type or cannot hold a value; if its
    /// values have no fixed length in the file or share bytes with another tensor's; if external files would
    /// replace those of the original, which another model in the same folder still uses; if a file cannot be
    /// read or written.
    pub fn write(
        &self,
        path: impl AsRef<Path>,
        new_initialisers: &BTreeMap<String, HostTensor>,
    ) -> Result<()> {
        self.write_with(path.as_ref(), new_initialisers, &[])
    }

    /// [`write`](Self::write), in the form that evaluates and with the changes of `edits`.
    pub(super) fn write_evaluating(
        &self,
        path: impl AsRef<Path>,
        new_initialisers: &BTreeMap<String, HostTensor>,
        edits: &Edits,
    ) -> Result<()> {
        let splices = self.splices(edits)?;
        self.write_with(path.as_ref(), new_initialisers, &splices)
    }

    fn write_with(
        &self,
        path: &Path,
        new_initialisers: &BTreeMap<String, HostTensor>,
        splices: &[Splice],
    ) -> Result<()> {
        let changed = self.changed(new_initialisers)?;
        let mut inside = Vec::new();
        for (tensor, new) in &changed {
            let (Some(element), Payload::Fixed(parts)) =
                (tensor.element.element(), &tensor.payload)
            else {
                continue;
            };
            let mut rest = new.values.as_slice();
            for part in parts {
                let (values, after) = rest.split_at(part.len() / element.size());
                rest = after;
                inside.push(Patch {
                    start: part.start as u64,
                    element,
                    values,
                });
            }
        }
        self.write_external(path, &changed)?;
        files::replace(path, |file| {
            copy(self.source.reader()?, &mut inside, splices, file)
        })
    }

    /// The initialisers that get other values, checked to have room for them.
    fn changed<'a>(
        &'a self,
        new_initialisers: &'a BTreeMap<String, HostTensor>,
    ) -> Result<Vec<(&'a Tensor, &'a HostTensor)>> {
        let initialisers = &self.graph.initialisers;
        let mut changed = Vec::new();
        for (name, new) in new_initialisers {
            let tensor = initialisers.get(name).ok_or_else(|| Error::Unknown {
                kind: "initialiser",
                name: name.clone(),
                nearest: nearest(name, initialisers.keys().map(String::as_str)),
            })?;
            if tensor.shape != new.shape || tensor.len() != new.values.len() {
                return Err(tensor.error(&format!(
                    "expected new values of shape {:?}, got {:?}",
                    tensor.shape, new.shape
                )));
            }
            let old = tensor.floats()?;
            let same = |(old, new): (&f32, &f32)| old.to_bits() == new.to_bits();
            if old.values.iter().zip(&new.values).all(same) {
                continue;
            }
            if matches!(tensor.payload, Payload::Varints(_)) {
                return Err(tensor.error(
                    "its values are stored with variable length and cannot be replaced in place; save the model \
                     with raw data",
                ));
            }
            if let Some(value) = new
                .values
                .iter()
                .find(|value| overflows(tensor.element, **value))
            {
                return Err(tensor.error(&format!("the new value {value} is too large")));
            }
            changed.push((tensor, new));
        }
        Ok(changed)
    }

    /// Writes the files with external values beside the model at `path`.
    fn write_external(&self, path: &Path, changed: &[(&Tensor, &HostTensor)]) -> Result<()> {
        let mut located: BTreeMap<PathBuf, (&Located, Vec<Patch<'_>>)> = BTreeMap::new();
        for tensor in self.tensors() {
            if let Payload::External { file, .. } = &tensor.payload {
                located
                    .entry(file.inside.clone())
                    .or_insert((file, Vec::new()));
            }
        }
        for (tensor, new) in changed {
            let (Some(element), Payload::External { file, offset }) =
                (tensor.element.element(), &tensor.payload)
            else {
                continue;
            };
            self.check_alone(tensor, file, *offset)?;
            if let Some((_, patches)) = located.get_mut(&file.inside) {
                patches.push(Patch {
                    start: *offset,
                    element,
                    values: &new.values,
                });
            }
        }
        let root = folder(path);
        let refuse = |file: &Located, problem: &str| Error::Onnx {
            path: path.to_owned(),
            problem: format!("its external data `{}` {problem}", file.inside.display()),
        };
        let unwritable = |source| Error::Write {
            path: path.to_owned(),
            source,
        };
        let in_place = match (path.canonicalize(), self.source.path.canonicalize()) {
            (Ok(new), Ok(old)) => new == old,
            _ => false,
        };
        let mut copies = Vec::new();
        for (file, patches) in located.into_values() {
            let target = root.join(&file.inside);
            if target == path {
                return Err(refuse(
                    file,
                    "would take the place of the model; choose another name",
                ));
            }
            let original = target
                .canonicalize()
                .is_ok_and(|target| target == file.path);
            if original && patches.is_empty() {
                continue;
            }
            if original && !in_place {
                return Err(refuse(
                    file,
                    "would replace the original model's; choose another folder",
                ));
            }
            copies.push((file, target, patches));
        }
        for (file, target, mut patches) in copies {
            let parent = folder(&target);
            fs::create_dir_all(parent).map_err(unwritable)?;
            let canonical = |path: &Path| path.canonicalize().map_err(unwritable);
            if !canonical(parent)?.starts_with(canonical(root)?) {
                return Err(refuse(file, "would be written outside the model's folder"));
            }
            let old = File::open(&file.path).map_err(|source| Error::Read {
                path: file.path.clone(),
                source,
            })?;
            files::replace(&target, |new| copy(old, &mut patches, &[], new))?;
        }
        Ok(())
    }

    /// Checks that no other tensor has its values in the same bytes of the file.
    fn check_alone(&self, tensor: &Tensor, file: &Located, offset: u64) -> Result<()> {
        let end = |tensor: &Tensor, start: u64| {
            let size = tensor.element.element().map_or(1, Element::size);
            start + (tensor.len() * size) as u64
        };
        for other in self.tensors().filter(|other| !std::ptr::eq(*other, tensor)) {
            if let Payload::External {
                file: same,
                offset: start,
            } = &other.payload
                && same.path == file.path
                && *start < end(tensor, offset)
                && offset < end(other, *start)
            {
                return Err(tensor.error(&format!(
                    "it shares bytes of its external data with `{}`; save them apart",
                    other.name
                )));
            }
        }
        Ok(())
    }

    /// All tensors: initialisers and those in attributes.
    fn tensors(&self) -> impl Iterator<Item = &Tensor> {
        let attributes = self
            .graph
            .nodes
            .iter()
            .flat_map(|node| node.attributes.values());
        let inside = attributes.flat_map(|attribute| match attribute {
            Attribute::Tensor(tensor) => std::slice::from_ref(tensor),
            Attribute::Tensors(tensors) => tensors.as_slice(),
            _ => &[],
        });
        self.graph.initialisers.values().chain(inside)
    }
}

/// Copies `old` to `new` with the patches and the splices, none of which overlap.
fn copy(
    mut old: impl Read,
    patches: &mut [Patch<'_>],
    splices: &[Splice],
    new: &mut dyn Write,
) -> io::Result<()> {
    patches.sort_by_key(|patch| patch.start);
    let mut splices = splices.iter().peekable();
    let mut at = 0;
    for patch in patches {
        while let Some(splice) = splices.next_if(|splice| splice.range.start as u64 <= patch.start)
        {
            at = splice_in(&mut old, at, splice, new)?;
        }
        io::copy(&mut old.by_ref().take(patch.start - at), new)?;
        let mut bytes = vec![0; patch.values.len() * patch.element.size()];
        old.read_exact(&mut bytes)?;
        patch.apply(&mut bytes).map_err(io::Error::other)?;
        new.write_all(&bytes)?;
        at = patch.start + bytes.len() as u64;
    }
    for splice in splices {
        at = splice_in(&mut old, at, splice, new)?;
    }
    io::copy(&mut old, new)?;
    Ok(())
}

/// Copies up to a splice and writes it; gives the place in `old` after it.
fn splice_in(
    old: &mut impl Read,
    at: u64,
    splice: &Splice,
    new: &mut dyn Write,
) -> io::Result<u64> {
    io::copy(&mut old.by_ref().take(splice.range.start as u64 - at), new)?;
    io::copy(
        &mut old.by_ref().take(splice.range.len() as u64),
        &mut io::sink(),
    )?;
    new.write_all(&splice.bytes)?;
    Ok(splice.range.end as u64)
}

impl Patch<'_> {
    /// Replaces those elements in `bytes` that have another value.
    fn apply(&self, bytes: &mut [u8]) -> Outcome<()> {
        let old = self.element.decode(bytes, ByteOrder::Little)?;
        let elements = bytes.chunks_exact_mut(self.element.size());
        for ((element, old), new) in elements.zip(old).zip(self.values) {
            if old.to_bits() == new.to_bits() {
                continue;
            }
            match self.element {
                Element::F32 => element.copy_from_slice(&new.to_le_bytes()),
                Element::F64 => element.copy_from_slice(&f64::from(*new).to_le_bytes()),
                Element::F16 => element.copy_from_slice(&half::f16::from_f32(*new).to_le_bytes()),
                Element::BF16 => element.copy_from_slice(&half::bf16::from_f32(*new).to_le_bytes()),
                _ => return Err("only real numbers are replaced".to_owned()),
            }
        }
        Ok(())
    }
}

/// Whether a finite value becomes an infinity as an element of this type.
fn overflows(element: ElementType, value: f32) -> bool {
    let rounded = match element {
        ElementType::F16 => half::f16::from_f32(value).to_f32(),
        ElementType::BF16 => half::bf16::from_f32(value).to_f32(),
        _ => value,
    };
    value.is_finite() && !rounded.is_finite()
}
