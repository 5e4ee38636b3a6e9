//! The parent's side: starts the child, sends, reads, and ends it at the limit.

use super::child::{NOT_CONFINED, REFUSED, TOO_LARGE};
use super::{CompileError, CompileLimits, Compiler, MAGIC};
use basb_capabilities::printable;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use std::io::{ErrorKind, Read as _, Write as _};
use std::os::unix::process::ExitStatusExt as _;
use std::process::{Child, ChildStdin, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

/// The most that is kept of what the child writes about itself, in bytes.
const MOST_WORDS: usize = 64 << 10;

/// How much is read at once, in bytes.
const CHUNK: usize = 64 << 10;

pub(super) fn compile(compiler: &Compiler, wasm: &[u8], threads: usize) -> Result<Vec<u8>, CompileError> {
    let unavailable = |why: String| CompileError::Unavailable { program: compiler.program.clone(), why };
    let limits = &compiler.limits;
    let deadline = Instant::now() + limits.wall;
    let child = Command::new(&compiler.program)
        .args(&compiler.args)
        .args([limits.memory, limits.cpu.as_secs().max(1), limits.output as u64, threads as u64].map(|n| n.to_string()))
        .env_clear()
        // The one thing that the thread pool of the compiler can be told in no other way.
        .env("RAYON_NUM_THREADS", threads.to_string())
        .current_dir("/")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .map_err(|error| unavailable(error.to_string()))?;
    let mut child = Ending(child);
    let (code, words) = exchange(&mut child.0, wasm, limits, deadline)?;
    let status = child.wait(deadline, limits)?;
    let words = printable(String::from_utf8_lossy(&words).trim(), 1000);
    judge(status, code, words, limits, unavailable)
}

/// Makes sure that the child is gone, whatever happened.
struct Ending(Child);

impl Ending {
    fn wait(&mut self, deadline: Instant, limits: &CompileLimits) -> Result<ExitStatus, CompileError> {
        // It has closed its outputs, so it is about to end.
        let mut pause = Duration::from_micros(50);
        loop {
            match self.0.try_wait() {
                Ok(Some(status)) => return Ok(status),
                Ok(None) if Instant::now() < deadline => std::thread::sleep(pause),
                Ok(None) => return Err(CompileError::Time { limit: limits.wall }),
                Err(error) => return Err(CompileError::Crashed(error.to_string())),
            }
            pause = (pause * 2).min(Duration::from_millis(20));
        }
    }
}

impl Drop for Ending {
    fn drop(&mut self) {
        // Of one that has ended already, both only return its status.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// What the child wrote, in the order of its outputs.
type Written = (Vec<u8>, Vec<u8>);

/// Sends and reads at the same time: whoever only sent would wait for a child that waits for its reader.
fn exchange(
    child: &mut Child,
    wasm: &[u8],
    limits: &CompileLimits,
    deadline: Instant,
) -> Result<Written, CompileError> {
    let crashed = |error: std::io::Error| CompileError::Crashed(error.to_string());
    let mut input = child.stdin.take();
    let (Some(mut output), Some(mut words)) = (child.stdout.take(), child.stderr.take()) else {
        return Err(CompileError::Crashed("it has no standard streams".to_owned()));
    };
    if let Some(input) = &input {
        rustix::io::ioctl_fionbio(input, true).map_err(|error| crashed(error.into()))?;
    }
    let mut rest = wasm;
    let (mut code, mut said) = (Vec::new(), Vec::new());
    let (mut output_open, mut words_open) = (true, true);
    let mut buffer = vec![0; CHUNK];
    while output_open || words_open {
        let left = deadline.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Err(CompileError::Time { limit: limits.wall });
        }
        let ready = wait_for(input.as_ref(), output_open.then_some(&output), words_open.then_some(&words), left);
        let [to_write, to_read, to_hear] = ready.map_err(crashed)?;
        if to_write {
            input = send(input, &mut rest).map_err(crashed)?;
        }
        if to_read {
            let read = output.read(&mut buffer).map_err(crashed)?;
            output_open = read > 0;
            code.extend_from_slice(buffer.get(..read).unwrap_or_default());
            if code.len() > limits.output.saturating_add(MAGIC.len()) {
                return Err(CompileError::Output { limit: limits.output });
            }
        }
        if to_hear {
            let read = words.read(&mut buffer).map_err(crashed)?;
            words_open = read > 0;
            // What is over the limit is read and forgotten, or the child would wait for ever.
            let room = MOST_WORDS.saturating_sub(said.len()).min(read);
            said.extend_from_slice(buffer.get(..room).unwrap_or_default());
        }
    }
    Ok((code, said))
}

/// Sends what the child takes now; closes its input after the last byte, or when it has gone.
fn send(input: Option<ChildStdin>, rest: &mut &[u8]) -> std::io::Result<Option<ChildStdin>> {
    let Some(mut pipe) = input else { return Ok(None) };
    match pipe.write(rest) {
        Ok(written) => *rest = rest.get(written..).unwrap_or_default(),
        Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted) => {}
        // Why it stopped reading is told by its end.
        Err(error) if error.kind() == ErrorKind::BrokenPipe => return Ok(None),
        Err(error) => return Err(error),
    }
    Ok(if rest.is_empty() { None } else { Some(pipe) })
}

fn wait_for(
    input: Option<&ChildStdin>,
    output: Option<&std::process::ChildStdout>,
    words: Option<&std::process::ChildStderr>,
    left: Duration,
) -> std::io::Result<[bool; 3]> {
    let mut asked = Vec::with_capacity(3);
    asked.extend(input.map(|pipe| PollFd::new(pipe, PollFlags::OUT)));
    asked.extend(output.map(|pipe| PollFd::new(pipe, PollFlags::IN)));
    asked.extend(words.map(|pipe| PollFd::new(pipe, PollFlags::IN)));
    let timeout =
        Timespec { tv_sec: left.as_secs().try_into().unwrap_or(i64::MAX), tv_nsec: left.subsec_nanos().into() };
    match poll(&mut asked, Some(&timeout)) {
        Ok(_) => {}
        Err(rustix::io::Errno::INTR) => return Ok([false; 3]),
        Err(error) => return Err(error.into()),
    }
    // An end or an error is something to read too.
    let mut ready = asked.iter().map(|descriptor| !descriptor.revents().is_empty());
    let mut next = |asked: bool| asked && ready.next().unwrap_or(false);
    Ok([next(input.is_some()), next(output.is_some()), next(words.is_some())])
}

/// What its end means.
fn judge(
    status: ExitStatus,
    mut code: Vec<u8>,
    words: String,
    limits: &CompileLimits,
    unavailable: impl Fn(String) -> CompileError,
) -> Result<Vec<u8>, CompileError> {
    let short_of_memory = ["memory allocation of", "Cannot allocate memory", "out of memory", "failed to spawn thread"]
        .iter()
        .any(|part| words.contains(part));
    match (status.code(), status.signal()) {
        (Some(0), _) if code.starts_with(MAGIC) => {
            code.drain(..MAGIC.len());
            Ok(code)
        }
        (Some(0), _) => Err(unavailable(
            "it is no compiler: its `main` has to begin with `basb_runtime::compiler::serve_if_asked()`".to_owned(),
        )),
        (Some(TOO_LARGE), _) => Err(CompileError::Output { limit: limits.output }),
        (Some(NOT_CONFINED), _) => Err(unavailable(words)),
        (_, Some(signal)) if signal == rustix::process::Signal::XCPU.as_raw() => {
            Err(CompileError::Time { limit: limits.cpu })
        }
        _ if short_of_memory => Err(CompileError::Memory { limit: limits.memory }),
        (Some(REFUSED), _) => Err(CompileError::Invalid(words)),
        (Some(other), _) => Err(CompileError::Crashed(format!("it ended with status {other}: {words}"))),
        (None, signal) => {
            Err(CompileError::Crashed(format!("it was ended by signal {}: {words}", signal.unwrap_or_default())))
        }
    }
}
