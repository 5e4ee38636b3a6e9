//! Every file under `tests/good` gives the model beside it, every file under `tests/bad` the problems beside it.
//!
//! `BLESS=1 cargo test -p basb-spec` writes what is seen as what is expected; read the difference before keeping it.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use basb_spec::{Choice, Diagnostics, Loaded, parse};
use miette::{GraphicalReportHandler, GraphicalTheme};
use std::path::{Path, PathBuf};

/// Plain, without colour, and the same on every machine.
fn render(problem: &dyn miette::Diagnostic) -> String {
    let mut out = String::new();
    GraphicalReportHandler::new_themed(GraphicalTheme::unicode_nocolor())
        .with_width(110)
        .with_context_lines(1)
        .with_links(false)
        .render_report(&mut out, problem)
        .unwrap();
    out.lines().map(str::trim_end).collect::<Vec<_>>().join("\n") + "\n"
}

fn files(folder: &str) -> Vec<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests").join(folder);
    let mut files: Vec<_> = std::fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|end| end == "yaml"))
        .collect();
    files.sort();
    assert!(!files.is_empty());
    files
}

/// The first line of a file may choose: `#? environment=docker release=3`.
fn read(path: &Path) -> Result<Loaded, Diagnostics> {
    let text = std::fs::read_to_string(path).unwrap();
    let words = text.strip_prefix("#?").and_then(|rest| rest.lines().next()).unwrap_or_default();
    let (mut environment, mut sets) = (None, Vec::new());
    for (name, value) in words.split_whitespace().filter_map(|word| word.split_once('=')) {
        match name {
            "environment" => environment = Some(value),
            name => sets.push((name.to_owned(), value.to_owned())),
        }
    }
    let name = path.file_name().unwrap().to_str().unwrap();
    parse(&text, name, Path::new("/base/folder"), Choice { environment, sets: &sets })
}

fn compare(path: &Path, seen: &str, wrong: &mut Vec<String>) {
    if std::env::var_os("BLESS").is_some() {
        std::fs::write(path, seen).unwrap();
        return;
    }
    let expected = std::fs::read_to_string(path).unwrap_or_default();
    if expected != seen {
        wrong.push(format!("{}\n--- expected\n{expected}\n--- seen\n{seen}", path.display()));
    }
}

#[test]
fn good_files_give_the_model() {
    let mut wrong = Vec::new();
    for path in files("good") {
        let loaded = read(&path).unwrap_or_else(|problems| panic!("{}", render(&problems)));
        let mut seen = serde_json::to_string_pretty(&loaded.deployment).unwrap() + "\n";
        for warning in &loaded.warnings {
            seen.push_str(&render(warning));
        }
        compare(&path.with_extension("json"), &seen, &mut wrong);
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn bad_files_give_the_problems() {
    let mut wrong = Vec::new();
    for path in files("bad") {
        let problems = read(&path).err().unwrap_or_else(|| panic!("{} is read without a problem", path.display()));
        let mut seen = render(&problems);
        seen.push_str("\n--- as JSON\n");
        for problem in &problems {
            seen.push_str(&serde_json::to_string(problem).unwrap());
            seen.push('\n');
        }
        compare(&path.with_extension("err"), &seen, &mut wrong);
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn the_schema_is_as_it_was() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/deployment.schema.json");
    let mut wrong = Vec::new();
    compare(&path, &(serde_json::to_string_pretty(&basb_spec::schema()).unwrap() + "\n"), &mut wrong);
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}
