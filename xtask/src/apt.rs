//! Packages of Debian, where they are the way to a program.

use crate::shell::{self, Done, output};
use std::process::Command;

/// Whether packages can be installed here at all.
pub fn is_possible() -> bool {
    output(Command::new("id").arg("-u")).is_ok_and(|id| id.trim() == "0") && is_on_path("apt-get")
}

/// Installs packages; `by_hand` says how somebody does who is not root, or has another system.
pub fn install(by_hand: &str, packages: &[&str]) -> Done {
    if !is_possible() {
        return Err(by_hand.to_owned());
    }
    let install = || {
        let mut command = Command::new("apt-get");
        // No question can be answered here, and no service is to be started by being installed.
        command.args(["install", "--yes", "--no-install-recommends"]).env("DEBIAN_FRONTEND", "noninteractive");
        shell::run(command.env("RUNLEVEL", "1").args(packages))
    };
    // A machine that was never asked to install anything has no list of packages yet.
    install()
        .or_else(|_| shell::run(Command::new("apt-get").arg("update")).and_then(|()| install()))
        .map_err(|e| format!("{by_hand}: {e}"))
}

/// Whether a program is on the search path.
pub fn is_on_path(name: &str) -> bool {
    std::env::var_os("PATH").is_some_and(|path| std::env::split_paths(&path).any(|dir| dir.join(name).is_file()))
}
