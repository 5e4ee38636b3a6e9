//! Counting notes cheaply.
//!
//! A folder's modification time changes whenever a note is added, removed or moved, by whichever
//! process. So a count stays right as long as that time does, and asking costs one `stat` per folder
//! instead of reading them all.

use std::{
    io,
    sync::{Mutex, PoisonError},
    time::{Duration, SystemTime},
};

use cap_std::fs::{Dir, DirEntry, MetadataExt};
use schemars::JsonSchema;
use serde::Serialize;

use super::names::{Folder, NoteId};

/// Modification times are only as fine as the file system's clock (2 s on the coarsest): a count
/// taken sooner than this after a change might miss a second change of the same instant.
const SETTLED: Duration = Duration::from_secs(2);

/// How many notes each folder has.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, JsonSchema)]
#[schemars(inline)]
pub struct Counts {
    /// Notes in `Inbox`.
    pub inbox: usize,
    /// Notes in `Projects`.
    pub projects: usize,
    /// Notes in `Areas`.
    pub areas: usize,
    /// Notes in `Resources`.
    pub resources: usize,
    /// Notes in `Archives`.
    pub archives: usize,
    /// Drafts in `Express`.
    pub express: usize,
}

impl Counts {
    /// All notes and drafts.
    pub const fn total(&self) -> usize {
        self.inbox + self.projects + self.areas + self.resources + self.archives + self.express
    }

    const fn of(&mut self, folder: Folder) -> &mut usize {
        match folder {
            Folder::Inbox => &mut self.inbox,
            Folder::Projects => &mut self.projects,
            Folder::Areas => &mut self.areas,
            Folder::Resources => &mut self.resources,
            Folder::Archives => &mut self.archives,
            Folder::Express => &mut self.express,
        }
    }
}

/// Which state of a folder was counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Stamp {
    device: u64,
    inode: u64,
    seconds: i64,
    nanoseconds: i64,
}

/// The counts of the last look, with the state of each folder then.
#[derive(Debug, Default)]
pub struct StatsCache {
    last: Mutex<Option<([Stamp; Folder::ALL.len()], Counts)>>,
}

impl StatsCache {
    /// The counts, if no folder changed since they were taken.
    pub fn known(&self, root: &Dir) -> Option<Counts> {
        let (stamps, counts) = (*self.last.lock().unwrap_or_else(PoisonError::into_inner))?;
        Folder::ALL
            .into_iter()
            .zip(stamps)
            .all(|(folder, stamp)| root.metadata(folder.name()).is_ok_and(|metadata| stamp_of(&metadata) == stamp))
            .then_some(counts)
    }

    /// The counts, by reading the folders if one of them changed.
    pub fn counts(&self, root: &Dir) -> io::Result<Counts> {
        if let Some(counts) = self.known(root) {
            return Ok(counts);
        }
        let mut counts = Counts::default();
        let mut stamps = Vec::with_capacity(Folder::ALL.len());
        for folder in Folder::ALL {
            // The stamp before the entries: a change in between makes the next look count again.
            let dir = match root.open_dir(folder.name()) {
                Ok(dir) => dir,
                Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
                Err(error) => return Err(error),
            };
            let metadata = dir.dir_metadata()?;
            if is_settled(&metadata) {
                stamps.push(stamp_of(&metadata));
            }
            for entry in dir.entries()? {
                if note_of(&entry?).is_some() {
                    *counts.of(folder) += 1;
                }
            }
        }
        // Remembered only when every folder is there and settled.
        let stamps = stamps.try_into().ok();
        *self.last.lock().unwrap_or_else(PoisonError::into_inner) = stamps.map(|stamps| (stamps, counts));
        Ok(counts)
    }
}

/// The note that an entry of a folder is, if it is one.
pub fn note_of(entry: &DirEntry) -> Option<NoteId> {
    let id = NoteId::from_file_name(&entry.file_name())?;
    entry.file_type().ok()?.is_file().then_some(id)
}

fn stamp_of(metadata: &cap_std::fs::Metadata) -> Stamp {
    Stamp {
        device: metadata.dev(),
        inode: metadata.ino(),
        seconds: metadata.mtime(),
        nanoseconds: metadata.mtime_nsec(),
    }
}

fn is_settled(metadata: &cap_std::fs::Metadata) -> bool {
    // A time in the future, from a server with another clock, never counts as settled.
    metadata
        .modified()
        .is_ok_and(|modified| SystemTime::now().duration_since(modified.into_std()).is_ok_and(|age| age > SETTLED))
}
