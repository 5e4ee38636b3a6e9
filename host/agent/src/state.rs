//! The state folder: its lock, and the desired state that survives the agent.

use std::collections::BTreeMap;
use std::fs::{self, File, OpenOptions};
use std::io::Write;
use std::net::SocketAddr;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use jiff::Timestamp;
use rustix::fs::{FlockOperation, flock};
use serde::{Deserialize, Serialize};

use crate::api::{External, LastExit, Workload};
use crate::error::AgentError;
use crate::ids::{InstanceId, RevisionId, ServiceName, Weight};

/// The version that every agent can read.
const FORMAT: u32 = 1;
/// The version with external instances. Written only where there are some: an agent that does not know them must not take
/// them for processes that it is to start.
const FORMAT_EXTERNAL: u32 = 2;

/// Everything that the next agent needs to carry on.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Saved {
    pub(crate) format: u32,
    /// The boot during which the process ids below were valid.
    pub(crate) boot_id: String,
    pub(crate) services: BTreeMap<ServiceName, SavedService>,
}

impl Saved {
    /// What in it has no meaning, if anything has none.
    fn unclear(&self) -> Option<String> {
        self.services.iter().find_map(|(name, service)| {
            let odd = |revision: &SavedRevision| revision.workload.is_some() == revision.external.is_some();
            let (id, _) = service.revisions.iter().find(|(_, revision)| odd(revision))?;
            Some(format!("revision {id} of service {name} must have either a workload or external instances"))
        })
    }
}

#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct SavedService {
    pub(crate) listen: SocketAddr,
    pub(crate) version: u64,
    pub(crate) weights: BTreeMap<RevisionId, Weight>,
    #[serde(default)]
    pub(crate) deleting: bool,
    pub(crate) revisions: BTreeMap<RevisionId, SavedRevision>,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct SavedRevision {
    /// What runs; absent for external instances.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) workload: Option<Workload>,
    /// How external instances are checked; absent for processes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) external: Option<External>,
    pub(crate) replicas: u32,
    pub(crate) preview_port: u16,
    /// Set once it retires: the bound on draining, in milliseconds.
    #[serde(default)]
    pub(crate) retiring: Option<u64>,
    pub(crate) instances: BTreeMap<InstanceId, SavedInstance>,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct SavedInstance {
    /// The token in the environment of its present process; written before that process starts.
    pub(crate) token: String,
    pub(crate) port: u16,
    /// Where an external instance was said to be.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) elsewhere: Option<SocketAddr>,
    pub(crate) process: Option<SavedProcess>,
    pub(crate) started_at: Option<Timestamp>,
    pub(crate) restarts: u32,
    /// Whether it was ever available: one that was is restarted without end.
    pub(crate) proven: bool,
    /// Set when it was scaled away and is on its way out.
    #[serde(default)]
    pub(crate) leaving: bool,
    #[serde(default)]
    pub(crate) last_exit: Option<LastExit>,
}

/// A process, identified beyond the reuse of its id.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct SavedProcess {
    pub(crate) pid: u32,
    /// Field 22 of `/proc/PID/stat`: clock ticks after boot.
    pub(crate) start_time: u64,
}

/// The state folder, locked for this agent.
#[derive(Debug)]
pub(crate) struct Store {
    dir: PathBuf,
    boot_id: String,
    /// Nothing once the folder has been given up; nothing is saved after that.
    lock: Mutex<Option<File>>,
}

impl Store {
    /// Creates the folder when needed and locks it.
    pub(crate) fn open(dir: &Path) -> Result<Self, AgentError> {
        create_private_folder(dir)?;
        // A relative path would change its meaning with the working folder, and services run in it.
        let dir = fs::canonicalize(dir).map_err(|error| AgentError::io("resolve", dir, error))?;
        let lock = open_lock(&dir.join("agent.lock"))?;
        if flock(&lock, FlockOperation::NonBlockingLockExclusive).is_err() {
            return Err(AgentError::AlreadyRunning { state_dir: dir });
        }
        let boot_id = fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default().trim().to_owned();
        Ok(Self { dir, boot_id, lock: Mutex::new(Some(lock)) })
    }

    /// The folder, as an absolute path.
    pub(crate) fn dir(&self) -> &Path {
        &self.dir
    }

    /// This boot.
    pub(crate) fn boot_id(&self) -> &str {
        &self.boot_id
    }

    fn file(&self) -> PathBuf {
        self.dir.join("agent.json")
    }

    /// The saved state; empty when there is none yet.
    ///
    /// A file that cannot be understood is copied aside and left in place: starting empty instead would forget the
    /// processes it lists.
    pub(crate) fn load(&self) -> Result<Saved, AgentError> {
        let path = self.file();
        let bytes = match fs::read(&path) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Saved::default()),
            Err(error) => return Err(AgentError::io("read", &path, error)),
        };
        let why = match serde_json::from_slice::<Saved>(&bytes) {
            Ok(saved) if !(FORMAT..=FORMAT_EXTERNAL).contains(&saved.format) => {
                format!("it has format {}, this agent knows formats {FORMAT} to {FORMAT_EXTERNAL}", saved.format)
            }
            Ok(saved) => match saved.unclear() {
                None => return Ok(saved),
                Some(why) => why,
            },
            Err(error) => error.to_string(),
        };
        let kept = self.keep_aside(&path, &bytes)?;
        Err(AgentError::StateCorrupt { path, kept, why })
    }

    /// Copies the unreadable file aside, once per content.
    fn keep_aside(&self, path: &Path, bytes: &[u8]) -> Result<PathBuf, AgentError> {
        for number in 0_u32.. {
            let kept = self.dir.join(format!("agent.json.corrupt-{number}"));
            match fs::read(&kept) {
                Ok(there) if there == bytes => return Ok(kept),
                Ok(_) => {}
                Err(_) => {
                    fs::copy(path, &kept).map_err(|error| AgentError::io("write", &kept, error))?;
                    return Ok(kept);
                }
            }
        }
        Ok(path.to_owned())
    }

    /// Gives the folder up for the next agent.
    pub(crate) fn release(&self) {
        self.lock.lock().unwrap_or_else(PoisonError::into_inner).take();
    }

    /// Replaces the saved state, atomically and durably.
    pub(crate) fn save(&self, services: BTreeMap<ServiceName, SavedService>) -> Result<(), AgentError> {
        // Held while writing: the next agent must not start from what we are about to replace.
        let lock = self.lock.lock().unwrap_or_else(PoisonError::into_inner);
        if lock.is_none() {
            return Err(AgentError::NotRunning { state_dir: self.dir.clone(), why: "it has just stopped".to_owned() });
        }
        let external = services.values().flat_map(|service| service.revisions.values()).any(|r| r.external.is_some());
        let format = if external { FORMAT_EXTERNAL } else { FORMAT };
        let saved = Saved { format, boot_id: self.boot_id.clone(), services };
        let path = self.file();
        let temporary = self.dir.join("agent.json.new");
        let text = serde_json::to_vec_pretty(&saved)
            .map_err(|error| AgentError::io("write", &path, std::io::Error::other(error)))?;
        let write = || -> std::io::Result<()> {
            let mut file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&temporary)?;
            file.write_all(&text)?;
            file.sync_data()?;
            fs::rename(&temporary, &path)?;
            File::open(&self.dir)?.sync_all()
        };
        write().map_err(|error| AgentError::io("write", &path, error))
    }

    /// The folder with the logs of a service.
    pub(crate) fn log_folder(&self, service: &ServiceName) -> PathBuf {
        self.dir.join("logs").join(service.as_str())
    }

    /// The log file of an instance.
    pub(crate) fn log_file(&self, service: &ServiceName, revision: &RevisionId, instance: InstanceId) -> PathBuf {
        self.log_folder(service).join(format!("{revision}-{instance}.log"))
    }
}

/// Whether an agent has this state folder.
pub(crate) fn is_held(dir: &Path) -> bool {
    let lock = OpenOptions::new().read(true).open(dir.join("agent.lock"));
    lock.is_ok_and(|lock| flock(&lock, FlockOperation::NonBlockingLockShared).is_err())
}

/// Opens (and creates) a lock file. The lock itself is taken by the caller.
pub(crate) fn open_lock(path: &Path) -> Result<File, AgentError> {
    OpenOptions::new()
        .create(true)
        .truncate(false)
        .write(true)
        .mode(0o600)
        .open(path)
        .map_err(|error| AgentError::io("open", path, error))
}

/// Creates a folder (and its parents) for this user only.
pub(crate) fn create_private_folder(dir: &Path) -> Result<(), AgentError> {
    fs::DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(dir)
        .and_then(|()| fs::set_permissions(dir, fs::Permissions::from_mode(0o700)))
        .map_err(|error| AgentError::io("create", dir, error))
}
