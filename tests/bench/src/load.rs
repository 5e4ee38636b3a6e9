//! Load: so many keep-alive connections that each send the next request as soon as the last one is answered.
//!
//! Everything runs on one thread. A connection is driven by the task that uses it, so that the generator, which shares
//! the machine with what it measures, costs little.

use crate::Result;
use crate::load_reply::{self, Answer, Failure};
use bytes::Bytes;
use http::{Method, Request, Response, StatusCode, header};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use std::future::Future;
use std::net::SocketAddr;
use std::pin::pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::task::Poll;
use std::thread::JoinHandle;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};
use tokio::net::TcpStream;

/// What is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Call {
    /// The tool `vault_stats`, over MCP.
    Tool,
    /// `GET /healthz`: a request that a proxy may repeat.
    Health,
}

/// One request and what came of it. Times are in microseconds since the Unix epoch.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Sample {
    /// When it was sent.
    pub(crate) began: u64,
    /// When its answer was complete.
    pub(crate) ended: u64,
    /// What came back.
    pub(crate) answer: Answer,
}

/// All that a load saw, in no particular order.
#[derive(Debug, Default)]
pub(crate) struct Recorded {
    /// Every request.
    pub(crate) samples: Vec<Sample>,
    /// What the first few failures were.
    pub(crate) examples: Vec<String>,
}

/// A load under way.
#[derive(Debug)]
pub(crate) struct Load {
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<std::io::Result<Recorded>>>,
}

/// How many failures are described.
const EXAMPLES: usize = 5;

/// No answer takes this long, unless something hangs.
const PATIENCE: Duration = Duration::from_secs(30);

impl Load {
    /// Starts one.
    pub(crate) fn start(address: SocketAddr, call: Call, connections: usize) -> Result<Self> {
        let stop = Arc::new(AtomicBool::new(false));
        let user = User { address, call, stop: Arc::clone(&stop), clock: Clock::new()?, examples: Arc::default() };
        let thread = std::thread::Builder::new().name("load".to_owned()).spawn(move || user.all(connections))?;
        Ok(Self { stop, thread: Some(thread) })
    }

    /// Ends it after the requests under way.
    pub(crate) fn stop(mut self) -> Result<Recorded> {
        self.stop.store(true, Ordering::Relaxed);
        let thread = self.thread.take().ok_or("the load was stopped twice")?;
        Ok(thread.join().map_err(|_| "the load generator panicked")??)
    }
}

impl Drop for Load {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
    }
}

/// Wall-clock time that cannot jump.
#[derive(Debug, Clone, Copy)]
struct Clock {
    origin: Instant,
    at_origin: u64,
}

impl Clock {
    fn new() -> Result<Self> {
        let at_origin = u64::try_from(SystemTime::now().duration_since(UNIX_EPOCH)?.as_micros())?;
        Ok(Self { origin: Instant::now(), at_origin })
    }

    fn now(self) -> u64 {
        self.at_origin + u64::try_from(self.origin.elapsed().as_micros()).unwrap_or(u64::MAX / 2)
    }
}

/// What every connection knows.
#[derive(Clone)]
struct User {
    address: SocketAddr,
    call: Call,
    stop: Arc<AtomicBool>,
    clock: Clock,
    examples: Arc<Mutex<Vec<String>>>,
}

impl User {
    fn all(self, connections: usize) -> std::io::Result<Recorded> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let local = tokio::task::LocalSet::new();
        local.block_on(&runtime, async {
            let users: Vec<_> = (0..connections).map(|_| tokio::task::spawn_local(self.clone().one())).collect();
            let mut recorded = Recorded::default();
            for user in users {
                recorded.samples.extend(user.await.map_err(std::io::Error::other)?);
            }
            if let Ok(mut examples) = self.examples.lock() {
                recorded.examples.append(&mut examples);
            }
            Ok(recorded)
        })
    }

    async fn one(self) -> Vec<Sample> {
        let mut samples = Vec::with_capacity(1 << 14);
        let mut connection: Option<Connection> = None;
        let template = self.template();
        while !self.stop.load(Ordering::Relaxed) {
            let began = self.clock.now();
            let answered = self.request(&mut connection, &template).await;
            let answer = answered.unwrap_or_else(|problem| {
                connection = None;
                self.note(&problem);
                Answer::Failed(Failure::Transport)
            });
            samples.push(Sample { began, ended: self.clock.now(), answer });
            if answer == Answer::Failed(Failure::Transport) {
                // Nobody there: trying again at once would only spin.
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        }
        samples
    }

    fn note(&self, problem: &str) {
        if let Ok(mut examples) = self.examples.lock()
            && examples.len() < EXAMPLES
        {
            examples.push(problem.to_owned());
        }
    }

    async fn request(
        &self,
        kept: &mut Option<Connection>,
        template: &Request<Full<Bytes>>,
    ) -> std::result::Result<Answer, String> {
        if kept.as_mut().is_some_and(Connection::has_ended) {
            // Closed in good order between two requests: any client opens another one.
            *kept = None;
        }
        let connection = match kept {
            Some(connection) => connection,
            None => kept.insert(Connection::open(self.address).await?),
        };
        let exchange = connection.exchange(template.clone());
        let (status, body) = tokio::time::timeout(PATIENCE, exchange).await.map_err(|_| "no answer in 30 s")??;
        let answer = match self.call {
            Call::Tool => load_reply::tool(status, &body),
            Call::Health => load_reply::health(status, &body),
        };
        if let Answer::Failed(failure) = answer {
            let text = String::from_utf8_lossy(body.get(..300).unwrap_or(&body)).into_owned();
            self.note(&format!("{failure:?}: {status} {text}"));
        }
        Ok(answer)
    }

    fn template(&self) -> Request<Full<Bytes>> {
        let mut request = Request::new(Full::default());
        let host = header::HeaderValue::from_str(&self.address.to_string());
        request.headers_mut().insert(header::HOST, host.unwrap_or(header::HeaderValue::from_static("localhost")));
        match self.call {
            Call::Tool => load_reply::make_tool_call(&mut request),
            Call::Health => {
                *request.method_mut() = Method::GET;
                *request.uri_mut() = http::Uri::from_static("/healthz");
            }
        }
        request
    }
}

/// One keep-alive connection.
struct Connection {
    sender: http1::SendRequest<Full<Bytes>>,
    driver: Option<http1::Connection<TokioIo<TcpStream>, Full<Bytes>>>,
}

impl Connection {
    async fn open(address: SocketAddr) -> std::result::Result<Self, String> {
        let stream = TcpStream::connect(address).await.map_err(|error| format!("connect: {error}"))?;
        stream.set_nodelay(true).map_err(|error| format!("connect: {error}"))?;
        let (sender, driver) =
            http1::handshake(TokioIo::new(stream)).await.map_err(|error| format!("handshake: {error}"))?;
        Ok(Self { sender, driver: Some(driver) })
    }

    /// Whether the other end has closed it.
    fn has_ended(&mut self) -> bool {
        let mut context = std::task::Context::from_waker(std::task::Waker::noop());
        drive(&mut self.driver, &mut context);
        self.driver.is_none() || self.sender.is_closed()
    }

    async fn exchange(&mut self, request: Request<Full<Bytes>>) -> std::result::Result<(StatusCode, Bytes), String> {
        let Self { sender, driver } = self;
        let mut answer = pin!(async {
            sender.ready().await.map_err(|error| format!("connection: {error}"))?;
            let response: Response<Incoming> =
                sender.send_request(request).await.map_err(|error| format!("request: {error:?}"))?;
            let status = response.status();
            let body = response.into_body().collect().await.map_err(|error| format!("body: {error:?}"))?;
            Ok((status, body.to_bytes()))
        });
        std::future::poll_fn(|context| {
            if let Poll::Ready(answered) = answer.as_mut().poll(context) {
                return Poll::Ready(answered);
            }
            drive(driver, context);
            answer.as_mut().poll(context)
        })
        .await
    }
}

fn drive(
    driver: &mut Option<http1::Connection<TokioIo<TcpStream>, Full<Bytes>>>,
    context: &mut std::task::Context<'_>,
) {
    if let Some(connection) = driver
        && std::pin::Pin::new(connection).poll(context).is_ready()
    {
        *driver = None;
    }
}
