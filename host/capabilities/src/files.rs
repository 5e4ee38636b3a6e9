//! Files in folders that the operator granted by name.
//!
//! Every request goes through `Files::open`, the one choke point: it finds the grant, checks access and path, and opens
//! the folder as a capability (`cap-std`). Stops a plugin from leaving its folder by `..`, by an absolute path or by a
//! symbolic link that leads outside; from leaving half a file behind; and from overwriting what somebody else wrote
//! since it was read. What is read is redacted: a file that holds a known secret shows `[secret NAME]` in its place.

use crate::exchange::form;
use crate::grants::{Access, FolderGrant};
use crate::{CallScope, Capability, Limits, Mode, denial, yaml_value};
use basb_core::Digest;
use basb_redact::Redactor;
use cap_std::ambient_authority;
use cap_std::fs::{Dir, PermissionsExt as _};
use serde::{Deserialize, Serialize};
use std::io::{self, ErrorKind, Read as _, Write as _};
use std::path::{Component, Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use temporary::Temporary;

mod temporary;

/// A file's content and its digest.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct File {
    /// The bytes, without known secrets.
    #[serde(default, with = "form::bytes", skip_serializing_if = "Vec::is_empty")]
    pub contents: Vec<u8>,
    /// The digest of the file as it is, for a conditional write.
    pub digest: Digest,
}

/// What must be there for a write to happen.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Expectation {
    /// Whatever there is.
    Anything,
    /// Nothing.
    Absent,
    /// A file with this digest, as text.
    Digest(String),
}

/// What an entry of a folder is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum EntryKind {
    /// A file.
    File,
    /// A folder.
    Folder,
    /// Anything else, such as a link.
    Other,
}

/// One entry of a folder.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Entry {
    /// Its name.
    pub name: String,
    /// What it is.
    pub kind: EntryKind,
    /// Its size in bytes.
    pub size: u64,
}

/// Why it failed. The texts are whole sentences for people.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[serde(rename_all = "camelCase")]
pub enum FilesError {
    /// No such folder in the grant, or the grant does not allow writing; the text holds the lines that would.
    #[error("{0}")]
    Denied(String),
    /// Not there.
    #[error("{0}")]
    NotFound(String),
    /// The expectation was not met.
    #[error("{0}")]
    Conflict(String),
    /// Over the limit.
    #[error("{0}")]
    TooLarge(String),
    /// Anything else.
    #[error("{0}")]
    Other(String),
}

impl FilesError {
    fn word(&self) -> &'static str {
        match self {
            Self::Denied(_) => "denied",
            Self::NotFound(_) => "not found",
            Self::Conflict(_) => "conflict",
            Self::TooLarge(_) => "too large",
            Self::Other(_) => "failed",
        }
    }

    fn redacted(mut self, redactor: &Redactor) -> Self {
        let (Self::Denied(text)
        | Self::NotFound(text)
        | Self::Conflict(text)
        | Self::TooLarge(text)
        | Self::Other(text)) = &mut self;
        *text = redactor.text(text).into_owned();
        self
    }
}

/// What is to be done, for the choke point.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Act {
    Read,
    Write,
    List,
    Remove,
}

impl Act {
    fn verb(self) -> &'static str {
        match self {
            Self::Read => "read",
            Self::Write => "write",
            Self::List => "list",
            Self::Remove => "remove",
        }
    }

    fn changes(self) -> Access {
        match self {
            Self::Read | Self::List => Access::Read,
            Self::Write | Self::Remove => Access::ReadWrite,
        }
    }
}

/// A checked request: an open folder and a path within it.
struct Opened {
    dir: Dir,
    path: PathBuf,
    shown: String,
}

/// The capability.
#[derive(Debug)]
pub struct Files {
    base_dir: PathBuf,
    limits: Limits,
    redactor: Redactor,
    /// Between looking at a file and replacing it nobody else in this process writes.
    writing: Arc<Mutex<()>>,
}

impl Files {
    pub(crate) fn new(base_dir: PathBuf, limits: Limits, redactor: Redactor) -> Self {
        Self { base_dir, limits, redactor, writing: Arc::new(Mutex::new(())) }
    }

    /// Reads a whole file.
    ///
    /// # Errors
    /// [`FilesError`].
    pub async fn read(&self, scope: &CallScope, folder: &str, path: &str) -> Result<File, FilesError> {
        let limit = self.limits.file_bytes;
        let redactor = self.redactor.clone();
        let read = self.act(scope, Act::Read, folder, path, 0, move |opened| {
            let raw = read_bounded(&opened, limit)?;
            let file = File { digest: Digest::of(&raw), contents: redactor.bytes(&raw).into_owned() };
            Ok((file, raw.len() as u64))
        });
        read.await
    }

    /// Replaces a whole file at once: a reader, or a crash, sees the old content or the new one and nothing between.
    /// Returns the new digest.
    ///
    /// # Errors
    /// [`FilesError`].
    pub async fn write(
        &self,
        scope: &CallScope,
        folder: &str,
        path: &str,
        contents: Vec<u8>,
        expect: Expectation,
    ) -> Result<Digest, FilesError> {
        let limits = self.limits.clone();
        let writing = Arc::clone(&self.writing);
        let size = contents.len() as u64;
        let write = self.act(scope, Act::Write, folder, path, size, move |opened| {
            let limit = limits.file_bytes;
            if contents.len() as u64 > limit {
                let text = format!("{} bytes for {} are over the limit of {limit}", contents.len(), opened.shown);
                return Err(FilesError::TooLarge(text));
            }
            let _guard = writing.lock().unwrap_or_else(PoisonError::into_inner);
            replace(&opened, &contents, &expect, &limits)?;
            Ok((Digest::of(&contents), 0))
        });
        write.await
    }

    /// Lists a folder, sorted by name. An empty path is the folder itself.
    ///
    /// # Errors
    /// [`FilesError`].
    pub async fn list(&self, scope: &CallScope, folder: &str, path: &str) -> Result<Vec<Entry>, FilesError> {
        let limit = self.limits.folder_entries;
        let redactor = self.redactor.clone();
        let listing = self.act(scope, Act::List, folder, path, 0, move |opened| {
            let mut entries = list(&opened, limit)?;
            for entry in &mut entries {
                entry.name = redactor.text(&entry.name).into_owned();
            }
            Ok((entries, 0))
        });
        listing.await
    }

    /// Removes a file; one that is not there is no error.
    ///
    /// # Errors
    /// [`FilesError`].
    pub async fn remove(&self, scope: &CallScope, folder: &str, path: &str) -> Result<(), FilesError> {
        let writing = Arc::clone(&self.writing);
        let removal = self.act(scope, Act::Remove, folder, path, 0, move |opened| {
            let _guard = writing.lock().unwrap_or_else(PoisonError::into_inner);
            match opened.dir.remove_file(&opened.path) {
                Err(error) if error.kind() != ErrorKind::NotFound => Err(failed(&opened, &error)),
                _ => Ok(((), 0)),
            }
        });
        removal.await
    }

    /// Opens, acts on a thread that may block, and notes what came of it, and how many bytes came in.
    async fn act<T: Send + 'static>(
        &self,
        scope: &CallScope,
        act: Act,
        folder: &str,
        path: &str,
        sent: u64,
        work: impl FnOnce(Opened) -> Result<(T, u64), FilesError> + Send + 'static,
    ) -> Result<T, FilesError> {
        let shown = format!("`{}` in the folder `{}`", crate::printable(path, 200), crate::printable(folder, 60));
        let what = format!("{} {shown}", act.verb());
        let Some(recording) = scope.counters.begin(Capability::Files, &what, &self.limits, &self.redactor) else {
            return Err(FilesError::Other(denial::too_many(scope, &self.limits)));
        };
        let result = match self.open(scope, act, folder, path, shown) {
            Ok(open) => {
                recording.allow(sent, Vec::new());
                tokio::task::spawn_blocking(move || open().and_then(work))
                    .await
                    .unwrap_or_else(|error| Err(FilesError::Other(format!("the file could not be worked on: {error}"))))
            }
            Err(error) => Err(error),
        };
        let result = result.map_err(|error| error.redacted(&self.redactor));
        match &result {
            Ok((_, received)) => recording.received(*received),
            // A link that leads outside is found while the file is opened.
            Err(FilesError::Denied(_)) => recording.deny(),
            Err(_) => {}
        }
        recording.finish(result.as_ref().map_or_else(|error| error.word(), |_| "done"));
        result.map(|(value, _)| value)
    }

    /// The one choke point of this capability. What it returns opens the folder, which may block.
    fn open(
        &self,
        scope: &CallScope,
        act: Act,
        folder: &str,
        path: &str,
        shown: String,
    ) -> Result<impl FnOnce() -> Result<Opened, FilesError> + Send + 'static, FilesError> {
        let grant = decide(scope, act, folder, &shown)?;
        let path = match inner_path(path) {
            Ok(path) if path.as_os_str().is_empty() && act != Act::List => {
                return Err(FilesError::Other(format!("{shown} is the folder itself, not a file in it")));
            }
            Ok(path) => path,
            Err(why) => {
                return Err(FilesError::Denied(denial::refused(scope, &format!("{} {shown}", act.verb()), why)));
            }
        };
        let root = self.base_dir.join(&grant.path);
        let name = grant.folder.clone();
        Ok(move || match open_root(&root, act) {
            Ok(dir) => Ok(Opened { dir, path, shown }),
            Err(error) if error.kind() == ErrorKind::NotFound => {
                Err(FilesError::NotFound(format!("the folder `{name}` does not exist: create {}", root.display())))
            }
            Err(error) => {
                Err(FilesError::Other(format!("the folder `{name}` ({}) cannot be opened: {error}", root.display())))
            }
        })
    }
}

/// Opens the granted folder. One that is not there is made for a write: the operator named it, and granted writing.
fn open_root(root: &Path, act: Act) -> io::Result<Dir> {
    match Dir::open_ambient_dir(root, ambient_authority()) {
        Err(error) if error.kind() == ErrorKind::NotFound && act == Act::Write => {
            std::fs::create_dir_all(root)?;
            Dir::open_ambient_dir(root, ambient_authority())
        }
        opened => opened,
    }
}

/// Which grant covers it.
fn decide<'a>(scope: &'a CallScope, act: Act, folder: &str, shown: &str) -> Result<&'a FolderGrant, FilesError> {
    let wanted = || format!("{} {shown}", act.verb());
    if let Some(text) = denial::sealed(scope, &wanted()) {
        return Err(FilesError::Denied(text));
    }
    let Some(grant) = scope.grants.files.iter().find(|grant| grant.folder == folder) else {
        let access = if act.changes() == Access::ReadWrite { "read-write" } else { "read" };
        let name = yaml_value(folder);
        let lines = format!("files:\n  - folder: {name}\n    path: ./FOLDER\n    access: {access}");
        return Err(FilesError::Denied(denial::not_granted(scope, &wanted(), &lines)));
    };
    if act.changes() == Access::ReadWrite {
        if grant.access == Access::Read {
            let (name, path) = (yaml_value(folder), yaml_value(&grant.path.to_string_lossy()));
            let lines = format!("files:\n  - folder: {name}\n    path: {path}\n    access: read-write");
            return Err(FilesError::Denied(denial::not_granted(scope, &wanted(), &lines)));
        }
        if scope.mode == Mode::ReadOnly {
            return Err(FilesError::Denied(denial::refused(scope, &wanted(), "this call may only read")));
        }
    }
    Ok(grant)
}

/// A path that stays below: plain names only, separated by `/`.
fn inner_path(text: &str) -> Result<PathBuf, &'static str> {
    if text.len() > 1024 {
        return Err("the path is longer than 1024 bytes");
    }
    if text.chars().any(char::is_control) || text.contains('\\') {
        return Err("the path contains a control character or a backslash");
    }
    let mut out = PathBuf::new();
    for component in Path::new(text).components() {
        match component {
            Component::Normal(name) if name.to_str().is_some_and(temporary::is_temporary) => {
                return Err("the path has a name that the host gives to files while it writes them");
            }
            Component::Normal(name) => out.push(name),
            Component::CurDir => {}
            Component::ParentDir => return Err("the path contains `..`"),
            Component::RootDir | Component::Prefix(_) => {
                return Err("the path is absolute; it must be relative to the folder");
            }
        }
    }
    Ok(out)
}

fn failed(opened: &Opened, error: &io::Error) -> FilesError {
    match error.kind() {
        ErrorKind::NotFound => FilesError::NotFound(format!("{} is not there", opened.shown)),
        // What cap-std answers when a link leads outside.
        ErrorKind::PermissionDenied => FilesError::Denied(format!("{} is refused: {error}", opened.shown)),
        _ => FilesError::Other(format!("{}: {error}", opened.shown)),
    }
}

fn read_bounded(opened: &Opened, limit: u64) -> Result<Vec<u8>, FilesError> {
    // Looked at before it is opened: opening a pipe waits for a writer, and reading a device may never end.
    let metadata = opened.dir.metadata(&opened.path).map_err(|error| failed(opened, &error))?;
    if !metadata.is_file() {
        return Err(FilesError::Other(format!("{} is not a file", opened.shown)));
    }
    let file = opened.dir.open(&opened.path).map_err(|error| failed(opened, &error))?;
    let mut contents = Vec::new();
    file.take(limit.saturating_add(1)).read_to_end(&mut contents).map_err(|error| failed(opened, &error))?;
    if contents.len() as u64 > limit {
        return Err(FilesError::TooLarge(format!("{} is over the limit of {limit} bytes", opened.shown)));
    }
    Ok(contents)
}

fn replace(opened: &Opened, contents: &[u8], expect: &Expectation, limits: &Limits) -> Result<(), FilesError> {
    let Opened { dir, path, shown } = opened;
    let io = |error: io::Error| failed(opened, &error);
    let existing = match dir.symlink_metadata(path) {
        Ok(metadata) if metadata.is_file() => Some(metadata),
        Ok(_) => return Err(FilesError::Other(format!("{shown} is there and is not a file"))),
        Err(error) if error.kind() == ErrorKind::NotFound => None,
        Err(error) => return Err(io(error)),
    };
    match expect {
        Expectation::Anything => {}
        Expectation::Absent if existing.is_none() => {}
        Expectation::Absent => return Err(FilesError::Conflict(format!("{shown} is there already"))),
        Expectation::Digest(wanted) => {
            let found = existing.as_ref().map(|_| read_bounded(opened, limits.file_bytes)).transpose()?;
            match found.map(|bytes| Digest::of(&bytes)) {
                Some(digest) if digest.as_str() == wanted => {}
                Some(digest) => {
                    return Err(FilesError::Conflict(format!("{shown} has changed since it was read: it is {digest}")));
                }
                None => return Err(FilesError::Conflict(format!("{shown} is not there any more"))),
            }
        }
    }
    let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty());
    if let Some(parent) = parent {
        dir.create_dir_all(parent).map_err(io)?;
    }
    let folder = parent.unwrap_or(Path::new(""));
    temporary::sweep(dir, folder, limits.folder_entries);
    let Temporary { mut file, path: temporary } = Temporary::create(dir, folder).map_err(io)?;
    let written = (|| {
        file.write_all(contents)?;
        if let Some(metadata) = &existing {
            file.set_permissions(cap_std::fs::Permissions::from_mode(metadata.permissions().mode() & 0o777))?;
        }
        file.sync_all()?;
        if *expect == Expectation::Absent {
            // Unlike a rename, a hard link never replaces what appeared in the meantime.
            dir.hard_link(&temporary, dir, path)?;
            dir.remove_file(&temporary)?;
        } else {
            dir.rename(&temporary, dir, path)?;
        }
        // The new name itself is durable only once the folder is.
        dir.open(parent.unwrap_or(Path::new(".")))?.sync_all()
    })();
    if let Err(error) = written {
        let _ = dir.remove_file(&temporary);
        return Err(match error.kind() {
            ErrorKind::AlreadyExists => FilesError::Conflict(format!("{shown} is there already")),
            _ => io(error),
        });
    }
    Ok(())
}

fn list(opened: &Opened, limit: usize) -> Result<Vec<Entry>, FilesError> {
    let io = |error: io::Error| failed(opened, &error);
    let path = if opened.path.as_os_str().is_empty() { Path::new(".") } else { opened.path.as_path() };
    let mut out = Vec::new();
    for entry in opened.dir.read_dir(path).map_err(io)? {
        let entry = entry.map_err(io)?;
        // Somebody is writing, or was killed over it: that is no file of the folder.
        if entry.file_name().to_str().is_some_and(temporary::is_temporary) {
            continue;
        }
        if out.len() >= limit {
            return Err(FilesError::TooLarge(format!("{} has more than {limit} entries", opened.shown)));
        }
        let metadata = entry.metadata().map_err(io)?;
        let kind = if metadata.is_file() {
            EntryKind::File
        } else if metadata.is_dir() {
            EntryKind::Folder
        } else {
            EntryKind::Other
        };
        out.push(Entry { name: entry.file_name().to_string_lossy().into_owned(), kind, size: metadata.len() });
    }
    out.sort_by(|a, b| a.name.cmp(&b.name));
    Ok(out)
}

#[cfg(test)]
mod tests;
