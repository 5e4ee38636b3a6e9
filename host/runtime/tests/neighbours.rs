//! What a plugin notices of others that loop: next to nothing, or the guests' runtime is not set up as it should be.

#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::print_stdout,
    reason = "a test may fail, a measurement prints"
)]

mod common;

use basb_runtime::{CallOptions, Plugin};
use common::{check, generous, misbehave, runtime};
use serde_json::json;
use std::time::{Duration, Instant};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

/// How long calls take, sorted: one that only computes, and one that asks its service.
async fn times(plugin: &Plugin, what: &str, url: &str, calls: usize) -> Vec<Duration> {
    let mut times = Vec::with_capacity(calls);
    for _ in 0..calls {
        let start = Instant::now();
        check(plugin, what, &generous(), url).await.unwrap();
        times.push(start.elapsed());
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    times.sort();
    times
}

fn service() -> String {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}/", listener.local_addr().unwrap());
    listener.set_nonblocking(true).unwrap();
    std::thread::spawn(move || {
        tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(async move {
            let listener = tokio::net::TcpListener::from_std(listener).unwrap();
            loop {
                let (mut stream, _) = listener.accept().await.unwrap();
                tokio::spawn(async move {
                    let mut request = [0; 4096];
                    while stream.read(&mut request).await.unwrap_or(0) > 0 {
                        let _ = stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok").await;
                    }
                });
            }
        });
    });
    url
}

/// Prints; run it with `cargo test -p basb-runtime --test neighbours -- --ignored --nocapture` on an idle machine.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "a measurement"]
async fn the_price_of_a_neighbour() {
    let grants = json!({
        "http": [{"target": "service"}],
        "tcp": [{"target": "service"}],
        "exec": [{"program": "x", "path": "/bin/false"}]
    });
    let plugin = misbehave(&runtime(), grants);
    let url = service();
    for loops in [0, 1, 4, 16] {
        let long = CallOptions::new(Duration::from_secs(600));
        let looping: Vec<_> = (0..loops)
            .map(|_| {
                let (plugin, long) = (plugin.clone(), long.clone());
                tokio::spawn(async move { check(&plugin, "loop", &long, "x").await })
            })
            .collect();
        for what in ["nothing", "get"] {
            let times = times(&plugin, what, &url, 500).await;
            println!(
                "{loops:>2} that loop, `{what}`: p50 {:?}, p99 {:?}, most {:?}",
                times[250], times[495], times[499]
            );
        }
        looping.iter().for_each(tokio::task::JoinHandle::abort);
    }
}
