//! A scripted counterpart as a process of its own, with a control address: what an external counterpart is tested with.

use basb_conformance::counterpart::{Answered, Counterpart, Sent};
use basb_conformance::script::Scripted;
use basb_core::Timestamp;
use http::{HeaderName, HeaderValue, Response, StatusCode};
use http_body_util::{BodyExt as _, Full};
use hyper::body::{Bytes, Incoming};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use serde_json::json;
use std::convert::Infallible;
use std::net::Ipv4Addr;
use std::path::Path;
use std::sync::Arc;
use std::time::Instant;
use tokio::net::TcpListener;
use url::Url;

/// Its clock runs faster than ours: a test should not wait for what a cloud takes.
const FASTER: u128 = 20;

/// Serves a script on 127.0.0.1 until it is ended.
pub async fn serve(script: &Path, port: u16) {
    let script = serde_json::from_value(read(script)).expect("a script");
    let counterpart = Arc::new(Scripted::new(script).expect("a script"));
    let began = Instant::now();
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, port)).await.expect("a free port");
    while let Ok((stream, _)) = listener.accept().await {
        let counterpart = Arc::clone(&counterpart);
        let service = service_fn(move |request| {
            let now = u64::try_from(began.elapsed().as_millis() * FASTER).unwrap_or(u64::MAX);
            answer(request, Arc::clone(&counterpart), Timestamp(now))
        });
        tokio::spawn(async move {
            // A client that goes is what this is about.
            let _ = http1::Builder::new().serve_connection(TokioIo::new(stream), service).await;
        });
    }
}

fn read(path: &Path) -> serde_json::Value {
    let text = std::fs::read_to_string(path).expect("a file");
    serde_saphyr::from_str(&text).expect("YAML")
}

async fn answer(
    request: hyper::Request<Incoming>,
    counterpart: Arc<Scripted>,
    now: Timestamp,
) -> Result<Response<Full<Bytes>>, Infallible> {
    let (head, body) = request.into_parts();
    let Ok(body) = body.collect().await else { return Ok(Response::default()) };
    let answered = match (head.method.as_str(), head.uri.path()) {
        ("POST", "/kit/reset") => {
            counterpart.reset().await.expect("a reset");
            Answered::json(200, &json!({}))
        }
        ("GET", "/kit/state") => {
            let state = counterpart.state(now).await.expect("a state");
            Answered::json(200, &json!({ "there": state.there, "made": state.made, "violations": state.violations }))
        }
        ("GET", "/kit/ready") => Answered::json(200, &json!({})),
        _ => {
            let host = head.headers.get("host").and_then(|host| host.to_str().ok()).unwrap_or("nobody");
            let header = |(name, value): (&HeaderName, &HeaderValue)| {
                (name.as_str().to_owned(), String::from_utf8_lossy(value.as_bytes()).into_owned())
            };
            let sent = Sent {
                method: head.method.to_string(),
                url: Url::parse(&format!("https://{host}{}", head.uri)).expect("a URL"),
                headers: head.headers.iter().map(header).collect(),
                body: body.to_bytes().to_vec(),
            };
            counterpart.http(&sent, now).await.expect("an answer")
        }
    };
    let mut response = Response::new(Full::new(Bytes::from(answered.body)));
    *response.status_mut() = StatusCode::from_u16(answered.status).expect("a status");
    for (name, value) in &answered.headers {
        let name = HeaderName::try_from(name.as_str()).expect("a name");
        response.headers_mut().append(name, HeaderValue::try_from(value.as_str()).expect("a value"));
    }
    Ok(response)
}
