//! The host as a process: started, waited for, killed.

use rustix::process::{Pid, Signal, kill_process};
use std::fs::File;
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

/// How long anything may take that takes seconds on an idle machine.
pub const PATIENCE: Duration = Duration::from_secs(180);

/// What went wrong, in words.
pub type Result<T> = std::result::Result<T, String>;

/// Where a host kills or stops itself: what `BASB_CRASH_AT` of `basb-host-crash` understands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct At(pub String);

impl At {
    /// Killed before the commit with which the journal has so many entries.
    #[must_use]
    pub fn before(entry: u64) -> Self {
        Self(format!("kill-before:{entry}"))
    }

    /// Killed after it.
    #[must_use]
    pub fn after(entry: u64) -> Self {
        Self(format!("kill-after:{entry}"))
    }
}

/// A program that lies beside this one.
///
/// # Errors
/// When it was not built.
pub fn program(name: &str) -> Result<PathBuf> {
    let own = std::env::current_exe().map_err(|e| e.to_string())?;
    let found = own.ancestors().skip(1).take(2).map(|folder| folder.join(name)).find(|path| path.exists());
    found.ok_or_else(|| format!("{name} is missing beside {}: `cargo xtask crash` builds it", own.display()))
}

/// A place for a host: its working folder, its state, and what it always gets to know.
#[derive(Debug, Clone)]
pub struct Host {
    /// The folder that it works in; what it writes is kept there.
    pub folder: PathBuf,
    /// Its state folder.
    pub state: PathBuf,
    /// Variables of its environment.
    pub env: Vec<(String, String)>,
}

/// How a command ended.
#[derive(Debug)]
pub struct Ended {
    /// How.
    pub status: ExitStatus,
    /// Standard output.
    pub stdout: String,
    /// Standard error.
    pub stderr: String,
}

impl Ended {
    /// Whether a SIGKILL ended it.
    #[must_use]
    pub fn killed(&self) -> bool {
        self.status.signal() == Some(Signal::KILL.as_raw())
    }

    /// Itself, if it ended with this code.
    ///
    /// # Errors
    /// What it said, if it did not.
    pub fn exits(self, code: i32) -> Result<Self> {
        if self.status.code() == Some(code) {
            return Ok(self);
        }
        let last = |text: &str| {
            text.lines().rev().take(6).collect::<Vec<_>>().into_iter().rev().collect::<Vec<_>>().join(" | ")
        };
        Err(format!("{} instead of code {code}: {} / {}", self.status, last(&self.stderr), last(&self.stdout)))
    }
}

/// What became of a host that was to stop itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Came {
    /// It is at its place, and stopped.
    ToItsPlace,
    /// It is over: it wrote fewer entries than the place has.
    ToItsEnd,
}

/// A command that runs. Killed when dropped.
#[derive(Debug)]
pub struct Running {
    child: Child,
    out: PathBuf,
    err: PathBuf,
}

impl Host {
    /// Starts the product.
    ///
    /// # Errors
    /// When it does not start.
    pub fn start(&self, args: &[&str]) -> Result<Running> {
        self.begin(Command::new(program("basb-host")?), args)
    }

    /// Runs the product to its end.
    ///
    /// # Errors
    /// When it does not start, or does not end.
    pub fn run(&self, args: &[&str]) -> Result<Ended> {
        self.start(args)?.end()
    }

    /// Starts the host that kills or stops itself.
    ///
    /// # Errors
    /// When it does not start.
    pub fn start_crashing(&self, at: &At, args: &[&str]) -> Result<Running> {
        let mut command = Command::new(program("basb-host-crash")?);
        command.env("BASB_CRASH_AT", &at.0);
        self.begin(command, args)
    }

    fn begin(&self, mut command: Command, args: &[&str]) -> Result<Running> {
        let number = std::fs::read_dir(&self.folder).map_err(|e| e.to_string())?.count();
        let (out, err) = (self.folder.join(format!("{number}.out")), self.folder.join(format!("{number}.err")));
        let open = |path: &Path| File::create(path).map_err(|e| format!("{}: {e}", path.display()));
        command.args(args).current_dir(&self.folder).env("BASB_HOST_STATE", &self.state);
        for name in ["NO_COLOR", "CLICOLOR", "CLICOLOR_FORCE", "BASB_HOST_LOG", "RUST_LOG"] {
            command.env_remove(name);
        }
        command.envs(self.env.iter().map(|(name, value)| (name, value)));
        command.stdin(Stdio::null()).stdout(open(&out)?).stderr(open(&err)?);
        let child = command.spawn().map_err(|e| format!("{command:?}: {e}"))?;
        Ok(Running { child, out, err })
    }
}

impl Running {
    /// Its process id.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Sends a signal.
    pub fn signal(&self, signal: Signal) {
        // One that has ended is waited for by us, so its number is not another's yet.
        let _ = kill_process(Pid::from_child(&self.child), signal);
    }

    /// Whether it runs still.
    pub fn runs(&mut self) -> bool {
        matches!(self.child.try_wait(), Ok(None))
    }

    /// What it wrote to standard output so far.
    #[must_use]
    pub fn output(&self) -> String {
        std::fs::read_to_string(&self.out).unwrap_or_default()
    }

    /// Ends it by SIGKILL, unless it has ended by itself.
    ///
    /// # Errors
    /// When it does not end.
    pub fn kill(mut self) -> Result<Ended> {
        if self.runs() {
            self.signal(Signal::KILL);
        }
        self.end()
    }

    /// Waits for its end.
    ///
    /// # Errors
    /// When it does not end within [`PATIENCE`].
    pub fn end(mut self) -> Result<Ended> {
        let began = Instant::now();
        loop {
            if let Some(status) = self.child.try_wait().map_err(|e| e.to_string())? {
                let read = |path: &Path| std::fs::read_to_string(path).unwrap_or_default();
                return Ok(Ended { status, stdout: read(&self.out), stderr: read(&self.err) });
            }
            if began.elapsed() > PATIENCE {
                return Err(format!("it did not end within {PATIENCE:?}: {}", self.output()));
            }
            std::thread::sleep(Duration::from_millis(3));
        }
    }

    /// Waits until it has stopped itself, or has ended.
    ///
    /// # Errors
    /// When it goes on.
    pub fn until_stopped(&mut self) -> Result<Came> {
        let began = Instant::now();
        while began.elapsed() < PATIENCE {
            if !self.runs() {
                return Ok(Came::ToItsEnd);
            }
            let stat = std::fs::read_to_string(format!("/proc/{}/stat", self.pid())).unwrap_or_default();
            if stat.rsplit_once(')').is_some_and(|(_, rest)| rest.trim_start().starts_with('T')) {
                return Ok(Came::ToItsPlace);
            }
            std::thread::sleep(Duration::from_millis(3));
        }
        Err("it did not stop itself".to_owned())
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if self.runs() {
            let _ = self.child.kill();
            let _ = self.child.wait();
        }
    }
}

/// Copies a folder. Compiled code, which is large and never changed in place, is linked.
///
/// # Errors
/// What the file system says.
pub fn copy_folder(from: &Path, to: &Path) -> std::io::Result<()> {
    use std::os::unix::fs::{DirBuilderExt, PermissionsExt};
    let mode = std::fs::metadata(from)?.permissions().mode() & 0o777;
    std::fs::DirBuilder::new().recursive(true).mode(mode).create(to)?;
    for entry in std::fs::read_dir(from)? {
        let entry = entry?;
        let target = to.join(entry.file_name());
        if entry.file_type()?.is_dir() {
            copy_folder(&entry.path(), &target)?;
        } else if entry.path().extension().is_some_and(|e| e == "cwasm") {
            std::fs::hard_link(entry.path(), target)?;
        } else if entry.file_type()?.is_file() {
            std::fs::copy(entry.path(), target)?;
        }
    }
    Ok(())
}

/// A small generator of numbers: the same seed, the same kills (splitmix64).
#[derive(Debug, Clone)]
pub struct Random(pub u64);

impl Random {
    /// A number below `limit`, or 0.
    pub fn below(&mut self, limit: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        (z ^ (z >> 31)).checked_rem(limit).unwrap_or(0)
    }
}
