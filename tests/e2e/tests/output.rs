//! What goes where, in which form, and how it looks.
//!
//! `INSTA_UPDATE=always cargo test -p basb-e2e --test output` writes what is seen as what is expected; read the difference
//! before keeping it.

use basb_core::event::Event;
use basb_e2e::{FileOptions, Lab, program};
use serde_json::Value;
use std::collections::BTreeSet;
use std::path::Path;

fn repository() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).ancestors().nth(2).unwrap()
}

/// The kinds that the documentation has a paragraph for.
fn documented() -> BTreeSet<String> {
    let text = std::fs::read_to_string(repository().join("docs/events.md")).unwrap();
    let kind = |line: &str| Some(line.strip_prefix('`')?.split_once("`:")?.0.to_owned());
    text.lines().filter_map(kind).collect()
}

#[test]
fn json_events_are_as_documented_and_alone_on_standard_output() {
    let lab = Lab::new();
    lab.write(&FileOptions::default());
    lab.host(&["plugin", "update", "--accept"]).exits(0);
    let documented = documented();
    assert!(documented.len() > 15, "{documented:?}");
    let mut seen = BTreeSet::new();
    for (release, code) in [(1, 0), (1, 0), (2, 0), (3, 3)] {
        let out = lab.run(release).exits(code);
        assert_eq!(out.stderr, "", "events are data, and nothing else is said");
        let events = out.events();
        assert_eq!(events.kinds().first(), Some(&"run.started"));
        assert_eq!(events.kinds().last(), Some(&"run.finished"));
        let order: Vec<(u64, u32)> = events.0.iter().map(|e| (e.seq, e.part)).collect();
        assert!(order.is_sorted_by(|a, b| a < b), "each event once, in order: {order:?}");
        seen.extend(events.kinds().into_iter().map(str::to_owned));
        // The history says the same, word for word.
        let shown = lab.host(&["--json", "show", &events.run()]).exits(0).stdout;
        assert_eq!(shown, out.stdout);
    }
    let unknown: Vec<_> = seen.difference(&documented).collect();
    assert!(unknown.is_empty(), "not in docs/events.md: {unknown:?}");
    assert!(seen.len() > 12, "{seen:?}");
}

#[test]
fn every_documented_example_of_an_event_is_one() {
    let text = std::fs::read_to_string(repository().join("docs/events.md")).unwrap();
    let mut examples = 0;
    for line in text.lines().filter(|l| l.starts_with('{') && l.contains("\"kind\"")) {
        let event: Event = serde_json::from_str(line).unwrap_or_else(|e| std::panic::panic_any(format!("{e}: {line}")));
        assert!(documented().contains(event.body.kind()), "{line}");
        examples += 1;
    }
    assert_eq!(examples, documented().len(), "one example of each kind");
}

#[test]
fn one_json_document_where_one_is_asked_for() {
    let lab = Lab::new();
    lab.write(&FileOptions::default());
    let json = |args: &[&str], code: i32| {
        let out = lab.host(&[&["--json"][..], args].concat()).exits(code);
        assert_eq!(out.stdout.lines().count(), 1, "{args:?}: {}", out.stdout);
        out.json()
    };
    for (args, code) in [(&["validate"][..], 0), (&["plan"], 2), (&["status"], 0), (&["history"], 0)] {
        assert_eq!(json(args, code)["version"], 1, "{args:?}");
    }
    assert_eq!(json(&["validate"], 0)["valid"], true);
    lab.run(1).exits(0);
    for args in [&["validate"][..], &["plan"], &["status"], &["history"], &["agent", "status"]] {
        assert_eq!(json(args, 0)["version"], 1, "{args:?}");
    }

    // Errors are data too, and are said to people beside it.
    let missing = lab.host(&["--json", "validate", "nowhere.yaml"]).exits(1);
    assert_eq!(missing.json().pointer("/diagnostics/0/code"), Some(&Value::from("spec/not-found")));
    assert!(missing.stderr.contains("there is no file"), "{}", missing.stderr);
    let unknown = lab.host(&["--json", "show", "nonsense"]).exits(1);
    assert_eq!(unknown.json().pointer("/error/code"), Some(&Value::from("journal/unknown-run")));
    assert!(unknown.stderr.contains("code: journal/unknown-run"), "{}", unknown.stderr);
}

#[test]
fn people_read_standard_error_and_programs_standard_output() {
    let lab = Lab::new();
    lab.write(&FileOptions::default());
    let out = lab.host(&["run"]).exits(0);
    assert_eq!(out.stdout, "", "a run has no data but its events");
    assert!(out.stderr.contains("capture: verify: probe tools: pass"), "{}", out.stderr);
    assert!(!out.stderr.contains('\u{1b}'), "a line at a time, without colour or movement: {}", out.stderr);
    let quiet = lab.host(&["--quiet", "run"]).exits(0);
    assert_eq!((quiet.stdout.as_str(), quiet.stderr.as_str()), ("", ""));
    let plan = lab.host(&["plan"]).exits(0);
    assert_eq!(plan.stderr, "");
    assert!(plan.stdout.contains("nothing to do"), "{}", plan.stdout);
}

#[test]
fn colour_where_it_is_wanted() {
    let lab = Lab::new();
    lab.write(&FileOptions::default());
    let coloured = |no_color: Option<&str>, args: &[&str]| {
        let mut command = lab.command(args);
        if let Some(value) = no_color {
            command.env("NO_COLOR", value);
        }
        let out = command.output().unwrap();
        (out.stdout.contains(&0x1b), out.stderr.contains(&0x1b))
    };
    // Data: the plan. To people: an error.
    for (args, always) in
        [(&["plan"][..], (true, false)), (&["show", "nonsense"], (false, true)), (&["run", "x.yaml"], (false, true))]
    {
        let with = |when: &str, no_color| coloured(no_color, &[&["--color", when][..], args].concat());
        assert_eq!(coloured(None, args), (false, false), "{args:?}: nobody is at a terminal");
        assert_eq!(coloured(Some("1"), args), (false, false), "{args:?}");
        assert_eq!(with("never", None), (false, false), "{args:?}");
        assert_eq!(with("always", None), always, "{args:?}");
        assert_eq!(with("always", Some("1")), always, "{args:?}: what is asked for on the command line wins");
        assert_eq!(with("auto", Some("")), (false, false), "{args:?}");
    }
}

#[test]
fn the_schema_is_the_one_that_is_committed() {
    let lab = Lab::new();
    let golden = std::fs::read_to_string(repository().join("host/spec/tests/deployment.schema.json")).unwrap();
    let printed = lab.host(&["schema"]).exits(0);
    assert_eq!(printed.stderr, "");
    let mut schema = printed.json();
    // What grants look like is put in by the host; the rest is the golden file of the crate that reads the file.
    let grants = schema.pointer_mut("/$defs/PluginFile/properties/grants").unwrap().as_object_mut().unwrap();
    let capabilities: Vec<&String> = grants["properties"].as_object().unwrap().keys().collect();
    assert_eq!(capabilities, ["http", "tcp", "files", "exec", "smtp"]);
    assert_eq!(grants["type"], serde_json::json!(["object", "null"]), "`grants:` with nothing under it grants nothing");
    grants.retain(|key, _| key == "description");
    let parts = ["grants.", "secretStores.", "secrets.", "credentials."];
    schema["$defs"].as_object_mut().unwrap().retain(|name, _| !parts.iter().any(|part| name.starts_with(part)));
    let mut golden: Value = serde_json::from_str(&golden).unwrap();
    golden.pointer_mut("/$defs/PluginFile/properties/grants").unwrap().as_object_mut().unwrap().remove("type");
    for section in ["secretStores", "secrets", "credentials"] {
        let described = schema["properties"][section]["description"].clone();
        assert_eq!(described, golden["properties"][section]["description"], "{section}");
        let own = schema["properties"][section].to_string();
        assert!(own.contains(&format!("#/$defs/{section}.")), "{section}: {own}");
        for schema in [&mut schema, &mut golden] {
            schema["properties"].as_object_mut().unwrap().remove(section);
        }
    }
    assert_eq!(schema, golden);
}

#[test]
fn completions_for_each_shell() {
    let lab = Lab::new();
    for (shell, sign) in
        [("bash", "-o default basb-host"), ("zsh", "#compdef basb-host"), ("fish", "complete -c basb-host")]
    {
        let script = lab.host(&["completions", shell]).exits(0).stdout;
        assert!(script.contains(sign), "{shell}: {script}");
        for command in ["validate", "promote", "completions"] {
            assert!(script.contains(command), "{shell}: no {command}");
        }
    }
    assert!(!lab.state().join("journal").exists(), "that needs no state");
}

/// What a command wrote to standard output is as in the file, apart from what is known to differ from run to run.
#[track_caller]
fn looks(name: &str, known: &[(String, &'static str)], seen: &str) {
    let mut seen = seen.to_owned();
    for (what, placeholder) in known {
        seen = seen.replace(what, placeholder);
    }
    let filters = vec![
        (r"\b\d{4}-\d\d-\d\d[T ]\d\d:\d\d:\d\d(\.\d+)?Z?", "[DATE]"),
        (r"(?m)^\d\d:\d\d:\d\d ", "[TIME] "),
        (r"\b(in|after) \d+(\.\d+)? ?(ms|s)\b", "$1 [TOOK]"),
        (r" +\d+(\.\d+)?(ms|s)\n", " [TOOK]\n"),
        (r"sha256:[0-9a-f]{64}", "sha256:[DIGEST]"),
        (r" +\d+ bytes", " [SIZE] bytes"),
        (r"size +\d+", "size [SIZE]"),
        (r"\S+@\S+ pid (\d+|\[PID\])", "[WHO] pid [PID]"),
        (r"\b\d+ (entries|decisions)\b", "[N] $1"),
        (r"\b\d+ of \d+ calls? of (plugins|strategies)", "[N] of [N] calls of $1"),
        (r"\(\d+(\.\d+)? ?m?s ago\)", "([TOOK] ago)"),
        (r"\b1\d{12}\b", "[MILLIS]"),
        (r"\b\w{3}, \d\d \w{3} \d{4} [\d:]+ GMT", "[DATE]"),
        (r#""timing":\{[^}]*\}"#, r#""timing":{}"#),
        // How many records come before one differs with how often it was looked whether something is there.
        (r"(?m)^(- \[DATE\]) #\d+", "$1 #[RECORD]"),
        (r"\brecord \d+", "record [RECORD]"),
        (r"\b\d+ records", "[N] records"),
        (r"\bplan [0-9a-f]{12}\b", "plan [PLAN]"),
        (r"\.(replaced|damaged)-\w+", ".$1-[DATE]"),
        (r"\d of \d measurements", "[N] of [N] measurements"),
        // Shares come in the order of the revisions' digests.
        (r"traffic \[\w+\] \d+%, \[\w+\] \d+%", "traffic [SHARES]"),
        // How many measurements fit into a time differs.
        (r"(?m)^.*: analysis healthy: tool-success #\d.*: pass: .*\n", ""),
    ];
    insta::with_settings!({ filters => filters, omit_expression => true, prepend_module_to_snapshot => false }, {
        insta::assert_snapshot!(name, seen);
    });
}

#[test]
fn how_it_looks() {
    let lab = Lab::new();
    lab.write(&FileOptions::default());
    let out = |args: &[&str], code: i32| lab.host(args).exits(code).stdout;
    let mut known = vec![
        (lab.root().to_str().unwrap().to_owned(), "[ROOT]"),
        (program("second-brain").to_str().unwrap().to_owned(), "[PROGRAM]"),
        (format!("127.0.0.1:{}", lab.port()), "127.0.0.1:[PORT]"),
    ];
    looks("help", &known, &out(&["--help"], 0));
    looks("validate", &known, &out(&["validate"], 0));
    looks("plugin-list", &known, &out(&["plugin", "list"], 0));
    looks("plugin-inspect", &known, &out(&["plugin", "inspect", "builtin:probe-mcp"], 0));

    let candidate = |plan: &Value| plan.pointer("/services/0/candidate").unwrap().as_str().unwrap().to_owned();
    known.push((candidate(&lab.host(&["--json", "plan"]).exits(2).json()), "[FIRST]"));
    looks("plan-first", &known, &out(&["plan"], 2));
    known.push((lab.run(1).exits(0).events().run(), "[RUN-1]"));
    looks("status", &known, &out(&["status"], 0));
    looks("show-first", &known, &out(&["show"], 0));

    known.push((candidate(&lab.host(&["--json", "plan", "--set", "release=3"]).exits(2).json()), "[BROKEN]"));
    looks("plan-next", &known, &out(&["plan", "--set", "release=3"], 2));
    known.push((lab.run(3).exits(3).events().run(), "[RUN-2]"));
    looks("show-rolled-back", &known, &out(&["show"], 0));
    looks("history", &known, &out(&["history"], 0));
}

/// Data and what is said beside it, one behind the other.
fn all_of(out: &basb_e2e::Output) -> String {
    let beside = if out.stderr.is_empty() { String::new() } else { format!("--- standard error\n{}", out.stderr) };
    format!("{}{beside}", out.stdout)
}

/// What differs from run to run in what is said of processes, people and measurements.
fn known_of(lab: &Lab) -> Vec<(String, &'static str)> {
    vec![
        (lab.root().to_str().unwrap().to_owned(), "[ROOT]"),
        (program("second-brain").to_str().unwrap().to_owned(), "[PROGRAM]"),
        (format!("127.0.0.1:{}", lab.port()), "127.0.0.1:[PORT]"),
    ]
}

fn candidate(lab: &Lab, args: &[&str]) -> String {
    let plan = lab.host(&[&["--json", "plan"], args].concat()).json();
    plan.pointer("/services/0/candidate").unwrap().as_str().unwrap().to_owned()
}

#[test]
fn how_plans_and_ways_back_look() {
    let lab = Lab::new();
    lab.write(&FileOptions::default());
    lab.host(&["plugin", "update", "--accept"]).exits(0);
    let mut known = known_of(&lab);
    known.push((candidate(&lab, &[]), "[FIRST]"));
    known.push((candidate(&lab, &["--set", "release=2"]), "[SECOND]"));
    known.push((lab.run(1).exits(0).events().run(), "[RUN-1]"));
    let see = |known: &[(String, &'static str)], name: &str, args: &[&str], code: i32| {
        looks(name, known, &all_of(&lab.host(args).exits(code)));
    };
    see(&known, "plan-out", &["plan", "--set", "release=2", "--out", "plan.json"], 2);
    see(&known, "drift-none", &["drift"], 0);
    known.push((lab.run(2).exits(0).events().run(), "[RUN-2]"));
    see(&known, "run-stale", &["run", "plan.json"], 1);
    see(&known, "revisions", &["revisions"], 0);
    let out = lab.host(&["--json", "undo"]).exits(0);
    known.push((out.events().run(), "[RUN-3]"));
    // How it goes on is told as that of any run; what it does is told before.
    looks("undo", &known, &out.stderr);
    see(&known, "undo-nothing", &["undo", "--to-revision", "3", "--service", "capture"], 0);
    see(&known, "revisions-after", &["revisions"], 0);
    // How often it is looked whether instances are there differs: the first call only, which asks for what is there.
    let tapes = lab.host(&["tape", "show", &known[5].0]).exits(0).stdout;
    let one = lab.host(&["tape", "show", &known[5].0, "1"]).exits(0).stdout;
    looks("tape-show", &known, &format!("{}\n{one}", tapes.lines().next().unwrap()));
}

#[test]
fn how_runs_that_wait_look() {
    let lab = Lab::new();
    let options = FileOptions { config: "{ steps: [ { setWeight: 50 } ] }", ..FileOptions::default() };
    let text = options.text(lab.port(), lab.second_port());
    let plain = "  local:\n    provider: { plugin: local }\n";
    let approve = "    approve: { approvals: 2, approvers: [ann, ben] }\n";
    lab.write_text(&basb_e2e::swap(&text, plain, &format!("{plain}{approve}")));
    lab.host(&["plugin", "update", "--accept"]).exits(0);
    let mut known = known_of(&lab);
    known.push((candidate(&lab, &[]), "[FIRST]"));
    let waits = lab.run(1).exits(4);
    known.push((waits.events().run(), "[RUN-1]"));
    looks("gate-opened", &known, &waits.stderr);
    let see = |known: &[(String, &'static str)], name: &str, args: &[&str], code: i32| {
        looks(name, known, &all_of(&lab.host(args).exits(code)));
    };
    see(&known, "status-gate", &["status"], 0);
    see(&known, "approve", &["approve", "local", "--by", "ann"], 0);
    see(&known, "approve-twice", &["approve", "local", "--by", "ann"], 1);
    see(&known, "approve-nobody", &["approve", "local", "--by", "eve"], 1);
    // Nothing was looked at yet, and it is told all the same.
    see(&known, "show-gate", &["show"], 0);
    lab.host(&["--json", "approve", "local", "--by", "ben"]).exits(0);

    // An undo asks as any run does, and so does an import.
    lab.run(2).exits(4);
    lab.host(&["approve", "local", "--by", "ann"]).exits(0);
    lab.host(&["--json", "approve", "local", "--by", "ben"]).exits(0);
    known.push((candidate(&lab, &["--set", "release=2"]), "[SECOND]"));
    let asks = lab.host(&["--json", "undo"]).exits(4);
    known.push((asks.events().run(), "[UNDO]"));
    looks("undo-gate", &known, &asks.stderr);
    see(&known, "show-undo-gate", &["show"], 0);
    lab.host(&["approve", "local", "--by", "ben"]).exits(0);
    let back = lab.host(&["--json", "approve", "local", "--by", "ann"]).exits(0);
    assert_eq!(back.events().weights("capture"), [100], "in one go");
    std::fs::rename(lab.state().join("journal"), lab.root().join("lost")).unwrap();
    let asks = lab.host(&["--json", "import"]).exits(4);
    known.push((asks.events().run(), "[IMPORT]"));
    looks("import-gate", &known, &asks.stderr);
    lab.host(&["approve", "local", "--by", "ann"]).exits(0);
    let adopted = lab.host(&["--json", "approve", "local", "--by", "ben"]).exits(0);
    assert_eq!(adopted.events().count("service.promoted"), 1);
    lab.host(&["drift"]).exits(0);
}

#[test]
fn how_care_and_looking_back_look() {
    let lab = Lab::new();
    let config = "{ steps: [ { setWeight: 20 }, { pause: { duration: 10m } } ] }";
    lab.write(&FileOptions { config, ..FileOptions::default() });
    lab.host(&["plugin", "update", "--accept"]).exits(0);
    let mut known = known_of(&lab);
    known.push((candidate(&lab, &[]), "[FIRST]"));
    known.push((candidate(&lab, &["--set", "release=2"]), "[SECOND]"));
    known.push((lab.run(1).exits(0).events().run(), "[RUN-1]"));
    let mut run = lab.start(2);
    run.until_weight(20);
    known.push((lab.history().remove(0).0, "[RUN-2]"));
    known.push((format!("pid {}", run.pid()), "pid [PID]"));
    let see = |known: &[(String, &'static str)], name: &str, args: &[&str], code: i32| {
        looks(name, known, &all_of(&lab.host(args).exits(code)));
    };
    see(&known, "unlock-alive", &["unlock"], 1);
    see(&known, "unlock-forced", &["unlock", "lab/local", "--even-if-alive"], 0);
    let _ = run.end().exits(1);
    see(&known, "drift-half-way", &["drift"], 2);
    see(&known, "state-backup", &["state", "backup", "copy.sqlite3"], 0);
    see(&known, "state-check", &["state", "check"], 0);
    see(&known, "state-restore-refused", &["state", "restore", "copy.sqlite3"], 1);
    see(&known, "state-restore", &["state", "restore", "copy.sqlite3", "--replace"], 0);
    see(&known, "state-recover-whole", &["state", "recover"], 0);
    let file = lab.state().join("journal/journal.sqlite3");
    let whole = std::fs::read(&file).unwrap();
    std::fs::write(&file, &whole[..4096 * 3]).unwrap();
    see(&known, "state-check-damaged", &["state", "check"], 1);
    std::fs::write(&file, &whole).unwrap();

    known.push((lab.run(1).exits(0).events().run(), "[RUN-3]"));
    std::fs::rename(lab.state().join("journal"), lab.root().join("lost")).unwrap();
    let adopted = lab.host(&["--json", "import", "--set", "release=2"]).exits(0);
    known.push((adopted.events().run(), "[IMPORT]"));
    looks("import", &known, &adopted.stderr);
    lab.write(&FileOptions::default());
    let broken = lab.run(3);
    known.push((broken.exits(3).events().run(), "[BROKEN-RUN]"));
    known.push((candidate(&lab, &["--set", "release=3"]), "[BROKEN]"));
    see(&known, "postmortem", &["postmortem"], 0);
    see(&known, "replay", &["replay"], 0);
    see(&known, "backtest-same", &["backtest", "builtin:strategy-canary", "--last", "1"], 0);
    see(&known, "backtest-other", &["backtest", "builtin:strategy-rolling", "--last", "1", "--as", "rollout"], 1);
}

#[test]
fn how_a_promotion_between_environments_looks() {
    let lab = Lab::new();
    let text = FileOptions::default().text(lab.port(), lab.second_port());
    let port = basb_e2e::free_port();
    let two = format!(
        "environments:\n  staging:\n    provider: {{ plugin: local }}\n  production:\n    provider: {{ plugin: local }}\n    \
         services:\n      capture: {{ listen: 127.0.0.1:{port}, replicas: 1 }}\n"
    );
    lab.write_text(&basb_e2e::swap(&text, "environments:\n  local:\n    provider: { plugin: local }\n", &two));
    lab.host(&["plugin", "update", "--accept", "-e", "staging"]).exits(0);
    let mut known = known_of(&lab);
    known.push((format!("127.0.0.1:{port}"), "127.0.0.1:[OTHER-PORT]"));
    known.push((candidate(&lab, &["-e", "staging"]), "[FIRST]"));
    looks("env-promote-nothing", &known, &all_of(&lab.host(&["env", "promote", "staging", "production"]).exits(1)));
    let first = lab.host(&["--json", "run", "-e", "staging"]).exits(0);
    known.push((first.events().run(), "[RUN-1]"));
    let promoted = lab.host(&["--json", "env", "promote", "staging", "production"]).exits(0);
    known.push((promoted.events().run(), "[RUN-2]"));
    looks("env-promote", &known, &promoted.stderr);
    looks("revisions-promoted", &known, &all_of(&lab.host(&["revisions", "-e", "production"]).exits(0)));
}
