//! What the operator grants to one plugin, read from the deployment file.
//!
//! Stops a typing error from becoming a permission, or from silently taking one away: an unknown capability, an unknown
//! key or a value out of place is an error, never ignored; there is no `all`.

use crate::{ActionPattern, Capability, ContainersGrant, HostPattern, PathPattern, QueryParameter, TextPattern, parse};
use std::collections::BTreeSet;
use std::path::PathBuf;

/// Something wrong with grants.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct GrantProblem {
    /// The JSON pointer to the value that is wrong, below `grants`.
    pub pointer: String,
    /// What is wrong.
    pub message: String,
    /// What to write instead.
    pub help: String,
}

/// What the operator grants to one plugin. The default grants nothing.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Grants {
    /// HTTP requests.
    pub http: Vec<HttpGrant>,
    /// TCP exchanges.
    pub tcp: Vec<TcpGrant>,
    /// Folders.
    pub files: Vec<FolderGrant>,
    /// Programs.
    pub exec: Vec<ProgramGrant>,
    /// Mail servers.
    pub smtp: Vec<ServerGrant>,
}

impl Grants {
    /// Reads the value of `grants` in a deployment file. `null` and `{}` grant nothing.
    ///
    /// # Errors
    /// Everything that is wrong with it.
    pub fn parse(value: &serde_json::Value) -> Result<Self, Vec<GrantProblem>> {
        parse::grants(value)
    }

    /// Whether anything of this capability is granted. The log always is.
    #[must_use]
    pub fn covers(&self, capability: Capability) -> bool {
        match capability {
            Capability::Log => true,
            Capability::Http => !self.http.is_empty(),
            Capability::Tcp => !self.tcp.is_empty(),
            Capability::Exec => !self.exec.is_empty(),
            Capability::Files => !self.files.is_empty(),
            Capability::Smtp => !self.smtp.is_empty(),
        }
    }

    /// What is granted, in lines for people: the last word on what a plugin can do.
    #[must_use]
    pub fn summary(&self) -> Vec<(Capability, String)> {
        let http = self.http.iter().map(|grant| (Capability::Http, grant.to_string()));
        let tcp = self.tcp.iter().map(|grant| (Capability::Tcp, grant.to_string()));
        let files = self.files.iter().map(|grant| (Capability::Files, grant.to_string()));
        let exec = self.exec.iter().map(|grant| (Capability::Exec, grant.to_string()));
        let smtp = self.smtp.iter().map(|grant| (Capability::Smtp, grant.to_string()));
        http.chain(tcp).chain(files).chain(exec).chain(smtp).collect()
    }
}

/// `http` or `https`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scheme {
    /// In the clear.
    Http,
    /// Over TLS.
    Https,
}

impl Scheme {
    /// As in a URL.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Http => "http",
            Self::Https => "https",
        }
    }

    /// The port that a URL need not name.
    #[must_use]
    pub fn default_port(self) -> u16 {
        match self {
            Self::Http => 80,
            Self::Https => 443,
        }
    }
}

/// To which addresses a granted name may lead.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Resolves {
    /// Public ones only.
    #[default]
    Public,
    /// Private ones too (RFC 1918, RFC 4193, RFC 6598).
    Private,
}

/// HTTP requests.
#[derive(Debug, Clone, PartialEq)]
pub struct HttpGrant {
    /// Where to.
    pub to: HttpTarget,
    /// With which methods.
    pub methods: BTreeSet<String>,
    /// To which paths.
    pub path: PathPattern,
    /// To which AWS actions; empty where the action does not matter. A grant with actions covers only requests whose
    /// action can be told beyond doubt.
    pub actions: Vec<ActionPattern>,
    /// Which of them read although their method is not GET or HEAD.
    pub reads: Vec<ReadRule>,
    /// Which operations of a container engine; nothing where the socket is no such engine's.
    pub containers: Option<ContainersGrant>,
}

/// Where HTTP requests may go.
#[derive(Debug, Clone, PartialEq)]
pub enum HttpTarget {
    /// A host.
    Host {
        /// Its name.
        host: HostPattern,
        /// By which scheme.
        scheme: Scheme,
        /// On which port.
        port: u16,
        /// To which addresses the name may lead.
        resolves: Resolves,
    },
    /// A unix socket: `http://NAME.socket.internal/…`.
    Socket {
        /// The name in the URL.
        name: String,
        /// Where it is, absolute; nothing where the host knows it by its name.
        at: Option<PathBuf>,
    },
    /// The origin of the URL that the host gave to the call.
    Service,
}

/// A class of requests that only read.
#[derive(Debug, Clone, PartialEq)]
pub enum ReadRule {
    /// Those with this method.
    Method(String),
    /// Those to these paths.
    Path(PathPattern),
    /// Those with these AWS actions.
    Action(ActionPattern),
    /// Those with this parameter in the query.
    Query(QueryParameter),
}

/// One exchange over TCP.
#[derive(Debug, Clone, PartialEq)]
pub enum TcpGrant {
    /// With this host and port.
    Host {
        /// Its name.
        host: HostPattern,
        /// The port.
        port: u16,
        /// To which addresses the name may lead.
        resolves: Resolves,
        /// Whether it changes anything there.
        effect: Effect,
    },
    /// With the origin of the URL that the host gave to the call.
    Service {
        /// Whether it changes anything there.
        effect: Effect,
    },
}

impl TcpGrant {
    /// Whether an exchange changes anything.
    #[must_use]
    pub fn effect(&self) -> Effect {
        match self {
            Self::Host { effect, .. } | Self::Service { effect } => *effect,
        }
    }
}

/// What may be done in a folder.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Access {
    /// Reading.
    Read,
    /// Reading and writing.
    ReadWrite,
}

/// A folder.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FolderGrant {
    /// The name that the plugin uses.
    pub folder: String,
    /// Where it is; relative to the deployment file.
    pub path: PathBuf,
    /// What may be done in it.
    pub access: Access,
}

/// Whether a program, or an exchange over TCP, changes anything outside.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Effect {
    /// It only reads, so it may happen during `plan`.
    Read,
    /// It may change something.
    #[default]
    Change,
}

/// A program with one form of arguments.
#[derive(Debug, Clone, PartialEq)]
pub struct ProgramGrant {
    /// The name that the plugin uses. Several grants of one name are alternatives.
    pub program: String,
    /// Where it is, absolute.
    pub path: PathBuf,
    /// The digest that the file must have: 64 hexadecimal digits.
    pub sha256: Option<String>,
    /// One pattern for each argument, in order; a last `**` stands for any number of further ones.
    pub args: Vec<TextPattern>,
    /// Variables that the plugin may set.
    pub env: BTreeSet<String>,
    /// The folder that it starts in; relative to the deployment file, whose own folder it is where there is none.
    pub folder: Option<PathBuf>,
    /// Whether it changes anything.
    pub effect: Effect,
}

/// How mail is kept from being read on its way.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MailTls {
    /// Not at all: the operator wrote `none`.
    None,
    /// From the second command on (RFC 3207). A server that does not offer it gets no mail.
    StartTls,
    /// From the first byte on (RFC 8314).
    Implicit,
}

impl MailTls {
    /// What a port stands for where nothing is written (RFC 8314): never the lack of it.
    #[must_use]
    pub fn of_port(port: u16) -> Self {
        if port == 465 { Self::Implicit } else { Self::StartTls }
    }

    /// As in a grant.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::StartTls => "starttls",
            Self::Implicit => "implicit",
        }
    }
}

/// A mail server.
#[derive(Debug, Clone, PartialEq)]
pub struct ServerGrant {
    /// The name that the plugin uses.
    pub server: String,
    /// Its host.
    pub host: HostPattern,
    /// Its port.
    pub port: u16,
    /// To which addresses the name may lead.
    pub resolves: Resolves,
    /// Senders; empty for all.
    pub from: Vec<TextPattern>,
    /// Recipients; empty for all.
    pub to: Vec<TextPattern>,
    /// How the mail is kept from being read on its way.
    pub tls: MailTls,
    /// The credential to log in with: the name of one of the kind `basic` that is bound to this server.
    pub login: Option<String>,
}

mod show {
    use super::{Access, Effect, FolderGrant, HttpGrant, HttpTarget, MailTls, ProgramGrant, ServerGrant, TcpGrant};
    use std::fmt;

    fn joined<T: fmt::Display>(items: impl IntoIterator<Item = T>, between: &str) -> String {
        items.into_iter().map(|item| item.to_string()).collect::<Vec<_>>().join(between)
    }

    impl fmt::Display for HttpGrant {
        fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            if let (HttpTarget::Socket { name, at }, Some(containers)) = (&self.to, &self.containers) {
                let at = at.as_deref().map(|at| format!(" at {}", at.display())).unwrap_or_default();
                return write!(f, "the container engine `{name}`{at}: {containers}");
            }
            write!(f, "{} ", joined(&self.methods, ", "))?;
            match &self.to {
                HttpTarget::Host { host, scheme, port, .. } if *port == scheme.default_port() => {
                    write!(f, "{}://{host}", scheme.as_str())?;
                }
                HttpTarget::Host { host, scheme, port, .. } => write!(f, "{}://{host}:{port}", scheme.as_str())?,
                HttpTarget::Socket { name, at: None } => write!(f, "socket {name}, ")?,
                HttpTarget::Socket { name, at: Some(at) } => write!(f, "socket {name} at {}, ", at.display())?,
                HttpTarget::Service => f.write_str("the service's own URL, ")?,
            }
            write!(f, "{}", self.path)?;
            if self.actions.is_empty() { Ok(()) } else { write!(f, " with {}", joined(&self.actions, ", ")) }
        }
    }

    impl fmt::Display for TcpGrant {
        fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            match self {
                Self::Host { host, port, .. } => write!(f, "{host}:{port}")?,
                Self::Service { .. } => f.write_str("the service's own host and port")?,
            }
            if self.effect() == Effect::Read { f.write_str(", only reading") } else { Ok(()) }
        }
    }

    impl fmt::Display for FolderGrant {
        fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            let access = match self.access {
                Access::Read => "read",
                Access::ReadWrite => "read and write",
            };
            write!(f, "{access} {} as `{}`", self.path.display(), self.folder)
        }
    }

    impl fmt::Display for ProgramGrant {
        fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            write!(f, "{} {}", self.path.display(), joined(&self.args, " "))?;
            if let Some(folder) = &self.folder {
                write!(f, " in {}", folder.display())?;
            }
            if self.effect == Effect::Read { f.write_str(", only reading") } else { Ok(()) }
        }
    }

    impl fmt::Display for ServerGrant {
        fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            write!(f, "{}:{} as `{}`", self.host, self.port, self.server)?;
            if self.tls == MailTls::None {
                f.write_str(", in the clear")?;
            }
            if let Some(login) = &self.login {
                write!(f, ", with the credential `{login}`")?;
            }
            Ok(())
        }
    }
}
