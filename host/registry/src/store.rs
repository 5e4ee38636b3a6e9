//! The lock file on the disk.

use crate::file::{LockError, LockFile, MAX_LOCK_BYTES};
use crate::policy::{Decision, NewEnvironment, Policy, check};
use std::io::{ErrorKind, Read, Write};
use std::path::{Path, PathBuf};

/// Its name, beside the deployment file.
pub const FILE_NAME: &str = "basb.lock";

/// Reads the lock file of a folder; none where there is none.
///
/// # Errors
/// [`LockError`], which is never to be taken for "there is none": a file that cannot be read is not a first use.
pub fn read_lock(folder: &Path) -> Result<Option<LockFile>, LockError> {
    let file = folder.join(FILE_NAME);
    let unreadable = |why: std::io::Error| LockError::Unreadable { file: file.clone(), why: why.to_string() };
    let opened = match std::fs::File::open(&file) {
        Ok(opened) => opened,
        // A link that leads nowhere is not "no lock file".
        Err(e) if e.kind() == ErrorKind::NotFound && std::fs::symlink_metadata(&file).is_err() => return Ok(None),
        Err(e) => return Err(unreadable(e)),
    };
    let mut bytes = Vec::new();
    opened.take(MAX_LOCK_BYTES as u64 + 1).read_to_end(&mut bytes).map_err(unreadable)?;
    let text = String::from_utf8(bytes).map_err(|e| {
        let valid = e.as_bytes().get(..e.utf8_error().valid_up_to()).unwrap_or_default();
        let line = valid.iter().filter(|byte| **byte == b'\n').count() + 1;
        LockError::Form { line, why: "it is not UTF-8".to_owned() }
    })?;
    LockFile::parse(&text).map(Some)
}

/// Writes the lock file of a first use: as [`write_lock`], but only where there still is none, so that two first uses at
/// once do not undo one another.
///
/// # Errors
/// [`LockError::Unwritable`], also when somebody else has written one meanwhile.
pub fn write_first_lock(folder: &Path, lock: &LockFile) -> Result<PathBuf, LockError> {
    put(folder, lock, |new, file| new.persist_noclobber(file).map(drop).map_err(|e| e.error))
}

/// Adds an environment to the lock file of a folder, after it was decided that nothing about it is new. The file is read
/// and judged once more, as it may have changed since.
///
/// # Errors
/// [`LockError`]; the old file is as it was then.
pub fn add_environment(folder: &Path, new: &NewEnvironment) -> Result<PathBuf, LockError> {
    let lock = read_lock(folder)?.ok_or(LockError::Missing)?;
    match check(Some(&lock), &new.plugins, Policy::TrustFirstUse)? {
        Decision::NewEnvironment(new) => write_lock(folder, &lock.with(new.plugins)),
        // Somebody else was quicker.
        Decision::Same { .. } | Decision::FirstUse(_) => Ok(folder.join(FILE_NAME)),
    }
}

/// Writes the lock file of a folder: a reader, or a crash, sees the old one or the new one and nothing between.
///
/// # Errors
/// [`LockError::Unwritable`]; the old file is as it was then.
pub fn write_lock(folder: &Path, lock: &LockFile) -> Result<PathBuf, LockError> {
    put(folder, lock, |new, file| new.persist(file).map(drop).map_err(|e| e.error))
}

fn put(
    folder: &Path,
    lock: &LockFile,
    persist: impl FnOnce(tempfile::NamedTempFile, &Path) -> std::io::Result<()>,
) -> Result<PathBuf, LockError> {
    let file = folder.join(FILE_NAME);
    let unwritable = |why: std::io::Error| LockError::Unwritable { file: file.clone(), why: why.to_string() };
    let mut new = tempfile::Builder::new().prefix(".basb.lock.").tempfile_in(folder).map_err(unwritable)?;
    new.write_all(lock.to_string().as_bytes()).map_err(unwritable)?;
    readable_by_all(new.as_file()).map_err(unwritable)?;
    new.as_file().sync_all().map_err(unwritable)?;
    persist(new, &file).map_err(unwritable)?;
    std::fs::File::open(folder).and_then(|folder| folder.sync_all()).map_err(unwritable)?;
    Ok(file)
}

/// It is meant to be committed and read by everybody; a temporary file is for its owner alone.
fn readable_by_all(file: &std::fs::File) -> std::io::Result<()> {
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        file.set_permissions(std::fs::Permissions::from_mode(0o644))?;
    }
    #[cfg(not(unix))]
    let _ = file;
    Ok(())
}
