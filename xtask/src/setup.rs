//! What a machine needs beside rustup and a C compiler.

use crate::shell::{self, Done, output, root, say};
use std::process::Command;

/// The targets that plugins are built for.
const TARGETS: [&str; 2] = ["wasm32-unknown-unknown", "wasm32-wasip2"];

/// Adds the WebAssembly targets that are missing.
pub fn run_if_needed() -> Done {
    let mut ask = Command::new("rustup");
    ask.args(["target", "list", "--installed"]).current_dir(root());
    let Ok(installed) = output(&mut ask) else {
        // Without rustup the toolchain is somebody else's business; the build says what it misses.
        say("note: rustup is not here, so the WebAssembly targets are taken for installed");
        return Ok(());
    };
    let missing: Vec<&str> = TARGETS.into_iter().filter(|t| !installed.lines().any(|line| line.trim() == *t)).collect();
    if missing.is_empty() {
        return Ok(());
    }
    let mut add = Command::new("rustup");
    add.args(["target", "add"]).args(&missing).current_dir(root());
    shell::run(&mut add).map_err(|e| {
        format!(
            "{e}\nThe plugins are built for {}. Without a network, install them on a machine that has one:\n  \
             rustup target add {}\nand copy the folder `lib/rustlib/TARGET` of that toolchain (`rustc --print sysroot`) \
             into the same place here.",
            missing.join(" and "),
            missing.join(" ")
        )
    })
}

/// The task.
pub fn run() -> Done {
    run_if_needed()?;
    say("everything that a build needs is here");
    Ok(())
}
