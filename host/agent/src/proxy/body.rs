//! Bodies as they pass: what is sent to an instance, and what is sent to the client.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll};

use bytes::Bytes;
use hyper::body::{Body, Frame, Incoming, SizeHint};

use super::pool::{self, Lease};
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
    rest: Option<(InFlight, Lease)>,
}

impl Passed {
    pub(crate) fn new(incoming: Incoming, in_flight: InFlight, lease: Lease) -> Self {
        let mut passed = Self { incoming, rest: Some((in_flight, lease)) };
        passed.finish_at_end();
        passed
    }

    /// Gives the connection back as soon as the body is complete, without waiting for the client to read it.
    fn finish_at_end(&mut self) {
        if self.incoming.is_end_stream()
            && let Some((in_flight, lease)) = self.rest.take()
        {
            pool::give_back(&in_flight.upstream, lease);
        }
    }
}

impl Body for ResponseBody {
    type Data = Bytes;
    type Error = hyper::Error;

    fn poll_frame(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        match self.get_mut() {
            Self::Own(bytes) if bytes.is_empty() => Poll::Ready(None),
            Self::Own(bytes) => Poll::Ready(Some(Ok(Frame::data(std::mem::take(bytes))))),
            Self::Passed(passed) => {
                let frame = std::task::ready!(Pin::new(&mut passed.incoming).poll_frame(context));
                match &frame {
                    Some(Ok(_)) => passed.finish_at_end(),
                    Some(Err(_)) => {
                        // The instance broke off in the middle: the client sees a truncated answer.
                        if let Some((in_flight, _)) = passed.rest.take() {
                            in_flight.counters.count_proxy_failure();
                        }
                    }
                    None => {
                        if let Some((in_flight, lease)) = passed.rest.take() {
                            pool::give_back(&in_flight.upstream, lease);
                        }
                    }
                }
                Poll::Ready(frame)
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::Own(bytes) => bytes.is_empty(),
            Self::Passed(passed) => passed.incoming.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Own(bytes) => SizeHint::with_exact(bytes.len() as u64),
            Self::Passed(passed) => passed.incoming.size_hint(),
        }
    }
}
