//! Moves the engine's epoch on while calls are running, so that a guest that never calls the host yields.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Duration;
use wasmtime::Engine;

/// The longest a guest runs before it yields.
const TICK: Duration = Duration::from_millis(1);

/// So many ticks without a call, and the thread goes to sleep. Not at once: waking it for every one of many short calls
/// costs more than the call.
const IDLE_TICKS: u32 = 50;

#[derive(Debug, Default)]
struct State {
    live: AtomicUsize,
    asleep: AtomicBool,
    stop: AtomicBool,
}

/// The thread that ticks; ends when this is dropped.
#[derive(Debug)]
pub(crate) struct Ticker {
    state: Arc<State>,
    thread: Option<JoinHandle<()>>,
}

/// A running call.
pub(crate) struct Live(Arc<State>);

impl Drop for Live {
    fn drop(&mut self) {
        self.0.live.fetch_sub(1, Ordering::SeqCst);
    }
}

impl Ticker {
    /// Starts the thread.
    pub(crate) fn start(engine: &Engine) -> std::io::Result<Self> {
        let state = Arc::new(State::default());
        let engine = engine.clone();
        let seen = Arc::clone(&state);
        let thread = thread::Builder::new().name("basb-epoch".to_owned()).spawn(move || tick(&engine, &seen))?;
        Ok(Self { state, thread: Some(thread) })
    }

    /// From here on, until the value is dropped, the epoch moves.
    pub(crate) fn live(&self) -> Live {
        self.state.live.fetch_add(1, Ordering::SeqCst);
        self.wake();
        Live(Arc::clone(&self.state))
    }

    fn wake(&self) {
        // The load first: it is all that most calls pay.
        if self.state.asleep.load(Ordering::SeqCst)
            && self.state.asleep.swap(false, Ordering::SeqCst)
            && let Some(thread) = &self.thread
        {
            thread.thread().unpark();
        }
    }
}

impl Drop for Ticker {
    fn drop(&mut self) {
        self.state.stop.store(true, Ordering::SeqCst);
        self.wake();
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

fn tick(engine: &Engine, state: &State) {
    let mut idle = 0;
    while !state.stop.load(Ordering::SeqCst) {
        thread::sleep(TICK);
        if state.live.load(Ordering::SeqCst) > 0 {
            idle = 0;
            engine.increment_epoch();
            continue;
        }
        idle += 1;
        if idle < IDLE_TICKS {
            continue;
        }
        idle = 0;
        state.asleep.store(true, Ordering::SeqCst);
        // A call that came between the two looks has seen `asleep` unset and will not wake anybody.
        if state.live.load(Ordering::SeqCst) > 0 || state.stop.load(Ordering::SeqCst) {
            state.asleep.store(false, Ordering::SeqCst);
            continue;
        }
        while state.asleep.load(Ordering::SeqCst) {
            thread::park();
        }
    }
}
