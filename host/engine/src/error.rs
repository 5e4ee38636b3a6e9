//! What can go wrong around a run, for people.

use basb_core::run::HistoryError;
use basb_journal::{Held, JournalError};
use std::path::PathBuf;

/// Why the engine cannot go on.
#[derive(Debug, thiserror::Error)]
pub enum EngineError {
    /// The state folder cannot be used.
    #[error("cannot use the state folder {}: {source}", path.display())]
    StateDir {
        /// The folder.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// There is no place for the state.
    #[error("neither XDG_STATE_HOME nor HOME names a folder for the state")]
    NoHome,
    /// The journal.
    #[error(transparent)]
    Journal(#[from] JournalError),
    /// Another run holds the lease.
    #[error("another run is at work on {what}: {held}")]
    Busy {
        /// `deployment/environment`.
        what: String,
        /// Who.
        held: Held,
    },
    /// The lease was lost while the run went on.
    #[error("another process has taken {what} over while this one did not answer: {}", taker(.by.as_ref()))]
    LeaseLost {
        /// `deployment/environment`.
        what: String,
        /// Who holds it now; nobody where it was given back since.
        by: Option<Held>,
    },
    /// The file, or what plugins say of it.
    #[error("{}", problems_in(.0))]
    Diagnostics(basb_spec::Diagnostics),
    /// A plugin cannot be loaded.
    #[error("plugin {name}: {message}")]
    Plugin {
        /// Its name in the file.
        name: String,
        /// A stable code.
        code: String,
        /// What is wrong.
        message: String,
        /// What to do.
        next: String,
    },
    /// Secrets are not to be had.
    #[error("{}", secrets_in(.0))]
    Secrets(Vec<basb_secrets::SecretError>),
    /// The lock file.
    #[error(transparent)]
    Lock(#[from] basb_registry::LockError),
    /// The embedded agent.
    #[error(transparent)]
    Agent(#[from] basb_agent::AgentError),
    /// A journal entry cannot be understood.
    #[error("entry {seq} of run {run} cannot be read: {why}")]
    Entry {
        /// The run.
        run: String,
        /// The entry.
        seq: u64,
        /// Why.
        why: String,
    },
    /// The history cannot be understood.
    #[error(transparent)]
    History(#[from] HistoryError),
    /// A plan does not hold any more.
    #[error("the plan is stale, {} moved since it was made:{}", how_many(.0), listed(.0))]
    Stale(Vec<crate::Moved>),
    /// A command cannot do what was asked of it.
    #[error("{message}")]
    Refused {
        /// A stable code.
        code: &'static str,
        /// What is wrong, and why.
        message: String,
        /// What to do.
        next: String,
    },
    /// A plugin's call failed where there is no run to write it down.
    #[error("{message}")]
    Call {
        /// A stable code.
        code: String,
        /// What happened.
        message: String,
    },
}

impl EngineError {
    /// One of a command that cannot do what was asked of it.
    pub fn refused(code: &'static str, message: impl Into<String>, next: impl Into<String>) -> Self {
        Self::Refused { code, message: message.into(), next: next.into() }
    }

    /// A stable code.
    #[must_use]
    pub fn code(&self) -> &str {
        match self {
            Self::StateDir { .. } => "state/unwritable",
            Self::NoHome => "state/no-home",
            Self::Journal(e) => e.code(),
            Self::Busy { .. } => "run/busy",
            Self::LeaseLost { .. } => "run/lease-lost",
            Self::Diagnostics(_) => "deployment/invalid",
            Self::Plugin { code, .. } | Self::Call { code, .. } => code,
            Self::Refused { code, .. } => code,
            Self::Stale(_) => "plan/stale",
            Self::Secrets(all) => all.first().map_or("secret/missing", |e| e.code),
            Self::Lock(e) => e.code(),
            Self::Agent(e) => e.code(),
            Self::Entry { .. } | Self::History(_) => "journal/unreadable-entry",
        }
    }

    /// What to do next.
    #[must_use]
    pub fn next_step(&self) -> String {
        match self {
            Self::StateDir { .. } => "give a folder that you can write with `--state DIR`".to_owned(),
            Self::NoHome => "give one with `--state DIR`".to_owned(),
            Self::Journal(e) => e.next_step(),
            Self::Busy { .. } => {
                "wait for it to end, follow it with `basb-host status -w`, or ask it for something with `pause`, `abort` or `stop`; \
                 a holder that is dead is taken over by itself, and `basb-host unlock` is for one that cannot be seen"
                    .to_owned()
            }
            Self::LeaseLost { .. } => {
                "nothing more was done here; the run goes on there: `basb-host status -w` follows it".to_owned()
            }
            Self::Diagnostics(_) => "mend the file; nothing was changed".to_owned(),
            Self::Plugin { next, .. } | Self::Refused { next, .. } => next.clone(),
            Self::Stale(_) => {
                "look at a new one with `basb-host plan --out FILE`, then run that; nothing was changed".to_owned()
            }
            Self::Secrets(all) => {
                let help: Vec<&str> = all.iter().map(|e| e.help.as_str()).collect();
                format!("{}; nothing was changed", help.join("; "))
            }
            Self::Lock(e) => e.next_step(),
            Self::Agent(e) => e.next().to_owned(),
            Self::Entry { .. } => "the journal is damaged or of another version: `basb-host history` shows the others".to_owned(),
            Self::History(HistoryError::NoStart) => "its beginning was lost with a damaged journal; only a backup from \
                before has it (`basb-host state restore FILE`)"
                .to_owned(),
            Self::History(HistoryError::Newer { .. }) => "use the version of basb-host that wrote it".to_owned(),
            Self::Call { code, .. } if code.starts_with("run/") => "`basb-host history` lists the runs".to_owned(),
            Self::Call { .. } => "the message says what the plugin could not do; nothing was changed".to_owned(),
        }
    }
}

fn taker(by: Option<&Held>) -> String {
    by.map_or_else(|| "it has been given back since".to_owned(), ToString::to_string)
}

fn how_many(moved: &[crate::Moved]) -> String {
    if moved.len() == 1 { "this".to_owned() } else { format!("these {}", moved.len()) }
}

/// A line for each, but not thousands of them.
fn listed(moved: &[crate::Moved]) -> String {
    const MOST: usize = 20;
    let mut lines: Vec<String> = moved.iter().take(MOST).map(|m| format!("\n  {m}")).collect();
    if moved.len() > MOST {
        lines.push(format!("\n  and {} more", moved.len() - MOST));
    }
    lines.concat()
}

fn secrets_in(all: &[basb_secrets::SecretError]) -> String {
    all.iter().map(ToString::to_string).collect::<Vec<_>>().join("; ")
}

fn problems_in(diagnostics: &basb_spec::Diagnostics) -> String {
    match diagnostics.as_slice().len() {
        1 => "a problem in the deployment".to_owned(),
        n => format!("{n} problems in the deployment"),
    }
}
