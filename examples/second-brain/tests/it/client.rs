//! A service process, and a small MCP client that speaks both eras.

use std::{
    io::{BufRead, BufReader},
    path::Path,
    process::{Child, Command, ExitStatus, Stdio},
    sync::{
        atomic::{AtomicUsize, Ordering},
        mpsc,
    },
    time::{Duration, Instant},
};

use bytes::Bytes;
use http::{Method, Request, StatusCode};
use http_body_util::{BodyExt, Full};
use hyper_util::{
    client::legacy::{Client, connect::HttpConnector},
    rt::TokioExecutor,
};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};

pub const SERVICES: [&str; 4] = ["capture", "organize", "distill", "express"];
pub const MODERN: &str = "2026-07-28";
pub const LEGACY: &str = "2025-11-25";

/// A running service; killed when dropped.
pub struct Service {
    child: Child,
    pub address: String,
}

impl Service {
    pub fn start(name: &str, vault: &Path, options: &[&str]) -> Self {
        let mut child = Command::new(env!("CARGO_BIN_EXE_second-brain"))
            .arg(name)
            .args(["--listen", "127.0.0.1:0"])
            .arg("--vault")
            .arg(vault)
            .args(options)
            .env_remove("RUST_LOG")
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let stderr = BufReader::new(child.stderr.take().unwrap());
        let (found, address) = mpsc::channel();
        // Reads on to the end, so that the service never waits for its log to be read.
        std::thread::spawn(move || {
            for line in stderr.lines().map_while(Result::ok) {
                if let Some((_, rest)) = line.split_once("listening on ") {
                    let address = rest.split_whitespace().next().unwrap_or_default();
                    let _ = found.send(address.to_owned());
                }
            }
        });
        let address = address.recv_timeout(Duration::from_secs(20)).expect("the service reports its address");
        Self { child, address }
    }

    pub fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.child), signal).unwrap();
    }

    pub fn wait(&mut self) -> ExitStatus {
        let start = Instant::now();
        loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                return status;
            }
            assert!(start.elapsed() < Duration::from_secs(20), "the service does not end");
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    pub fn mcp(&self, era: Era) -> Mcp {
        Mcp::new(&[self.address.as_str()], era)
    }
}

impl Drop for Service {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Era {
    Modern,
    Legacy,
}

pub struct Answer {
    pub status: StatusCode,
    pub headers: http::HeaderMap,
    pub text: String,
}

impl Answer {
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.text).unwrap_or_else(|error| panic!("{error} in {} {}", self.status, self.text))
    }
}

/// A client whose consecutive requests go to the given addresses in turn, as behind a proxy.
pub struct Mcp {
    http: Client<HttpConnector, Full<Bytes>>,
    addresses: Vec<String>,
    era: Era,
    next: AtomicUsize,
}

impl Mcp {
    pub fn new(addresses: &[&str], era: Era) -> Self {
        Self {
            http: Client::builder(TokioExecutor::new()).build_http(),
            addresses: addresses.iter().map(|address| (*address).to_owned()).collect(),
            era,
            next: AtomicUsize::new(0),
        }
    }

    pub async fn send(&self, method: Method, path: &str, headers: &[(&str, &str)], body: &str) -> Answer {
        let n = self.next.fetch_add(1, Ordering::Relaxed);
        let address = &self.addresses[n % self.addresses.len()];
        let mut request = Request::builder().method(method).uri(format!("http://{address}{path}"));
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let request = request.body(Full::new(Bytes::from(body.to_owned()))).unwrap();
        let response = self.http.request(request).await.unwrap();
        let (parts, body) = response.into_parts();
        let bytes = body.collect().await.unwrap().to_bytes();
        Answer { status: parts.status, headers: parts.headers, text: String::from_utf8(bytes.to_vec()).unwrap() }
    }

    /// The exact request that the era prescribes.
    pub async fn request(&self, method: &str, mut params: Value) -> Answer {
        let mut headers = vec![("content-type", "application/json"), ("accept", "application/json, text/event-stream")];
        let name = params.get("name").and_then(Value::as_str).map(str::to_owned);
        match self.era {
            Era::Modern => {
                params["_meta"] = json!({
                    "io.modelcontextprotocol/protocolVersion": MODERN,
                    "io.modelcontextprotocol/clientCapabilities": {},
                    "io.modelcontextprotocol/clientInfo": {"name": "test", "version": "1"},
                });
                headers.extend([("mcp-protocol-version", MODERN), ("mcp-method", method)]);
                if let Some(name) = &name {
                    headers.push(("mcp-name", name));
                }
            }
            Era::Legacy if method == "initialize" => {}
            Era::Legacy => headers.push(("mcp-protocol-version", LEGACY)),
        }
        let body = json!({"jsonrpc": "2.0", "id": 1, "method": method, "params": params});
        self.send(Method::POST, "/mcp", &headers, &body.to_string()).await
    }

    /// The opening of a conversation in the client's era.
    pub async fn open(&self) -> Value {
        match self.era {
            Era::Modern => {
                let answer = self.request("server/discover", json!({})).await;
                assert_eq!(answer.status, 200, "{}", answer.text);
                answer.json()["result"].clone()
            }
            Era::Legacy => {
                let answer = self
                    .request(
                        "initialize",
                        json!({
                            "protocolVersion": LEGACY,
                            "capabilities": {},
                            "clientInfo": {"name": "test", "version": "1"},
                        }),
                    )
                    .await;
                assert_eq!(answer.status, 200, "{}", answer.text);
                assert!(!answer.headers.contains_key("mcp-session-id"));
                let initialized = self
                    .send(
                        Method::POST,
                        "/mcp",
                        &[
                            ("content-type", "application/json"),
                            ("accept", "application/json, text/event-stream"),
                            ("mcp-protocol-version", LEGACY),
                        ],
                        r#"{"jsonrpc":"2.0","method":"notifications/initialized"}"#,
                    )
                    .await;
                assert_eq!(initialized.status, 202);
                answer.json()["result"].clone()
            }
        }
    }

    pub async fn tools(&self) -> Vec<Value> {
        let answer = self.request("tools/list", json!({})).await;
        assert_eq!(answer.status, 200, "{}", answer.text);
        answer.json()["result"]["tools"].as_array().unwrap().clone()
    }

    pub async fn tool_names(&self) -> Vec<String> {
        let name = |tool: &Value| tool["name"].as_str().unwrap().to_owned();
        self.tools().await.iter().map(name).collect()
    }

    pub async fn call_raw(&self, tool: &str, arguments: Value) -> Answer {
        self.request("tools/call", json!({"name": tool, "arguments": arguments})).await
    }

    /// A call that must succeed; its structured content.
    pub async fn call(&self, tool: &str, arguments: Value) -> Value {
        let answer = self.call_raw(tool, arguments).await;
        let json = answer.json();
        assert_eq!(json["result"]["isError"], false, "{}", answer.text);
        json["result"]["structuredContent"].clone()
    }

    /// A call that must be answered with a tool error; its text.
    pub async fn call_refused(&self, tool: &str, arguments: Value) -> String {
        let answer = self.call_raw(tool, arguments).await;
        let json = answer.json();
        assert_eq!(json["result"]["isError"], true, "{}", answer.text);
        json["result"]["content"][0]["text"].as_str().unwrap().to_owned()
    }

    pub async fn get(&self, path: &str) -> Answer {
        self.send(Method::GET, path, &[], "").await
    }
}
