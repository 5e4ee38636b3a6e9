//! Who is trusted in TLS. Certificates are read once, at the first HTTPS request: a run without one should not pay.

use crate::network::ConnectError;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use std::sync::{Arc, OnceLock};
use tokio::net::TcpStream;
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
pub(super) struct Tls {
    roots: Roots,
    config: Arc<OnceLock<Config>>,
}

/// The configuration, or why there is none.
type Config = Result<Arc<ClientConfig>, String>;

impl Tls {
    pub(super) fn new(roots: Roots) -> Self {
        Self { roots, config: Arc::default() }
    }

    fn config(&self) -> Config {
        self.config.get_or_init(|| build(&self.roots)).clone()
    }

    /// The handshake on a connection to `host`.
    pub(super) async fn handshake(&self, host: &str, stream: TcpStream) -> Result<TlsStream<TcpStream>, ConnectError> {
        let failed = |why: String| ConnectError::Tls(host.to_owned(), why);
        let config = self.config().map_err(failed)?;
        let bare = host.strip_prefix('[').and_then(|t| t.strip_suffix(']')).unwrap_or(host);
        let name = ServerName::try_from(bare.to_owned()).map_err(|error| failed(error.to_string()))?;
        TlsConnector::from(config).connect(name, stream).await.map_err(|error| failed(error.to_string()))
    }
}

fn build(roots: &Roots) -> Config {
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
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let mut config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|error| error.to_string())?
        .with_root_certificates(store)
        .with_no_client_auth();
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(Arc::new(config))
}
