//! The calls of one plugin in a run, to test it over.

use super::Tapes;
use super::replay::start_of;
use crate::EngineError;
use basb_core::{Digest, RunId};
use basb_journal::Journal;
use basb_tape::Tape;
use serde_json::Value;

/// What is known of a plugin's calls in a run. What is on tapes holds no secret, so this holds none.
#[derive(Debug, Clone)]
pub struct PluginTapes {
    /// The run.
    pub run: RunId,
    /// What was granted to the plugin.
    pub grants: Value,
    /// Its tapes, in order.
    pub tapes: Vec<Tape>,
    /// How many have no text any more.
    pub without_text: u64,
}

impl PluginTapes {
    /// The digest of the bytes that were called.
    #[must_use]
    pub fn digest(&self) -> Option<&Digest> {
        self.tapes.first().map(|tape| &tape.digest)
    }
}

/// The calls of a plugin, by its name in the deployment file.
///
/// # Errors
/// [`EngineError`] when there is no such run, or the plugin was not called in it.
pub async fn plugin_tapes(journal: &Journal, run: &str, plugin: &str) -> Result<PluginTapes, EngineError> {
    let run = journal.run(run).await?.start.run;
    let start = start_of(&run, &journal.entries(&run, 1).await?)?;
    let (mut tapes, mut without_text) = (Vec::new(), 0);
    let mut pages = Tapes::of(journal, &run);
    loop {
        let page = pages.page().await?;
        if page.is_empty() {
            break;
        }
        for stored in page {
            match stored.body.as_deref().map(Tape::parse) {
                None => without_text += 1,
                Some(Ok(tape)) if tape.plugin.as_str() == plugin => tapes.push(tape),
                Some(Ok(_)) => {}
                Some(Err(e)) => {
                    return Err(EngineError::Call {
                        code: e.code().to_owned(),
                        message: format!("tape {}: {e}", stored.call),
                    });
                }
            }
        }
    }
    if tapes.is_empty() {
        let named: Vec<&str> = start.deployment.plugins.keys().map(|name| name.as_str()).collect();
        let message =
            format!("run {run} has no tape of a plugin `{plugin}`; the deployment names {}", named.join(", "));
        return Err(EngineError::Call { code: "tape/no-such-plugin".to_owned(), message });
    }
    let source = start.deployment.plugins.iter().find(|(name, _)| name.as_str() == plugin);
    let grants = source.map_or(Value::Null, |(_, source)| source.grants.clone());
    Ok(PluginTapes { run, grants, tapes, without_text })
}
