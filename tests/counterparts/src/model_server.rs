//! A server for models of documented APIs: takes requests on a free port, hands each to a function, keeps a record.

use bytes::Bytes;
use http::{HeaderMap, Method, Request, Response};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use std::convert::Infallible;
use std::sync::{Arc, Mutex, PoisonError};
use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use url::Url;

/// A request that a model received.
#[derive(Debug, Clone)]
pub struct Received {
    /// Its method.
    pub method: Method,
    /// Its path, as sent.
    pub path: String,
    /// Its query without the `?`; empty when there is none.
    pub query: String,
    /// Its headers.
    pub headers: HeaderMap,
    /// Its whole body.
    pub body: Bytes,
}

impl Received {
    /// The value of a header; empty when it is not there or not text.
    #[must_use]
    pub fn header(&self, name: &str) -> &str {
        self.headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default()
    }
}

/// What a model answers with: status, further headers, body. JSON unless a header says otherwise.
pub type Reply = (u16, Vec<(&'static str, String)>, String);

/// A server on 127.0.0.1; stopped when dropped.
#[derive(Debug)]
pub struct ModelServer {
    /// Where it answers, such as `http://127.0.0.1:43211/`.
    pub url: Url,
    received: Arc<Mutex<Vec<Received>>>,
    task: JoinHandle<()>,
}

impl ModelServer {
    /// Starts it; `answer` is called once for each request.
    ///
    /// # Panics
    /// When there is no port to listen on.
    pub async fn start(answer: impl Fn(&Received) -> Reply + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port of 127.0.0.1");
        let port = listener.local_addr().expect("a bound listener has an address").port();
        let received = Arc::new(Mutex::new(Vec::new()));
        let answer = Arc::new(answer);
        let record = received.clone();
        let task = tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let (record, answer) = (record.clone(), answer.clone());
                let service = service_fn(move |request| {
                    let (record, answer) = (record.clone(), answer.clone());
                    async move { Ok::<_, Infallible>(reply(request, &record, answer.as_ref()).await) }
                });
                tokio::spawn(http1::Builder::new().serve_connection(TokioIo::new(stream), service));
            }
        });
        Self { url: Url::parse(&format!("http://127.0.0.1:{port}/")).expect("a URL"), received, task }
    }

    /// Everything that it received so far.
    #[must_use]
    pub fn received(&self) -> Vec<Received> {
        self.received.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl Drop for ModelServer {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn reply(
    request: Request<Incoming>,
    record: &Mutex<Vec<Received>>,
    answer: &(impl Fn(&Received) -> Reply + Send + Sync),
) -> Response<Full<Bytes>> {
    let (parts, body) = request.into_parts();
    let body = body.collect().await.map(|body| body.to_bytes()).unwrap_or_default();
    let received = Received {
        method: parts.method,
        path: parts.uri.path().to_owned(),
        query: parts.uri.query().unwrap_or_default().to_owned(),
        headers: parts.headers,
        body,
    };
    let (status, headers, text) = answer(&received);
    record.lock().unwrap_or_else(PoisonError::into_inner).push(received);
    let mut response = Response::builder().status(status);
    if !headers.iter().any(|(name, _)| name.eq_ignore_ascii_case("content-type")) {
        response = response.header("content-type", "application/json");
    }
    for (name, value) in headers {
        response = response.header(name, value);
    }
    response.body(Full::new(text.into())).expect("a model's answer can be sent")
}
