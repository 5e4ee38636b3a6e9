//! One call made again over its tape, offline.

use crate::plugins::{self, PURE};
use crate::{EngineError, KeptPlugins, convert};
use basb_capabilities::exchange::{Class, Divergence, Matching, Taping};
use basb_capabilities::{Capabilities, Options, http, network};
use basb_core::model::Deployment;
use basb_core::run::{Effect, Order, Outcome, RunStart};
use basb_core::{Digest, PluginName, ServiceName};
use basb_grants::Grants;
use basb_runtime::{CallOptions, Kind, LoadRequest, Plugin, Runtime, RuntimeOptions};
use basb_tape::{Replay, Tape};
use futures_util::future::BoxFuture;
use serde::Serialize;
use std::collections::HashMap;
use std::io;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

/// The longest that a call may take that has every answer at hand.
const PLAYED: Duration = Duration::from_secs(20);

/// How exactly a call can be played back.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum ReplayKind {
    /// Exactly.
    Exact,
    /// The guest brings an HTTP client of its own and may race its requests.
    BestEffort,
}

/// A call that is not what it was.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct CallDifference {
    /// The number of the call's tape; none for a pure function, whose tape is its intent and its outcome.
    pub call: Option<u64>,
    /// The record of the outcome of a pure function.
    pub seq: Option<u64>,
    /// The service.
    pub service: Option<ServiceName>,
    /// The plugin.
    pub plugin: PluginName,
    /// The function.
    pub function: String,
    /// How exactly it can be played back.
    pub replay: ReplayKind,
    /// The first difference.
    pub divergence: Divergence,
}

/// Nobody is asked for an address.
#[derive(Debug)]
struct NoNames;

impl network::Resolver for NoNames {
    fn resolve<'a>(&'a self, _: &'a str) -> BoxFuture<'a, io::Result<Vec<IpAddr>>> {
        Box::pin(async { Err(io::Error::other("a tape is played: there is no network")) })
    }
}

/// Plugins that are called over tapes: without a network, a socket or a secret.
pub struct Stage {
    runtime: Runtime,
    kept: KeptPlugins,
    loaded: HashMap<(PluginName, Digest), Result<Plugin, String>>,
}

impl Stage {
    /// Sets it up.
    ///
    /// # Errors
    /// [`EngineError::Plugin`] when the runtime cannot be had.
    pub fn new(kept: KeptPlugins, cache: Option<basb_runtime::CacheFolder>) -> Result<Self, EngineError> {
        let mut options = Options::new("/nonexistent");
        options.roots = http::Roots::Only(Vec::new());
        options.resolver = Arc::new(NoNames);
        let mut runtime = RuntimeOptions::new(Capabilities::new(options));
        if let Some(cache) = cache {
            runtime = runtime.with_cache(cache);
        }
        let runtime = Runtime::new(runtime).map_err(|e| EngineError::Plugin {
            name: "all".to_owned(),
            code: e.code().to_owned(),
            message: e.to_string(),
            next: "check the limits of this machine".to_owned(),
        })?;
        Ok(Self { runtime, kept, loaded: HashMap::new() })
    }

    /// Loads given bytes under a name, with what the deployment grants to that name.
    ///
    /// # Errors
    /// [`EngineError::Plugin`] when it does not load.
    pub async fn load(
        &self,
        deployment: &Deployment,
        name: &PluginName,
        kind: Kind,
        bytes: Vec<u8>,
    ) -> Result<Plugin, EngineError> {
        let source = deployment.plugins.get(name);
        let grants = source.map_or_else(|| Ok(Grants::default()), |source| Grants::parse(&source.grants));
        let grants = grants.map_err(|problems| EngineError::Plugin {
            name: name.to_string(),
            code: "plugin/bad-grant".to_owned(),
            message: problems.into_iter().map(|p| p.message).collect::<Vec<_>>().join("; "),
            next: "use the version of basb-host that made the run".to_owned(),
        })?;
        let credentials = source.map(|source| source.credentials.clone()).unwrap_or_default();
        let request = LoadRequest { name: name.clone(), kind, grants, credentials };
        self.runtime.load(bytes, request).await.map_err(|e| EngineError::Plugin {
            name: name.to_string(),
            code: e.code().to_owned(),
            message: e.to_string(),
            next: "nothing was called".to_owned(),
        })
    }

    /// The plugin of a run with this digest, loaded once.
    pub async fn plugin(
        &mut self,
        deployment: &Deployment,
        name: &PluginName,
        digest: &Digest,
    ) -> Result<Plugin, String> {
        let key = (name.clone(), digest.clone());
        if let Some(known) = self.loaded.get(&key) {
            return known.clone();
        }
        let kind = plugins::used(deployment).into_iter().find(|(used, _)| *used == name).map(|(_, kind)| kind);
        let loaded = match (kind, self.kept.find(name.as_str(), digest)) {
            (None, _) => Err(format!("the deployment does not use a plugin `{name}`")),
            (_, Err(e)) => Err(format!("{e}; {}", e.next_step())),
            (Some(kind), Ok(bytes)) => self.load(deployment, name, kind, bytes).await.map_err(|e| e.to_string()),
        };
        self.loaded.insert(key, loaded.clone());
        loaded
    }
}

/// Makes a call again over its tape. None when it is the same call.
pub async fn play(plugin: &Plugin, tape: &Tape, compare: Matching) -> Option<Divergence> {
    let matching = match (compare, tape.replay) {
        (Matching::Exact, Replay::BestEffort) => Matching::BestEffort,
        (compare, _) => compare,
    };
    let taping = Taping::Play { exchanges: tape.exchanges.clone(), matching };
    let options = CallOptions::new(PLAYED).taped(Some(taping));
    let end = tape.exchanges.len() as u64 + 1;
    let other = |class, expected: Option<String>, actual: Option<String>| {
        Some(Divergence { class, exchange: end, expected, actual })
    };
    let played = match plugin.replay(&tape.function, &tape.args, &options).await {
        Ok(played) => played,
        Err(e) => {
            let divergence = Divergence {
                class: Class::OtherArguments,
                exchange: 0,
                expected: Some(format!("{}{}", tape.function, tape.args)),
                actual: Some(e.to_string()),
            };
            return Some(divergence);
        }
    };
    // A call that was cut off by its deadline, or that nobody waited for, ends where its tape does: what it would have
    // asked for or come to after that is not known.
    let ended_early = matches!(tape.outcome.as_str(), "plugin/timed-out" | "call/dropped" | "tape/not-durable");
    let outcome = played.outcome();
    let replayed = played.tape;
    if let Some(divergence) = replayed.divergence {
        let beyond = ended_early && divergence.expected.is_none() && divergence.exchange == end;
        return if beyond { None } else { Some(divergence) };
    }
    if replayed.cut_off || ended_early {
        return None;
    }
    // What was left out is decided by the text as the plugin gave it, as when it was recorded.
    let same = |text: &Option<String>| text.as_deref().map(|text| basb_tape::normal(&basb_tape::kept(text)));
    let result = same(&replayed.result);
    if outcome != tape.outcome {
        let shown = |code: &str, result: &Option<String>| match result {
            Some(result) => Some(result.clone()),
            None => Some(format!("failure {code}")),
        };
        return other(Class::OtherResult, shown(&tape.outcome, &tape.result), shown(outcome, &result));
    }
    if result != same(&tape.result) {
        return other(Class::OtherResult, tape.result.clone(), result);
    }
    None
}

/// Asks a strategy again. Its tape is the intent, which holds all that it may know, and the outcome.
pub async fn decide(
    plugin: &Plugin,
    start: &RunStart,
    service: &ServiceName,
    order: &Order,
    outcome: &Outcome,
) -> Option<Divergence> {
    let Effect::NextStep { view, state } = &order.effect else { return None };
    let spec = start.deployment.services.get(service)?;
    let uses = start.deployment.strategies.get(&spec.strategy)?;
    let strategy = plugin.strategy().ok()?;
    let about = plugins::service_view(
        &start.deployment,
        service,
        spec,
        (&start.abilities, start.granularity.hundredths()),
        view.stable.is_none(),
    );
    let view = convert::rollout_view(about, (**view).clone());
    let called = strategy.next(&CallOptions::new(PURE), uses.config.to_string(), view, state.clone()).await;
    let now = match plugins::flat(called) {
        Ok(decision) => convert::decision(decision),
        Err(failure) => Outcome::Failed { failure },
    };
    // How long it may take is not a matter of what it decides.
    let timed_out = |o: &Outcome| matches!(o, Outcome::Failed { failure } if failure.code == "plugin/timed-out");
    if now == *outcome || timed_out(outcome) {
        return None;
    }
    let text = |outcome: &Outcome| serde_json::to_string(outcome).ok();
    Some(Divergence { class: Class::OtherResult, exchange: 1, expected: text(outcome), actual: text(&now) })
}
