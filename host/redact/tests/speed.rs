//! How long redacting takes: `cargo test --release -p basb-redact --test speed -- --ignored --nocapture`.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::print_stderr,
    reason = "a test fails by panicking, and says what it did not test"
)]

use basb_redact::{Redactor, SecretName, SecretValue};
use std::hint::black_box;
use std::time::Instant;

fn redactor(secrets: u64, length: usize) -> Redactor {
    let redactor = Redactor::default();
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let mut random = move || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state
    };
    let all: Vec<_> = (0..secrets)
        .map(|at| {
            let value: Vec<u8> = (0..length)
                .map(|_| b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"[random() as usize % 64])
                .collect();
            (SecretName::new(format!("secret-{at}")).unwrap(), SecretValue::new(value))
        })
        .collect();
    let start = Instant::now();
    redactor.learn_all(all).unwrap();
    eprintln!("learning {secrets} secrets of {length} bytes: {:?}", start.elapsed());
    redactor
}

fn time(what: &str, redactor: &Redactor, body: &[u8]) {
    let mut best = f64::MAX;
    for _ in 0..50 {
        let start = Instant::now();
        for _ in 0..200 {
            black_box(redactor.bytes(black_box(body)));
        }
        best = best.min(start.elapsed().as_secs_f64() * 1e6 / 200.0);
    }
    eprintln!("{what}: {best:.2} µs for {} bytes", body.len());
}

#[test]
#[ignore = "a measurement"]
fn four_kilobytes_and_fifty_secrets() {
    let redactor = redactor(50, 40);
    let item = r#"{"id":"i-0abc123def","name":"notes-service","state":"running","tags":["a","b"],"url":"https://a.example.org/x"},"#;
    let json = item.repeat(4096 / item.len() + 1)[..4096].to_owned();
    time("JSON", &redactor, json.as_bytes());
    let escaped = serde_json::to_string(&json).unwrap()[..4096].to_owned();
    time("JSON in JSON", &redactor, escaped.as_bytes());
    let few = json.replacen("running", "run\\\"ning", 3);
    time("JSON with three escapes", &redactor, few.as_bytes());
    let url = json.replace("/", "%2F").replace(':', "%3A");
    time("percent-encoded", &redactor, &url.as_bytes()[..4096]);
    let mut state = 1_u32;
    let random: Vec<u8> = (0..4096)
        .map(|_| {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"[(state >> 26) as usize]
        })
        .collect();
    time("random base64", &redactor, &random);
}
