//! One test's own place: a folder with state, vault and deployment file, and the end of everything started from it.

use crate::command::{Following, Output};
use crate::file::FileOptions;
use crate::{Cloud, wait_for};
use basb_core::RunId;
use basb_journal::{Journal, RunFilter};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use std::cell::Cell;
use std::io::{Read, Write};
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicU16, Ordering};
use std::sync::{Once, OnceLock};
use tempfile::TempDir;

/// One test's own place. Everything that was started from it ends when it is dropped, however the test ends; and when the
/// test has passed, every run that it made is played back and must be byte for byte what it was, and no entry of it may be
/// older than the one before it.
#[derive(Debug)]
pub struct Lab {
    root: TempDir,
    port: u16,
    second: u16,
    replayed: Cell<Replayed>,
}

/// What becomes of a lab's runs when its test is over.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Replayed {
    /// Each is played back, and must be byte for byte what it was.
    All,
    /// Nothing: the test has changed what is on record.
    None,
}

/// A binary of this workspace, from the folder that the tests are built in.
///
/// # Panics
/// When it is not there; the message tells how to build it.
#[must_use]
pub fn program(name: &str) -> PathBuf {
    let tests = std::env::current_exe().unwrap();
    let path = tests.parent().and_then(Path::parent).unwrap().join(name);
    assert!(path.is_file(), "{} is missing: run `cargo build -p {name}` first", path.display());
    path
}

/// A loopback port that nobody listens on, outside of the range that outgoing connections are served from, and handed
/// out once only by this process.
///
/// # Panics
/// When there is none.
#[must_use]
pub fn free_port() -> u16 {
    static NEXT: AtomicU16 = AtomicU16::new(0);
    static START: Once = Once::new();
    // Different test processes begin at different places.
    START.call_once(|| NEXT.store(u16::try_from(std::process::id() % 180).unwrap() * 25, Ordering::Relaxed));
    for _ in 0..4_500 {
        let port = 10_200 + NEXT.fetch_add(1, Ordering::Relaxed) % 4_500;
        if TcpListener::bind(("127.0.0.1", port)).is_ok() {
            return port;
        }
    }
    panic!("no port is free");
}

impl Lab {
    /// A place with an empty state folder (but with the compiled builtin plugins) and an empty vault.
    #[expect(clippy::new_without_default, reason = "it makes folders")]
    #[must_use]
    pub fn new() -> Self {
        let _ = (program("basb-host"), program("second-brain"));
        let lab = Self::bare();
        lab.seed_cache();
        lab
    }

    fn bare() -> Self {
        let root = tempfile::Builder::new().prefix("basb-e2e-").tempdir().unwrap();
        std::fs::create_dir(root.path().join("vault")).unwrap();
        Self { root, port: free_port(), second: free_port(), replayed: Cell::new(Replayed::All) }
    }

    /// Compiling the builtin plugins takes seconds in this build: once for each target folder is enough.
    fn seed_cache(&self) {
        static WARM: OnceLock<PathBuf> = OnceLock::new();
        let warm = WARM.get_or_init(|| {
            let target = program("basb-host").ancestors().nth(2).unwrap().to_owned();
            let folder = target.join("tmp/basb-e2e");
            std::fs::create_dir_all(&folder).unwrap();
            let lab = Self::bare();
            for strategy in ["strategy-canary", "strategy-blue-green", "strategy-rolling"] {
                lab.write(&FileOptions { strategy, config: "{}", ..FileOptions::default() });
                let _ = lab.host(&["--state", folder.to_str().unwrap(), "validate"]);
            }
            folder.join("cache")
        });
        let to = self.state().join("cache");
        std::fs::create_dir_all(&to).unwrap();
        std::fs::set_permissions(&to, std::fs::Permissions::from_mode(0o700)).unwrap();
        for entry in std::fs::read_dir(warm).unwrap().map(Result::unwrap) {
            std::fs::copy(entry.path(), to.join(entry.file_name())).unwrap();
        }
    }

    /// The folder with everything in it.
    #[must_use]
    pub fn root(&self) -> &Path {
        self.root.path()
    }

    /// The state folder.
    #[must_use]
    pub fn state(&self) -> PathBuf {
        self.root().join("state")
    }

    /// The vault.
    #[must_use]
    pub fn vault(&self) -> PathBuf {
        self.root().join("vault")
    }

    /// The deployment file.
    #[must_use]
    pub fn file(&self) -> PathBuf {
        self.root().join("deployment.yaml")
    }

    /// The port of the first service.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.port
    }

    /// The port of the second service.
    #[must_use]
    pub fn second_port(&self) -> u16 {
        self.second
    }

    /// Writes the deployment file, and returns its text.
    pub fn write(&self, options: &FileOptions) -> String {
        let text = options.text(self.port, self.second);
        self.write_text(&text);
        text
    }

    /// Writes the deployment file as it is given.
    ///
    /// # Panics
    /// When it cannot be written.
    pub fn write_text(&self, text: &str) {
        std::fs::write(self.file(), text).unwrap();
    }

    /// A `basb-host` command in this place, without anything of the environment that could change what it does.
    #[must_use]
    pub fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(program("basb-host"));
        command.args(args).current_dir(self.root()).env("BASB_HOST_STATE", self.state());
        for name in ["NO_COLOR", "CLICOLOR", "CLICOLOR_FORCE", "BASB_HOST_LOG", "RUST_LOG"] {
            command.env_remove(name);
        }
        command
    }

    /// Runs `basb-host` to its end.
    #[must_use]
    pub fn host(&self, args: &[&str]) -> Output {
        Following::start(self.command(args)).end()
    }

    /// Starts `basb-host`, to be followed.
    #[must_use]
    pub fn follow(&self, args: &[&str]) -> Following {
        Following::start(self.command(args))
    }

    /// `basb-host run --json` of a release, to its end.
    #[must_use]
    pub fn run(&self, release: u8) -> Output {
        self.start(release).end()
    }

    /// `basb-host run --json` of a release, to be followed.
    #[must_use]
    pub fn start(&self, release: u8) -> Following {
        self.follow(&["--json", "run", "--set", &format!("release={release}")])
    }

    /// What the one-machine cloud says of itself and its services.
    #[must_use]
    pub fn cloud(&self) -> Cloud {
        Cloud::read(&self.host(&["--json", "agent", "status"]).exits(0).json())
    }

    /// Asks the one-machine cloud for something behind the host's back: a path below a service's own, such as `/traffic`.
    ///
    /// # Panics
    /// When it is not answered with success.
    pub fn behind(&self, service: &str, method: &str, path: &str, body: &Value) -> Value {
        let mut agent = UnixStream::connect(self.state().join("agent/agent.sock")).unwrap();
        // In one write, and no body where there is none: a server may answer and close before it has read one.
        let body = if body.is_null() { String::new() } else { body.to_string() };
        let request = format!(
            "{method} /v1/services/{service}{path} HTTP/1.0\r\nhost: agent\r\nconnection: close\r\ncontent-type: \
             application/json\r\ncontent-length: {}\r\n\r\n{body}",
            body.len()
        );
        agent.write_all(request.as_bytes()).unwrap();
        let mut answer = String::new();
        agent.read_to_string(&mut answer).unwrap();
        let (head, body) = answer.split_once("\r\n\r\n").unwrap();
        assert!(head.starts_with("HTTP/1.0 2"), "{method} {path}: {answer}");
        serde_json::from_str(body).unwrap_or_else(|e| panic!("{e}: {answer}"))
    }

    /// The runs that the journal knows, newest first, as `(id, outcome)`.
    ///
    /// # Panics
    /// When the history is not what it should be.
    #[must_use]
    pub fn history(&self) -> Vec<(String, String)> {
        let history = self.host(&["--json", "history"]).exits(0).json();
        let text = |v: &Value| v.as_str().unwrap().to_owned();
        history["runs"].as_array().unwrap().iter().map(|r| (text(&r["run"]), text(&r["outcome"]))).collect()
    }

    /// Whether nothing was changed: no run is known, no service, no process.
    ///
    /// # Panics
    /// When something was.
    #[track_caller]
    pub fn untouched(&self) {
        assert_eq!(self.history(), []);
        assert!(!self.state().join("agent").exists(), "an agent was started");
        assert_eq!(self.processes(), Vec::<u32>::new());
    }

    /// Whether the hash chain of a run holds from its first entry to its last, and the file is whole.
    ///
    /// # Panics
    /// When it does not.
    pub fn verify_journal(&self, run: &str) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let journal = Journal::open(&self.state().join("journal")).unwrap();
            journal.check_file().await.unwrap();
            journal.verify(&RunId::new(run).unwrap()).await.unwrap();
        });
    }

    /// Today's and, around midnight, yesterday's daily logs.
    ///
    /// # Panics
    /// When there is none.
    #[must_use]
    pub fn daily_logs(&self) -> Vec<PathBuf> {
        let folder = self.vault().join("agent-workspaces/DevOps/deply-notes");
        let mut found: Vec<_> = std::fs::read_dir(&folder)
            .unwrap_or_else(|e| panic!("no daily log: {}: {e}", folder.display()))
            .map(|entry| entry.unwrap().path())
            .collect();
        found.sort();
        found
    }

    /// Processes whose command line or folder is in this place.
    fn processes(&self) -> Vec<u32> {
        let root = self.root().to_str().unwrap().to_owned();
        let own = std::process::id();
        let all = std::fs::read_dir("/proc").unwrap().map_while(Result::ok);
        let pids = all.filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok());
        pids.filter(|pid| *pid != own)
            .filter(|pid| {
                let line = std::fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
                let folder = std::fs::read_link(format!("/proc/{pid}/cwd")).unwrap_or_default();
                String::from_utf8_lossy(&line).contains(&root) || folder.starts_with(&root)
            })
            .collect()
    }

    /// Stops agent and services, and waits until none of their processes is left.
    ///
    /// # Panics
    /// When they do not end.
    pub fn stop(&self) {
        self.host(&["agent", "stop", "--services"]).exits(0);
        wait_for("the end of all processes", || self.processes().is_empty().then_some(()));
    }
}

impl Lab {
    /// What is on record here was changed by the test itself, or is gone: its runs are not played back. The reason is for
    /// whoever reads the test.
    pub fn replays_nothing(&self, _because: &str) {
        self.replayed.set(Replayed::None);
    }

    /// What the playing back of every run says where it is not what it was.
    fn differing_replays(&self) -> Vec<String> {
        if self.replayed.get() == Replayed::None || !self.state().join("journal").is_dir() {
            return Vec::new();
        }
        let runs = self.history();
        let replays = runs.iter().map(|(run, outcome)| (run, outcome, self.host(&["replay", run])));
        let differing = replays.filter(|(.., out)| out.code != Some(0));
        differing.map(|(run, outcome, out)| format!("{run} ({outcome}): {}{}", out.stdout, out.stderr)).collect()
    }

    /// The entries that are older than the one before them. A journal that a test has damaged is not read.
    fn entries_out_of_order(&self) -> Vec<String> {
        if self.replayed.get() == Replayed::None || !self.state().join("journal").is_dir() {
            return Vec::new();
        }
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let journal = Journal::open(&self.state().join("journal")).unwrap();
            let mut wrong = Vec::new();
            for record in journal.runs(RunFilter::default(), 1000).await.unwrap() {
                let run = record.start.run;
                let entries = journal.entries(&run, 1).await.unwrap();
                let older = entries.windows(2).filter(|two| two[1].at < two[0].at);
                wrong.extend(older.map(|two| format!("{run}: {} at {} after {}", two[1].seq, two[1].at, two[0].at)));
            }
            wrong
        })
    }
}

impl Drop for Lab {
    fn drop(&mut self) {
        let failed = std::thread::panicking();
        let (differing, older) =
            if failed { Default::default() } else { (self.differing_replays(), self.entries_out_of_order()) };
        self.end();
        assert!(older.is_empty(), "entries are older than those before them:\n{}", older.join("\n"));
        assert!(differing.is_empty(), "played back, it is not what it was:\n{}", differing.join("\n"));
    }
}

impl Lab {
    fn end(&self) {
        if self.state().join("agent").exists() && !self.processes().is_empty() {
            let _ = self.command(&["agent", "stop", "--services"]).output();
        }
        for _ in 0..200 {
            let left = self.processes();
            if left.is_empty() {
                return;
            }
            for pid in left {
                let pid = i32::try_from(pid).ok().and_then(Pid::from_raw);
                if let Some(pid) = pid {
                    let _ = kill_process(pid, Signal::KILL);
                }
            }
            std::thread::sleep(std::time::Duration::from_millis(10));
        }
        eprintln!("processes are left: {:?}", self.processes());
    }
}
