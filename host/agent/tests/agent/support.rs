//! Agents, services and requests for tests.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use basb_agent::AgentError;
use basb_agent::api::*;
use basb_agent::client::Client;
use basb_agent::server::{ServeOptions, Signals, serve};
use bytes::Bytes;
use http::{Request, Response};
use http_body_util::{BodyExt, Full};
use hyper::client::conn::http1::SendRequest;
use hyper_util::rt::TokioIo;
use tempfile::TempDir;
use tokio::net::TcpStream;
use tokio::task::JoinHandle;

/// Far beyond what anything here takes, even on a loaded machine.
const GENEROUS: Duration = Duration::from_secs(60);

pub fn name(name: &str) -> ServiceName {
    ServiceName::new(name).unwrap()
}

pub fn rev(id: &str) -> RevisionId {
    RevisionId::new(id).unwrap()
}

enum Running {
    Here(JoinHandle<Result<(), AgentError>>),
    Apart(Child),
    Nowhere,
}

/// An agent on a folder of its own, in this process or in one that can be killed.
pub struct Agent {
    pub client: Client,
    dir: PathBuf,
    _owner: TempDir,
    running: Running,
}

pub fn options(dir: &Path) -> ServeOptions {
    let mut options = ServeOptions::new(dir);
    options.signals = Signals::Leave;
    options.workers = Some(2);
    options.start_attempts = 3;
    options.upstream_timeout = Duration::from_secs(30);
    options.finish_timeout = Duration::from_secs(5);
    options
}

impl Agent {
    fn nowhere(below: &str) -> Self {
        let owner = tempfile::tempdir().unwrap();
        let dir = owner.path().join(below);
        std::fs::create_dir_all(&dir).unwrap();
        let dir = dir.canonicalize().unwrap();
        Self { client: Client::new(&dir), dir, _owner: owner, running: Running::Nowhere }
    }

    /// An agent in this process.
    pub async fn here() -> Self {
        Self::here_with(|_| {}).await
    }

    pub async fn here_with(change: impl Fn(&mut ServeOptions)) -> Self {
        let mut agent = Self::nowhere("state");
        agent.start_here_with(change).await;
        agent
    }

    pub async fn here_below(below: &str) -> Self {
        let mut agent = Self::nowhere(below);
        agent.start_here_with(|_| {}).await;
        agent
    }

    /// An agent in a process of its own.
    pub async fn apart() -> Self {
        let mut agent = Self::nowhere("state");
        agent.start_apart().await;
        agent
    }

    pub fn dir(&self) -> &Path {
        &self.dir
    }

    pub async fn start_here_with(&mut self, change: impl Fn(&mut ServeOptions)) {
        let mut options = options(&self.dir);
        change(&mut options);
        self.running = Running::Here(tokio::spawn(serve(options)));
        self.answers().await;
    }

    pub async fn start_apart(&mut self) {
        let child = Command::new(std::env::current_exe().unwrap())
            .args(ROLE_ARGUMENTS)
            .env("BASB_TEST_ROLE", "agent")
            .env("BASB_TEST_DIR", &self.dir)
            .stdout(Stdio::null())
            .spawn()
            .unwrap();
        self.running = Running::Apart(child);
        self.answers().await;
    }

    async fn answers(&self) {
        until("the agent answers", async || self.client.agent().await.ok()).await;
    }

    /// Stops the agent through its API and waits for its end.
    pub async fn stop(&mut self, services: StopServices) {
        self.client.stop(services).await.unwrap();
        match std::mem::replace(&mut self.running, Running::Nowhere) {
            Running::Here(task) => task.await.unwrap().unwrap(),
            Running::Apart(mut child) => {
                tokio::task::spawn_blocking(move || child.wait().unwrap()).await.unwrap();
            }
            Running::Nowhere => {}
        }
    }

    /// Kills the agent's process.
    pub fn kill(&mut self) {
        if let Running::Apart(child) = &mut self.running {
            child.kill().unwrap();
            child.wait().unwrap();
        }
        self.running = Running::Nowhere;
    }

    pub async fn service(&self, service: &str) -> ServiceState {
        self.client.service(&name(service)).await.unwrap()
    }

    /// Creates a service on a free port.
    pub async fn create(&self, service: &str) -> ServiceState {
        let put = PutService { listen: "127.0.0.1:0".parse().unwrap() };
        self.client.put_service(&name(service), &put).await.unwrap()
    }

    pub async fn put(&self, service: &str, revision: &str, replicas: u32) -> ServiceState {
        self.put_workload(service, revision, workload(revision, &[]), replicas).await
    }

    pub async fn put_workload(&self, service: &str, revision: &str, workload: Workload, replicas: u32) -> ServiceState {
        let put = PutRevision { workload: Some(workload), replicas, ..PutRevision::default() };
        self.client.put_revision(&name(service), &rev(revision), &put).await.unwrap()
    }

    /// Creates a revision and waits until all its instances are available.
    pub async fn up(&self, service: &str, revision: &str, replicas: u32) -> ServiceState {
        self.put(service, revision, replicas).await;
        self.available(service, revision, replicas).await
    }

    pub async fn available(&self, service: &str, revision: &str, replicas: u32) -> ServiceState {
        until("the instances are available", async || {
            let state = self.service(service).await;
            let there = state.revision(revision).is_some_and(|revision| revision.available == replicas);
            there.then_some(state)
        })
        .await
    }

    pub async fn gone(&self, service: &str, revision: &str) {
        until("the revision is gone", async || self.service(service).await.revision(revision).is_none().then_some(()))
            .await;
    }

    pub async fn weights(&self, service: &str, weights: &[(&str, u16)]) -> ServiceState {
        self.try_weights(service, weights, None).await.unwrap()
    }

    pub async fn try_weights(
        &self,
        service: &str,
        weights: &[(&str, u16)],
        expect_version: Option<u64>,
    ) -> Result<ServiceState, AgentError> {
        let weights: BTreeMap<_, _> = weights.iter().map(|(id, w)| (rev(id), Weight::new(*w).unwrap())).collect();
        self.client.put_traffic(&name(service), &PutTraffic { weights, expect_version }).await
    }

    pub fn pids(state: &ServiceState) -> Vec<u32> {
        state.revisions.iter().flat_map(|r| &r.instances).filter_map(|i| i.pid).collect()
    }
}

/// Stops whatever the test left behind, passed or not.
impl Drop for Agent {
    fn drop(&mut self) {
        match std::mem::replace(&mut self.running, Running::Nowhere) {
            Running::Here(task) => {
                task.abort();
                let until = Instant::now() + GENEROUS;
                while !task.is_finished() && Instant::now() < until {
                    std::thread::sleep(Duration::from_millis(1));
                }
            }
            Running::Apart(mut child) => {
                let _ = child.kill();
                let _ = child.wait();
            }
            Running::Nowhere => {}
        }
        let text = std::fs::read(self.dir.join("agent.json")).unwrap_or_default();
        let state: serde_json::Value = serde_json::from_slice(&text).unwrap_or_default();
        kill_processes(&state);
    }
}

fn kill_processes(state: &serde_json::Value) {
    match state {
        serde_json::Value::Object(fields) => {
            let process =
                fields.get("pid").and_then(|v| v.as_u64()).zip(fields.get("startTime").and_then(|v| v.as_u64()));
            if let Some((pid, start)) = process
                && start_time(pid as u32) == Some(start)
            {
                let pid = rustix::process::Pid::from_raw(pid as i32).unwrap();
                let _ = rustix::process::kill_process_group(pid, rustix::process::Signal::KILL);
            }
            fields.values().for_each(kill_processes);
        }
        serde_json::Value::Array(values) => values.iter().for_each(kill_processes),
        _ => {}
    }
}

/// Field 22 of /proc/PID/stat; nothing for zombies.
pub fn start_time(pid: u32) -> Option<u64> {
    let text = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let mut fields = text.rsplit_once(')')?.1.split_ascii_whitespace();
    if fields.next()? == "Z" {
        return None;
    }
    fields.nth(18)?.parse().ok()
}

pub fn signal(pid: u32, signal: rustix::process::Signal) {
    rustix::process::kill_process(rustix::process::Pid::from_raw(pid as i32).unwrap(), signal).unwrap();
}

const ROLE_ARGUMENTS: [&str; 4] = ["--exact", "role", "--nocapture", "--test-threads=1"];

/// The role of an agent in a process of its own.
pub fn agent_main() {
    let dir = PathBuf::from(std::env::var("BASB_TEST_DIR").unwrap());
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    let mut options = options(&dir);
    options.signals = Signals::Handle;
    runtime.block_on(serve(options)).unwrap();
}

pub fn role_command() -> Vec<String> {
    let program = std::env::current_exe().unwrap().display().to_string();
    std::iter::once(program).chain(ROLE_ARGUMENTS.map(str::to_owned)).collect()
}

pub fn workload(revision: &str, env: &[(&str, &str)]) -> Workload {
    let own = [("BASB_TEST_ROLE", "upstream"), ("REV", revision)];
    Workload {
        command: role_command(),
        working_folder: None,
        env: own.iter().chain(env).map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect(),
        ready: Some(Ready {
            kind: ReadyKind::Http,
            path: Some("/healthz".to_owned()),
            interval_ms: Some(50),
            timeout_ms: Some(5_000),
            min_ready_ms: None,
        }),
        limits: None,
        stop_grace_ms: Some(2_000),
    }
}

/// Polls until there is an answer; fails after a bound that only a hang reaches.
pub async fn until<T>(what: &str, mut ask: impl AsyncFnMut() -> Option<T>) -> T {
    let limit = Instant::now() + GENEROUS;
    loop {
        if let Some(answer) = ask().await {
            return answer;
        }
        assert!(Instant::now() < limit, "gave up waiting: {what}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

/// A keep-alive connection of a user.
pub struct User {
    address: SocketAddr,
    sender: Option<SendRequest<Full<Bytes>>>,
}

impl User {
    pub fn of(address: SocketAddr) -> Self {
        Self { address, sender: None }
    }

    pub fn of_url(url: &str) -> Self {
        Self::of(url.strip_prefix("http://").unwrap().parse().unwrap())
    }

    pub async fn get(&mut self, path: &str) -> Result<(u16, String), String> {
        let response = self.send(Request::get(path).header("host", "test").body(Full::default()).unwrap()).await?;
        let status = response.status().as_u16();
        let body = response.into_body().collect().await.map_err(|error| format!("body: {error}"))?;
        Ok((status, String::from_utf8_lossy(&body.to_bytes()).into_owned()))
    }

    pub async fn post(&mut self, path: &str, body: impl Into<Bytes>) -> Result<(u16, Bytes), String> {
        let request = Request::post(path).header("host", "test").body(Full::new(body.into())).unwrap();
        let response = self.send(request).await?;
        let status = response.status().as_u16();
        let body = response.into_body().collect().await.map_err(|error| format!("body: {error}"))?;
        Ok((status, body.to_bytes()))
    }

    /// Sends on the kept connection, or on a new one when the proxy has closed that in good order.
    pub async fn send(&mut self, request: Request<Full<Bytes>>) -> Result<Response<hyper::body::Incoming>, String> {
        let kept = match self.sender.take() {
            Some(mut sender) => sender.ready().await.is_ok().then_some(sender),
            None => None,
        };
        let mut sender = match kept {
            Some(sender) => sender,
            None => self.connect().await?,
        };
        let response = match sender.try_send_request(request).await {
            Ok(response) => response,
            Err(mut error) => {
                let Some(request) = error.take_message() else { return Err(format!("request: {}", error.error())) };
                sender = self.connect().await?;
                sender.send_request(request).await.map_err(|error| format!("request again: {error}"))?
            }
        };
        self.sender = Some(sender);
        Ok(response)
    }

    async fn connect(&self) -> Result<SendRequest<Full<Bytes>>, String> {
        let stream = TcpStream::connect(self.address).await.map_err(|error| format!("connect: {error}"))?;
        stream.set_nodelay(true).unwrap();
        let (sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.unwrap();
        tokio::spawn(async move { drop(connection.await) });
        Ok(sender)
    }
}
