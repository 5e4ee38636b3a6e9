//! fakecloud: AWS's APIs on this machine, verifying SigV4 signatures, with load balancers that lead requests: they check their
//! targets themselves and share requests out by the weights of a rule.
//!
//! It takes long to build, so it is there only where somebody has asked for it (`cargo xtask setup fakecloud`). It is a program
//! of its own under the AGPL; nothing of it is linked. <https://crates.io/crates/fakecloud>

use crate::emulator::Emulator;
use crate::install;
use crate::process::{Process, wait_until_answered};
use std::process::Command;

/// Starts fakecloud on a free port; `None`, and a message on standard error, when it is not installed.
///
/// # Panics
/// When it is installed and does not start.
#[must_use]
pub fn start() -> Option<Emulator> {
    let program = install::find_or_say("fakecloud/bin/fakecloud", "fakecloud", "cargo xtask setup fakecloud")?;
    let (process, port) = Process::listening("fakecloud", |port| {
        let mut command = Command::new(&program);
        // Unless it is told so, it listens everywhere, and it looks for a container engine.
        command.args(["--addr", &format!("127.0.0.1:{port}"), "--region", "eu-west-1", "--verify-sigv4"]);
        command.args(["--log-level", "warn"]).env("DOCKER_HOST", "unix:///nonexistent/docker.sock");
        command
    });
    wait_until_answered("fakecloud", port);
    Some(Emulator::of(process, port))
}
