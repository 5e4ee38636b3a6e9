//! Reading the logs of instances, once or as they grow.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{self, Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::mpsc;

use super::Agent;
use crate::error::AgentError;
use crate::ids::{RevisionId, ServiceName};
use crate::supervisor::logfile;

const LOOK_EVERY: Duration = Duration::from_millis(150);

/// Bytes read at once from one file.
const PORTION: u64 = 256 * 1024;

/// A line longer than this is passed on in parts.
const LONGEST_LINE: usize = 64 * 1024;

/// Which lines are wanted.
#[derive(Debug)]
pub(crate) struct Selection {
    pub(crate) revision: Option<RevisionId>,
    pub(crate) instance: Option<u32>,
    pub(crate) tail: Option<usize>,
    pub(crate) follow: bool,
}

/// Starts to read a service's logs. Lines arrive until they end, or until the receiver is dropped.
pub(crate) fn read(
    agent: &Arc<Agent>,
    service: ServiceName,
    selection: Selection,
) -> Result<mpsc::Receiver<Bytes>, AgentError> {
    let folder = agent.supervisor.log_folder(&service);
    if !folder.is_dir() {
        agent.supervisor.service(&service)?;
    }
    let (sender, receiver) = mpsc::channel(8);
    let mut stopping = agent.stop.subscribe();
    tokio::spawn(async move {
        tokio::select! {
            () = pass_on(&folder, &selection, &sender) => {}
            _ = super::stopped(&mut stopping) => {}
            () = sender.closed() => {}
        }
    });
    Ok(receiver)
}

async fn pass_on(folder: &Path, selection: &Selection, sender: &mpsc::Sender<Bytes>) {
    let mut positions: BTreeMap<PathBuf, Position> = BTreeMap::new();
    let mut first = true;
    loop {
        for (path, prefix) in files(folder, selection) {
            let known = positions.contains_key(&path);
            let position = positions.entry(path.clone()).or_default();
            if !known && first {
                for portion in history(&path, &prefix, selection.tail, position) {
                    if sender.send(portion).await.is_err() {
                        return;
                    }
                }
            }
            // A log that appears later is read from its start.
            while let Some(lines) = position.read(&path, &prefix) {
                if !lines.is_empty() && sender.send(lines).await.is_err() {
                    return;
                }
            }
        }
        if !selection.follow {
            for (path, prefix) in files(folder, selection) {
                let rest = positions.entry(path).or_default().rest(&prefix);
                if !rest.is_empty() && sender.send(rest).await.is_err() {
                    return;
                }
            }
            return;
        }
        first = false;
        tokio::time::sleep(LOOK_EVERY).await;
    }
}

/// The selected log files with the prefix of their lines.
fn files(folder: &Path, selection: &Selection) -> Vec<(PathBuf, String)> {
    let Ok(entries) = fs::read_dir(folder) else { return Vec::new() };
    let mut files: Vec<(PathBuf, String)> = entries
        .flatten()
        .filter_map(|entry| {
            let name = entry.file_name();
            let (revision, instance) = name.to_str()?.strip_suffix(".log")?.rsplit_once('-')?;
            let instance: u32 = instance.parse().ok()?;
            let wanted = selection.revision.as_ref().is_none_or(|wanted| wanted.as_str() == revision)
                && selection.instance.is_none_or(|wanted| wanted == instance);
            wanted.then(|| (entry.path(), format!("{revision}/{instance} ")))
        })
        .collect();
    files.sort();
    files
}

/// How far a file has been read.
#[derive(Debug, Default)]
struct Position {
    offset: u64,
    /// The start of a line whose end has not been written yet.
    partial: Vec<u8>,
}

impl Position {
    /// The next complete lines, each with the prefix; nothing when the file has no more.
    fn read(&mut self, path: &Path, prefix: &str) -> Option<Bytes> {
        let bytes = self.portion(path).ok().filter(|bytes| !bytes.is_empty())?;
        self.partial.extend_from_slice(&bytes);
        let end = match self.partial.iter().rposition(|byte| *byte == b'\n') {
            Some(end) => end + 1,
            None if self.partial.len() > LONGEST_LINE => self.partial.len(),
            None => return Some(Bytes::new()),
        };
        let rest = self.partial.split_off(end);
        let lines = std::mem::replace(&mut self.partial, rest);
        Some(prefixed(&lines, prefix))
    }

    /// The unfinished last line.
    fn rest(&mut self, prefix: &str) -> Bytes {
        prefixed(&std::mem::take(&mut self.partial), prefix)
    }

    fn portion(&mut self, path: &Path) -> io::Result<Vec<u8>> {
        let mut file = File::open(path)?;
        if file.metadata()?.len() < self.offset {
            // It was rotated: what we have read is in the older part.
            self.offset = 0;
            self.partial.clear();
        }
        file.seek(SeekFrom::Start(self.offset))?;
        let mut bytes = Vec::new();
        let read = file.take(PORTION).read_to_end(&mut bytes)?;
        self.offset += read as u64;
        Ok(bytes)
    }
}

/// What is passed on before the file itself is read: its older part, or only so many last lines (the file then counts
/// as read).
fn history(path: &Path, prefix: &str, tail: Option<usize>, position: &mut Position) -> Vec<Bytes> {
    let older = logfile::older(path);
    match tail {
        None => {
            let mut portions = Vec::new();
            let mut position = Position::default();
            while let Some(lines) = position.read(&older, prefix) {
                portions.push(lines);
            }
            portions.push(position.rest(prefix));
            portions.retain(|portion| !portion.is_empty());
            portions
        }
        Some(lines) => {
            let mut current = Vec::new();
            while let Ok(portion) = position.portion(path) {
                if portion.is_empty() {
                    break;
                }
                current.extend_from_slice(&portion);
                // Only the end matters; a log may be larger than what anybody wants in memory.
                keep_last_lines(&mut current, lines);
            }
            let missing = lines.saturating_sub(count_lines(&current));
            let mut all = Vec::new();
            if missing > 0 {
                all = fs::read(&older).unwrap_or_default();
                if !all.is_empty() && !all.ends_with(b"\n") {
                    all.push(b'\n');
                }
                keep_last_lines(&mut all, missing);
            }
            all.extend_from_slice(&current);
            if all.is_empty() { Vec::new() } else { vec![prefixed(&all, prefix)] }
        }
    }
}

fn count_lines(bytes: &[u8]) -> usize {
    bytes.split_inclusive(|byte| *byte == b'\n').count()
}

fn keep_last_lines(bytes: &mut Vec<u8>, lines: usize) {
    let surplus = count_lines(bytes).saturating_sub(lines);
    let length: usize = bytes.split_inclusive(|byte| *byte == b'\n').take(surplus).map(<[u8]>::len).sum();
    bytes.drain(..length);
}

fn prefixed(lines: &[u8], prefix: &str) -> Bytes {
    let mut out = Vec::with_capacity(lines.len() + lines.len() / 4 + prefix.len());
    for line in lines.split_inclusive(|byte| *byte == b'\n') {
        out.extend_from_slice(prefix.as_bytes());
        out.extend_from_slice(line);
        if !line.ends_with(b"\n") {
            out.push(b'\n');
        }
    }
    Bytes::from(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_prefixed_and_cut_to_the_last() {
        assert_eq!(prefixed(b"a\nb", "r/0 "), "r/0 a\nr/0 b\n");
        let mut bytes = b"1\n2\n3\n4".to_vec();
        keep_last_lines(&mut bytes, 2);
        assert_eq!(bytes, b"3\n4");
    }

    #[test]
    fn a_rotated_log_is_read_from_its_new_start() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("r-0.log");
        let mut position = Position::default();
        fs::write(&path, "one\ntw").unwrap();
        assert_eq!(position.read(&path, "").unwrap(), "one\n");
        assert!(position.read(&path, "").is_none());
        fs::write(&path, "x\n").unwrap();
        assert_eq!(position.read(&path, "").unwrap(), "x\n");
    }
}
