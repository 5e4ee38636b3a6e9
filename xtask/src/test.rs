//! Everything that CI runs, in the order in which it says most soonest.

use crate::shell::{self, Done, cargo, say};
use crate::{build, containers, counterparts, languages, setup};
use std::time::Instant;

/// Parts that take minutes and have bounds of time: until they have been seen green on an idle machine, they are asked for.
const WHEN_NAMED: [&str; 3] = ["providers", "crash", "conformance"];

/// A part of the tests: its name, and what runs it.
type Part = (&'static str, fn() -> Done);

/// Runs the parts that are named, or all of them.
pub fn run(only: &[String]) -> Done {
    let parts: [Part; 9] = [
        ("fmt", fmt),
        ("clippy", clippy),
        ("unit", unit),
        ("end-to-end", end_to_end),
        ("providers", providers),
        ("hostile", hostile),
        ("crash", crash),
        ("conformance", conformance),
        ("docs", docs),
    ];
    if let Some(unknown) = only.iter().find(|name| !parts.iter().any(|(part, _)| part == name)) {
        let all: Vec<&str> = parts.iter().map(|(name, _)| *name).collect();
        return Err(format!("there is no part `{unknown}`: there are {}", all.join(", ")));
    }
    setup::run_if_needed()?;
    let began = Instant::now();
    for (name, part) in parts {
        let by_default = only.is_empty() && !WHEN_NAMED.contains(&name);
        if by_default || only.iter().any(|o| o == name) {
            say(&format!("== {name}"));
            part()?;
        }
    }
    if only.is_empty() || only.iter().any(|part| part == "unit") {
        say_what_was_skipped();
    }
    if only.is_empty() {
        say(&format!("NOT RUN, only when they are named: {}", WHEN_NAMED.join(", ")));
    }
    say(&format!("== all passed in {} s", began.elapsed().as_secs()));
    Ok(())
}

/// A test whose counterpart is not installed passes and says so; among a thousand lines nobody reads that, so it is said
/// once more, last.
fn say_what_was_skipped() {
    for (missing, how) in [
        (counterparts::missing(), "cargo xtask setup counterparts"),
        (containers::missing(), "cargo xtask setup containers"),
        (languages::missing(), "cargo xtask setup languages"),
    ] {
        if !missing.is_empty() {
            say(&format!("== NOT TESTED, because not installed: {}; to install: {how}", missing.join(", ")));
        }
    }
}

fn fmt() -> Done {
    shell::run(&mut cargo(["fmt", "--all", "--check"]))
}

fn clippy() -> Done {
    shell::run(&mut cargo(["clippy", "--workspace", "--all-targets", "--locked", "--", "-D", "warnings"]))?;
    crate::fuzz::lock_file_is_current()
}

fn unit() -> Done {
    build::workspace()?;
    shell::run(&mut build::selected([
        "test",
        "--no-fail-fast",
        "--exclude",
        "basb-e2e",
        "--exclude",
        "basb-providers-e2e",
    ]))
}

fn end_to_end() -> Done {
    // The real binary and the real services: the tests start them.
    build::workspace()?;
    let mut test = build::selected(["test", "--no-fail-fast"]);
    for name in build::tests_of("tests/e2e")? {
        test.args(["--test", &name]);
    }
    shell::run(test.args(["--", "--test-threads", "2"]))
}

fn providers() -> Done {
    build::workspace()?;
    crate::providers::run_built("", crate::bench::Form::Text)
}

fn hostile() -> Done {
    build::workspace()?;
    crate::hostile::run_built("", crate::bench::Form::Text)
}

/// Every fault at every exchange of the default plugins, and the seeded bugs.
fn conformance() -> Done {
    build::workspace()?;
    crate::conformance::run_built("", crate::bench::Form::Text, crate::conformance::Table::Leave)
}

/// A share of the kills, which takes minutes; `cargo xtask crash` runs all of them.
fn crash() -> Done {
    build::workspace()?;
    crate::crash::crash(&crate::crash::Options {
        only: String::new(),
        share: crate::crash::Share::Ci,
        seed: None,
        jobs: None,
        form: crate::bench::Form::Text,
    })
}

fn docs() -> Done {
    let mut doc = cargo(["doc", "--workspace", "--no-deps", "--locked"]);
    shell::run(doc.env("RUSTDOCFLAGS", "-D warnings"))
}
