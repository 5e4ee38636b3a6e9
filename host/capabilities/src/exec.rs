//! Running a program that the operator granted by path and, where given, by digest. There is no shell.
//!
//! [`Exec::run`] is the one choke point. Stops a plugin from running anything else, from passing arguments that were not
//! foreseen, from inheriting or setting variables (secrets, `LD_PRELOAD`) that were not granted, from filling memory with
//! output, from leaving processes behind and from running other bytes than those of the granted digest (both: [`keeper`]),
//! and from reading a known secret in the output.

pub mod keeper;

use self::keeper::{Keeper, KeeperError, Kept, Program};
use crate::exchange::form;
use crate::grants::{Effect, ProgramGrant, TextPattern};
use crate::outside::Outside;
use crate::record::{Recording, Taken};
use crate::{CallScope, Capability, Limits, Mode, denial, placeholder, yaml_value};
use basb_redact::Redactor;
use serde::{Deserialize, Serialize};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::io::{AsyncRead, AsyncReadExt as _};

/// What to run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Command {
    /// The program's name in the grant.
    pub program: String,
    /// Its arguments.
    pub args: Vec<String>,
    /// Variables to set, of those that the grant lists.
    pub env: Vec<(String, String)>,
    /// What it reads on standard input.
    #[serde(default, with = "form::bytes", skip_serializing_if = "Vec::is_empty")]
    pub stdin: Vec<u8>,
    /// The longest it may take.
    #[serde(with = "form::millis")]
    pub timeout: Duration,
}

/// What it did.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Output {
    /// The exit status; none when it was ended by a signal.
    pub status: Option<i32>,
    /// Standard output.
    #[serde(default, with = "form::bytes", skip_serializing_if = "Vec::is_empty")]
    pub stdout: Vec<u8>,
    /// Standard error.
    #[serde(default, with = "form::bytes", skip_serializing_if = "Vec::is_empty")]
    pub stderr: Vec<u8>,
}

/// Why it did not run to its end. The texts are whole sentences for people.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[serde(rename_all = "camelCase")]
pub enum ExecError {
    /// The grant does not cover it; the text holds the lines that would.
    #[error("{0}")]
    Denied(String),
    /// It could not be started.
    #[error("{0}")]
    NotStarted(String),
    /// It took too long and was ended: the effect is in doubt.
    #[error("{0}")]
    TimedOut(String),
    /// It wrote more than the limit.
    #[error("{0}")]
    TooLarge(String),
    /// Anything else.
    #[error("{0}")]
    Other(String),
}

impl ExecError {
    fn word(&self) -> &'static str {
        match self {
            Self::Denied(_) => "denied",
            Self::NotStarted(_) => "not started",
            Self::TimedOut(_) => "timed out",
            Self::TooLarge(_) => "too large",
            Self::Other(_) => "failed",
        }
    }

    fn redacted(mut self, redactor: &Redactor) -> Self {
        let (Self::Denied(text)
        | Self::NotStarted(text)
        | Self::TimedOut(text)
        | Self::TooLarge(text)
        | Self::Other(text)) = &mut self;
        *text = redactor.text(text).into_owned();
        self
    }
}

/// Whether a list of arguments is of the granted form: one pattern for each, and a last `**` for any number more.
#[must_use]
pub fn args_match(patterns: &[TextPattern], args: &[String]) -> Fit {
    let (patterns, open) = match patterns.split_last() {
        Some((last, rest)) if last.as_str() == "**" => (rest, true),
        _ => (patterns, false),
    };
    let count = if open { args.len() >= patterns.len() } else { args.len() == patterns.len() };
    // A value that begins with `-` would be an option to the program: only a pattern that begins with one stands for it.
    let fits = |pattern: &TextPattern, arg: &String| {
        pattern.covers(arg) && (!arg.starts_with('-') || pattern.as_str().starts_with('-'))
    };
    if count && patterns.iter().zip(args).all(|(pattern, arg)| fits(pattern, arg)) { Fit::Yes } else { Fit::No }
}

/// Whether something is of the granted form.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fit {
    /// It is.
    Yes,
    /// It is not.
    No,
}

/// Which grant covers a command.
///
/// # Errors
/// What to tell the plugin.
fn decide<'a>(scope: &'a CallScope, command: &Command) -> Result<&'a ProgramGrant, String> {
    let wanted = || format!("the program `{}` with {:?}", command.program, command.args);
    if let Some(text) = denial::sealed(scope, &wanted()) {
        return Err(text);
    }
    let named: Vec<_> = scope.grants.exec.iter().filter(|grant| grant.program == command.program).collect();
    let lines = |path: &str| {
        let args: Vec<_> = command.args.iter().map(|arg| yaml_value(&TextPattern::literal(arg))).collect();
        let (name, path) = (yaml_value(&command.program), yaml_value(path));
        format!("exec:\n  - program: {name}\n    path: {path}\n    args: [{}]", args.join(", "))
    };
    let Some(first) = named.first() else {
        return Err(denial::not_granted(scope, &wanted(), &lines("/PATH/OF/PROGRAM")));
    };
    let mut fitting = named.iter().filter(|grant| args_match(&grant.args, &command.args) == Fit::Yes).peekable();
    if fitting.peek().is_none() {
        return Err(denial::not_granted(scope, &wanted(), &lines(&first.path.to_string_lossy())));
    }
    let mut why = String::new();
    for grant in fitting {
        if let Some((name, _)) = command.env.iter().find(|(name, _)| !grant.env.contains(name)) {
            why = format!(
                "the variable `{0}` is not granted; add to its entry in `grants`: `env: [{0}]`",
                crate::printable(name, 60)
            );
        } else if scope.mode == Mode::ReadOnly && grant.effect == Effect::Change {
            why = "this call may only read; if the program only reads, add to its entry in `grants`: `effect: read`"
                .to_owned();
        } else {
            return Ok(grant);
        }
    }
    Err(denial::refused(scope, &wanted(), &why))
}

/// Whether anything that the program would see holds a placeholder: nobody would replace it there.
fn holds_placeholder(command: &Command) -> bool {
    let args = command.args.iter().map(String::as_bytes);
    let env = command.env.iter().map(|(_, value)| value.as_bytes());
    args.chain(env).chain(std::iter::once(command.stdin.as_slice())).any(placeholder::is_in)
}

/// The capability.
#[derive(Debug)]
pub struct Exec {
    base_dir: PathBuf,
    limits: Limits,
    redactor: Redactor,
    keeper: Keeper,
    outside: Option<Arc<dyn Outside>>,
}

impl Exec {
    pub(crate) fn new(base_dir: PathBuf, limits: Limits, redactor: Redactor, keeper: Keeper) -> Self {
        Self { base_dir, limits, redactor, keeper, outside: None }
    }

    /// The same with something else in the place of programs.
    pub(crate) fn before(mut self, outside: Option<Arc<dyn Outside>>) -> Self {
        self.outside = outside;
        self
    }

    /// Runs a program to its end: the one choke point of this capability.
    ///
    /// # Errors
    /// [`ExecError`].
    pub async fn run(&self, scope: &CallScope, command: Command) -> Result<Output, ExecError> {
        let first = command.args.first().map(String::as_str).unwrap_or_default();
        // Redacted before it is cut off: half a secret would not be known again.
        let what = crate::printable(&self.redactor.text(&format!("{} {first}", command.program)), 100);
        let Some(recording) = scope.counters.begin(Capability::Exec, &what, &self.limits, &self.redactor) else {
            return Err(ExecError::Other(denial::too_many(scope, &self.limits)));
        };
        let result = self.run_unseen(scope, command, &recording).await;
        let result = result.map_err(|error| error.redacted(&self.redactor));
        let outcome = match &result {
            Ok(Output { status: Some(status), .. }) => format!("status {status}"),
            Ok(Output { status: None, .. }) => "ended by a signal".to_owned(),
            Err(error) => error.word().to_owned(),
        };
        if matches!(result, Err(ExecError::Denied(_))) {
            recording.deny();
        }
        recording.finish(&outcome);
        result
    }

    async fn run_unseen(
        &self,
        scope: &CallScope,
        command: Command,
        recording: &Recording<'_>,
    ) -> Result<Output, ExecError> {
        if scope.counters.take_request(self.limits.requests) == Taken::Exhausted {
            return Err(ExecError::Other(denial::requests_used_up(scope, &self.limits)));
        }
        let grant = decide(scope, &command).map_err(ExecError::Denied)?;
        if holds_placeholder(&command) {
            let wanted = format!("the program `{}`", command.program);
            return Err(ExecError::Denied(denial::misplaced_secret(scope, &wanted)));
        }
        if command.stdin.len() > self.limits.request_bytes {
            return Err(ExecError::TooLarge(format!(
                "{} bytes for standard input are over the limit",
                command.stdin.len()
            )));
        }
        if let Some(outside) = &self.outside {
            recording.allow(command.stdin.len() as u64, Vec::new());
            return outside.exec(&command).await;
        }
        let name = crate::printable(&command.program, 60);
        let start = Instant::now();
        let longest = command.timeout.min(scope.deadline.saturating_duration_since(start));
        let work = self.keep(grant, &command, recording);
        match tokio::time::timeout(longest, work).await {
            Ok(Ok(Output { status, stdout, stderr })) => {
                recording.received((stdout.len() + stderr.len()) as u64);
                let clean = |raw: Vec<u8>| self.redactor.bytes(&raw).into_owned();
                Ok(Output { status, stdout: clean(stdout), stderr: clean(stderr) })
            }
            Ok(Err(error)) => Err(error),
            Err(_) => {
                let ms = longest.as_millis();
                Err(ExecError::TimedOut(format!(
                    "`{name}` took longer than {ms} ms and was ended: its effect is in doubt"
                )))
            }
        }
    }

    async fn keep(
        &self,
        grant: &ProgramGrant,
        command: &Command,
        recording: &Recording<'_>,
    ) -> Result<Output, ExecError> {
        let name = crate::printable(&command.program, 60);
        let shown = grant.path.display();
        let fixed = [("PATH", "/usr/local/bin:/usr/bin:/bin"), ("LANG", "C.UTF-8")];
        let fixed = fixed.map(|(name, value)| (name.to_owned(), value.to_owned()));
        let env: Vec<(String, String)> = fixed.into_iter().chain(command.env.iter().cloned()).collect();
        let program = Program {
            path: &grant.path,
            sha256: grant.sha256.as_deref(),
            args: &command.args,
            env: &env,
            folder: &grant.folder.as_ref().map_or_else(|| self.base_dir.clone(), |f| self.base_dir.join(f)),
            input: &command.stdin,
        };
        let started = Kept::start(&self.keeper, program).await;
        if let Err(KeeperError::Differs { found }) = started {
            return Err(ExecError::Denied(format!(
                "{shown} is not the program that was granted: its digest is {found}; if the change is known and wanted, write `sha256: {found}`"
            )));
        }
        recording.allow(command.stdin.len() as u64, Vec::new());
        let mut kept = started
            .map_err(|error| ExecError::NotStarted(format!("`{name}` ({shown}) could not be started: {error}")))?;
        let (stdout, stderr) = (kept.stdout.take(), kept.stderr.take());
        let ended = async { kept.ended().await.map_err(|error| ExecError::Other(format!("`{name}`: {error}"))) };
        let limit = self.limits.output_bytes;
        let (stdout, stderr, status) =
            tokio::try_join!(bounded(stdout, limit, &name), bounded(stderr, limit, &name), ended)?;
        Ok(Output { status, stdout, stderr })
    }
}

async fn bounded(stream: Option<impl AsyncRead + Unpin>, limit: usize, name: &str) -> Result<Vec<u8>, ExecError> {
    let mut out = Vec::new();
    if let Some(stream) = stream {
        let read = stream.take(limit as u64 + 1).read_to_end(&mut out).await;
        read.map_err(|error| ExecError::Other(format!("the output of `{name}` cannot be read: {error}")))?;
    }
    if out.len() > limit {
        return Err(ExecError::TooLarge(format!(
            "`{name}` wrote more than {limit} bytes and was ended: its effect is in doubt"
        )));
    }
    Ok(out)
}
