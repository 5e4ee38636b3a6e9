//! Files that cannot be read, and what holds for every text.

#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test fails by panicking")]

use basb_spec::{Choice, LoadOptions, Loaded, MAX_FILE, load, parse, schema};
use proptest::prelude::*;
use serde_json::Value;
use std::path::{Path, PathBuf};

const FULL: &str = include_str!("good/full.yaml");
const SMALL: &str = include_str!("good/small.yaml");

/// A folder of this test alone, removed at its end.
struct Folder(PathBuf);

impl Folder {
    fn new(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("basb-spec-{name}-{}", std::process::id()));
        std::fs::create_dir_all(&path).unwrap();
        Self(path)
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

fn code(path: &Path) -> String {
    let options = LoadOptions { path: path.to_owned(), ..LoadOptions::default() };
    let problems = load(&options).err().unwrap();
    assert_eq!(problems.as_slice().len(), 1, "{problems:?}");
    assert!(problems.as_slice()[0].help.is_some());
    problems.as_slice()[0].code.clone()
}

#[test]
fn what_cannot_be_read_gives_one_clear_error() {
    let folder = Folder::new("unreadable");
    let write = |name: &str, bytes: &[u8]| {
        let path = folder.0.join(name);
        std::fs::write(&path, bytes).unwrap();
        path
    };
    assert_eq!(code(&folder.0.join("none.yaml")), "spec/not-found");
    assert_eq!(code(&folder.0), "spec/not-a-file");
    assert_eq!(code(Path::new("/dev/zero")), "spec/not-a-file");
    assert_eq!(code(&write("empty.yaml", b"")), "spec/empty");
    assert_eq!(code(&write("elf", b"\x7fELF\x02\x01\x01\x00\xff\xfe")), "spec/not-text");
    assert_eq!(code(&write("utf16.yaml", b"\xff\xfev\x00e\x00")), "spec/not-text");
    assert_eq!(code(&write("large.yaml", &vec![b'#'; MAX_FILE + 1])), "spec/too-large");
}

#[test]
fn paths_are_those_of_the_folder_of_the_file() {
    let folder = Folder::new("paths");
    let path = folder.0.join("deployment.yaml");
    std::fs::write(&path, FULL).unwrap();
    let sets = vec![("release".to_owned(), "9".to_owned())];
    let Loaded { deployment, .. } = load(&LoadOptions { path, environment: Some("docker".to_owned()), sets }).unwrap();
    let capture = deployment.services.values().next().unwrap();
    // `--set` is stronger than the environment's variable, which is stronger than the file's.
    assert_eq!(capture.workload.image.as_deref(), Some("example/capture:9"));
    assert!(capture.workload.command.is_empty());
    assert_eq!(capture.workload.working_folder.as_deref(), folder.0.to_str());
    assert_eq!(deployment.provider.config, serde_json::json!({ "network": "net-9" }));
    assert!(deployment.plugins.keys().all(|name| name.as_str() != "local"));
}

#[test]
fn what_is_not_used_is_a_warning() {
    let text = SMALL
        .replace("strategies:\n", "strategies:\n  other: { plugin: rolling }\n")
        .replace("name: demo", "name: demo\nvars: { a: b }")
        .replace("plugins:\n", "plugins:\n  spare: { source: ./spare.wasm }\n");
    let loaded = parse(&text, "f", Path::new("/"), Choice::default()).unwrap();
    let seen: Vec<_> = loaded.warnings.iter().map(|w| (w.pointer.as_str(), w.code.as_str())).collect();
    assert_eq!(
        seen,
        [("/vars/a", "spec/unused"), ("/plugins/spare", "spec/unused"), ("/strategies/other", "spec/unused")]
    );
    assert_eq!(serde_json::to_value(&loaded.warnings[0]).unwrap()["severity"], "warning");
    assert!(parse(FULL, "f", Path::new("/"), Choice::default()).unwrap().warnings.is_empty());
}

#[test]
fn a_secret_is_a_placeholder_and_must_exist() {
    let secrets = "name: demo\nsecrets: { token: { store: env, key: T }, spare: { store: env, key: S } }";
    let text = SMALL.replace("name: demo", secrets);
    let with = |name: &str| text.replace("command: [", &format!("command: [\"x${{secret.{name}}}y\", "));
    assert!(with("token").contains("${secret.token}"), "{text}");
    let loaded = parse(&with("token"), "f", Path::new("/"), Choice::default()).unwrap();
    let json = serde_json::to_string(&loaded.deployment).unwrap();
    assert!(json.contains("x__basb.secret.token__y"), "{json}");
    let warned: Vec<_> = loaded.warnings.iter().map(|w| w.pointer.as_str()).collect();
    assert_eq!(warned, ["/secrets/spare"]);
    let problem = parse(&with("tokn"), "f", Path::new("/"), Choice::default()).unwrap_err();
    let shown = format!("{problem:?}");
    assert!(
        shown.contains("there is no secret `tokn`") && shown.contains("did you mean `${secret.token}`?"),
        "{shown}"
    );
}

#[test]
fn a_byte_order_mark_and_windows_lines_change_nothing() {
    let plain = parse(SMALL, "f", Path::new("/"), Choice::default()).unwrap().deployment;
    let windows = format!("\u{feff}{}", SMALL.replace('\n', "\r\n"));
    assert_eq!(parse(&windows, "f", Path::new("/"), Choice::default()).unwrap().deployment, plain);
}

/// As JSON, which is YAML too, a file is the same.
#[test]
fn the_schema_fits_what_is_read() {
    let validator = jsonschema::validator_for(&schema()).unwrap();
    for text in [FULL, SMALL] {
        let source = parse(text, "f", Path::new("/"), Choice::default()).unwrap().source;
        assert_eq!(source.source().text(), text);
    }
    let small: Value = serde_json::json!({
        "version": 1, "name": "demo", "plugins": { "p": { "source": "builtin:p" } },
        "environments": { "here": { "provider": { "plugin": "p" }, "services": { "web": { "replicas": 2,
            "workload": { "command": null, "image": "x" } } } } },
        "services": { "web": { "workload": { "command": ["x"] }, "strategy": "s" } },
        "strategies": { "s": { "plugin": "p" } }
    });
    assert!(validator.is_valid(&small));
    assert!(parse(&small.to_string(), "f", Path::new("/"), Choice::default()).is_ok());
    let mut with_variable = small.clone();
    with_variable["vars"] = serde_json::json!({ "long": "10m" });
    with_variable["services"]["web"]["progressDeadline"] = "${long}".into();
    assert!(validator.is_valid(&with_variable));
    assert!(parse(&with_variable.to_string(), "f", Path::new("/"), Choice::default()).is_ok());
    // Each change makes it wrong for both.
    for (pointer, value) in [
        ("/version", serde_json::json!(2)),
        ("/name", serde_json::json!("No Name")),
        ("/services/web/workload/command", serde_json::json!([])),
        ("/services/web/workload/command", serde_json::json!([1])),
        ("/services/web/strategy", Value::Null),
        ("/environments/here/services/web/replicas", serde_json::json!(0)),
        ("/plugins/p", serde_json::json!({})),
        ("/plugins/p", serde_json::json!({ "source": "builtin:p", "grant": {} })),
    ] {
        let mut wrong = small.clone();
        *wrong.pointer_mut(pointer).unwrap() = value;
        assert!(!validator.is_valid(&wrong), "{wrong}");
        assert!(parse(&wrong.to_string(), "f", Path::new("/"), Choice::default()).is_err(), "{wrong}");
    }
}

/// Every key has a description, no map takes keys that it does not name, and every default is what the reader would
/// take if it were written.
#[test]
fn the_schema_is_complete() {
    fn walk(value: &Value, at: &str) {
        if let Some(properties) = value.get("properties").and_then(Value::as_object) {
            assert_eq!(value["additionalProperties"], Value::Bool(false), "{at}");
            for (name, property) in properties {
                assert!(property["description"].as_str().is_some_and(|text| text.len() > 8), "{at}/{name}");
            }
        }
        match value {
            Value::Object(members) => members.iter().for_each(|(name, value)| walk(value, &format!("{at}/{name}"))),
            Value::Array(items) => items.iter().for_each(|value| walk(value, at)),
            _ => {}
        }
    }
    let schema = schema();
    assert_eq!(schema["$schema"], "https://json-schema.org/draft/2020-12/schema");
    walk(&schema, "");

    let service = schema["$defs"]["ServiceFile"]["properties"].as_object().unwrap();
    let defaults: Vec<_> = service.iter().filter_map(|(key, value)| Some((key, value.get("default")?))).collect();
    assert!(defaults.len() >= 4);
    let written: String = defaults.iter().map(|(key, value)| format!("    {key}: {value}\n")).collect();
    let text = SMALL.replace("    strategy: rolling\n", &format!("    strategy: rolling\n{written}"));
    let read = |text: &str| parse(text, "f", Path::new("/"), Choice::default()).unwrap().deployment;
    assert_eq!(read(&text), read(SMALL));
}

fn pointers(value: &Value, at: String, out: &mut Vec<(String, Value)>) {
    match value {
        Value::Object(members) => members.iter().for_each(|(key, value)| {
            pointers(value, format!("{at}/{}", key.replace('~', "~0").replace('/', "~1")), out);
        }),
        Value::Array(items) => {
            items.iter().enumerate().for_each(|(i, value)| pointers(value, format!("{at}/{i}"), out))
        }
        leaf => out.push((at, leaf.clone())),
    }
}

fn leaf() -> impl Strategy<Value = Value> {
    prop_oneof![
        any::<i64>().prop_map(Value::from),
        any::<bool>().prop_map(Value::from),
        "[ -~äß€😀]{1,12}".prop_filter("a variable", |text| !text.contains("${")).prop_map(Value::from),
    ]
}

fn config() -> impl Strategy<Value = Value> {
    leaf().prop_recursive(4, 40, 5, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 1..4).prop_map(Value::from),
            prop::collection::btree_map("[a-z/~ ü]{1,6}", inner, 1..4)
                .prop_map(|map| Value::Object(map.into_iter().collect())),
        ]
    })
}

/// A mutation of a text: something put in, taken out or doubled, anywhere.
fn mutated() -> impl Strategy<Value = String> {
    let piece = prop_oneof![
        "[\\[\\]{}:,&*!|>'\"%@`#?\\- \\n\\t]{1,4}",
        Just("${".to_owned()),
        Just("&a *a".to_owned()),
        Just("\n  ".to_owned()),
        Just("---\n".to_owned()),
        Just("null".to_owned()),
        Just("99999999999999999999".to_owned()),
        "\\PC{1,3}",
    ];
    let edits = prop::collection::vec((any::<prop::sample::Index>(), 0usize..30, piece), 1..6);
    (prop_oneof![Just(FULL), Just(SMALL)], edits).prop_map(|(text, edits)| {
        let mut chars: Vec<char> = text.chars().collect();
        for (at, remove, piece) in edits {
            let at = at.index(chars.len() + 1).min(chars.len());
            let end = (at + remove).min(chars.len());
            chars.splice(at..end, piece.chars());
        }
        chars.into_iter().collect()
    })
}

/// Reads a text, and shows what is wrong with it in both forms.
fn survives(text: &str) {
    match parse(text, "f.yaml", Path::new("/"), Choice::default()) {
        Ok(loaded) => {
            for pointer in ["", "/services", "/a/b", "/services/capture/workload/command/3"] {
                let _ = loaded.source.locate(pointer);
            }
        }
        Err(problems) => {
            assert!(!problems.as_slice().is_empty());
            let mut out = String::new();
            miette::GraphicalReportHandler::new().render_report(&mut out, &problems).unwrap();
            for problem in &problems {
                assert!(problem.code.starts_with("spec/") && problem.code != "spec/internal", "{problem:?}");
                if let Some(at) = problem.location {
                    assert!(text.get(at.span.start..at.span.end).is_some(), "{problem:?}");
                }
                serde_json::to_string(problem).unwrap();
            }
            let starts: Vec<_> = problems.iter().map(|p| p.location.map_or(0, |at| at.span.start)).collect();
            assert!(starts.is_sorted());
        }
    }
}

proptest! {
    #[test]
    fn any_text_is_read_or_refused(text in "\\PC{0,200}") {
        survives(&text);
    }

    #[test]
    fn any_yaml_like_text_is_read_or_refused(text in "[a-c0-9\\[\\]{}:,&*!|>'\"#?\\- \\n]{0,120}") {
        survives(&text);
        survives(&format!("version: 1\n{text}"));
    }

    #[test]
    fn a_damaged_file_is_read_or_refused(text in mutated()) {
        survives(&text);
    }

    #[test]
    fn any_condition_is_read_or_refused(text in "\\PC{0,60}", like in "[a-c0-9result.()\\[\\]{}<>=!&|?:+*/%'\" -]{0,60}") {
        survives(&condition(&text));
        survives(&condition(&like));
    }

    #[test]
    fn every_pointer_leads_to_its_text(config in config()) {
        // One leaf per line and no quotes that escape, so that the text of a leaf is what JSON writes.
        let written = serde_json::to_string_pretty(&serde_json::json!({ "x": config })).unwrap();
        let indented = written.replace('\n', "\n      ");
        let text = SMALL.replace("rolling: { plugin: rolling }", &format!("rolling:\n    plugin: rolling\n    config: {indented}"));
        let loaded = match parse(&text, "f", Path::new("/"), Choice::default()) {
            Ok(loaded) => loaded,
            Err(problems) => return Err(TestCaseError::fail(format!("{problems:?}\n{text}"))),
        };
        let config = &loaded.deployment.strategies.values().next().unwrap().config;
        let mut leaves = Vec::new();
        pointers(config, "/strategies/rolling/config".to_owned(), &mut leaves);
        for (pointer, value) in leaves {
            let place = loaded.source.locate(&pointer);
            prop_assert_eq!(&text[place.span.start..place.span.end], value.to_string(), "{}", pointer);
            let line = text.lines().nth(place.line - 1).unwrap();
            let column: String = line.chars().skip(place.column - 1).collect();
            prop_assert!(column.starts_with(&value.to_string()), "{}:{} {}", place.line, place.column, pointer);
        }
    }
}

fn condition(text: &str) -> String {
    let text = serde_json::to_string(text).unwrap();
    let analyses = format!("analyses: {{ a: {{ metrics: [{{ name: m, probe: p, successCondition: {text} }}] }} }}");
    SMALL.replace("strategies:\n", &format!("probes: {{ p: {{ plugin: rolling }} }}\n{analyses}\nstrategies:\n"))
}

/// Large and hostile files are refused in good time: each of these took minutes, or the stack, in a careless reader.
#[test]
fn hostile_files_end() {
    let many = |count: usize, one: &dyn Fn(usize) -> String| (0..count).map(one).collect::<String>();
    let services = many(9_000, &|i| {
        format!("  s{i}: {{ workload: {{ command: [x] }}, strategy: s, listen: \"h:1\", dependsOn: [s{}] }}\n", i + 1)
    });
    let texts = [
        SMALL.replace("services:\n", &format!("services:\n{services}")),
        SMALL.replace("services:\n", &format!("{}services:\n", many(40_000, &|i| format!("key{i}: {i}\n")))),
        SMALL.replace("services:\n", &format!("services:\n{}", many(30_000, &|i| format!("  s{i}: {{ strategy: z{i} }}\n")))),
        SMALL.replace("strategies:\n", &format!("analyses:\n  a:\n    metrics:\n{}strategies:\n", many(30_000, &|i| format!("      - {{ name: m, probe: p{i} }}\n")))),
        SMALL.replace("strategies:\n", &format!("analyses: {{ a: {{ metrics: [{{ name: m, probe: p, successCondition: \"{}1{}\" }}] }} }}\nstrategies:\n", "(".repeat(100_000), ")".repeat(100_000))),
        condition(&format!("{}1{}", "(".repeat(510), ")".repeat(510))),
        condition(&format!("{}1{}", "[".repeat(510), "]".repeat(510))),
        condition(&"(".repeat(1000)),
        condition(&format!("{}1 == 1", "-".repeat(1000))),
        condition(&format!("{}true", "!".repeat(1000))),
        condition(&format!("result{}", ".a".repeat(500))),
        condition(&format!("{}true", "true?true:".repeat(100))),
        condition(&format!("1{}", "+1".repeat(500))),
        condition(&format!("result.a == {}", "'".repeat(500))),
        condition(&format!("result.{}", "😀".repeat(200))),
        SMALL.replace("strategies:\n", &format!("analyses: {{ a: {{ metrics: [{{ name: m, probe: p, successCondition: \"{}1\" }}] }} }}\nstrategies:\n", "-".repeat(100_000))),
        SMALL.replace("name: demo", &format!("name: demo\nvars: {{ v: {} }}", "x".repeat(1_000_000))).replace("-m,", &format!("\"{}\",", "${v}".repeat(100_000))),
        SMALL.replace("name: demo", &format!("name: {}", "x".repeat(3_000_000))),
        SMALL.replace("name: demo", &"${".repeat(1_000_000)),
    ];
    for text in texts {
        survives(&text);
    }
}
