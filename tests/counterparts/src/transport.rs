//! A [`Transport`] as the host has one: hyper, one connection for each request, TLS by rustls.

use basb_secrets::{Answer, Ask, Transport, TransportError};
use bytes::Bytes;
use futures_util::future::BoxFuture;
use http::header::HOST;
use http::{HeaderValue, Request};
use http_body_util::{BodyExt, Full, Limited};
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

/// The longest body of an answer.
const LONGEST: usize = 1 << 20;

/// Goes to the network, as the product's own transport does.
#[derive(Debug)]
pub struct RealTransport {
    tls: Arc<ClientConfig>,
    sent: AtomicUsize,
}

impl Default for RealTransport {
    fn default() -> Self {
        Self::trusting(Vec::new())
    }
}

impl RealTransport {
    /// A transport for `http` only: it trusts no certificate.
    #[must_use]
    pub fn new() -> Arc<Self> {
        Arc::new(Self::default())
    }

    /// A transport that trusts these certificates, given as DER.
    ///
    /// # Panics
    /// When a certificate cannot be read.
    #[must_use]
    pub fn trusting(certificates: Vec<CertificateDer<'static>>) -> Self {
        let mut roots = RootCertStore::empty();
        for certificate in certificates {
            roots.add(certificate).expect("a certificate");
        }
        let config = ClientConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
            .with_safe_default_protocol_versions()
            .expect("ring knows TLS 1.2 and 1.3")
            .with_root_certificates(roots)
            .with_no_client_auth();
        Self { tls: Arc::new(config), sent: AtomicUsize::new(0) }
    }

    /// How many requests were sent.
    #[must_use]
    pub fn sent(&self) -> usize {
        self.sent.load(Ordering::SeqCst)
    }

    async fn send(&self, ask: Ask) -> Result<Answer, TransportError> {
        self.sent.fetch_add(1, Ordering::SeqCst);
        let said = |what: &dyn std::fmt::Display| TransportError(what.to_string());
        let host = ask.url.host_str().ok_or_else(|| said(&"the URL has no host"))?.to_owned();
        let port = ask.url.port_or_known_default().ok_or_else(|| said(&"the URL has no port"))?;
        let tcp = TcpStream::connect((host.trim_matches(['[', ']']), port)).await.map_err(|e| said(&e))?;
        if ask.url.scheme() == "https" {
            let name = ServerName::try_from(host).map_err(|e| said(&e))?;
            let tls = TlsConnector::from(self.tls.clone()).connect(name, tcp).await.map_err(|e| said(&e))?;
            over(tls, ask).await
        } else {
            over(tcp, ask).await
        }
    }
}

impl Transport for RealTransport {
    fn exchange(&self, ask: Ask) -> BoxFuture<'_, Result<Answer, TransportError>> {
        let longest = ask.timeout;
        Box::pin(async move {
            tokio::time::timeout(longest, self.send(ask))
                .await
                .unwrap_or_else(|_| Err(TransportError(format!("no answer within {longest:?}"))))
        })
    }
}

async fn over(
    stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
    ask: Ask,
) -> Result<Answer, TransportError> {
    let said = |what: &dyn std::fmt::Display| TransportError(what.to_string());
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await.map_err(|e| said(&e))?;
    let driver = tokio::spawn(connection);
    let mut request = Request::new(Full::new(ask.body));
    *request.method_mut() = ask.method;
    let target = &ask.url[url::Position::BeforePath..url::Position::AfterQuery];
    *request.uri_mut() = target.parse().map_err(|e| said(&e))?;
    *request.headers_mut() = ask.headers;
    if !request.headers().contains_key(HOST) {
        let authority = &ask.url[url::Position::BeforeHost..url::Position::AfterPort];
        request.headers_mut().insert(HOST, HeaderValue::from_str(authority).map_err(|e| said(&e))?);
    }
    let answer = sender.send_request(request).await.map_err(|e| said(&e))?;
    let (parts, body) = answer.into_parts();
    let body: Bytes = Limited::new(body, LONGEST).collect().await.map_err(|e| said(&e))?.to_bytes();
    driver.abort();
    Ok(Answer { status: parts.status.as_u16(), headers: parts.headers, body })
}
