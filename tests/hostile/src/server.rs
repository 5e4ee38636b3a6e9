//! The servers of attackers and victims: real listeners on 127.0.0.1 that remember everything that reaches them.

use futures_util::future::BoxFuture;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};

/// A request as it arrived.
#[derive(Debug, Clone)]
pub struct Arrived {
    /// The request line and the headers.
    pub head: String,
    /// The body.
    pub body: Vec<u8>,
}

impl Arrived {
    /// The value of a header.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.head
            .lines()
            .skip(1)
            .filter_map(|line| line.split_once(':'))
            .find_map(|(key, value)| key.eq_ignore_ascii_case(name).then(|| value.trim()))
    }

    /// The path and the query.
    pub fn target(&self) -> &str {
        self.head.split(' ').nth(1).unwrap_or_default()
    }
}

/// What a server does with a request.
type Answer = Arc<dyn Fn(Arrived, TcpStream) -> BoxFuture<'static, Option<TcpStream>> + Send + Sync>;

/// A server. Ends when it is dropped.
pub struct Server {
    /// Where it listens, on 127.0.0.1.
    pub port: u16,
    seen: Arc<Mutex<Vec<Arrived>>>,
    connections: Arc<AtomicUsize>,
    task: tokio::task::JoinHandle<()>,
}

impl Drop for Server {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Server {
    /// Answers each request with these bytes.
    pub async fn answering(answer: impl Fn(&Arrived) -> Vec<u8> + Send + Sync + 'static) -> Self {
        Self::start(Arc::new(move |arrived, mut stream: TcpStream| {
            let bytes = answer(&arrived);
            Box::pin(async move { stream.write_all(&bytes).await.ok().map(|()| stream) })
        }))
        .await
    }

    /// Answers each request with a status, headers and a body.
    pub async fn plain(status: u16, headers: &'static str, body: impl Into<Vec<u8>>) -> Self {
        let body = body.into();
        Self::answering(move |_| reply(status, headers, &body)).await
    }

    /// Says "hello" to everybody.
    pub async fn friendly() -> Self {
        Self::plain(200, "", "hello").await
    }

    /// Answers each request with pieces, with a pause before each.
    pub async fn slowly(pause: Duration, pieces: Vec<Vec<u8>>) -> Self {
        Self::start(Arc::new(move |_, mut stream: TcpStream| {
            let pieces = pieces.clone();
            Box::pin(async move {
                for piece in pieces {
                    stream.write_all(&piece).await.ok()?;
                    stream.flush().await.ok()?;
                    tokio::time::sleep(pause).await;
                }
                Some(stream)
            })
        }))
        .await
    }

    /// Answers each request with these bytes after a pause, and counts how many wait for that at once, at the most.
    pub async fn counting(pause: Duration, bytes: Vec<u8>) -> (Self, Arc<AtomicUsize>) {
        let (now, most) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
        let told = Arc::clone(&most);
        let server = Self::start(Arc::new(move |_, mut stream: TcpStream| {
            let (bytes, now, most) = (bytes.clone(), Arc::clone(&now), Arc::clone(&most));
            Box::pin(async move {
                most.fetch_max(now.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
                tokio::time::sleep(pause).await;
                // Before the answer: whoever has it may send the next request at once.
                now.fetch_sub(1, Ordering::SeqCst);
                stream.write_all(&bytes).await.ok().map(|()| stream)
            })
        }))
        .await;
        (server, told)
    }

    /// Answers each request with a head, and then with the same bytes for ever, with a pause before each.
    pub async fn endless(head: &'static str, pause: Duration, bytes: Vec<u8>) -> Self {
        Self::start(Arc::new(move |_, mut stream: TcpStream| {
            let bytes = bytes.clone();
            Box::pin(async move {
                stream.write_all(head.as_bytes()).await.ok()?;
                loop {
                    if !pause.is_zero() {
                        tokio::time::sleep(pause).await;
                    }
                    stream.write_all(&bytes).await.ok()?;
                }
            })
        }))
        .await
    }

    /// Takes connections and says nothing.
    pub async fn silent() -> Self {
        Self::start(Arc::new(|_, stream| {
            Box::pin(async move {
                let _open = stream;
                std::future::pending().await
            })
        }))
        .await
    }

    async fn start(answer: Answer) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let (seen, connections) = (Arc::new(Mutex::new(Vec::new())), Arc::new(AtomicUsize::new(0)));
        let (kept, count) = (Arc::clone(&seen), Arc::clone(&connections));
        let task = tokio::spawn(async move {
            loop {
                let Ok((stream, _)) = listener.accept().await else { continue };
                count.fetch_add(1, Ordering::SeqCst);
                let (answer, kept) = (Arc::clone(&answer), Arc::clone(&kept));
                tokio::spawn(async move {
                    let mut next = Some(stream);
                    while let Some(mut stream) = next {
                        let Some(arrived) = read(&mut stream, &kept).await else { return };
                        next = answer(arrived, stream).await;
                    }
                });
            }
        });
        Self { port, seen, connections, task }
    }

    /// A URL here.
    pub fn url(&self, path: &str) -> String {
        format!("http://127.0.0.1:{}{path}", self.port)
    }

    /// Everything that arrived.
    pub fn seen(&self) -> Vec<Arrived> {
        self.seen.lock().unwrap().clone()
    }

    /// How many connections there were, whether or not anything was said on them.
    pub fn connections(&self) -> usize {
        self.connections.load(Ordering::SeqCst)
    }

    /// Everything that arrived, as text, for a message.
    pub fn told(&self) -> String {
        let lines: Vec<String> =
            self.seen().iter().map(|a| format!("{:?} {:?}", a.head, String::from_utf8_lossy(&a.body))).collect();
        format!("{} connections: {}", self.connections(), lines.join("; "))
    }
}

/// A response with a length.
pub fn reply(status: u16, headers: &str, body: &[u8]) -> Vec<u8> {
    let mut out = format!("HTTP/1.1 {status} X\r\n{headers}content-length: {}\r\n\r\n", body.len()).into_bytes();
    out.extend_from_slice(body);
    out
}

/// Reads one request. What is no request is remembered too.
async fn read(stream: &mut TcpStream, seen: &Mutex<Vec<Arrived>>) -> Option<Arrived> {
    let mut all = Vec::new();
    let end = loop {
        if let Some(at) = all.windows(4).position(|four| four == b"\r\n\r\n") {
            break at + 4;
        }
        let mut some = [0; 4096];
        let count = stream.read(&mut some).await.unwrap_or(0);
        if count == 0 {
            if !all.is_empty() {
                seen.lock()
                    .unwrap()
                    .push(Arrived { head: String::from_utf8_lossy(&all).into_owned(), body: Vec::new() });
            }
            return None;
        }
        all.extend_from_slice(&some[..count]);
    };
    let mut arrived = Arrived { head: String::from_utf8_lossy(&all[..end]).into_owned(), body: all[end..].to_vec() };
    let length: usize = arrived.header("content-length").and_then(|text| text.parse().ok()).unwrap_or(0);
    while arrived.body.len() < length {
        let mut some = [0; 16 << 10];
        let count = stream.read(&mut some).await.ok().filter(|count| *count > 0)?;
        arrived.body.extend_from_slice(&some[..count]);
    }
    seen.lock().unwrap().push(arrived.clone());
    Some(arrived)
}
