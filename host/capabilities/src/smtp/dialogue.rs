//! The dialogue with a mail server (RFC 5321), with TLS (RFC 3207, RFC 8314) and a login (RFC 4954).
//!
//! Stops mail and passwords from being read on their way: where TLS is to be spoken, nothing is said before it but the
//! request for it, a server that does not offer it gets nothing, and a password is sent over TLS only. What a server
//! sends in the clear behind its consent to TLS was put there by somebody else (CVE-2011-0411): the dialogue ends then.

use super::message::base64;
use super::{Message, SmtpError};
use crate::grants::MailTls;
use crate::http::tls::Tls;
use basb_redact::SecretValue;
use tokio::io::{AsyncBufReadExt as _, AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _, BufReader};
use tokio::net::TcpStream;
use zeroize::Zeroizing;

pub(super) trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}
impl<T: AsyncRead + AsyncWrite + Send + Unpin> Stream for T {}

type Wire = BufReader<Box<dyn Stream>>;

/// User name and password.
pub(super) type Login = (String, SecretValue);

/// How to speak with a server.
pub(super) struct Manner<'a> {
    /// Its name, for its certificate.
    pub(super) host: &'a str,
    pub(super) security: MailTls,
    pub(super) tls: &'a Tls,
    pub(super) login: Option<Login>,
}

/// Whether what is said can be read by others.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Clear {
    Yes,
    No,
}

/// Hands a message over; gives the server's last answer.
pub(super) async fn converse(
    stream: TcpStream,
    manner: &Manner<'_>,
    message: &Message,
    data: &[u8],
) -> Result<String, SmtpError> {
    let unsafe_answer = |error: crate::network::ConnectError| SmtpError::Unavailable(error.to_string());
    let (mut wire, mut clear): (Wire, Clear) = match manner.security {
        MailTls::Implicit => {
            let secure = manner.tls.handshake(manner.host, stream).await.map_err(unsafe_answer)?;
            (BufReader::new(Box::new(secure)), Clear::No)
        }
        MailTls::StartTls | MailTls::None => (BufReader::new(Box::new(stream)), Clear::Yes),
    };
    answer(&mut wire, '2', "its greeting").await?;
    let mut offers = command(&mut wire, "EHLO localhost", '2').await?;
    if manner.security == MailTls::StartTls {
        if !offers.offer("STARTTLS") {
            return Err(SmtpError::Refused(
                "the server does not offer TLS (STARTTLS); if it speaks TLS from the start, write `tls: implicit`, and if \
                 the mail may be read on its way, `tls: none`"
                    .to_owned(),
            ));
        }
        command(&mut wire, "STARTTLS", '2').await?;
        if !wire.buffer().is_empty() {
            let text = "the server's consent to TLS was followed by something in the clear";
            return Err(SmtpError::Refused(text.to_owned()));
        }
        let secure = manner.tls.handshake(manner.host, wire.into_inner()).await.map_err(unsafe_answer)?;
        wire = BufReader::new(Box::new(secure));
        clear = Clear::No;
        offers = command(&mut wire, "EHLO localhost", '2').await?;
    }
    if let Some((username, password)) = &manner.login {
        if clear == Clear::Yes {
            return Err(SmtpError::Other("a password is never sent in the clear".to_owned()));
        }
        log_in(&mut wire, &offers, username, password).await?;
    }
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
    Ok(last.last)
}

async fn log_in(wire: &mut Wire, offers: &Answer, username: &str, password: &SecretValue) -> Result<(), SmtpError> {
    let mechanisms = offers.mechanisms();
    let offered = |name: &str| mechanisms.iter().any(|mechanism| mechanism.eq_ignore_ascii_case(name));
    if offered("PLAIN") {
        // RFC 4616: authorisation identity (none), user name, password.
        let mut plain = Zeroizing::new(vec![0]);
        plain.extend_from_slice(username.as_bytes());
        plain.push(0);
        plain.extend_from_slice(password.expose());
        say(wire, &Zeroizing::new(format!("AUTH PLAIN {}", *Zeroizing::new(base64(&plain))))).await?;
        answer(wire, '2', "the login").await?;
        Ok(())
    } else if offered("LOGIN") {
        command(wire, "AUTH LOGIN", '3').await?;
        say(wire, &base64(username.as_bytes())).await?;
        answer(wire, '3', "the user name").await?;
        say(wire, &Zeroizing::new(base64(password.expose()))).await?;
        answer(wire, '2', "the login").await?;
        Ok(())
    } else {
        let offered = if mechanisms.is_empty() { "none".to_owned() } else { mechanisms.join(", ") };
        Err(SmtpError::Refused(format!("the server takes no password (AUTH PLAIN or LOGIN); it offers: {offered}")))
    }
}

/// What a server said.
struct Answer {
    lines: Vec<String>,
    last: String,
}

impl Answer {
    fn offer(&self, word: &str) -> bool {
        self.keywords().any(|line| line.eq_ignore_ascii_case(word))
    }

    fn mechanisms(&self) -> Vec<String> {
        let auth = self.keywords().find(|line| line.get(..5).is_some_and(|front| front.eq_ignore_ascii_case("AUTH ")));
        auth.map(|line| line.split_whitespace().skip(1).map(str::to_owned).collect()).unwrap_or_default()
    }

    /// The lines of an answer to EHLO, without the code and without the first, which is a greeting.
    fn keywords(&self) -> impl Iterator<Item = &str> {
        self.lines.iter().skip(1).filter_map(|line| line.get(4..)).map(str::trim)
    }
}

async fn say(wire: &mut Wire, line: &str) -> Result<(), SmtpError> {
    let broke = |error: std::io::Error| SmtpError::Unavailable(format!("the connection broke: {error}"));
    let whole = Zeroizing::new(format!("{line}\r\n"));
    wire.write_all(whole.as_bytes()).await.map_err(broke)?;
    wire.flush().await.map_err(broke)
}

async fn command(wire: &mut Wire, line: &str, expected: char) -> Result<Answer, SmtpError> {
    say(wire, line).await?;
    answer(wire, expected, line.split(':').next().unwrap_or(line)).await
}

/// One answer, which may have several lines (`250-…`), bounded in size.
async fn answer(wire: &mut Wire, expected: char, to: &str) -> Result<Answer, SmtpError> {
    let mut lines: Vec<String> = Vec::new();
    let mut size = 0;
    loop {
        let mut line = Vec::new();
        let read = (&mut *wire).take(2000).read_until(b'\n', &mut line).await;
        let count = read.map_err(|error| SmtpError::Unavailable(format!("the connection broke: {error}")))?;
        size += count;
        if count == 0 || size > 16_000 {
            return Err(SmtpError::Unavailable(format!("the server ended the dialogue after {to}")));
        }
        let line = crate::printable(String::from_utf8_lossy(&line).trim_end(), 600);
        let goes_on = line.get(3..4) == Some("-");
        lines.push(line.clone());
        if !goes_on {
            return if line.starts_with(expected) {
                Ok(Answer { lines, last: line })
            } else {
                Err(SmtpError::Refused(format!("the server answered to {to}: {}", lines.join(" "))))
            };
        }
    }
}
