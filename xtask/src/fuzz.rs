//! Searches for inputs that the fuzz targets of `tests/fuzz` stumble over, with libFuzzer and the nightly toolchain.

use crate::shell::{self, Done, cargo, root, say, target};
use serde_json::{Value, json};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Mutex;

/// What `cargo fuzz` builds with: counters in every function, and what is compared, told to libFuzzer
/// (<https://llvm.org/docs/LibFuzzer.html>, <https://clang.llvm.org/docs/SanitizerCoverage.html>). No address sanitizer: the
/// code under test has no unsafe blocks.
const FLAGS: &str = "-Cpasses=sancov-module -Cllvm-args=-sanitizer-coverage-level=4 \
    -Cllvm-args=-sanitizer-coverage-inline-8bit-counters -Cllvm-args=-sanitizer-coverage-pc-table \
    -Cllvm-args=-sanitizer-coverage-trace-compares --cfg fuzzing";
/// Flags are for the program only, not for build scripts: that takes a named target.
const PLATFORM: &str = "x86_64-unknown-linux-gnu";

/// What to do.
pub struct Options {
    /// How long, for each target.
    pub seconds: u64,
    /// Which targets; none for all.
    pub only: Vec<String>,
    /// How many at once.
    pub jobs: usize,
    /// How the result is printed.
    pub form: crate::bench::Form,
}

/// Builds and runs them.
pub fn run(options: &Options) -> Done {
    let folder = target().join("fuzz");
    let seeds = folder.join("seeds");
    let names = seeds_and_names(&seeds)?;
    if let Some(unknown) = options.only.iter().find(|name| !names.contains(name)) {
        return Err(format!("there is no target `{unknown}`: there are {}", names.join(", ")));
    }
    let program = build()?;
    let wanted = names.into_iter().filter(|name| options.only.is_empty() || options.only.contains(name));
    let left = Mutex::new(wanted.collect::<Vec<_>>().into_iter());
    let results = Mutex::new(Vec::new());
    std::thread::scope(|scope| {
        for _ in 0..options.jobs.max(1) {
            scope.spawn(|| {
                while let Some(name) = left.lock().ok().and_then(|mut left| left.next()) {
                    let result = one(&program, &folder, &name, options.seconds);
                    if let Ok(mut results) = results.lock() {
                        results.push(result);
                    }
                }
            });
        }
    });
    let results = results.into_inner().map_err(|_| "a run came to no end".to_owned())?;
    let results: Vec<Value> = results.into_iter().collect::<Result<_, _>>()?;
    let findings = results.iter().filter(|result| !result["finding"].is_null()).count();
    if options.form == crate::bench::Form::Json {
        use std::io::Write as _;
        let document = json!({ "seconds": options.seconds, "findings": findings, "targets": results });
        writeln!(std::io::stdout(), "{document:#}").map_err(|e| e.to_string())?;
    }
    if findings == 0 { Ok(()) } else { Err(format!("{findings} findings, in {}", folder.display())) }
}

/// libFuzzer's program is a workspace of its own, with a lock file of its own: it has to follow the host's dependencies.
pub fn lock_file_is_current() -> Done {
    let mut ask = cargo(["metadata", "--locked", "--format-version", "1"]);
    ask.current_dir(root().join("tests/fuzz/libfuzzer")).stdout(Stdio::null());
    shell::run(&mut ask)
        .map_err(|e| format!("{e}\nRun `cargo metadata` in tests/fuzz/libfuzzer, and commit its Cargo.lock"))
}

fn seeds_and_names(seeds: &Path) -> Done<Vec<String>> {
    // Files that were committed once and are no more are not to come back.
    if seeds.exists() {
        fs::remove_dir_all(seeds).map_err(|e| format!("{}: {e}", seeds.display()))?;
    }
    crate::build::workspace()?;
    let names = shell::output(Command::new(target().join("debug/basb-fuzz")).arg("seeds").arg(seeds))?;
    Ok(names.lines().map(str::to_owned).collect())
}

fn build() -> Done<PathBuf> {
    let nightly = Command::new("rustup").args(["run", "nightly", "rustc", "--version"]).stdout(Stdio::null()).status();
    if !nightly.is_ok_and(|status| status.success()) {
        return Err(
            "libFuzzer takes the nightly toolchain: `rustup toolchain install nightly --profile minimal`".to_owned()
        );
    }
    let own = target().join("libfuzzer");
    let mut command = Command::new("rustup");
    command.args(["run", "nightly", "cargo", "build", "--release", "--locked", "--target", PLATFORM]);
    command.current_dir(root().join("tests/fuzz/libfuzzer")).env("CARGO_TARGET_DIR", &own).env("RUSTFLAGS", FLAGS);
    // What the cargo that runs this program passes on is about another toolchain.
    for variable in ["CARGO", "RUSTC", "RUSTDOC", "RUSTUP_TOOLCHAIN", "CARGO_ENCODED_RUSTFLAGS"] {
        command.env_remove(variable);
    }
    shell::run(&mut command)?;
    Ok(own.join(PLATFORM).join("release/basb-libfuzzer"))
}

/// Runs one target to its end, and tells what came of it.
fn one(program: &Path, folder: &Path, name: &str, seconds: u64) -> Done<Value> {
    let fail = |what: &Path, e: std::io::Error| format!("{}: {e}", what.display());
    let (corpus, found) = (folder.join("corpus").join(name), folder.join("found").join(name));
    for path in [&corpus, &found] {
        fs::create_dir_all(path).map_err(|e| fail(path, e))?;
    }
    let log_path = folder.join(format!("{name}.log"));
    let log = fs::File::create(&log_path).map_err(|e| fail(&log_path, e))?;
    say(&format!("{name}: {seconds} s, log in {}", log_path.display()));
    let mut command = Command::new(program);
    command.env("BASB_FUZZ_TARGET", name).stdin(Stdio::null()).stdout(Stdio::null()).stderr(log);
    command.arg(&corpus).arg(folder.join("seeds").join(name));
    command.arg(format!("-max_total_time={seconds}"));
    command.arg(format!("-artifact_prefix={}/", found.display()));
    command.arg(format!("-dict={}", folder.join("seeds").join(format!("{name}.dict")).display()));
    command.args(["-max_len=16384", "-timeout=25", "-rss_limit_mb=2048", "-print_final_stats=1", "-verbosity=1"]);
    let status = command.status().map_err(|e| fail(program, e))?;
    let text = fs::read_to_string(&log_path).unwrap_or_default();
    let number = |key: &str| {
        let last = text.rsplit_once(key).map(|(_, rest)| rest.trim_start());
        last.and_then(|rest| rest.split_whitespace().next()).and_then(|word| word.parse::<u64>().ok())
    };
    let executions = number("stat::number_of_executed_units:").unwrap_or(0);
    let finding = text.rsplit_once("Test unit written to ").and_then(|(_, rest)| rest.lines().next());
    let finding = match finding {
        None if !status.success() => Some(format!("it ended with {status}: {}", log_path.display())),
        finding => finding.map(str::to_owned),
    };
    match &finding {
        None => say(&format!("{name}: {executions} executions, nothing found")),
        Some(finding) => say(&format!(
            "{name}: {executions} executions, found {finding}; see it again with `cargo run -p basb-fuzz -- run {name} {finding}`, \
             and put it into tests/fuzz/corpus/{name} when it is mended"
        )),
    }
    Ok(json!({ "target": name, "executions": executions, "edges": number(" cov: "), "finding": finding }))
}
