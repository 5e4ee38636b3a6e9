//! Mail through a server that the operator granted, in plain SMTP (RFC 5321).
//!
//! [`Smtp::send`] is the one choke point. Stops a plugin from sending through another server, as somebody else or to
//! somebody else than granted, and from smuggling commands or a second message through an address, a header or a line
//! of the text: no line end passes where none belongs, and bare line ends in the text become CR LF (the weakness behind
//! "SMTP smuggling" is a bare one in front of a dot).
//!
//! TLS is spoken unless the operator wrote `tls: none`; a login is that of a credential, which the plugin never sees
//! (`dialogue`).

mod dialogue;
pub(crate) mod message;

use crate::grants::{MailTls, ServerGrant, TextPattern};
use crate::http::tls::Tls;
use crate::network::{ConnectError, Network, Place};
use crate::outside::Outside;
use crate::record::{Recording, Taken};
use crate::{CallScope, Capability, Limits, Mode, denial, placeholder, yaml_value};
use basb_credentials::{CredentialName, Credentials};
use basb_redact::Redactor;
use dialogue::{Login, Manner, converse};
use message::{date_now, is_address, wire_format};
use serde::{Deserialize, Serialize};
use std::sync::{Arc, OnceLock};
use std::time::Instant;

/// A message.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Message {
    /// The server's name in the grant.
    pub server: String,
    /// The sender's address.
    pub from: String,
    /// The recipients' addresses.
    pub to: Vec<String>,
    /// The subject line.
    pub subject: String,
    /// The text.
    pub text: String,
    /// Further header lines.
    pub headers: Vec<(String, String)>,
}

/// Why it was not sent. The texts are whole sentences for people.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[serde(rename_all = "camelCase")]
pub enum SmtpError {
    /// The grant does not cover server, sender or recipient; the text holds the lines that would.
    #[error("{0}")]
    Denied(String),
    /// No connection, or no answer in time.
    #[error("{0}")]
    Unavailable(String),
    /// The server said no.
    #[error("{0}")]
    Refused(String),
    /// Anything else.
    #[error("{0}")]
    Other(String),
}

impl SmtpError {
    fn word(&self) -> &'static str {
        match self {
            Self::Denied(_) => "denied",
            Self::Unavailable(_) => "unavailable",
            Self::Refused(_) => "refused",
            Self::Other(_) => "failed",
        }
    }

    fn redacted(mut self, redactor: &Redactor) -> Self {
        let (Self::Denied(text) | Self::Unavailable(text) | Self::Refused(text) | Self::Other(text)) = &mut self;
        *text = redactor.text(text).into_owned();
        self
    }
}

/// Which grant covers a message.
fn decide<'a>(scope: &'a CallScope, message: &Message) -> Result<&'a ServerGrant, SmtpError> {
    let wanted = format!("mail from {} to {} through `{}`", message.from, message.to.join(", "), message.server);
    if let Some(text) = denial::sealed(scope, &wanted) {
        return Err(SmtpError::Denied(text));
    }
    let denied = |lines: String| SmtpError::Denied(denial::not_granted(scope, &wanted, &lines));
    let server = yaml_value(&message.server);
    let Some(grant) = scope.grants.smtp.iter().find(|grant| grant.server == message.server) else {
        return Err(denied(format!("smtp:\n  - server: {server}\n    host: HOST\n    port: 587")));
    };
    for (key, patterns, addresses) in
        [("from", &grant.from, std::slice::from_ref(&message.from)), ("to", &grant.to, message.to.as_slice())]
    {
        let stray =
            addresses.iter().find(|address| !patterns.is_empty() && !patterns.iter().any(|p| p.covers(address)));
        if let Some(address) = stray {
            let address = yaml_value(&TextPattern::literal(address));
            let (host, port) = (yaml_value(&grant.host.to_string()), grant.port);
            return Err(denied(format!(
                "smtp:\n  - server: {server}\n    host: {host}\n    port: {port}\n    {key}: [{address}]"
            )));
        }
    }
    if scope.mode == Mode::ReadOnly {
        return Err(SmtpError::Denied(denial::refused(scope, &wanted, "this call may only read")));
    }
    Ok(grant)
}

/// Whether anything in a message holds a placeholder: nobody would replace it there.
fn holds_placeholder(message: &Message) -> bool {
    let headers = message.headers.iter().map(|(_, value)| value.as_bytes());
    headers.chain([message.subject.as_bytes(), message.text.as_bytes()]).any(placeholder::is_in)
}

/// The capability.
#[derive(Debug)]
pub struct Smtp {
    limits: Limits,
    redactor: Redactor,
    network: Network,
    tls: Tls,
    credentials: Arc<OnceLock<Arc<Credentials>>>,
    outside: Option<Arc<dyn Outside>>,
}

impl Smtp {
    pub(crate) fn new(
        limits: Limits,
        redactor: Redactor,
        network: Network,
        tls: &Tls,
        credentials: Arc<OnceLock<Arc<Credentials>>>,
    ) -> Self {
        Self { limits, redactor, network, tls: tls.for_mail(), credentials, outside: None }
    }

    /// The same with something else in the network's place.
    pub(crate) fn before(mut self, outside: Option<Arc<dyn Outside>>) -> Self {
        self.outside = outside;
        self
    }

    /// Hands a message to the server and returns its last answer: the one choke point of this capability.
    ///
    /// # Errors
    /// [`SmtpError`].
    pub async fn send(&self, scope: &CallScope, message: Message) -> Result<String, SmtpError> {
        let what = crate::printable(&format!("mail through {}", message.server), 100);
        let Some(recording) = scope.counters.begin(Capability::Smtp, &what, &self.limits, &self.redactor) else {
            return Err(SmtpError::Other(denial::too_many(scope, &self.limits)));
        };
        let result = self.send_unseen(scope, message, &recording).await;
        let result = result.map_err(|error| error.redacted(&self.redactor));
        match &result {
            Ok(answer) => recording.received(answer.len() as u64),
            Err(SmtpError::Denied(_)) => recording.deny(),
            Err(_) => {}
        }
        recording.finish(result.as_ref().map_or_else(|error| error.word(), |_| "sent"));
        result.map(|answer| self.redactor.text(&answer).into_owned())
    }

    async fn send_unseen(
        &self,
        scope: &CallScope,
        message: Message,
        recording: &Recording<'_>,
    ) -> Result<String, SmtpError> {
        if scope.counters.take_request(self.limits.requests) == Taken::Exhausted {
            return Err(SmtpError::Other(denial::requests_used_up(scope, &self.limits)));
        }
        let grant = decide(scope, &message)?;
        if message.to.is_empty() || message.to.len() > 100 {
            return Err(SmtpError::Other(format!("{} recipients; there must be 1 to 100", message.to.len())));
        }
        for address in std::iter::once(&message.from).chain(&message.to) {
            is_address(address).map_err(SmtpError::Other)?;
        }
        let data = wire_format(&message, &date_now()).map_err(SmtpError::Other)?;
        if data.len() > self.limits.request_bytes {
            return Err(SmtpError::Other(format!(
                "a message of {} bytes is over the limit of {}",
                data.len(),
                self.limits.request_bytes
            )));
        }
        if holds_placeholder(&message) {
            return Err(SmtpError::Denied(denial::misplaced_secret(scope, "mail")));
        }
        let host = grant.host.to_string();
        let place = Place::parse(&host, grant.port).map_err(|why| {
            SmtpError::Other(format!("the server `{}` is granted with a pattern: {why}", grant.server))
        })?;
        let Some(reach) = place.covered_by(&grant.host, grant.resolves) else {
            return Err(SmtpError::Other(format!("`{host}` is not one host; grant the server by its own name")));
        };
        let longest = self.limits.http_timeout.min(scope.deadline.saturating_duration_since(Instant::now()));
        let work = async {
            let (login, used) = self.login(scope, grant, &host).await?;
            recording.allow(data.len() as u64, used);
            if let Some(outside) = &self.outside {
                return outside.mail(&message).await;
            }
            let stream = self.network.connect(&place, reach).await.map_err(|error| match &error {
                ConnectError::Forbidden { class, .. } => {
                    SmtpError::Denied(denial::forbidden_address(scope, "mail", &error.to_string(), *class, &place))
                }
                ConnectError::Metadata(_) => SmtpError::Denied(denial::refused(scope, "mail", &error.to_string())),
                _ => SmtpError::Unavailable(error.to_string()),
            })?;
            let manner = Manner { host: &host, security: grant.tls, tls: &self.tls, login };
            converse(stream, &manner, &message, &data).await
        };
        match tokio::time::timeout(longest, work).await {
            Ok(result) => result,
            Err(_) => Err(SmtpError::Unavailable(format!("{place} did not answer within {} ms", longest.as_millis()))),
        }
    }

    /// What to log in with, and whose it is.
    async fn login(
        &self,
        scope: &CallScope,
        grant: &ServerGrant,
        host: &str,
    ) -> Result<(Option<Login>, Vec<CredentialName>), SmtpError> {
        let Some(name) = &grant.login else { return Ok((None, Vec::new())) };
        let wanted = format!("mail through `{}` with the credential `{name}`", grant.server);
        let refused = |why: &str| SmtpError::Denied(denial::refused(scope, &wanted, why));
        if grant.tls == MailTls::None {
            return Err(refused("a password is never sent in the clear; write `tls: starttls` or `tls: implicit`"));
        }
        let name = CredentialName::new(name.as_str()).map_err(|error| refused(&error.to_string()))?;
        if !scope.credentials.contains(&name) {
            return Err(SmtpError::Denied(denial::credential_not_given(scope, &wanted, &name)));
        }
        let Some(credentials) = self.credentials.get() else {
            return Err(refused("the deployment file has no `credentials`"));
        };
        let login = credentials.login(&scope.credentials, &name, host, grant.port).await;
        let login = login.map_err(|error| {
            let text = denial::credential(scope, &error, &wanted);
            // A store that does not answer is not what the plugin asked for.
            if error.code.starts_with("credential/") { SmtpError::Denied(text) } else { SmtpError::Other(text) }
        })?;
        Ok((Some(login), vec![name]))
    }
}

#[cfg(test)]
mod tests;
