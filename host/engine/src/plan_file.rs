//! A plan as a file: made now, looked at by people, carried out later, and only if nothing has moved since.
//!
//! The file holds the plan, what it was made from, and a digest of itself. Carrying it out plans again and compares: a
//! plan is never trusted for what it says, it is what the new plan must equal.
//!
//! **Must never** hold a secret (a deployment holds placeholders), or be taken for a plan when its digest does not fit.

use crate::plan::{CannotUndo, Plan, PlannedAction, ServicePlan};
use crate::revision::canonical;
use crate::{EngineError, Prepared};
use basb_core::{Digest, PluginName, RevisionId, ServiceName, Timestamp};
use basb_spec::LoadOptions;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::io::Write as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

/// What every plan file says first.
pub const FORMAT: &str = "basb-host plan";
/// The version that is written; a newer one is refused.
pub const VERSION: u32 = 1;
/// The largest plan file, in bytes: 5,000 services with their steps take some 10 MB.
const MAX_FILE: u64 = 256 * 1024 * 1024;

/// A plan with what it was made from.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct PlanFile {
    /// What kind of document this is: `basb-host plan`.
    pub format: String,
    /// The version of this form.
    pub version: u32,
    /// The digest of what a run of it starts from: what approvals are bound to.
    pub plan_digest: Digest,
    /// What it was made from.
    pub made_from: MadeFrom,
    /// What of it cannot be undone, as far as the provider tells.
    pub cannot_undo: Vec<CannotUndo>,
    /// Each service.
    pub services: Vec<ServicePlan>,
    /// The digest of everything above.
    pub digest: Option<Digest>,
}

/// What a plan was made from.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct MadeFrom {
    /// When, as RFC 3339.
    pub at: String,
    /// With which version of basb-host.
    pub by: String,
    /// The deployment file: relative to the plan file where it is beside or below it, else absolute.
    pub file: PathBuf,
    /// The deployment.
    pub deployment: ServiceName,
    /// The environment.
    pub environment: PluginName,
    /// The variables that were set on the command line.
    pub variables: BTreeMap<String, String>,
    /// Every plugin that takes part, as `name version sha256:…`.
    pub plugins: BTreeMap<PluginName, String>,
    /// A short digest of each part of the deployment as it was read, by its place in the file.
    pub parts: BTreeMap<String, String>,
}

/// Something that is not as it was when a plan was made.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Moved {
    /// What kind of thing.
    pub what: What,
    /// Which: a service, a plugin, a place in the file.
    pub name: String,
    /// What it was.
    pub was: String,
    /// What it is now.
    pub is: String,
}

/// What can move under a plan.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum What {
    /// The deployment or the environment has another name.
    Deployment,
    /// A part of the deployment file says something else.
    File,
    /// A plugin has another version or other bytes.
    Plugin,
    /// A service was added or taken away.
    Service,
    /// Another revision is stable.
    Stable,
    /// The service would get another revision.
    Candidate,
    /// The provider would do something else.
    Actions,
    /// The rollout would take other steps.
    Steps,
    /// Something else of a stable revision that stays would be repaired.
    Repairs,
    /// Other revisions are left over, and would be removed.
    Strays,
    /// What a run starts from differs in another way.
    Plan,
}

impl fmt::Display for Moved {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { name, was, is, .. } = self;
        match self.what {
            What::Deployment => write!(f, "{name}: was {was}, is {is}"),
            What::File => write!(f, "the file's {name}: was {was}, is {is}"),
            What::Plugin => write!(f, "plugin {name}: was {was}, is {is}"),
            What::Service => write!(f, "service {name}: was {was}, is {is}"),
            What::Stable => write!(f, "{name}: stable was {was}, is {is}"),
            What::Candidate => write!(f, "{name}: the candidate was {was}, is {is}"),
            What::Actions => write!(f, "{name}: the actions were `{was}`, are `{is}`"),
            What::Steps => write!(f, "{name}: the steps were `{was}`, are `{is}`"),
            What::Repairs => write!(f, "{name}: to be repaired was {was}, is {is}"),
            What::Strays => write!(f, "{name}: left over was {was}, is {is}"),
            What::Plan => write!(f, "{name}: was {was}, is {is}"),
        }
    }
}

/// Whether a file is a plan, by its first words. A file that cannot be read is none.
#[must_use]
pub fn is_plan(path: &Path) -> bool {
    use std::io::Read as _;
    // A pipe would be waited for, and read only once.
    if !std::fs::metadata(path).is_ok_and(|about| about.is_file()) {
        return false;
    }
    let mut head = Vec::new();
    let read = std::fs::File::open(path).and_then(|file| file.take(200).read_to_end(&mut head));
    let head = String::from_utf8_lossy(&head);
    let mut words = head.trim_start().strip_prefix('{').unwrap_or_default().trim_start().splitn(2, ':');
    read.is_ok()
        && words.next().map(str::trim_end) == Some("\"format\"")
        && words.next().is_some_and(|rest| rest.trim_start().starts_with(&format!("\"{FORMAT}\"")))
}

impl PlanFile {
    /// A plan with what it was made from; `beside` is the folder that the file will be in.
    #[must_use]
    pub fn new(plan: Plan, plan_digest: Digest, prepared: &Prepared, made: &Made<'_>) -> Self {
        let file = std::path::absolute(&prepared.file).unwrap_or_else(|_| prepared.file.clone());
        let beside = made.beside.and_then(|folder| file.strip_prefix(folder).ok()).map(Path::to_owned);
        Self {
            format: FORMAT.to_owned(),
            version: VERSION,
            plan_digest,
            made_from: MadeFrom {
                at: made.at.to_string(),
                by: concat!("basb-host ", env!("CARGO_PKG_VERSION")).to_owned(),
                file: beside.unwrap_or(file),
                deployment: plan.deployment,
                environment: plan.environment,
                variables: made.variables.iter().cloned().collect(),
                plugins: prepared.plugins.identities(),
                parts: parts(&prepared.deployment),
            },
            cannot_undo: plan.cannot_undo,
            services: plan.services,
            digest: None,
        }
    }

    /// The file's text, with its digest.
    ///
    /// # Errors
    /// [`EngineError::Refused`] when it cannot be put into JSON.
    pub fn text(&self) -> Result<String, EngineError> {
        let refused = |e: serde_json::Error| EngineError::refused("plan/unwritable", e.to_string(), "report it");
        let mut value = serde_json::to_value(self).map_err(refused)?;
        let digest = digest_of(&mut value);
        if let Value::Object(all) = &mut value {
            all.insert("digest".to_owned(), Value::String(digest.to_string()));
        }
        let mut text = serde_json::to_string_pretty(&value).map_err(refused)?;
        text.push('\n');
        Ok(text)
    }

    /// Writes it, for its owner alone. An older plan is replaced as a whole; any other file is left alone.
    ///
    /// # Errors
    /// [`EngineError::Refused`] when there is another file, or it cannot be written.
    pub fn write(&self, path: &Path) -> Result<(), EngineError> {
        if path.exists() && !is_plan(path) {
            return Err(EngineError::refused(
                "plan/not-a-plan",
                format!("{} is there and is not a plan: it is not written over", path.display()),
                "give another name with `--out`",
            ));
        }
        let text = self.text()?;
        let mut name = path.file_name().unwrap_or_default().to_owned();
        name.push(format!(".{}.new", std::process::id()));
        let new = path.with_file_name(name);
        let written = std::fs::OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(true)
            .mode(0o600)
            .open(&new)
            .and_then(|mut file| file.write_all(text.as_bytes()).and_then(|()| file.sync_all()))
            .and_then(|()| std::fs::rename(&new, path));
        written.map_err(|e| {
            let _ = std::fs::remove_file(&new);
            let message = format!("the plan cannot be written to {}: {e}", path.display());
            EngineError::refused("plan/unwritable", message, "give a path that you can write with `--out`")
        })
    }

    /// Reads one, and checks that it is as it was written.
    ///
    /// # Errors
    /// [`EngineError::Refused`] for a file that is damaged, was edited, or is of a newer version.
    pub fn read(path: &Path) -> Result<Self, EngineError> {
        let shown = path.display();
        let again = "make a new one with `basb-host plan --out FILE`; nothing was changed";
        let about = std::fs::metadata(path).and_then(|about| {
            if about.len() > MAX_FILE { Err(std::io::ErrorKind::FileTooLarge.into()) } else { Ok(()) }
        });
        let text = about.and_then(|()| std::fs::read_to_string(path)).map_err(|e| {
            EngineError::refused("plan/unreadable", format!("the plan {shown} cannot be read: {e}"), again)
        })?;
        Self::parse(&text, &shown.to_string())
    }

    /// Reads a text, and checks that it is as it was written.
    ///
    /// # Errors
    /// As [`PlanFile::read`].
    pub fn parse(text: &str, shown: &str) -> Result<Self, EngineError> {
        let again = "make a new one with `basb-host plan --out FILE`; nothing was changed";
        let damaged = |why: String| {
            EngineError::refused("plan/damaged", format!("the plan {shown} is not as it was written: {why}"), again)
        };
        let mut value: Value = serde_json::from_str(text).map_err(|e| damaged(format!("it is no JSON: {e}")))?;
        let version = value.get("version").and_then(Value::as_u64);
        if version.is_some_and(|v| v > u64::from(VERSION)) {
            let message = format!(
                "the plan {shown} is of version {}, and this program reads up to version {VERSION}",
                version.unwrap_or_default()
            );
            return Err(EngineError::refused("plan/newer", message, "use the version of basb-host that wrote it"));
        }
        let said = value.get("digest").and_then(Value::as_str).unwrap_or("none").to_owned();
        let found = digest_of(&mut value);
        if said != found.as_str() {
            return Err(damaged(format!("its digest is {found}, and it says {said}")));
        }
        let mut file: Self = serde_json::from_value(value).map_err(|e| damaged(e.to_string()))?;
        if file.format != FORMAT {
            return Err(damaged(format!("its format is `{}`", file.format)));
        }
        file.digest = Some(found);
        Ok(file)
    }

    /// What to load to plan again.
    #[must_use]
    pub fn options(&self, path: &Path) -> LoadOptions {
        let folder = path.parent().filter(|f| !f.as_os_str().is_empty()).unwrap_or(Path::new("."));
        LoadOptions {
            path: folder.join(&self.made_from.file),
            environment: Some(self.made_from.environment.to_string()),
            sets: self.made_from.variables.clone().into_iter().collect(),
        }
    }

    /// The plan in it.
    #[must_use]
    pub fn plan(&self) -> Plan {
        Plan {
            version: 1,
            deployment: self.made_from.deployment.clone(),
            environment: self.made_from.environment.clone(),
            cannot_undo: self.cannot_undo.clone(),
            services: self.services.clone(),
        }
    }

    /// Everything that has moved since it was made: what it says beside what a new one says.
    #[must_use]
    pub fn moved(&self, now: &Self) -> Vec<Moved> {
        let mut all = Vec::new();
        let mut differ = |what: What, name: &str, was: &str, is: &str| {
            if was != is {
                all.push(Moved { what, name: name.to_owned(), was: was.to_owned(), is: is.to_owned() });
            }
        };
        let (old, new) = (&self.made_from, &now.made_from);
        differ(What::Deployment, "deployment", old.deployment.as_str(), new.deployment.as_str());
        differ(What::Deployment, "environment", old.environment.as_str(), new.environment.as_str());
        for name in names(&old.parts, &new.parts) {
            let of = |parts: &BTreeMap<String, String>| {
                parts.get(&name).map_or_else(|| "not there".to_owned(), Clone::clone)
            };
            differ(What::File, &name, &of(&old.parts), &of(&new.parts));
        }
        for name in names(&old.plugins, &new.plugins) {
            let of = |all: &BTreeMap<PluginName, String>| {
                all.get(&name).map_or_else(|| "not there".to_owned(), Clone::clone)
            };
            differ(What::Plugin, name.as_str(), &of(&old.plugins), &of(&new.plugins));
        }
        let by_name = |services: &[ServicePlan]| -> BTreeMap<ServiceName, ServicePlan> {
            services.iter().map(|s| (s.service.clone(), s.clone())).collect()
        };
        let (old, new) = (by_name(&self.services), by_name(&now.services));
        for name in names(&old, &new) {
            let shown = name.as_str();
            match (old.get(&name), new.get(&name)) {
                (Some(old), Some(new)) => {
                    let stable =
                        |s: &ServicePlan| s.stable.as_ref().map_or_else(|| "none".to_owned(), ToString::to_string);
                    differ(What::Stable, shown, &stable(old), &stable(new));
                    differ(What::Candidate, shown, old.candidate.as_str(), new.candidate.as_str());
                    let (was, is) = told_apart(&old.actions, &new.actions);
                    differ(What::Actions, shown, &was, &is);
                    let steps = |s: &ServicePlan| {
                        let all: Vec<&str> = s.steps.iter().map(|s| s.summary.as_str()).collect();
                        if all.is_empty() { "none".to_owned() } else { all.join("; ") }
                    };
                    differ(What::Steps, shown, &steps(old), &steps(new));
                    let listed = |all: Vec<&str>| if all.is_empty() { "nothing".to_owned() } else { all.join(", ") };
                    let repairs = |s: &ServicePlan| listed(s.repairs.iter().map(String::as_str).collect());
                    differ(What::Repairs, shown, &repairs(old), &repairs(new));
                    let strays = |s: &ServicePlan| listed(s.strays.iter().map(RevisionId::as_str).collect());
                    differ(What::Strays, shown, &strays(old), &strays(new));
                }
                (old, _) => {
                    let word = |there: bool| if there { "there" } else { "not there" };
                    differ(What::Service, shown, word(old.is_some()), word(old.is_none()));
                }
            }
        }
        let (was, is) = (self.plan_digest.short(), now.plan_digest.short());
        if all.is_empty() && was != is {
            let (was, is) = (was.to_owned(), is.to_owned());
            all.push(Moved { what: What::Plan, name: "the plan".to_owned(), was, is });
        }
        all
    }
}

/// When and how a plan is made.
#[derive(Debug, Clone)]
pub struct Made<'a> {
    /// The time.
    pub at: Timestamp,
    /// The folder that the file will be in, absolute.
    pub beside: Option<&'a Path>,
    /// The variables that were set.
    pub variables: &'a [(String, String)],
}

/// The keys of both, each once, in order.
fn names<K: Ord + Clone, V>(a: &BTreeMap<K, V>, b: &BTreeMap<K, V>) -> BTreeSet<K> {
    a.keys().chain(b.keys()).cloned().collect()
}

/// Actions in words; the values that change are named where the summaries alone do not tell them apart.
fn told_apart(old: &[PlannedAction], new: &[PlannedAction]) -> (String, String) {
    if old == new {
        return (String::new(), String::new());
    }
    let brief = |all: &[PlannedAction]| {
        let lines: Vec<String> = all.iter().map(PlannedAction::in_a_line).collect();
        if lines.is_empty() { "nothing".to_owned() } else { lines.join("; ") }
    };
    let (was, is) = (brief(old), brief(new));
    if was != is {
        return (was, is);
    }
    let whole = |all: &[PlannedAction]| {
        let side = |s: &Option<String>| s.clone().unwrap_or_else(|| "-".to_owned());
        let lines = all.iter().map(|a| {
            let changes: Vec<String> =
                a.changes.iter().map(|c| format!("{}: {} -> {}", c.path, side(&c.before), side(&c.after))).collect();
            let undo = a.irreversible.as_ref().map_or(String::new(), |why| format!(", cannot be undone: {why}"));
            format!("{} ({}{undo})", a.in_a_line(), changes.join(", "))
        });
        lines.collect::<Vec<_>>().join("; ")
    };
    (whole(old), whole(new))
}

/// Takes the digest out of a document and computes it again from the rest, in one order of keys.
fn digest_of(value: &mut Value) -> Digest {
    if let Value::Object(all) = value {
        all.shift_remove("digest");
    }
    Digest::of(canonical(value).to_string().as_bytes())
}

/// A short digest of each part of a deployment, by its place in the file: enough to say which part has changed.
fn parts(deployment: &basb_core::model::Deployment) -> BTreeMap<String, String> {
    let mut parts = BTreeMap::new();
    let mut add = |name: String, value: &Value| {
        let digest = Digest::of(canonical(value).to_string().as_bytes());
        parts.insert(name, digest.short().to_owned());
    };
    // A deployment holds nothing that JSON cannot.
    let Ok(Value::Object(sections)) = serde_json::to_value(deployment) else { return parts };
    for (section, value) in sections {
        match value {
            Value::Object(entries) if !matches!(section.as_str(), "provider") => {
                entries.iter().for_each(|(name, value)| add(format!("{section}/{name}"), value));
            }
            value => add(section, &value),
        }
    }
    parts
}

#[cfg(test)]
#[path = "plan_file/tests.rs"]
mod tests;
