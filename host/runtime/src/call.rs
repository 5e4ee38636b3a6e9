//! One call of a plugin: a store of its own, its limits, its end.

use crate::error::{CallError, Failure};
use crate::guests::{Guests, Lost, Reaches};
use crate::host::{HostStop, Reach, State};
use crate::limits::{CallLimits, Limiter};
use crate::load::Plugin;
use crate::panic;
use crate::ticker::Ticker;
use crate::wasi::Moment;
use crate::worlds;
use basb_capabilities::exchange::{Divergence, Exchange, Exchanges, Recorded, Stop, Taping};
use basb_capabilities::{CallScope, Caller, Capabilities, Grants, HostCall, LogLine, Mode};
use basb_core::Digest;
use serde::Serialize;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use url::Url;
use wasmtime::component::{ComponentExportIndex, ComponentNamedList, Instance, Lift, Lower, ResourceTableError};
use wasmtime::{Engine, Store, Trap, WasmBacktrace};
use wasmtime_wasi::I32Exit;

/// The longest that a plugin's initialisation may take when it is loaded.
const TRY_OUT: Duration = Duration::from_secs(5);

/// Is told of every call when it is over, also of one that nobody waits for any more: what a plugin did outside is
/// written down whatever becomes of its result.
pub trait CallObserver: Send + Sync + std::fmt::Debug {
    /// Takes a finished call; its tape may be taken out of its report.
    fn called(&self, call: FinishedCall<'_>);
}

/// A call that is over.
#[derive(Debug)]
pub struct FinishedCall<'a> {
    /// The plugin's name in the deployment file.
    pub plugin: &'a str,
    /// The digest of its bytes.
    pub digest: &'a Digest,
    /// The function that was called.
    pub function: &'static str,
    /// `ok`, the code of what ended it, or `call/dropped` when nobody waited for it any more.
    pub outcome: &'static str,
    /// How exactly it can be played back.
    pub replay: basb_inspect::Replay,
    /// How long it took and what it did.
    pub report: &'a mut CallReport,
}

/// What accompanies a call.
#[derive(Debug, Clone)]
pub struct CallOptions {
    /// The longest it may take.
    pub deadline: Duration,
    /// The URL that this call is about; `target: service` in a grant stands for its origin.
    pub target: Option<Url>,
    /// Whether it may change anything.
    pub mode: Mode,
    /// Who is told of it when it is over.
    pub observer: Option<Arc<dyn CallObserver>>,
    /// What is done with its tape; none where none is kept.
    pub taping: Option<Taping>,
}

impl CallOptions {
    /// A call that may take so long, is about no URL, and may do what is granted.
    #[must_use]
    pub fn new(deadline: Duration) -> Self {
        Self { deadline, target: None, mode: Mode::Normal, observer: None, taping: None }
    }

    /// The same about this URL.
    #[must_use]
    pub fn with_target(mut self, target: Url) -> Self {
        self.target = Some(target);
        self
    }

    /// The same, with somebody who is told of it when it is over.
    #[must_use]
    pub fn observed(mut self, observer: Option<Arc<dyn CallObserver>>) -> Self {
        self.observer = observer;
        self
    }

    /// The same with a tape.
    #[must_use]
    pub fn taped(mut self, taping: Option<Taping>) -> Self {
        self.taping = taping;
        self
    }

    /// The same, as an enforced dry run.
    #[must_use]
    pub fn read_only(mut self) -> Self {
        self.mode = Mode::ReadOnly;
        self
    }
}

/// How long a call took and what it did.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct CallReport {
    /// From the call to its end.
    pub duration: Duration,
    /// How often it had the host do something, the log aside.
    pub host_calls: u64,
    /// Everything that it had the host do, oldest first.
    pub calls: Vec<HostCall>,
    /// What it had the host do last, oldest first.
    pub last_calls: Vec<HostCall>,
    /// What it wrote last, oldest first.
    pub last_lines: Vec<LogLine>,
    /// Its tape, where one is kept.
    pub tape: Option<Box<CallTape>>,
}

/// The tape of a call, and how it differs from the one that was played.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct CallTape {
    /// The arguments, as JSON.
    pub args: String,
    /// What it asked for and wrote, in order.
    pub exchanges: Vec<Exchange>,
    /// Whether there were more exchanges than a tape holds; there are none then.
    pub cut: bool,
    /// The result, as JSON; none when the call did not come to its end.
    pub result: Option<String>,
    /// Where it first differs from the tape that was played.
    pub divergence: Option<Divergence>,
    /// Whether it came to where the call on the tape was cut off.
    pub cut_off: bool,
}

/// What came of a call.
#[derive(Debug, Clone, PartialEq)]
pub struct Called<R> {
    /// The result.
    pub value: R,
    /// How long it took and what it did.
    pub report: CallReport,
}

/// What all calls of a host share.
pub(crate) struct Shared {
    // Before the engine's other users go, the ticker's thread must end: fields are dropped in order.
    pub(crate) ticker: Ticker,
    pub(crate) guests: Arc<Guests>,
    pub(crate) engine: Engine,
    pub(crate) capabilities: Capabilities,
    pub(crate) limits: CallLimits,
    pub(crate) slots: Arc<Semaphore>,
}

impl Shared {
    async fn slot(&self) -> Option<OwnedSemaphorePermit> {
        let slots = Arc::clone(&self.slots);
        if let Ok(slot) = Arc::clone(&slots).try_acquire_owned() {
            return Some(slot);
        }
        slots.acquire_owned().await.ok()
    }

    fn store(&self, reach: Option<Reach>, moment: Moment) -> Store<State> {
        store(&self.engine, &self.limits, reach, moment)
    }
}

/// A store for one call, with every limit that wasmtime knows.
pub(crate) fn store(engine: &Engine, limits: &CallLimits, reach: Option<Reach>, moment: Moment) -> Store<State> {
    let mut store = Store::new(engine, State::new(Limiter::new(limits.clone()), reach, moment));
    store.limiter(|state| &mut state.limiter);
    store.set_epoch_deadline(1);
    store.epoch_deadline_async_yield_and_update(1);
    store.set_hostcall_fuel(limits.transfer);
    store.set_max_component_handles(limits.handles);
    store
}

/// Tells the observer of a call when it is over, in whatever way.
struct Watched<'a> {
    plugin: &'a Plugin,
    function: &'static str,
    options: &'a CallOptions,
    start: Instant,
    reach: Option<Reach>,
    told: Told,
}

#[derive(PartialEq, Eq)]
enum Told {
    No,
    Yes,
}

impl Watched<'_> {
    fn over(&mut self, outcome: &'static str, tape: Option<CallTape>) -> CallReport {
        let duration = self.start.elapsed();
        let tape = tape.map(Box::new);
        let mut report = match self.reach.as_ref().map(|reach| reach.scope()) {
            Some(scope) => CallReport {
                duration,
                tape,
                host_calls: scope.counters.host_calls(),
                calls: scope.counters.calls(),
                last_calls: scope.counters.last_calls(),
                last_lines: scope.counters.last_lines(),
            },
            None => CallReport { duration, tape, ..CallReport::default() },
        };
        self.told = Told::Yes;
        if let Some(observer) = &self.options.observer {
            observer.called(FinishedCall {
                plugin: self.plugin.name(),
                digest: self.plugin.digest(),
                function: self.function,
                outcome,
                replay: self.plugin.inspection().replay(),
                report: &mut report,
            });
        }
        report
    }
}

impl Drop for Watched<'_> {
    fn drop(&mut self) {
        if self.told == Told::No && self.options.observer.is_some() {
            let tape = self.reach.as_ref().and_then(|reach| reach.recorded());
            self.over("call/dropped", tape.map(|tape| with_result(tape, None)));
        }
    }
}

/// The parameters of an exported function.
pub(crate) trait Params: ComponentNamedList + Lower + Send + Sync + 'static {}
impl<T: ComponentNamedList + Lower + Send + Sync + 'static> Params for T {}

/// The result of an exported function.
pub(crate) trait Output: Lift + Serialize + Send + Sync + 'static {}
impl<T: Lift + Serialize + Send + Sync + 'static> Output for T {}

impl Plugin {
    /// Calls an exported function in a store of its own.
    pub(crate) async fn call<P: Params, R: Output>(
        &self,
        function: &Function,
        options: &CallOptions,
        (moment, args): (Moment, Option<String>),
        params: P,
    ) -> Result<Called<R>, CallError>
    where
        (R,): ComponentNamedList + Lift,
    {
        let start = Instant::now();
        let deadline = start.checked_add(options.deadline).unwrap_or_else(|| start + Duration::from_hours(24));
        let shared = self.shared();
        let mut watched =
            Watched { plugin: self, function: function.name, options, start, reach: None, told: Told::No };
        let scope = || self.scope(function.name, options, deadline);
        let reach = match (&options.taping, args, self.reaches()) {
            (Some(taping), Some(args), _) => {
                Exchanges::taped(scope(), shared.capabilities.clone(), args, taping.clone()).map(Some)
            }
            (_, _, Reaches::TheHost) => Ok(Some(Exchanges::new(scope(), shared.capabilities.clone()))),
            (_, _, Reaches::Nothing) => Ok(None),
        };
        let reach = reach.map(|reach| reach.map(Arc::new));
        if let Ok(reach) = &reach {
            watched.reach.clone_from(reach);
        }
        let outcome = match tokio_timeout(deadline, shared.slot()).await {
            _ if let Err(stop) = &reach => Err(stopped(stop)),
            Some(Some(slot)) => {
                let reach = reach.unwrap_or_default();
                let call = self.clone().run::<P, R>(function.index, (reach, moment), params, slot);
                match shared.guests.run(self.reaches(), deadline, call).await {
                    Ok(result) => result,
                    Err(Lost::TimedOut) => Err(Failure::TimedOut(options.deadline)),
                    Err(Lost::Gone(why)) => Err(Failure::Host(why)),
                }
            }
            Some(None) => Err(Failure::Host("the host is shutting down".to_owned())),
            None => Err(Failure::TimedOut(options.deadline)),
        };
        let recorded = watched.reach.as_ref().and_then(|reach| reach.recorded());
        // A call that was resumed and is not the one on its tape has failed, whatever it came to: what it did before is
        // not what it would have done now.
        let outcome = match (outcome, &options.taping, recorded.as_ref().and_then(|r| r.divergence.as_ref())) {
            (outcome @ Err(Failure::TimedOut(_)), ..) => outcome,
            (_, Some(Taping::Resume { .. }), Some(divergence)) => Err(Failure::Diverged(Box::new(divergence.clone()))),
            (outcome, ..) => outcome,
        };
        // A result holds nothing that JSON cannot, but for numbers that are not finite, which become `null`.
        let result = |value: &R| serde_json::to_string(value).unwrap_or_default();
        let tape = recorded.map(|r| with_result(r, outcome.as_ref().ok().map(result)));
        match outcome {
            Ok(value) => Ok(Called { value, report: watched.over("ok", tape) }),
            Err(failure) => Err(CallError {
                report: Box::new(watched.over(failure.code(), tape)),
                failure,
                plugin: self.shared_name(),
                digest: self.shared_digest(),
                call: function.name,
            }),
        }
    }

    fn scope(&self, call: &'static str, options: &CallOptions, deadline: Instant) -> CallScope {
        let caller = Caller { plugin: self.shared_name(), digest: self.shared_digest(), call };
        CallScope::new(caller, self.shared_grants(), deadline)
            .with_credentials(self.shared_credentials())
            .with_target(options.target.clone())
            .with_mode(if worlds::is_sealed(self.kind(), call) { Mode::Sealed } else { options.mode })
    }

    /// What runs as one future: everything that belongs to the call is dropped with it.
    async fn run<P: Params, R: Output>(
        self,
        index: ComponentExportIndex,
        (reach, moment): (Option<Reach>, Moment),
        params: P,
        _slot: OwnedSemaphorePermit,
    ) -> Result<R, Failure>
    where
        (R,): ComponentNamedList + Lift,
    {
        let shared = self.shared();
        let _live = shared.ticker.live();
        let mut store = shared.store(reach, moment);
        let result = async {
            let instance = self.pre().instantiate_async(&mut store).await?;
            let function = instance.get_typed_func::<P, (R,)>(&mut store, index).map_err(WrongType)?;
            let (value,) = function.call_async(&mut store, params).await?;
            Ok(value)
        };
        let result: wasmtime::Result<R> = result.await;
        result.map_err(|error| failure(&error, &store, shared))
    }

    /// Makes one instance and compares the types of its functions with its world's, so that a plugin that was built for
    /// something else fails when it is loaded and not in the middle of a run. What its initialisation does is bounded as
    /// a call is, and reaches nothing.
    pub(crate) fn try_out(&self) -> Result<(), Failure> {
        let start = Instant::now();
        let caller = Caller { plugin: self.shared_name(), digest: self.shared_digest(), call: "start" };
        let deadline = start + TRY_OUT;
        let scope = CallScope::new(caller, Arc::new(Grants::default()), deadline).with_mode(Mode::Sealed);
        let plugin = self.clone();
        let outcome = self.shared().guests.run_blocking(deadline, async move {
            let shared = plugin.shared();
            let Some(_slot) = shared.slot().await else {
                return Err(Failure::Host("the host is shutting down".to_owned()));
            };
            let _live = shared.ticker.live();
            let reach = Arc::new(Exchanges::new(scope, shared.capabilities.clone()));
            let mut store = shared.store(Some(reach), Moment::START);
            let result = match plugin.pre().instantiate_async(&mut store).await {
                Ok(instance) => worlds::check(plugin.kind(), &instance, &mut store, plugin.functions())
                    .map_err(|error| WrongType(error).into()),
                Err(error) => Err(error),
            };
            result.map_err(|error| failure(&error, &store, shared))
        });
        match outcome {
            Ok(result) => result,
            Err(Lost::TimedOut) => Err(Failure::TimedOut(TRY_OUT)),
            Err(Lost::Gone(why)) => Err(Failure::Host(why)),
        }
    }

    /// An instance that lives until it is dropped, without a call: for measuring how many fit.
    ///
    /// # Errors
    /// [`Failure`] when it cannot be made.
    pub async fn hold(&self) -> Result<Held, Failure> {
        let shared = self.shared();
        let slot = shared.slot().await.ok_or_else(|| Failure::Host("the host is shutting down".to_owned()))?;
        let mut store = shared.store(None, Moment::START);
        match self.pre().instantiate_async(&mut store).await {
            Ok(instance) => Ok(Held { _instance: instance, _store: store, _slot: slot }),
            Err(error) => Err(failure(&error, &store, shared)),
        }
    }
}

/// An instance that is alive.
pub struct Held {
    _instance: Instance,
    _store: Store<State>,
    _slot: OwnedSemaphorePermit,
}

impl std::fmt::Debug for Held {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Held").finish_non_exhaustive()
    }
}

/// An exported function.
#[derive(Debug, Clone)]
pub(crate) struct Function {
    pub(crate) name: &'static str,
    pub(crate) index: ComponentExportIndex,
}

/// A function has another type than its world says.
#[derive(Debug, thiserror::Error)]
#[error("{0:#}")]
struct WrongType(wasmtime::Error);

fn with_result(recorded: Recorded, result: Option<String>) -> CallTape {
    let Recorded { args, exchanges, cut, divergence, cut_off } = recorded;
    CallTape { args, exchanges, cut, result, divergence, cut_off }
}

/// A call that was ended by what it asked for.
fn stopped(stop: &Stop) -> Failure {
    match stop {
        Stop::Log(_) => Failure::LogFlood(stop.to_string()),
        Stop::Diverged(divergence) => Failure::Diverged(divergence.clone()),
        Stop::CutOff => Failure::CutOff,
        Stop::NotDurable(why) => Failure::NotDurable(why.clone()),
    }
}

/// Waits until the deadline; a place to wait exists only where the wait is real, so callers outside of tokio can make
/// calls too.
async fn tokio_timeout<F: Future>(deadline: Instant, future: F) -> Option<F::Output> {
    let mut future = std::pin::pin!(future);
    let first = std::future::poll_fn(|cx| std::task::Poll::Ready(future.as_mut().poll(cx))).await;
    match first {
        std::task::Poll::Ready(output) => Some(output),
        std::task::Poll::Pending => tokio::time::timeout_at(deadline.into(), future).await.ok(),
    }
}

/// Why a call ended; no secret is in it that the host knows.
fn failure(error: &wasmtime::Error, store: &Store<State>, shared: &Shared) -> Failure {
    let said = store.data().panic();
    unredacted(error, store, &shared.limits, said).redacted(shared.capabilities.redactor())
}

fn unredacted(error: &wasmtime::Error, store: &Store<State>, limits: &CallLimits, said: Option<String>) -> Failure {
    if let Some(stop) = error.downcast_ref::<HostStop>() {
        return match stop {
            HostStop::Stop(stop) => stopped(stop),
            HostStop::NoReach => Failure::Host(stop.to_string()),
        };
    }
    if let Some(wrong) = error.downcast_ref::<WrongType>() {
        return Failure::Interface(wrong.to_string());
    }
    if let Some(message) = panic::message(error, store) {
        return Failure::Panic(message);
    }
    if let Some(wanted) = store.data().limiter.refused() {
        return Failure::Memory { wanted, limit: limits.memory };
    }
    if let Some(exit) = error.downcast_ref::<I32Exit>() {
        return match said {
            Some(message) => Failure::Panic(message),
            None => Failure::Trap(format!("it ended itself with status {}", exit.0)),
        };
    }
    let text = format!("{:#}", error.root_cause());
    match error.downcast_ref::<Trap>() {
        Some(Trap::StackOverflow) => return Failure::Stack,
        Some(Trap::UnreachableCodeReached) if said.is_some() => return Failure::Panic(said.unwrap_or_default()),
        Some(trap) => return Failure::Trap(format!("{trap}{}", innermost(error))),
        None => {}
    }
    if text.contains("fuel allocated for hostcalls") {
        return Failure::TooLarge { limit: limits.transfer };
    }
    let table_full = matches!(error.downcast_ref::<ResourceTableError>(), Some(ResourceTableError::Full));
    if table_full || text.contains("store handle limit exceeded") {
        return Failure::Handles { limit: limits.handles };
    }
    Failure::Trap(basb_capabilities::printable(&text, 1000))
}

/// The names of the innermost functions, where the plugin has names.
fn innermost(error: &wasmtime::Error) -> String {
    let Some(trace) = error.downcast_ref::<WasmBacktrace>() else { return String::new() };
    let names: Vec<_> = trace.frames().iter().filter_map(|frame| frame.func_name()).take(3).collect();
    if names.is_empty() {
        String::new()
    } else {
        basb_capabilities::printable(&format!(" in {}", names.join(" < ")), 400)
    }
}
