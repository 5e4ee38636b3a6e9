//! Programs that speak to a counterpart with the vendor's own client.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use serde_json::Value;

/// Where a program lies: one that imports another has to be run from there.
#[must_use]
pub fn program(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("programs").join(name)
}

/// Runs a program to its end, and reads the JSON that it prints.
///
/// # Panics
/// When it fails, with what it said.
#[must_use]
pub fn json(python: &Path, program: &str, args: &[&str]) -> Value {
    let out =
        Command::new(python).args(["-c", program]).args(args).stdin(Stdio::null()).output().expect("Python starts");
    let said = String::from_utf8_lossy(&out.stderr);
    assert!(out.status.success(), "{said}");
    serde_json::from_slice(&out.stdout).unwrap_or_else(|error| panic!("{error}: {said}"))
}
