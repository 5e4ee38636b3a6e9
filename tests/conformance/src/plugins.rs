//! Every default plugin that has an outside, with its kit files.

use basb_conformance::file::KitFile;
use basb_conformance::kit::Kit;
use basb_conformance::matrix::Choice;
use basb_conformance::report::Report;
use basb_runtime::{CacheFolder, Kind, inspect};
use std::path::{Path, PathBuf};

/// The folder of the kit files.
pub fn kits() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("kits")
}

/// The kit file of a plugin.
pub fn kit_file(name: &str) -> KitFile {
    KitFile::read(&kits().join(format!("{name}.yaml"))).unwrap_or_else(|e| panic!("{e}; {}", e.next))
}

/// The default plugins that talk to somebody.
pub fn with_an_outside() -> Vec<&'static basb_builtins::Builtin> {
    let talks = |kind: Option<Kind>| matches!(kind, Some(Kind::Provider | Kind::Probe | Kind::Notifier));
    basb_builtins::all().iter().filter(|b| talks(inspect(b.bytes).expect("a default plugin").kind)).collect()
}

/// What came of a default plugin: a report, or none where it has no kit file. That one has not passed.
pub struct Certified {
    pub name: &'static str,
    pub report: Option<Report>,
}

impl Certified {
    pub fn passed(&self) -> bool {
        self.report.as_ref().is_some_and(Report::passed)
    }
}

/// Certifies them.
pub async fn certify_all(only: &str, cache: &Path) -> Vec<Certified> {
    let mut reports = Vec::new();
    for builtin in with_an_outside().into_iter().filter(|builtin| builtin.name.contains(only)) {
        if !kits().join(format!("{}.yaml", builtin.name)).is_file() {
            reports.push(Certified { name: builtin.name, report: None });
            continue;
        }
        let file = kit_file(builtin.name);
        let kit = Kit { bytes: builtin.bytes.to_vec(), file, base: kits(), cache: CacheFolder::open(cache).ok() };
        let report = kit.run(&Choice::default(), &|_, _| {}).await;
        let report = report.unwrap_or_else(|e| panic!("{}: {e}; {}", builtin.name, e.next));
        reports.push(Certified { name: builtin.name, report: Some(report) });
    }
    reports
}
