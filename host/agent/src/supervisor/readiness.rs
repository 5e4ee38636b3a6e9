//! Asking an instance whether it is ready.

use std::net::SocketAddr;
use std::time::Duration;

use bytes::Bytes;
use http::{Request, header};
use http_body_util::Empty;
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;
use tokio::time::timeout;

use crate::api::{Ready, ReadyKind};

/// A readiness check with its defaults filled in.
#[derive(Debug, Clone)]
pub(crate) struct Check {
    kind: ReadyKind,
    path: String,
    address: SocketAddr,
    pub(crate) interval: Duration,
    pub(crate) min_ready: Duration,
    limit: Duration,
}

impl Check {
    /// The check of an instance that listens there; a TCP connection where nothing is said.
    pub(crate) fn new(ready: Option<&Ready>, address: SocketAddr) -> Self {
        let plain = Ready { kind: ReadyKind::Tcp, path: None, interval_ms: None, timeout_ms: None, min_ready_ms: None };
        let ready = ready.unwrap_or(&plain);
        let millis = |given: Option<u64>, or: u64| Duration::from_millis(given.unwrap_or(or));
        Self {
            kind: ready.kind,
            path: ready.path.clone().unwrap_or_else(|| "/".to_owned()),
            address,
            interval: millis(ready.interval_ms, 200).max(Duration::from_millis(10)),
            min_ready: millis(ready.min_ready_ms, 0),
            limit: millis(ready.timeout_ms, 2_000).max(Duration::from_millis(10)),
        }
    }

    /// Asks once.
    ///
    /// # Errors
    /// In words, why the instance is not ready.
    pub(crate) async fn ask(&self) -> Result<(), String> {
        if self.kind == ReadyKind::None {
            return Ok(());
        }
        match timeout(self.limit, self.connect_and_ask()).await {
            Ok(answer) => answer,
            Err(_) => Err(format!("no answer on port {} within {} ms", self.address.port(), self.limit.as_millis())),
        }
    }

    async fn connect_and_ask(&self) -> Result<(), String> {
        let port = self.address.port();
        let stream = TcpStream::connect(self.address)
            .await
            .map_err(|error| format!("nothing accepts connections on port {port}: {error}"))?;
        if self.kind == ReadyKind::Tcp {
            return Ok(());
        }
        let (mut sender, connection) =
            http1::handshake(TokioIo::new(stream)).await.map_err(|error| format!("no HTTP on port {port}: {error}"))?;
        let request = Request::get(&self.path)
            .header(header::HOST, self.address.to_string())
            .header(header::CONNECTION, "close")
            .header(header::USER_AGENT, "basb-agent-readiness")
            .body(Empty::<Bytes>::new())
            .map_err(|error| format!("the path `{}` cannot be asked for: {error}", self.path))?;
        // Driven here, not in a task: when the time is up the connection goes with this future.
        let answer = async {
            let sent = sender.send_request(request);
            futures_util::future::select(Box::pin(sent), Box::pin(connection)).await
        };
        let status = match answer.await {
            futures_util::future::Either::Left((Ok(response), _)) => response.status(),
            futures_util::future::Either::Left((Err(error), _)) => {
                return Err(format!("GET {} on port {port} failed: {error}", self.path));
            }
            futures_util::future::Either::Right((_, sent)) => match sent.await {
                Ok(response) => response.status(),
                Err(error) => return Err(format!("GET {} on port {port} failed: {error}", self.path)),
            },
        };
        if status.is_success() || status.is_redirection() {
            Ok(())
        } else {
            Err(format!("GET {} on port {port} answered {status}", self.path))
        }
    }
}
