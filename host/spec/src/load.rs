//! From a path, or a text, to a deployment.

use crate::check::{self, References, unused};
use crate::diagnostic::{Diagnostic, Diagnostics, sorted};
use crate::environment;
use crate::read::{Place, Reader, Shape};
use crate::shape::{DeploymentFile, Services};
use crate::source::{Source, Span};
use crate::source_map::SourceMap;
use crate::tree::{Kind, Node, join};
use crate::vars::Filler;
use crate::{build, suggest, yaml};
use basb_core::model::Deployment;
use std::collections::{BTreeMap, BTreeSet};
use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// The largest file, in bytes.
pub const MAX_FILE: usize = 16 * 1024 * 1024;

/// The most environments: each is checked on its own.
const MAX_ENVIRONMENTS: usize = 64;

/// What to load.
#[derive(Debug, Clone, Default)]
pub struct LoadOptions {
    /// The file; problems show it as it is written here.
    pub path: PathBuf,
    /// The environment; without it the file's default, or its only one.
    pub environment: Option<String>,
    /// Variables that override the file's, from `--set name=value`.
    pub sets: Vec<(String, String)>,
}

/// What to choose in a text.
#[derive(Debug, Clone, Copy, Default)]
pub struct Choice<'a> {
    /// The environment; without it the file's default, or its only one.
    pub environment: Option<&'a str>,
    /// Variables that override the file's.
    pub sets: &'a [(String, String)],
}

/// A deployment file that is right.
#[derive(Debug, Clone)]
pub struct Loaded {
    /// The deployment in the chosen environment.
    pub deployment: Deployment,
    /// Where everything is.
    pub source: SourceMap,
    /// What somebody should look at, in the order of the file.
    pub warnings: Vec<Diagnostic>,
}

/// Reads a deployment file.
///
/// # Errors
/// Everything that is wrong with it, in the order of the file.
pub fn load(options: &LoadOptions) -> Result<Loaded, Diagnostics> {
    let name = options.path.display().to_string();
    let text = read_file(&options.path, &name)?;
    // Only a file in the root folder has no parent, and `deployment.yaml` has an empty one.
    let folder = options.path.parent().unwrap_or(Path::new("/"));
    let folder =
        std::path::absolute(if folder.as_os_str().is_empty() { Path::new(".") } else { folder }).map_err(|e| {
            Diagnostic::of_file(&name, "spec/unreadable", format!("the folder of {name} cannot be told: {e}"))
        })?;
    parse(&text, &name, &folder, Choice { environment: options.environment.as_deref(), sets: &options.sets })
}

fn read_file(path: &Path, name: &str) -> Result<String, Diagnostics> {
    let fail = |code: &str, message: String, help: &str| {
        Diagnostics::from(Diagnostic::of_file(name, code, message).with_help(help))
    };
    let unreadable = |error: std::io::Error| match error.kind() {
        std::io::ErrorKind::NotFound => {
            fail("spec/not-found", format!("there is no file {name}"), "check the path, and the folder you are in")
        }
        _ => fail("spec/unreadable", format!("{name} cannot be read: {error}"), "check who may read it"),
    };
    // Asked before it is opened: opening a pipe would wait for ever.
    let about = std::fs::metadata(path).map_err(unreadable)?;
    if about.is_dir() {
        let help = format!("name the file in it, such as `{}`", path.join("deployment.yaml").display());
        return Err(fail("spec/not-a-file", format!("{name} is a folder"), &help));
    }
    if !about.is_file() {
        return Err(fail("spec/not-a-file", format!("{name} is not a regular file"), "copy its content into a file"));
    }
    let mut bytes = Vec::new();
    let file = std::fs::File::open(path).map_err(unreadable)?;
    file.take(MAX_FILE as u64 + 1).read_to_end(&mut bytes).map_err(unreadable)?;
    if bytes.len() > MAX_FILE {
        return Err(too_large(name));
    }
    String::from_utf8(bytes).map_err(|error| {
        let at = error.utf8_error().valid_up_to();
        fail(
            "spec/not-text",
            format!("{name} is not a text in UTF-8: byte {at} does not belong there"),
            "check that this is the file you mean, and save it as UTF-8",
        )
    })
}

fn too_large(name: &str) -> Diagnostics {
    Diagnostic::of_file(name, "spec/too-large", format!("{name} is larger than 16 MiB"))
        .with_help("check that this is the file you mean; split a deployment of that size")
        .into()
}

/// Reads the text of a deployment file.
///
/// `file_name` is what problems show; relative paths are taken from `base`, which must be absolute.
///
/// # Errors
/// Everything that is wrong with it, in the order of the file.
pub fn parse(text: &str, file_name: &str, base: &Path, choice: Choice<'_>) -> Result<Loaded, Diagnostics> {
    if text.len() > MAX_FILE {
        return Err(too_large(file_name));
    }
    if let Some(at) = text.find('\0') {
        let message = format!("{file_name} is not a text: byte {at} is zero");
        return Err(Diagnostic::of_file(file_name, "spec/not-text", message)
            .with_help("check that this is the file you mean")
            .into());
    }
    let source = Source::new(file_name, text);
    let root = yaml::parse(&source).map_err(Diagnostics::new)?;
    if !matches!(root.kind, Kind::Map(_)) {
        let message = format!("a deployment file is a map of keys, found {}", root.describe());
        let span = source.first_line(root.span);
        return Err(Diagnostic::at(&source, span, "", "spec/wrong-type", message)
            .with_help("start with these lines:\nversion: 1\nname: my-deployment")
            .into());
    }
    if let Some(problem) = other_version(&source, &root) {
        return Err(problem.into());
    }
    let mut job =
        Job { source: &source, root: &root, choice, references: References::default(), used: BTreeSet::new() };
    job.run(base)
}

/// A file of another version is not read any further: nothing in it can be judged.
fn other_version(source: &Arc<Source>, root: &Node) -> Option<Diagnostic> {
    let version = root.get("version").filter(|version| matches!(version.value.kind, Kind::Int(n) if n != 1))?;
    let mut reader = Reader { source, problems: Vec::new() };
    let place = Place { pointer: "/version".to_owned(), span: version.value.span };
    crate::read::Version::read(&version.value, &place, &mut reader);
    reader.problems.pop()
}

struct Job<'a> {
    source: &'a Arc<Source>,
    root: &'a Arc<Node>,
    choice: Choice<'a>,
    references: References,
    used: BTreeSet<String>,
}

/// The file in one environment.
struct View {
    tree: Arc<Node>,
    file: Option<DeploymentFile>,
    problems: Vec<Diagnostic>,
}

impl Job<'_> {
    fn run(&mut self, base: &Path) -> Result<Loaded, Diagnostics> {
        let mut problems = Vec::new();
        let chosen = environment::choose(self.source, self.root, self.choice.environment).unwrap_or_else(|problem| {
            problems.push(*problem);
            None
        });
        let names = environment::names(self.root);
        if names.len() > MAX_ENVIRONMENTS {
            let message = format!("the file has more than {MAX_ENVIRONMENTS} environments");
            let problem = Diagnostic::of_file(self.source.name(), "spec/too-many-environments", message);
            return Err(problem.with_help("split the deployment into several files").into());
        }
        let first = match (&chosen, names.as_slice()) {
            (Some(_), _) | (None, []) => self.view(chosen.as_deref()),
            // Which one is not known, so all of them are checked below.
            (None, _) => View { tree: Arc::clone(self.root), file: None, problems: Vec::new() },
        };
        let mut known: BTreeSet<_> = first.problems.iter().map(identity).collect();
        problems.extend(first.problems);
        // Whoever validates a file in one environment does not want to learn on the day of the release that it is wrong
        // in another one.
        for name in names.iter().filter(|name| Some(*name) != chosen.as_ref()) {
            for mut problem in self.view(Some(name)).problems {
                if !known.insert(identity(&problem)) {
                    continue;
                }
                if chosen.is_some() && !self.is_within(name, &problem) {
                    problem.message = format!("{} (in the environment `{name}`)", problem.message);
                }
                problems.push(problem);
            }
        }
        problems
            .extend(self.overridden(chosen.as_deref()).into_iter().filter(|problem| known.insert(identity(problem))));
        self.check_sets(&mut problems);
        if !problems.is_empty() {
            return Err(Diagnostics::new(problems));
        }
        let deployment = chosen.zip(first.file).and_then(|(name, file)| build::build(file, &name, base));
        let Some(deployment) = deployment else {
            let message = "the file could not be read, and no problem was found in it";
            return Err(Diagnostic::of_file(self.source.name(), "spec/internal", message)
                .with_help("report this with the file")
                .into());
        };
        let warnings = sorted(unused::check(self.source, self.root, &self.references, &self.used));
        Ok(Loaded {
            deployment,
            source: SourceMap {
                source: Arc::clone(self.source),
                effective: first.tree,
                written: Arc::clone(self.root),
            },
            warnings,
        })
    }

    fn view(&mut self, name: Option<&str>) -> View {
        let mut problems = Vec::new();
        let tree = match name {
            Some(name) => environment::apply(self.source, self.root, name, &mut problems),
            None => Arc::clone(self.root),
        };
        let vars = self.variables(name, &mut problems);
        let secrets = secret_names(self.root);
        let mut filler = Filler {
            source: self.source,
            vars: &vars,
            secrets: &secrets,
            used: &mut self.used,
            problems: &mut problems,
            made: 0,
        };
        let tree = filler.fill(&tree, "", &|pointer| {
            matches!(pointer, "/vars" | "/version" | "/defaultEnvironment")
                || (pointer.starts_with("/environments/")
                    && pointer.ends_with("/vars")
                    && pointer.matches('/').count() == 3)
        });
        let mut reader = Reader { source: self.source, problems };
        let start = Span { start: tree.span.start, end: tree.span.start };
        let place = Place { pointer: String::new(), span: start };
        let file = DeploymentFile::read(&tree, &place, &mut reader);
        if let Some(file) = &file {
            check::check(file, &mut reader, &mut self.references);
        }
        View { tree, file, problems: reader.problems }
    }

    /// Problems of what every environment overrides, and which no view of the file therefore has. Keys that are missing
    /// are none: the environments have them.
    fn overridden(&mut self, name: Option<&str>) -> Vec<Diagnostic> {
        let mut problems = Vec::new();
        let vars = self.variables(name, &mut Vec::new());
        let Some(services) = self.root.get("services") else { return problems };
        let secrets = secret_names(self.root);
        let mut filler = Filler {
            source: self.source,
            vars: &vars,
            secrets: &secrets,
            used: &mut self.used,
            problems: &mut problems,
            made: 0,
        };
        let filled = filler.fill(&services.value, "/services", &|_| false);
        if !problems.is_empty() {
            // With a variable of another environment in it the rest cannot be judged.
            return Vec::new();
        }
        let place = Place { pointer: "/services".to_owned(), span: services.key_span };
        let mut reader = Reader { source: self.source, problems };
        Services::read(&filled, &place, &mut reader);
        reader.problems.retain(|problem| problem.code != "spec/missing-key");
        reader.problems
    }

    /// The variables in an environment: the file's, the environment's, the caller's.
    fn variables(&self, name: Option<&str>, problems: &mut Vec<Diagnostic>) -> BTreeMap<String, String> {
        let environment = name.and_then(|name| self.root.get("environments")?.value.get(name));
        let own = environment.and_then(|environment| environment.value.get("vars"));
        let own_pointer = name.map(|name| join(&join("/environments", name), "vars")).unwrap_or_default();
        let sections = [(self.root.get("vars"), "/vars"), (own, own_pointer.as_str())];
        let mut vars = BTreeMap::new();
        for (section, pointer) in sections {
            for entry in section.map(|section| section.value.entries()).unwrap_or_default() {
                let Kind::Text(text) = &entry.value.kind else { continue };
                if text.replace("$${", "").contains("${") {
                    let message = format!("the variable `{}` refers to another variable", entry.key);
                    problems.push(
                        Diagnostic::at(
                            self.source,
                            entry.value.span,
                            &join(pointer, &entry.key),
                            "spec/nested-variable",
                            message,
                        )
                        .with_help("write its value out: variables are replaced once, where they are used"),
                    );
                }
                vars.insert(entry.key.clone(), text.replace("$${", "${"));
            }
        }
        vars.extend(self.choice.sets.iter().cloned());
        vars
    }

    /// A variable that is set but not there is a misspelt one.
    fn check_sets(&self, problems: &mut Vec<Diagnostic>) {
        let environments = self.root.get("environments").map(|e| e.value.entries()).unwrap_or_default();
        let sections = environments.iter().filter_map(|e| e.value.get("vars")).chain(self.root.get("vars"));
        let known: BTreeSet<&str> = sections.flat_map(|s| s.value.entries()).map(|e| e.key.as_str()).collect();
        for (name, _) in self.choice.sets {
            if !known.contains(name.as_str()) && !self.used.contains(name) {
                let message = format!("the variable `{name}` is set, but {} does not use it", self.source.name());
                let problem = Diagnostic::of_file(self.source.name(), "spec/unknown-variable", message);
                problems.push(match suggest::hint(name, known.iter().copied()) {
                    Some(hint) => problem.with_help(hint),
                    None => problem.with_help(format!("remove `--set {name}=…`, or use `${{{name}}}` in the file")),
                });
            }
        }
    }

    /// Whether a problem is inside of what belongs to an environment alone.
    fn is_within(&self, name: &str, problem: &Diagnostic) -> bool {
        let span = self.root.get("environments").and_then(|e| e.value.get(name)).map(|e| e.value.span);
        span.zip(problem.location).is_some_and(|(span, at)| (span.start..=span.end).contains(&at.span.start))
    }
}

/// The names under `secrets`.
fn secret_names(root: &Node) -> BTreeSet<&str> {
    root.get("secrets")
        .map(|section| section.value.entries())
        .unwrap_or_default()
        .iter()
        .map(|e| e.key.as_str())
        .collect()
}

/// What makes two problems one: found in two environments it is told once.
fn identity(problem: &Diagnostic) -> (String, Option<Span>, String) {
    (problem.code.clone(), problem.location.map(|at| at.span), problem.message.clone())
}
