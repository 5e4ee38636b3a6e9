//! Calls a plugin as the engine does: a failure that may pass is tried again with the same key, what goes on is asked
//! again after its time, a call that was cut off is made again over its tape.

pub mod notifier;
pub mod probe;
pub mod provider;
pub mod recorded;
mod truth;

use crate::counterpart::{LONGEST_PAUSE, Pace};
use crate::stage::Stage;
use basb_capabilities::exchange::{Exchange, Matching, Page, Taping, WriteAhead};
use basb_core::{Millis, Timestamp};
use basb_runtime::wit::types::{self, CallContext};
use basb_runtime::{CallOptions, Failure, worlds};
use futures_util::future::BoxFuture;
use serde::de::DeserializeOwned;
use serde_json::Value;
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use url::Url;

/// How long one call may take.
const DEADLINE: Duration = Duration::from_secs(60);

/// So often an effect is tried, as in a run.
const ATTEMPTS: u32 = 5;

/// The longest back-off, as in a run.
const MAX_BACKOFF: Millis = Millis::secs(30);

/// The longest that a change or a wait may go without an end, as a rollout's progress deadline.
const PROGRESS: Millis = Millis::secs(600);

/// The shortest time between two looks at a change that goes on, as in a run.
const POLL: Millis = Millis(100);

/// So often a host may be killed in one call.
const KILLS: u32 = 3;

/// What came of a step.
#[derive(Debug, Clone, PartialEq)]
pub enum End {
    /// It is done; what two runs must agree about.
    Done(Value),
    /// It failed, and says so.
    Failed {
        /// The code.
        code: String,
        /// The plugin's own words.
        message: String,
    },
    /// It did what no plugin may do.
    Wrong(String),
}

/// A failure of a call, in the engine's words.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failed {
    /// The code.
    pub code: String,
    /// What it says.
    pub message: String,
    /// When it is worth another attempt; none when it is final.
    pub again: Option<Millis>,
}

impl Failed {
    fn of(failure: types::Failure) -> Self {
        let code = match failure.code {
            types::FailureCode::Invalid => "invalid",
            types::FailureCode::Denied => "denied",
            types::FailureCode::NotFound => "not-found",
            types::FailureCode::Conflict => "conflict",
            types::FailureCode::Throttled => "throttled",
            types::FailureCode::Unavailable => "unavailable",
            types::FailureCode::TimedOut => "timed-out",
            types::FailureCode::Unhealthy => "unhealthy",
            types::FailureCode::Other => "other",
        };
        Self {
            code: format!("plugin/{code}"),
            message: failure.message,
            again: match failure.retry {
                types::Retry::Never => None,
                types::Retry::After(ms) => Some(Millis(ms)),
            },
        }
    }

    fn end(self) -> End {
        End::Failed { code: self.code, message: self.message }
    }
}

/// What is kept from step to step.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Kept {
    /// The time.
    pub at: u64,
    /// Keys that were given out.
    pub keys: u32,
    /// What the plugin wants to be given back.
    pub memory: Option<String>,
    /// What a scenario remembers.
    pub notes: BTreeMap<&'static str, String>,
}

/// Calls one plugin.
#[derive(Debug)]
pub struct Driver<'s> {
    stage: &'s Stage,
    /// What is kept from step to step.
    pub kept: Kept,
    /// How many calls were made.
    pub calls: u64,
    /// The URL that the next calls are about.
    target: Option<Url>,
}

/// A call's exchanges, as they would be on the disk.
#[derive(Debug, Default)]
struct Disk {
    pages: Mutex<BTreeMap<u64, Exchange>>,
}

impl WriteAhead for Disk {
    fn write(&self, page: Page) -> BoxFuture<'_, Result<(), String>> {
        self.pages.lock().unwrap_or_else(PoisonError::into_inner).extend(page.exchanges);
        Box::pin(async { Ok(()) })
    }
}

impl<'s> Driver<'s> {
    /// A driver at the beginning.
    #[must_use]
    pub fn new(stage: &'s Stage) -> Self {
        Self { stage, kept: Kept { at: stage.clock.now().0, ..Kept::default() }, calls: 0, target: None }
    }

    /// The plugin and its door.
    #[must_use]
    pub fn stage(&self) -> &'s Stage {
        self.stage
    }

    /// Remembers the time.
    pub fn keep_time(&mut self) {
        self.kept.at = self.stage.clock.now().0;
    }

    /// Goes back to what was kept.
    pub fn restore(&mut self, kept: &Kept) {
        self.kept = kept.clone();
        self.stage.clock.set(Timestamp(kept.at));
    }

    /// A key that was not given out yet.
    pub fn key(&mut self, what: &str) -> String {
        self.kept.keys += 1;
        format!("01kit-{what}-{}", self.kept.keys)
    }

    /// Waits: in virtual time, and where the counterpart has a clock of its own, for real.
    pub async fn wait(&self, time: Millis) {
        self.stage.clock.wait(time);
        if self.stage.door.counterpart().pace() == Pace::Real {
            tokio::time::sleep(Duration::from_millis(time.min(LONGEST_PAUSE).0)).await;
        }
    }

    /// One call, over as many deaths of the host as there are. `args` makes the arguments from their context; a call with
    /// a key changes something, and is written ahead.
    async fn call<T: DeserializeOwned>(
        &mut self,
        function: &str,
        key: Option<&str>,
        config: &str,
        args: impl Fn(CallContext) -> String,
    ) -> Result<T, Failed> {
        let disk = Arc::new(Disk::default());
        let ahead = || key.map(|_| -> Arc<dyn WriteAhead> { Arc::clone(&disk) as Arc<dyn WriteAhead> });
        let mut now = self.stage.clock.now();
        let mut cut_off: Option<(String, Vec<Exchange>)> = None;
        for _ in 0..KILLS {
            let mut options = CallOptions::new(DEADLINE);
            options.target.clone_from(&self.target);
            if matches!(function, "plan" | "read" | "instances") {
                options = options.read_only();
            }
            let mut cx = worlds::context(now, &options, config);
            cx.extras = self.kept.memory.iter().map(|text| ("memory".to_owned(), text.clone())).collect();
            let args = args(cx);
            let taping = match cut_off.take() {
                Some((args, exchanges)) => {
                    let matching = match self.stage.plugin.inspection().replay() {
                        basb_runtime::Replay::Exact => Matching::Exact,
                        basb_runtime::Replay::BestEffort => Matching::BestEffort,
                    };
                    Taping::Resume { args, exchanges, matching, ahead: ahead() }
                }
                None => Taping::Record { ahead: ahead() },
            };
            self.stage.door.begin();
            self.calls += 1;
            let options = options.taped(Some(taping));
            let replayed = tokio::select! {
                replayed = self.stage.plugin.replay(function, &args, &options) => replayed,
                () = self.stage.door.killed() => {
                    // The process is gone; the next one knows what is on the disk, and begins a second later.
                    self.stage.clock.wait(Millis::secs(1));
                    let pages = disk.pages.lock().unwrap_or_else(PoisonError::into_inner);
                    if pages.is_empty() {
                        now = self.stage.clock.now();
                    } else {
                        cut_off = Some((args, pages.values().cloned().collect()));
                    }
                    continue;
                }
            };
            let replayed =
                replayed.map_err(|e| Failed { code: e.code().to_owned(), message: e.to_string(), again: None })?;
            if let Some(failure) = replayed.failure {
                let passes = matches!(failure, Failure::TimedOut(_) | Failure::Host(_) | Failure::NotDurable(_));
                return Err(Failed {
                    code: failure.code().to_owned(),
                    message: failure.to_string(),
                    again: passes.then_some(Millis::secs(1)),
                });
            }
            let text = replayed.tape.result.unwrap_or_default();
            return serde_json::from_str(&text).map_err(|e| Failed {
                code: "kit/result".to_owned(),
                message: format!("{function}: {e}"),
                again: None,
            });
        }
        Err(Failed {
            code: "kit/killed".to_owned(),
            message: "the host was killed again and again".to_owned(),
            again: None,
        })
    }

    /// How long until the next attempt, as the engine has it; none when there is none.
    fn backoff(failed: &Failed, attempt: u32) -> Option<Millis> {
        let after = failed.again.filter(|_| attempt < ATTEMPTS)?;
        Some(Millis(500 << attempt.min(16)).min(MAX_BACKOFF).max(after.min(PROGRESS)))
    }
}

/// Arguments as JSON; what is in them holds nothing that JSON cannot.
fn json(args: &impl serde::Serialize) -> String {
    serde_json::to_string(args).unwrap_or_default()
}
