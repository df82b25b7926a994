//! Data sets from the Hugging Face hub.

use std::fs;
use std::io::Read;
use std::path::{Path, PathBuf};

use hf_hub::api::Progress;
use hf_hub::api::sync::{Api, ApiBuilder, ApiError, ApiRepo};
use hf_hub::{Cache, Repo, RepoType};
use sha2::{Digest, Sha256};

use super::hash::hexadecimal;
use crate::{Error, Result};

const ENDPOINT: &str = "https://huggingface.co";

/// Where unfinished files wait, inside the folder asked for.
const UNFINISHED: &str = ".download";

/// The hub, or a mirror of it.
pub(super) struct Hub {
    endpoint: String,
    token: Option<String>,
}

/// A file of a repository.
struct Remote {
    path: String,
    /// SHA-256 in hexadecimal: the hub's tag of a large file.
    hash: String,
    size: u64,
}

impl Hub {
    /// The address of `HF_ENDPOINT` and the token of `HF_TOKEN`, where they are set.
    pub(super) fn from_env() -> Self {
        let set = |name| {
            std::env::var(name)
                .ok()
                .filter(|value| !value.trim().is_empty())
        };
        Self {
            endpoint: set("HF_ENDPOINT").unwrap_or_else(|| ENDPOINT.to_owned()),
            token: set("HF_TOKEN"),
        }
    }

    fn fault(&self, repository: &str, error: &ApiError) -> Error {
        Error::Data(format!(
            "cannot download `{repository}` from {}: {error}; check the connection and run the command again, it \
             continues where it stopped",
            self.endpoint
        ))
    }

    /// Downloads the parquet files of a data set repository into `folder`.
    pub(super) fn fetch(
        &self,
        repository: &str,
        folder: &Path,
        progress: &dyn Fn(u64, u64),
    ) -> Result<()> {
        let fault = |error: ApiError| self.fault(repository, &error);
        let unfinished = folder.join(UNFINISHED);
        let api = ApiBuilder::from_cache(Cache::new(unfinished.clone()))
            .with_endpoint(self.endpoint.trim_end_matches('/').to_owned())
            .with_token(self.token.clone())
            .with_progress(false)
            .with_user_agent("limbeck", env!("CARGO_PKG_VERSION"))
            .build()
            .map_err(fault)?;
        let repo = |revision: &str| {
            Repo::with_revision(
                repository.to_owned(),
                RepoType::Dataset,
                revision.to_owned(),
            )
        };
        let info = api.repo(repo("main")).info().map_err(fault)?;
        // Everything from one commit, even if the repository moves on meanwhile.
        let at_commit = repo(&info.sha);
        let files = self.list(
            &api,
            &at_commit,
            repository,
            info.siblings.into_iter().map(|file| file.rfilename),
        )?;
        let total = files.iter().map(|file| file.size).sum();
        fs::create_dir_all(&unfinished).map_err(|source| Error::write(&unfinished, source))?;
        let mut done = 0;
        progress(done, total);
        for file in &files {
            let place = folder.join(local_name(&file.path));
            if !is_intact(&place, &file.hash)? {
                let blob = Cache::new(unfinished.clone())
                    .repo(at_commit.clone())
                    .blob_path(&file.hash);
                let meter = Meter {
                    progress,
                    before: done,
                    here: 0,
                    total,
                };
                download(&api.repo(at_commit.clone()), file, &blob, meter).map_err(fault)?;
                self.put(&blob, &place, file)?;
            }
            done += file.size;
            progress(done, total);
        }
        fs::remove_dir_all(&unfinished).map_err(|source| Error::write(&unfinished, source))?;
        crate::files::sync_folder(folder)
    }

    /// Size and hash of every parquet file, before the first is fetched.
    fn list(
        &self,
        api: &Api,
        at_commit: &Repo,
        repository: &str,
        paths: impl Iterator<Item = String>,
    ) -> Result<Vec<Remote>> {
        let mut files: Vec<Remote> = Vec::new();
        for path in paths.filter(|path| path.ends_with(".parquet")) {
            let url = api.repo(at_commit.clone()).url(&path);
            let metadata = api
                .metadata(&url)
                .map_err(|error| self.fault(repository, &error))?;
            let hash = metadata.etag().to_owned();
            // The tag becomes a file name, and it is what the content is checked against.
            if hash.len() != 64 || !hash.bytes().all(|digit| digit.is_ascii_hexdigit()) {
                return Err(Error::Data(format!(
                    "{url} has no SHA-256: expected a tag of 64 hexadecimal digits, got `{hash}`"
                )));
            }
            if let Some(other) = files
                .iter()
                .find(|file| local_name(&file.path) == local_name(&path))
            {
                return Err(Error::Data(format!(
                    "`{repository}` holds both `{}` and `{path}`, which would get the same name",
                    other.path
                )));
            }
            files.push(Remote {
                path,
                hash,
                size: metadata.size() as u64,
            });
        }
        if files.is_empty() {
            return Err(Error::Data(format!(
                "`{repository}` at {} holds no parquet files",
                self.endpoint
            )));
        }
        Ok(files)
    }

    /// Checks a fetched file and moves it into place; a wrong one is removed.
    fn put(&self, blob: &Path, place: &Path, file: &Remote) -> Result<()> {
        let got = hash_of(blob)?;
        if got != file.hash {
            let unfinished = place.with_file_name(UNFINISHED);
            fs::remove_dir_all(&unfinished).map_err(|source| Error::write(&unfinished, source))?;
            return Err(Error::Check(format!(
                "`{}` from {} has the wrong SHA-256: expected {}, got {got}; it was removed, run the command again",
                file.path, self.endpoint, file.hash
            )));
        }
        let sync = || fs::File::open(blob)?.sync_all();
        sync()
            .and_then(|()| fs::rename(blob, place))
            .map_err(|source| Error::write(place, source))
    }
}

/// The file's name without the repository's folders, which hold configuration names.
fn local_name(path: &str) -> &str {
    path.rsplit('/').next().unwrap_or(path)
}

fn download(
    repo: &ApiRepo,
    file: &Remote,
    blob: &Path,
    meter: Meter<'_>,
) -> std::result::Result<PathBuf, ApiError> {
    // A kill between the last byte and the rename leaves a whole part, which the hub would not continue.
    let part = blob.with_extension("part");
    if fs::metadata(&part).is_ok_and(|metadata| metadata.len() >= file.size) {
        fs::remove_file(&part)?;
    }
    repo.download_with_progress(&file.path, meter)
}

fn hash_of(path: &Path) -> Result<String> {
    let cannot = |source| Error::read(path, source);
    let mut file = fs::File::open(path).map_err(cannot)?;
    let mut hash = Sha256::new();
    let mut buffer = vec![0; 1 << 20];
    loop {
        match file.read(&mut buffer).map_err(cannot)? {
            0 => return Ok(hexadecimal(&hash.finalize())),
            count => hash.update(&buffer[..count]),
        }
    }
}

fn is_intact(path: &Path, hash: &str) -> Result<bool> {
    Ok(path.is_file() && hash_of(path)? == hash)
}

/// Passes the bytes of one file on as bytes of all.
struct Meter<'a> {
    progress: &'a dyn Fn(u64, u64),
    before: u64,
    here: u64,
    total: u64,
}

impl Progress for Meter<'_> {
    fn init(&mut self, _: usize, _: &str) {
        self.here = 0;
    }

    fn update(&mut self, bytes: usize) {
        self.here += bytes as u64;
        (self.progress)(self.before + self.here, self.total);
    }

    fn finish(&mut self) {}
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests fail by panicking")]

    use std::cell::RefCell;
    use std::io::{BufRead, BufReader, Write};
    use std::net::{TcpListener, TcpStream};
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::sync::{Arc, Mutex};

    use super::*;

    const COMMIT: &str = "0123456789abcdef0123456789abcdef01234567";

    /// A file as the hub lists it, with the content that it really sends.
    struct Served {
        path: &'static str,
        hash: String,
        content: Vec<u8>,
        /// Close the connection after so many bytes of each answer.
        breaks_after: usize,
    }

    impl Served {
        fn new(path: &'static str, content: &[u8]) -> Self {
            let hash = hexadecimal(&Sha256::digest(content));
            Self {
                path,
                hash,
                content: content.to_vec(),
                breaks_after: usize::MAX,
            }
        }
    }

    /// A hub on this machine with one repository, `a/set`.
    struct Server {
        hub: Hub,
        files: Arc<Mutex<Vec<Served>>>,
        sent: Arc<AtomicUsize>,
    }

    impl Server {
        fn start(files: Vec<Served>) -> Self {
            let listener = TcpListener::bind("127.0.0.1:0").unwrap();
            let endpoint = format!("http://{}", listener.local_addr().unwrap());
            let files = Arc::new(Mutex::new(files));
            let sent = Arc::new(AtomicUsize::new(0));
            let (shared, counter) = (Arc::clone(&files), Arc::clone(&sent));
            std::thread::spawn(move || {
                for stream in listener.incoming().flatten() {
                    answer(stream, &shared.lock().unwrap(), &counter);
                }
            });
            Self {
                hub: Hub {
                    endpoint,
                    token: None,
                },
                files,
                sent,
            }
        }

        fn fetch(&self, folder: &Path) -> Result<Vec<(u64, u64)>> {
            let heard = RefCell::new(Vec::new());
            self.hub.fetch("a/set", folder, &|done, total| {
                heard.borrow_mut().push((done, total));
            })?;
            Ok(heard.into_inner())
        }
    }

    fn answer(mut stream: TcpStream, files: &[Served], sent: &AtomicUsize) {
        let mut lines = BufReader::new(stream.try_clone().unwrap()).lines();
        let request = lines.next().unwrap().unwrap();
        let mut range = None;
        for line in lines
            .map_while(std::result::Result::ok)
            .take_while(|line| !line.is_empty())
        {
            if let Some(value) = line.to_ascii_lowercase().strip_prefix("range: bytes=") {
                let (start, end) = value.split_once('-').unwrap();
                range = Some((start.parse::<usize>().unwrap(), end.parse::<usize>().ok()));
            }
        }
        let path = request.split(' ').nth(1).unwrap();
        let (head, body) = if path == "/api/datasets/a/set/revision/main" {
            let siblings: Vec<_> = files
                .iter()
                .map(|file| serde_json::json!({"rfilename": file.path}))
                .collect();
            let body = serde_json::json!({"sha": COMMIT, "siblings": siblings}).to_string();
            (
                "200 OK\r\nContent-Type: application/json".to_owned(),
                body.into_bytes(),
            )
        } else if let Some(file) = files
            .iter()
            .find(|file| path == format!("/datasets/a/set/resolve/{COMMIT}/{}", file.path))
        {
            let size = file.content.len();
            let (start, end) = range.unwrap();
            let end = end.map_or(size, |end| (end + 1).min(size));
            let head = format!(
                "206 Partial Content\r\nContent-Range: bytes {start}-{}/{size}\r\nX-Repo-Commit: {COMMIT}\r\n\
                 X-Linked-Etag: \"{}\"",
                end - 1,
                file.hash
            );
            let broken = file.breaks_after;
            if end - start > broken {
                let length = end - start;
                let start_of = &file.content[start..start + broken];
                sent.fetch_add(broken, Ordering::SeqCst);
                let head = format!("HTTP/1.1 {head}\r\nContent-Length: {length}\r\n\r\n");
                stream
                    .write_all(&[head.as_bytes(), start_of].concat())
                    .unwrap();
                return;
            }
            (head, file.content[start..end].to_vec())
        } else {
            ("404 Not Found".to_owned(), Vec::new())
        };
        sent.fetch_add(body.len(), Ordering::SeqCst);
        let head = format!(
            "HTTP/1.1 {head}\r\nContent-Length: {}\r\nConnection: close\r\n\r\n",
            body.len()
        );
        // The client may have seen enough.
        let _ = stream.write_all(&[head.as_bytes(), &body].concat());
    }

    fn names(folder: &Path) -> Vec<String> {
        let mut names: Vec<String> = fs::read_dir(folder)
            .map(|entries| {
                entries
                    .map(|entry| entry.unwrap().file_name().into_string().unwrap())
                    .collect()
            })
            .unwrap_or_default();
        names.sort();
        names
    }

    #[test]
    fn fetches_the_parquet_files_once() {
        let server = Server::start(vec![
            Served::new("README.md", b"not data"),
            Served::new("set/train-00000-of-00001.parquet", &[7; 3000]),
            Served::new("set/test-00000-of-00001.parquet", &[8; 500]),
        ]);
        let folder = tempfile::tempdir().unwrap();
        let target = folder.path().join("new/set");
        let heard = server.fetch(&target).unwrap();
        assert_eq!(
            names(&target),
            [
                "test-00000-of-00001.parquet",
                "train-00000-of-00001.parquet"
            ]
        );
        assert_eq!(
            fs::read(target.join("train-00000-of-00001.parquet")).unwrap(),
            [7; 3000]
        );
        assert_eq!(heard.first(), Some(&(0, 3500)));
        assert_eq!(heard.last(), Some(&(3500, 3500)));
        assert!(heard.is_sorted());

        let before = server.sent.load(Ordering::SeqCst);
        server.fetch(&target).unwrap();
        let again = server.sent.load(Ordering::SeqCst) - before;
        assert!(again < 400, "{again} bytes were sent again");
    }

    #[test]
    fn a_wrong_checksum_leaves_nothing_behind() {
        let mut wrong = Served::new("train.parquet", &[7; 3000]);
        wrong.hash = hexadecimal(&Sha256::digest(b"something else"));
        let server = Server::start(vec![wrong]);
        let folder = tempfile::tempdir().unwrap();
        let error = server.fetch(folder.path()).unwrap_err().to_string();
        assert!(error.contains("`train.parquet`"), "{error}");
        assert!(error.contains("wrong SHA-256: expected"), "{error}");
        assert_eq!(names(folder.path()), Vec::<String>::new());
    }

    #[test]
    fn an_interrupted_download_continues_where_it_stopped() {
        let mut file = Served::new("train.parquet", &[7; 100_000]);
        file.breaks_after = 60_000;
        let server = Server::start(vec![file]);
        let folder = tempfile::tempdir().unwrap();
        let error = server.fetch(folder.path()).unwrap_err().to_string();
        assert!(error.contains("cannot download `a/set`"), "{error}");
        assert_eq!(names(folder.path()), [".download"]);
        let before = server.sent.load(Ordering::SeqCst);
        assert!(server.fetch(folder.path()).is_ok());
        let again = server.sent.load(Ordering::SeqCst) - before;
        assert!(again < 41_000, "{again} bytes were sent again");
        assert_eq!(names(folder.path()), ["train.parquet"]);
        assert_eq!(
            fs::read(folder.path().join("train.parquet")).unwrap(),
            [7; 100_000]
        );
    }

    #[test]
    fn a_file_that_was_damaged_is_fetched_again() {
        let server = Server::start(vec![Served::new("train.parquet", &[7; 100])]);
        let folder = tempfile::tempdir().unwrap();
        server.fetch(folder.path()).unwrap();
        fs::write(folder.path().join("train.parquet"), b"damaged").unwrap();
        server.fetch(folder.path()).unwrap();
        assert_eq!(
            fs::read(folder.path().join("train.parquet")).unwrap(),
            [7; 100]
        );
    }

    #[test]
    fn tags_that_are_no_checksums_are_refused() {
        let mut file = Served::new("train.parquet", &[7; 100]);
        file.hash = "../../../escape".to_owned();
        let server = Server::start(vec![file]);
        let folder = tempfile::tempdir().unwrap();
        let error = server.fetch(folder.path()).unwrap_err().to_string();
        assert!(
            error.contains("expected a tag of 64 hexadecimal digits, got `../../../escape`"),
            "{error}"
        );
        server.files.lock().unwrap().clear();
        let error = server.fetch(folder.path()).unwrap_err().to_string();
        assert!(error.contains("holds no parquet files"), "{error}");
        assert_eq!(names(folder.path()), Vec::<String>::new());
    }

    #[test]
    fn an_unreachable_hub_is_named() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let endpoint = format!("http://{}", listener.local_addr().unwrap());
        drop(listener);
        let folder = tempfile::tempdir().unwrap();
        let hub = Hub {
            endpoint: endpoint.clone(),
            token: None,
        };
        let error = hub
            .fetch("a/set", folder.path(), &|_, _| {})
            .unwrap_err()
            .to_string();
        assert!(
            error.contains(&format!("cannot download `a/set` from {endpoint}")),
            "{error}"
        );
        assert!(error.contains("refused"), "{error}");
        assert_eq!(names(folder.path()), Vec::<String>::new());
    }
}
