//! The HTTP side: `/mcp`, `/healthz`, and an orderly end.

use std::{future::Future, io, path::PathBuf, sync::Arc, time::Duration};

use axum::{
    Json, Router,
    extract::State,
    http::StatusCode,
    response::{IntoResponse, Response},
    routing::get,
    serve::ListenerExt as _,
};
use rmcp::transport::streamable_http_server::{
    StreamableHttpServerConfig, StreamableHttpService, session::never::NeverSessionManager,
};
use serde_json::json;
use tokio::{
    net::TcpListener,
    signal::unix::{SignalKind, signal},
    sync::watch,
};

use crate::{services::Brain, vault::VaultError};

/// The largest body (256 KiB) with every character escaped still fits.
const MAX_REQUEST_BYTES: usize = 2 * 1024 * 1024;
/// How long requests in flight may take after SIGTERM. Longer than the vault's patience with its
/// lock, so that no change is cut off.
const GRACE: Duration = Duration::from_secs(15);
const LOOPBACK: [&str; 3] = ["localhost", "127.0.0.1", "::1"];
/// Web pages elsewhere must not reach a vault on this machine.
const LOCAL_ORIGINS: [&str; 3] = ["http://localhost:*", "http://127.0.0.1:*", "http://[::1]:*"];

/// Why a service could not start or ended.
#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    /// The vault cannot be used.
    #[error("cannot use {path} as a vault: {source}")]
    Vault {
        /// Its folder.
        path: PathBuf,
        /// Why.
        source: VaultError,
    },
    /// The address cannot be listened on.
    #[error("cannot listen on {address}: {source}; choose another with --listen host:port")]
    Listen {
        /// The address.
        address: String,
        /// Why.
        source: io::Error,
    },
    /// Signals cannot be received.
    #[error("cannot receive signals: {0}")]
    Signals(io::Error),
    /// The server ended by itself.
    #[error("the server ended: {0}")]
    Server(io::Error),
    /// Requests did not finish in time.
    #[error("requests were still running {} s after the signal and were cut off", GRACE.as_secs())]
    CutOff,
}

/// Where to listen.
#[derive(Debug)]
pub enum Endpoint {
    /// `host:port`
    Address(String),
    /// Both apart, as platforms give them.
    HostAndPort(String, u16),
}

impl Endpoint {
    async fn bind(&self) -> Result<TcpListener, ServeError> {
        match self {
            Self::Address(address) => TcpListener::bind(address).await,
            Self::HostAndPort(host, port) => TcpListener::bind((host.as_str(), *port)).await,
        }
        .map_err(|source| ServeError::Listen {
            address: match self {
                Self::Address(address) => address.clone(),
                Self::HostAndPort(host, port) => format!("{host}:{port}"),
            },
            source,
        })
    }
}

/// Serves until SIGTERM or SIGINT, then finishes the requests in flight.
pub async fn serve(brain: Brain, endpoint: &Endpoint, more_hosts: &[String]) -> Result<(), ServeError> {
    let stop = stop_signal().map_err(ServeError::Signals)?;
    let listener = endpoint.bind().await?;
    let address = listener.local_addr().map_err(ServeError::Server)?;
    let identity = brain.identity();
    tracing::info!(service = identity.service.name(), release = identity.release, "listening on {address}");
    // Answers are small and must not wait for more.
    let listener = listener.tap_io(|stream| {
        if let Err(error) = stream.set_nodelay(true) {
            tracing::debug!(%error, "TCP_NODELAY not set");
        }
    });

    let (stopping, mut stopped) = watch::channel(false);
    let server = axum::serve(listener, router(brain, more_hosts)).with_graceful_shutdown(async move {
        stop.await;
        tracing::info!("finishing the requests in flight");
        stopping.send_replace(true);
    });
    let overdue = async move {
        // An error means that the server is gone, and then `server` has the answer.
        if stopped.wait_for(|stopping| *stopping).await.is_err() {
            std::future::pending::<()>().await;
        }
        tokio::time::sleep(GRACE).await;
    };
    tokio::select! {
        ended = async { server.await } => ended.map_err(ServeError::Server),
        () = overdue => Err(ServeError::CutOff),
    }
}

fn router(brain: Brain, more_hosts: &[String]) -> Router {
    // Without sessions and with plain JSON answers, any request may go to any instance of any
    // release: a proxy can split traffic by weight without knowing the protocol.
    let config = StreamableHttpServerConfig::default()
        .with_legacy_session_mode(false)
        .with_json_response(true)
        .with_max_request_body_bytes(MAX_REQUEST_BYTES)
        .with_allowed_hosts(LOOPBACK.into_iter().chain(more_hosts.iter().map(String::as_str)))
        .with_allowed_origins(LOCAL_ORIGINS);
    let health = get(healthz).with_state(brain.clone());
    let mcp = StreamableHttpService::new(move || Ok(brain.clone()), Arc::new(NeverSessionManager::default()), config);
    Router::new().route("/healthz", health).route_service("/mcp", mcp)
}

async fn healthz(State(brain): State<Brain>) -> Response {
    let identity = brain.identity();
    match brain.check() {
        Ok(()) => Json(identity).into_response(),
        Err(error) => {
            let body = json!({
                "service": identity.service,
                "release": identity.release,
                "error": error.to_string(),
            });
            (StatusCode::SERVICE_UNAVAILABLE, Json(body)).into_response()
        }
    }
}

fn stop_signal() -> io::Result<impl Future<Output = ()> + Send + 'static> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    Ok(async move {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
    })
}
