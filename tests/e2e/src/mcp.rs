//! A small MCP client, and a load of tool calls.

use http_body_util::{BodyExt, Full};
use hyper::body::Bytes;
use hyper::{Method, Request, StatusCode};
use hyper_util::client::legacy::{Client, connect::HttpConnector};
use hyper_util::rt::TokioExecutor;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

const PROTOCOL: &str = "2026-07-28";
/// How long one request may take before it counts as failed.
const ANSWER: Duration = Duration::from_secs(20);

/// A client of one MCP service, of the modern era: each request stands for itself.
#[derive(Debug)]
pub struct Mcp {
    http: Client<HttpConnector, Full<Bytes>>,
    runtime: tokio::runtime::Runtime,
    base: String,
}

impl Mcp {
    /// The service at a port of 127.0.0.1.
    ///
    /// # Panics
    /// When the async runtime cannot be started.
    #[must_use]
    pub fn new(port: u16) -> Self {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let http = Client::builder(TokioExecutor::new()).build_http();
        Self { http, runtime, base: format!("http://127.0.0.1:{port}") }
    }

    fn send(&self, request: Request<Full<Bytes>>) -> Result<(StatusCode, String), String> {
        self.runtime.block_on(async {
            let work = async {
                let answer = self
                    .http
                    .request(request)
                    .await
                    .map_err(|e| format!("{e}: {:?}", std::error::Error::source(&e)))?;
                let status = answer.status();
                let body = answer.into_body().collect().await.map_err(|e| e.to_string())?.to_bytes();
                Ok((status, String::from_utf8_lossy(&body).into_owned()))
            };
            tokio::time::timeout(ANSWER, work).await.unwrap_or_else(|_| Err("no answer in time".to_owned()))
        })
    }

    /// The status and body that a GET is answered with.
    ///
    /// # Errors
    /// Why there was no answer.
    pub fn get(&self, path: &str) -> Result<(u16, String), String> {
        let request = Request::builder().uri(format!("{}{path}", self.base)).body(Full::default()).unwrap();
        self.send(request).map(|(status, body)| (status.as_u16(), body))
    }

    fn request(&self, method: &str, mut params: Value) -> Result<Value, String> {
        params["_meta"] = json!({
            "io.modelcontextprotocol/protocolVersion": PROTOCOL,
            "io.modelcontextprotocol/clientCapabilities": {},
            "io.modelcontextprotocol/clientInfo": { "name": "basb-e2e", "version": "1" },
        });
        let mut request = Request::builder()
            .method(Method::POST)
            .uri(format!("{}/mcp", self.base))
            .header("content-type", "application/json")
            .header("accept", "application/json, text/event-stream")
            .header("mcp-protocol-version", PROTOCOL)
            .header("mcp-method", method);
        if let Some(name) = params["name"].as_str() {
            request = request.header("mcp-name", name);
        }
        let body = json!({ "jsonrpc": "2.0", "id": 1, "method": method, "params": params }).to_string();
        let (status, text) = self.send(request.body(Full::new(Bytes::from(body))).unwrap())?;
        if status != StatusCode::OK {
            return Err(format!("{status}: {text}"));
        }
        let answer: Value = serde_json::from_str(&text).map_err(|e| format!("{e}: {text}"))?;
        match answer.get("result") {
            Some(result) => Ok(result.clone()),
            None => Err(answer["error"].to_string()),
        }
    }

    /// Calls a tool; its structured content.
    ///
    /// # Errors
    /// What the service, or the way to it, failed with.
    pub fn call(&self, tool: &str, arguments: Value) -> Result<Value, String> {
        let result = self.request("tools/call", json!({ "name": tool, "arguments": arguments }))?;
        if result["isError"] == true {
            return Err(result["content"].to_string());
        }
        Ok(result["structuredContent"].clone())
    }

    /// The names of its tools.
    ///
    /// # Panics
    /// When it has no list of tools.
    #[must_use]
    pub fn tools(&self) -> Vec<String> {
        let result = self.request("tools/list", json!({})).unwrap();
        result["tools"].as_array().unwrap().iter().map(|t| t["name"].as_str().unwrap().to_owned()).collect()
    }

    /// Which release answers.
    ///
    /// # Errors
    /// What the service, or the way to it, failed with.
    pub fn release(&self) -> Result<u64, String> {
        let stats = self.call("vault_stats", json!({}))?;
        stats["release"].as_u64().ok_or_else(|| stats.to_string())
    }
}

/// Tool calls, one after the other on each of two connections, until it is stopped.
#[derive(Debug)]
pub struct Load {
    stop: Arc<AtomicBool>,
    done: Arc<AtomicUsize>,
    threads: Vec<JoinHandle<LoadReport>>,
}

/// What became of a load.
#[derive(Debug, Default)]
pub struct LoadReport {
    /// How many calls each release answered.
    pub answered: BTreeMap<u64, u64>,
    /// What the calls that failed say.
    pub failed: Vec<String>,
}

impl Load {
    /// Starts calling `vault_stats`; returns when the first answer is there.
    #[must_use]
    pub fn start(port: u16) -> Self {
        let (stop, done) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicUsize::new(0)));
        let thread = |_| {
            let (stop, done) = (Arc::clone(&stop), Arc::clone(&done));
            std::thread::spawn(move || {
                let client = Mcp::new(port);
                let mut report = LoadReport::default();
                while !stop.load(Ordering::Relaxed) {
                    match client.release() {
                        Ok(release) => *report.answered.entry(release).or_default() += 1,
                        Err(why) => report.failed.push(why),
                    }
                    done.fetch_add(1, Ordering::Relaxed);
                    // Leaves the machine to what is tested.
                    std::thread::sleep(Duration::from_millis(2));
                }
                report
            })
        };
        let threads = (0..2).map(thread).collect();
        let load = Self { stop, done, threads };
        crate::wait_for("the first answer under load", || (load.done.load(Ordering::Relaxed) > 0).then_some(()));
        load
    }

    /// Stops it.
    ///
    /// # Panics
    /// When one of its threads did.
    #[must_use]
    pub fn stop(mut self) -> LoadReport {
        self.stop.store(true, Ordering::Relaxed);
        let mut all = LoadReport::default();
        for thread in self.threads.drain(..) {
            let report = thread.join().unwrap();
            all.failed.extend(report.failed);
            for (release, count) in report.answered {
                *all.answered.entry(release).or_default() += count;
            }
        }
        all
    }
}

impl Drop for Load {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
    }
}
