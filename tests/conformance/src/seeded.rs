//! A provider that certifies, and what it does wrong when it is told to.

use crate::plugins::{kit_file, kits};
use basb_conformance::fault::Fault;
use basb_conformance::file::CounterpartFile;
use basb_conformance::kit::Kit;
use basb_conformance::matrix::{Choice, Until};
use basb_conformance::report::Report;
use basb_runtime::CacheFolder;
use serde_json::{Value, json};
use std::path::Path;

/// The provider.
pub const GUEST: &str = "guest-cloud-provider";

/// What it can do wrong: the bugs that its configuration knows.
fn bugs() -> Vec<String> {
    let manifest = include_str!("../../guests/cloud-provider/plugin.json");
    let manifest: Value = serde_json::from_str(manifest).expect("a manifest");
    let names = manifest.pointer("/configSchema/properties/bug/enum").and_then(Value::as_array).expect("its bugs");
    names.iter().filter_map(|name| name.as_str().map(str::to_owned)).collect()
}

/// A bug, and how it was caught.
pub struct Bug {
    pub name: String,
    /// The first failure; none when the plugin passed.
    pub caught: Option<String>,
}

/// Runs the kit over the provider with each of its bugs, after it was seen that it passes without.
pub async fn look_for_all(only: &str, cache: &Path) -> Vec<Bug> {
    let wanted: Vec<String> = bugs().into_iter().filter(|bug| bug.contains(only) || "seeded".contains(only)).collect();
    if wanted.is_empty() {
        return Vec::new();
    }
    let bytes = basb_guest_build::build(GUEST);
    let sound = run(&bytes, None, cache).await;
    assert!(sound.passed(), "without a bug it must pass, or a bug that is caught says nothing:\n{}", sound.text());
    let mut all = Vec::new();
    for name in wanted {
        let report = run(&bytes, Some(&name), cache).await;
        let first = report.failures.first().map(|f| format!("{} at {}: {}", f.fault, f.step, f.why));
        let caught = report.without_fault.clone().map(|why| format!("without a fault, at {why}")).or(first);
        all.push(Bug { name, caught });
    }
    all
}

/// The same provider over the same cloud, which is a process of its own now.
pub async fn over_a_process(cache: &Path) -> Report {
    let mut file = kit_file("cloud-provider");
    let own = std::env::current_exe().expect("the path of this program");
    let script = kits().join("../../../host/authoring/templates/provider/cloud.yaml");
    file.counterpart = CounterpartFile {
        command: [own.as_path(), Path::new("serve"), script.as_path(), Path::new("{port}")]
            .map(|part| part.to_string_lossy().into_owned())
            .to_vec(),
        address: Some("http://127.0.0.1:{port}".to_owned()),
        ready: Some("/kit/ready".to_owned()),
        reset: Some("/kit/reset".to_owned()),
        state: Some("/kit/state".to_owned()),
        ..CounterpartFile::default()
    };
    let bytes = basb_guest_build::build(GUEST);
    let kit = Kit { bytes, file, base: kits(), cache: CacheFolder::open(cache).ok() };
    let choice = Choice { faults: vec![Fault::ResetAfter, Fault::KillAfter], every: 12, ..Choice::default() };
    kit.run(&choice, &|_, _| {}).await.unwrap_or_else(|e| panic!("{e}; {}", e.next))
}

/// Certifies the provider.
pub async fn run(bytes: &[u8], bug: Option<&str>, cache: &Path) -> Report {
    let mut file = kit_file("cloud-provider");
    if let Some(bug) = bug {
        file.config = json!({ "bug": bug });
    }
    let kit = Kit { bytes: bytes.to_vec(), file, base: kits(), cache: CacheFolder::open(cache).ok() };
    let until = if bug.is_some() { Until::FirstFailure } else { Until::End };
    kit.run(&Choice { until, ..Choice::default() }, &|_, _| {}).await.unwrap_or_else(|e| panic!("{e}; {}", e.next))
}
