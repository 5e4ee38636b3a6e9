//! A program that listens, and that is stopped when nobody needs it any more.

use crate::port;
use rustix::process::{Pid, Signal, kill_process_group};
use std::fs::File;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// How long a program may take until it listens: a machine that also compiles is slow.
const LONGEST: Duration = Duration::from_secs(60);

/// A running program in a process group of its own; the group is killed when this is dropped.
#[derive(Debug)]
pub struct Process(Child);

impl Process {
    /// Starts what `command` makes for a free port of 127.0.0.1, and waits until it listens there; the port. A program that
    /// ends before is started once more on another port: somebody else may have been faster.
    ///
    /// # Panics
    /// When it cannot be started, ends each time, or does not listen; with what it said.
    #[must_use]
    pub fn listening(name: &str, mut command: impl FnMut(u16) -> Command) -> (Self, u16) {
        let mut said = String::new();
        for _ in 0..3 {
            let port = port::free();
            let log = std::env::temp_dir().join(format!("basb-counterpart-{}-{port}.log", std::process::id()));
            let file = File::create(&log).expect("a file for what it says");
            let mut process = Self::start(&mut command(port), file);
            let listens = process.listens(port);
            said = std::fs::read_to_string(&log).unwrap_or_default();
            // What it says from now on goes nowhere: the file is gone with the process.
            let _ = std::fs::remove_file(&log);
            match listens {
                Listens::Yes => return (process, port),
                Listens::No => panic!("{name} does not listen on port {port} after {LONGEST:?}: {said}"),
                Listens::Ended => {}
            }
        }
        panic!("{name} ended each of the three times that it was started: {said}")
    }

    /// Starts what `command` makes, and waits until it listens on this port.
    ///
    /// # Panics
    /// When it cannot be started, ends, or does not listen; with what it said.
    #[must_use]
    pub fn listening_on(name: &str, port: u16, command: impl FnOnce() -> Command) -> Self {
        let log = std::env::temp_dir().join(format!("basb-counterpart-{}-{port}.log", std::process::id()));
        let mut process = Self::start(&mut command(), File::create(&log).expect("a file for what it says"));
        let listens = process.listens(port);
        let said = std::fs::read_to_string(&log).unwrap_or_default();
        let _ = std::fs::remove_file(&log);
        assert!(matches!(listens, Listens::Yes), "{name} does not listen on port {port}: {said}");
        process
    }

    fn start(command: &mut Command, log: File) -> Self {
        let both = (log.try_clone().map(Stdio::from), Stdio::from(log));
        command.stdin(Stdio::null()).stdout(both.0.expect("a second handle")).stderr(both.1).process_group(0);
        Self(command.spawn().unwrap_or_else(|e| panic!("{:?} could not be started: {e}", command.get_program())))
    }

    fn listens(&mut self, port: u16) -> Listens {
        let address = SocketAddr::from(([127, 0, 0, 1], port));
        let began = Instant::now();
        while began.elapsed() < LONGEST {
            // First the one, then the other: a listener of somebody else shows by our own program's end.
            let accepts = TcpStream::connect_timeout(&address, Duration::from_millis(500)).is_ok();
            match self.0.try_wait() {
                Ok(Some(_)) => return Listens::Ended,
                _ if accepts => return Listens::Yes,
                _ => std::thread::sleep(Duration::from_millis(50)),
            }
        }
        Listens::No
    }
}

/// Waits until an HTTP server on this port answers a request, whatever it answers: one may listen for a moment while it
/// starts, and not answer yet.
///
/// # Panics
/// When it does not.
pub fn wait_until_answered(name: &str, port: u16) {
    let began = Instant::now();
    while began.elapsed() < LONGEST {
        let asked = TcpStream::connect(("127.0.0.1", port)).and_then(|mut stream| {
            stream.set_read_timeout(Some(Duration::from_secs(5)))?;
            stream.write_all(b"GET / HTTP/1.0\r\nHost: 127.0.0.1\r\n\r\n")?;
            let mut answer = [0; 5];
            stream.read_exact(&mut answer)?;
            Ok(answer)
        });
        if asked.is_ok_and(|answer| answer == *b"HTTP/") {
            return;
        }
        std::thread::sleep(Duration::from_millis(50));
    }
    panic!("{name} does not answer on port {port} after {LONGEST:?}");
}

enum Listens {
    Yes,
    No,
    Ended,
}

impl Drop for Process {
    fn drop(&mut self) {
        if let Some(pid) = i32::try_from(self.0.id()).ok().and_then(Pid::from_raw) {
            // Gone already is fine.
            let _ = kill_process_group(pid, Signal::KILL);
        }
        let _ = self.0.wait();
    }
}
