//! moto: AWS's APIs on this machine. In its auth mode it verifies SigV4 signatures and IAM policies itself.
//!
//! <https://docs.getmoto.org/en/latest/docs/server_mode.html>, <https://docs.getmoto.org/en/latest/docs/iam.html>

use crate::emulator::Emulator;
use crate::install;
use crate::process::Process;
use std::process::Command;

/// Whether moto looks at signatures and policies.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Auth {
    /// It takes every request.
    Off,
    /// It takes this many requests unsigned, for setting up, and verifies everything after them.
    AfterFirst(u32),
}

/// Starts moto on a free port; `None`, and a message on standard error, when it is not installed.
///
/// # Panics
/// When it is installed and does not start.
#[must_use]
pub fn start(auth: Auth) -> Option<Emulator> {
    let alone = "python3 -m venv ~/.cache/basb-host/counterparts/moto && \
                 ~/.cache/basb-host/counterparts/moto/bin/pip install 'moto[server]'";
    let program = install::find_or_say("moto/bin/moto_server", "moto_server", alone)?;
    let (process, port) = Process::listening("moto", |port| {
        let mut command = Command::new(&program);
        command.args(["-H", "127.0.0.1", "-p", &port.to_string()]);
        if let Auth::AfterFirst(count) = auth {
            command.env("INITIAL_NO_AUTH_ACTION_COUNT", count.to_string());
        }
        command
    });
    Some(Emulator::of(process, port))
}
