//! What a plugin may ask the host for: HTTP, TCP, files, programs, mail and the log.
//!
//! Each capability is one module with **one choke point** through which every request of every plugin goes, whatever
//! version of the interface it came by: [`http::Http::send`], [`tcp::Tcp::run`], [`files::Files`] (its `open`),
//! [`exec::Exec::run`], [`smtp::Smtp::send`], [`log::Log::write`]. Each checks the [`Grants`] of the [`CallScope`] first.
//! Every plugin gets at them through [`exchange::Exchanges`], where what passes is put on the call's tape.
//! What decides is a pure function in a file of its own, and the file says which attack it stops.
//!
//! **Must never** let anything through that the operator's grant does not cover, treat an unknown word in a grant as
//! if it were not there, or know of wasmtime or of the journal.

mod denial;
pub mod exchange;
pub mod exec;
pub mod files;
pub mod http;
mod limits;
pub mod log;
pub mod network;
pub mod outside;
mod placeholder;
mod record;
mod scope;
pub mod smtp;
pub mod tcp;

pub use basb_grants as grants;
pub use basb_grants::{Capability, GrantProblem, Grants, grant_lines, grants_schema, printable, yaml_value};
pub use limits::Limits;
pub use record::{Counters, HostCall, Verdict};
pub use scope::{CallScope, Caller, LogLevel, LogLine, Mode};

use basb_credentials::Credentials;
use basb_redact::Redactor;
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::{Arc, OnceLock};

/// What the host offers to all plugins of a run.
#[derive(Debug, Clone)]
pub struct Options {
    /// HTTP endpoints on unix sockets, by the name that grants use: `agent` is the one-machine cloud.
    pub sockets: BTreeMap<String, PathBuf>,
    /// The folder that relative paths in grants start from: the deployment file's.
    pub base_dir: PathBuf,
    /// The bounds of every call.
    pub limits: Limits,
    /// Who is trusted in TLS.
    pub roots: http::Roots,
    /// Knows the secrets that must not come back to a plugin.
    pub redactor: Redactor,
    /// Who turns names into addresses.
    pub resolver: Arc<dyn network::Resolver>,
    /// Who keeps granted programs.
    pub keeper: exec::keeper::Keeper,
    /// What stands in the network's place; nothing but in tests of plugins.
    pub outside: Option<Arc<dyn outside::Outside>>,
}

impl Options {
    /// No sockets, the default limits and the system's certificates. Granted programs are kept by this program, whose
    /// `main` must begin with [`exec::keeper::serve_if_asked`].
    #[must_use]
    pub fn new(base_dir: impl Into<PathBuf>) -> Self {
        Self {
            sockets: BTreeMap::new(),
            base_dir: base_dir.into(),
            limits: Limits::default(),
            roots: http::Roots::System,
            redactor: Redactor::default(),
            resolver: Arc::new(network::SystemResolver),
            keeper: exec::keeper::Keeper::this_program(),
            outside: None,
        }
    }
}

/// All capabilities. Cheap to clone; shared by every call.
#[derive(Debug, Clone)]
pub struct Capabilities {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    limits: Limits,
    redactor: Redactor,
    credentials: Arc<OnceLock<Arc<Credentials>>>,
    outside: Option<Arc<dyn outside::Outside>>,
    http: http::Http,
    tcp: tcp::Tcp,
    files: files::Files,
    exec: exec::Exec,
    smtp: smtp::Smtp,
    log: log::Log,
}

impl Capabilities {
    /// Sets them up. Opens nothing yet: certificates are read at the first HTTPS request.
    #[must_use]
    pub fn new(options: Options) -> Self {
        let Options { sockets, base_dir, limits, roots, redactor, resolver, keeper, outside } = options;
        let way = network::Network::new(resolver);
        let clean = || redactor.clone();
        let credentials: Arc<OnceLock<Arc<Credentials>>> = Arc::default();
        let http = http::Http::new(sockets, limits.clone(), roots, clean(), Arc::clone(&credentials), way.clone())
            .before(outside.clone());
        Self {
            inner: Arc::new(Inner {
                tcp: tcp::Tcp::new(limits.clone(), clean(), way.clone()).before(outside.clone()),
                files: files::Files::new(base_dir.clone(), limits.clone(), clean()),
                exec: exec::Exec::new(base_dir, limits.clone(), clean(), keeper).before(outside.clone()),
                smtp: smtp::Smtp::new(limits.clone(), clean(), way, &http.tls(), Arc::clone(&credentials))
                    .before(outside.clone()),
                log: log::Log::new(limits.clone(), clean()),
                http,
                limits,
                redactor,
                credentials,
                outside,
            }),
        }
    }

    /// The bounds of every call.
    #[must_use]
    pub fn limits(&self) -> &Limits {
        &self.inner.limits
    }

    /// Knows the secrets that must not come back to a plugin.
    #[must_use]
    pub fn redactor(&self) -> &Redactor {
        &self.inner.redactor
    }

    /// Gives the host the credentials of a deployment. They are read after the host is set up; only the first count.
    pub fn use_credentials(&self, credentials: Arc<Credentials>) {
        let _ = self.inner.credentials.set(credentials);
    }

    /// The host's own way to the network, for secret stores and token endpoints: to places that the operator named, this
    /// machine and metadata services included. At most 1 MiB comes back, and no redirect is followed. Never for anything
    /// that a plugin has a say in.
    #[must_use]
    pub fn transport(&self) -> Arc<dyn basb_secrets::Transport> {
        self.inner.http.transport()
    }

    /// What stands in the network's place, if anything does.
    pub(crate) fn outside(&self) -> Option<&dyn outside::Outside> {
        self.inner.outside.as_deref()
    }

    /// The one door to the network.
    #[must_use]
    pub fn http(&self) -> &http::Http {
        &self.inner.http
    }

    /// One exchange over TCP.
    #[must_use]
    pub fn tcp(&self) -> &tcp::Tcp {
        &self.inner.tcp
    }

    /// Files in granted folders.
    #[must_use]
    pub fn files(&self) -> &files::Files {
        &self.inner.files
    }

    /// Granted programs.
    #[must_use]
    pub fn exec(&self) -> &exec::Exec {
        &self.inner.exec
    }

    /// Mail through granted servers.
    #[must_use]
    pub fn smtp(&self) -> &smtp::Smtp {
        &self.inner.smtp
    }

    /// The host's log.
    #[must_use]
    pub fn log(&self) -> &log::Log {
        &self.inner.log
    }
}
