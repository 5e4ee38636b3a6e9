//! `wasi:http/outgoing-handler` through the one door to the network: a guest's own HTTP client meets the same grants,
//! limits, credentials and records as the host's own interface.
//!
//! Stops a plugin from reaching the network around the policy by bringing a client of its own. What such a client adds to
//! worry about is bounded here: requests in flight, bodies that are sent or lie unread, timeouts, headers.

use super::CHUNK;
use crate::host::Reach;
use basb_capabilities::exchange::Stop;
use basb_capabilities::http::{HttpError, Request, Response};
use bytes::Bytes;
use http::{HeaderName, HeaderValue, StatusCode};
use http_body_util::{BodyExt as _, Full, LengthLimitError, Limited};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use wasmtime_wasi_http::{
    DEFAULT_FORBIDDEN_HEADERS, Error, ForbiddenHeaderFilter, RequestOptions, WasiBody, WasiHttpHooks,
};

/// Answers that the guest holds and has not read, in KiB, all together.
const UNREAD_KIB: usize = 32 << 10;

/// How a guest's own client gets out.
pub(super) struct Door {
    reach: Option<Reach>,
    in_flight: Arc<Semaphore>,
    unread: Arc<Semaphore>,
}

impl Door {
    pub(super) fn new(reach: Option<&Reach>) -> Self {
        let parallel = reach.map_or(0, |reach| reach.limits().parallel_requests.max(1));
        Self {
            reach: reach.cloned(),
            in_flight: Arc::new(Semaphore::new(parallel)),
            unread: Arc::new(Semaphore::new(UNREAD_KIB)),
        }
    }
}

/// What [`WasiHttpHooks::send_request`] returns.
type Sending = Box<dyn Future<Output = Result<(http::Response<WasiBody>, Io), Error>> + Send>;
type Io = Box<dyn Future<Output = Result<(), Error>> + Send>;

impl WasiHttpHooks for Door {
    fn forbidden_header_filter(&mut self) -> ForbiddenHeaderFilter {
        Arc::new(|name| {
            DEFAULT_FORBIDDEN_HEADERS.contains(name)
                || [http::header::EXPECT, http::header::TRAILER, http::header::TE].contains(name)
        })
    }

    fn set_host_header(&mut self) -> bool {
        // The door does, by the destination that it checked.
        false
    }

    fn p2_outgoing_body_chunk_size(&mut self) -> usize {
        CHUNK
    }

    fn send_request(
        &mut self,
        request: http::Request<WasiBody>,
        options: Option<RequestOptions>,
        _processed: Io,
    ) -> Sending {
        let reach = self.reach.clone();
        let (in_flight, unread) = (Arc::clone(&self.in_flight), Arc::clone(&self.unread));
        Box::new(async move {
            let Some(reach) = reach else {
                return Err(Error::InternalError(Some("there is no call that this could belong to".to_owned())));
            };
            let gone = |_| Error::ConnectionTerminated;
            let _flying = in_flight.acquire_owned().await.map_err(gone)?;
            let request = whole(request, options, reach.limits().request_bytes).await?;
            // A call that is to end is told so when it is over; here the interface has no room for it.
            let stopped = |stop: Stop| Error::InternalError(Some(stop.to_string()));
            let response = reach.http(request).await.map_err(stopped)?.map_err(refusal)?;
            Ok((answer(response, unread)?, Box::new(async { Ok(()) }) as Io))
        })
    }
}

/// The request as a value. Its body is read to its end first: only a whole request can be policed and signed.
async fn whole(
    request: http::Request<WasiBody>,
    options: Option<RequestOptions>,
    most: usize,
) -> Result<Request, Error> {
    let (parts, body) = request.into_parts();
    let body = Limited::new(body, most).collect().await.map_err(|error| {
        if error.is::<LengthLimitError>() {
            let text = format!("a request body over the limit of {most} bytes");
            return Error::InternalError(Some(text));
        }
        match error.downcast::<Error>() {
            Ok(error) => *error,
            Err(error) => Error::InternalError(Some(error.source().unwrap_or(error.as_ref()).to_string())),
        }
    })?;
    let headers = parts
        .headers
        .iter()
        // The door counts the bytes itself.
        .filter(|(name, _)| *name != http::header::CONTENT_LENGTH)
        .map(|(name, value)| {
            let text = value.to_str().map(ToOwned::to_owned);
            let text = text.or_else(|_| String::from_utf8(value.as_bytes().to_vec()));
            text.map(|text| (name.as_str().to_owned(), text)).map_err(|_| Error::HttpRequestHeaderSize {
                field_name: Some(name.as_str().to_owned()),
                field_size: None,
            })
        })
        .collect::<Result<_, _>>()?;
    Ok(Request {
        method: parts.method.as_str().to_owned(),
        url: parts.uri.to_string(),
        headers,
        body: body.to_bytes().into(),
        timeout: timeout(options),
    })
}

/// The longest that the guest wants to wait; the door clamps it. A whole answer comes at once, so the three times of the
/// interface are one.
fn timeout(options: Option<RequestOptions>) -> Option<Duration> {
    let RequestOptions { connect_timeout, first_byte_timeout, between_bytes_timeout } = options?;
    let all = [connect_timeout, first_byte_timeout, between_bytes_timeout];
    let named = all.into_iter().flatten().reduce(Duration::saturating_add);
    // A time that is not named is unbounded as far as the guest is concerned.
    if all.contains(&None) { None } else { named }
}

/// An answer that counts as unread until the guest has dropped the last piece of it.
struct Unread {
    body: Vec<u8>,
    _counted: OwnedSemaphorePermit,
}

impl AsRef<[u8]> for Unread {
    fn as_ref(&self) -> &[u8] {
        &self.body
    }
}

fn answer(response: Response, unread: Arc<Semaphore>) -> Result<http::Response<WasiBody>, Error> {
    let Response { status, headers, body, .. } = response;
    let size = u32::try_from(body.len().div_ceil(1024)).unwrap_or(u32::MAX);
    let counted = unread.try_acquire_many_owned(size).map_err(|_| {
        let text = format!("more than {} MiB of answers are held and not read", UNREAD_KIB >> 10);
        Error::InternalError(Some(text))
    })?;
    let body = Bytes::from_owner(Unread { body, _counted: counted });
    let body = Full::new(body).map_err(|never| match never {}).boxed_unsync();
    let mut answer = http::Response::new(body);
    *answer.status_mut() = StatusCode::from_u16(status).map_err(|_| Error::HttpProtocolError)?;
    for (name, value) in headers {
        // They came out of a header map; one that does not fit any more is left out.
        if let (Ok(name), Ok(value)) = (HeaderName::try_from(name), HeaderValue::try_from(value)) {
            answer.headers_mut().append(name, value);
        }
    }
    Ok(answer)
}

/// Where the interface has a case without room for a text, the case tells clients whether to try again.
fn refusal(error: HttpError) -> Error {
    match error {
        HttpError::Dns(text) => Error::DnsError { rcode: Some(text), info_code: None },
        HttpError::Connect(_) => Error::ConnectionRefused,
        HttpError::Tls(_) => Error::TlsProtocolError,
        HttpError::TimedOut(_) => Error::HttpResponseTimeout,
        HttpError::Broken(_) => Error::ConnectionTerminated,
        other => Error::InternalError(Some(other.to_string())),
    }
}
