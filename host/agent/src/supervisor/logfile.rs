//! The log files of instances: bounded, and readable from their end.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

/// Logs of retired revisions that are kept per service.
const KEPT_RETIRED: usize = 20;

/// Where the older part of a log is kept.
pub(crate) fn older(log: &Path) -> PathBuf {
    let mut name = log.as_os_str().to_owned();
    name.push(".1");
    PathBuf::from(name)
}

/// Copies a log that has outgrown `limit` bytes aside and empties it.
///
/// The service writes to the file itself and keeps it open, so the file must stay the same: lines that it writes
/// between the copy and the emptying are lost. It appends, so it goes on at the new end.
pub(crate) fn rotate(log: &Path, limit: u64) -> io::Result<()> {
    let file = match OpenOptions::new().read(true).write(true).open(log) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(error),
    };
    let size = file.metadata()?.len();
    if size <= limit {
        return Ok(());
    }
    let mut aside = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(older(log))?;
    let mut reader = &file;
    // What is kept aside is bounded too, however fast the log grew.
    reader.seek(SeekFrom::Start(size.saturating_sub(limit)))?;
    io::copy(&mut reader.take(limit), &mut aside)?;
    file.set_len(0)
}

/// The last `lines` lines of a log, read from at most its last 64 KiB.
pub(crate) fn last_lines(log: &Path, lines: usize) -> Vec<String> {
    let read = || -> io::Result<Vec<u8>> {
        let mut file = File::open(log)?;
        let size = file.metadata()?.len();
        file.seek(SeekFrom::Start(size.saturating_sub(64 * 1024)))?;
        let mut bytes = Vec::new();
        file.take(64 * 1024).read_to_end(&mut bytes)?;
        Ok(bytes)
    };
    let bytes = read().unwrap_or_default();
    let text = String::from_utf8_lossy(&bytes);
    let all: Vec<&str> = text.lines().filter(|line| !line.trim().is_empty()).collect();
    all.iter().skip(all.len().saturating_sub(lines)).map(|line| (*line).to_owned()).collect()
}

/// Removes the oldest logs in a service's folder that belong to no instance any more.
pub(crate) fn prune(folder: &Path, in_use: &[PathBuf]) {
    let Ok(entries) = fs::read_dir(folder) else { return };
    let mut retired: Vec<_> = entries
        .flatten()
        .map(|entry| entry.path())
        .filter(|path| !in_use.iter().any(|used| used == path || older(used) == *path))
        .filter_map(|path| Some((fs::metadata(&path).ok()?.modified().ok()?, path)))
        .collect();
    retired.sort();
    let surplus = retired.len().saturating_sub(KEPT_RETIRED);
    for (_, path) in retired.into_iter().take(surplus) {
        let _ = fs::remove_file(path);
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    #[test]
    fn a_log_that_outgrew_its_bound_is_copied_aside_and_goes_on_at_its_start() {
        let folder = tempfile::tempdir().unwrap();
        let log = folder.path().join("a.log");
        let mut writer = OpenOptions::new().append(true).create(true).open(&log).unwrap();
        writer.write_all(&[b'x'; 100]).unwrap();
        rotate(&log, 100).unwrap();
        assert_eq!(fs::metadata(&log).unwrap().len(), 100);
        writer.write_all(b"y").unwrap();
        rotate(&log, 100).unwrap();
        assert_eq!(fs::metadata(&log).unwrap().len(), 0);
        assert_eq!(fs::read(older(&log)).unwrap().len(), 100);
        writer.write_all(b"next\n").unwrap();
        assert_eq!(last_lines(&log, 5), ["next"]);
    }
}
