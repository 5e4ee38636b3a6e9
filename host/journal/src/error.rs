//! What can go wrong, with a stable code and the next step.

use basb_core::RunId;
use rusqlite::ErrorCode;
use std::path::{Path, PathBuf};

/// Why the journal could not do what was asked. Nothing was changed when one of these is returned.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum JournalError {
    /// Folder or file cannot be made, opened or written.
    #[error("the journal in {} cannot be written: {why}", folder.display())]
    Unwritable {
        /// The folder.
        folder: PathBuf,
        /// The system's reason.
        why: String,
    },
    /// No space is left.
    #[error("no space is left for the journal {}", file.display())]
    DiskFull {
        /// The file.
        file: PathBuf,
    },
    /// The file is damaged.
    #[error("the journal {} is damaged: {why}", file.display())]
    Corrupted {
        /// The file.
        file: PathBuf,
        /// What was found.
        why: String,
    },
    /// The file is something else.
    #[error("{} is not a journal: {why}", file.display())]
    NotAJournal {
        /// The file.
        file: PathBuf,
        /// What was found.
        why: String,
    },
    /// A newer version of the program wrote it.
    #[error("the journal {} has format {found}; this version knows formats up to {known}", file.display())]
    Newer {
        /// The file.
        file: PathBuf,
        /// The format found.
        found: i64,
        /// The newest known one.
        known: i64,
    },
    /// Another process kept it locked for longer than the patience of 10 s.
    #[error("the journal {} is locked by another process", file.display())]
    Locked {
        /// The file.
        file: PathBuf,
    },
    /// The disk failed, or SQLite said something unforeseen.
    #[error("the journal {} cannot be used: {why}", file.display())]
    Failed {
        /// The file.
        file: PathBuf,
        /// What was said.
        why: String,
    },
    /// A file that would be written is there already.
    #[error("{} is there already", file.display())]
    Exists {
        /// The file.
        file: PathBuf,
    },
    /// There are runs in it.
    #[error("the journal {} holds runs", file.display())]
    NotEmpty {
        /// The file.
        file: PathBuf,
    },
    /// Other processes have it open.
    #[error("the journal {} is open in {}", file.display(), pids(by))]
    InUse {
        /// The file.
        file: PathBuf,
        /// Their ids.
        by: Vec<u32>,
    },
    /// Nothing of a damaged file can be saved.
    #[error("nothing of the journal {} can be saved: {why}", file.display())]
    NothingLeft {
        /// The file.
        file: PathBuf,
        /// What is wrong with it.
        why: String,
    },
    /// The journal's thread is gone.
    #[error("the journal is closed")]
    Closed,
    /// No such run.
    #[error("there is no run `{run}`")]
    UnknownRun {
        /// As asked for.
        run: String,
    },
    /// Several runs start like this.
    #[error("`{prefix}` fits several runs: {}", list(matches))]
    AmbiguousRun {
        /// As asked for.
        prefix: String,
        /// Some of the runs that it fits, newest first.
        matches: Vec<RunId>,
    },
    /// A run's id is taken.
    #[error("run `{run}` exists already")]
    RunExists {
        /// The run.
        run: RunId,
    },
    /// What was imported is not what was exported.
    #[error("run `{run}` is not as it was exported: its chain of hashes ends in another one")]
    NotAsExported {
        /// The run.
        run: RunId,
    },
    /// A finished run takes no more records.
    #[error("run `{run}` is finished and takes no more records")]
    RunFinished {
        /// The run.
        run: RunId,
    },
    /// Somebody else holds the lease by now, or it was released.
    #[error("the lease `{lease}` with token {given} is not held any more")]
    StaleToken {
        /// The lease.
        lease: String,
        /// The token that came with the write.
        given: u64,
    },
    /// The record of a request would be written a second time, or one of a request that was dropped.
    #[error("request {ordinal} was taken out of the mailbox before")]
    RequestTaken {
        /// Its place in the order of all requests.
        ordinal: u64,
    },
    /// No such notification in the outbox.
    #[error("there is no notification `{event_key}` for `{notifier}`")]
    UnknownNotification {
        /// The event's key.
        event_key: String,
        /// The notifier.
        notifier: String,
    },
    /// A number over what the file can hold.
    #[error("{what} is too large for the journal")]
    OutOfRange {
        /// Which number.
        what: &'static str,
    },
}

fn pids(by: &[u32]) -> String {
    let all: Vec<String> = by.iter().map(|pid| format!("process {pid}")).collect();
    all.join(", ")
}

fn list(runs: &[RunId]) -> String {
    runs.iter().map(RunId::as_str).collect::<Vec<_>>().join(", ")
}

impl JournalError {
    /// A code that stays the same from version to version.
    #[must_use]
    pub fn code(&self) -> &'static str {
        match self {
            Self::Unwritable { .. } => "journal/unwritable",
            Self::DiskFull { .. } => "journal/disk-full",
            Self::Corrupted { .. } => "journal/corrupted",
            Self::NotAJournal { .. } => "journal/not-a-journal",
            Self::Newer { .. } => "journal/newer-format",
            Self::Locked { .. } => "journal/locked",
            Self::Failed { .. } => "journal/failed",
            Self::Exists { .. } => "journal/exists",
            Self::NotEmpty { .. } => "journal/not-empty",
            Self::InUse { .. } => "journal/in-use",
            Self::NothingLeft { .. } => "journal/nothing-left",
            Self::Closed => "journal/closed",
            Self::UnknownRun { .. } => "journal/unknown-run",
            Self::AmbiguousRun { .. } => "journal/ambiguous-run",
            Self::RunExists { .. } => "journal/run-exists",
            Self::NotAsExported { .. } => "journal/not-as-exported",
            Self::RunFinished { .. } => "journal/run-finished",
            Self::StaleToken { .. } => "journal/stale-token",
            Self::RequestTaken { .. } => "journal/request-taken",
            Self::UnknownNotification { .. } => "journal/unknown-notification",
            Self::OutOfRange { .. } => "journal/out-of-range",
        }
    }

    /// What to do next.
    #[must_use]
    pub fn next_step(&self) -> String {
        match self {
            Self::Unwritable { folder, .. } => {
                format!(
                    "make {0} a folder that you can write (`ls -ld {0}`), or choose another state folder",
                    folder.display()
                )
            }
            Self::DiskFull { file } => {
                let folder = file.parent().unwrap_or(file);
                format!(
                    "free some space on the disk of {0} (`df -h {0}`) and run again: nothing that was recorded is lost",
                    folder.display()
                )
            }
            Self::Corrupted { .. } => {
                "nothing was changed; `basb-host state check` says more, `basb-host state recover` makes a whole journal of \
                 what is left and keeps the damaged one, `basb-host state restore FILE` goes back to a back-up"
                    .to_owned()
            }
            Self::NotAJournal { file, .. } => {
                format!("nothing was changed; move {} away, or choose another state folder", file.display())
            }
            Self::Newer { .. } => {
                "use the newer version of basb-host that wrote it, or choose another state folder".to_owned()
            }
            Self::Locked { file } => {
                format!("see who has it open with `fuser -v {}`, let them finish, then run again", file.display())
            }
            Self::Failed { file, .. } => {
                format!("check the disk of {} (`dmesg | tail`, `df -h`), then run again", file.display())
            }
            Self::Exists { .. } => "give another name: nothing is written over".to_owned(),
            Self::NotEmpty { .. } => {
                "add `--replace` when you mean it: the journal that is there is kept beside the new one".to_owned()
            }
            Self::InUse { by, .. } => {
                let all: Vec<String> = by.iter().map(ToString::to_string).collect();
                format!("wait for them to end (`ps -o pid,args -p {}`), then try again; nothing was changed", all.join(","))
            }
            Self::NothingLeft { file, .. } => format!(
                "nothing was changed; go back to a back-up with `basb-host state restore FILE --replace`, or move the files \
                 {}* away to begin a new journal, and let `basb-host import` adopt what runs",
                file.display()
            ),
            Self::Closed => "run again; the log of this run says why it was closed".to_owned(),
            Self::UnknownRun { .. } => "list the runs with `basb-host history`".to_owned(),
            Self::AmbiguousRun { .. } => "write more of the run's id".to_owned(),
            Self::RunExists { .. } => "give every run an id of its own".to_owned(),
            Self::NotAsExported { .. } => "nothing was imported; export the run again".to_owned(),
            Self::RunFinished { .. } => "start a new run with `basb-host run`".to_owned(),
            Self::StaleToken { .. } => "somebody else took over: see `basb-host status`".to_owned(),
            Self::RequestTaken { .. } => {
                "nothing was written; `basb-host resume` goes on, and `basb-host show` says what was recorded".to_owned()
            }
            Self::UnknownNotification { .. } => "enqueue it first".to_owned(),
            Self::OutOfRange { .. } => "give a smaller number".to_owned(),
        }
    }

    /// Translates what the system said about a file.
    pub(crate) fn from_io(file: &Path, error: &std::io::Error) -> Self {
        let (file, why) = (file.to_owned(), error.to_string());
        match error.kind() {
            std::io::ErrorKind::StorageFull => Self::DiskFull { file },
            std::io::ErrorKind::NotFound => Self::NotAJournal { file, why: "there is no such file".to_owned() },
            std::io::ErrorKind::PermissionDenied => {
                Self::Unwritable { folder: file.parent().unwrap_or(&file).to_owned(), why }
            }
            _ => Self::Failed { file, why },
        }
    }

    /// Translates what SQLite said about the file.
    pub(crate) fn from_sqlite(file: &Path, error: &rusqlite::Error) -> Self {
        let file = file.to_owned();
        let why = error.to_string();
        match error {
            rusqlite::Error::SqliteFailure(failure, _) => match failure.code {
                ErrorCode::DiskFull => Self::DiskFull { file },
                ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked => Self::Locked { file },
                ErrorCode::DatabaseCorrupt => Self::Corrupted { file, why },
                ErrorCode::NotADatabase => Self::NotAJournal { file, why: "it is no SQLite database".to_owned() },
                ErrorCode::ReadOnly | ErrorCode::CannotOpen | ErrorCode::PermissionDenied => {
                    Self::Unwritable { folder: file.parent().unwrap_or(&file).to_owned(), why }
                }
                _ => Self::Failed { file, why },
            },
            // A column that is not what this crate writes there: somebody else wrote it, or the disk did.
            rusqlite::Error::FromSqlConversionFailure(..)
            | rusqlite::Error::InvalidColumnType(..)
            | rusqlite::Error::IntegralValueOutOfRange(..)
            | rusqlite::Error::Utf8Error(..) => Self::Corrupted { file, why },
            _ => Self::Failed { file, why },
        }
    }
}

/// What a piece of work inside a transaction can end with; the worker knows the file and completes it.
#[derive(Debug)]
pub(crate) enum WorkError {
    /// SQLite said no.
    Sqlite(rusqlite::Error),
    /// The journal said no.
    Journal(JournalError),
}

impl WorkError {
    /// With the file that it is about.
    pub(crate) fn at(self, file: &Path) -> JournalError {
        match self {
            Self::Sqlite(error) => JournalError::from_sqlite(file, &error),
            Self::Journal(error) => error,
        }
    }
}

impl From<rusqlite::Error> for WorkError {
    fn from(error: rusqlite::Error) -> Self {
        Self::Sqlite(error)
    }
}

impl From<JournalError> for WorkError {
    fn from(error: JournalError) -> Self {
        Self::Journal(error)
    }
}
