//! HAProxy, to compare with: configured for no lost requests, steered through its admin socket.

use crate::Result;
use std::fmt::Write as _;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::{Duration, Instant};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpStream, UnixStream};
use tokio::process::{Child, Command};

/// A server behind it.
#[derive(Debug, Clone)]
pub(crate) struct Server {
    /// Its name in the configuration.
    pub(crate) name: String,
    /// Where it listens.
    pub(crate) address: SocketAddr,
    /// Whether it belongs to the candidate.
    pub(crate) side: Side,
}

/// Stable or candidate.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Side {
    /// The one before.
    Stable,
    /// The one rolled out.
    Candidate,
}

/// One that runs. It is killed when this is dropped.
#[derive(Debug)]
pub(crate) struct HaProxy {
    child: Child,
    admin: PathBuf,
    servers: Vec<Server>,
    /// Where it listens.
    pub(crate) address: SocketAddr,
}

/// Its version, from `haproxy -v`.
pub(crate) async fn version(program: &Path) -> Result<String> {
    let output = Command::new(program).arg("-v").output().await?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    Ok(text.split_whitespace().nth(2).unwrap_or("unknown").to_owned())
}

impl HaProxy {
    /// Starts one in front of these servers, all of the traffic on the stable ones. It writes into the folder.
    pub(crate) async fn start(program: &Path, folder: &Path, servers: Vec<Server>) -> Result<Self> {
        let address = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?;
        let (admin, config) = (folder.join("haproxy.sock"), folder.join("haproxy.cfg"));
        let _ = std::fs::remove_file(&admin);
        std::fs::write(&config, text(address, &admin, &servers)?)?;
        let log = std::fs::File::create(folder.join("haproxy.log"))?;
        let child = Command::new(program)
            .arg("-db")
            .arg("-f")
            .arg(&config)
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log)
            .kill_on_drop(true)
            .process_group(0)
            .spawn()?;
        let mut haproxy = Self { child, admin, servers, address };
        let until = Instant::now() + Duration::from_secs(10);
        while TcpStream::connect(address).await.is_err() || !haproxy.admin.exists() {
            if let Some(status) = haproxy.child.try_wait()? {
                let log = std::fs::read_to_string(folder.join("haproxy.log")).unwrap_or_default();
                return Err(format!("HAProxy ended with {status}: {log}").into());
            }
            if Instant::now() > until {
                return Err("HAProxy did not open its port within 10 s".into());
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        Ok(haproxy)
    }

    /// Gives the candidate's servers this share of the traffic together, in percent.
    pub(crate) async fn weigh(&self, candidate: u16) -> Result<()> {
        let mut command = String::new();
        for server in &self.servers {
            let weight = match server.side {
                Side::Stable => 100 - candidate.min(100),
                Side::Candidate => candidate.min(100),
            };
            write!(command, "set server services/{} weight {weight};", server.name)?;
        }
        command.pop();
        command.push('\n');
        let mut socket = UnixStream::connect(&self.admin).await?;
        socket.write_all(command.as_bytes()).await?;
        let mut answer = String::new();
        socket.read_to_string(&mut answer).await?;
        if answer.trim().is_empty() { Ok(()) } else { Err(format!("HAProxy refused: {}", answer.trim()).into()) }
    }

    /// Its process id.
    pub(crate) fn pid(&self) -> Option<u32> {
        self.child.id()
    }

    /// Stops it.
    pub(crate) async fn stop(mut self) -> Result<()> {
        Ok(self.child.kill().await?)
    }
}

/// Only idempotent requests may be sent again once they have been written, by HAProxy as by us.
fn text(address: SocketAddr, admin: &Path, servers: &[Server]) -> Result<String> {
    let mut text = format!(
        "global\n  nbthread 2\n  maxconn 4096\n  stats socket {} mode 600 level admin\n\n\
         defaults\n  mode http\n  option redispatch 1\n  retries 3\n  retry-on conn-failure empty-response\n  \
         option forwardfor\n  timeout connect 5s\n  timeout client 60s\n  timeout server 60s\n  \
         timeout http-keep-alive 60s\n\n\
         frontend users\n  bind {address}\n  default_backend services\n\n\
         backend services\n  balance roundrobin\n  http-reuse always\n  \
         http-request disable-l7-retry unless {{ method GET HEAD OPTIONS PUT DELETE }}\n",
        admin.display()
    );
    for server in servers {
        let weight = if server.side == Side::Stable { 100 } else { 0 };
        writeln!(text, "  server {} {} weight {weight}", server.name, server.address)?;
    }
    Ok(text)
}
