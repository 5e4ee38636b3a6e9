//! Swapping the journal's file for another one, such that a crash in between loses nothing.

use crate::{FILE_NAME, JournalError, open};
use std::fs::{self, File, OpenOptions};
use std::io::ErrorKind;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

/// What SQLite keeps beside its file; empty for the file itself.
const PARTS: [&str; 3] = ["", "-wal", "-shm"];

/// The journal's file in a folder that nobody else opens meanwhile, and that nobody has open.
pub(super) struct Alone {
    pub(super) file: PathBuf,
    _lock: File,
}

impl Alone {
    /// Waits for others that are opening it, and refuses when somebody has it open.
    pub(super) fn with(folder: &Path) -> Result<Self, JournalError> {
        let unwritable = |e: std::io::Error| JournalError::Unwritable { folder: folder.to_owned(), why: e.to_string() };
        fs::DirBuilder::new().recursive(true).mode(0o700).create(folder).map_err(unwritable)?;
        let file = folder.join(FILE_NAME);
        let lock = open::private_file(&folder.join(format!("{FILE_NAME}.lock"))).map_err(unwritable)?;
        open::wait_for(&lock, &file, unwritable)?;
        let by = holders(&file);
        if by.is_empty() { Ok(Self { file, _lock: lock }) } else { Err(JournalError::InUse { file, by }) }
    }

    /// Puts a new file into the place of the journal. The old one is kept beside it under the name given; the answer
    /// says whether there was one.
    pub(super) fn swap(&self, new: &Path, kept: &Path) -> Result<bool, JournalError> {
        let failed = |e: std::io::Error| JournalError::from_io(&self.file, &e);
        let there = self.file.exists();
        // A name first, for every part: from here on nothing of the old file can be lost.
        for part in PARTS.iter().filter(|_| there) {
            let from = beside(&self.file, part);
            if from.exists() {
                fs::hard_link(&from, beside(kept, part)).map_err(failed)?;
            }
        }
        sync_folder(&self.file).map_err(failed)?;
        // A log that was left would be played into the new file: it goes before that file comes.
        for part in ["-wal", "-shm"] {
            match fs::remove_file(beside(&self.file, part)) {
                Err(e) if e.kind() != ErrorKind::NotFound => return Err(failed(e)),
                _ => {}
            }
        }
        sync_folder(&self.file).map_err(failed)?;
        fs::rename(new, &self.file).map_err(failed)?;
        sync_folder(&self.file).map_err(failed)?;
        Ok(there)
    }

    /// A copy of every part of the journal's file in a folder beside it, to be worked on: opening the file itself could
    /// change it.
    pub(super) fn copy(&self) -> Result<Copied, JournalError> {
        let failed = |e: std::io::Error| JournalError::from_io(&self.file, &e);
        let copied = Copied(self.file.with_extension(format!("copy-{}", std::process::id())));
        fs::DirBuilder::new().mode(0o700).create(&copied.0).map_err(failed)?;
        for part in ["", "-wal"] {
            let from = beside(&self.file, part);
            if from.exists() {
                fs::copy(&from, beside(&copied.file(), part)).map_err(failed)?;
            }
        }
        Ok(copied)
    }
}

/// A copy to be worked on; gone when dropped.
pub(super) struct Copied(PathBuf);

impl Copied {
    pub(super) fn file(&self) -> PathBuf {
        self.0.join(FILE_NAME)
    }

    pub(super) fn folder(&self) -> &Path {
        &self.0
    }
}

impl Drop for Copied {
    fn drop(&mut self) {
        // It is a copy; what cannot be removed is in nobody's way.
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// `journal.sqlite3` and `-wal` make `journal.sqlite3-wal`.
fn beside(file: &Path, part: &str) -> PathBuf {
    let mut name = file.file_name().unwrap_or_default().to_owned();
    name.push(part);
    file.with_file_name(name)
}

/// A name that nothing has yet: with a number where it is taken.
pub(super) fn free_name(file: &Path, word: &str) -> PathBuf {
    let first = beside(file, &format!(".{word}"));
    let numbered = (2..10_000).map(|n| beside(file, &format!(".{word}.{n}")));
    std::iter::once(first.clone()).chain(numbered).find(|path| !path.exists()).unwrap_or(first)
}

/// A new and empty file for its owner alone.
pub(super) fn new_private(path: &Path) -> std::io::Result<File> {
    OpenOptions::new().read(true).write(true).create_new(true).mode(0o600).open(path)
}

pub(super) fn sync_file(path: &Path) -> std::io::Result<()> {
    File::open(path)?.sync_all()
}

pub(super) fn sync_folder(of: &Path) -> std::io::Result<()> {
    let folder = of.parent().filter(|f| !f.as_os_str().is_empty()).unwrap_or(Path::new("."));
    File::open(folder)?.sync_all()
}

/// The processes that have a file open, this one left out: as far as the system lets us see.
fn holders(file: &Path) -> Vec<u32> {
    let Ok(about) = fs::metadata(file) else { return Vec::new() };
    let same = |path: PathBuf| fs::metadata(path).is_ok_and(|m| m.dev() == about.dev() && m.ino() == about.ino());
    let entries = |path: PathBuf| fs::read_dir(path).into_iter().flatten().filter_map(Result::ok);
    entries("/proc".into())
        .filter_map(|process| process.file_name().to_str()?.parse::<u32>().ok())
        .filter(|pid| *pid != std::process::id())
        .filter(|pid| entries(format!("/proc/{pid}/fd").into()).any(|fd| same(fd.path())))
        .collect()
}
