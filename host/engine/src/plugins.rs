//! The plugins of a deployment: loaded, checked, and called with the right configuration and deadline.

use crate::access::Access;
use crate::calls::{About, CallLog, Manner};
use crate::memory::{self, Memory};
use crate::sights::Sights;
use crate::{EngineError, bounds, hands::call_failure, target};
use basb_core::model::{Deployment, PluginSource, Service, Use};
use basb_core::run::Failure;
use basb_core::{Digest, Millis, PluginName, ServiceName};
use basb_grants::Grants;
use basb_registry::Found;
use basb_runtime::wit::{notifier, probe, provider, strategy, types};
use basb_runtime::worlds::{self, Notifier, Probe, Provider, Strategy};
use basb_runtime::{CallError, CallOptions, Called, Kind, LoadRequest, Plugin, Runtime};
use std::borrow::Cow;
use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

/// How long one call of a provider may take: it returns `running` for anything longer.
const PROVIDER: Duration = Duration::from_secs(60);
/// How long it may take at least, however short a time a rollout may go without progress.
const PROVIDER_LEAST: Duration = Duration::from_secs(5);
/// How long one measurement or one delivery may take.
const OBSERVER: Duration = Duration::from_secs(30);
/// How long a pure function may take.
pub const PURE: Duration = Duration::from_secs(5);
/// When a call that timed out, or that the host could not make, is made again.
const AGAIN: Millis = Millis::secs(1);

/// A plugin that was loaded, for people.
#[derive(Debug, Clone)]
pub struct LoadedPlugin {
    /// Its name in the deployment file.
    pub name: PluginName,
    /// `name version sha256:…`.
    pub identity: String,
}

/// The plugins of a deployment.
#[derive(Debug)]
pub struct PluginSet {
    plugins: BTreeMap<PluginName, Plugin>,
    provider: Provider,
    provider_config: String,
    provider_patience: Duration,
    provider_grants: Grants,
    info: provider::Info,
    asks: BTreeMap<PluginName, Vec<String>>,
    access: Access,
    log: CallLog,
    memory: Memory,
    sights: Sights,
}

/// Which plugins a deployment uses, and as what.
pub fn used(deployment: &Deployment) -> Vec<(&PluginName, Kind)> {
    let mut all: Vec<(&PluginName, Kind)> = vec![(&deployment.provider.plugin, Kind::Provider)];
    all.extend(deployment.strategies.values().map(|u| (&u.plugin, Kind::Strategy)));
    all.extend(deployment.probes.values().map(|u| (&u.plugin, Kind::Probe)));
    all.extend(deployment.notifiers.values().map(|n| (&n.uses.plugin, Kind::Notifier)));
    all.sort();
    all.dedup();
    all
}

/// The bytes of a plugin.
///
/// # Errors
/// [`EngineError::Plugin`] when there is no such builtin, or the file cannot be read.
pub fn plugin_bytes(source: &str, base: &Path) -> Result<Cow<'static, [u8]>, EngineError> {
    let refused = |code: &str, message: String, next: String| EngineError::Plugin {
        name: source.to_owned(),
        code: code.to_owned(),
        message,
        next,
    };
    if let Some(name) = source.strip_prefix("builtin:") {
        return match basb_builtins::find(name) {
            Some(builtin) => Ok(Cow::Borrowed(builtin.bytes)),
            None => {
                let all: Vec<&str> = basb_builtins::all().iter().map(|b| b.name).collect();
                let next = format!("there are: {}", all.join(", "));
                Err(refused("plugin/no-such-builtin", format!("there is no builtin `{name}`"), next))
            }
        };
    }
    let path = base.join(source);
    std::fs::read(&path).map(Cow::Owned).map_err(|e| {
        let next =
            "check the path: it is relative to the deployment file; `builtin:NAME` names one that comes with basb-host";
        refused("plugin/unreadable", format!("{} cannot be read: {e}", path.display()), next.to_owned())
    })
}

/// A plugin that a deployment uses as two things: whatever it is, one of them is wrong.
pub fn of_two_kinds(name: &PluginName, first: Kind, second: Kind) -> EngineError {
    EngineError::Plugin {
        name: name.to_string(),
        code: "plugin/wrong-world".to_owned(),
        message: format!("it is used as a {first} and as a {second}; a plugin is one of them"),
        next: "name a plugin of the right kind in the other place; `basb-host plugin inspect FILE` tells the kind"
            .to_owned(),
    }
}

/// Loads one plugin whose bytes were read and checked.
///
/// # Errors
/// [`EngineError::Plugin`] with everything that is missing.
pub async fn load_found(
    runtime: &Runtime,
    name: &PluginName,
    kind: Kind,
    source: &PluginSource,
    found: Found,
) -> Result<Plugin, EngineError> {
    let credentials = source.credentials.clone();
    let request = LoadRequest { name: name.clone(), kind, grants: found.grants, credentials };
    runtime.load(found.bytes, request).await.map_err(|e| EngineError::Plugin {
        name: name.to_string(),
        code: e.code().to_owned(),
        message: e.to_string(),
        next: "nothing was changed; mend it and start again".to_owned(),
    })
}

/// How long one call of the provider may take: a call that outlasts what any rollout may go without progress is of no use.
fn patience(deployment: &Deployment) -> Duration {
    let longest = deployment.services.values().map(|service| service.progress_deadline.0).max();
    longest.map_or(PROVIDER, |ms| Duration::from_millis(ms).clamp(PROVIDER_LEAST, PROVIDER))
}

/// The digest in what [`PluginSet::identities`] says of a plugin.
pub(crate) fn digest_of(identity: &str) -> Option<Digest> {
    identity.rsplit(' ').next().and_then(|digest| Digest::try_from(digest.to_owned()).ok())
}

impl PluginSet {
    /// Puts loaded plugins together.
    ///
    /// # Errors
    /// [`EngineError`] when a plugin that is needed is not there, or does not answer.
    pub async fn new(
        deployment: &Deployment,
        plugins: BTreeMap<PluginName, Plugin>,
        access: Access,
    ) -> Result<Self, EngineError> {
        let missing = |name: &PluginName| EngineError::Plugin {
            name: name.to_string(),
            code: "plugin/missing".to_owned(),
            message: "it is not loaded".to_owned(),
            next: "name it under `plugins`".to_owned(),
        };
        let name = &deployment.provider.plugin;
        let provider = plugins.get(name).and_then(|p| p.provider().ok()).ok_or_else(|| missing(name))?;
        let provider_grants = plugins.get(name).map(|p| p.grants().clone()).unwrap_or_default();
        let info = provider.describe(&CallOptions::new(PURE)).await.map_err(unanswered)?.value;
        let mut asks = BTreeMap::new();
        for (name, notifier) in &deployment.notifiers {
            let plugin = &notifier.uses.plugin;
            let it = plugins.get(plugin).and_then(|p| p.notifier().ok()).ok_or_else(|| missing(plugin))?;
            let info = it.describe(&CallOptions::new(PURE)).await.map_err(unanswered)?.value;
            asks.insert(name.clone(), info.events);
        }
        Ok(Self {
            provider,
            provider_config: deployment.provider.config.to_string(),
            provider_patience: patience(deployment),
            provider_grants,
            info,
            asks,
            plugins,
            access,
            log: CallLog::default(),
            memory: Memory::default(),
            sights: Sights::default(),
        })
    }

    /// The secrets and credentials that they are served with.
    #[must_use]
    pub fn access(&self) -> &Access {
        &self.access
    }

    /// Where their calls are told.
    #[must_use]
    pub fn log(&self) -> &CallLog {
        &self.log
    }

    /// What the provider wants to be given back.
    #[must_use]
    pub fn memory(&self) -> &Memory {
        &self.memory
    }

    /// What counterparts say that revisions run.
    pub fn sights(&self) -> &Sights {
        &self.sights
    }

    /// How many there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.plugins.len()
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.plugins.is_empty()
    }

    /// Each as `name version sha256:…`.
    #[must_use]
    pub fn identities(&self) -> BTreeMap<PluginName, String> {
        let identity = |p: &Plugin| format!("{} {} {}", p.manifest().name, p.manifest().version, p.digest());
        self.plugins.iter().map(|(name, plugin)| (name.clone(), identity(plugin))).collect()
    }

    /// The kinds of events that notifiers ask for.
    #[must_use]
    pub fn asks(&self) -> &BTreeMap<PluginName, Vec<String>> {
        &self.asks
    }

    /// What the provider can do.
    #[must_use]
    pub fn provider_info(&self) -> &provider::Info {
        &self.info
    }

    /// What a strategy may know of a service.
    #[must_use]
    pub fn service_view(
        &self,
        deployment: &Deployment,
        name: &ServiceName,
        service: &Service,
        initial: bool,
    ) -> strategy::ServiceView {
        service_view(deployment, name, service, (&self.info.abilities, self.info.weight_granularity), initial)
    }

    fn strategy(&self, uses: &Use) -> Result<Strategy, Failure> {
        self.plugins.get(&uses.plugin).and_then(|p| p.strategy().ok()).ok_or_else(|| not_loaded(uses))
    }

    fn probe(&self, uses: &Use) -> Result<Probe, Failure> {
        self.plugins.get(&uses.plugin).and_then(|p| p.probe().ok()).ok_or_else(|| not_loaded(uses))
    }

    fn notifier(&self, uses: &Use) -> Result<Notifier, Failure> {
        self.plugins.get(&uses.plugin).and_then(|p| p.notifier().ok()).ok_or_else(|| not_loaded(uses))
    }

    fn provider_call(&self, function: &str, about: About<'_>) -> (CallOptions, types::CallContext) {
        let Manner { now, observer, taping } = self.log.manner(self.provider.plugin(), function, about);
        let options = CallOptions::new(self.provider_patience).observed(observer).taped(taping);
        let mut cx = worlds::context(now, &options, self.provider_config.clone());
        cx.extras = about.service.map(|service| self.memory.of(service)).unwrap_or_default();
        (options, cx)
    }

    /// What came of a mutating call; what the provider wants to be given back is kept.
    fn changed(
        &self,
        service: &str,
        result: Result<Called<provider::Progress>, CallError>,
    ) -> Result<provider::Progress, Failure> {
        let progress = value(result)?;
        if let provider::Progress::Done(done) = &progress
            && let Some((_, text)) = done.outputs.iter().find(|(name, _)| name == memory::NAME)
        {
            self.memory.keep(service, bounds::state(text.clone())?);
        }
        Ok(progress)
    }

    /// What `apply` would do; the host lets only reads through.
    ///
    /// # Errors
    /// [`Failure`] of the call or of the provider.
    pub async fn plan(&self, desired: provider::Desired) -> Result<provider::ServicePlan, Failure> {
        let (options, cx) = self.provider_call("plan", About::default());
        flat(self.provider.plan(&options.read_only(), cx, desired).await)
    }

    /// Does something, or goes on doing it.
    ///
    /// # Errors
    /// [`Failure`] of the call.
    pub async fn apply(
        &self,
        (key, order): (&str, u32),
        action: provider::Action,
        state: Option<String>,
    ) -> Result<provider::Progress, Failure> {
        let name = service_of(&action).to_owned();
        let about = About { service: Some(service_of(&action)), order: Some(order), key: Some(key) };
        let (options, cx) = self.provider_call("apply", about);
        let result = self.provider.apply(&options, cx, key.to_owned(), action, state).await;
        self.changed(&name, result)
    }

    /// What is there.
    ///
    /// # Errors
    /// [`Failure`] of the call or of the provider.
    pub async fn read(&self, order: u32, service: types::ServiceRef) -> Result<Option<provider::Observed>, Failure> {
        let about = About { service: Some(&service.service), order: Some(order), key: None };
        let (options, cx) = self.provider_call("read", about);
        flat(self.provider.read(&options, cx, service).await)
    }

    /// What is there; the host lets only reads through, as for a plan.
    ///
    /// # Errors
    /// [`Failure`] of the call or of the provider.
    pub async fn look(&self, service: types::ServiceRef) -> Result<Option<provider::Observed>, Failure> {
        let (options, cx) = self.provider_call("read", About::default());
        flat(self.provider.read(&options.read_only(), cx, service).await)
    }

    /// Sets the shares of traffic.
    ///
    /// # Errors
    /// [`Failure`] of the call.
    pub async fn traffic(
        &self,
        (key, order): (&str, u32),
        service: types::ServiceRef,
        weights: Vec<(String, u16)>,
        state: Option<String>,
    ) -> Result<provider::Progress, Failure> {
        let name = service.service.clone();
        let about = About { service: Some(&service.service), order: Some(order), key: Some(key) };
        let (options, cx) = self.provider_call("traffic", about);
        let result = self.provider.traffic(&options, cx, key.to_owned(), service, weights, state).await;
        self.changed(&name, result)
    }

    /// The instances of a revision.
    ///
    /// # Errors
    /// [`Failure`] of the call or of the provider.
    pub async fn instances(
        &self,
        order: u32,
        service: types::ServiceRef,
        revision: String,
    ) -> Result<provider::InstanceReport, Failure> {
        let about = About { service: Some(&service.service), order: Some(order), key: None };
        let (options, cx) = self.provider_call("instances", about);
        flat(self.provider.instances(&options, cx, service, revision).await)
    }

    /// Removes a revision that has no traffic.
    ///
    /// # Errors
    /// [`Failure`] of the call.
    pub async fn retire(
        &self,
        (key, order): (&str, u32),
        (service, revision): (types::ServiceRef, String),
        state: Option<String>,
    ) -> Result<provider::Progress, Failure> {
        let name = service.service.clone();
        let about = About { service: Some(&service.service), order: Some(order), key: Some(key) };
        let (options, cx) = self.provider_call("retire", about);
        let result = self.provider.retire(&options, cx, key.to_owned(), service, revision, state).await;
        self.changed(&name, result)
    }

    /// Everything that is wrong with a strategy's configuration for a service.
    ///
    /// # Errors
    /// [`Failure`] of the call.
    pub async fn validate(&self, uses: &Use, view: strategy::ServiceView) -> Result<Vec<types::Problem>, Failure> {
        value(self.strategy(uses)?.validate(&CallOptions::new(PURE), uses.config.to_string(), view).await)
    }

    /// The steps that a rollout would take.
    ///
    /// # Errors
    /// [`Failure`] of the call or of the strategy.
    pub async fn preview(
        &self,
        uses: &Use,
        view: strategy::ServiceView,
    ) -> Result<Vec<strategy::StepPreview>, Failure> {
        flat(self.strategy(uses)?.preview(&CallOptions::new(PURE), uses.config.to_string(), view).await)
    }

    /// What to do next.
    ///
    /// # Errors
    /// [`Failure`] of the call or of the strategy.
    pub async fn next(
        &self,
        uses: &Use,
        view: strategy::RolloutView,
        state: Option<String>,
    ) -> Result<strategy::Decision, Failure> {
        flat(self.strategy(uses)?.next(&CallOptions::new(PURE), uses.config.to_string(), view, state).await)
    }

    /// Measures once. The probe may reach what `target: service` grants: the origin of this target.
    ///
    /// # Errors
    /// [`Failure`] of the call.
    pub async fn check(&self, order: u32, uses: &Use, target: probe::Target) -> Result<probe::Measurement, Failure> {
        let probe = self.probe(uses)?;
        let url = url::Url::parse(&target.url)
            .map_err(|e| call_failure("engine/bad-url", format!("`{}` is not a URL: {e}", target.url), None))?;
        target::check(&url, &self.provider_grants).map_err(|why| call_failure("engine/url-refused", why, None))?;
        let about = About { service: Some(&target.service), order: Some(order), key: None };
        let Manner { now, observer, taping } = self.log.manner(probe.plugin(), "check", about);
        let options = CallOptions::new(OBSERVER).with_target(url).observed(observer).taped(taping);
        let cx = worlds::context(now, &options, uses.config.to_string());
        value(probe.check(&options, cx, target).await)
    }

    /// Delivers one event.
    ///
    /// # Errors
    /// [`Failure`] of the call or of the notifier.
    pub async fn notify(&self, key: &str, uses: &Use, event: notifier::Event) -> Result<(), Failure> {
        let notifier = self.notifier(uses)?;
        let about = About { service: event.service.as_deref(), order: None, key: Some(key) };
        let Manner { now, observer, taping } = self.log.manner(notifier.plugin(), "notify", about);
        let options = CallOptions::new(OBSERVER).observed(observer).taped(taping);
        let cx = worlds::context(now, &options, uses.config.to_string());
        flat(notifier.notify(&options, cx, event).await).map(|_| ())
    }
}

/// What a strategy may know of a service, of a provider with these abilities and this granularity of weights.
pub fn service_view(
    deployment: &Deployment,
    name: &ServiceName,
    service: &Service,
    (abilities, granularity): (&[String], u16),
    initial: bool,
) -> strategy::ServiceView {
    strategy::ServiceView {
        name: name.to_string(),
        replicas: service.replicas,
        abilities: abilities.to_vec(),
        weight_granularity: granularity,
        analyses: deployment.analyses.keys().map(ToString::to_string).collect(),
        initial,
    }
}

fn service_of(action: &provider::Action) -> &str {
    match action {
        provider::Action::Deploy(desired) => &desired.service.service,
        provider::Action::Scale(scaling) => &scaling.service.service,
    }
}

fn not_loaded(uses: &Use) -> Failure {
    call_failure("engine/plugin-missing", format!("plugin `{}` is not loaded", uses.plugin), None)
}

fn unanswered(e: CallError) -> EngineError {
    EngineError::Plugin {
        name: e.plugin.to_string(),
        code: e.code().to_owned(),
        message: called(&e),
        next: e.help().to_owned(),
    }
}

/// What a failed call says, with the plugin's last words.
fn called(e: &CallError) -> String {
    let evidence = e.evidence();
    let tail = evidence.len().saturating_sub(5);
    let last: Vec<&str> = evidence.iter().skip(tail).map(String::as_str).collect();
    if last.is_empty() { e.to_string() } else { format!("{e}; last: {}", last.join("; ")) }
}

fn value<R>(result: Result<Called<R>, CallError>) -> Result<R, Failure> {
    result.map(|called| called.value).map_err(|e| {
        use basb_runtime::Failure::{Host, NotDurable, TimedOut};
        let retry = matches!(e.failure, TimedOut(_) | Host(_) | NotDurable(_));
        call_failure(e.code(), called(&e), retry.then_some(AGAIN))
    })
}

/// The result of a call, with what the plugin itself says of its failure.
pub fn flat<R>(result: Result<Called<Result<R, types::Failure>>, CallError>) -> Result<R, Failure> {
    value(result)?.map_err(crate::convert::failure)
}
