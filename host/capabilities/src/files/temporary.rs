//! The hidden files in which new content is written before it takes a file's place.
//!
//! A process that is killed in between leaves one in a folder of the user. Who writes holds a lock on its temporary
//! file, which ends with the process, so the next write into the folder can tell what is left over from what another
//! process is writing, and takes it away. Stops a host that is killed often from filling a folder with what nobody sees.

use cap_std::fs::{Dir, File, OpenOptions};
use std::fs::TryLockError;
use std::io;
use std::path::{Path, PathBuf};

/// A new file, locked while this lives.
pub(super) struct Temporary {
    pub(super) file: File,
    pub(super) path: PathBuf,
}

/// So often another process may take a new file for one that was left over, between its making and its locking.
const ATTEMPTS: usize = 8;

impl Temporary {
    /// Makes one in a folder, which is within `dir`.
    ///
    /// # Errors
    /// What the file system says.
    pub(super) fn create(dir: &Dir, folder: &Path) -> io::Result<Self> {
        for _ in 0..ATTEMPTS {
            let path = folder.join(new_name()?);
            let file = dir.open_with(&path, OpenOptions::new().write(true).create_new(true))?.into_std();
            // On a file system without locks nobody can take it for left over either. It may have been taken away before
            // it was locked; nobody does so afterwards.
            let taken = matches!(file.try_lock(), Err(TryLockError::WouldBlock));
            if !taken && dir.symlink_metadata(&path).is_ok() {
                return Ok(Self { file: File::from_std(file), path });
            }
        }
        Err(io::Error::other("its temporary file is taken away again and again by another process"))
    }
}

/// Takes away what is left over in a folder, as far as the first `limit` names. What cannot be taken away stays.
pub(super) fn sweep(dir: &Dir, folder: &Path, limit: usize) {
    let folder = if folder.as_os_str().is_empty() { Path::new(".") } else { folder };
    let Ok(entries) = dir.read_dir(folder) else { return };
    for name in entries.take(limit).filter_map(Result::ok).map(|entry| entry.file_name()) {
        if !name.to_str().is_some_and(is_temporary) {
            continue;
        }
        let path = folder.join(name);
        // Looked at before it is opened: opening a pipe waits for a reader.
        if !dir.symlink_metadata(&path).is_ok_and(|about| about.is_file()) {
            continue;
        }
        let Ok(file) = dir.open_with(&path, OpenOptions::new().write(true)) else { continue };
        let file = file.into_std();
        if file.try_lock().is_ok() {
            // While it is locked: whoever has just made it sees that it is gone.
            let _ = dir.remove_file(&path);
        }
    }
}

const BEGIN: &str = ".basb-";
const END: &str = ".tmp";

/// A hidden name that nobody else uses: not even who had this process's number before it, and crashed.
fn new_name() -> io::Result<String> {
    let mut random = [0; 8];
    rustix::rand::getrandom(&mut random, rustix::rand::GetRandomFlags::empty())?;
    Ok(format!("{BEGIN}{:016x}{END}", u64::from_le_bytes(random)))
}

/// Whether a file has such a name.
pub(super) fn is_temporary(name: &str) -> bool {
    let middle = name.strip_prefix(BEGIN).and_then(|rest| rest.strip_suffix(END));
    middle.is_some_and(|hex| hex.len() == 16 && hex.bytes().all(|b| b.is_ascii_digit() || matches!(b, b'a'..=b'f')))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::{AtomicBool, Ordering};

    fn folder() -> (tempfile::TempDir, Dir) {
        let folder = tempfile::tempdir().unwrap();
        let dir = Dir::open_ambient_dir(folder.path(), cap_std::ambient_authority()).unwrap();
        (folder, dir)
    }

    #[test]
    fn what_is_left_over_goes_and_everything_else_stays() {
        let (folder, dir) = folder();
        let left = new_name().unwrap();
        let others = [".basb-note.tmp", ".basb-00000000000000zz.tmp", ".basb-0000000000000000.md", "note.md"];
        dir.create_dir("in").unwrap();
        for name in others.iter().copied().chain([left.as_str()]) {
            dir.write(Path::new("in").join(name), "x").unwrap();
        }
        // A link is not what a write leaves behind.
        let link = new_name().unwrap();
        std::os::unix::fs::symlink("note.md", folder.path().join("in").join(&link)).unwrap();
        let held = Temporary::create(&dir, Path::new("in")).unwrap();
        sweep(&dir, Path::new("in"), 100);
        assert!(!dir.exists(Path::new("in").join(&left)), "what is left over is still there");
        assert!(dir.exists(&held.path), "what is being written is gone");
        let there = |name: &str| dir.symlink_metadata(Path::new("in").join(name)).is_ok();
        assert!(others.iter().all(|name| there(name)) && there(&link));
        // Whoever wrote it was killed.
        let path = held.path.clone();
        drop(held);
        sweep(&dir, Path::new("in"), 100);
        assert!(!dir.exists(path));
    }

    #[test]
    fn the_folder_itself_is_swept_too_and_one_that_is_missing_is_no_matter() {
        let (_folder, dir) = folder();
        let left = new_name().unwrap();
        dir.write(&left, "x").unwrap();
        sweep(&dir, Path::new(""), 100);
        assert!(!dir.exists(left));
        sweep(&dir, Path::new("missing"), 100);
    }

    #[test]
    fn writers_and_sweepers_beside_each_other_lose_no_file() {
        let (_folder, dir) = folder();
        let sweeping = AtomicBool::new(true);
        std::thread::scope(|scope| {
            scope.spawn(|| {
                while sweeping.load(Ordering::Relaxed) {
                    sweep(&dir, Path::new(""), 1000);
                }
            });
            for number in 0..500 {
                let made = Temporary::create(&dir, Path::new("")).unwrap();
                dir.rename(&made.path, &dir, format!("note-{number}")).unwrap();
            }
            sweeping.store(false, Ordering::Relaxed);
        });
        assert_eq!(dir.entries().unwrap().count(), 500);
    }
}
