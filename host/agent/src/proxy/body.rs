//! Bodies as they pass: what is sent to an instance, and what is sent to the client.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll, Waker, ready};

use bytes::Bytes;
use hyper::body::{Body, Frame, Incoming, SizeHint};

use super::lease::Lease;
use super::pool;
use super::{Counters, Upstream};

/// A request that is under way on an upstream. Dropping it ends it.
#[derive(Debug)]
pub(crate) struct InFlight {
    pub(crate) upstream: Arc<Upstream>,
    pub(crate) counters: Arc<Counters>,
}

impl InFlight {
    /// Starts a request, unless the upstream drains.
    pub(crate) fn enter(upstream: &Arc<Upstream>, counters: &Arc<Counters>) -> Option<Self> {
        if !upstream.enter() {
            return None;
        }
        counters.in_flight.fetch_add(1, Ordering::Relaxed);
        Some(Self { upstream: Arc::clone(upstream), counters: Arc::clone(counters) })
    }
}

impl Drop for InFlight {
    fn drop(&mut self) {
        self.counters.in_flight.fetch_sub(1, Ordering::Relaxed);
        self.upstream.leave();
    }
}

/// The body of a request to an instance.
#[derive(Debug)]
pub(crate) enum RequestBody {
    /// Held in memory (or empty), so that the request can be repeated.
    Held(Bytes),
    /// Passed on as it arrives; the count of its parts so far tells a slow upload from a silent instance.
    Stream(Incoming, Arc<AtomicU64>),
}

impl Body for RequestBody {
    type Data = Bytes;
    type Error = hyper::Error;

    fn poll_frame(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        match self.get_mut() {
            Self::Held(bytes) if bytes.is_empty() => Poll::Ready(None),
            Self::Held(bytes) => Poll::Ready(Some(Ok(Frame::data(std::mem::take(bytes))))),
            Self::Stream(incoming, parts) => {
                let polled = Pin::new(incoming).poll_frame(context);
                if polled.is_ready() {
                    parts.fetch_add(1, Ordering::Relaxed);
                }
                polled
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::Held(bytes) => bytes.is_empty(),
            Self::Stream(incoming, _) => incoming.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Held(bytes) => SizeHint::with_exact(bytes.len() as u64),
            Self::Stream(incoming, _) => incoming.size_hint(),
        }
    }
}

/// The body of an answer to the client.
#[derive(Debug)]
pub(crate) enum ResponseBody {
    /// Made by the proxy.
    Own(Bytes),
    /// Passed on from an instance as it arrives.
    Passed(Passed),
}

/// A body from an instance, with what has to be given back at its end.
#[derive(Debug)]
pub(crate) struct Passed {
    incoming: Incoming,
    /// What has been taken out of `incoming` already: a part, an error, or its end.
    ahead: Option<Part>,
    rest: Option<(InFlight, Lease)>,
}

type Part = Option<Result<Frame<Bytes>, hyper::Error>>;

impl Passed {
    /// The body of an answer. What there is of it already is taken out at once: then head and body leave together, and
    /// the connection is free for the next request without waiting for the client.
    pub(crate) async fn new(incoming: Incoming, in_flight: InFlight, lease: Lease) -> Self {
        let mut passed = Self { incoming, ahead: None, rest: Some((in_flight, lease)) };
        passed.finish_at_end();
        if !passed.incoming.is_end_stream() {
            std::future::poll_fn(|context| {
                passed.ahead = match passed.poll_instance(context) {
                    Poll::Ready(part) => Some(part),
                    Poll::Pending => None,
                };
                Poll::Ready(())
            })
            .await;
        }
        passed
    }

    fn poll_part(&mut self, context: &mut Context<'_>) -> Poll<Part> {
        match self.ahead.take() {
            Some(part) => Poll::Ready(part),
            None => self.poll_instance(context),
        }
    }

    fn poll_instance(&mut self, context: &mut Context<'_>) -> Poll<Part> {
        let part = match &mut self.rest {
            // We drive the connection ourselves, so it need not wake us for what it did just now.
            Some((_, lease)) if lease.is_driven_here() => {
                let mut quiet = Context::from_waker(Waker::noop());
                match Pin::new(&mut self.incoming).poll_frame(&mut quiet) {
                    Poll::Ready(part) => part,
                    Poll::Pending => {
                        lease.drive(context);
                        let mut last =
                            if lease.is_driven_here() { quiet } else { Context::from_waker(context.waker()) };
                        ready!(Pin::new(&mut self.incoming).poll_frame(&mut last))
                    }
                }
            }
            _ => ready!(Pin::new(&mut self.incoming).poll_frame(context)),
        };
        match &part {
            Some(Ok(_)) => self.finish_at_end(),
            // The instance broke off in the middle: the client sees a truncated answer.
            Some(Err(_)) => {
                if let Some((in_flight, _)) = self.rest.take() {
                    in_flight.counters.count_proxy_failure();
                }
            }
            None => self.finish(),
        }
        Poll::Ready(part)
    }

    /// Gives the connection back as soon as the body is complete, without waiting for the client to read it.
    fn finish_at_end(&mut self) {
        if self.incoming.is_end_stream() {
            self.finish();
        }
    }

    fn finish(&mut self) {
        if let Some((in_flight, lease)) = self.rest.take() {
            pool::give_back(&in_flight.upstream, lease);
        }
    }

    fn is_end_stream(&self) -> bool {
        match &self.ahead {
            Some(part) => part.is_none(),
            None => self.incoming.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        let mut hint = self.incoming.size_hint();
        if let Some(Some(Ok(frame))) = &self.ahead
            && let Some(data) = frame.data_ref()
        {
            let more = data.len() as u64;
            if let Some(upper) = hint.upper() {
                hint.set_upper(upper.saturating_add(more));
            }
            hint.set_lower(hint.lower().saturating_add(more));
        }
        hint
    }
}

impl Body for ResponseBody {
    type Data = Bytes;
    type Error = hyper::Error;

    fn poll_frame(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        match self.get_mut() {
            Self::Own(bytes) if bytes.is_empty() => Poll::Ready(None),
            Self::Own(bytes) => Poll::Ready(Some(Ok(Frame::data(std::mem::take(bytes))))),
            Self::Passed(passed) => passed.poll_part(context),
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::Own(bytes) => bytes.is_empty(),
            Self::Passed(passed) => passed.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Own(bytes) => SizeHint::with_exact(bytes.len() as u64),
            Self::Passed(passed) => passed.size_hint(),
        }
    }
}
