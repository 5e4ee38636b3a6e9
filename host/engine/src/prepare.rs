//! From a deployment file to something that can run: plugins loaded, configurations checked, all problems at once.

use crate::access::Access;
use crate::cause::Cause;
use crate::kept::KeptPlugins;
use crate::plugins::{self, PluginSet};
use crate::{EngineError, bounds, revision};
use basb_core::model::{Deployment, Use};
use basb_core::run::{RunStart, StartMode};
use basb_core::{Digest, PluginName, RevisionId, ServiceName};
use basb_registry::{Decision, Found, Policy, Refusal, resolve};
use basb_runtime::wit::types;
use basb_runtime::{Plugin, Runtime};
use basb_spec::{Diagnostic, Diagnostics, LoadOptions, SourceMap, check_config};
use futures_util::{StreamExt as _, stream};
use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};
use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// A deployment that can run.
#[derive(Debug)]
pub struct Prepared {
    /// The deployment, with the plugins' defaults filled in.
    pub deployment: Deployment,
    /// The revision that each service is to get.
    pub revisions: BTreeMap<ServiceName, RevisionId>,
    /// The content of each program that a revision runs, by its path, where it could be read.
    pub programs: BTreeMap<String, Digest>,
    /// How the candidates get their traffic.
    pub mode: StartMode,
    /// What asked for the run.
    pub cause: Cause,
    /// Its plugins.
    pub plugins: Arc<PluginSet>,
    /// What somebody should look at.
    pub warnings: Vec<Diagnostic>,
    /// The folder that relative paths start from.
    pub base: PathBuf,
    /// The file.
    pub file: PathBuf,
    /// What the lock file says of its plugins, and what is to be added to it before anything is changed.
    pub lock: Decision,
    /// The bytes of its plugins: they are kept with the run.
    pub bytes: Vec<Cow<'static, [u8]>>,
}

/// The folder of a file, absolute.
#[must_use]
pub fn base_of(file: &Path) -> PathBuf {
    let folder = file.parent().filter(|f| !f.as_os_str().is_empty()).unwrap_or(Path::new("."));
    std::path::absolute(folder).unwrap_or_else(|_| folder.to_owned())
}

/// Reads a file, loads its plugins, and checks everything that can be checked before anything runs.
///
/// # Errors
/// [`EngineError::Diagnostics`] with all problems of the file and of the configurations in it, or the first plugin that
/// does not load.
pub async fn prepare(options: &LoadOptions, runtime: &Runtime, policy: Policy) -> Result<Prepared, EngineError> {
    let loaded = basb_spec::load(options).map_err(EngineError::Diagnostics)?;
    let base = base_of(&options.path);
    let mut deployment = loaded.deployment;
    let access = match Access::of(&deployment, runtime.capabilities(), &base) {
        Ok(access) => access,
        Err(wrong) => {
            let problem = |p: basb_secrets::ConfigProblem| {
                loaded.source.diagnostic_at(&p.pointer, "credential/bad-config", p.message, Some(p.help))
            };
            return Err(EngineError::Diagnostics(Diagnostics::new(wrong.into_iter().map(problem).collect())));
        }
    };
    let Checked { plugins, mut problems, decision, bytes } =
        load_plugins(&deployment, runtime, &base, &loaded.source, policy).await?;
    problems.extend(check_configs(&mut deployment, &plugins, &loaded.source));
    if !problems.is_empty() {
        return Err(EngineError::Diagnostics(Diagnostics::new(problems)));
    }
    let set = PluginSet::new(&deployment, plugins, access).await?;
    let (problems, warnings) = ask_strategies(&deployment, &set, &loaded.source).await?;
    if !problems.is_empty() {
        return Err(EngineError::Diagnostics(Diagnostics::new(problems)));
    }
    let mut programs = revision::Programs::default();
    let mut revisions = BTreeMap::new();
    for (name, service) in &deployment.services {
        revisions.insert(name.clone(), revision::of(&service.workload, &mut programs));
    }
    Ok(Prepared {
        deployment,
        revisions,
        programs: programs.digests(),
        mode: StartMode::Rollout,
        cause: Cause::Run,
        plugins: Arc::new(set),
        warnings: loaded.warnings.into_iter().chain(warnings).collect(),
        base,
        file: options.path.clone(),
        lock: decision,
        bytes,
    })
}

/// The plugins of a deployment, and what is wrong with the others.
struct Checked {
    plugins: BTreeMap<PluginName, Plugin>,
    problems: Vec<Diagnostic>,
    decision: Decision,
    bytes: Vec<Cow<'static, [u8]>>,
}

/// Reads every plugin that the deployment uses, checks signatures and the lock file, and loads them; those that do not load
/// are problems at their place in the file. What was checked is what is loaded: the bytes are read once.
async fn load_plugins(
    deployment: &Deployment,
    runtime: &Runtime,
    base: &Path,
    source: &SourceMap,
    policy: Policy,
) -> Result<Checked, EngineError> {
    let resolved =
        resolve(deployment, base, |source| plugins::plugin_bytes(source, base).map_err(refusal)).map_err(|all| {
            let at = |r: Refusal| {
                let help = (!r.help.is_empty()).then_some(r.help);
                source.diagnostic_at(&r.pointer, &r.code, r.message, help)
            };
            EngineError::Diagnostics(Diagnostics::new(all.into_iter().map(at).collect()))
        })?;
    let lock = basb_registry::read_lock(base)?;
    let decision = basb_registry::check(lock.as_ref(), &resolved.locked(), policy)?;
    let mut plugins = BTreeMap::new();
    let (mut problems, mut wrong) = (Vec::new(), BTreeSet::new());
    let bytes = resolved.plugins.values().map(|found| found.bytes.clone()).collect();
    for (name, loaded) in load_all(deployment, runtime, resolved.plugins).await {
        match loaded {
            Ok(plugin) => {
                plugins.insert(name.clone(), plugin);
            }
            Err(EngineError::Plugin { code, message, next, .. }) => {
                problems.push(source.diagnostic_at(&format!("/plugins/{name}"), &code, message, Some(next)));
                wrong.insert(name);
            }
            Err(e) => return Err(e),
        }
    }
    // Of one that is used in a wrong place, nothing else that is said there is worth telling.
    plugins.retain(|name, _| !wrong.contains(name));
    Ok(Checked { plugins, problems, decision, bytes })
}

/// Loads every plugin that the deployment uses, as many at once as there are processors: a first load compiles. What comes
/// of each, in the order of their names, whichever was done first.
async fn load_all<'d>(
    deployment: &'d Deployment,
    runtime: &Runtime,
    mut found: BTreeMap<PluginName, Found>,
) -> Vec<(&'d PluginName, Result<Plugin, EngineError>)> {
    // The same bytes under several names are compiled once: the others find them in the cache, if they come after.
    let mut same: BTreeMap<String, Vec<_>> = BTreeMap::new();
    let (mut known, mut of_two_kinds) = (BTreeMap::new(), Vec::new());
    for (name, kind) in plugins::used(deployment) {
        if let (Some(from), Some(found)) = (deployment.plugins.get(name), found.remove(name)) {
            known.insert(name, kind);
            same.entry(found.digest.to_string()).or_default().push((name, kind, from, found));
        } else if let Some(first) = known.get(name) {
            of_two_kinds.push((name, Err(plugins::of_two_kinds(name, *first, kind))));
        }
    }
    let one_by_one = async |group: Vec<_>| {
        let mut loaded = Vec::with_capacity(group.len());
        for (name, kind, from, found) in group {
            loaded.push((name, plugins::load_found(runtime, name, kind, from, found).await));
        }
        loaded
    };
    let at_once = std::thread::available_parallelism().map_or(1, NonZeroUsize::get);
    let groups: Vec<_> = stream::iter(same.into_values()).map(one_by_one).buffer_unordered(at_once).collect().await;
    let mut all: Vec<_> = groups.into_iter().flatten().chain(of_two_kinds).collect();
    all.sort_by_key(|(name, _)| *name);
    all
}

fn refusal(e: EngineError) -> Refusal {
    Refusal { pointer: String::new(), code: e.code().to_owned(), message: e.to_string(), help: e.next_step() }
}

/// The plugins of a run that was written down before.
pub struct Reloaded {
    /// As they were when it began.
    pub plugins: PluginSet,
    /// Those whose files, or basb-host itself, were replaced since.
    pub replaced: Vec<PluginName>,
}

/// Loads the plugins of a run that was written down before: the very bytes that it began with, from where they are kept when
/// they were replaced since. Otherwise nobody could even go back with it after an upgrade.
///
/// # Errors
/// The first that does not load, or that is not what it was.
pub async fn reload(
    start: &RunStart,
    runtime: &Runtime,
    base: &Path,
    kept: &KeptPlugins,
) -> Result<Reloaded, EngineError> {
    let mut deployment = start.deployment.clone();
    let (mut bytes, mut replaced) = (BTreeMap::new(), Vec::new());
    for (name, source) in &mut deployment.plugins {
        let Some(was) = start.plugins.get(name).and_then(|identity| plugins::digest_of(identity)) else { continue };
        if plugins::plugin_bytes(&source.source, base).is_ok_and(|today| Digest::of(&today) == was) {
            continue;
        }
        if let Ok(found) = kept.find(name.as_str(), &was) {
            // Who signed these very bytes was seen when the run began; the signature that is there now is of others.
            source.publisher = None;
            bytes.insert(source.source.clone(), found);
            replaced.push(name.clone());
        }
    }
    let deployment = &deployment;
    let access = Access::of(deployment, runtime.capabilities(), base).map_err(|problems| {
        let all: Vec<String> = problems.iter().map(|p| format!("{}: {}", p.pointer, p.message)).collect();
        EngineError::Call { code: "credential/bad-config".to_owned(), message: all.join("; ") }
    })?;
    let resolved = resolve(deployment, base, |source| match bytes.get(source) {
        Some(kept) => Ok(Cow::Owned(kept.clone())),
        None => plugins::plugin_bytes(source, base).map_err(refusal),
    })
    .map_err(|all| {
        let all: Vec<String> = all.iter().map(|r| format!("{}: {}; {}", r.pointer, r.message, r.help)).collect();
        EngineError::Call { code: "plugin/unusable".to_owned(), message: all.join("; ") }
    })?;
    let mut plugins = BTreeMap::new();
    for (name, loaded) in load_all(deployment, runtime, resolved.plugins).await {
        plugins.insert(name.clone(), loaded?);
    }
    let set = PluginSet::new(deployment, plugins, access).await?;
    let now = set.identities();
    let changed: Vec<String> = start
        .plugins
        .iter()
        .filter(|(name, was)| now.get(*name) != Some(was))
        .map(|(name, was)| format!("{name} was {was}, is {}", now.get(name).map_or("gone", String::as_str)))
        .collect();
    if changed.is_empty() {
        return Ok(Reloaded { plugins: set, replaced });
    }
    Err(EngineError::refused(
        "run/plugins-changed",
        format!("the run began with other plugins, which are not kept: {}", changed.join("; ")),
        "put them back; or `basb-host run` begins anew with what is there now, and this run is superseded",
    ))
}

/// Checks every configuration against the schema that its plugin carries. Defaults are the plugin's own business: one
/// filled in here could not be told from one that somebody wrote.
fn check_configs(
    deployment: &mut Deployment,
    plugins: &BTreeMap<PluginName, Plugin>,
    source: &SourceMap,
) -> Vec<Diagnostic> {
    let mut problems = Vec::new();
    let mut check = |uses: &mut Use, at: String| {
        let Some(plugin) = plugins.get(&uses.plugin) else { return };
        let schema = &plugin.manifest().config_schema;
        if uses.config.is_null() {
            uses.config = serde_json::json!({});
        }
        for problem in check_config(schema, &uses.config) {
            let pointer = format!("{at}/config{}", problem.pointer);
            problems.push(source.diagnostic_at(&pointer, "config/invalid", problem.message, problem.help));
        }
    };
    check(&mut deployment.provider, format!("/environments/{}/provider", deployment.environment));
    for (name, uses) in &mut deployment.strategies {
        check(uses, format!("/strategies/{name}"));
    }
    for (name, uses) in &mut deployment.probes {
        check(uses, format!("/probes/{name}"));
    }
    for (name, notifier) in &mut deployment.notifiers {
        check(&mut notifier.uses, format!("/notifiers/{name}"));
    }
    problems
}

/// So many problems of one strategy are shown.
const MOST_PROBLEMS: usize = 50;

/// Asks each strategy what it thinks of its configuration, for every service that uses it.
async fn ask_strategies(
    deployment: &Deployment,
    plugins: &PluginSet,
    source: &SourceMap,
) -> Result<(Vec<Diagnostic>, Vec<Diagnostic>), EngineError> {
    // What a strategy says of several services alike is said once, with all of their names.
    let mut said: BTreeMap<(String, String, bool), Vec<&ServiceName>> = BTreeMap::new();
    for (name, service) in &deployment.services {
        let Some(uses) = deployment.strategies.get(&service.strategy) else { continue };
        // As for an update: a first release skips the steps, and they must be right all the same.
        let view = plugins.service_view(deployment, name, service, false);
        let found = plugins.validate(uses, view).await.map_err(|f| EngineError::Plugin {
            name: uses.plugin.to_string(),
            code: f.code,
            message: f.message,
            next: "report it to the plugin's publisher".to_owned(),
        })?;
        for problem in found.into_iter().take(MOST_PROBLEMS) {
            let pointer = format!("/strategies/{}/config{}", service.strategy, bounds::line(&problem.path));
            let forbids = problem.severity == types::Severity::Error;
            said.entry((pointer, bounds::line(&problem.message), forbids)).or_default().push(name);
        }
    }
    let (mut errors, mut warnings) = (Vec::new(), Vec::new());
    for ((pointer, message, forbids), services) in said {
        let names: Vec<&str> = services.iter().map(|s| s.as_str()).collect();
        let message = format!("for {}: {message}", names.join(", "));
        let diagnostic = source.diagnostic_at(&pointer, "strategy/invalid", message, None);
        if forbids { errors.push(diagnostic) } else { warnings.push(diagnostic.as_warning()) }
    }
    Ok((errors, warnings))
}
