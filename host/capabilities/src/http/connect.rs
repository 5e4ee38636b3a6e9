//! The connectors of the HTTP client: over the network by a checked address, with TLS where the URL says so, or to a
//! unix socket that the host knows by name.

use super::policy::SOCKET_SUFFIX;
use super::tls::Tls;
use crate::network::{ConnectError, Network, Place, Traveller};
use ::http::Uri;
use futures_util::future::BoxFuture;
use hyper_util::client::legacy::connect::{Connected, Connection};
use hyper_util::rt::TokioIo;
use std::collections::BTreeMap;
use std::io;
use std::path::PathBuf;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};
use std::time::{Duration, Instant};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::UnixStream;
use tower_service::Service;

/// When the connection of a response was there; in the response's extensions.
#[derive(Debug, Clone, Copy)]
pub(super) struct ConnectedAt(pub(super) Instant);

trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}
impl<T: AsyncRead + AsyncWrite + Send + Unpin> Stream for T {}

/// A connection of any kind.
pub(super) struct Wire {
    stream: Box<dyn Stream>,
    at: ConnectedAt,
}

impl Wire {
    fn new(stream: impl Stream + 'static) -> TokioIo<Self> {
        TokioIo::new(Self { stream: Box::new(stream), at: ConnectedAt(Instant::now()) })
    }
}

impl AsyncRead for Wire {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(cx, buf)
    }
}

impl AsyncWrite for Wire {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(cx, bufs)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }
}

impl Connection for Wire {
    fn connected(&self) -> Connected {
        Connected::new().extra(self.at)
    }
}

/// Connects over the network.
#[derive(Debug, Clone)]
pub(super) struct NetworkConnector {
    pub(super) network: Network,
    pub(super) traveller: Traveller,
    pub(super) tls: Tls,
    pub(super) connect_timeout: Duration,
}

impl Service<Uri> for NetworkConnector {
    type Response = TokioIo<Wire>;
    type Error = ConnectError;
    type Future = BoxFuture<'static, Result<Self::Response, ConnectError>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), ConnectError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, uri: Uri) -> Self::Future {
        let Self { network, traveller, tls, connect_timeout } = self.clone();
        Box::pin(async move {
            let shown = uri.authority().map(ToString::to_string).unwrap_or_default();
            let wire = async {
                let secure = uri.scheme_str() == Some("https");
                let host = uri.host().unwrap_or_default();
                let port = uri.port_u16().unwrap_or(if secure { 443 } else { 80 });
                let place = Place::parse(host, port).map_err(|why| ConnectError::Failed(shown.clone(), why))?;
                let stream = network.connect(&place, traveller).await?;
                if secure { Ok(Wire::new(tls.handshake(host, stream).await?)) } else { Ok(Wire::new(stream)) }
            };
            match tokio::time::timeout(connect_timeout, wire).await {
                Ok(result) => result,
                Err(_) => {
                    Err(ConnectError::Failed(shown, format!("not connected within {} ms", connect_timeout.as_millis())))
                }
            }
        })
    }
}

/// Sockets by the name that stands for their path.
pub(super) type Paths = Mutex<BTreeMap<String, PathBuf>>;

/// Connects to unix sockets.
#[derive(Debug, Clone)]
pub(super) struct SocketConnector {
    pub(super) sockets: Arc<BTreeMap<String, PathBuf>>,
    pub(super) paths: Arc<Paths>,
}

impl Service<Uri> for SocketConnector {
    type Response = TokioIo<Wire>;
    type Error = ConnectError;
    type Future = BoxFuture<'static, Result<Self::Response, ConnectError>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), ConnectError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, uri: Uri) -> Self::Future {
        let name = uri.host().and_then(|host| host.strip_suffix(SOCKET_SUFFIX)).unwrap_or_default().to_owned();
        let by_path = || self.paths.lock().unwrap_or_else(PoisonError::into_inner).get(&name).cloned();
        let path = self.sockets.get(&name).cloned().or_else(by_path);
        Box::pin(async move {
            let Some(path) = path else {
                return Err(ConnectError::Failed(format!("the socket `{name}`"), "it is not known".to_owned()));
            };
            let shown = format!("the socket {}", path.display());
            match UnixStream::connect(&path).await {
                Ok(stream) => Ok(Wire::new(stream)),
                Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused) => {
                    Err(ConnectError::Refused(shown))
                }
                Err(error) => Err(ConnectError::Failed(shown, error.to_string())),
            }
        })
    }
}
