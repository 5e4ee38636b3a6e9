//! The child's side: limits first, then read, compile, write.

use super::{ASK, MAGIC};
use rustix::process::{Resource, Rlimit, setrlimit};
use std::io::{Read as _, Write as _};

/// The exit status after a component that cannot be compiled; the message is on the error output.
pub(super) const REFUSED: i32 = 3;
/// The exit status after code that is too large.
pub(super) const TOO_LARGE: i32 = 4;
/// The exit status when the child cannot put the limits on itself.
pub(super) const NOT_CONFINED: i32 = 5;

/// Compiles what comes on standard input if this process was started for that, and then ends it; returns otherwise.
///
/// To be called first thing in the `main` of every program that loads plugins: before a thread is started, a file is
/// opened or the command line is read.
pub fn serve_if_asked() {
    let mut args = std::env::args().skip(1);
    if args.next().as_deref() != Some(ASK) {
        return;
    }
    std::process::exit(match Asked::read(args) {
        Some(asked) => serve(&asked),
        None => fail(NOT_CONFINED, "the limits of the compilation are missing"),
    });
}

/// What the parent asks for, in the order of its arguments.
struct Asked {
    memory: u64,
    cpu_seconds: u64,
    output: usize,
    threads: usize,
}

impl Asked {
    fn read(mut args: impl Iterator<Item = String>) -> Option<Self> {
        let mut next = || args.next()?.parse::<u64>().ok();
        let (memory, cpu_seconds, output, threads) = (next()?, next()?, next()?, next()?);
        Some(Self { memory, cpu_seconds, output: output.try_into().ok()?, threads: threads.try_into().ok()? })
    }
}

fn serve(asked: &Asked) -> i32 {
    if let Err(error) = confine(asked) {
        return fail(NOT_CONFINED, &format!("the limits of the compilation cannot be set: {error}"));
    }
    let mut wasm = Vec::new();
    if let Err(error) = std::io::stdin().lock().read_to_end(&mut wasm) {
        return fail(NOT_CONFINED, &format!("the component cannot be read: {error}"));
    }
    let code = crate::engine::compiling(asked.threads).and_then(|engine| engine.precompile_component(&wasm));
    match code {
        Ok(code) if code.len() > asked.output => TOO_LARGE,
        Ok(code) => {
            let mut out = std::io::stdout().lock();
            // A parent that is gone needs no answer.
            let written = out.write_all(MAGIC).and_then(|()| out.write_all(&code)).and_then(|()| out.flush());
            i32::from(written.is_err())
        }
        Err(error) => fail(REFUSED, &format!("{error:#}")),
    }
}

fn fail(status: i32, why: &str) -> i32 {
    let _ = std::io::stderr().write_all(why.as_bytes());
    status
}

/// Everything that this process will never need, it gives up for good: a hard limit cannot be raised again.
fn confine(asked: &Asked) -> std::io::Result<()> {
    let limit = |resource, most| setrlimit(resource, Rlimit { current: Some(most), maximum: Some(most) });
    rustix::thread::set_no_new_privs(true)?;
    limit(Resource::Core, 0)?;
    limit(Resource::As, asked.memory)?;
    limit(Resource::Fsize, 0)?;
    // At the soft limit the system sends a signal that says why, at the hard one it kills.
    let (soft, hard) = (asked.cpu_seconds, asked.cpu_seconds.saturating_add(1));
    setrlimit(Resource::Cpu, Rlimit { current: Some(soft), maximum: Some(hard) })?;
    close_inherited();
    // Standard input, output and error are open; nothing can be opened any more, no socket either.
    limit(Resource::Nofile, 3)?;
    Ok(())
}

/// Closes what the parent's own parent may have left open in it. The parent's own descriptors close themselves.
fn close_inherited() {
    let listed = std::fs::read_dir("/proc/self/fd").map(|entries| {
        let number = |name: std::ffi::OsString| name.to_str()?.parse::<i32>().ok();
        entries.filter_map(|entry| number(entry.ok()?.file_name())).collect::<Vec<_>>()
    });
    // The reader of the folder is in its own list, and gone by now.
    let open = listed.unwrap_or_else(|_| (3..1024).collect());
    for descriptor in open.into_iter().filter(|descriptor| *descriptor > 2) {
        #[expect(unsafe_code, reason = "nothing else closes a descriptor that nobody in this process owns")]
        // SAFETY: this is the first thing that the process does: it has no thread but this one, and nothing here has
        // opened a descriptor that is still in use. Whether the number is one at all is asked first.
        unsafe {
            if rustix::io::fcntl_getfd(std::os::fd::BorrowedFd::borrow_raw(descriptor)).is_ok() {
                rustix::io::close(descriptor);
            }
        }
    }
}
