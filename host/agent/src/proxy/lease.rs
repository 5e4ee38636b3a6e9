//! A connection to an instance, driven by the task that uses it.
//!
//! hyper's connection is a future of its own. Spawned as a task, it would cost every request several changes between
//! two tasks, and every answer one packet for its head and another one for its body. So whoever waits for something
//! from a connection polls the connection too; one that is idle is not polled at all, until it is looked at.

use std::pin::{Pin, pin};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use http::{Request, Response};
use hyper::body::Incoming;
use hyper::client::conn::{TrySendError, http1};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;
use tokio::time::{Instant, Sleep};

use super::body::RequestBody;

type Connection = http1::Connection<TokioIo<TcpStream>, RequestBody>;
type Driver = dyn Future<Output = hyper::Result<()>> + Send;

/// A connection, from its opening to its end.
pub(crate) struct Lease {
    sender: http1::SendRequest<RequestBody>,
    /// Nothing once it has ended, or is driven by a task of its own.
    driver: Option<Pin<Box<Driver>>>,
    /// Kept from request to request: moving a timer further ahead is cheaper than making one.
    timer: Option<Pin<Box<Sleep>>>,
    /// Whether it has served before: then a failure to write says nothing about the instance.
    pub(crate) reused: bool,
}

/// What became of a request.
pub(crate) enum Sent {
    /// There is an answer; its body is still to come.
    Answered(Response<Incoming>),
    /// There is none.
    Failed(TrySendError<Request<RequestBody>>),
    /// Nothing happened for too long.
    TimedOut,
}

impl Lease {
    /// A connection that has just been opened.
    pub(crate) fn new(sender: http1::SendRequest<RequestBody>, connection: Connection) -> Self {
        Self { sender, driver: Some(Box::pin(connection.with_upgrades())), timer: None, reused: false }
    }

    /// Lets the connection read and write. Its next step will wake the task of this context.
    pub(crate) fn drive(&mut self, context: &mut Context<'_>) {
        drive(&mut self.driver, context);
    }

    /// Whether it is driven by who uses it: then nothing but [`Lease::drive`] moves it.
    pub(crate) fn is_driven_here(&self) -> bool {
        self.driver.is_some()
    }

    /// Hands it over to a task of its own: both directions may have to move independently from now on.
    pub(crate) fn detach(&mut self) {
        if let Some(driver) = self.driver.take() {
            tokio::spawn(async move {
                // An error here reaches whoever waits for the answer as well.
                let _ = driver.await;
            });
        }
    }

    /// Notices what has happened to it while it was idle, above all that the instance has closed it.
    pub(crate) fn look(&mut self) {
        self.drive(&mut Context::from_waker(Waker::noop()));
    }

    /// Whether it can take a request, as of the last look.
    pub(crate) fn is_ready(&self) -> bool {
        self.sender.is_ready()
    }

    /// Whether it has ended, as of the last look.
    pub(crate) fn is_closed(&self) -> bool {
        self.sender.is_closed()
    }

    /// Sends a request and waits for the head of the answer, for `limit` after the last change of `progress`.
    pub(crate) async fn send(
        &mut self,
        request: Request<RequestBody>,
        limit: Duration,
        progress: impl Fn() -> u64,
    ) -> Sent {
        let Self { sender, driver, timer, .. } = self;
        let mut answer = pin!(sender.try_send_request(request));
        let timer = timer.get_or_insert_with(|| Box::pin(tokio::time::sleep(limit)));
        timer.as_mut().reset(Instant::now() + limit);
        let mut seen = progress();
        std::future::poll_fn(|context| {
            drive(driver, context);
            // As long as we drive the connection ourselves, it need not wake us for what it did just now.
            let polled = match driver {
                Some(_) => answer.as_mut().poll(&mut Context::from_waker(Waker::noop())),
                None => answer.as_mut().poll(context),
            };
            match polled {
                Poll::Ready(Ok(response)) => return Poll::Ready(Sent::Answered(response)),
                Poll::Ready(Err(error)) => return Poll::Ready(Sent::Failed(error)),
                Poll::Pending => {}
            }
            while timer.as_mut().poll(context).is_ready() {
                // While the client is still sending, the instance cannot be expected to answer.
                let now = progress();
                if now == seen {
                    return Poll::Ready(Sent::TimedOut);
                }
                seen = now;
                timer.as_mut().reset(Instant::now() + limit);
            }
            Poll::Pending
        })
        .await
    }
}

fn drive(driver: &mut Option<Pin<Box<Driver>>>, context: &mut Context<'_>) {
    if let Some(connection) = driver
        && connection.as_mut().poll(context).is_ready()
    {
        // Why it ended reaches whoever waits for the answer.
        *driver = None;
    }
}

impl std::fmt::Debug for Lease {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Lease").field("reused", &self.reused).finish_non_exhaustive()
    }
}
