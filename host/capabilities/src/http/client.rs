//! The HTTP clients: whose connection a request may use, one exchange over it, and what went wrong in words.
//!
//! Stops a connection from being used by somebody who could not have opened it: there is one pool of connections for each
//! way a name may lead, one for the host itself, and one for each client certificate and each authority.

use super::answer::{Raw, declared_length};
use super::connect::{ConnectedAt, NetworkConnector, Paths, SocketConnector};
use super::policy::{Route, SOCKET_SUFFIX};
use super::prepare::Ready;
use super::tls::Tls;
use super::{HttpError, Roots, Timing};
use crate::network::address::Reach;
use crate::network::{ConnectError, Network, Place, Traveller};
use crate::{CallScope, Limits, denial};
use ::http::{HeaderMap, Method, Request as HyperRequest, Uri};
use basb_core::Digest;
use basb_credentials::{Authority, ClientIdentity, CredentialName};
use bytes::{Bytes, BytesMut};
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use hyper_util::client::legacy::connect::{CaptureConnection, capture_connection};
use hyper_util::client::legacy::{Builder, Client, Error as ClientError};
use hyper_util::rt::TokioExecutor;
use std::collections::{BTreeMap, HashMap};
use std::error::Error as _;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

pub(super) type NetworkClient = Client<NetworkConnector, Full<Bytes>>;

/// More client certificates than this at once are not kept connections for.
const IDENTITIES: usize = 64;

/// Whose certificate and whose authority, how far its connections may lead, and the digest of certificate, key and
/// authorities: a renewed one is another.
type IdentityKey = (Option<CredentialName>, Option<CredentialName>, Reach, Digest);

/// All clients.
#[derive(Debug)]
pub(super) struct Clients {
    builder: Builder,
    tls: Tls,
    way: Network,
    connect_timeout: Duration,
    public: NetworkClient,
    private: NetworkClient,
    loopback: NetworkClient,
    literal: NetworkClient,
    /// The host's own, for [`super::transport`].
    pub(super) host: NetworkClient,
    identities: Mutex<HashMap<IdentityKey, NetworkClient>>,
    sockets: Client<SocketConnector, Full<Bytes>>,
    /// Sockets that a grant names by their path. An operator wrote each of them, so there are few.
    paths: Arc<Paths>,
}

impl Clients {
    pub(super) fn new(sockets: BTreeMap<String, PathBuf>, limits: &Limits, roots: Roots, way: Network) -> Self {
        let mut builder = Client::builder(TokioExecutor::new());
        builder
            // Shorter than what common servers keep a connection for, so that a request seldom meets one that is closing.
            .pool_idle_timeout(Duration::from_secs(4))
            .pool_timer(hyper_util::rt::TokioTimer::new())
            .pool_max_idle_per_host(8)
            .http1_max_headers(limits.headers)
            .http1_max_buf_size(limits.header_bytes.max(8 << 10));
        let tls = Tls::new(roots);
        let paths = Arc::<Paths>::default();
        let connect_timeout = limits.connect_timeout;
        let network = |traveller| {
            builder.build(NetworkConnector { network: way.clone(), traveller, tls: tls.clone(), connect_timeout })
        };
        Self {
            public: network(Traveller::Plugin(Reach::Public)),
            private: network(Traveller::Plugin(Reach::Private)),
            loopback: network(Traveller::Plugin(Reach::Loopback)),
            literal: network(Traveller::Plugin(Reach::Literal)),
            host: network(Traveller::Host),
            identities: Mutex::default(),
            sockets: builder.build(SocketConnector { sockets: sockets.into(), paths: Arc::clone(&paths) }),
            paths,
            builder,
            tls,
            way,
            connect_timeout,
        }
    }

    /// TLS as all of them speak it.
    pub(super) fn tls(&self) -> &Tls {
        &self.tls
    }

    /// The client of a certificate, of an authority, or of both.
    fn identified(
        &self,
        reach: Reach,
        identity: Option<&ClientIdentity>,
        authority: Option<&Authority>,
    ) -> Result<NetworkClient, HttpError> {
        let parts = [
            identity.map(|identity| identity.certificate.expose()),
            identity.map(|identity| identity.key.expose()),
            authority.map(|authority| authority.certificates.expose()),
        ];
        let digests: String =
            parts.map(|part| part.map_or("none".to_owned(), |p| Digest::of(p).hex().to_owned())).concat();
        let key = (
            identity.map(|identity| identity.credential.clone()),
            authority.map(|authority| authority.credential.clone()),
            reach,
            Digest::of(digests.as_bytes()),
        );
        let mut known = self.identities.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(client) = known.get(&key) {
            return Ok(client.clone());
        }
        let failed = |credential: &CredentialName, why: String| {
            HttpError::Tls(format!("the certificate of the credential `{credential}`: {why}"))
        };
        let mut tls = self.tls.clone();
        if let Some(authority) = authority {
            let believing = tls.believing(authority.certificates.expose());
            tls = believing.map_err(|why| failed(&authority.credential, why))?;
        }
        if let Some(identity) = identity {
            let shown = tls.with_identity(identity.certificate.expose(), identity.key.expose());
            tls = shown.map_err(|why| failed(&identity.credential, why))?;
        }
        let client = self.builder.build(NetworkConnector {
            network: self.way.clone(),
            traveller: Traveller::Plugin(reach),
            tls,
            connect_timeout: self.connect_timeout,
        });
        if known.len() >= IDENTITIES {
            known.clear();
        }
        known.insert(key, client.clone());
        Ok(client)
    }

    /// The URL under which connections to a socket are kept: by its path, since two plugins may call two sockets by one name.
    fn by_path(&self, path: &Path, uri: &Uri) -> Result<Uri, HttpError> {
        let failed = |why: String| HttpError::Invalid(format!("the socket {}: {why}", path.display()));
        let digest = Digest::of(path.as_os_str().as_encoded_bytes());
        // A label of a host has at most 63 characters.
        let name = format!("at-{}", digest.hex().get(..40).unwrap_or_default());
        let mut parts = uri.clone().into_parts();
        let authority = format!("{name}{SOCKET_SUFFIX}").parse::<::http::uri::Authority>();
        parts.authority = Some(authority.map_err(|error| failed(error.to_string()))?);
        let mut known = self.paths.lock().unwrap_or_else(PoisonError::into_inner);
        known.entry(name).or_insert_with(|| path.to_owned());
        Uri::from_parts(parts).map_err(|error| failed(error.to_string()))
    }

    /// One exchange.
    pub(super) async fn exchange(
        &self,
        start: Instant,
        scope: &CallScope,
        ready: &Ready,
        limits: &Limits,
    ) -> Result<(Raw, Timing), HttpError> {
        let wanted = ready.wanted();
        let failed = |error: &ClientError| client_error(scope, error, &wanted, &ready.place);
        let client = match (&ready.route, &ready.identity, &ready.authority) {
            (Route::Socket { .. }, ..) => None,
            (Route::Network(Reach::Public), None, None) => Some(self.public.clone()),
            (Route::Network(Reach::Private), None, None) => Some(self.private.clone()),
            (Route::Network(Reach::Loopback), None, None) => Some(self.loopback.clone()),
            (Route::Network(Reach::Literal), None, None) => Some(self.literal.clone()),
            (Route::Network(reach), identity, authority) => {
                Some(self.identified(*reach, identity.as_ref(), authority.as_ref())?)
            }
        };
        let by_path = match &ready.route {
            Route::Socket { at: Some(path), .. } => Some(self.by_path(path, &ready.uri)?),
            _ => None,
        };
        let attempt = async || {
            let mut outgoing = HyperRequest::new(Full::new(ready.body.clone()));
            *outgoing.method_mut() = ready.method.clone();
            *outgoing.uri_mut() = by_path.as_ref().unwrap_or(&ready.uri).clone();
            *outgoing.headers_mut() = ready.headers.clone();
            let connection = capture_connection(&mut outgoing);
            let result = match &client {
                None => self.sockets.request(outgoing).await,
                Some(client) => client.request(outgoing).await,
            };
            (result, connection)
        };
        let response = match attempt().await {
            (Ok(response), _) => response,
            // The server closed a connection that was kept open just when it was used again. A request that only reads
            // is sent once more; of any other it is in doubt whether it was seen.
            (Err(error), connection)
                if is_safe(&ready.method) && !error.is_connect() && was_open(&connection, start) =>
            {
                tracing::debug!("a connection that was kept open is gone: the request is sent once more");
                attempt().await.0.map_err(|error| failed(&error))?
            }
            (Err(error), _) => return Err(failed(&error)),
        };
        let head = micros(start);
        let connected = response.extensions().get::<ConnectedAt>().map_or(0, |at| {
            let since = at.0.saturating_duration_since(start);
            u64::try_from(since.as_micros()).unwrap_or(u64::MAX)
        });
        if response.status().is_informational() {
            // Only 101 gets here: what follows it is another protocol, which nobody asked for.
            return Err(HttpError::Broken(format!("the answer to {} changes the protocol", wanted)));
        }
        let (parts, incoming) = response.into_parts();
        let body = body(incoming, &parts.headers, limits.response_bytes, &wanted).await?;
        let raw = Raw { status: parts.status.as_u16(), headers: parts.headers, body };
        Ok((raw, Timing { connected, head, total: micros(start) }))
    }
}

/// The whole body, as long as it is not over the limit.
pub(super) async fn body(
    mut incoming: Incoming,
    headers: &HeaderMap,
    limit: usize,
    wanted: &str,
) -> Result<Vec<u8>, HttpError> {
    let too_large = || HttpError::TooLarge(format!("the answer to {wanted} is over the limit of {limit} bytes"));
    let mut body = BytesMut::new();
    while let Some(frame) = incoming.frame().await {
        let broke = |error: hyper::Error| HttpError::Broken(format!("the answer to {wanted} broke off: {error}"));
        if let Ok(data) = frame.map_err(broke)?.into_data() {
            if body.is_empty() && declared_length(headers).is_some_and(|length| length > limit as u64) {
                return Err(too_large());
            }
            if body.len().saturating_add(data.len()) > limit {
                return Err(too_large());
            }
            body.extend_from_slice(&data);
        }
    }
    Ok(body.into())
}

fn is_safe(method: &Method) -> bool {
    matches!(*method, Method::GET | Method::HEAD)
}

/// Whether the connection of a request was there before it.
fn was_open(connection: &CaptureConnection, start: Instant) -> bool {
    let mut extras = ::http::Extensions::new();
    if let Some(connected) = connection.connection_metadata().as_ref() {
        connected.get_extras(&mut extras);
    }
    extras.get::<ConnectedAt>().is_some_and(|at| at.0 < start)
}

fn micros(start: Instant) -> u64 {
    u64::try_from(start.elapsed().as_micros()).unwrap_or(u64::MAX)
}

fn client_error(scope: &CallScope, error: &ClientError, wanted: &str, place: &Place) -> HttpError {
    match cause(error) {
        Cause::Connect(connect) => {
            let text = format!("{wanted}: {connect}");
            match connect {
                ConnectError::Forbidden { class, .. } => {
                    HttpError::Denied(denial::forbidden_address(scope, wanted, &connect.to_string(), *class, place))
                }
                ConnectError::Metadata(_) => HttpError::Denied(denial::refused(scope, wanted, &connect.to_string())),
                ConnectError::Dns(..) => HttpError::Dns(text),
                ConnectError::Refused(_) | ConnectError::Failed(..) => HttpError::Connect(text),
                ConnectError::Tls(..) => HttpError::Tls(text),
            }
        }
        Cause::TooLarge => HttpError::TooLarge(format!("the head of the answer to {wanted} is over the limit")),
        Cause::Other(last) if error.is_connect() => HttpError::Connect(format!("no connection for {wanted}: {last}")),
        Cause::Other(last) => HttpError::Broken(format!(
            "the connection for {wanted} broke: {last}; whether the request had an effect is in doubt"
        )),
    }
}

/// What is behind an error of the client.
pub(super) enum Cause<'a> {
    Connect(&'a ConnectError),
    TooLarge,
    Other(String),
}

pub(super) fn cause(error: &ClientError) -> Cause<'_> {
    let mut cause = error.source();
    let mut last = error.to_string();
    while let Some(inner) = cause {
        if let Some(connect) = inner.downcast_ref::<ConnectError>() {
            return Cause::Connect(connect);
        }
        if let Some(hyper) = inner.downcast_ref::<hyper::Error>()
            && hyper.is_parse_too_large()
        {
            return Cause::TooLarge;
        }
        last = inner.to_string();
        cause = inner.source();
    }
    Cause::Other(last)
}
