//! The life of one instance: start, watch, restart, drain, stop.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use tokio::sync::watch;
use tokio::time::{Instant, sleep, timeout};

use super::model::{Instance, Key};
use super::process::Process;
use super::watch::Watch;
use super::{Supervisor, logfile, ports, spawn};
use crate::api::{InstancePhase, LastExit, Workload};
use crate::proxy::Upstream;

/// What an instance is to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Goal {
    /// Run. A higher attempt gives one that had failed another chance.
    Run { attempt: u64 },
    /// Finish the requests under way, stop, and be forgotten.
    Retire { drain: Duration },
    /// The same, but the next agent starts it again.
    Halt { drain: Duration },
}

const FIRST_DELAY: Duration = Duration::from_millis(200);
const LONGEST_DELAY: Duration = Duration::from_secs(30);
/// A process that ran this long is restarted without memory of earlier trouble.
const STABLE_AFTER: Duration = Duration::from_secs(10);
const DEFAULT_GRACE: Duration = Duration::from_secs(5);
/// Lines of the log that explain a failure.
const EXPLAINING_LINES: usize = 5;

/// How long to wait before the next start, growing with each one.
#[derive(Debug, Default)]
struct BackOff(u32);

impl BackOff {
    fn next(&mut self) -> Duration {
        let delay = FIRST_DELAY.saturating_mul(1 << self.0.min(16)).min(LONGEST_DELAY);
        self.0 += 1;
        delay
    }
}

/// Runs an instance until it is retired. `adopted` is its process, when an agent before us started it.
pub(crate) async fn run(
    supervisor: Arc<Supervisor>,
    key: Key,
    workload: Arc<Workload>,
    mut goal: watch::Receiver<Goal>,
    adopted: Option<Process>,
) {
    let mut life = Life { watch: Watch { supervisor, key }, workload, back_off: BackOff::default(), early_ends: 0 };
    let mut held = adopted;
    loop {
        let now = *goal.borrow_and_update();
        if let Goal::Retire { drain } | Goal::Halt { drain } = now {
            if let Some(process) = held {
                life.stop(&process, drain).await;
            }
            return life.leave(now);
        }
        let adopted = held.is_some();
        let ended = match held.take().map_or_else(|| life.launch(), Ok) {
            Ok(process) => {
                let started = Instant::now();
                let first = life.watch.first_phase(adopted);
                let exit = tokio::select! {
                    exit = process.exited() => Some(exit),
                    _ = goal.wait_for(|goal| !matches!(goal, Goal::Run { .. })) => None,
                    () = life.watch.readiness(life.workload.ready.as_ref(), first) => None,
                };
                match exit {
                    None => {
                        held = Some(process);
                        continue;
                    }
                    Some(exit) => life.ended(exit, started.elapsed()),
                }
            }
            Err(why) => life.unstartable(&why),
        };
        match ended {
            Next::After(delay) => {
                tokio::select! {
                    () = sleep(delay) => {}
                    _ = goal.changed() => {}
                }
            }
            Next::Failed => {
                if goal.changed().await.is_err() {
                    return;
                }
                life.early_ends = 0;
                life.back_off = BackOff::default();
            }
        }
    }
}

enum Next {
    /// Start again after this long.
    After(Duration),
    /// Wait to be told to try again.
    Failed,
}

struct Life {
    watch: Watch,
    workload: Arc<Workload>,
    back_off: BackOff,
    /// Processes in a row that ended without the instance ever having been available.
    early_ends: u32,
}

impl Life {
    fn update<R>(&self, change: impl FnOnce(&mut Instance) -> R) -> Option<R> {
        self.watch.update(change)
    }

    /// Starts the process. There is no await in here: it either happens as a whole or not at all.
    fn launch(&self) -> Result<Process, String> {
        let store = &self.watch.supervisor.store;
        let log = store.log_file(&self.watch.key.service, &self.watch.key.revision, self.watch.key.instance);
        let token =
            format!("{}.{}", self.watch.supervisor.token_prefix, ports::random_token().map_err(|e| e.to_string())?);
        let reserved = ports::free(&self.watch.supervisor.ports()).ok_or("no loopback port is free")?;
        let port = reserved.port();
        // The intent goes to disk before anything runs: should this agent die in the next moment, the next one looks
        // for a process with this token.
        self.update(|instance| {
            instance.token.clone_from(&token);
            instance.port = port;
            instance.reserved = Some(reserved);
            instance.process = None;
            instance.phase = InstancePhase::Starting;
        });
        self.watch.supervisor.save().map_err(|error| error.to_string())?;
        let gated = spawn::start(&self.workload, port, &token, store.dir(), &log)?;
        self.update(|instance| {
            instance.process = Some(gated.process.saved());
            instance.started_at = Some(Timestamp::now());
            instance.upstream = Some(Upstream::new(SocketAddr::from((Ipv4Addr::LOCALHOST, port))));
        });
        if let Err(error) = self.watch.supervisor.save() {
            gated.abandon();
            return Err(error.to_string());
        }
        gated.open().map_err(|error| format!("the process ended before its program ran: {error}"))
    }

    /// Notes that the process ended by itself.
    fn ended(&mut self, exit: LastExit, after: Duration) -> Next {
        let words = in_words(&exit);
        let proven = self
            .update(|instance| {
                instance.process = None;
                instance.upstream = None;
                instance.last_exit = Some(exit);
                instance.restarts = instance.restarts.saturating_add(1);
                instance.proven
            })
            .unwrap_or(false);
        if after >= STABLE_AFTER {
            self.back_off = BackOff::default();
        }
        self.again(&words, proven)
    }

    fn unstartable(&mut self, why: &str) -> Next {
        self.update(|instance| {
            instance.process = None;
            instance.upstream = None;
        });
        self.again(why, false)
    }

    fn again(&mut self, why: &str, proven: bool) -> Next {
        let log = self.watch.supervisor.store.log_file(
            &self.watch.key.service,
            &self.watch.key.revision,
            self.watch.key.instance,
        );
        let lines = logfile::last_lines(&log, EXPLAINING_LINES);
        let lines =
            if lines.is_empty() { String::new() } else { format!("; its log ends with: {}", lines.join(" | ")) };
        self.early_ends = if proven { 0 } else { self.early_ends + 1 };
        let next = if self.early_ends >= self.watch.supervisor.start_attempts {
            let times = self.early_ends;
            self.update(|instance| {
                instance.phase = InstancePhase::Failed;
                instance.message =
                    Some(format!("given up after {times} starts, none of them ever ready: {why}{lines}"));
            });
            Next::Failed
        } else {
            let delay = self.back_off.next();
            self.update(|instance| {
                instance.phase = InstancePhase::Backoff;
                instance.message = Some(format!("{why}; starts again in {} ms{lines}", delay.as_millis()));
            });
            Next::After(delay)
        };
        tracing::warn!(service = %self.watch.key.service, revision = %self.watch.key.revision, instance = %self.watch.key.instance, why, "instance ended");
        self.watch.supervisor.save_or_log();
        next
    }

    /// Drains and stops the process.
    async fn stop(&self, process: &Process, drain: Duration) {
        tokio::select! {
            // A process that ends by itself is one that drains, too.
            biased;
            () = self.watch.drain(drain) => {}
            _ = process.exited() => {}
        }
        process.terminate();
        let grace = self.workload.stop_grace_ms.map_or(DEFAULT_GRACE, Duration::from_millis);
        let exit = match timeout(grace, process.exited()).await {
            Ok(exit) => exit,
            Err(_) => {
                process.kill();
                process.exited().await
            }
        };
        self.update(|instance| {
            instance.phase = InstancePhase::Exited;
            instance.process = None;
            instance.upstream = None;
            instance.last_exit = Some(exit);
        });
    }

    fn leave(&self, goal: Goal) {
        match goal {
            Goal::Retire { .. } => self.watch.supervisor.instance_gone(&self.watch.key),
            Goal::Halt { .. } | Goal::Run { .. } => self.watch.supervisor.save_or_log(),
        }
    }
}

fn in_words(exit: &LastExit) -> String {
    match (exit.code, exit.signal) {
        (Some(code), _) => format!("the process ended with exit code {code}"),
        (None, Some(signal)) => format!("the process was ended by signal {signal}"),
        (None, None) => "the process ended (its exit code went to init)".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn back_off_doubles_up_to_its_cap() {
        let mut back_off = BackOff::default();
        let delays: Vec<u64> = (0..40).map(|_| u64::try_from(back_off.next().as_millis()).unwrap()).collect();
        assert_eq!(delays[..4], [200, 400, 800, 1_600]);
        assert!(delays.iter().all(|delay| *delay <= 30_000));
        assert_eq!(delays[39], 30_000);
    }
}
