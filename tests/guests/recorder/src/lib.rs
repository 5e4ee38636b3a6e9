//! A provider for the recording cloud of the crash tests.
//!
//! It behaves as providers of real clouds do: several requests in one call, some with an idempotency key (what makes
//! something new) and some without (what sets a whole), and operations that go on at the cloud and are polled, with the
//! operation's number in the state.
//!
//! **Must never** tell two attempts of one call apart, or change anything in `plan`, `read` or `instances`.

mod api;

use api::{Cloud, Operation, ServiceView};
use basb_plugin::config::HumanDuration;
use basb_plugin::provider::{
    Action, ActionKind, Desired, Info, Instance, InstanceReport, Observed, ObservedRevision, PlannedAction, Progress,
    Provider, ProviderContext, Scaling, ServicePlan,
};
use basb_plugin::{Failure, ServiceRef, Weight};
use serde::{Deserialize, Serialize};
use std::time::Duration;

/// The provider.
#[derive(Debug)]
pub struct Recorder;

/// Its configuration.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Config {
    /// Where the cloud is, with the account in its path.
    pub endpoint: String,
    /// The time between two looks at an operation.
    #[serde(default = "five_millis")]
    pub poll: HumanDuration,
    /// So many papers are filed before a revision is made: each is a request of its own, and names the ticket that the
    /// one before it was answered with.
    #[serde(default)]
    pub papers: u32,
}

fn five_millis() -> HumanDuration {
    HumanDuration(Duration::from_millis(5))
}

/// What a call that goes on is about.
#[derive(Debug, Serialize, Deserialize)]
struct State {
    /// The operation at the cloud.
    operation: u64,
    /// The service.
    service: String,
    /// What is put on record at the cloud once the operation is done.
    tag: Option<String>,
}

impl Provider for Recorder {
    type Config = Config;

    fn describe() -> Info {
        Info {
            abilities: vec!["split-traffic".into(), "preview-url".into()],
            weight_granularity: Weight::from_hundredths(1),
            extras: Vec::new(),
        }
    }

    fn plan(cx: &ProviderContext, config: &Config, desired: &Desired) -> Result<ServicePlan, Failure> {
        let there = Cloud::new(cx, config).service(&desired.service.service)?;
        let revision = there.as_ref().and_then(|s| s.revision(&desired.revision));
        let action = |kind, summary: String| PlannedAction { kind, summary, changes: Vec::new(), irreversible: None };
        let actions = match revision {
            Some(revision) if revision.desired == desired.replicas => Vec::new(),
            Some(_) => vec![action(ActionKind::Update, format!("scale {}", desired.revision))],
            None => vec![action(ActionKind::Create, format!("make {}", desired.revision))],
        };
        Ok(ServicePlan { observed: there.map(observed), actions })
    }

    fn apply(
        cx: &ProviderContext,
        config: &Config,
        key: &str,
        action: &Action,
        state: Option<&str>,
    ) -> Result<Progress, Failure> {
        let cloud = Cloud::new(cx, config);
        match (state, action) {
            (Some(state), _) => go_on(&cloud, config, key, state),
            (None, Action::Deploy(desired)) => deploy(&cloud, config, key, desired),
            (None, Action::Scale(scaling)) => scale(&cloud, config, scaling),
        }
    }

    fn read(cx: &ProviderContext, config: &Config, service: &ServiceRef) -> Result<Option<Observed>, Failure> {
        Ok(Cloud::new(cx, config).service(&service.service)?.map(observed))
    }

    fn traffic(
        cx: &ProviderContext,
        config: &Config,
        key: &str,
        service: &ServiceRef,
        weights: &[(String, Weight)],
        state: Option<&str>,
    ) -> Result<Progress, Failure> {
        let cloud = Cloud::new(cx, config);
        match state {
            Some(state) => go_on(&cloud, config, key, state),
            None => begun(config, &service.service, cloud.set_traffic(&service.service, weights)?, None),
        }
    }

    fn instances(
        cx: &ProviderContext,
        config: &Config,
        service: &ServiceRef,
        revision: &str,
    ) -> Result<InstanceReport, Failure> {
        let there = Cloud::new(cx, config).service(&service.service)?;
        let found = there
            .as_ref()
            .and_then(|s| s.revision(revision))
            .ok_or_else(|| Failure::not_found(format!("there is no revision `{revision}`")))?;
        let instances = (0..found.desired).map(|number| Instance {
            id: number.to_string(),
            state: if number < found.available { "running" } else { "starting" }.to_owned(),
            available: number < found.available,
            restarts: 0,
            message: None,
        });
        Ok(InstanceReport {
            desired: found.desired,
            available: found.available,
            hopeless: false,
            instances: instances.collect(),
            preview_url: Some(found.preview_url.clone()),
        })
    }

    fn retire(
        cx: &ProviderContext,
        config: &Config,
        key: &str,
        service: &ServiceRef,
        revision: &str,
        state: Option<&str>,
    ) -> Result<Progress, Failure> {
        let cloud = Cloud::new(cx, config);
        match state {
            Some(state) => go_on(&cloud, config, key, state),
            None => match cloud.delete_revision(&service.service, revision)? {
                Some(operation) => {
                    begun(config, &service.service, Some(operation), Some(format!("retired {revision}")))
                }
                None => Ok(Progress::done(format!("{revision} is gone"))),
            },
        }
    }

    fn cancel(_cx: &ProviderContext, _config: &Config, _key: &str, _state: &str) -> Result<Progress, Failure> {
        Ok(Progress::done("operations of this cloud cannot be stopped"))
    }
}

/// Makes service and revision, one request after the other; the revision takes a while.
fn deploy(cloud: &Cloud<'_>, config: &Config, key: &str, desired: &Desired) -> Result<Progress, Failure> {
    let service = &desired.service.service;
    let there = cloud.service(service)?;
    if there.is_none() {
        cloud.make_service(key, service)?;
    }
    let mut ticket = String::new();
    for number in 1..=config.papers {
        ticket = cloud.file_paper(key, service, number, &ticket)?;
    }
    let tag = Some(format!("deployed {}", desired.revision));
    let operation = match there.as_ref().and_then(|s| s.revision(&desired.revision)) {
        Some(revision) if revision.desired == desired.replicas => None,
        Some(_) => cloud.set_replicas(service, &desired.revision, desired.replicas)?,
        None => {
            let release = desired.workload.env.iter().find(|(name, _)| name == "RELEASE").map(|(_, value)| &**value);
            Some(cloud.make_revision(key, service, &desired.revision, desired.replicas, release.unwrap_or_default())?)
        }
    };
    match operation {
        Some(operation) => begun(config, service, Some(operation), tag),
        None => finish(cloud, key, service, tag.as_deref()),
    }
}

fn scale(cloud: &Cloud<'_>, config: &Config, scaling: &Scaling) -> Result<Progress, Failure> {
    let service = &scaling.service.service;
    begun(config, service, cloud.set_replicas(service, &scaling.revision, scaling.replicas)?, None)
}

/// What to say of an operation that was begun; nothing to wait for where there was nothing to change.
fn begun(
    config: &Config,
    service: &str,
    operation: Option<Operation>,
    tag: Option<String>,
) -> Result<Progress, Failure> {
    let Some(operation) = operation else { return Ok(Progress::done("nothing to change")) };
    let state = State { operation: operation.number, service: service.to_owned(), tag };
    let text = serde_json::to_string(&state).map_err(|error| Failure::other(error.to_string()))?;
    Ok(Progress::running(text, config.poll.0, format!("operation {} was begun", operation.number)))
}

/// Looks at an operation; what it was for is put on record once it is done.
fn go_on(cloud: &Cloud<'_>, config: &Config, key: &str, state: &str) -> Result<Progress, Failure> {
    let known: State =
        serde_json::from_str(state).map_err(|error| Failure::invalid(format!("the state cannot be read: {error}")))?;
    let operation = cloud.operation(known.operation)?;
    if !operation.done {
        return Ok(Progress::running(state, config.poll.0, format!("operation {} goes on", known.operation)));
    }
    finish(cloud, key, &known.service, known.tag.as_deref())
}

fn finish(cloud: &Cloud<'_>, key: &str, service: &str, tag: Option<&str>) -> Result<Progress, Failure> {
    if let Some(tag) = tag {
        cloud.put_on_record(key, service, tag)?;
    }
    Ok(Progress::done("done"))
}

fn observed(service: ServiceView) -> Observed {
    let revisions = service.revisions.into_iter().map(|revision| ObservedRevision {
        id: revision.id,
        desired: revision.desired,
        available: revision.available,
        weight: Weight::from_hundredths(revision.weight),
        preview_url: Some(revision.preview_url),
        workload_digest: None,
        extras: Vec::new(),
    });
    Observed { url: Some(service.url), revisions: revisions.collect(), version: None, extras: Vec::new() }
}

basb_plugin::export!(Recorder as provider);
