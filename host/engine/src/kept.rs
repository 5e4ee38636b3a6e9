//! The plugins of every run, kept by their digest: a run can be played back after its plugins' files, or basb-host itself,
//! were replaced.

use crate::{EngineError, StateDir};
use basb_core::Digest;
use std::io::Write as _;
use std::path::{Path, PathBuf};

/// The folder in which plugins are kept.
#[derive(Debug, Clone)]
pub struct KeptPlugins(PathBuf);

impl KeptPlugins {
    /// Those of a state folder.
    #[must_use]
    pub fn of(state: &StateDir) -> Self {
        Self(state.plugins())
    }

    fn path(&self, digest: &Digest) -> PathBuf {
        self.0.join(format!("{}.wasm", digest.as_str().replace(':', "-")))
    }

    /// Keeps a plugin, unless it is there already. Returns its digest.
    ///
    /// # Errors
    /// [`EngineError::StateDir`] when the folder cannot be written.
    pub fn keep(&self, bytes: &[u8]) -> Result<Digest, EngineError> {
        let digest = Digest::of(bytes);
        let path = self.path(&digest);
        if path.exists() {
            return Ok(digest);
        }
        let write = || -> std::io::Result<()> {
            std::fs::create_dir_all(&self.0)?;
            // Whoever reads it finds all of it or nothing.
            let beside = self.0.join(format!(".{}-{}", std::process::id(), digest.short()));
            let mut file = std::fs::File::create(&beside)?;
            file.write_all(bytes)?;
            file.sync_all()?;
            std::fs::rename(&beside, &path)
        };
        write().map(|()| digest).map_err(|source| EngineError::StateDir { path: self.0.clone(), source })
    }

    /// The bytes of a plugin: from the folder, or one that comes with this program.
    ///
    /// # Errors
    /// [`EngineError::Plugin`] with what to do when they are nowhere, or not what they were.
    pub fn find(&self, name: &str, digest: &Digest) -> Result<Vec<u8>, EngineError> {
        let path = self.path(digest);
        let found = std::fs::read(&path).ok().filter(|bytes| Digest::of(bytes) == *digest);
        let builtin = || basb_builtins::all().iter().find(|b| Digest::of(b.bytes) == *digest).map(|b| b.bytes.to_vec());
        found.or_else(builtin).ok_or_else(|| EngineError::Plugin {
            name: name.to_owned(),
            code: "plugin/not-kept".to_owned(),
            message: format!("its bytes ({digest}) are not kept in {}", self.folder().display()),
            next: "give its file with `--plugin FILE`; it is kept then".to_owned(),
        })
    }

    /// Every plugin that is kept, with its digest; what is not what its name says is left out.
    ///
    /// # Errors
    /// [`EngineError::StateDir`] when the folder cannot be read.
    pub fn all(&self) -> Result<Vec<(Digest, Vec<u8>)>, EngineError> {
        let read = || -> std::io::Result<Vec<(Digest, Vec<u8>)>> {
            let mut all = Vec::new();
            let folder = match std::fs::read_dir(&self.0) {
                Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(all),
                folder => folder?,
            };
            for entry in folder {
                let path = entry?.path();
                if path.extension().is_some_and(|extension| extension == "wasm") {
                    let bytes = std::fs::read(&path)?;
                    let digest = Digest::of(&bytes);
                    if self.path(&digest) == path {
                        all.push((digest, bytes));
                    } else {
                        tracing::warn!(file = %path.display(), "a kept plugin is not what its name says");
                    }
                }
            }
            all.sort_by(|a, b| a.0.cmp(&b.0));
            Ok(all)
        };
        read().map_err(|source| EngineError::StateDir { path: self.0.clone(), source })
    }

    /// The folder.
    #[must_use]
    pub fn folder(&self) -> &Path {
        &self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_kept_is_found_as_long_as_it_is_what_it_was() {
        let folder = tempfile::tempdir().unwrap();
        let kept = KeptPlugins::of(&StateDir::open(Some(folder.path())).unwrap());
        let digest = kept.keep(b"bytes").unwrap();
        assert_eq!(kept.keep(b"bytes").unwrap(), digest);
        assert_eq!(kept.find("p", &digest).unwrap(), b"bytes");
        assert_eq!(kept.all().unwrap(), [(digest.clone(), b"bytes".to_vec())]);
        std::fs::write(kept.path(&digest), b"others").unwrap();
        let error = kept.find("p", &digest).unwrap_err();
        assert_eq!(error.code(), "plugin/not-kept");
        assert!(error.next_step().contains("--plugin"));
        assert_eq!(kept.all().unwrap(), []);
        let builtin = &basb_builtins::all()[0];
        assert_eq!(kept.find("b", &Digest::of(builtin.bytes)).unwrap(), builtin.bytes);
    }
}
