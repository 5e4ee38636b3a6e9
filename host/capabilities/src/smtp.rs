//! Mail through a server that the operator granted, in plain SMTP (RFC 5321).
//!
//! [`Smtp::send`] is the one choke point. Stops a plugin from sending through another server, as somebody else or to
//! somebody else than granted, and from smuggling commands or a second message through an address, a header or a line
//! of the text: no line end passes where none belongs, and bare line ends in the text become CR LF (the weakness behind
//! "SMTP smuggling" is a bare one in front of a dot).
//!
//! TLS and logging in come with the secrets store; until then a server that wants them answers with a refusal.

use crate::grants::{ServerGrant, TextPattern};
use crate::network::{self, ConnectError, Place};
use crate::scope::Taken;
use crate::{CallScope, Capability, Limits, Mode, denial, yaml_value};
use std::time::Instant;
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufStream};
use tokio::net::TcpStream;

/// A message.
#[derive(Debug, Clone, PartialEq, Eq)]
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
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
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
}

/// Whether an address can stand in a command: a plain `local@domain`.
fn is_address(text: &str) -> Result<(), String> {
    let plain = text.len() <= 254
        && text.bytes().all(|b| b.is_ascii_graphic() && !b"<>()[]\\,;:\"".contains(&b))
        && text
            .split_once('@')
            .is_some_and(|(local, domain)| !local.is_empty() && !domain.is_empty() && !domain.contains('@'));
    if plain { Ok(()) } else { Err(format!("`{}` is not a plain mail address", crate::printable(text, 100))) }
}

/// The message as it goes over the wire: headers, text, dots doubled, the final dot.
///
/// # Errors
/// A sentence that says what cannot be sent.
pub fn wire_format(message: &Message, date: &str) -> Result<Vec<u8>, String> {
    let mut out = String::new();
    let mut header = |name: &str, value: &str| {
        let token = !name.is_empty() && name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-');
        if !token || value.chars().any(char::is_control) || value.len() > 900 {
            return Err(format!(
                "the header `{}` cannot be sent: no control characters, at most 900 bytes",
                crate::printable(name, 60)
            ));
        }
        out.push_str(&format!("{name}: {}\r\n", encoded(value)));
        Ok(())
    };
    header("From", &message.from)?;
    header("To", &message.to.join(", "))?;
    header("Subject", &message.subject)?;
    header("Date", date)?;
    for (name, value) in &message.headers {
        const OURS: [&str; 9] =
            ["from", "to", "cc", "bcc", "subject", "date", "mime-version", "content-type", "content-transfer-encoding"];
        if OURS.contains(&name.to_ascii_lowercase().as_str()) {
            return Err(format!("the header `{}` is set by the host; leave it out", crate::printable(name, 60)));
        }
        header(name, value)?;
    }
    out.push_str(
        "MIME-Version: 1.0\r\nContent-Type: text/plain; charset=utf-8\r\nContent-Transfer-Encoding: base64\r\n\r\n",
    );
    // In base64 no line of the text can be too long, begin with a dot, or hold a bare line end.
    let text = message.text.replace("\r\n", "\n").replace('\r', "\n").replace('\n', "\r\n");
    for line in base64(text.as_bytes()).as_bytes().chunks(76) {
        out.push_str(&String::from_utf8_lossy(line));
        out.push_str("\r\n");
    }
    // Headers cannot begin with a dot either, so doubling is a second lock.
    let stuffed: String = out
        .split_inclusive("\r\n")
        .map(|line| if line.starts_with('.') { format!(".{line}") } else { line.to_owned() })
        .collect();
    Ok(format!("{stuffed}.\r\n").into_bytes())
}

/// A header value as ASCII (RFC 2047).
fn encoded(value: &str) -> String {
    if value.is_ascii() {
        return value.to_owned();
    }
    let mut words = Vec::new();
    let mut chunk = String::new();
    for c in value.chars() {
        if chunk.len() + c.len_utf8() > 42 {
            words.push(format!("=?utf-8?B?{}?=", base64(chunk.as_bytes())));
            chunk.clear();
        }
        chunk.push(c);
    }
    words.push(format!("=?utf-8?B?{}?=", base64(chunk.as_bytes())));
    words.join("\r\n ")
}

fn base64(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut out = String::with_capacity(bytes.len().div_ceil(3) * 4);
    for chunk in bytes.chunks(3) {
        let byte = |i: usize| u32::from(chunk.get(i).copied().unwrap_or(0));
        let bits = (byte(0) << 16) | (byte(1) << 8) | byte(2);
        for i in 0..4 {
            let digit = DIGITS.get((bits >> (18 - 6 * i)) as usize & 63).copied().unwrap_or(b'A');
            out.push(if i <= chunk.len() { char::from(digit) } else { '=' });
        }
    }
    out
}

/// Which grant covers a message.
fn decide<'a>(scope: &'a CallScope, message: &Message) -> Result<&'a ServerGrant, SmtpError> {
    let wanted = format!("mail from {} to {} through `{}`", message.from, message.to.join(", "), message.server);
    let denied = |lines: String| SmtpError::Denied(denial::not_granted(scope, &wanted, &lines));
    let server = yaml_value(&message.server);
    let Some(grant) = scope.grants.smtp.iter().find(|grant| grant.server == message.server) else {
        return Err(denied(format!("smtp:\n  - server: {server}\n    host: HOST\n    port: 25")));
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

/// The capability.
#[derive(Debug)]
pub struct Smtp {
    limits: Limits,
}

impl Smtp {
    pub(crate) fn new(limits: Limits) -> Self {
        Self { limits }
    }

    /// Hands a message to the server and returns its last answer: the one choke point of this capability.
    ///
    /// # Errors
    /// [`SmtpError`].
    pub async fn send(&self, scope: &CallScope, message: Message) -> Result<String, SmtpError> {
        let what = crate::printable(&format!("mail through {}", message.server), 100);
        let number = scope.counters.begin(Capability::Smtp, what, self.limits.kept_calls);
        let result = self.send_unseen(scope, message).await;
        scope
            .counters
            .finish(number, result.as_ref().map_or_else(|error| error.word().to_owned(), |_| "sent".to_owned()));
        result
    }

    async fn send_unseen(&self, scope: &CallScope, message: Message) -> Result<String, SmtpError> {
        if scope.counters.take_request(self.limits.requests) == Taken::Exhausted {
            return Err(SmtpError::Other(format!("{} has used up its requests", denial::who(scope))));
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
        let host = grant.host.to_string();
        let place = Place::parse(&host, grant.port).map_err(|why| {
            SmtpError::Other(format!("the server `{}` is granted with a pattern: {why}", grant.server))
        })?;
        let Some(reach) = place.covered_by(&grant.host, grant.resolves) else {
            return Err(SmtpError::Other(format!("`{host}` is not one host; grant the server by its own name")));
        };
        let longest = self.limits.http_timeout.min(scope.deadline.saturating_duration_since(Instant::now()));
        let work = async {
            let stream = network::connect(&place, reach).await.map_err(|error| match &error {
                ConnectError::Forbidden { class, .. } => {
                    SmtpError::Denied(denial::forbidden_address(scope, "mail", &error.to_string(), *class, &place))
                }
                _ => SmtpError::Unavailable(error.to_string()),
            })?;
            converse(BufStream::new(stream), &message, &data).await
        };
        match tokio::time::timeout(longest, work).await {
            Ok(result) => result,
            Err(_) => Err(SmtpError::Unavailable(format!("{place} did not answer within {} ms", longest.as_millis()))),
        }
    }
}

fn date_now() -> String {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
    let days = since.as_secs() / 86_400;
    // RFC 5322 wants its own form; civil-from-days is Howard Hinnant's algorithm.
    let (z, secs) = (days + 719_468, since.as_secs() % 86_400);
    let (era, doe) = (z / 146_097, z % 146_097);
    let yoe = (doe - doe / 1460 + doe / 36_524 - doe / 146_096) / 365;
    let doy = doe - (365 * yoe + yoe / 4 - yoe / 100);
    let mp = (5 * doy + 2) / 153;
    let (day, month) = (doy - (153 * mp + 2) / 5 + 1, if mp < 10 { mp + 3 } else { mp - 9 });
    let year = yoe + era * 400 + u64::from(month <= 2);
    const MONTHS: [&str; 12] = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];
    let name = usize::try_from(month).ok().and_then(|m| MONTHS.get(m - 1)).copied().unwrap_or("Jan");
    format!("{day} {name} {year} {:02}:{:02}:{:02} +0000", secs / 3600, secs / 60 % 60, secs % 60)
}

/// The dialogue with the server.
async fn converse(mut wire: BufStream<TcpStream>, message: &Message, data: &[u8]) -> Result<String, SmtpError> {
    answer(&mut wire, '2', "its greeting").await?;
    command(&mut wire, "EHLO localhost", '2').await?;
    command(&mut wire, &format!("MAIL FROM:<{}>", message.from), '2').await?;
    for to in &message.to {
        command(&mut wire, &format!("RCPT TO:<{to}>"), '2').await?;
    }
    command(&mut wire, "DATA", '3').await?;
    let broke = |error: std::io::Error| SmtpError::Unavailable(format!("the connection broke: {error}"));
    wire.write_all(data).await.map_err(broke)?;
    wire.flush().await.map_err(broke)?;
    let last = answer(&mut wire, '2', "the message").await?;
    // The message is accepted; how the server takes the leave does not matter.
    let _ = command(&mut wire, "QUIT", '2').await;
    Ok(last)
}

async fn command(wire: &mut BufStream<TcpStream>, line: &str, expected: char) -> Result<String, SmtpError> {
    let broke = |error: std::io::Error| SmtpError::Unavailable(format!("the connection broke: {error}"));
    wire.write_all(format!("{line}\r\n").as_bytes()).await.map_err(broke)?;
    wire.flush().await.map_err(broke)?;
    answer(wire, expected, line.split(':').next().unwrap_or(line)).await
}

/// One answer, which may have several lines (`250-…`), bounded in size.
async fn answer(wire: &mut BufStream<TcpStream>, expected: char, to: &str) -> Result<String, SmtpError> {
    let mut whole = String::new();
    loop {
        let mut line = Vec::new();
        let read = (&mut *wire).take(2000).read_until(b'\n', &mut line).await;
        let count = read.map_err(|error| SmtpError::Unavailable(format!("the connection broke: {error}")))?;
        let line = crate::printable(String::from_utf8_lossy(&line).trim_end(), 600);
        if count == 0 || whole.len() > 16_000 {
            return Err(SmtpError::Unavailable(format!("the server ended the dialogue after {to}")));
        }
        let goes_on = line.get(3..4) == Some("-");
        if !whole.is_empty() {
            whole.push(' ');
        }
        whole.push_str(&line);
        if !goes_on {
            return if line.starts_with(expected) {
                Ok(line)
            } else {
                Err(SmtpError::Refused(format!("the server answered to {to}: {whole}")))
            };
        }
    }
}

#[cfg(test)]
mod tests;
