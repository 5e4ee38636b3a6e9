//! What is done with tapes after a run: they are checked, played back, compared with another version of a plugin,
//! exported and imported.

mod backtest;
mod check;
mod decisions;
mod export;
mod play;
mod record;
mod replay;

pub use backtest::{Backtest, BacktestRun, backtest};
pub use check::{Tampered, check_tapes};
pub use export::{export_tapes, import_tapes};
pub use play::{CallDifference, ReplayKind};
pub use record::{PluginTapes, plugin_tapes};
pub use replay::{MissingPlugin, ReplayReport, replay};

use crate::EngineError;
use basb_core::RunId;
use basb_core::run::Record;
use basb_journal::{Entry, Journal, StoredTape};

/// So many tapes are read at once: the memory of a run with a hundred thousand calls stays bounded.
const PAGE: u32 = 500;

/// What an entry of the journal says.
fn record(run: &RunId, entry: &Entry) -> Result<Record, EngineError> {
    serde_json::from_str(&entry.body).map_err(|e| EngineError::Entry {
        run: run.to_string(),
        seq: entry.seq,
        why: e.to_string(),
    })
}

/// The tapes of a run, page by page.
struct Tapes<'a> {
    journal: &'a Journal,
    run: &'a RunId,
    next: u64,
}

impl<'a> Tapes<'a> {
    fn of(journal: &'a Journal, run: &'a RunId) -> Self {
        Self { journal, run, next: 1 }
    }

    /// The next ones; none at the end.
    async fn page(&mut self) -> Result<Vec<StoredTape>, EngineError> {
        let page = self.journal.tapes(self.run, self.next, PAGE).await?;
        if let Some(last) = page.last() {
            self.next = last.call + 1;
        }
        Ok(page)
    }
}
