//! A provider for the small cloud of the conformance tests (`host/authoring/templates/provider/cloud.yaml`): pages, etags, idempotency
//! tokens, operations that take their time, and several things for one revision. Without a bug it certifies; with one of
//! them, each of which was made in the field, it must not.

mod cloud;

use basb_plugin::provider::{
    Action, ActionKind, Desired, Info, Instance, InstanceReport, Observed, ObservedRevision, PlannedAction, Progress,
    Provider, ProviderContext, Scaling, ServicePlan,
};
use basb_plugin::{Failure, FailureCode, ServiceRef, Weight};
use cloud::{Cloud, Operation};
use serde::{Deserialize, Serialize};
use serde_json::json;
use std::collections::BTreeMap;
use std::time::Duration;

/// The provider.
#[derive(Debug)]
pub struct CloudProvider;

/// Its configuration.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct Config {
    /// Where the cloud is.
    pub endpoint: String,
    /// What it does wrong.
    pub bug: Option<Bug>,
}

impl Default for Config {
    fn default() -> Config {
        Config { endpoint: "https://cloud.example".to_owned(), bug: None }
    }
}

/// What it does wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Bug {
    /// Sends a request once more whose effect is in doubt, without a token.
    NaiveRetry,
    /// Reads the first page only.
    MissingPage,
    /// Writes over what somebody else wrote.
    IgnoredEtag,
    /// Begins anew when an operation cannot be looked at.
    LostOperation,
    /// Takes a failed request for a success.
    SwallowedError,
    /// Tries again what is refused for good.
    RetriesForEver,
    /// Comes back before it may.
    IgnoresRetryAfter,
    /// Says that instances are available before they are.
    ReadyTooEarly,
    /// Takes an operation that is not shown yet for one that is lost.
    BelievesAStaleRead,
    /// Leaves a part of a revision behind and says nothing.
    PartialRetire,
    /// Makes its token of the time instead of the host's key.
    KeyIgnored,
    /// Takes a list that it cannot read for an empty one.
    UnreadableIsEmpty,
    /// Gives up at an error of the server.
    GivesUp,
    /// Takes a service that it cannot read for one that is not there.
    SwallowedRead,
    /// Asks for the health of the instances by itself, and takes it for good where it cannot be had.
    AssumesReady,
    /// Tries again at once, and again, and again.
    Hammers,
}

/// What a call that goes on is about.
#[derive(Debug, Serialize, Deserialize)]
struct State {
    operation: String,
}

/// Stands for an operation where nothing but a second look is waited for.
const LOOK_AGAIN: &str = "look-again";

const POLL: Duration = Duration::from_secs(1);

impl Provider for CloudProvider {
    type Config = Config;

    fn describe() -> Info {
        Info {
            abilities: vec!["split-traffic".into(), "optimistic-lock".into()],
            weight_granularity: Weight::from_hundredths(100),
            extras: Vec::new(),
        }
    }

    fn plan(cx: &ProviderContext, config: &Config, desired: &Desired) -> Result<ServicePlan, Failure> {
        let cloud = Cloud::new(cx, config);
        let observed = observed(&cloud, &desired.service.service)?;
        let there = observed.as_ref().and_then(|o| o.revisions.iter().find(|r| r.id == desired.revision));
        let action = |kind, summary: String| PlannedAction { kind, summary, changes: Vec::new(), irreversible: None };
        let actions = match there {
            Some(revision) if revision.desired == desired.replicas => Vec::new(),
            Some(_) => vec![action(ActionKind::Update, format!("scale {}", desired.revision))],
            None => vec![action(ActionKind::Create, format!("make {}", desired.revision))],
        };
        Ok(ServicePlan { observed, actions })
    }

    fn apply(
        cx: &ProviderContext,
        config: &Config,
        key: &str,
        action: &Action,
        state: Option<&str>,
    ) -> Result<Progress, Failure> {
        let cloud = Cloud::new(cx, config);
        match action {
            Action::Deploy(desired) => deploy(&cloud, key, desired, state),
            Action::Scale(scaling) => scale(&cloud, scaling),
        }
    }

    fn read(cx: &ProviderContext, config: &Config, service: &ServiceRef) -> Result<Option<Observed>, Failure> {
        match observed(&Cloud::new(cx, config), &service.service) {
            Err(failure) if config.bug == Some(Bug::SwallowedRead) && failure.code != FailureCode::Denied => Ok(None),
            seen => seen,
        }
    }

    fn traffic(
        cx: &ProviderContext,
        config: &Config,
        _key: &str,
        service: &ServiceRef,
        weights: &[(String, Weight)],
        _state: Option<&str>,
    ) -> Result<Progress, Failure> {
        let cloud = Cloud::new(cx, config);
        let seen = cloud
            .service(&service.service)?
            .ok_or_else(|| Failure::not_found("there is no such service").retry_after(POLL))?;
        let wanted: BTreeMap<&str, u16> =
            weights.iter().map(|(id, weight)| (id.as_str(), weight.hundredths())).collect();
        let mut patch: BTreeMap<&str, Option<u16>> = seen.traffic.keys().map(|id| (id.as_str(), None)).collect();
        patch.extend(wanted.into_iter().map(|(id, weight)| (id, Some(weight))));
        cloud.patch_service(&service.service, &seen, json!({ "traffic": patch }))?;
        Ok(Progress::done("traffic is set"))
    }

    fn instances(
        cx: &ProviderContext,
        config: &Config,
        service: &ServiceRef,
        revision: &str,
    ) -> Result<InstanceReport, Failure> {
        let cloud = Cloud::new(cx, config);
        let found = cloud
            .revision(&service.service, revision)?
            .ok_or_else(|| Failure::not_found(format!("there is no revision {revision}")).retry_after(POLL))?;
        let ready = match config.bug {
            Some(Bug::ReadyTooEarly) => found.replicas,
            Some(Bug::AssumesReady) => match cloud.revision(&service.service, revision) {
                Ok(again) => again.map_or(0, |again| again.ready),
                Err(_) => found.replicas,
            },
            _ => found.ready,
        };
        let instance = |number: u32| Instance {
            id: number.to_string(),
            state: if number < ready { "running" } else { "starting" }.to_owned(),
            available: number < ready,
            restarts: 0,
            message: None,
        };
        Ok(InstanceReport {
            desired: found.replicas,
            available: ready,
            hopeless: false,
            instances: (0..found.replicas).map(instance).collect(),
            preview_url: None,
        })
    }

    fn retire(
        cx: &ProviderContext,
        config: &Config,
        _key: &str,
        service: &ServiceRef,
        revision: &str,
        state: Option<&str>,
    ) -> Result<Progress, Failure> {
        let cloud = Cloud::new(cx, config);
        let service = &service.service;
        if let Some(operation) = going_on(&cloud, state)?
            && !operation.done
        {
            return waiting(&operation.name, "the revision goes");
        }
        // Whatever an operation said: what is there decides. One look that does not show it may have been an old one.
        match cloud.revision(service, revision)? {
            Some(there) => {
                cloud.delete_route(revision)?;
                if let Some(operation) = cloud.delete_revision(service, &there.id)? {
                    return waiting(&operation.name, "the revision goes");
                }
            }
            None if state.is_none() && cloud.bug != Some(Bug::BelievesAStaleRead) => {
                return waiting(LOOK_AGAIN, "the revision is not shown: once more, to be sure");
            }
            None => {}
        }
        cloud.delete_route(revision)?;
        if let Some(seen) = cloud.service(service)?
            && seen.members.iter().any(|member| member == revision)
        {
            let members: Vec<&String> = seen.members.iter().filter(|member| *member != revision).collect();
            cloud.patch_service(service, &seen, json!({ "members": members }))?;
        }
        Ok(Progress::done(format!("{revision} is gone")))
    }

    fn cancel(_cx: &ProviderContext, _config: &Config, _key: &str, _state: &str) -> Result<Progress, Failure> {
        Ok(Progress::done("operations of this cloud cannot be stopped: retire what they make"))
    }
}

/// Service, membership, revision, route: each is looked for before it is made, so that a call that is made again goes on
/// where the last one ended.
fn deploy(cloud: &Cloud<'_>, key: &str, desired: &Desired, state: Option<&str>) -> Result<Progress, Failure> {
    let (service, label) = (&desired.service.service, &desired.revision);
    let body = json!({
        "label": label, "replicas": desired.replicas,
        "release": desired.workload.env.iter().find(|(name, _)| name == "RELEASE").map(|(_, value)| value),
    });
    match going_on(cloud, state) {
        Ok(Some(operation)) if !operation.done => return waiting(&operation.name, "the revision is made"),
        Err(_) if cloud.bug == Some(Bug::LostOperation) => {
            let operation = cloud.make_revision(service, &format!("{key}/{}", cloud.cx.now().as_millis()), &body)?;
            return waiting(&operation.name, "the revision is made once more");
        }
        other => drop(other?),
    }
    let seen = match cloud.service(service)? {
        Some(seen) => seen,
        None => {
            cloud.make_service(service)?;
            cloud.service(service)?.ok_or_else(|| Failure::unavailable("the service is not shown yet"))?
        }
    };
    if !seen.members.contains(label) {
        let members: Vec<&String> = seen.members.iter().chain([label]).collect();
        cloud.patch_service(service, &seen, json!({ "members": members }))?;
    }
    match cloud.revision(service, label)? {
        None => {
            let operation = cloud.make_revision(service, key, &body)?;
            return waiting(&operation.name, "the revision is made");
        }
        Some(there) if there.replicas != desired.replicas => {
            cloud.set_replicas(service, &there.id, desired.replicas)?
        }
        Some(_) => {}
    }
    cloud.put_route(label)?;
    Ok(Progress::done(format!("{label} is made")))
}

fn scale(cloud: &Cloud<'_>, scaling: &Scaling) -> Result<Progress, Failure> {
    let service = &scaling.service.service;
    let there = cloud
        .revision(service, &scaling.revision)?
        .ok_or_else(|| Failure::not_found(format!("there is no revision {}", scaling.revision)).retry_after(POLL))?;
    cloud.set_replicas(service, &there.id, scaling.replicas)?;
    Ok(Progress::done("scaled"))
}

/// The operation that is waited for. One that is not shown is shown later, or was forgotten once it was over.
fn going_on(cloud: &Cloud<'_>, state: Option<&str>) -> Result<Option<Operation>, Failure> {
    let Some(state) = state else { return Ok(None) };
    let known: State = serde_json::from_str(state).map_err(|error| Failure::invalid(error.to_string()))?;
    if known.operation == LOOK_AGAIN {
        return Ok(None);
    }
    let found = cloud.operation(&known.operation)?;
    if found.is_none() && cloud.bug == Some(Bug::BelievesAStaleRead) {
        return Err(Failure::not_found(format!("the operation {} is lost", known.operation)));
    }
    Ok(found)
}

fn waiting(operation: &str, note: &str) -> Result<Progress, Failure> {
    let state = State { operation: operation.to_owned() };
    let text = serde_json::to_string(&state).map_err(|error| Failure::other(error.to_string()))?;
    Ok(Progress::running(text, POLL, note))
}

fn observed(cloud: &Cloud<'_>, name: &str) -> Result<Option<Observed>, Failure> {
    let Some(service) = cloud.service(name)? else { return Ok(None) };
    let revisions = cloud.revisions(name)?.into_iter().map(|revision| ObservedRevision {
        weight: Weight::from_hundredths(service.traffic.get(&revision.label).copied().unwrap_or_default()),
        id: revision.label,
        desired: revision.replicas,
        available: revision.ready,
        preview_url: None,
        workload_digest: None,
        extras: Vec::new(),
    });
    Ok(Some(Observed {
        url: Some(service.url),
        revisions: revisions.collect(),
        version: Some(service.etag),
        extras: Vec::new(),
    }))
}

basb_plugin::export!(CloudProvider as provider);
