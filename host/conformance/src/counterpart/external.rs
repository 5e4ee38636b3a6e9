//! A counterpart that is a process of its own on this machine: an emulator of a cloud, a real daemon, a model in whatever
//! language. Requests go to it as they would go out, whatever host they name; the faults are injected at the door in front
//! of it.
//!
//! It is set back and looked at through a control address of two requests: `POST RESET` and `GET STATE`, whose answer is
//! `{"there": …, "made": {"KIND": N}, "violations": []}`, all of them optional; and, where it can, a third that keeps its state
//! under a number and goes back to it.
//!
//! **Must never** lead anywhere but to this machine: loopback or a unix socket.

use super::{Answered, Counterpart, Pace, Saved, Sent, State};
use crate::KitError;
use basb_capabilities::http::HttpError;
use basb_core::{Millis, Timestamp};
use bytes::Bytes;
use futures_util::future::BoxFuture;
use http::header::HOST;
use http::{HeaderName, HeaderValue, Method, Request};
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use serde::Deserialize;
use serde_json::Value;
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpStream, UnixStream};
use tokio::process::{Child, Command};
use url::Url;

/// The largest answer, in bytes: what the host lets in.
const LARGEST: usize = 8 << 20;

/// The header that tells the virtual time.
const NOW: HeaderName = HeaderName::from_static("x-kit-now");

/// How long an answer may take.
const LONGEST: Duration = Duration::from_secs(60);

/// How long a process may take until it answers.
const STARTING: Duration = Duration::from_secs(60);

/// Where it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Place {
    /// `http://127.0.0.1:PORT`.
    Loopback(u16),
    /// `unix:/path`.
    Socket(PathBuf),
}

/// What a control address answers about the state.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct StateForm {
    there: Value,
    made: BTreeMap<String, u64>,
    violations: Vec<String>,
}

/// A request of the kit's own.
#[derive(Debug, Clone)]
struct Control {
    place: Place,
    method: Method,
    path: String,
}

/// A process on this machine.
#[derive(Debug)]
pub struct External {
    name: String,
    place: Place,
    reset: Option<Control>,
    state: Option<Control>,
    keep: Option<Control>,
    kept: AtomicU64,
    pace: Pace,
    /// Ended with this value.
    process: Option<Child>,
}

impl Place {
    /// Reads an address.
    ///
    /// # Errors
    /// [`KitError`] for what is not on this machine.
    pub fn parse(address: &str) -> Result<Self, KitError> {
        let wrong = || {
            KitError::new(
                "kit/not-loopback",
                format!("`{address}` is no address of this machine"),
                "write `http://127.0.0.1:PORT` or `unix:/path/to/socket`",
            )
        };
        if let Some(path) = address.strip_prefix("unix:") {
            return Ok(Self::Socket(PathBuf::from(path)));
        }
        let url = Url::parse(address).map_err(|_| wrong())?;
        let loopback = match url.host() {
            Some(url::Host::Ipv4(ip)) => ip.is_loopback(),
            Some(url::Host::Domain(name)) => name == "localhost",
            _ => false,
        };
        match (url.scheme(), loopback, url.port_or_known_default()) {
            ("http", true, Some(port)) => Ok(Self::Loopback(port)),
            _ => Err(wrong()),
        }
    }
}

/// What an external counterpart is made of.
#[derive(Debug, Clone, Default)]
pub struct ExternalSetup {
    /// Where requests go.
    pub address: String,
    /// What is run, if it is not there already.
    pub command: Vec<String>,
    /// The folder that the command runs in.
    pub folder: PathBuf,
    /// Where it is set back: a URL, or a path at its address.
    pub reset: Option<String>,
    /// Where it is looked at.
    pub state: Option<String>,
    /// Where its state is kept and gone back to.
    pub keep: Option<String>,
    /// What is asked for until it is there: a path.
    pub ready: Option<String>,
    /// How time passes there.
    pub pace: Pace,
}

impl External {
    /// Finds it, or starts it. `{port}` in the setup stands for a free port.
    ///
    /// # Errors
    /// [`KitError`] when it cannot be started or does not answer.
    pub async fn new(setup: &ExternalSetup) -> Result<Self, KitError> {
        let mut setup = setup.clone();
        let texts = [Some(&mut setup.address), setup.reset.as_mut(), setup.state.as_mut(), setup.keep.as_mut()];
        let wants_port = setup.command.iter().any(|part| part.contains("{port}"));
        if wants_port {
            let port = free_port()?.to_string();
            for text in texts.into_iter().flatten().chain(&mut setup.command) {
                *text = text.replace("{port}", &port);
            }
        }
        let place = Place::parse(&setup.address)?;
        let control = |text: &Option<String>, method: Method| -> Result<Option<Control>, KitError> {
            let Some(text) = text else { return Ok(None) };
            match text.strip_prefix('/') {
                Some(_) => Ok(Some(Control { place: place.clone(), method, path: text.clone() })),
                None => {
                    let url = Url::parse(text).map_err(|e| unusable(&format!("`{text}`: {e}")))?;
                    Ok(Some(Control { place: Place::parse(text)?, method, path: target(&url) }))
                }
            }
        };
        let (reset, state) = (control(&setup.reset, Method::POST)?, control(&setup.state, Method::GET)?);
        let keep = control(&setup.keep, Method::POST)?;
        let process = start(&setup)?;
        let name = match setup.command.first() {
            Some(program) => format!("external: {program} at {}", setup.address),
            None => format!("external: {}", setup.address),
        };
        let kept = AtomicU64::new(0);
        let mut this = Self { name, place, reset, state, keep, kept, pace: setup.pace, process };
        this.until_ready(setup.ready.as_deref()).await?;
        Ok(this)
    }

    async fn until_ready(&mut self, path: Option<&str>) -> Result<(), KitError> {
        let control = Control { place: self.place.clone(), method: Method::GET, path: path.unwrap_or("/").to_owned() };
        let began = tokio::time::Instant::now();
        loop {
            match control.ask().await {
                Ok(answer) if path.is_none() || answer.status < 500 => return Ok(()),
                Ok(answer) if began.elapsed() > STARTING => {
                    return Err(unusable(&format!("{} answers {} only", self.name, answer.status)));
                }
                Err(why) if began.elapsed() > STARTING => return Err(unusable(&why)),
                Err(_) => self.is_alive()?,
                Ok(_) => {}
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    }

    /// A process that has ended will not answer any more, however long it is waited for.
    fn is_alive(&mut self) -> Result<(), KitError> {
        match self.process.as_mut().map(Child::try_wait) {
            Some(Ok(Some(status))) => {
                let why = format!("the counterpart ended at once with {status}: {}", self.name);
                let next = "run the `command` of the kit file by hand; it has to stay in the foreground";
                Err(KitError::new("kit/counterpart", why, next))
            }
            _ => Ok(()),
        }
    }
}

fn unusable(why: &str) -> KitError {
    KitError::new("kit/counterpart", format!("the counterpart cannot be used: {why}"), "start it, or look at its log")
}

fn free_port() -> Result<u16, KitError> {
    let listener = std::net::TcpListener::bind(("127.0.0.1", 0)).map_err(|e| unusable(&e.to_string()))?;
    listener.local_addr().map(|address| address.port()).map_err(|e| unusable(&e.to_string()))
}

fn start(setup: &ExternalSetup) -> Result<Option<Child>, KitError> {
    let [program, args @ ..] = setup.command.as_slice() else { return Ok(None) };
    let mut command = Command::new(program);
    command.args(args).kill_on_drop(true).stdin(std::process::Stdio::null()).stdout(std::process::Stdio::null());
    if !setup.folder.as_os_str().is_empty() {
        command.current_dir(&setup.folder);
    }
    command.spawn().map(Some).map_err(|e| unusable(&format!("`{program}` cannot be started: {e}")))
}

/// Path and query.
fn target(url: &Url) -> String {
    match url.query() {
        Some(query) => format!("{}?{query}", url.path()),
        None => url.path().to_owned(),
    }
}

impl Control {
    /// The same with something after its path, which must be answered with success.
    async fn told(&self, query: &str, doing: &str) -> Result<(), KitError> {
        let control = Self { path: format!("{}?{query}", self.path), ..self.clone() };
        match control.ask().await {
            Ok(answer) if answer.status < 300 => Ok(()),
            Ok(answer) => Err(unusable(&format!("{doing} was answered {}", answer.status))),
            Err(why) => Err(unusable(&why)),
        }
    }

    async fn ask(&self) -> Result<Answered, String> {
        let mut request = Request::new(Full::new(Bytes::new()));
        *request.method_mut() = self.method.clone();
        *request.uri_mut() = self.path.parse().map_err(|e| format!("`{}`: {e}", self.path))?;
        request.headers_mut().insert(HOST, HeaderValue::from_static("127.0.0.1"));
        exchange(&self.place, request).await
    }
}

async fn exchange(place: &Place, request: Request<Full<Bytes>>) -> Result<Answered, String> {
    let work = async {
        match place {
            Place::Loopback(port) => {
                let stream =
                    TcpStream::connect(("127.0.0.1", *port)).await.map_err(|e| format!("no connection: {e}"))?;
                let _ = stream.set_nodelay(true);
                over(stream, request).await
            }
            Place::Socket(path) => {
                let stream = UnixStream::connect(path).await;
                over(stream.map_err(|e| format!("no connection: {}: {e}", path.display()))?, request).await
            }
        }
    };
    tokio::time::timeout(LONGEST, work).await.unwrap_or_else(|_| Err("it does not answer".to_owned()))
}

async fn over(
    stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
    request: Request<Full<Bytes>>,
) -> Result<Answered, String> {
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await.map_err(|e| e.to_string())?;
    let talking = tokio::spawn(connection);
    let response = sender.send_request(request).await.map_err(|e| e.to_string())?;
    let (head, body) = response.into_parts();
    let body = Limited::new(body, LARGEST).collect().await.map_err(|e| e.to_string())?.to_bytes().to_vec();
    talking.abort();
    let header = |(name, value): (&HeaderName, &HeaderValue)| {
        (name.as_str().to_owned(), String::from_utf8_lossy(value.as_bytes()).into_owned())
    };
    let headers = head.headers.iter().map(header).collect();
    Ok(Answered { status: head.status.as_u16(), headers, body })
}

impl Counterpart for External {
    fn name(&self) -> String {
        self.name.clone()
    }

    fn reset(&self) -> BoxFuture<'_, Result<(), KitError>> {
        Box::pin(async move {
            let Some(control) = &self.reset else { return Ok(()) };
            match control.ask().await {
                Ok(answer) if answer.status < 300 => Ok(()),
                Ok(answer) => Err(unusable(&format!("setting it back was answered {}", answer.status))),
                Err(why) => Err(unusable(&why)),
            }
        })
    }

    fn http<'a>(&'a self, sent: &'a Sent, now: Timestamp) -> BoxFuture<'a, Result<Answered, HttpError>> {
        Box::pin(async move {
            let invalid = |e: &dyn std::fmt::Display| HttpError::Invalid(format!("{}: {e}", sent.shown()));
            let mut request = Request::new(Full::new(Bytes::from(sent.body.clone())));
            *request.method_mut() = Method::from_bytes(sent.method.as_bytes()).map_err(|e| invalid(&e))?;
            *request.uri_mut() = target(&sent.url).parse().map_err(|e| invalid(&e))?;
            for (name, value) in &sent.headers {
                let name = HeaderName::from_bytes(name.as_bytes()).map_err(|e| invalid(&e))?;
                request.headers_mut().append(name, HeaderValue::from_str(value).map_err(|e| invalid(&e))?);
            }
            if self.pace == Pace::Virtual {
                request.headers_mut().insert(NOW, HeaderValue::from(now.0));
            }
            if !request.headers().contains_key(HOST) {
                // As the plugin named it: a signature covers it, and some tell their services apart by it.
                let host = match (sent.url.host_str(), sent.url.port()) {
                    (Some(host), Some(port)) => format!("{host}:{port}"),
                    (host, _) => host.unwrap_or_default().to_owned(),
                };
                request.headers_mut().insert(HOST, HeaderValue::from_str(&host).map_err(|e| invalid(&e))?);
            }
            exchange(&self.place, request).await.map_err(|why| HttpError::Connect(format!("{}: {why}", sent.shown())))
        })
    }

    fn state(&self, _now: Timestamp) -> BoxFuture<'_, Result<State, KitError>> {
        Box::pin(async move {
            let Some(control) = &self.state else { return Ok(State::default()) };
            let answer = control.ask().await.map_err(|why| unusable(&why))?;
            if answer.status >= 300 {
                return Err(unusable(&format!("its state was answered {}", answer.status)));
            }
            let form: StateForm = serde_json::from_slice(&answer.body)
                .map_err(|e| unusable(&format!("its state cannot be read: {e}")))?;
            Ok(State { there: form.there, made: form.made, violations: form.violations })
        })
    }

    fn save(&self) -> BoxFuture<'_, Result<Option<Saved>, KitError>> {
        Box::pin(async move {
            let Some(control) = &self.keep else { return Ok(None) };
            let number = self.kept.fetch_add(1, Ordering::Relaxed);
            control.told(&format!("as={number}"), "keeping its state").await?;
            Ok(Some(Arc::new(number) as Saved))
        })
    }

    fn restore<'a>(&'a self, saved: &'a Saved) -> BoxFuture<'a, Result<(), KitError>> {
        Box::pin(async move {
            let (Some(control), Some(number)) = (&self.keep, saved.downcast_ref::<u64>()) else { return Ok(()) };
            control.told(&format!("back={number}"), "going back").await
        })
    }

    fn pace(&self) -> Pace {
        self.pace
    }
}

/// The longest real pause for a wait of virtual time.
pub const LONGEST_PAUSE: Millis = Millis(250);

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_process_that_ends_is_told_at_once_with_its_status() {
        let setup = ExternalSetup {
            address: "http://127.0.0.1:{port}".to_owned(),
            command: ["sh", "-c", "exit 3 # {port}"].map(str::to_owned).to_vec(),
            ..ExternalSetup::default()
        };
        let began = tokio::time::Instant::now();
        let error = External::new(&setup).await.unwrap_err();
        assert_eq!(error.code, "kit/counterpart");
        assert!(error.message.contains("ended at once with exit status: 3"), "{error}");
        assert!(began.elapsed() < STARTING / 6, "{:?}", began.elapsed());
    }

    #[test]
    fn only_this_machine_is_a_place() {
        assert_eq!(Place::parse("http://127.0.0.1:5000").unwrap(), Place::Loopback(5000));
        assert_eq!(Place::parse("http://localhost:80").unwrap(), Place::Loopback(80));
        assert_eq!(Place::parse("unix:/run/x.sock").unwrap(), Place::Socket("/run/x.sock".into()));
        for other in ["http://10.0.0.1:1", "https://127.0.0.1", "http://example.com", "nonsense", "http://127.0.0.1@a"]
        {
            assert_eq!(Place::parse(other).unwrap_err().code, "kit/not-loopback", "{other}");
        }
    }
}
