//! The folder that a plugin's granted folders are in, as a part of the counterpart: its files are a state too.

use super::{Answered, Counterpart, Pace, Saved, Sent, State};
use crate::KitError;
use basb_capabilities::http::HttpError;
use basb_capabilities::tcp::{Exchange, Reply, TcpError};
use basb_core::Timestamp;
use futures_util::future::BoxFuture;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

type Files = BTreeMap<String, Vec<u8>>;

/// A counterpart and a folder.
#[derive(Debug)]
pub struct WithFolder {
    inner: Arc<dyn Counterpart>,
    folder: PathBuf,
    seed: Files,
}

/// The states of both.
struct Both {
    inner: Saved,
    files: Files,
}

impl WithFolder {
    /// A counterpart, and a folder with these files in it at the beginning.
    #[must_use]
    pub fn new(inner: Arc<dyn Counterpart>, folder: PathBuf, seed: &BTreeMap<String, String>) -> Self {
        let seed = seed.iter().map(|(path, text)| (path.clone(), text.clone().into_bytes())).collect();
        Self { inner, folder, seed }
    }

    fn put(&self, files: &Files) -> io::Result<()> {
        for (path, _) in read(&self.folder)? {
            if !files.contains_key(&path) {
                std::fs::remove_file(self.folder.join(path))?;
            }
        }
        for (path, contents) in files {
            let path = self.folder.join(path);
            if let Some(folder) = path.parent() {
                std::fs::create_dir_all(folder)?;
            }
            std::fs::write(path, contents)?;
        }
        Ok(())
    }
}

/// All files below a folder.
fn read(folder: &Path) -> io::Result<Files> {
    let mut files = Files::new();
    let mut left = vec![folder.to_owned()];
    while let Some(next) = left.pop() {
        for entry in std::fs::read_dir(&next)? {
            let entry = entry?;
            let kind = entry.file_type()?;
            if kind.is_dir() {
                left.push(entry.path());
            } else if kind.is_file()
                && let Ok(path) = entry.path().strip_prefix(folder)
            {
                files.insert(path.to_string_lossy().into_owned(), std::fs::read(entry.path())?);
            }
        }
    }
    Ok(files)
}

fn failed(error: &io::Error) -> KitError {
    KitError::new("kit/folder", format!("the folder of the kit: {error}"), "check the space on the disk")
}

impl Counterpart for WithFolder {
    fn name(&self) -> String {
        self.inner.name()
    }

    fn reset(&self) -> BoxFuture<'_, Result<(), KitError>> {
        Box::pin(async move {
            self.put(&self.seed).map_err(|e| failed(&e))?;
            self.inner.reset().await
        })
    }

    fn http<'a>(&'a self, sent: &'a Sent, now: Timestamp) -> BoxFuture<'a, Result<Answered, HttpError>> {
        self.inner.http(sent, now)
    }

    fn stale(&self, sent: &Sent, now: Timestamp) -> Option<Answered> {
        self.inner.stale(sent, now)
    }

    fn begin(&self, step: usize) {
        self.inner.begin(step);
    }

    fn unknown(&self) -> Option<String> {
        self.inner.unknown()
    }

    fn unsound(&self) -> Option<KitError> {
        self.inner.unsound()
    }

    fn unread(&self) -> Result<Option<String>, KitError> {
        self.inner.unread()
    }

    fn tcp<'a>(&'a self, exchange: &'a Exchange, now: Timestamp) -> BoxFuture<'a, Result<Reply, TcpError>> {
        self.inner.tcp(exchange, now)
    }

    fn state(&self, now: Timestamp) -> BoxFuture<'_, Result<State, KitError>> {
        Box::pin(async move {
            let mut state = self.inner.state(now).await?;
            let files = read(&self.folder).map_err(|e| failed(&e))?;
            if !files.is_empty() {
                let text = |contents: &Vec<u8>| Value::from(String::from_utf8_lossy(contents));
                let files: BTreeMap<&String, Value> = files.iter().map(|(path, c)| (path, text(c))).collect();
                state.there = json!({ "files": files, "counterpart": state.there });
            }
            Ok(state)
        })
    }

    fn save(&self) -> BoxFuture<'_, Result<Option<Saved>, KitError>> {
        Box::pin(async move {
            let files = read(&self.folder).map_err(|e| failed(&e))?;
            let inner = self.inner.save().await?;
            Ok(inner.map(|inner| Arc::new(Both { inner, files }) as Saved))
        })
    }

    fn restore<'a>(&'a self, saved: &'a Saved) -> BoxFuture<'a, Result<(), KitError>> {
        Box::pin(async move {
            let Some(both) = saved.downcast_ref::<Both>() else { return Ok(()) };
            self.inner.restore(&both.inner).await?;
            self.put(&both.files).map_err(|e| failed(&e))
        })
    }

    fn pace(&self) -> Pace {
        self.inner.pace()
    }
}
