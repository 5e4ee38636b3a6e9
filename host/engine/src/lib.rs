//! Carries out what the core decides: it calls plugins, writes the journal before and after every effect, holds the
//! lease, and delivers notifications.
//!
//! **Must never** decide what a release does next (that is `basb_core::run`), let an effect happen whose intent is not
//! durable, or let a plugin's word move traffic without the core's check.

mod access;
mod ask;
mod bounds;
mod calls;
mod clock;
mod convert;
mod courier;
mod drive;
mod error;
mod hands;
mod history;
mod inspect;
mod lease;
mod mailbox;
mod owner;
mod plan;
mod plugins;
mod prepare;
mod retry;
mod revision;
mod schema;
mod session;
mod state;
mod target;
mod unlock;

pub use ask::{Answer, Answered, Ask, Says};
pub use clock::now;
pub use drive::{Control, Ended, EventSink};
pub use error::EngineError;
pub use history::{RunLine, RunView, ServiceStatus, history, show};
pub use inspect::report as report_plugin;
pub use owner::{Life, Owner, user};
pub use plan::{Change, Plan, PlannedAction, PlannedStep, ServicePlan};
pub use plugins::{LoadedPlugin, PluginSet, plugin_bytes};
pub use prepare::{Prepared, prepare};
pub use schema::deployment_schema;
pub use session::{
    Deployed, GateStatus, RunChoice, Session, SessionOptions, Started, StatusReport, Unfinished, ensure_agent,
};
pub use state::StateDir;
pub use unlock::{Held as HeldBy, Unlock};
