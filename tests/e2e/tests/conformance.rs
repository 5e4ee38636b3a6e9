//! What `basb-host plugin test` says when it cannot begin, when it is only a look, and when a probe is too easily content.

use basb_e2e::Lab;
use std::path::PathBuf;

/// A service that is well at `/healthz`, and broken at `/broken`.
const SERVICE: &str = r#"
conformance: 1
grants: { http: [{ target: service, methods: [GET] }] }
counterpart:
  script:
    counterpart: 1
    name: a service
    routes:
      - { method: GET, path: /healthz, body: BODY }
      - { method: GET, path: /broken, status: 500 }
probe:
  targets:
    - { name: healthy, url: "http://service.example", verdict: WELL, config: CONFIG }
    - { name: broken, url: "http://service.example", verdict: BROKEN, config: { path: /broken } }
"#;

/// A kit file: this one, with some words of it in the place of others.
fn kit(lab: &Lab, words: &[(&str, &str)]) -> String {
    let usual = [
        ("BODY", "{ state: well }"),
        ("WELL", "pass"),
        ("BROKEN", "fail"),
        ("CONFIG", "{ path: /healthz, expect: { json: { /state: well } } }"),
    ];
    let text = words.iter().chain(&usual).fold(SERVICE.to_owned(), |text, (from, to)| text.replace(from, to));
    let path: PathBuf = lab.root().join("kit.yaml");
    std::fs::write(&path, text).unwrap();
    path.to_str().unwrap().to_owned()
}

fn test<'a>(kit: &'a str, more: &[&'a str]) -> Vec<&'a str> {
    [&["plugin", "test", "builtin:probe-http", "--kit", kit], more].concat()
}

#[test]
fn the_plugin_is_looked_at_before_the_kit_file() {
    let lab = Lab::new();
    lab.host(&["plugin", "test", "missing.wasm", "--kit", "no-such.yaml"]).exits(1).says("plugin/unreadable", &[]);
    let pure = lab.host(&["plugin", "test", "builtin:strategy-canary", "--kit", "no-such.yaml"]);
    pure.exits(1).says("kit/pure", &["a strategy reaches nothing"]);
    lab.host(&["plugin", "test", "builtin:probe-http", "--kit", "no-such.yaml"]).exits(1).says("kit/unreadable", &[]);
}

#[test]
fn what_is_wrong_with_a_kit_is_no_failure_of_the_plugin() {
    let lab = Lab::new();
    let wrong = |words: &[(&str, &str)], code: &str, parts: &[&str]| {
        let out = lab.host(&test(&kit(&lab, words), &[])).exits(1).says(code, parts);
        assert!(!out.stdout.contains("FAILED"), "{}", out.stdout);
    };
    wrong(&[("WELL", "passed")], "kit/bad-file", &["passed", "pass"]);
    wrong(&[("BROKEN", "inconclusive")], "kit/no-failing-target", &["verdict: fail"]);
    wrong(&[("BODY", "\"= nonsense.x\"")], "kit/bad-counterpart", &["uses `nonsense`", "request"]);
    wrong(&[("BODY", "\"= request.body.nothing\"")], "kit/bad-counterpart", &["has no answer to GET"]);
    let more = "\nfiles: { \"/tmp/basb-escaped.txt\": x }";
    wrong(&[("\nprobe:", &format!("{more}\nprobe:"))], "kit/bad-file", &["does not stay in the folder"]);
    let ends = "counterpart: { command: [sh, -c, \"exit 3 # {port}\"], address: \"http://127.0.0.1:{port}\" }\nprobe:";
    let text = std::fs::read_to_string(kit(&lab, &[])).unwrap();
    let (head, tail) = (text.split_once("counterpart:").unwrap().0, text.split_once("probe:").unwrap().1);
    let path = lab.root().join("external.yaml");
    std::fs::write(&path, format!("{head}{ends}{tail}")).unwrap();
    let out = lab.host(&test(path.to_str().unwrap(), &[])).exits(1);
    out.says("kit/counterpart", &["ended at once with exit status: 3"]);
}

#[test]
fn a_place_that_cannot_be_written_is_told_before_the_run() {
    let lab = Lab::new();
    let kit = kit(&lab, &[]);
    let out = lab.host(&test(&kit, &["--junit", "/no/such/folder/x.xml"])).exits(1);
    assert_eq!(out.says("cli/file", &["cannot be written"]).stdout, "", "nothing was tested in vain");
}

#[test]
fn a_look_is_no_certificate() {
    let lab = Lab::new();
    let kit = kit(&lab, &[]);
    let junit = lab.root().join("x.xml");
    let whole = lab.host(&test(&kit, &["--json"])).exits(0).json();
    assert_eq!((&whole["passed"], &whole["complete"], &whole["every"]), (&true.into(), &true.into(), &1.into()));
    let part = lab.host(&test(&kit, &["--fault", "500", "--junit", junit.to_str().unwrap(), "--json"])).exits(0).json();
    assert_eq!((&part["complete"], &part["chosen"]), (&false.into(), &serde_json::json!(["500"])), "{part}");
    let junit = std::fs::read_to_string(junit).unwrap();
    assert!(junit.contains("<property name=\"complete\" value=\"false\"/>"), "{junit}");
    let seldom = lab.host(&test(&kit, &["--every", "2"])).exits(0);
    assert!(seldom.stdout.contains("passed, in part: "), "{}", seldom.stdout);
    // Nothing happens at an exchange that is not there: that is no success, and it is said why.
    let nothing = lab.host(&test(&kit, &["--every", "1000", "--json"])).exits(1).json();
    assert_eq!(nothing["notTested"], "no fault happened, so nothing was tested", "{nothing}");
}

#[test]
fn a_probe_that_ignores_the_status_is_not_certified() {
    let lab = Lab::new();
    let any = ("CONFIG", "{ path: /healthz, expect: { status: [\"200-599\"] } }");
    let kit = kit(&lab, &[any]);
    let report = lab.host(&test(&kit, &["--json"])).exits(1).json();
    let failed = |fault: &str| {
        report["failures"].as_array().unwrap().iter().any(|f| f["fault"] == fault && f["step"] == "healthy")
    };
    assert!(["500", "503", "403", "429", "503-lasting"].iter().all(|fault| failed(fault)), "{report}");
    assert!(!failed("reset-before") && !failed("kill-after"), "{report}");
}
