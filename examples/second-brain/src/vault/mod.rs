//! The vault: a folder of Markdown notes that several processes, and Obsidian, use at the same time.
//!
//! How notes stay whole:
//! - the folder is opened once as a capability ([`Dir`]); no path or symbolic link leads out of it;
//! - every change is one rename within the vault, so a kill leaves the old state or the new one;
//! - changes take the vault's file lock, which the system releases when a process dies; a temporary
//!   file therefore exists only while the lock is held, and leftovers can be removed by its holder;
//! - a rename into place never replaces an existing note, except the very note that was read.

mod error;
mod names;
mod note;
mod stats;

use std::{
    fs::{File, TryLockError},
    io::{self, Read as _, Write as _},
    path::Path,
    sync::atomic::{AtomicU64, Ordering},
    thread,
    time::{Duration, Instant},
};

use cap_std::{
    ambient_authority,
    fs::{Dir, OpenOptions},
};
use rustix::{fs::RenameFlags, io::Errno};

use self::error::io;
pub use self::{
    error::VaultError,
    names::{Category, Folder, NoteId, NoteRef, shorten},
    note::{Document, NewNote, Title, one_line, text},
    stats::{Counts, StatsCache},
};

/// Obsidian does not show folders that start with a dot.
const PRIVATE: &str = ".second-brain";
const TEMPORARY: &str = ".second-brain/tmp";
const LOCK: &str = ".second-brain/lock";
/// Notes larger than this are listed but not worked on.
const MAX_NOTE_BYTES: u64 = 1024 * 1024;
/// How many names are tried for notes of the same title and day.
const MAX_CANDIDATES: u32 = 1000;
/// A change takes milliseconds: whoever holds the lock this long is stopped or stuck.
const LOCK_PATIENCE: Duration = Duration::from_secs(10);

/// An opened vault.
#[derive(Debug)]
pub struct Vault {
    root: Dir,
    stats: StatsCache,
    temporaries: AtomicU64,
}

/// A note as it was read.
#[derive(Clone, Debug)]
pub struct Note {
    /// The folder it is in.
    pub folder: Folder,
    /// Its name.
    pub id: NoteId,
    /// Its text.
    pub document: Document,
}

impl Note {
    /// The title from the front matter, or the name when there is none.
    pub fn title(&self) -> String {
        self.document.meta().title.unwrap_or_else(|| self.id.to_string())
    }

    /// The note's path inside the vault.
    pub fn path(&self) -> String {
        path_of(self.folder, &self.id)
    }
}

/// A note's path inside the vault.
pub fn path_of(folder: Folder, id: &NoteId) -> String {
    format!("{folder}/{}", id.file_name())
}

/// What a move did.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Moved {
    /// The note.
    pub id: NoteId,
    /// Where it was.
    pub from: Folder,
    /// Where it is.
    pub to: Folder,
}

impl Vault {
    /// Opens a vault, making its folders when they are missing.
    pub fn open(path: &Path) -> Result<Self, VaultError> {
        Dir::create_ambient_dir_all(path, ambient_authority()).map_err(io("make its folder"))?;
        let root = Dir::open_ambient_dir(path, ambient_authority()).map_err(io("open its folder"))?;
        root.create_dir_all(TEMPORARY).map_err(io("make its private folder"))?;
        let vault = Self { root, stats: StatsCache::default(), temporaries: AtomicU64::new(0) };
        for folder in Folder::ALL {
            vault.folder(folder)?;
        }
        vault.remove_leftovers()?;
        Ok(vault)
    }

    /// Whether the vault can be reached: a cheap check for health probes.
    pub fn check(&self) -> Result<(), VaultError> {
        self.root.metadata(PRIVATE).map(drop).map_err(io("find its folders"))
    }

    /// How many notes each folder has, when that is known without reading a folder.
    pub fn known_counts(&self) -> Option<Counts> {
        self.stats.known(&self.root)
    }

    /// How many notes each folder has.
    pub fn counts(&self) -> Result<Counts, VaultError> {
        self.stats.counts(&self.root).map_err(io("count its notes"))
    }

    /// The names of a folder's notes, the newest date first.
    pub fn list(&self, folder: Folder) -> Result<Vec<NoteId>, VaultError> {
        let mut ids = Vec::new();
        for entry in self.folder(folder)?.entries().map_err(io("list a folder"))? {
            let entry = entry.map_err(io("list a folder"))?;
            if let Some(id) = stats::note_of(&entry) {
                ids.push(id);
            }
        }
        ids.sort_unstable_by(|a, b| b.cmp(a));
        Ok(ids)
    }

    /// Finds and reads a note.
    pub fn read(&self, note: &NoteRef) -> Result<Note, VaultError> {
        let folder = self.locate(note)?;
        self.read_in(folder, &note.id)
    }

    /// Reads a note whose folder is known.
    pub fn read_in(&self, folder: Folder, id: &NoteId) -> Result<Note, VaultError> {
        let dir = self.folder(folder)?;
        Ok(Note { folder, id: id.clone(), document: Document::parse(&read_text(&dir, id)?) })
    }

    /// Stores a new note. Its name differs from every other note's in the vault, so that wiki links
    /// to it stay unambiguous wherever it is moved.
    pub fn create(&self, folder: Folder, note: &NewNote) -> Result<NoteId, VaultError> {
        let date = note.created.to_zoned(jiff::tz::TimeZone::UTC).date();
        let wanted = NoteId::for_title(date, note.title.as_str());
        let _lock = self.lock()?;
        let dir = self.folder(folder)?;
        let temporary = self.write_temporary(&note.render(), None)?;
        for n in 1..=MAX_CANDIDATES {
            let id = wanted.candidate(n);
            if !self.folders_with(&id)?.is_empty() {
                continue;
            }
            match place(&self.root, &temporary, &dir, &id.file_name()) {
                Ok(()) => {
                    sync(&dir);
                    return Ok(id);
                }
                // Taken by somebody who does not know the lock, Obsidian for one.
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
                Err(error) => {
                    self.discard(&temporary);
                    return Err(io("store the note")(error));
                }
            }
        }
        self.discard(&temporary);
        Err(VaultError::TooManyNames(wanted.to_string()))
    }

    /// Moves a note to a folder; moving it to where it is changes nothing.
    pub fn move_to(&self, note: &NoteRef, to: Folder) -> Result<Moved, VaultError> {
        let _lock = self.lock()?;
        let from = self.locate(note)?;
        let moved = Moved { id: note.id.clone(), from, to };
        if from == to {
            return Ok(moved);
        }
        let (source, target) = (self.folder(from)?, self.folder(to)?);
        let name = note.id.file_name();
        place(&source, &name, &target, &name).map_err(|error| match error.kind() {
            io::ErrorKind::AlreadyExists => VaultError::NameTaken { folder: to, name: note.id.to_string() },
            io::ErrorKind::NotFound => VaultError::NoSuchNote(note.id.to_string()),
            _ => io("move the note")(error),
        })?;
        // The new entry first: a power cut in between may show the note twice, never not at all.
        sync(&target);
        sync(&source);
        Ok(moved)
    }

    /// Changes a note's text by `change`, which returns the new body, or `None` to leave it.
    pub fn update<T>(
        &self,
        note: &NoteRef,
        change: impl FnOnce(&Note) -> Result<(Option<String>, T), VaultError>,
    ) -> Result<(Note, T), VaultError> {
        let _lock = self.lock()?;
        let mut note = self.read(note)?;
        let (body, answer) = change(&note)?;
        let Some(body) = body else {
            return Ok((note, answer));
        };
        let before = note.document.render();
        note.document = note.document.with_body(body);
        let after = note.document.render();
        if after.len() as u64 > MAX_NOTE_BYTES {
            return Err(VaultError::Unreadable {
                name: note.id.to_string(),
                reason: "it would grow over 1 MiB; split it",
            });
        }
        let dir = self.folder(note.folder)?;
        let name = note.id.file_name();
        let permissions = dir.metadata(&name).map_err(io("read the note"))?.permissions();
        let temporary = self.write_temporary(&after, Some(permissions))?;
        // Obsidian does not know the lock: look once more, right before the rename.
        if read_text(&dir, &note.id).ok().as_deref() != Some(&before) {
            self.discard(&temporary);
            return Err(VaultError::Changed(note.id.to_string()));
        }
        if let Err(error) = self.root.rename(&temporary, &dir, &name) {
            self.discard(&temporary);
            return Err(io("store the note")(error));
        }
        sync(&dir);
        Ok((note, answer))
    }

    /// A folder of the vault, made again if somebody removed it.
    fn folder(&self, folder: Folder) -> Result<Dir, VaultError> {
        let open = || self.root.open_dir(folder.name());
        open()
            .or_else(|error| match error.kind() {
                io::ErrorKind::NotFound => match self.root.create_dir(folder.name()) {
                    Err(error) if error.kind() != io::ErrorKind::AlreadyExists => Err(error),
                    _ => open(),
                },
                _ => Err(error),
            })
            .map_err(io("open one of its folders"))
    }

    fn folders_with(&self, id: &NoteId) -> Result<Vec<Folder>, VaultError> {
        let mut found = Vec::new();
        for folder in Folder::ALL {
            let path = path_of(folder, id);
            match self.root.symlink_metadata(path) {
                Ok(_) => found.push(folder),
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(error) => return Err(io("look for the note")(error)),
            }
        }
        Ok(found)
    }

    fn locate(&self, note: &NoteRef) -> Result<Folder, VaultError> {
        let found = self.folders_with(&note.id)?;
        let name = || note.id.to_string();
        match (note.folder, found.as_slice()) {
            (Some(folder), found) if found.contains(&folder) => Ok(folder),
            (Some(folder), _) => Err(VaultError::NoSuchNote(format!("{folder}/{}", note.id))),
            (None, []) => Err(VaultError::NoSuchNote(name())),
            (None, [folder]) => Ok(*folder),
            (None, [first, ..]) => Err(VaultError::Ambiguous {
                name: name(),
                folders: found.iter().map(|folder| folder.name()).collect::<Vec<_>>().join(", "),
                first: *first,
            }),
        }
    }

    /// Waits for the vault's lock. Dropping the file releases it.
    fn lock(&self) -> Result<File, VaultError> {
        let mut options = OpenOptions::new();
        options.create(true).write(true);
        let file = self.root.open_with(LOCK, &options).map_err(io("open its lock"))?.into_std();
        let start = Instant::now();
        loop {
            match file.try_lock() {
                Ok(()) => return Ok(file),
                Err(TryLockError::WouldBlock) if start.elapsed() < LOCK_PATIENCE => {
                    thread::sleep(Duration::from_millis(2));
                }
                Err(TryLockError::WouldBlock) => {
                    return Err(VaultError::Busy(LOCK_PATIENCE.as_secs()));
                }
                Err(TryLockError::Error(error)) => return Err(io("take its lock")(error)),
            }
        }
    }

    /// Writes a complete, durable file under a private name. The caller holds the lock.
    fn write_temporary(
        &self,
        content: &str,
        permissions: Option<cap_std::fs::Permissions>,
    ) -> Result<String, VaultError> {
        let write = || -> io::Result<String> {
            self.root.create_dir_all(TEMPORARY)?;
            let mut options = OpenOptions::new();
            options.create_new(true).write(true);
            loop {
                let n = self.temporaries.fetch_add(1, Ordering::Relaxed);
                let name = format!("{TEMPORARY}/{}-{n}", std::process::id());
                let mut file = match self.root.open_with(&name, &options) {
                    // In two containers two processes may have the same number.
                    Err(error) if error.kind() == io::ErrorKind::AlreadyExists => continue,
                    other => other?,
                };
                let written = file
                    .write_all(content.as_bytes())
                    .and_then(|()| permissions.clone().map_or(Ok(()), |p| file.set_permissions(p)))
                    .and_then(|()| file.sync_all());
                if let Err(error) = written {
                    self.discard(&name);
                    return Err(error);
                }
                return Ok(name);
            }
        };
        write().map_err(io("write the note"))
    }

    fn discard(&self, temporary: &str) {
        // What stays behind is removed at the next start.
        if let Err(error) = self.root.remove_file(temporary) {
            tracing::debug!(temporary, %error, "temporary file not removed");
        }
    }

    fn remove_leftovers(&self) -> Result<(), VaultError> {
        let _lock = self.lock()?;
        let doing = "clean up its private folder";
        for entry in self.root.read_dir(TEMPORARY).map_err(io(doing))? {
            let entry = entry.map_err(io(doing))?;
            if let Err(error) = entry.remove_file() {
                tracing::warn!(name = ?entry.file_name(), %error, "leftover not removed");
            }
        }
        Ok(())
    }
}

/// Renames a file to a name that must be free.
fn place(from: &Dir, name: &str, to: &Dir, new_name: &str) -> io::Result<()> {
    match rustix::fs::renameat_with(from, name, to, new_name, RenameFlags::NOREPLACE) {
        // Some network and FUSE file systems cannot do this in one step.
        Err(Errno::INVAL | Errno::NOSYS | Errno::NOTSUP) => place_in_two_steps(from, name, to, new_name),
        other => Ok(other?),
    }
}

/// Claims the name with an empty file, then renames over it. A kill in between leaves an empty note.
fn place_in_two_steps(from: &Dir, name: &str, to: &Dir, new_name: &str) -> io::Result<()> {
    let mut options = OpenOptions::new();
    options.create_new(true).write(true);
    drop(to.open_with(new_name, &options)?);
    from.rename(name, to, new_name).inspect_err(|_| {
        // The claim is ours and empty.
        let _ = to.remove_file(new_name);
    })
}

fn read_text(dir: &Dir, id: &NoteId) -> Result<String, VaultError> {
    let unreadable = |reason| VaultError::Unreadable { name: id.to_string(), reason };
    let name = id.file_name();
    let found = |error: io::Error| match error.kind() {
        io::ErrorKind::NotFound => VaultError::NoSuchNote(id.to_string()),
        _ => io("read the note")(error),
    };
    // A link, pipe or device is never a note, even where following it would be harmless.
    if !dir.symlink_metadata(&name).map_err(found)?.is_file() {
        return Err(unreadable("it is not a regular file"));
    }
    let mut bytes = Vec::new();
    dir.open(&name).map_err(found)?.take(MAX_NOTE_BYTES + 1).read_to_end(&mut bytes).map_err(io("read the note"))?;
    if bytes.len() as u64 > MAX_NOTE_BYTES {
        return Err(unreadable("it is larger than 1 MiB; split it"));
    }
    String::from_utf8(bytes).map_err(|_| unreadable("it is not UTF-8 text"))
}

/// Makes a rename survive a power cut, where the file system can.
fn sync(dir: &Dir) {
    if let Err(error) = rustix::fs::fsync(dir) {
        tracing::debug!(%error, "folder not synced");
    }
}

#[cfg(test)]
mod tests;
