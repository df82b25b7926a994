//! What a path holds, and opening one split of it.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::content::{Content, sniff};
use super::resized::Resized;
use super::{Dataset, DatasetInfo, Split, cifar, digits, folder, idx_files, parquet};
use crate::{Error, Result};

/// What [`open`] recognises, for messages.
pub const RECOGNISED: &str = "`digits` (embedded), IDX image and label files (plain or gz), CIFAR-10 or CIFAR-100 binary \
    batches, Hugging Face parquet files with images, or a folder with one sub-folder of images per class";

/// How a set is to be opened.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct OpenOptions {
    /// Scale all images to `[height, width]`.
    pub resize: Option<[usize; 2]>,
    /// The number of classes, where the files do not tell it.
    pub classes: Option<usize>,
}

impl OpenOptions {
    /// Brings a list of names to the number of classes asked for.
    pub(super) fn fit_classes(&self, names: &mut Vec<String>) {
        if let Some(classes) = self.classes {
            names.truncate(classes);
            names.extend((names.len()..classes).map(|class| class.to_string()));
        }
    }
}

/// Name, place and split of a set that is being read.
pub(super) struct Meta {
    pub(super) name: String,
    pub(super) origin: String,
    pub(super) split: Split,
}

impl Meta {
    /// The set's description; its hash is filled in by whoever holds the rows.
    pub(super) fn info(
        &self,
        format: &str,
        classes: Vec<String>,
        shape: [usize; 3],
    ) -> DatasetInfo {
        DatasetInfo {
            name: self.name.clone(),
            origin: self.origin.clone(),
            format: format.to_owned(),
            classes,
            shape,
            hash: String::new(),
        }
    }
}

/// The parts of a data set: one per split, or the whole.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Parts<T> {
    /// Not divided; the split is what a name announces.
    Whole(Option<Split>, T),
    /// Divided by names.
    Splits(BTreeMap<Split, T>),
}

impl<T> Parts<T> {
    pub(super) fn train(&self) -> Option<&T> {
        match self {
            Self::Whole(..) => None,
            Self::Splits(splits) => splits.get(&Split::Train),
        }
    }
}

/// Every file has a split, or none has.
fn divide(root: &Path, files: Vec<PathBuf>) -> Result<Parts<Vec<PathBuf>>> {
    let mut splits: BTreeMap<Split, Vec<PathBuf>> = BTreeMap::new();
    let mut without = Vec::new();
    for file in files {
        match announced(root, &file) {
            Some(split) => splits.entry(split).or_default().push(file),
            None => without.push(file),
        }
    }
    match (splits.is_empty(), without.first()) {
        (true, _) => Ok(Parts::Whole(None, without)),
        (false, None) => Ok(Parts::Splits(splits)),
        (false, Some(file)) => Err(Error::Data(format!(
            "cannot tell which split `{}` belongs to, while other files of `{}` are named train, validation or \
             test; rename it or move it away",
            file.display(),
            root.display()
        ))),
    }
}

/// The split that a file's name announces, or the nearest folder's below `root`.
fn announced(root: &Path, file: &Path) -> Option<Split> {
    file.ancestors()
        .take_while(|path| *path != root)
        .find_map(Split::from_name)
}

enum Kind {
    Digits,
    Idx(Parts<idx_files::Pair>),
    Cifar(cifar::Layout, Parts<Vec<PathBuf>>),
    Parquet(Parts<Vec<PathBuf>>),
    Folder(Parts<PathBuf>),
}

/// A recognised data set, before any split of it is read.
pub struct Source {
    path: PathBuf,
    kind: Kind,
}

impl Source {
    /// Looks at what a file or folder holds; `digits` is the embedded set.
    ///
    /// # Errors
    /// If it does not exist, or nothing in it is recognised: lists what would be.
    pub fn recognise(path: &Path) -> Result<Self> {
        if path == Path::new(digits::NAME) {
            return Ok(Self {
                path: path.to_owned(),
                kind: Kind::Digits,
            });
        }
        let metadata = match std::fs::metadata(path) {
            Ok(metadata) => metadata,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                let tried = std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
                return Err(Error::Data(format!(
                    "there is no file or folder `{}`; data is {RECOGNISED}",
                    tried.display()
                )));
            }
            Err(error) => return Err(Error::read(path, error)),
        };
        let kind = if metadata.is_dir() {
            of_folder(path)?
        } else {
            of_file(path)?
        };
        Ok(Self {
            path: path.to_owned(),
            kind,
        })
    }

    /// The format, as `limbeck datasets` lists it.
    pub fn format(&self) -> &'static str {
        match &self.kind {
            Kind::Digits => "embedded",
            Kind::Idx(_) => idx_files::FORMAT,
            Kind::Cifar(layout, _) => layout.name(),
            Kind::Parquet(_) => parquet::FORMAT,
            Kind::Folder(_) => folder::FORMAT,
        }
    }

    /// The splits that the names announce; none if the set is not divided.
    pub fn splits(&self) -> Vec<Split> {
        fn of<T>(parts: &Parts<T>) -> Vec<Split> {
            match parts {
                Parts::Whole(..) => Vec::new(),
                Parts::Splits(splits) => splits.keys().copied().collect(),
            }
        }
        match &self.kind {
            Kind::Digits => vec![Split::Train, Split::Test],
            Kind::Idx(parts) => of(parts),
            Kind::Cifar(_, parts) | Kind::Parquet(parts) => of(parts),
            Kind::Folder(parts) => of(parts),
        }
    }

    /// Reads one split. A set that is not divided gives all of its rows, whichever split is asked for.
    ///
    /// # Errors
    /// If the set is divided without this split, or a file is broken: names file, row, expected and got.
    pub fn open(&self, split: Split, options: &OpenOptions) -> Result<Arc<dyn Dataset>> {
        let resized = |set: Arc<dyn Dataset>| match options.resize {
            Some(size) if size != set.info().shape[1..] => {
                Arc::new(Resized::new(set, size)) as Arc<dyn Dataset>
            }
            _ => set,
        };
        match &self.kind {
            Kind::Digits => digits::open(split).map(resized),
            Kind::Idx(parts) => {
                let (split, pair) = self.part(parts, split)?;
                let set = idx_files::read(pair, parts.train(), &self.meta(split), options)?;
                Ok(resized(Arc::new(set)))
            }
            Kind::Cifar(layout, parts) => {
                let (split, files) = self.part(parts, split)?;
                let set = cifar::read(*layout, files, &self.meta(split), options)?;
                Ok(resized(Arc::new(set)))
            }
            Kind::Parquet(parts) => {
                let (split, files) = self.part(parts, split)?;
                let set = parquet::read(files, parts.train(), &self.meta(split), options)?;
                Ok(Arc::new(set))
            }
            Kind::Folder(parts) => {
                let (split, root) = self.part(parts, split)?;
                let set = folder::read(root, parts.train(), &self.meta(split), options)?;
                Ok(Arc::new(set))
            }
        }
    }

    fn part<'a, T>(&self, parts: &'a Parts<T>, split: Split) -> Result<(Split, &'a T)> {
        match parts {
            Parts::Whole(announced, part) => Ok((announced.unwrap_or(split), part)),
            Parts::Splits(splits) => match splits.get(&split) {
                Some(part) => Ok((split, part)),
                None => {
                    let there: Vec<String> = splits.keys().map(ToString::to_string).collect();
                    Err(Error::Data(format!(
                        "`{}` has no {split} split; it has {}",
                        self.path.display(),
                        there.join(" and ")
                    )))
                }
            },
        }
    }

    fn meta(&self, split: Split) -> Meta {
        let absolute = std::fs::canonicalize(&self.path).unwrap_or_else(|_| self.path.clone());
        let name = absolute.file_name().unwrap_or(absolute.as_os_str());
        Meta {
            name: name.to_string_lossy().into_owned(),
            origin: absolute.display().to_string(),
            split,
        }
    }
}

impl std::fmt::Debug for Source {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Source")
            .field("path", &self.path)
            .field("format", &self.format())
            .field("splits", &self.splits())
            .finish()
    }
}

/// Opens one split of a data set: a file or a folder, recognised by what is in it, or `digits`.
///
/// # Errors
/// If the path does not exist or is not recognised, the split is missing, or a file is broken.
///
/// ```
/// use limbeck::data::{Split, open};
///
/// let test = open("digits", Split::Test)?;
/// assert_eq!(test.len(), 500);
/// assert_eq!(test.info().shape, [1, 8, 8]);
/// # Ok::<(), limbeck::Error>(())
/// ```
pub fn open(path: &str, split: Split) -> Result<Arc<dyn Dataset>> {
    Source::recognise(Path::new(path))?.open(split, &OpenOptions::default())
}

fn unknown(path: &Path, what: &str) -> Error {
    Error::Data(format!(
        "`{}` holds no data that is recognised{what}; data is {RECOGNISED}",
        path.display()
    ))
}

fn of_file(path: &Path) -> Result<Kind> {
    let tag = Split::from_name(path);
    match sniff(path)? {
        Content::Idx => Ok(Kind::Idx(Parts::Whole(tag, idx_files::partner(path)?))),
        Content::Parquet => Ok(Kind::Parquet(Parts::Whole(tag, vec![path.to_owned()]))),
        Content::Cifar(layout) => Ok(Kind::Cifar(
            layout,
            Parts::Whole(tag, vec![path.to_owned()]),
        )),
        Content::Image => Err(unknown(path, " (it is a single image)")),
        Content::Archive(kind) => Err(unknown(
            path,
            &format!(" (it is a {kind} archive: unpack it)"),
        )),
        Content::Unknown => Err(unknown(path, "")),
    }
}

/// How deep folders are searched for data files: `dataset/config/split/0000.parquet` on the Hugging Face hub.
const DEPTH: usize = 3;

#[derive(Default)]
struct Found {
    idx: Vec<PathBuf>,
    parquet: Vec<PathBuf>,
    cifar: BTreeMap<cifar::Layout, Vec<PathBuf>>,
    images: bool,
    archive: Option<(PathBuf, &'static str)>,
}

impl Found {
    fn search(&mut self, folder: &Path, depth: usize) -> Result<()> {
        let (files, folders) = entries(folder)?;
        for file in files {
            match sniff(&file)? {
                Content::Idx => self.idx.push(file),
                Content::Parquet => self.parquet.push(file),
                Content::Cifar(layout) => self.cifar.entry(layout).or_default().push(file),
                Content::Archive(kind) => self.archive = Some((file, kind)),
                Content::Image => {
                    // One image tells a folder of them, which may hold a million.
                    self.images = true;
                    break;
                }
                Content::Unknown => {}
            }
        }
        if depth > 0 {
            for folder in folders {
                self.search(&folder, depth - 1)?;
            }
        }
        Ok(())
    }
}

/// The files and the folders of a folder, hidden ones left out, each sorted by name.
pub(super) fn entries(folder: &Path) -> Result<(Vec<PathBuf>, Vec<PathBuf>)> {
    let cannot = |source| Error::read(folder, source);
    let (mut files, mut folders) = (Vec::new(), Vec::new());
    for entry in std::fs::read_dir(folder).map_err(cannot)? {
        let entry = entry.map_err(cannot)?;
        if entry.file_name().as_encoded_bytes().starts_with(b".") {
            continue;
        }
        let path = entry.path();
        if path.is_dir() {
            folders.push(path);
        } else if path.is_file() {
            files.push(path);
        }
    }
    files.sort_unstable();
    folders.sort_unstable();
    Ok((files, folders))
}

fn of_folder(path: &Path) -> Result<Kind> {
    let mut found = Found::default();
    found.search(path, DEPTH)?;
    let Found {
        idx,
        parquet,
        cifar,
        images,
        archive,
    } = found;
    let mut kinds: Vec<&str> = cifar.keys().map(|layout| layout.name()).collect();
    if !idx.is_empty() {
        kinds.push(idx_files::FORMAT);
    }
    if !parquet.is_empty() {
        kinds.push(parquet::FORMAT);
    }
    if kinds.len() > 1 {
        return Err(Error::Data(format!(
            "`{}` holds data in several formats ({}); name the sub-folder or the file that is meant",
            path.display(),
            kinds.join(", ")
        )));
    }
    if !idx.is_empty() {
        return Ok(Kind::Idx(idx_files::pair(path, idx, |file| {
            announced(path, file)
        })?));
    }
    if !parquet.is_empty() {
        return Ok(Kind::Parquet(divide(path, parquet)?));
    }
    if let Some((layout, files)) = cifar.into_iter().next() {
        return Ok(Kind::Cifar(layout, divide(path, files)?));
    }
    if images {
        return Ok(Kind::Folder(folder::divide(path)?));
    }
    Err(match archive {
        Some((file, kind)) => unknown(
            path,
            &format!(" (`{}` is a {kind} archive: unpack it)", file.display()),
        ),
        None => unknown(path, ""),
    })
}
