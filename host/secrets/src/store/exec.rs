//! A program that prints a secret: `pass`, `op`, `gopass`, a script. There is no shell, and no environment but what is
//! listed.

use crate::config::{ExecConfig, Item};
use crate::error::{self, StoreError, quoted};
use crate::field::{LONGEST, Raw, too_long};
use crate::own::Own;
use basb_core::Digest;
use basb_redact::{Redactor, SecretName, SecretValue};
use rustix::process::{Pid, Signal, kill_process_group};
use std::ffi::OsStr;
use std::os::fd::AsRawFd;
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;
use std::process::Stdio;
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncReadExt};
use tokio::process::{Child, Command};
use zeroize::Zeroizing;

/// The largest program whose digest is taken, in bytes.
const LARGEST_PROGRAM: u64 = 512 * 1024 * 1024;
/// What a program sees of the environment beside what is listed.
const ALWAYS: [&str; 2] = ["PATH", "HOME"];

pub(crate) struct Program {
    config: ExecConfig,
    own: Own,
}

/// A running program. Whatever ends the wait for it ends its whole process group.
struct Running {
    child: Child,
    /// Until the program was waited for: after that, the number may be somebody else's.
    group: Option<Pid>,
}

impl Drop for Running {
    fn drop(&mut self) {
        if let Some(group) = self.group {
            // Gone already is what is wanted.
            let _ = kill_process_group(group, Signal::KILL);
        }
    }
}

/// Why reading what a program prints ended early.
enum Cut {
    TooLong,
    Failed(std::io::Error),
}

impl Program {
    pub fn new(config: ExecConfig, own: Own) -> Self {
        Self { config, own }
    }

    pub async fn read(&self, item: &Item, what: &str) -> Result<Raw, StoreError> {
        let checked = self.checked().await?;
        let mut command =
            Command::new(checked.as_ref().map_or_else(|| PathBuf::from(&self.config.program), Checked::path));
        command.arg0(&self.config.program);
        command.args(self.config.args.iter().map(|arg| arg.replace("{key}", &item.key)));
        command.current_dir(&self.own.base).process_group(0);
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        command.env_clear();
        for name in ALWAYS.into_iter().chain(self.config.env.iter().map(String::as_str)) {
            if let Some(value) = self.own.environment.get(name) {
                command.env(name, OsStr::from_bytes(value.expose()));
            }
        }
        let child = command.spawn().map_err(|e| {
            self.failed(error::UNAVAILABLE, &format!("cannot be started: {e}"), "check `command` and who may run it")
        })?;
        let group = child.id().and_then(|id| i32::try_from(id).ok()).and_then(Pid::from_raw);
        let mut running = Running { child, group };
        let limit = Duration::from_millis(self.config.timeout.0);
        match tokio::time::timeout(limit, self.finish(&mut running, what)).await {
            Ok(result) => result.map(Raw::Value),
            Err(_) => Err(self.failed(
                error::TIMEOUT,
                &format!("did not end within {}", self.config.timeout),
                "it may be waiting for somebody to type; if it needs longer, write `timeout: 30s`",
            )),
        }
    }

    async fn finish(&self, running: &mut Running, what: &str) -> Result<SecretValue, StoreError> {
        let (out, words) = (running.child.stdout.take(), running.child.stderr.take());
        // Both to their end before the program is waited for: until then its group's number is its own.
        let both = tokio::try_join!(collect(out), async { Ok(listen(words).await) });
        let (out, words) = both.map_err(|cut| match cut {
            Cut::TooLong => too_long(what),
            Cut::Failed(e) => self.failed(error::FAILED, &format!("cannot be read: {e}"), "try again"),
        })?;
        let status = running.child.wait().await;
        running.group = None;
        let status =
            status.map_err(|e| self.failed(error::FAILED, &format!("cannot be waited for: {e}"), "try again"))?;
        if !status.success() {
            let words = match words {
                Words::All(words) => self.without_secrets(&words, &out),
                Words::TooMany => "(too much to be shown)".to_owned(),
            };
            let words = if words.is_empty() { String::new() } else { format!(" and said: {words}") };
            let ended = match status.code() {
                Some(code) => format!("ended with exit code {code}"),
                None => "was killed by a signal".to_owned(),
            };
            return Err(self.failed(
                error::FAILED,
                &format!("did not give {what}: it {ended}{words}"),
                "run it by hand, in an empty environment: `env -i PATH=\"$PATH\" HOME=\"$HOME\" …`; add variables that \
                 it needs to `env`",
            ));
        }
        let bytes = out.strip_suffix(b"\n").unwrap_or(&out);
        if bytes.is_empty() {
            return Err(self.failed(error::EMPTY, &format!("printed nothing for {what}"), "check the key"));
        }
        Ok(SecretValue::new(bytes))
    }

    fn failed(&self, code: &'static str, why: &str, help: &str) -> StoreError {
        StoreError::new(code, format!("store `{}`: the program {} {why}", self.own.name, self.config.program), help)
    }

    /// What the program said on standard error, without what it printed, and without what it was given in `env`: a program
    /// that fails may complain about the very thing that it has just read.
    fn without_secrets(&self, words: &[u8], out: &[u8]) -> String {
        let own = Redactor::default();
        let pieces = out.split(|b| b.is_ascii_whitespace()).chain(out.split(|b| *b == b'\n')).chain([out]);
        let given = self.config.env.iter().filter_map(|name| self.own.environment.get(name));
        for (name, values) in
            [("output", pieces.map(SecretValue::new).collect::<Vec<_>>()), ("environment", given.collect())]
        {
            // What is too short to be found is too short to be a secret: the redactor refuses it there, too.
            let _ =
                SecretName::new(name).map(|name| own.learn_all(values.into_iter().map(|value| (name.clone(), value))));
        }
        let words = own.bytes(words);
        quoted(&self.own.redactor, &String::from_utf8_lossy(&words))
    }

    /// The opened program, if it has the digest that is written; `None` when none is written.
    async fn checked(&self) -> Result<Option<Checked>, StoreError> {
        let Some(wanted) = &self.config.sha256 else { return Ok(None) };
        let path = self.config.program.clone();
        let opened = tokio::task::spawn_blocking(move || Checked::open(&path)).await;
        let opened = opened.unwrap_or_else(|_| Err("reading it was cut off".to_owned()));
        let (checked, found) = opened.map_err(|why| {
            self.failed(error::UNAVAILABLE, &format!("cannot be read: {why}"), "check `command` and who may read it")
        })?;
        if found.hex() == wanted {
            return Ok(Some(checked));
        }
        let found = found.hex();
        Err(self.failed(
            error::FAILED,
            &format!("is not the one that was written down: its digest is {found}"),
            &format!("if the change is known and wanted, write `sha256: {found}`"),
        ))
    }
}

/// A program that was opened, looked at, and is started from what was opened: another file at the same path in between
/// changes nothing.
struct Checked(std::fs::File);

impl Checked {
    fn open(path: &str) -> Result<(Self, Digest), String> {
        use std::io::Read;
        let file = std::fs::File::open(path).map_err(|e| e.to_string())?;
        let mut bytes = Vec::new();
        let read =
            (&file).take(LARGEST_PROGRAM.saturating_add(1)).read_to_end(&mut bytes).map_err(|e| e.to_string())?;
        if u64::try_from(read).unwrap_or(u64::MAX) > LARGEST_PROGRAM {
            return Err(format!("it is larger than {LARGEST_PROGRAM} bytes"));
        }
        let digest = Digest::of(&bytes);
        Ok((Self(file), digest))
    }

    /// The host's own name of the opened file, which a script's interpreter can open too: the descriptor is not inherited.
    fn path(&self) -> PathBuf {
        PathBuf::from(format!("/proc/{}/fd/{}", std::process::id(), self.0.as_raw_fd()))
    }
}

/// What a program said on standard error.
enum Words {
    All(Zeroizing<Vec<u8>>),
    /// Cut somewhere, perhaps in the middle of a secret, where the redactor would not find it any more.
    TooMany,
}

/// All that a program prints, if it is not longer than a secret may be.
async fn collect(stream: Option<impl AsyncRead + Unpin>) -> Result<Zeroizing<Vec<u8>>, Cut> {
    let mut bytes = Zeroizing::new(Vec::new());
    if let Some(stream) = stream {
        // Two more than a secret may have: its line feed, and the one that is too many.
        let most = u64::try_from(LONGEST).unwrap_or(u64::MAX).saturating_add(2);
        stream.take(most).read_to_end(&mut bytes).await.map_err(Cut::Failed)?;
    }
    let length = bytes.strip_suffix(b"\n").unwrap_or(&bytes).len();
    if length > LONGEST { Err(Cut::TooLong) } else { Ok(bytes) }
}

/// What a program says; read to its end even when there is too much of it, so that the program does not wait for ever.
async fn listen(stream: Option<impl AsyncRead + Unpin>) -> Words {
    let mut kept = Zeroizing::new(Vec::new());
    let mut buffer = Zeroizing::new([0u8; 4096]);
    let mut words = 0;
    if let Some(mut stream) = stream {
        while let Ok(count) = stream.read(buffer.as_mut_slice()).await {
            if count == 0 {
                break;
            }
            words = count.saturating_add(words);
            if words <= LONGEST {
                kept.extend(buffer.iter().take(count));
            }
        }
    }
    if words <= LONGEST { Words::All(kept) } else { Words::TooMany }
}
