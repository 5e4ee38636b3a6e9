//! The trivial service: answers every request with the same few bytes, so that the proxy in front is what costs.

use crate::Result;
use bytes::Bytes;
use http::{HeaderValue, Request, Response, header};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use std::net::Ipv4Addr;
use tokio::net::TcpListener;

/// What to be.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The release to answer as
    #[arg(long)]
    release: u8,
    /// The port on 127.0.0.1
    #[arg(long, env = "PORT")]
    port: u16,
}

/// Serves until it is killed.
pub(crate) fn run(args: &Args) -> Result<String> {
    let body = Bytes::from(format!(
        r#"{{"jsonrpc":"2.0","id":1,"result":{{"content":[],"structuredContent":{{"release":{0}}}}},"release":{0}}}"#,
        args.release
    ));
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, args.port)).await?;
        loop {
            let (stream, _) = listener.accept().await?;
            stream.set_nodelay(true)?;
            let body = body.clone();
            tokio::spawn(async move {
                let answer = service_fn(move |request| answer(request, body.clone()));
                // The client going away is no error of ours.
                let _ = http1::Builder::new().serve_connection(TokioIo::new(stream), answer).await;
            });
        }
    })
}

async fn answer(request: Request<Incoming>, body: Bytes) -> std::result::Result<Response<Full<Bytes>>, hyper::Error> {
    request.into_body().collect().await?;
    let mut response = Response::new(Full::new(body));
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    Ok(response)
}
