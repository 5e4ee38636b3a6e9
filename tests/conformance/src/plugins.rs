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

/// The kit files of a plugin: `NAME.yaml`, and `NAME-WAY.yaml` for each further way in which it works; their names, sorted.
fn kits_of(name: &str) -> Vec<String> {
    let entries = std::fs::read_dir(kits()).unwrap().map(|entry| entry.unwrap().path());
    let files = entries.filter(|path| path.extension().is_some_and(|extension| extension == "yaml"));
    let names = files.filter_map(|path| Some(path.file_stem()?.to_str()?.to_owned()));
    let own = |file: &String| file.strip_prefix(name).is_some_and(|rest| rest.is_empty() || rest.starts_with('-'));
    let mut all: Vec<String> = names.filter(own).collect();
    all.sort();
    all
}

/// What came of a default plugin with one kit file: a report, or none where it has no file. That one has not passed.
pub struct Certified {
    pub name: String,
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
    for builtin in with_an_outside() {
        let files = kits_of(builtin.name);
        if files.is_empty() && builtin.name.contains(only) {
            reports.push(Certified { name: builtin.name.to_owned(), report: None });
        }
        for name in files.into_iter().filter(|file| file.contains(only)) {
            let (bytes, file) = (builtin.bytes.to_vec(), kit_file(&name));
            let kit = Kit { bytes, file, base: kits(), cache: CacheFolder::open(cache).ok() };
            let report = kit.run(&Choice::default(), &|_, _| {}).await;
            let report = report.unwrap_or_else(|e| panic!("{name}: {e}; {}", e.next));
            reports.push(Certified { name, report: Some(report) });
        }
    }
    reports
}
