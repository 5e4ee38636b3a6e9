//! Where guests run: on tokio runtimes of their own, started when the first call needs them.
//!
//! A guest that computes yields at every tick of the epoch, but tokio looks at its timers, its sockets and tasks from
//! outside only every 61 polls: four looping guests delayed every other task by 64 ms to 3 s. With an interval of 1 it is
//! a slice for each guest that computes. Even that adds up, since a request is some ten polls: so whoever has computed for
//! longer than [`PATIENCE`] goes on among its like, on threads that give way to all others, and what is left waits for
//! nothing but the network.

use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};
use tokio::runtime::{Builder, Handle, Runtime};
use tokio::task::JoinHandle;

/// How long a call may compute before it counts as one that computes. Most calls never do, and a call that waits for the
/// network a hundred times computes for less.
const PATIENCE: Duration = Duration::from_millis(10);

/// How far those that compute give way, in steps of `nice`: a tenth of the share of the others, where these want it all.
const GIVE_WAY: i32 = 10;

/// The runtimes of the guests.
#[derive(Debug, Default)]
pub(crate) struct Guests {
    /// Those that wait for something, and their sockets and timers.
    waiting: Lazy,
    /// Those that compute.
    computing: Lazy,
}

/// A runtime that is started when it is first needed.
#[derive(Debug, Default)]
struct Lazy {
    runtime: Mutex<Option<Runtime>>,
}

impl Lazy {
    fn handle(&self, name: &str, nice: i32) -> Result<Handle, Lost> {
        let mut runtime = self.runtime.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(runtime) = runtime.as_ref() {
            return Ok(runtime.handle().clone());
        }
        let workers = std::thread::available_parallelism().map_or(2, usize::from).clamp(2, 8);
        let new = Builder::new_multi_thread()
            .worker_threads(workers)
            .thread_name(name)
            .enable_all()
            .event_interval(1)
            .global_queue_interval(1)
            .on_thread_start(move || {
                if nice != 0 {
                    // Of this thread alone, as Linux has it. Without it they are only less polite.
                    let _ = rustix::process::setpriority_process(Some(rustix::thread::gettid()), nice);
                }
            })
            .build()
            .map_err(|error| Lost::Gone(format!("the guests' runtime cannot be started: {error}")))?;
        let handle = new.handle().clone();
        *runtime = Some(new);
        Ok(handle)
    }
}

impl Drop for Lazy {
    fn drop(&mut self) {
        let runtime = self.runtime.get_mut().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(runtime) = runtime {
            // The owner may itself live inside a runtime, where waiting for another one panics.
            runtime.shutdown_background();
        }
    }
}

/// Why a call has no result.
#[derive(Debug)]
pub(crate) enum Lost {
    /// Its time was up.
    TimedOut,
    /// Its task is gone: the host is shutting down, or panicked.
    Gone(String),
}

impl Guests {
    fn waiting(&self) -> Result<Handle, Lost> {
        self.waiting.handle("basb-guest", 0)
    }

    /// Runs a call to its end or its deadline.
    ///
    /// Its first slice, which ends at the first tick of the epoch or the first wait, is run here and now: most calls of
    /// pure plugins end within it, and moving them to another thread and back would cost as much as the call. What does
    /// not end moves to the guests' own runtime, so the caller's is never held up for longer than a tick or two.
    pub(crate) async fn run<F>(self: &Arc<Self>, world: Reaches, deadline: Instant, call: F) -> Result<F::Output, Lost>
    where
        F: Future + Send + 'static,
        F::Output: Send + 'static,
    {
        let mut call = Box::pin(call);
        let first = match world {
            Reaches::Nothing => poll_once(call.as_mut()),
            Reaches::TheHost => {
                // Sockets and timers that the host makes for the guest belong to the guests' runtime.
                let handle = self.waiting()?;
                let _inside = handle.enter();
                poll_once(call.as_mut())
            }
        };
        if let Poll::Ready(output) = first {
            return Ok(output);
        }
        let task = Abort(self.waiting()?.spawn(Arc::clone(self).to_its_end(deadline, call)));
        task.await.unwrap_or_else(|error| Err(Lost::Gone(error.to_string())))
    }

    /// The same for a thread that may block.
    pub(crate) fn run_blocking<F>(self: &Arc<Self>, deadline: Instant, call: F) -> Result<F::Output, Lost>
    where
        F: Future + Send + 'static,
        F::Output: Send + 'static,
    {
        let handle = self.waiting()?;
        let mut call = Box::pin(call);
        let first = {
            let _inside = handle.enter();
            poll_once(call.as_mut())
        };
        if let Poll::Ready(output) = first {
            return Ok(output);
        }
        let (sender, receiver) = std::sync::mpsc::sync_channel(1);
        let rest = Arc::clone(self).to_its_end(deadline, call);
        handle.spawn(async move {
            // Nobody listens any more only if the host is shutting down.
            let _ = sender.send(rest.await);
        });
        receiver.recv().unwrap_or_else(|error| Err(Lost::Gone(error.to_string())))
    }

    /// Among those that wait as long as it does, then among those that compute.
    async fn to_its_end<F>(self: Arc<Self>, deadline: Instant, call: Pin<Box<F>>) -> Result<F::Output, Lost>
    where
        F: Future + Send + 'static,
        F::Output: Send + 'static,
    {
        let waits = Waits { call: Some(call), computed: Duration::ZERO };
        let call = match tokio::time::timeout_at(deadline.into(), waits).await {
            Ok(Left::Done(output)) => return Ok(output),
            Ok(Left::Computes(call)) => call,
            Err(_) => return Err(Lost::TimedOut),
        };
        // Its sockets and timers stay where they are seen to at once, and so does the time that is left to it.
        let inside = Inside { runtime: Handle::current(), call };
        let bounded = tokio::time::timeout_at(deadline.into(), inside);
        let task = Abort(self.computing.handle("basb-compute", GIVE_WAY)?.spawn(bounded));
        match task.await {
            Ok(Ok(output)) => Ok(output),
            Ok(Err(_)) => Err(Lost::TimedOut),
            Err(error) => Err(Lost::Gone(error.to_string())),
        }
    }
}

/// A call among those that wait.
struct Waits<F> {
    call: Option<Pin<Box<F>>>,
    computed: Duration,
}

/// How a call left those that wait.
enum Left<F: Future> {
    Done(F::Output),
    Computes(Pin<Box<F>>),
}

impl<F: Future> Future for Waits<F> {
    type Output = Left<F>;
    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Left<F>> {
        let this = self.get_mut();
        let Some(call) = &mut this.call else { return Poll::Pending };
        let start = Instant::now();
        if let Poll::Ready(output) = call.as_mut().poll(cx) {
            this.call = None;
            return Poll::Ready(Left::Done(output));
        }
        this.computed += start.elapsed();
        if this.computed < PATIENCE {
            return Poll::Pending;
        }
        // Whatever it waits for is asked again where it goes on.
        this.call.take().map_or(Poll::Pending, |call| Poll::Ready(Left::Computes(call)))
    }
}

/// A call that runs on one runtime and belongs to another.
struct Inside<F> {
    runtime: Handle,
    call: Pin<Box<F>>,
}

impl<F: Future> Future for Inside<F> {
    type Output = F::Output;
    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<F::Output> {
        let this = self.get_mut();
        let _inside = this.runtime.enter();
        this.call.as_mut().poll(cx)
    }
}

/// Whether a call can wait for something outside.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Reaches {
    /// It imports nothing.
    Nothing,
    /// It may call the host.
    TheHost,
}

fn poll_once<F: Future>(future: Pin<&mut F>) -> Poll<F::Output> {
    // Whoever wakes this waker is heard anyway: a call that is not ready is polled again at once, on its new runtime.
    future.poll(&mut Context::from_waker(Waker::noop()))
}

/// Ends the task when nobody waits for it any more.
struct Abort<T>(JoinHandle<T>);

impl<T> Future for Abort<T> {
    type Output = Result<T, tokio::task::JoinError>;
    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        Pin::new(&mut self.0).poll(cx)
    }
}

impl<T> Drop for Abort<T> {
    fn drop(&mut self) {
        self.0.abort();
    }
}
