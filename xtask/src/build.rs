//! One choice of packages for everything that is built to be tested: another choice is another choice of features, and would
//! compile wasmtime once more.

use crate::shell::{self, Done, cargo, root};
use std::process::Command;

/// Guests are WebAssembly only: their exports have names that a native linker does not take. The tests that use them
/// build them.
const GUESTS: [&str; 12] = [
    "guest-hostile-notifier",
    "guest-hostile-probe",
    "guest-hostile-provider",
    "guest-hostile-strategy",
    "guest-hostile-wasi",
    "guest-misbehave",
    "guest-no-op-probe",
    "guest-no-op-provider",
    "guest-pure-echo",
    "guest-wants-files",
    "guest-wasi-http",
    "guest-wasi-std",
];

/// Builds it: the product, the services of the example, the programs that attack, kill and fuzz, and all tests.
pub fn workspace() -> Done {
    shell::run(&mut selected(["build", "--all-targets"]))
}

/// Cargo with these arguments, over that choice of packages.
pub fn selected<const N: usize>(args: [&str; N]) -> Command {
    let mut command = cargo(args);
    command.args(["--workspace", "--locked"]);
    for guest in GUESTS {
        command.args(["--exclude", guest]);
    }
    command
}

/// The names of a package's integration tests: `--test NAME` keeps the choice of packages, `-p PACKAGE` would not.
pub fn tests_of(package: &str) -> Done<Vec<String>> {
    let folder = root().join(package).join("tests");
    let entries = std::fs::read_dir(&folder).map_err(|e| format!("{}: {e}", folder.display()))?;
    let files = entries.filter_map(|entry| entry.ok().map(|entry| entry.path()));
    let mut names: Vec<String> = files
        .filter(|path| path.extension().is_some_and(|extension| extension == "rs"))
        .filter_map(|path| path.file_stem()?.to_str().map(str::to_owned))
        .collect();
    names.sort();
    Ok(names)
}
