//! Where guests run: a tokio runtime of their own, started when the first call needs it.
//!
//! A guest that computes yields at every tick of the epoch, but tokio looks at its timers, its sockets and tasks from
//! outside only every 61 polls: four looping guests delayed every other task by 64 ms to 3 s. With an interval of 1 it is
//! 20 µs, and nothing else shares the runtime.

use std::future::Future;
use std::pin::Pin;
use std::sync::{Mutex, PoisonError};
use std::task::{Context, Poll, Waker};
use std::time::Instant;
use tokio::runtime::{Builder, Handle, Runtime};
use tokio::task::JoinHandle;

/// The runtime of the guests.
#[derive(Debug, Default)]
pub(crate) struct Guests {
    runtime: Mutex<Option<Runtime>>,
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
    fn handle(&self) -> std::io::Result<Handle> {
        let mut runtime = self.runtime.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(runtime) = runtime.as_ref() {
            return Ok(runtime.handle().clone());
        }
        let workers = std::thread::available_parallelism().map_or(2, usize::from).clamp(2, 8);
        let new = Builder::new_multi_thread()
            .worker_threads(workers)
            .thread_name("basb-guest")
            .enable_all()
            .event_interval(1)
            .global_queue_interval(1)
            .build()?;
        let handle = new.handle().clone();
        *runtime = Some(new);
        Ok(handle)
    }

    /// Runs a call to its end or its deadline.
    ///
    /// Its first slice, which ends at the first tick of the epoch or the first wait, is run here and now: most calls of
    /// pure plugins end within it, and moving them to another thread and back would cost as much as the call. What does
    /// not end moves to the guests' own runtime, so the caller's is never held up for longer than a tick or two.
    pub(crate) async fn run<F>(&self, world: Reaches, deadline: Instant, call: F) -> Result<F::Output, Lost>
    where
        F: Future + Send + 'static,
        F::Output: Send + 'static,
    {
        let mut call = Box::pin(call);
        let gone = |error: std::io::Error| Lost::Gone(format!("the guests' runtime cannot be started: {error}"));
        let first = match world {
            Reaches::Nothing => poll_once(call.as_mut()),
            Reaches::TheHost => {
                // Sockets and timers that the host makes for the guest belong to the guests' runtime.
                let handle = self.handle().map_err(gone)?;
                let _inside = handle.enter();
                poll_once(call.as_mut())
            }
        };
        if let Poll::Ready(output) = first {
            return Ok(output);
        }
        let handle = self.handle().map_err(gone)?;
        let task = Abort(handle.spawn(tokio::time::timeout_at(deadline.into(), call)));
        match task.await {
            Ok(Ok(output)) => Ok(output),
            Ok(Err(_)) => Err(Lost::TimedOut),
            Err(error) => Err(Lost::Gone(error.to_string())),
        }
    }
}

impl Guests {
    /// The same for a thread that may block.
    pub(crate) fn run_blocking<F>(&self, deadline: Instant, call: F) -> Result<F::Output, Lost>
    where
        F: Future + Send + 'static,
        F::Output: Send + 'static,
    {
        let handle =
            self.handle().map_err(|error| Lost::Gone(format!("the guests' runtime cannot be started: {error}")))?;
        let mut call = Box::pin(call);
        let first = {
            let _inside = handle.enter();
            poll_once(call.as_mut())
        };
        if let Poll::Ready(output) = first {
            return Ok(output);
        }
        let (sender, receiver) = std::sync::mpsc::sync_channel(1);
        handle.spawn(async move {
            // Nobody listens any more only if the host is shutting down.
            let _ = sender.send(tokio::time::timeout_at(deadline.into(), call).await);
        });
        match receiver.recv() {
            Ok(Ok(output)) => Ok(output),
            Ok(Err(_)) => Err(Lost::TimedOut),
            Err(error) => Err(Lost::Gone(error.to_string())),
        }
    }
}

impl Drop for Guests {
    fn drop(&mut self) {
        let runtime = self.runtime.get_mut().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(runtime) = runtime {
            // The owner may itself live inside a runtime, where waiting for another one panics.
            runtime.shutdown_background();
        }
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
