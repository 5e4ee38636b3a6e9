//! The plugin author's guide: every command in it is run, in order, in a new folder.

use basb_e2e::program;
use serde_json::Value;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

/// The commands of a document: the lines of its `sh` blocks.
fn commands(text: &str) -> Vec<String> {
    let mut found = Vec::new();
    let mut inside = false;
    for line in text.lines() {
        match line {
            "```sh" => inside = true,
            "```" => inside = false,
            line if inside && !line.trim().is_empty() => found.push(line.to_owned()),
            _ => {}
        }
    }
    found
}

fn repository() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).ancestors().nth(2).unwrap().to_owned()
}

/// Runs a command as a person would, with this `basb-host`.
fn run(words: &[&str], folder: &Path, state: &Path) -> Output {
    let mut command = match words.split_first().unwrap() {
        (&"basb-host", rest) => {
            let mut host = Command::new(program("basb-host"));
            host.args(rest);
            host
        }
        (&"cargo", rest) => {
            let mut cargo = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
            cargo.args(rest);
            cargo
        }
        (other, _) => panic!("the guide has a command that this test does not know: {other}"),
    };
    // What this test was started with is not what a person has; packages are those that are here already.
    let own = std::env::vars_os().map(|(name, _)| name).filter(|name| {
        let name = name.to_string_lossy();
        name.starts_with("CARGO_") && name != "CARGO_HOME"
    });
    for name in own {
        command.env_remove(name);
    }
    let target = state.join("target");
    command.env("BASB_HOST_STATE", state).env("CARGO_NET_OFFLINE", "true").env("CARGO_TARGET_DIR", &target);
    command.current_dir(folder).output().unwrap()
}

#[track_caller]
fn succeeds(words: &[&str], folder: &Path, state: &Path) -> String {
    let output = run(words, folder, state);
    let (out, err) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "`{}`\n--- stdout\n{out}\n--- stderr\n{err}", words.join(" "));
    out.into_owned()
}

/// The versions of the dependencies that are here: a new project has no lock file, and this machine may have no network.
fn lock(folder: &Path) {
    std::fs::copy(repository().join("Cargo.lock"), folder.join("Cargo.lock")).unwrap();
}

#[test]
fn every_command_of_the_guide_works() {
    let guide = std::fs::read_to_string(repository().join("docs/plugin-author-guide.md")).unwrap();
    let scratch = tempfile::tempdir().unwrap();
    let state = scratch.path().join("state");
    std::fs::create_dir_all(&state).unwrap();
    let mut folder = scratch.path().to_owned();
    let sdk = repository().join("sdk/rust");
    let mut ran = 0;
    for line in commands(&guide) {
        let mut words: Vec<&str> = line.split_whitespace().collect();
        if words[0] == "cd" {
            folder.push(words[1]);
            lock(&folder);
            continue;
        }
        let sdk = sdk.to_str().unwrap();
        if words.starts_with(&["basb-host", "plugin", "new"]) {
            words.extend(["--sdk", sdk]);
        }
        // The component lies where cargo was told to build.
        let built = state.join("target/plugin/provider-acme.wasm");
        let built = built.to_str().unwrap();
        let kit = folder.join("conformance.yaml");
        if let Some(at) = words.iter().position(|word| *word == "target/plugin/provider-acme.wasm") {
            words[at] = built;
            if words[2] == "test" {
                words.extend(["--kit", kit.to_str().unwrap()]);
            }
        }
        let said = succeeds(&words, &folder, &state);
        if words.starts_with(&["basb-host", "plugin", "test"]) && !words.contains(&"--schema") {
            let verdict = if words.contains(&"--fault") { "\npassed, in part: " } else { "\npassed: " };
            assert!(said.contains(verdict), "{said}");
        }
        ran += 1;
    }
    assert!(ran >= 7, "only {ran} commands were found in the guide");
    let junit = std::fs::read_to_string(folder.join("conformance.xml")).unwrap();
    assert!(junit.contains("failures=\"0\"") && junit.contains("kill-after"), "{junit}");
}

#[test]
fn every_other_kind_builds_tests_and_certifies_as_it_is_written() {
    let scratch = tempfile::tempdir().unwrap();
    let state = scratch.path().join("state");
    std::fs::create_dir_all(&state).unwrap();
    let sdk = repository().join("sdk/rust");
    for kind in ["probe", "notifier", "strategy", "judge", "generator"] {
        let name = format!("{kind}-acme");
        succeeds(&["basb-host", "plugin", "new", kind, &name, "--sdk", sdk.to_str().unwrap()], scratch.path(), &state);
        let folder = scratch.path().join(&name);
        lock(&folder);
        succeeds(&["cargo", "test", "--quiet"], &folder, &state);
        let built: Value =
            serde_json::from_str(&succeeds(&["basb-host", "--json", "plugin", "build"], &folder, &state)).unwrap();
        let file = built["file"].as_str().unwrap();
        let kit = folder.join("conformance.yaml");
        if kit.is_file() {
            let words = ["basb-host", "--json", "plugin", "test", file, "--kit", kit.to_str().unwrap()];
            let report: Value = serde_json::from_str(&succeeds(&words, &folder, &state)).unwrap();
            assert_eq!((&report["passed"], &report["plugin"]["kind"]), (&Value::from(true), &Value::from(kind)));
        } else {
            // Nobody should write a kit file for it in vain.
            let refused = run(&["basb-host", "plugin", "test", file], &folder, &state);
            assert!(!refused.status.success());
            assert!(String::from_utf8_lossy(&refused.stderr).contains("kit/pure"), "{refused:?}");
        }
    }
    let again = run(&["basb-host", "plugin", "new", "probe", "probe-acme"], scratch.path(), &state);
    assert!(String::from_utf8_lossy(&again.stderr).contains("authoring/exists"));
}

/// What goes wrong in the field, put into what `plugin new provider` writes: file, what is there, and what is there instead.
const BUGS: [(&str, &str, &str); 7] = [
    (
        "plugin.json",
        "      \"endpoint\": {",
        "      \"bug\": { \"type\": \"string\", \"default\": \"\" },\n      \"endpoint\": {",
    ),
    ("src/lib.rs", "    pub endpoint: String,\n", "    pub endpoint: String,\n    /// A bug.\n    pub bug: String,\n"),
    (
        "src/lib.rs",
        "Config { endpoint: \"https://cloud.example\".to_owned() }",
        "Config { endpoint: \"https://cloud.example\".to_owned(), bug: String::new() }",
    ),
    // `read-swallow`: what cannot be read is not there.
    (
        "src/lib.rs",
        "        observed(&Cloud::new(cx, config), &service.service)\n    }",
        "        match observed(&Cloud::new(cx, config), &service.service) {
            Err(f) if config.bug == \"read-swallow\" && f.code != basb_plugin::FailureCode::Denied => Ok(None),
            seen => seen,
        }
    }",
    ),
    // `assume-ready`: the instances' health is asked for by itself, and is good where it cannot be had.
    (
        "src/lib.rs",
        "        let ready = found.ready;\n",
        "        let ready = match cloud.revision(&service.service, revision) {
            Err(_) if config.bug == \"assume-ready\" => found.replicas,
            again => again?.map_or(0, |again| again.ready),
        };\n",
    ),
    // `hammer`: at once again, and again. `missing-page`: the first is all.
    (
        "src/cloud.rs",
        "        Ok(self.cx.http().send(request)?)\n",
        "        for _ in 0..if self.bug == \"hammer\" { 20 } else { 0 } {
            match self.cx.http().send(request.clone()) {
                Ok(response) if matches!(response.status, 500..600) => {}
                Err(_) if request.method == \"GET\" => {}
                other => return Ok(other?),
            }
        }
        Ok(self.cx.http().send(request)?)\n",
    ),
    (
        "src/cloud.rs",
        "            if token.is_none() {",
        "            if token.is_none() || self.bug == \"missing-page\" {",
    ),
];

/// A bug, the faults that are looked at, and what must be said of it.
const CAUGHT: [(&str, &[&str], &str); 5] = [
    ("read-swallow", &["503"], "`read` succeeds although it was not answered as it should be: it says null"),
    ("assume-ready", &["reset-before"], "`instances` succeeds although it was not answered as it should be"),
    ("hammer", &["503-lasting"], "more than 3 times in one call"),
    ("hammer", &["reset-lasting"], "more than 3 times in one call"),
    ("missing-page", &["500"], "FAILED without a fault"),
];

#[test]
fn a_bug_in_what_is_written_is_caught_by_what_is_written_beside_it() {
    let scratch = tempfile::tempdir().unwrap();
    let state = scratch.path().join("state");
    std::fs::create_dir_all(&state).unwrap();
    let sdk = repository().join("sdk/rust");
    let new = ["basb-host", "plugin", "new", "provider", "provider-bugs", "--sdk", sdk.to_str().unwrap()];
    succeeds(&new, scratch.path(), &state);
    let folder = scratch.path().join("provider-bugs");
    lock(&folder);
    let cloud = std::fs::read_to_string(folder.join("src/cloud.rs")).unwrap();
    let with_bug = cloud.replacen("    base: String,\n", "    base: String,\n    bug: String,\n", 1).replacen(
        "Cloud { cx, base:",
        "Cloud { cx, bug: config.bug.clone(), base:",
        1,
    );
    assert_ne!(cloud, with_bug);
    std::fs::write(folder.join("src/cloud.rs"), with_bug).unwrap();
    for (file, from, to) in BUGS {
        let path = folder.join(file);
        let text = std::fs::read_to_string(&path).unwrap();
        assert_eq!(text.matches(from).count(), 1, "{file} has no single `{from}`");
        std::fs::write(&path, text.replace(from, to)).unwrap();
    }
    succeeds(&["basb-host", "plugin", "build"], &folder, &state);
    let built = state.join("target/plugin/provider-bugs.wasm");
    let kit = std::fs::read_to_string(folder.join("conformance.yaml")).unwrap();
    let certify = |bug: &str, faults: &[&str]| {
        let path = folder.join("with-a-bug.yaml");
        std::fs::write(&path, format!("{kit}config: {{ bug: \"{bug}\" }}\n")).unwrap();
        let mut words = vec!["basb-host", "plugin", "test", built.to_str().unwrap(), "--kit", path.to_str().unwrap()];
        faults.iter().for_each(|fault| words.extend(["--fault", fault]));
        let output = run(&words, &folder, &state);
        (output.status.success(), String::from_utf8_lossy(&output.stdout).into_owned())
    };
    let faults: Vec<&str> = CAUGHT.iter().flat_map(|(_, faults, _)| faults.iter().copied()).collect();
    let (passes, said) = certify("", &faults);
    assert!(passes, "without a bug it must pass, or a bug that is caught says nothing:\n{said}");
    for (bug, faults, words) in CAUGHT {
        let (passes, said) = certify(bug, faults);
        assert!(!passes && said.contains(words), "{bug} with {faults:?}:\n{said}");
    }
}
