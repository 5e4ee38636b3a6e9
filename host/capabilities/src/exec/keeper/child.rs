//! The keeper's side: reads its order, starts the program, sweeps up.

use super::descendants::end_all;
use super::sealed::Sealed;
use super::{ASK, MOST_ORDER, Order, Told};
use rustix::process::{Pid, Signal, WaitOptions, WaitStatus, getpid, set_child_subreaper, setsid, wait};
use std::io::{Read as _, Write as _};
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt as _;
use std::process::{Command, Stdio};
use std::time::Duration;

/// How long a keeper tries to end what a program has left behind.
const PATIENCE: Duration = Duration::from_secs(10);

/// Keeps a program if this process was started for that, and then ends it; returns otherwise.
///
/// To be called first thing in the `main` of every program that loads plugins: before a thread is started, a file is
/// opened or the command line is read.
pub fn serve_if_asked() {
    if std::env::args_os().nth(1).is_some_and(|first| first == ASK) {
        std::process::exit(i32::from(serve().is_err()));
    }
}

/// Why a keeper gives up: the host is gone, or what it says makes no sense. There is nobody to tell.
struct GivenUp;

impl From<std::io::Error> for GivenUp {
    fn from(_: std::io::Error) -> Self {
        Self
    }
}

impl From<rustix::io::Errno> for GivenUp {
    fn from(_: rustix::io::Errno) -> Self {
        Self
    }
}

fn serve() -> Result<(), GivenUp> {
    close_inherited();
    // Away from the terminal: what is typed or printed there is between the host and people.
    let _ = setsid();
    let mut host = UnixStream::from(rustix::io::dup(std::io::stdin())?);
    rustix::io::fcntl_setfd(&host, rustix::io::FdFlags::CLOEXEC)?;
    let told = match set_child_subreaper(Some(getpid())) {
        Ok(()) => start(&mut host)?,
        Err(error) => Err(Told::NotStarted { why: format!("its children could not be kept: {error}") }),
    };
    let (program, input, mut pipe) = match told {
        Ok(started) => started,
        Err(told) => return tell(&mut host, &told),
    };
    tell(&mut host, &Told::Started { group: program.as_raw_pid() })?;
    let mut watched = host.try_clone()?;
    // The host says nothing more. When it goes, everything goes.
    std::thread::Builder::new().spawn(move || {
        let mut nothing = [0; 1];
        while watched.read(&mut nothing).is_ok_and(|read| read > 0) {}
        end_all(PATIENCE);
        std::process::exit(0);
    })?;
    std::thread::Builder::new().spawn(move || {
        // A program that does not read its input to the end is no error.
        let _ = pipe.write_all(&input);
    })?;
    let status = until_end(program).and_then(WaitStatus::exit_status);
    let left = end_all(PATIENCE);
    tell(&mut host, &Told::Ended { status, left })
}

type Started = (Pid, Vec<u8>, std::process::ChildStdin);

/// Reads the order and starts the program; or what is to be told to the host instead.
fn start(host: &mut UnixStream) -> Result<Result<Started, Told>, GivenUp> {
    let mut length = [0; 8];
    host.read_exact(&mut length)?;
    let length = usize::try_from(u64::from_be_bytes(length)).ok().filter(|length| *length <= MOST_ORDER);
    let mut order = vec![0; length.ok_or(GivenUp)?];
    host.read_exact(&mut order)?;
    let order: Order = serde_json::from_slice(&order).map_err(|_| GivenUp)?;
    let mut input = vec![0; order.input_bytes];
    host.read_exact(&mut input)?;
    let not_started = |why: String| Ok(Err(Told::NotStarted { why }));
    // Kept open until the program has been started from it.
    let mut sealed = None;
    if let Some(wanted) = &order.sha256 {
        match Sealed::copy(&order.path) {
            Ok(copy) if copy.sha256 != *wanted => return Ok(Err(Told::Differs { found: copy.sha256 })),
            Ok(copy) => sealed = Some(copy),
            Err(why) => return not_started(why),
        }
    }
    let path = match sealed.as_mut().map(Sealed::path).transpose() {
        Ok(path) => path.unwrap_or_else(|| order.path.clone().into()),
        Err(why) => return not_started(why),
    };
    let mut command = Command::new(path);
    command
        .arg0(&order.path)
        .args(&order.args)
        .env_clear()
        .envs(order.env)
        .stdin(Stdio::piped())
        .stdout(Stdio::inherit())
        .stderr(Stdio::inherit())
        // A script that ends its whole group does not end its keeper.
        .process_group(0);
    #[expect(unsafe_code, reason = "there is no safe way to have a child do something before it becomes the program")]
    // SAFETY: what runs between fork and exec is one system call; this process has no other thread yet.
    unsafe {
        // Should the keeper be killed, the program goes with it.
        command.pre_exec(|| Ok(rustix::process::set_parent_process_death_signal(Some(Signal::KILL))?));
    }
    let mut child = match command.spawn() {
        Ok(child) => child,
        Err(error) => return not_started(error.to_string()),
    };
    let pid = i32::try_from(child.id()).ok().and_then(Pid::from_raw);
    match (pid, child.stdin.take()) {
        (Some(pid), Some(pipe)) => Ok(Ok((pid, input, pipe))),
        _ => Err(GivenUp),
    }
}

/// Waits for the program to end, and sweeps up whatever ends meanwhile.
fn until_end(program: Pid) -> Option<WaitStatus> {
    loop {
        match wait(WaitOptions::empty()) {
            Ok(Some((pid, status))) if pid == program => return Some(status),
            Ok(_) | Err(rustix::io::Errno::INTR) => {}
            // Somebody else has swept it up: the host is gone, and this process is about to end.
            Err(_) => return None,
        }
    }
}

fn tell(host: &mut UnixStream, told: &Told) -> Result<(), GivenUp> {
    let mut line = serde_json::to_vec(told).map_err(|_| GivenUp)?;
    line.push(b'\n');
    Ok(host.write_all(&line)?)
}

/// What the host's own parent may have left open in it ends with the keeper: the program does not get it.
fn close_inherited() {
    let Ok(entries) = std::fs::read_dir("/proc/self/fd") else { return };
    let number = |name: std::ffi::OsString| name.to_str()?.parse::<i32>().ok();
    let open: Vec<i32> = entries.flatten().filter_map(|entry| number(entry.file_name())).collect();
    for descriptor in open.into_iter().filter(|descriptor| *descriptor > 2) {
        #[expect(unsafe_code, reason = "nobody in this process owns these descriptors")]
        // SAFETY: the descriptor is only used for the time of this call, and one that is closed by now gives an error.
        let borrowed = unsafe { std::os::fd::BorrowedFd::borrow_raw(descriptor) };
        let _ = rustix::io::fcntl_setfd(borrowed, rustix::io::FdFlags::CLOEXEC);
    }
}
