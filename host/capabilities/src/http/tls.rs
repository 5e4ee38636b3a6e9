//! Who is trusted in TLS. Certificates are read once, at the first HTTPS request: a run without one should not pay.

use crate::network::ConnectError;
use rustls::client::WantsClientCert;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::{ClientConfig, ConfigBuilder, RootCertStore};
use std::sync::{Arc, OnceLock};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

/// Who is trusted.
#[derive(Debug, Clone, Default)]
pub enum Roots {
    /// Whom the system trusts; `SSL_CERT_FILE` and `SSL_CERT_DIR` are honoured.
    #[default]
    System,
    /// These authorities only.
    Only(Vec<CertificateDer<'static>>),
}

/// TLS for clients.
#[derive(Debug, Clone)]
pub(crate) struct Tls {
    roots: Roots,
    store: Arc<OnceLock<Result<Arc<RootCertStore>, String>>>,
    config: Arc<OnceLock<Config>>,
    /// The protocol that is named in the handshake (RFC 7301).
    protocol: Option<&'static [u8]>,
}

/// The configuration, or why there is none.
type Config = Result<Arc<ClientConfig>, String>;

impl Tls {
    pub(crate) fn new(roots: Roots) -> Self {
        Self { roots, store: Arc::default(), config: Arc::default(), protocol: Some(b"http/1.1") }
    }

    fn store(&self) -> Result<Arc<RootCertStore>, String> {
        self.store.get_or_init(|| read_roots(&self.roots).map(Arc::new)).clone()
    }

    fn config(&self) -> Config {
        let build = || Ok(self.finished(builder(self.store()?)?.with_no_client_auth()));
        self.config.get_or_init(build).clone()
    }

    /// The same for mail, which names no protocol.
    pub(crate) fn for_mail(&self) -> Self {
        Self { config: Arc::default(), protocol: None, ..self.clone() }
    }

    fn finished(&self, mut config: ClientConfig) -> Arc<ClientConfig> {
        config.alpn_protocols = self.protocol.map(<[u8]>::to_vec).into_iter().collect();
        Arc::new(config)
    }

    /// The same that believes these authorities, as PEM, and nobody else: whom the system trusts cannot vouch for a
    /// destination that has an authority of its own.
    pub(super) fn believing(&self, certificates: &[u8]) -> Result<Self, String> {
        let mut store = RootCertStore::empty();
        for certificate in CertificateDer::pem_slice_iter(certificates) {
            let certificate = certificate.map_err(|error| format!("it cannot be read: {error}"))?;
            store.add(certificate).map_err(|error| error.to_string())?;
        }
        if store.is_empty() {
            return Err("it holds no certificate".to_owned());
        }
        Ok(Self { store: Arc::new(OnceLock::from(Ok(Arc::new(store)))), config: Arc::default(), ..self.clone() })
    }

    /// The same that shows this certificate chain, as PEM, with its key. Sessions are resumed by nobody else.
    pub(super) fn with_identity(&self, certificate: &[u8], key: &[u8]) -> Result<Self, String> {
        let chain: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(certificate).collect();
        let chain = chain.map_err(|error| format!("the chain cannot be read: {error}"))?;
        if chain.is_empty() {
            return Err("the chain holds no certificate".to_owned());
        }
        let key = PrivateKeyDer::from_pem_slice(key).map_err(|_| "the key cannot be read as PEM".to_owned())?;
        let config = builder(self.store()?)?.with_client_auth_cert(chain, key);
        let config = self.finished(config.map_err(|error| error.to_string())?);
        Ok(Self { config: Arc::new(OnceLock::from(Ok(config))), ..self.clone() })
    }

    /// The handshake on a connection to `host`.
    pub(crate) async fn handshake<S: AsyncRead + AsyncWrite + Unpin>(
        &self,
        host: &str,
        stream: S,
    ) -> Result<TlsStream<S>, ConnectError> {
        let failed = |why: String| ConnectError::Tls(host.to_owned(), why);
        let config = self.config().map_err(failed)?;
        let bare = host.strip_prefix('[').and_then(|t| t.strip_suffix(']')).unwrap_or(host);
        let name = ServerName::try_from(bare.to_owned()).map_err(|error| failed(error.to_string()))?;
        TlsConnector::from(config).connect(name, stream).await.map_err(|error| failed(error.to_string()))
    }
}

fn builder(store: Arc<RootCertStore>) -> Result<ConfigBuilder<ClientConfig, WantsClientCert>, String> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
    Ok(builder.map_err(|error| error.to_string())?.with_root_certificates(store))
}

fn read_roots(roots: &Roots) -> Result<RootCertStore, String> {
    let mut store = RootCertStore::empty();
    match roots {
        Roots::System => {
            let found = rustls_native_certs::load_native_certs();
            let (added, _) = store.add_parsable_certificates(found.certs);
            if added == 0 {
                let why = found.errors.first().map_or_else(|| "none are installed".to_owned(), ToString::to_string);
                return Err(format!(
                    "no trusted certificates were found ({why}); install `ca-certificates` or set SSL_CERT_FILE"
                ));
            }
        }
        Roots::Only(certificates) => {
            for certificate in certificates {
                store.add(certificate.clone()).map_err(|error| error.to_string())?;
            }
        }
    }
    Ok(store)
}
