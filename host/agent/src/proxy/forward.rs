//! One request: choose an instance, pass the request on, pass the answer back, and try again where that is safe.

use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use bytes::Bytes;
use http::header::{self, HeaderMap, HeaderValue};
use http::uri::PathAndQuery;
use http::{Method, Request, Response, StatusCode, Uri, Version};
use http_body_util::BodyExt;
use hyper::body::{Body, Incoming};
use hyper::upgrade::OnUpgrade;

use super::body::{InFlight, Passed, RequestBody, ResponseBody};
use super::headers::{self, Peer};
use super::pool::{self, Lease, Reuse};
use super::{Front, Table, Target, Upstream, balance, upgrade};

/// A body up to this many bytes is held in memory so that an idempotent request can be repeated.
const LARGEST_HELD: u64 = 64 * 1024;

/// Attempts per request, connections that were refused included.
const MOST_ATTEMPTS: usize = 8;

/// Why the proxy answers by itself.
#[derive(Debug, Clone, Copy)]
struct Refusal {
    status: StatusCode,
    code: &'static str,
    why: &'static str,
    next: &'static str,
}

const NO_TRAFFIC: Refusal = Refusal {
    status: StatusCode::SERVICE_UNAVAILABLE,
    code: "no-traffic",
    why: "no revision has any weight",
    next: "Give a revision weight with PUT /v1/services/{service}/traffic.",
};
const NO_INSTANCE: Refusal = Refusal {
    status: StatusCode::SERVICE_UNAVAILABLE,
    code: "no-available-instance",
    why: "no instance is available",
    next: "Try again; the service's state and logs say why.",
};
const BROKEN: Refusal = Refusal {
    status: StatusCode::BAD_GATEWAY,
    code: "upstream-broken",
    why: "the instance closed the connection before it answered, and the request must not be repeated",
    next: "Check whether the request took effect before sending it again.",
};
const UNREACHABLE: Refusal = Refusal {
    status: StatusCode::BAD_GATEWAY,
    code: "upstream-unreachable",
    why: "no instance accepted a connection",
    next: "Try again; the service's state and logs say why.",
};
const TIMED_OUT: Refusal = Refusal {
    status: StatusCode::GATEWAY_TIMEOUT,
    code: "upstream-timeout",
    why: "the instance did not start its answer in time",
    next: "Check whether the request took effect before sending it again.",
};
const BAD_REQUEST: Refusal = Refusal {
    status: StatusCode::BAD_REQUEST,
    code: "bad-request",
    why: "the request's target, host or body is malformed",
    next: "Correct the request.",
};
const NO_TUNNEL: Refusal = Refusal {
    status: StatusCode::METHOD_NOT_ALLOWED,
    code: "no-connect",
    why: "CONNECT is not served",
    next: "Send the request itself.",
};

fn refuse(front: &Front, refusal: Refusal) -> Response<ResponseBody> {
    let text = serde_json::json!({
        "error": {
            "code": refusal.code,
            "message": format!("{}: {}", front.name, refusal.why),
            "next": refusal.next,
        }
    });
    let mut response = Response::new(ResponseBody::Own(Bytes::from(text.to_string())));
    *response.status_mut() = refusal.status;
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response
}

/// The request as it goes to an instance, kept as long as it may have to be sent again.
struct Outgoing {
    method: Method,
    uri: Uri,
    headers: HeaderMap,
    body: Option<RequestBody>,
    repeatable: bool,
    upgrade: Option<(HeaderValue, OnUpgrade)>,
}

impl Outgoing {
    /// Takes a client's request apart and cleans its head.
    async fn prepare(request: Request<Incoming>, peer: &Peer) -> Result<Self, Refusal> {
        let mut request = request;
        if *request.method() == Method::CONNECT {
            return Err(NO_TUNNEL);
        }
        let upgrade = upgrade::wanted(&request).map(|protocol| (protocol, hyper::upgrade::on(&mut request)));
        let (mut parts, body) = request.into_parts();
        if parts.headers.get_all(header::HOST).iter().nth(1).is_some() {
            return Err(BAD_REQUEST);
        }
        let chunked = parts.headers.contains_key(header::TRANSFER_ENCODING);
        headers::strip_hop_by_hop(&mut parts.headers);
        // The proxy itself has already told the client to go on.
        parts.headers.remove(header::EXPECT);
        if let Some(authority) = parts.uri.authority() {
            // Absolute form: its authority wins over Host (RFC 9112, 3.2.2).
            let host = HeaderValue::from_str(authority.as_str()).map_err(|_| BAD_REQUEST)?;
            parts.headers.insert(header::HOST, host);
            let path = parts.uri.path_and_query().cloned().unwrap_or(PathAndQuery::from_static("/"));
            parts.uri = Uri::from(path);
        }
        if !parts.headers.contains_key(header::HOST) {
            // Only HTTP/1.0 may leave it out; the instance is spoken to in HTTP/1.1, which may not.
            if parts.version != Version::HTTP_10 {
                return Err(BAD_REQUEST);
            }
            parts.headers.insert(header::HOST, HeaderValue::from_static("localhost"));
        }
        headers::add_forwarded(&mut parts.headers, peer);

        let idempotent =
            matches!(parts.method, Method::GET | Method::HEAD | Method::OPTIONS | Method::PUT | Method::DELETE);
        let small = body.size_hint().exact().is_some_and(|size| size <= LARGEST_HELD);
        let body = if body.is_end_stream() {
            RequestBody::Held(Bytes::new())
        } else if idempotent && small {
            RequestBody::Held(body.collect().await.map_err(|_| BAD_REQUEST)?.to_bytes())
        } else {
            if chunked {
                // Said explicitly, or hyper would leave out a body of unknown length for GET.
                parts.headers.insert(header::TRANSFER_ENCODING, HeaderValue::from_static("chunked"));
            }
            RequestBody::Stream(body, Arc::default())
        };
        let repeatable = idempotent && upgrade.is_none() && matches!(body, RequestBody::Held(_));
        Ok(Self { method: parts.method, uri: parts.uri, headers: parts.headers, body: Some(body), repeatable, upgrade })
    }

    /// The request for the next attempt, or nothing when its body is gone.
    fn request(&mut self) -> Option<Request<RequestBody>> {
        let (body, headers) = match self.body.take()? {
            RequestBody::Held(bytes) if self.repeatable => {
                self.body = Some(RequestBody::Held(bytes.clone()));
                (RequestBody::Held(bytes), self.headers.clone())
            }
            once => (once, std::mem::take(&mut self.headers)),
        };
        let mut request = Request::new(body);
        *request.method_mut() = self.method.clone();
        *request.uri_mut() = self.uri.clone();
        *request.version_mut() = Version::HTTP_11;
        *request.headers_mut() = headers;
        if let Some((protocol, _)) = &self.upgrade {
            upgrade::put_back(request.headers_mut(), protocol.clone());
        }
        Some(request)
    }

    /// Takes back a request that was never written.
    fn take_back(&mut self, request: Request<RequestBody>) {
        if !self.repeatable {
            let (parts, body) = request.into_parts();
            self.headers = parts.headers;
            self.body = Some(body);
        }
    }
}

/// Chooses instances for one request, never the same twice while there is another.
struct Chooser<'a> {
    front: &'a Front,
    table: Arc<Table>,
    /// The revision whose turn it is, as an index into the table's targets.
    first: usize,
    avoid: Vec<u64>,
}

impl<'a> Chooser<'a> {
    fn new(front: &'a Front) -> Option<Self> {
        let table = front.table.load_full();
        let first = table.schedule.next()?;
        Some(Self { front, table, first, avoid: Vec::new() })
    }

    fn first(&self) -> Option<&Arc<Target>> {
        self.table.targets.get(self.first)
    }

    fn next(&mut self) -> Option<(Arc<Target>, InFlight)> {
        if let Some(chosen) = self.choose() {
            return Some(chosen);
        }
        // All that this table knows may have been drained since we read it; then there is a newer one.
        let newer = self.front.table.load_full();
        if Arc::ptr_eq(&newer, &self.table) {
            return None;
        }
        self.first = newer.schedule.next()?;
        self.table = newer;
        self.choose()
    }

    fn choose(&self) -> Option<(Arc<Target>, InFlight)> {
        let first = self.first()?;
        if let Some(in_flight) = self.enter(first) {
            return Some((Arc::clone(first), in_flight));
        }
        // Its own revision has nobody (left): better another revision than a failure.
        let target = self.table.fallback(|target| !Arc::ptr_eq(target, first) && self.usable(target))?;
        self.enter(target).map(|in_flight| (Arc::clone(target), in_flight))
    }

    fn usable(&self, target: &Target) -> bool {
        target.upstreams.iter().any(|upstream| self.load(upstream).is_some())
    }

    /// Requests under way on an upstream, unless it is out of the question.
    fn load(&self, upstream: &Upstream) -> Option<u32> {
        let out = self.avoid.contains(&upstream.key) || upstream.draining.load(Ordering::Relaxed);
        (!out).then(|| upstream.in_flight.load(Ordering::Relaxed))
    }

    fn enter(&self, target: &Target) -> Option<InFlight> {
        let upstreams = &target.upstreams;
        // Entering fails only when an upstream has just begun to drain; the bound keeps that from spinning.
        for _ in 0..=upstreams.len() {
            let turn = if upstreams.len() > 1 { target.turn.fetch_add(1, Ordering::Relaxed) } else { 0 };
            let index = balance::least_loaded(upstreams.len(), turn, |index| self.load(upstreams.get(index)?))?;
            if let Some(in_flight) = InFlight::enter(upstreams.get(index)?, &target.counters) {
                return Some(in_flight);
            }
        }
        None
    }

    /// Gives everybody another chance, when nobody else is left.
    fn forgive(&mut self) {
        if !self.table.targets.iter().any(|target| self.usable(target)) {
            self.avoid.clear();
        }
    }
}

/// Answers one request of a client.
pub(crate) async fn forward(front: &Front, peer: &Peer, request: Request<Incoming>) -> Response<ResponseBody> {
    let mut outgoing = match Outgoing::prepare(request, peer).await {
        Ok(outgoing) => outgoing,
        Err(refusal) => return refuse(front, refusal),
    };
    let Some(mut chooser) = Chooser::new(front) else { return refuse(front, NO_TRAFFIC) };
    let mut reuse = if outgoing.repeatable { Reuse::Any } else { Reuse::Recent };
    let mut repeated = false;
    let mut last: Option<(Arc<Target>, Refusal)> = None;

    for _ in 0..MOST_ATTEMPTS {
        let Some((target, in_flight)) = chooser.next() else { break };
        let Ok(lease) = lease(front, &in_flight, reuse).await else {
            target.counters.retried.fetch_add(1, Ordering::Relaxed);
            last = Some((target, UNREACHABLE));
            chooser.avoid.push(in_flight.upstream.key);
            continue;
        };
        let reused = lease.reused;
        match exchange(front, &mut outgoing, lease).await {
            Exchange::Answered(response, lease) => return pass(response, outgoing, lease, in_flight),
            // Nothing reached the instance: a kept connection had just been closed.
            Exchange::Unwritten if reused => reuse = Reuse::Never,
            Exchange::Unwritten => {
                target.counters.retried.fetch_add(1, Ordering::Relaxed);
                last = Some((target, UNREACHABLE));
                chooser.avoid.push(in_flight.upstream.key);
            }
            Exchange::Broken if outgoing.repeatable && !repeated => {
                repeated = true;
                reuse = Reuse::Never;
                target.counters.retried.fetch_add(1, Ordering::Relaxed);
                last = Some((target, BROKEN));
                // Rather another instance; but a connection that ended of old age is no reason to give up on this one.
                chooser.avoid.push(in_flight.upstream.key);
                chooser.forgive();
            }
            Exchange::Broken => {
                last = Some((target, BROKEN));
                break;
            }
            Exchange::ClientBroke => return refuse(front, BAD_REQUEST),
            Exchange::TimedOut => {
                last = Some((target, TIMED_OUT));
                break;
            }
        }
    }
    let failed = last.or_else(|| chooser.first().map(|target| (Arc::clone(target), NO_INSTANCE)));
    let Some((target, refusal)) = failed else { return refuse(front, NO_TRAFFIC) };
    target.counters.total.fetch_add(1, Ordering::Relaxed);
    target.counters.count_proxy_failure();
    refuse(front, refusal)
}

async fn lease(front: &Front, in_flight: &InFlight, reuse: Reuse) -> std::io::Result<Lease> {
    match pool::take(&in_flight.upstream, reuse) {
        Some(lease) => Ok(lease),
        None => pool::connect(&in_flight.upstream, front.limits.connect).await,
    }
}

enum Exchange {
    Answered(Response<Incoming>, Lease),
    /// Not a byte was written; the request has been taken back.
    Unwritten,
    /// The connection broke before the answer began.
    Broken,
    /// The client's body broke off or was malformed: no fault of the instance.
    ClientBroke,
    TimedOut,
}

async fn exchange(front: &Front, outgoing: &mut Outgoing, mut lease: Lease) -> Exchange {
    let Some(request) = outgoing.request() else { return Exchange::Broken };
    let parts = match request.body() {
        RequestBody::Stream(_, parts) => Some(Arc::clone(parts)),
        RequestBody::Held(_) => None,
    };
    let progress = || parts.as_ref().map_or(0, |parts| parts.load(Ordering::Relaxed));
    let mut answer = pin!(lease.sender.try_send_request(request));
    let answered = loop {
        let before = progress();
        match tokio::time::timeout(front.limits.upstream_head, answer.as_mut()).await {
            Ok(answered) => break answered,
            // The client is still sending: the instance cannot be expected to answer yet.
            Err(_) if progress() != before => {}
            Err(_) => return Exchange::TimedOut,
        }
    };
    match answered {
        Ok(response) => Exchange::Answered(response, lease),
        Err(mut error) => match error.take_message() {
            Some(request) => {
                outgoing.take_back(request);
                Exchange::Unwritten
            }
            // What hyper calls the user's error is an error of the body that we gave it: the client's.
            None if error.error().is_user() => Exchange::ClientBroke,
            None => Exchange::Broken,
        },
    }
}

/// Passes an answer back, streaming.
fn pass(response: Response<Incoming>, outgoing: Outgoing, lease: Lease, in_flight: InFlight) -> Response<ResponseBody> {
    let mut response = response;
    let counters = &in_flight.counters;
    counters.total.fetch_add(1, Ordering::Relaxed);
    if response.status().is_server_error() {
        counters.failed.fetch_add(1, Ordering::Relaxed);
    }
    if response.status() == StatusCode::SWITCHING_PROTOCOLS
        && let Some((_, client)) = outgoing.upgrade
    {
        let protocol = response.headers().get(header::UPGRADE).cloned();
        upgrade::join(client, &mut response, in_flight);
        let mut response = response.map(|_| ResponseBody::Own(Bytes::new()));
        headers::strip_hop_by_hop(response.headers_mut());
        if let Some(protocol) = protocol {
            upgrade::put_back(response.headers_mut(), protocol);
        }
        return response;
    }
    let (mut parts, body) = response.into_parts();
    headers::strip_hop_by_hop(&mut parts.headers);
    parts.version = Version::HTTP_11;
    Response::from_parts(parts, ResponseBody::Passed(Passed::new(body, in_flight, lease)))
}
