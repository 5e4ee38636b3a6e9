//! Where basb-host keeps what outlives a process.

use crate::EngineError;
use std::path::{Path, PathBuf};

/// The folder with the journal, the agent and the compiled plugins.
#[derive(Debug, Clone)]
pub struct StateDir(PathBuf);

impl StateDir {
    /// The folder given, or `$XDG_STATE_HOME/basb-host`, or `~/.local/state/basb-host`. Made if it is not there.
    ///
    /// # Errors
    /// [`EngineError::StateDir`] when it cannot be made or written.
    pub fn open(given: Option<&Path>) -> Result<Self, EngineError> {
        let path = match given {
            Some(path) => path.to_owned(),
            None => Self::default_path()?,
        };
        let path = std::path::absolute(&path).unwrap_or(path);
        let refused = |source: std::io::Error| EngineError::StateDir { path: path.clone(), source };
        std::fs::create_dir_all(&path).map_err(refused)?;
        let mark = path.join(format!(".writable-{}", std::process::id()));
        std::fs::write(&mark, b"").map_err(refused)?;
        std::fs::remove_file(&mark).map_err(refused)?;
        Ok(Self(path))
    }

    fn default_path() -> Result<PathBuf, EngineError> {
        let absolute = |name: &str| std::env::var_os(name).map(PathBuf::from).filter(|p| p.is_absolute());
        absolute("XDG_STATE_HOME")
            .or_else(|| absolute("HOME").map(|home| home.join(".local/state")))
            .map(|base| base.join("basb-host"))
            .ok_or(EngineError::NoHome)
    }

    /// The folder.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.0
    }

    /// The journal's folder.
    #[must_use]
    pub fn journal(&self) -> PathBuf {
        self.0.join("journal")
    }

    /// The agent's folder.
    #[must_use]
    pub fn agent(&self) -> PathBuf {
        self.0.join("agent")
    }

    /// The folder in which the plugins of every run are kept.
    #[must_use]
    pub fn plugins(&self) -> PathBuf {
        self.0.join("plugins")
    }

    /// The folder of compiled plugins.
    #[must_use]
    pub fn cache(&self) -> PathBuf {
        self.0.join("cache")
    }
}
