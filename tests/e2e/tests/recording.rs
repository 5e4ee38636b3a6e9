//! A real run makes a counterpart: the provider's calls are asked for once more, with faults.

use basb_e2e::{FileOptions, Lab};

#[test]
fn a_run_is_recorded_and_certifies_its_provider() {
    let lab = Lab::new();
    lab.write(&FileOptions::default());
    let run = lab.run(1).exits(0).events().run();
    lab.stop();
    let kit = lab.state().join("local.recorded.json");
    let kit = kit.to_str().unwrap();
    let made = lab.host(&["--json", "plugin", "record", &run, "local", "--out", kit]).exits(0).json();
    assert!(made["calls"].as_u64().unwrap() >= 6 && made["exchanges"].as_u64().unwrap() >= 6, "{made}");
    // Each of them keeps to what is on the recording.
    let faults =
        ["reset-before", "429-retry-after", "500", "503", "truncated", "malformed", "kill-before", "kill-after"];
    let mut words = vec!["--json", "plugin", "test", "builtin:provider-local", "--kit", kit];
    for fault in faults {
        words.extend(["--fault", fault]);
    }
    let report = lab.host(&words).exits(0).json();
    assert_eq!((&report["passed"], report["skipped"].as_array().map(Vec::len)), (&true.into(), Some(0)), "{report}");
    assert_eq!(report["faults"].as_array().unwrap().len(), faults.len(), "{report}");
    lab.host(&["plugin", "record", &run, "nobody"])
        .exits(1)
        .says("tape/no-such-plugin", &["no tape of a plugin `nobody`"]);
}
