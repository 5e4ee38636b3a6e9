//! A small service: what it does is in the path of the request, what it is in its environment.

use std::convert::Infallible;
use std::env;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response, StatusCode, header};
use http_body_util::combinators::BoxBody;
use http_body_util::{BodyExt, Full, StreamBody};
use hyper::body::{Frame, Incoming};
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::sync::Notify;

type Body = BoxBody<Bytes, Infallible>;

struct Facts {
    revision: String,
    go: Notify,
    dropped: AtomicU64,
}

pub fn main() {
    println!("\nupstream {} starts", env::var("REV").unwrap_or_default());
    if env::var("MODE").as_deref() == Ok("exit") {
        eprintln!("cannot find the database");
        std::process::exit(3);
    }
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(serve());
}

async fn serve() {
    let facts = Arc::new(Facts {
        revision: env::var("REV").unwrap_or_default(),
        go: Notify::new(),
        dropped: AtomicU64::new(0),
    });
    let port: u16 = env::var("PORT").unwrap().parse().unwrap();
    let listener = tokio::net::TcpListener::bind(("127.0.0.1", port)).await.unwrap();
    loop {
        let (stream, _) = listener.accept().await.unwrap();
        stream.set_nodelay(true).unwrap();
        let facts = Arc::clone(&facts);
        tokio::spawn(async move {
            let service = hyper::service::service_fn(move |request| answer(Arc::clone(&facts), request));
            let _ = hyper::server::conn::http1::Builder::new()
                .serve_connection(TokioIo::new(stream), service)
                .with_upgrades()
                .await;
        });
    }
}

fn text(text: impl Into<Bytes>) -> Response<Body> {
    Response::new(Full::new(text.into()).boxed())
}

async fn answer(facts: Arc<Facts>, mut request: Request<Incoming>) -> Result<Response<Body>, std::io::Error> {
    let path = request.uri().path().to_owned();
    let number = || request.uri().query().and_then(|query| query.split('=').nth(1)?.parse::<u64>().ok()).unwrap_or(0);
    Ok(match path.as_str() {
        "/healthz" => {
            let unready = env::var("UNREADY_FILE").is_ok_and(|file| std::path::Path::new(&file).exists());
            let mut response = text("health");
            if unready {
                *response.status_mut() = StatusCode::SERVICE_UNAVAILABLE;
            }
            response
        }
        "/slow" => {
            tokio::time::sleep(Duration::from_millis(number())).await;
            text(facts.revision.clone())
        }
        // Answers once somebody has said /go: lets a test hold a request in flight without a clock.
        "/hold" => {
            facts.go.notified().await;
            text(facts.revision.clone())
        }
        "/go" => {
            facts.go.notify_one();
            text("gone")
        }
        "/events" => {
            let steps = futures_util::stream::unfold(0_u8, move |step| {
                let facts = Arc::clone(&facts);
                async move {
                    match step {
                        0 => {}
                        1 | 2 => facts.go.notified().await,
                        _ => return None,
                    }
                    let event = Bytes::from(format!("data: {step}\n\n"));
                    Some((Ok::<_, Infallible>(Frame::data(event)), step + 1))
                }
            });
            let mut response = Response::new(BodyExt::boxed(StreamBody::new(SyncStream(Box::pin(steps)))));
            response.headers_mut().insert(header::CONTENT_TYPE, "text/event-stream".parse().unwrap());
            response
        }
        "/echo" => text(request.into_body().collect().await.map_err(std::io::Error::other)?.to_bytes()),
        "/headers" => {
            let lines: Vec<String> = request
                .headers()
                .iter()
                .map(|(name, value)| format!("{name}: {}", value.to_str().unwrap_or("?")))
                .collect();
            let mut response = text(format!("{} {}\n{}\n", request.method(), request.uri(), lines.join("\n")));
            response.headers_mut().insert("x-hop", "1".parse().unwrap());
            response.headers_mut().insert("keep-alive", "timeout=5".parse().unwrap());
            response.headers_mut().insert("x-kept", "1".parse().unwrap());
            response
        }
        "/status" => {
            let mut response = text("as asked");
            *response.status_mut() = StatusCode::from_u16(number() as u16).unwrap();
            response
        }
        // Breaks the connection after the request was read, every other time.
        "/drop" => {
            let before = facts.dropped.fetch_add(1, Ordering::SeqCst);
            if before.is_multiple_of(2) {
                return Err(std::io::Error::other("dropped"));
            }
            text(format!("{}", before + 1))
        }
        "/dropped" => text(facts.dropped.load(Ordering::SeqCst).to_string()),
        "/close" => {
            let mut response = text(facts.revision.clone());
            response.headers_mut().insert(header::CONNECTION, "close".parse().unwrap());
            response
        }
        "/environment" => {
            let all: Vec<String> = env::vars().map(|(name, value)| format!("{name}={value}")).collect();
            text(all.join("\n"))
        }
        "/limits" => text(std::fs::read("/proc/self/limits").unwrap()),
        "/tunnel" => {
            tokio::spawn(async move {
                let upgraded = hyper::upgrade::on(&mut request).await.unwrap();
                let mut io = TokioIo::new(upgraded);
                let mut buffer = [0; 64];
                while let Ok(read) = io.read(&mut buffer).await {
                    if read == 0 || io.write_all(&buffer[..read].to_ascii_uppercase()).await.is_err() {
                        break;
                    }
                }
            });
            let mut response = text("");
            *response.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
            response.headers_mut().insert(header::CONNECTION, "upgrade".parse().unwrap());
            response.headers_mut().insert(header::UPGRADE, "shout".parse().unwrap());
            response
        }
        "/say" => {
            println!("said {}", request.uri().query().unwrap_or_default());
            text("said")
        }
        _ => text(facts.revision.clone()),
    })
}

/// A stream that is only ever polled through `&mut`, and so is shareable.
struct SyncStream<T>(T);

impl<T: futures_util::Stream + Unpin> futures_util::Stream for SyncStream<T> {
    type Item = T::Item;
    fn poll_next(
        mut self: std::pin::Pin<&mut Self>,
        context: &mut std::task::Context<'_>,
    ) -> std::task::Poll<Option<T::Item>> {
        std::pin::Pin::new(&mut self.0).poll_next(context)
    }
}
