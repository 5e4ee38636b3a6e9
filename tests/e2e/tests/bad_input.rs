//! Whatever is wrong is said once, with a code and what to do next, and nothing is changed by it.

use basb_e2e::{FileOptions, Lab, Mcp, Output, program, swap};
use std::net::TcpListener;
use std::path::Path;

/// The file of every test, with one thing in it replaced, run.
fn run_with(from: &str, to: &str) -> (Lab, Output) {
    let lab = Lab::new();
    let text = lab.write(&FileOptions::default());
    lab.write_text(&swap(&text, from, to));
    let out = lab.host(&["run"]);
    (lab, out)
}

/// Whether it was refused before anything was begun.
#[track_caller]
fn refused((lab, out): (Lab, Output), code: &str, parts: &[&str]) {
    let out = out.exits(1).says(code, parts);
    assert_eq!(out.stdout, "");
    lab.untouched();
}

/// Where something is in the file, as `deployment.yaml:LINE:COLUMN`.
fn place(lab: &Lab, what: &str) -> String {
    let text = std::fs::read_to_string(lab.file()).unwrap();
    let (before, _) = text.split_once(what).unwrap();
    let line = before.rsplit('\n').next().unwrap();
    format!("deployment.yaml:{}:{}", before.matches('\n').count() + 1, line.chars().count() + 1)
}

/// A run with a plugin file in place of the strategy.
fn run_with_plugin(bytes: &[u8]) -> (Lab, Output) {
    let lab = Lab::new();
    let text = lab.write(&FileOptions::default());
    std::fs::write(lab.root().join("plugin.wasm"), bytes).unwrap();
    lab.write_text(&swap(&text, "builtin:strategy-canary", "./plugin.wasm"));
    let out = lab.host(&["run"]);
    (lab, out)
}

fn component(name: &str) -> &'static [u8] {
    basb_builtins::find(name).unwrap().bytes
}

#[test]
fn a_file_that_is_not_yaml() {
    let lab = Lab::new();
    lab.write_text("version: 1\nname: [lab\nservices: }\n");
    let out = lab.host(&["run"]);
    refused((lab, out), "spec/not-yaml", &["deployment.yaml:3:"]);
}

#[test]
fn a_file_that_is_not_there() {
    let lab = Lab::new();
    let out = lab.host(&["run", "nowhere.yaml"]);
    refused((lab, out), "spec/not-found", &["there is no file nowhere.yaml"]);
}

#[test]
fn an_unknown_key() {
    refused(
        run_with("    replicas: 2\n", "    replicsa: 2\n"),
        "spec/unknown-key",
        &["replicsa", "did you mean `replicas`?"],
    );
}

#[test]
fn a_plugin_file_that_is_not_there() {
    let parts = ["nothing.wasm cannot be read", "deployment.yaml:"];
    refused(run_with("builtin:strategy-canary", "./nothing.wasm"), "plugin/unreadable", &parts);
}

#[test]
fn a_builtin_that_is_not_there() {
    let parts = ["there is no builtin `strategy-canari`", "strategy-canary", "deployment.yaml:"];
    refused(run_with("builtin:strategy-canary", "builtin:strategy-canari"), "plugin/no-such-builtin", &parts);
}

#[test]
fn a_plugin_of_the_wrong_world() {
    let parts = ["it is used as a strategy", "it exports `basb:host/probe@0.1.0`", "it can be used as a probe"];
    refused(run_with("builtin:strategy-canary", "builtin:probe-tcp"), "plugin/wrong-world", &parts);
    refused(run_with_plugin(component("probe-tcp")), "plugin/wrong-world", &parts);
    // One that is right in one place and wrong in another.
    let parts = ["it is used as a strategy and as a probe; a plugin is one of them", "deployment.yaml:"];
    refused(run_with("    plugin: http\n", "    plugin: rollout\n"), "plugin/wrong-world", &parts);
}

#[test]
fn a_truncated_component_at_every_tenth_of_it() {
    let whole = component("strategy-canary");
    let lab = Lab::new();
    let text = lab.write(&FileOptions::default());
    lab.write_text(&swap(&text, "builtin:strategy-canary", "./plugin.wasm"));
    for tenth in 0..10 {
        let length = whole.len() * tenth / 10;
        std::fs::write(lab.root().join("plugin.wasm"), &whole[..length]).unwrap();
        let out = lab.host(&["run"]).exits(1);
        assert_eq!(out.stderr.matches("Error: plugin/").count(), 1, "cut at {length}: {}", out.stderr);
        assert!(out.stderr.contains("help: "), "cut at {length}: {}", out.stderr);
        assert!(!out.stderr.contains("panicked"), "cut at {length}: {}", out.stderr);
    }
    lab.untouched();
    std::fs::write(lab.root().join("plugin.wasm"), whole).unwrap();
    lab.host(&["validate"]).exits(0);
}

#[test]
fn a_file_that_is_no_wasm() {
    refused(run_with_plugin(b"#!/bin/sh\nexit 0\n"), "plugin/not-wasm", &["it is not WebAssembly", "it begins with"]);
}

#[test]
fn a_core_module() {
    let parts = ["it is a core module, not a component", "wasm-tools component new"];
    refused(run_with_plugin(b"\0asm\x01\0\0\0"), "plugin/core-module", &parts);
}

#[test]
fn a_component_without_a_manifest() {
    refused(run_with_plugin(b"\0asm\x0d\0\x01\0"), "plugin/no-manifest", &["it carries no manifest"]);
}

#[test]
fn a_grant_that_is_missing_is_shown_as_lines_to_paste() {
    let lab = Lab::new();
    let text = lab.write(&FileOptions::default());
    let grants = "    grants:\n      http:\n        - { target: service, methods: [GET, POST, DELETE], path: /mcp }\n";
    lab.write_text(&swap(&text, grants, ""));
    lab.host(&["run"])
        .exits(1)
        .says("plugin/not-granted", &["`mcp`", "needs `http`", "speaks MCP", "deployment.yaml:"]);
    lab.untouched();

    // The lines as a program reads them, without the frame that people get.
    let problems = lab.host(&["--json", "run"]).exits(1).json();
    let problem = &problems["diagnostics"][0];
    let said = format!("{}\n{}", problem["message"].as_str().unwrap(), problem["help"].as_str().unwrap_or_default());
    let lines: Vec<&str> = said.lines().skip_while(|line| *line != "plugins:").collect();
    let pasted =
        lines.iter().skip(2).take_while(|line| line.starts_with("    ")).copied().collect::<Vec<_>>().join("\n");
    assert!(pasted.starts_with("    grants:\n      http:\n"), "{said}");
    lab.write_text(&swap(&text, grants, &format!("{pasted}\n")));
    lab.host(&["validate"]).exits(0);
}

#[test]
fn a_grant_with_an_unknown_key() {
    let run = run_with("{ target: service, methods: [GET], path", "{ target: service, methds: [GET], path");
    let at = place(&run.0, "methds");
    refused(run, "plugin/bad-grant", &["unknown key `methds`", "did you mean `methods`?", &at]);
}

#[test]
fn a_capability_that_does_not_exist() {
    let run = run_with("      files:\n", "      flies:\n");
    let at = place(&run.0, "flies");
    refused(run, "plugin/bad-grant", &["unknown capability `flies`", "did you mean `files`?", &at]);
}

#[test]
fn a_plugin_configuration_that_its_schema_forbids() {
    let run = run_with("config: { path: /healthz }", "config: { path: 8080 }");
    let at = place(&run.0, "8080");
    refused(run, "config/invalid", &["this must be a text", &at]);
    let run = run_with("config: { path: /healthz }", "config: { pth: /healthz }");
    let line = place(&run.0, "pth").rsplit_once(':').unwrap().0.to_owned();
    refused(run, "config/invalid", &["`pth`", "did you mean `path`?", &line]);
}

#[test]
fn an_analysis_that_a_step_names_and_nobody_knows() {
    let lab = Lab::new();
    let config = "{ steps: [ { setWeight: 20 }, { analysis: { templates: [helthy] } } ] }";
    lab.write(&FileOptions { config, ..FileOptions::default() });
    let out = lab.host(&["run"]);
    refused(
        (lab, out),
        "strategy/invalid",
        &["there is no analysis `helthy`", "did you mean `healthy`?", "deployment.yaml:"],
    );
}

#[test]
fn a_wrong_command_line() {
    let lab = Lab::new();
    for args in [&["rnu"][..], &["run", "--set", "release"], &["logs"], &["--color", "sometimes", "status"]] {
        let out = lab.host(args).exits(1);
        assert_eq!(out.stdout, "", "{args:?}");
        assert!(out.stderr.starts_with("error: "), "{args:?}: {}", out.stderr);
    }
    lab.untouched();
}

#[test]
fn a_port_in_use() {
    let lab = Lab::new();
    lab.write(&FileOptions::default());
    let taken = TcpListener::bind(("127.0.0.1", lab.port())).unwrap();
    let address = format!("127.0.0.1:{}", lab.port());
    let out = lab.run(1).exits(3);
    let events = out.events();
    let reason = events.titles("service.aborted").pop().unwrap();
    assert!(reason.contains(&address), "{reason}");
    assert!(reason.contains("in use"), "{reason}");
    nothing_left(&lab);

    // When it is free the same command does it.
    drop(taken);
    lab.run(1).exits(0);
    assert_eq!(Mcp::new(lab.port()).release(), Ok(1));
}

/// Whether nothing is left of a first release that failed.
#[track_caller]
fn nothing_left(lab: &Lab) {
    let cloud = lab.cloud();
    for (name, service) in &cloud.services {
        assert!(service.revisions.is_empty(), "{name}: {service:?}");
    }
    let status = lab.host(&["--json", "status"]).exits(0).json();
    assert_eq!(status["deployed"].as_array().unwrap().len(), 0, "{status}");
    assert_eq!(status["unfinished"].as_array().unwrap().len(), 0, "{status}");
}

#[test]
fn a_service_that_exits_at_once() {
    let lab = Lab::new();
    let text = lab.write(&FileOptions::default());
    lab.write_text(&swap(&text, "capture, --vault", "capture, --valt"));
    let events = lab.run(1).exits(3).events();
    let reason = events.titles("service.aborted").pop().unwrap();
    assert!(reason.contains("exit code 2"), "{reason}");
    assert!(reason.contains("unexpected argument '--valt' found"), "its last lines: {reason}");
    nothing_left(&lab);
}

#[test]
fn a_release_that_exits_at_once_leaves_the_stable_one_alone() {
    let lab = Lab::new();
    let text = lab.write(&FileOptions::default());
    lab.run(1).exits(0);
    let before = lab.cloud();
    lab.write_text(&swap(&text, "capture, --vault", "capture, --valt"));
    let events = lab.run(1).exits(3).events();
    assert!(events.titles("service.aborted")[0].contains("exit code 2"));
    assert_eq!(lab.cloud().services["capture"].only(), before.services["capture"].only());
    assert_eq!(Mcp::new(lab.port()).release(), Ok(1));
}

#[test]
fn a_program_that_is_not_found() {
    let lab = Lab::new();
    lab.write(&FileOptions::default());
    for (given, said) in
        [("no-such-program", "cannot find the program `no-such-program`"), ("./no/program", "no/program")]
    {
        let events = lab.follow(&["--json", "run", "--set", &format!("program={given}")]).end().exits(3).events();
        let reason = events.titles("service.aborted").pop().unwrap();
        assert!(reason.contains(said), "{reason}");
        nothing_left(&lab);
    }
}

#[test]
fn a_state_folder_that_cannot_be_written() {
    let lab = Lab::new();
    lab.write(&FileOptions::default());
    let file = lab.root().join("file");
    std::fs::write(&file, "mine").unwrap();
    let below = file.join("state");
    for args in [&["run"][..], &["plan"], &["status"], &["agent", "start"]] {
        let all = [&["--state", below.to_str().unwrap()][..], args].concat();
        let out = lab.host(&all).exits(1).says("state/unwritable", &["file/state", "--state DIR"]);
        assert_eq!(out.stdout, "");
    }
    assert_eq!(std::fs::read_to_string(&file).unwrap(), "mine");
}

fn journal(lab: &Lab) -> std::path::PathBuf {
    let folder = lab.state().join("journal");
    let mut files = std::fs::read_dir(&folder).unwrap().map(|e| e.unwrap().path());
    files.find(|p| p.extension().is_some_and(|e| e == "db" || e == "sqlite" || e == "sqlite3")).unwrap_or_else(|| {
        let all: Vec<_> = std::fs::read_dir(&folder).unwrap().map(|e| e.unwrap().file_name()).collect();
        std::panic::panic_any(format!("no journal among {all:?}"))
    })
}

fn overwrite(path: &Path, from: usize, with: u8) -> Vec<u8> {
    let mut bytes = std::fs::read(path).unwrap();
    let from = from.min(bytes.len());
    bytes[from..].fill(with);
    std::fs::write(path, &bytes).unwrap();
    bytes
}

#[test]
fn a_journal_that_is_something_else() {
    let lab = Lab::new();
    lab.replays_nothing("its journal is none");
    lab.write(&FileOptions::default());
    lab.run(1).exits(0);
    let before = lab.cloud();
    let path = journal(&lab);
    let bytes = overwrite(&path, 0, b'x');
    for args in [&["run"][..], &["status"], &["history"], &["show"]] {
        let out = lab.host(args).exits(1).says("journal/not-a-journal", &["nothing was changed"]);
        assert_eq!(out.stdout, "", "{args:?}");
    }
    assert_eq!(std::fs::read(&path).unwrap(), bytes, "what was found is kept");
    assert_eq!(lab.host(&["agent", "start"]).exits(0).stderr, "", "the agent needs no journal");
    assert_eq!(Mcp::new(lab.port()).release(), Ok(1), "the services go on");
    drop(before);
}

#[test]
fn a_journal_that_is_damaged_inside() {
    let lab = Lab::new();
    lab.replays_nothing("its journal is damaged");
    lab.write(&FileOptions::default());
    lab.run(1).exits(0);
    lab.host(&["history"]).exits(0);
    let path = journal(&lab);
    for side in ["-wal", "-shm"] {
        let _ = std::fs::remove_file(format!("{}{side}", path.display()));
    }
    // The head is left as it is: what follows it is not.
    let bytes = overwrite(&path, 200, 0xA5);
    let out = lab
        .host(&["run", "--set", "release=2"])
        .exits(1)
        .says("journal/corrupted", &["is damaged", "nothing was changed"]);
    assert_eq!(out.stdout, "");
    assert_eq!(std::fs::read(&path).unwrap(), bytes, "what was found is kept");
    assert_eq!(Mcp::new(lab.port()).release(), Ok(1), "the services go on");
}

#[test]
fn the_programs_are_named_when_they_are_missing() {
    let missing = std::panic::catch_unwind(|| program("no-such-binary")).expect_err("it is not there");
    let said = missing.downcast_ref::<String>().unwrap();
    assert!(said.contains("run `cargo build -p no-such-binary` first"), "{said}");
}
#[test]
fn a_denial_in_the_middle_shows_the_lines_that_lift_it() {
    let lab = Lab::new();
    let text = lab.write(&FileOptions::default());
    let good = "    grants:\n      http:\n        - { target: service, methods: [GET, POST, DELETE], path: /mcp }\n";
    let narrow = swap(good, "GET, POST, DELETE", "GET");
    lab.write_text(&swap(&text, good, &narrow));
    let events = lab.run(1).exits(3).events();
    let reason = events.titles("service.aborted").pop().unwrap();
    assert!(reason.contains("asked for POST"), "{reason}");
    let lines = reason.lines().skip_while(|line| *line != "plugins:").skip(2);
    let pasted = lines.take_while(|line| line.starts_with("    ")).collect::<Vec<_>>().join("\n") + "\n";
    nothing_left(&lab);
    lab.write_text(&swap(&text, good, &pasted));
    // A wider grant is not taken without a word: it has to be agreed to.
    let refused = lab.run(1).exits(1);
    assert!(refused.stderr.contains("lock/differs"), "{}", refused.stderr);
    assert!(lab.host(&["plugin", "update"]).exits(2).stdout.contains("http POST"), "the difference is shown");
    lab.host(&["plugin", "update", "--accept"]).exits(0);
    lab.run(1).exits(0);
}
