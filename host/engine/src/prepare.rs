//! From a deployment file to something that can run: plugins loaded, configurations checked, all problems at once.

use crate::plugins::{self, PluginSet};
use crate::{EngineError, revision};
use basb_capabilities::Grants;
use basb_core::model::{Deployment, Use};
use basb_core::{PluginName, RevisionId, ServiceName};
use basb_runtime::wit::types;
use basb_runtime::{Plugin, Runtime};
use basb_spec::{Diagnostic, Diagnostics, LoadOptions, SourceMap, check_config};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// A deployment that can run.
#[derive(Debug)]
pub struct Prepared {
    /// The deployment, with the plugins' defaults filled in.
    pub deployment: Deployment,
    /// The revision that each service is to get.
    pub revisions: BTreeMap<ServiceName, RevisionId>,
    /// Its plugins.
    pub plugins: Arc<PluginSet>,
    /// What somebody should look at.
    pub warnings: Vec<Diagnostic>,
    /// The folder that relative paths start from.
    pub base: PathBuf,
    /// The file.
    pub file: PathBuf,
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
pub async fn prepare(options: &LoadOptions, runtime: &Runtime) -> Result<Prepared, EngineError> {
    let loaded = basb_spec::load(options).map_err(EngineError::Diagnostics)?;
    let base = base_of(&options.path);
    let mut deployment = loaded.deployment;
    let (plugins, mut problems) = load_plugins(&deployment, runtime, &base, &loaded.source).await?;
    problems.extend(check_configs(&mut deployment, &plugins, &loaded.source));
    if !problems.is_empty() {
        return Err(EngineError::Diagnostics(Diagnostics::new(problems)));
    }
    let set = PluginSet::new(&deployment, plugins).await?;
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
        plugins: Arc::new(set),
        warnings: loaded.warnings.into_iter().chain(warnings).collect(),
        base,
        file: options.path.clone(),
    })
}

/// Loads every plugin that the deployment uses; those that do not load are problems at their place in the file.
async fn load_plugins(
    deployment: &Deployment,
    runtime: &Runtime,
    base: &Path,
    source: &SourceMap,
) -> Result<(BTreeMap<PluginName, Plugin>, Vec<Diagnostic>), EngineError> {
    let mut plugins = BTreeMap::new();
    let mut problems = Vec::new();
    for (name, kind) in plugins::used(deployment) {
        let Some(from) = deployment.plugins.get(name) else { continue };
        if let Err(wrong) = Grants::parse(&from.grants) {
            problems.extend(wrong.into_iter().map(|p| {
                let pointer = format!("/plugins/{name}/grants{}", p.pointer);
                source.diagnostic_at(&pointer, "plugin/bad-grant", p.message, Some(p.help))
            }));
            continue;
        }
        match plugins::load_one(runtime, name, kind, from, base).await {
            Ok(plugin) => {
                plugins.insert(name.clone(), plugin);
            }
            Err(EngineError::Plugin { code, message, next, .. }) => {
                problems.push(source.diagnostic_at(&format!("/plugins/{name}"), &code, message, Some(next)));
            }
            Err(e) => return Err(e),
        }
    }
    Ok((plugins, problems))
}

/// Loads the plugins of a deployment that was written down before.
///
/// # Errors
/// The first that does not load.
pub async fn reload(deployment: &Deployment, runtime: &Runtime, base: &Path) -> Result<PluginSet, EngineError> {
    let mut plugins = BTreeMap::new();
    for (name, kind) in plugins::used(deployment) {
        if let Some(from) = deployment.plugins.get(name) {
            plugins.insert(name.clone(), plugins::load_one(runtime, name, kind, from, base).await?);
        }
    }
    PluginSet::new(deployment, plugins).await
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
        for problem in found {
            let pointer = format!("/strategies/{}/config{}", service.strategy, problem.path);
            let forbids = problem.severity == types::Severity::Error;
            said.entry((pointer, problem.message, forbids)).or_default().push(name);
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
