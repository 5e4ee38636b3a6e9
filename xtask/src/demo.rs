//! The demonstration: four real services, a canary under load, and a broken release that is rolled back by itself.

use crate::setup;
use crate::shell::{self, Done, cargo, root, say, target};
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

/// What happens at the end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum After {
    /// Services go on running, and the state stays.
    Keep,
    /// Everything is stopped and removed.
    CleanUp,
}

/// The services' ports in the example.
const PORTS: [u16; 4] = [7101, 7102, 7103, 7104];
/// How many connections the load has.
const CONNECTIONS: usize = 8;

struct Stage {
    folder: PathBuf,
    host: PathBuf,
    program: PathBuf,
    after: After,
}

/// Runs it.
pub fn run(after: After) -> Done {
    setup::run_if_needed()?;
    say("== building (the first time takes a few minutes: wasmtime is compiled)");
    shell::run(&mut cargo(["build", "--locked", "-p", "basb-host"]))?;
    shell::run(&mut cargo(["build", "--locked", "-p", "second-brain"]))?;
    for port in PORTS {
        TcpListener::bind(("127.0.0.1", port))
            .map_err(|e| format!("port {port} is needed for the demonstration: {e}; stop what listens there"))?;
    }
    let folder = target().join("demo").join(std::process::id().to_string());
    std::fs::create_dir_all(&folder).map_err(|e| format!("{} cannot be made: {e}", folder.display()))?;
    let built = target().join("debug");
    let stage = Stage { folder, host: built.join("basb-host"), program: built.join("second-brain"), after };
    let played = stage.play();
    stage.close();
    played
}

impl Stage {
    fn play(&self) -> Done {
        say("\n== release 1: the first deployment; there is no old release, so no steps");
        self.deploy("1", 0)?;

        say(&format!("\n== release 2: a canary, while {CONNECTIONS} connections call the services without a pause"));
        let load = Load::start(CONNECTIONS);
        let deployed = self.deploy("2", 0);
        let seen = load.stop();
        deployed?;
        say(&format!("   under load: {seen}"));
        if seen.failed > 0 {
            return Err(format!("{} requests failed during the canary", seen.failed));
        }

        say("\n== release 3: it starts, answers its health check, and fails every fourth tool call");
        let load = Load::start(CONNECTIONS);
        let deployed = self.deploy("3", 3);
        let seen = load.stop();
        deployed?;
        say(&format!("   under load: {seen} (only the candidate's share of the traffic met the broken release)"));

        say("\n== what is deployed now");
        shell::run(&mut self.command(&["status"]))?;
        self.show_log()?;
        say(
            "\nThe demonstration is over: a release, a canary without a failed request, and a rollback that nobody asked for.",
        );
        Ok(())
    }

    fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(&self.host);
        command.args(args).arg("--state").arg(self.folder.join("state")).current_dir(root());
        command
    }

    fn deploy(&self, release: &str, expected: i32) -> Done {
        let file = root().join("examples/second-brain/deployment.yaml");
        let mut command = self.command(&["run"]);
        command.arg(file);
        for (name, value) in [
            ("release", release.to_owned()),
            ("program", self.program.display().to_string()),
            ("vault", self.vault().display().to_string()),
        ] {
            command.arg("--set").arg(format!("{name}={value}"));
        }
        say(&format!("$ basb-host run examples/second-brain/deployment.yaml --set release={release} …"));
        let status = command.status().map_err(|e| format!("basb-host could not be started: {e}"))?;
        match status.code() {
            Some(code) if code == expected => {
                say(&format!("   exit code {code}, as expected"));
                Ok(())
            }
            _ => Err(format!("release {release} ended with {status}, and {expected} was expected")),
        }
    }

    fn vault(&self) -> PathBuf {
        self.folder.join("vault")
    }

    fn show_log(&self) -> Done {
        let notes = self.vault().join("agent-workspaces/DevOps/deply-notes");
        let mut found = Vec::new();
        for entry in
            std::fs::read_dir(&notes).map_err(|e| format!("no daily log was written to {}: {e}", notes.display()))?
        {
            found.push(entry.map_err(|e| e.to_string())?.path());
        }
        for path in found {
            let text = std::fs::read_to_string(&path).map_err(|e| format!("{}: {e}", path.display()))?;
            let name = path.strip_prefix(self.vault()).unwrap_or(Path::new("log"));
            say(&format!("\n== the daily log in the vault: {}", name.display()));
            for line in text.lines() {
                // Obsidian hides what stands between %% marks.
                say(&format!("   {}", line.split(" %%").next().unwrap_or(line)));
            }
        }
        Ok(())
    }

    fn close(&self) {
        if self.after == After::Keep {
            say(&format!("\nkept in {}: stop the services with", self.folder.display()));
            say(&format!(
                "  {} agent stop --services --state {}",
                self.host.display(),
                self.folder.join("state").display()
            ));
            return;
        }
        if let Err(e) = self.command(&["agent", "stop", "--services", "--quiet"]).status() {
            say(&format!("the agent could not be stopped: {e}"));
        }
        if let Err(e) = std::fs::remove_dir_all(&self.folder) {
            say(&format!("{} could not be removed: {e}", self.folder.display()));
        }
    }
}

/// What the load saw.
struct Seen {
    total: u64,
    failed: u64,
    by_release: [u64; 4],
}

impl std::fmt::Display for Seen {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} tool calls, {} failed", self.total, self.failed)?;
        for (release, count) in self.by_release.iter().enumerate().filter(|(_, count)| **count > 0) {
            write!(f, ", {count} answered by release {release}")?;
        }
        Ok(())
    }
}

#[derive(Default)]
struct Counters {
    stop: AtomicBool,
    total: AtomicU64,
    failed: AtomicU64,
    by_release: [AtomicU64; 4],
}

/// Calls a tool that only reads, over and over.
struct Load {
    counters: Arc<Counters>,
    threads: Vec<JoinHandle<()>>,
}

impl Load {
    fn start(connections: usize) -> Self {
        let counters = Arc::new(Counters::default());
        let threads = PORTS
            .into_iter()
            .cycle()
            .take(connections)
            .map(|port| {
                let counters = Arc::clone(&counters);
                std::thread::spawn(move || call_until_stopped(port, &counters))
            })
            .collect();
        Self { counters, threads }
    }

    fn stop(self) -> Seen {
        self.counters.stop.store(true, Ordering::Relaxed);
        for thread in self.threads {
            // A thread that panicked has counted what it saw.
            let _ = thread.join();
        }
        let read = |c: &AtomicU64| c.load(Ordering::Relaxed);
        Seen {
            total: read(&self.counters.total),
            failed: read(&self.counters.failed),
            by_release: std::array::from_fn(|i| self.counters.by_release.get(i).map_or(0, read)),
        }
    }
}

fn call_until_stopped(port: u16, counters: &Counters) {
    let mut connection = None;
    while !counters.stop.load(Ordering::Relaxed) {
        let mut open = match connection.take() {
            Some(open) => open,
            None => match TcpStream::connect(("127.0.0.1", port)) {
                Ok(stream) => BufReader::new(stream),
                Err(_) => {
                    counters.total.fetch_add(1, Ordering::Relaxed);
                    counters.failed.fetch_add(1, Ordering::Relaxed);
                    std::thread::sleep(Duration::from_millis(10));
                    continue;
                }
            },
        };
        counters.total.fetch_add(1, Ordering::Relaxed);
        match call(&mut open, port) {
            Ok(answer) if !answer.contains("\"error\"") && !answer.contains("\"isError\":true") => {
                let release = (1..4).find(|r| answer.contains(&format!("\"release\":{r}")));
                if let Some(count) = release.and_then(|r| counters.by_release.get(r)) {
                    count.fetch_add(1, Ordering::Relaxed);
                }
                connection = Some(open);
            }
            Ok(_) => {
                counters.failed.fetch_add(1, Ordering::Relaxed);
                connection = Some(open);
            }
            Err(_) => {
                counters.failed.fetch_add(1, Ordering::Relaxed);
            }
        }
    }
}

/// One tool call in the protocol of 2026-07-28 over a connection that is kept open.
fn call(open: &mut BufReader<TcpStream>, port: u16) -> std::io::Result<String> {
    const BODY: &str = r#"{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"vault_stats","arguments":{},"_meta":{"io.modelcontextprotocol/protocolVersion":"2026-07-28","io.modelcontextprotocol/clientCapabilities":{},"io.modelcontextprotocol/clientInfo":{"name":"demo","version":"1"}}}}"#;
    let head = format!(
        "POST /mcp HTTP/1.1\r\nhost: 127.0.0.1:{port}\r\ncontent-type: application/json\r\n\
         accept: application/json, text/event-stream\r\nmcp-protocol-version: 2026-07-28\r\n\
         mcp-method: tools/call\r\nmcp-name: vault_stats\r\ncontent-length: {}\r\n\r\n",
        BODY.len()
    );
    let wrong = |why: &str| std::io::Error::other(why.to_owned());
    open.get_mut().set_read_timeout(Some(Duration::from_secs(10)))?;
    open.get_mut().write_all(format!("{head}{BODY}").as_bytes())?;
    let mut line = String::new();
    open.read_line(&mut line)?;
    if !line.starts_with("HTTP/1.1 200") {
        return Err(wrong("not 200"));
    }
    let mut length = None;
    loop {
        line.clear();
        if open.read_line(&mut line)? == 0 {
            return Err(wrong("cut off"));
        }
        let lower = line.trim_end().to_ascii_lowercase();
        if lower.is_empty() {
            break;
        }
        if let Some(value) = lower.strip_prefix("content-length:") {
            length = value.trim().parse::<usize>().ok();
        }
    }
    let mut body = vec![0; length.ok_or_else(|| wrong("no length"))?];
    open.read_exact(&mut body)?;
    String::from_utf8(body).map_err(|_| wrong("no text"))
}
