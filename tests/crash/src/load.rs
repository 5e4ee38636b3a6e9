//! Users: tool calls to the services through the proxy, one after the other on a connection of each service.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// Time between two calls of one user: the machine is for what is tested.
const PAUSE: Duration = Duration::from_millis(5);
/// How long one call may take before it counts as failed.
const ANSWER: Duration = Duration::from_secs(20);

/// A call that failed.
#[derive(Debug, Clone)]
pub struct Failed {
    /// The port.
    pub port: u16,
    /// When its connection was opened.
    pub opened: Instant,
    /// When it was sent.
    pub from: Instant,
    /// When it failed.
    pub to: Instant,
    /// Why.
    pub why: String,
}

impl Failed {
    /// Whether the death of an agent explains it, which was killed at the first of these instants and there again at the
    /// second: it was under way between them, or it was sent over a connection to the killed one. Such a connection is
    /// dead, and a user who did nothing meanwhile learns that from the next call only.
    #[must_use]
    pub fn is_cut_off(&self, (killed, back): &(Instant, Instant)) -> bool {
        self.to >= *killed && (self.from <= *back || self.opened <= *killed)
    }
}

#[derive(Debug, Default)]
struct Seen {
    calls: u64,
    failed: Vec<Failed>,
}

/// Users at work. They stop when this is dropped.
pub struct Load {
    stop: Arc<AtomicBool>,
    seen: Arc<Mutex<Seen>>,
    threads: Vec<JoinHandle<()>>,
}

impl Load {
    /// A user of each of these ports of 127.0.0.1.
    #[must_use]
    pub fn start(ports: &[u16]) -> Self {
        let (stop, seen) = (Arc::new(AtomicBool::new(false)), Arc::new(Mutex::new(Seen::default())));
        let user = |port: u16| {
            let (stop, seen) = (Arc::clone(&stop), Arc::clone(&seen));
            std::thread::spawn(move || call_until_stopped(port, &stop, &seen))
        };
        let threads = ports.iter().map(|port| user(*port)).collect();
        Self { stop, seen, threads }
    }

    /// How many calls there were since it was asked last, and which of them failed.
    #[must_use]
    pub fn take(&self) -> (u64, Vec<Failed>) {
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        let seen = std::mem::take(&mut *seen);
        (seen.calls, seen.failed)
    }
}

impl Drop for Load {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        for thread in self.threads.drain(..) {
            // One that panicked has counted what it saw.
            let _ = thread.join();
        }
    }
}

fn call_until_stopped(port: u16, stop: &AtomicBool, seen: &Mutex<Seen>) {
    let mut connection = None;
    while !stop.load(Ordering::Relaxed) {
        let from = Instant::now();
        let (opened, result) = match connection.take() {
            Some((opened, open)) => (opened, call(open, port)),
            None => (from, connect(port).and_then(|open| call(open, port))),
        };
        let mut seen = seen.lock().unwrap_or_else(PoisonError::into_inner);
        seen.calls += 1;
        match result {
            Ok(open) => connection = Some((opened, open)),
            Err(why) => seen.failed.push(Failed { port, opened, from, to: Instant::now(), why: why.to_string() }),
        }
        drop(seen);
        std::thread::sleep(PAUSE);
    }
}

fn connect(port: u16) -> std::io::Result<BufReader<TcpStream>> {
    let stream = TcpStream::connect(("127.0.0.1", port))?;
    stream.set_nodelay(true)?;
    stream.set_read_timeout(Some(ANSWER))?;
    Ok(BufReader::new(stream))
}

/// One tool call in the protocol of 2026-07-28 over a connection that is kept open.
fn call(mut open: BufReader<TcpStream>, port: u16) -> std::io::Result<BufReader<TcpStream>> {
    const BODY: &str = r#"{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"vault_stats","arguments":{},"_meta":{"io.modelcontextprotocol/protocolVersion":"2026-07-28","io.modelcontextprotocol/clientCapabilities":{},"io.modelcontextprotocol/clientInfo":{"name":"crash","version":"1"}}}}"#;
    let head = format!(
        "POST /mcp HTTP/1.1\r\nhost: 127.0.0.1:{port}\r\ncontent-type: application/json\r\n\
         accept: application/json, text/event-stream\r\nmcp-protocol-version: 2026-07-28\r\n\
         mcp-method: tools/call\r\nmcp-name: vault_stats\r\ncontent-length: {}\r\n\r\n",
        BODY.len()
    );
    let wrong = |why: String| std::io::Error::other(why);
    open.get_mut().write_all(format!("{head}{BODY}").as_bytes())?;
    let mut status = String::new();
    if open.read_line(&mut status)? == 0 {
        return Err(wrong("closed without an answer".to_owned()));
    }
    let (mut length, mut line) = (None, String::new());
    loop {
        line.clear();
        if open.read_line(&mut line)? == 0 {
            return Err(wrong("cut off in the head".to_owned()));
        }
        let lower = line.trim_end().to_ascii_lowercase();
        if lower.is_empty() {
            break;
        }
        if let Some(value) = lower.strip_prefix("content-length:") {
            length = value.trim().parse::<usize>().ok();
        }
    }
    let mut body = vec![0; length.ok_or_else(|| wrong(format!("no length: {}", status.trim_end())))?];
    open.read_exact(&mut body)?;
    let body = String::from_utf8_lossy(&body);
    if !status.starts_with("HTTP/1.1 200") || body.contains("\"error\"") || body.contains("\"isError\":true") {
        return Err(wrong(format!("{}: {body}", status.trim_end())));
    }
    Ok(open)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_death_of_an_agent_explains() {
        let begin = Instant::now();
        let at = |ms: u64| begin + Duration::from_millis(ms);
        let down = (at(100), at(200));
        let call = |opened, from, to| {
            let call = Failed { port: 1, opened: at(opened), from: at(from), to: at(to), why: String::new() };
            call.is_cut_off(&down)
        };
        assert!(call(0, 90, 110), "under way when it was killed");
        assert!(call(150, 150, 151), "there was none");
        assert!(call(0, 216, 216), "over a connection that died with it");
        assert!(!call(0, 90, 99), "failed before");
        assert!(!call(150, 216, 216), "over a connection to the next one");
        assert!(!call(210, 210, 216), "afterwards");
    }
}
