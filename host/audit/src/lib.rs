//! What plugins can do, read from their bytes and grants, and what they did, read from the journal.
//!
//! | Module | What it holds |
//! |---|---|
//! | `subject` | what is known of a plugin before it is judged |
//! | `report`, `capability` | what it can do: imports ∩ request ∩ grant |
//! | `rule`, `findings`, `grant_rules` | what somebody should look at, with stable names |
//! | `text`, `sarif`, `page` | a report for people and for code scanners; JSON is the report itself |
//! | `diff` | what a new version can do that the old one could not |
//! | `activity` | what plugins had the host do, from the journal |
//! | `integrity` | whether the journal is as it was written |
//!
//! **Must never** run a plugin, read a file or a journal (who calls it does), leave out something that a plugin can do, or
//! print text of a plugin that could repaint a terminal.

mod activity;
mod capability;
mod diff;
mod findings;
mod grant_rules;
mod integrity;
mod page;
mod report;
mod rule;
mod sarif;
mod subject;
mod text;

#[cfg(test)]
mod tests;

pub use activity::{Activity, CallRow, OutsideRow, PluginActivity, Shown, Totals, activity};
pub use capability::{Effective, State};
pub use diff::{DiffReport, Side, diff, lock_text};
pub use integrity::{BrokenAt, Integrity, RunState, integrity};
pub use report::{CredentialUse, Granted, ImportLine, Lock, PluginReport, Report, Request, Signature, Summary, report};
pub use rule::{Finding, Rule, Severity};
pub use sarif::{Place, sarif};
pub use subject::{Bytes, LockState, Operator, SignatureState, Subject, Unusable};
