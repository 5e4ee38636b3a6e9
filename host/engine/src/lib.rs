//! Carries out what the core decides: it calls plugins, writes the journal before and after every effect, holds the
//! lease, and delivers notifications.
//!
//! **Must never** decide what a release does next (that is `basb_core::run`), let an effect happen whose intent is not
//! durable, or let a plugin's word move traffic without the core's check.

mod access;
mod artefact;
mod ask;
mod asking;
mod begin;
mod bounds;
mod calls;
mod care;
mod cause;
mod clock;
mod convert;
mod courier;
mod drift;
mod drive;
mod error;
mod hands;
mod history;
mod import;
mod inspect;
mod kept;
mod lease;
mod mailbox;
mod memory;
mod only;
mod owner;
mod plan;
mod plan_file;
mod planned;
mod plugins;
mod postmortem;
mod prepare;
mod promotion;
mod retention;
mod retry;
mod revision;
mod revisions;
mod schema;
mod session;
mod sights;
mod stable;
mod state;
mod status;
mod tapes;
mod target;
mod undo;
mod unlock;
mod work;
mod workers;

pub use artefact::Artefact;
pub use ask::{Answer, Answered, Ask, Says};
pub use begin::{RunChoice, Started};
pub use care::{BackedUp, RestoredState, Unkept, backup_state, recover_journal, restore_journal};
pub use cause::Cause;
pub use clock::now;
pub use drift::{Difference, DifferenceKind, DriftReport, Seen, ServiceDrift, Unreadable};
pub use drive::{Control, Ended, EventSink};
pub use error::EngineError;
pub use history::{RunLine, RunView, ServiceStatus, history, show};
pub use import::{Fate, Imported};
pub use inspect::report as report_plugin;
pub use kept::KeptPlugins;
pub use owner::{Life, Owner, user};
pub use plan::{CannotUndo, Change, Plan, PlannedAction, PlannedStep, ServicePlan};
pub use plan_file::{Made, MadeFrom, Moved, PlanFile, What, is_plan};
pub use plugins::{LoadedPlugin, PluginSet, plugin_bytes};
pub use postmortem::{FailedCall, Postmortem, ServicePostmortem, TimelineLine, postmortem};
pub use prepare::{Prepared, prepare};
pub use promotion::Promoted;
pub use retention::Retention;
pub use revisions::{ServiceRevisions, StableLine, Which};
pub use schema::deployment_schema;
pub use session::{Session, SessionOptions, ensure_agent};
pub use state::StateDir;
pub use status::{Deployed, GateStatus, StatusReport, Unfinished};
pub use tapes::{
    Backtest, BacktestRun, CallDifference, MissingPlugin, PluginTapes, ReplayKind, ReplayReport, Tampered, backtest,
    check_tapes, export_tapes, import_tapes, plugin_tapes, replay,
};
pub use undo::{BackTo, Undone};
pub use unlock::{Held as HeldBy, Unlock};
