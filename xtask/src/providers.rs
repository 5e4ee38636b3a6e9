//! Every provider against what others wrote: the real binary deploys to it, and a second client looks.
//!
//! A target whose counterpart cannot be had is skipped, and that is said last; it is never passed over in silence.

use crate::bench::Form;
use crate::shell::{Done, say};
use crate::{build, containers, counterparts, kubernetes, setup};
use std::collections::BTreeMap;
use std::fmt;
use std::io::Write;
use std::process::Stdio;

/// Something that is deployed to.
struct Target {
    /// Its name.
    name: &'static str,
    /// The file of its tests in `tests/providers/tests`, without `.rs`.
    tests: &'static str,
    /// What the names of its tests contain, where the file has those of several targets.
    which: &'static str,
    /// What has to be installed, by the names that [`counterparts::missing`], [`containers::missing`] and [`kubernetes::missing`]
    /// have for it.
    needs: &'static [&'static str],
    /// What installs it.
    setup: &'static str,
    /// Whether it is tested without being named.
    run: Run,
}

/// When a target is tested.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Run {
    /// Whenever all are.
    Always,
    /// Only by its name: it takes long, and tests again what another target does with less.
    WhenNamed,
}

/// All of them.
const TARGETS: [Target; 10] = [
    Target { name: "local", tests: "local", which: "", needs: &[], setup: "", run: Run::Always },
    Target {
        name: "docker",
        tests: "engines",
        which: "on_docker",
        needs: &["dockerd"],
        setup: "cargo xtask setup containers",
        run: Run::Always,
    },
    Target {
        name: "podman",
        tests: "engines",
        which: "on_podman",
        needs: &["podman", "runc"],
        setup: "cargo xtask setup containers",
        run: Run::Always,
    },
    Target {
        name: "aws",
        tests: "aws",
        which: "",
        needs: &["moto", "MiniStack"],
        setup: "cargo xtask setup counterparts",
        run: Run::Always,
    },
    Target {
        name: "aws-containers",
        tests: "aws_containers",
        which: "",
        needs: &["moto", "MiniStack", "dockerd"],
        setup: "cargo xtask setup counterparts` and `cargo xtask setup containers",
        run: Run::Always,
    },
    Target {
        name: "fakecloud",
        tests: "aws_fakecloud",
        which: "",
        needs: &["fakecloud", "moto", "MiniStack", "dockerd"],
        setup: "cargo xtask setup fakecloud`, `cargo xtask setup counterparts` and `cargo xtask setup containers",
        run: Run::WhenNamed,
    },
    Target {
        name: "gcp",
        tests: "gcp",
        which: "",
        needs: &["Google's client"],
        setup: "cargo xtask setup counterparts",
        run: Run::Always,
    },
    Target {
        name: "azure",
        tests: "azure",
        which: "",
        needs: &["Azure's client"],
        setup: "cargo xtask setup counterparts",
        run: Run::Always,
    },
    Target {
        name: "kubernetes",
        tests: "kubernetes",
        which: "",
        needs: &["kube-apiserver", "kube-controller-manager", "kubectl", "etcd", "openssl", "python3"],
        setup: "cargo xtask setup kubernetes",
        run: Run::Always,
    },
    Target {
        name: "kubelet",
        tests: "kubelet",
        which: "",
        needs: &[
            "kube-apiserver",
            "kube-controller-manager",
            "kube-scheduler",
            "kubelet",
            "pause",
            "kubectl",
            "etcd",
            "openssl",
            "python3",
            "dockerd",
        ],
        setup: "cargo xtask setup kubernetes` and `cargo xtask setup containers",
        run: Run::WhenNamed,
    },
];

/// What became of a target.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Outcome {
    Passed,
    Failed(String),
    Skipped(String),
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Passed => "passed",
            Self::Failed(_) => "failed",
            Self::Skipped(_) => "skipped",
        })
    }
}

/// Builds, and tests all targets or those whose name contains `only`; without it, those that take long are skipped, which is
/// said. Fails when one of them does.
pub fn run(only: &str, form: Form) -> Done {
    setup::run_if_needed()?;
    build::workspace()?;
    run_built(only, form)
}

/// Tests what was built.
pub fn run_built(only: &str, form: Form) -> Done {
    let chosen: Vec<&Target> = TARGETS.iter().filter(|target| target.name.contains(only)).collect();
    if chosen.is_empty() {
        let all: Vec<&str> = TARGETS.iter().map(|target| target.name).collect();
        return Err(format!("no target's name contains `{only}`: there are {}", all.join(", ")));
    }
    let tested = |target: &Target| match target.run {
        Run::WhenNamed if only.is_empty() => {
            let name = target.name;
            Outcome::Skipped(format!("NOT TESTED, only when it is named: `cargo xtask test-providers --only {name}`"))
        }
        Run::Always | Run::WhenNamed => test(target),
    };
    let outcomes: BTreeMap<&str, Outcome> = chosen.into_iter().map(|target| (target.name, tested(target))).collect();
    if form == Form::Json {
        let word = |outcome: &Outcome| outcome.to_string();
        let targets: BTreeMap<_, _> = outcomes.iter().map(|(name, outcome)| (name, word(outcome))).collect();
        let reasons: BTreeMap<_, _> =
            outcomes.iter().filter_map(|(name, outcome)| Some((name, why(outcome)?))).collect();
        let report = serde_json::json!({ "version": 1, "targets": targets, "reasons": reasons });
        let _ = writeln!(std::io::stdout(), "{report}");
    }
    for (name, outcome) in &outcomes {
        say(&format!("== {name}: {outcome}{}", why(outcome).map(|why| format!(": {why}")).unwrap_or_default()));
    }
    let failed: Vec<&str> =
        outcomes.iter().filter(|(_, outcome)| matches!(outcome, Outcome::Failed(_))).map(|(name, _)| *name).collect();
    if failed.is_empty() { Ok(()) } else { Err(format!("failed: {}", failed.join(", "))) }
}

fn why(outcome: &Outcome) -> Option<&str> {
    match outcome {
        Outcome::Passed => None,
        Outcome::Failed(why) | Outcome::Skipped(why) => Some(why),
    }
}

fn test(target: &Target) -> Outcome {
    let by_choice = counterparts::missing_by_choice();
    let absent = [counterparts::missing(), by_choice, containers::missing(), kubernetes::missing()].concat();
    let missing: Vec<&str> = target.needs.iter().copied().filter(|what| absent.contains(what)).collect();
    if !missing.is_empty() {
        return Outcome::Skipped(format!("NOT TESTED, not installed: {}; `{}`", missing.join(", "), target.setup));
    }
    say(&format!("== {}", target.name));
    let mut command = build::selected(["test", "--no-fail-fast"]);
    command.args(["--test", target.tests, "--", "--test-threads", "2", target.which]);
    // What is missing all the same fails a test: a skip is decided here and said.
    command.env("BASB_COUNTERPARTS", "require").stdout(Stdio::from(std::io::stderr()));
    match command.status() {
        Ok(status) if status.success() => Outcome::Passed,
        Ok(status) => Outcome::Failed(format!("its tests ended with {status}")),
        Err(error) => Outcome::Failed(format!("its tests could not be started: {error}")),
    }
}
