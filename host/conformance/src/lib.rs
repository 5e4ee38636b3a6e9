//! The conformance kit: drives a plugin over a counterpart behind the host's own doors, and injects a fault at every
//! exchange of the fault-free run, one at a time. What comes of it must be what came of it without the fault: the same
//! results, the same state at the counterpart, nothing made twice, nothing left behind that nobody reports.
//!
//! The plugin meets the host as in a run: grants, credentials, the redactor, tapes written ahead. Only the wire is
//! replaced ([`basb_capabilities::outside`]), time is virtual, and what the engine does with a failure that may pass is
//! done here by the same rule ([`drive`]).
//!
//! **Must never** let a plugin reach the network, count a fault that did not happen as passed, or take a failure of the
//! kit itself for one of the plugin.
//!
//! | To change | go to |
//! |---|---|
//! | which faults there are, and what is expected of each | [`fault`] |
//! | where they are injected | [`door`] |
//! | what a counterpart is | [`counterpart`]; the declarative one: [`script`] |
//! | the engine's rules of trying again, and a host that is killed | [`drive`] |
//! | which calls are made of a provider, a probe, a notifier | [`drive`], in files of their names |
//! | what of two runs is compared | [`matrix`]; how a difference is told: `differences` |
//! | the file beside a plugin | [`mod@file`] |
//! | what is printed | [`report`] |

pub mod clock;
pub mod counterpart;
mod differences;
pub mod door;
pub mod drive;
mod error;
pub mod fault;
pub mod file;
pub mod kit;
pub mod matrix;
pub mod report;
pub mod script;
pub mod stage;

pub use error::KitError;
