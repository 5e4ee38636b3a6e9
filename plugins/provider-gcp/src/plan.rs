//! What a deployment would change, from what Cloud Run has, and what Cloud Run itself thinks of it (`validateOnly`).

use basb_cloud_kit::Differences;
use basb_plugin::Failure;
use basb_plugin::provider::{ActionKind, Desired, PlannedAction, ServicePlan};
use serde_json::Value;

use crate::api::Run;
use crate::cloud::{Change, Cloud};
use crate::config::DryRun;
use crate::deploy::{Next, creation, making, next, own_fields, replicas};
use crate::template::Wanted;
use crate::view::{A_MOMENT, Seen, View};

/// A plan is no call with a key: where a revision failed, the name of the next one is told by the call that makes it.
const NO_KEY: &str = "";

/// What `apply` and the first traffic would do.
///
/// # Errors
/// What Cloud Run says, also of the change itself; what cannot be made.
pub fn plan(cloud: &Cloud<'_>, desired: &Desired) -> Result<ServicePlan, Failure> {
    let wanted = Wanted::of(cloud.config, desired)?;
    let Some(view) = cloud.our_view()? else {
        let body = creation(cloud, desired, &wanted, NO_KEY);
        if cloud.config.dry_run == DryRun::Server {
            cloud.api.create(&body, Run::Dry).map_err(|refused| match refused.code() {
                // What said that it is not there was of a moment ago.
                "ALREADY_EXISTS" => Failure::from(refused).retry_after(A_MOMENT),
                _ => refused.into(),
            })?;
        }
        return Ok(ServicePlan { observed: None, actions: vec![create(cloud, desired, &wanted, &body)] });
    };
    let mut actions = Vec::new();
    service_fields(cloud, &view, &mut actions);
    if view.follows_latest() {
        actions.push(pinning(&view));
    }
    match next(cloud, &view, desired, &wanted, NO_KEY) {
        Next::Make { name } => {
            let change = making(cloud, &view, desired, &wanted, (&name, NO_KEY));
            if cloud.config.dry_run == DryRun::Server {
                cloud.send(&view, &change, Run::Dry).map_err(Failure::from)?;
            }
            actions.push(make(&view, desired, &wanted, &name));
        }
        Next::Failed(seen, why) => actions.push(PlannedAction {
            kind: ActionKind::Replace,
            summary: format!("the Cloud Run revision {}, which did not come up: {why}", seen.name),
            changes: Vec::new(),
            irreversible: None,
        }),
        Next::Wait(seen, _) | Next::Place(seen) => place(cloud, &view, desired, seen, &mut actions),
    }
    Ok(ServicePlan { observed: view.observed(), actions })
}

fn create(cloud: &Cloud<'_>, desired: &Desired, wanted: &Wanted, body: &Value) -> PlannedAction {
    let mut differences = Differences::new();
    for field in ["labels", "ingress", "invokerIamDisabled"] {
        if let Some(value) = body.get(field) {
            differences.json(&format!("service.{field}"), None, value);
        }
    }
    let mut changes = differences.into_changes();
    changes.extend(wanted.differences(None).into_changes());
    PlannedAction {
        kind: ActionKind::Create,
        summary: format!(
            "the Cloud Run service {} with revision {}, which has all of its traffic as soon as it is ready",
            cloud.place.name, desired.revision
        ),
        changes,
        irreversible: None,
    }
}

fn make(view: &View<'_>, desired: &Desired, wanted: &Wanted, name: &str) -> PlannedAction {
    let before = view.live(&desired.revision).filter(|seen| view.all(&desired.revision).any(|of| of.name == seen.name));
    let content = |seen: &Seen| Value::Object(seen.revision.content.clone());
    match before {
        Some(seen) => PlannedAction {
            kind: ActionKind::Replace,
            summary: format!(
                "every instance of revision {}: its configuration differs, so the Cloud Run revision {name} takes the \
                 place of {}",
                desired.revision, seen.name
            ),
            changes: wanted.differences(Some(&content(seen))).into_changes(),
            irreversible: None,
        },
        None => PlannedAction {
            kind: ActionKind::Create,
            summary: format!("revision {} as the Cloud Run revision {name}", desired.revision),
            changes: wanted.differences(Some(&view.service.template)).into_changes(),
            irreversible: None,
        },
    }
}

/// What is left to do for a revision that is there.
fn place(cloud: &Cloud<'_>, view: &View<'_>, desired: &Desired, seen: &Seen, actions: &mut Vec<PlannedAction>) {
    if view.preview_url(&desired.revision, &seen.name).is_none() {
        actions.push(PlannedAction {
            kind: ActionKind::Update,
            summary: format!(
                "the Cloud Run revision {} is there; it gets a tag in the service {}",
                seen.name, cloud.place.name
            ),
            changes: Vec::new(),
            irreversible: None,
        });
    }
    let before = view.replicas().get(&desired.revision).copied();
    let sizes = replicas(view, |all| {
        all.insert(desired.revision.clone(), desired.replicas);
    });
    if sizes.is_some() && before != Some(desired.replicas) {
        let mut differences = Differences::new();
        let before = before.map(|count| count.to_string());
        differences.value("service.replicas", before, Some(desired.replicas.to_string()));
        actions.push(PlannedAction {
            kind: ActionKind::Update,
            summary: format!(
                "{} of revision {} wanted; Cloud Run runs as many instances as requests need",
                desired.replicas, desired.revision
            ),
            changes: differences.into_changes(),
            irreversible: None,
        });
    }
}

fn service_fields(cloud: &Cloud<'_>, view: &View<'_>, actions: &mut Vec<PlannedAction>) {
    let mut change = Change::default();
    own_fields(cloud, Some(view), &mut change);
    let mut differences = Differences::new();
    let owner = basb_cloud_kit::Owner::of_service(cloud.service);
    let wanted = cloud.config.labels(&owner);
    for (key, value) in view.surplus_labels(&wanted) {
        differences.value(&format!("service.labels.{key}"), Some(value), None);
    }
    for (key, value) in wanted {
        differences.value(&format!("service.labels.{key}"), view.service.labels.get(&key).cloned(), Some(value));
    }
    let ingress = change.body.get("ingress").and_then(Value::as_str).map(str::to_owned);
    if ingress.is_some() {
        differences.value("service.ingress", view.service.ingress.clone(), ingress);
    }
    if let Some(public) = change.body.get("invokerIamDisabled") {
        let before = view.service.invoker_iam_disabled.to_string();
        differences.value("service.invokerIamDisabled", Some(before), Some(public.to_string()));
    }
    if !differences.is_empty() {
        actions.push(PlannedAction {
            kind: ActionKind::Update,
            summary: format!("the Cloud Run service {}", cloud.place.name),
            changes: differences.into_changes(),
            irreversible: None,
        });
    }
}

fn pinning(view: &View<'_>) -> PlannedAction {
    let mut differences = Differences::new();
    for target in view.targets().iter().filter(|target| target.percent > 0) {
        let path = format!("service.traffic.{}", target.revision);
        differences.value(&path, Some("whatever is the latest revision".into()), Some(format!("{} %", target.percent)));
    }
    PlannedAction {
        kind: ActionKind::Update,
        summary: "the traffic stays at the revisions that have it now, and follows the latest one no more".into(),
        changes: differences.into_changes(),
        irreversible: Some("that traffic followed the latest revision is not kept anywhere".into()),
    }
}
