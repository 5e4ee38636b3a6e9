//! What a deployment would change. The server itself says it: each request goes there as a dry run, and what would be there
//! is compared with what is.

use basb_cloud_kit::{Differences, Owner};
use basb_plugin::Failure;
use basb_plugin::provider::{ActionKind, Change, Desired, PlannedAction, ServicePlan};
use serde_json::Value;

use crate::api::{Force, Kind, Run};
use crate::cluster::{Cluster, Way};
use crate::compare::{Compared, Taken, compare, compare_users_route, compare_users_service, environment, shown};
use crate::deploy::{pods, with_replicas};
use crate::names;
use crate::template;
use crate::view::{Labels, Leads, Seen, View};

/// What `apply` and the first traffic would do.
///
/// # Errors
/// What Kubernetes says, and what cannot be made; [`basb_plugin::FailureCode::Conflict`] where a release would take away what a
/// route leads users to that nothing changes any more.
pub fn plan(cluster: &Cluster<'_>, desired: &Desired) -> Result<ServicePlan, Failure> {
    let wanted = template::deployment(cluster, desired, desired.replicas)?;
    // A label that users' Service lacks comes back with the next traffic: that is a change.
    let view = cluster.view(Labels::MayLack)?;
    if let Way::Routes(_) = view.way {
        cluster.require_conditions()?;
    }
    cluster.require_no_orphan(&view, &desired.revision)?;
    let mut actions = Vec::new();
    match view.revision(&desired.revision) {
        Some(seen) if seen.deployment.is_going() => {
            return Err(Failure::conflict(format!(
                "revision {} is being removed: {} are left; wait until they are gone, then try again",
                desired.revision,
                pods(seen.deployment.present())
            ))
            .retry_after(std::time::Duration::from_secs(5)));
        }
        Some(seen) => revision_that_is_there(cluster, desired, wanted, seen, &mut actions)?,
        None => new_revision(cluster, desired, &wanted, &view, &mut actions)?,
    }
    users(cluster, &view, &mut actions)?;
    Ok(ServicePlan { observed: view.observed(cluster)?, actions })
}

fn action(kind: ActionKind, summary: String, changes: Vec<Change>) -> PlannedAction {
    PlannedAction { kind, summary, changes, irreversible: None }
}

fn new_revision(
    cluster: &Cluster<'_>,
    desired: &Desired,
    wanted: &Value,
    view: &View,
    actions: &mut Vec<PlannedAction>,
) -> Result<(), Failure> {
    let revision = &desired.revision;
    let name = names::of_revision(&desired.service, revision);
    // A name that is another's is told before the server is asked what would become of it.
    cluster.deployment(revision)?;
    let service = cluster.require_own_service(revision)?;
    cluster.api.apply(Kind::Deployment, &name, wanted, cluster.writer(), Run::Dry)?;
    let mut differences = Differences::new();
    let empty = Value::Null;
    differences.json("deployment", Some(&empty), &shown(wanted));
    differences.environment("deployment.env", &[], &environment(wanted));
    actions.push(action(
        ActionKind::Create,
        format!("revision {revision} as the Deployment {name} with {}", pods(desired.replicas)),
        differences.into_changes(),
    ));
    let body = template::revision_service(cluster, revision);
    let result = cluster.api.apply(Kind::Service, &name, &body, cluster.writer(), Run::Dry)?;
    if service.is_none() {
        let mut differences = Differences::new();
        differences.json("service", None, body.get("spec").unwrap_or(&empty));
        let summary = format!("the Service {} that leads to revision {revision} alone", result.metadata.name);
        actions.push(action(ActionKind::Create, summary, differences.into_changes()));
    }
    if let Way::Routes(version) = view.way {
        let kind = Kind::Route(version);
        let there =
            names::ours(kind.word(), cluster.api.get(kind, &name)?, &Owner::of_revision(cluster.service, revision))?;
        let body = cluster.revision_route(version, revision);
        cluster.api.apply(kind, &name, &body, cluster.writer(), Run::Dry)?;
        if there.is_none() {
            let mut differences = Differences::new();
            differences.json("route", None, body.get("spec").unwrap_or(&empty));
            let summary = format!("the HTTPRoute {name} that leads to revision {revision} alone");
            actions.push(action(ActionKind::Create, summary, differences.into_changes()));
        }
    }
    Ok(())
}

fn revision_that_is_there(
    cluster: &Cluster<'_>,
    desired: &Desired,
    wanted: Value,
    seen: &Seen,
    actions: &mut Vec<PlannedAction>,
) -> Result<(), Failure> {
    let revision = &desired.revision;
    let name = names::of_revision(&desired.service, revision);
    let now = seen.deployment.replicas();
    let compared = compare(cluster, Kind::Deployment, Some(&seen.deployment), &name, &with_replicas(wanted, now))?;
    if let Some(Compared { changes, taken }) = compared {
        let replaces = changes.iter().any(|change| change.path.contains("template"));
        let summary = if replaces {
            format!("every pod of revision {revision}: what it runs differs")
        } else {
            format!("the Deployment {name}")
        };
        actions.push(of_comparison(
            if replaces { ActionKind::Replace } else { ActionKind::Update },
            summary,
            changes,
            taken,
        ));
    }
    let mut size = Differences::new();
    size.value("deployment.replicas", Some(now.to_string()), Some(desired.replicas.to_string()));
    if !size.is_empty() {
        let summary = format!("scale revision {revision} to {}", pods(desired.replicas));
        actions.push(action(ActionKind::Update, summary, size.into_changes()));
    }
    let there = cluster.require_own_service(revision)?;
    let body = template::revision_service(cluster, revision);
    let compared = compare(cluster, Kind::Service, there.as_ref(), &name, &body)?;
    if let Some(Compared { changes, taken }) = compared {
        let kind = if there.is_some() { ActionKind::Update } else { ActionKind::Create };
        actions.push(of_comparison(kind, format!("the Service {name}"), changes, taken));
    }
    if let Way::Routes(version) = cluster.way()? {
        let kind = Kind::Route(version);
        let there =
            names::ours(kind.word(), cluster.api.get(kind, &name)?, &Owner::of_revision(cluster.service, revision))?;
        let body = cluster.revision_route(version, revision);
        if let Some(Compared { changes, taken }) = compare(cluster, kind, there.as_ref(), &name, &body)? {
            let kind = if there.is_some() { ActionKind::Update } else { ActionKind::Create };
            actions.push(of_comparison(kind, format!("the HTTPRoute {name}"), changes, taken));
        }
    }
    Ok(())
}

fn users(cluster: &Cluster<'_>, view: &View, actions: &mut Vec<PlannedAction>) -> Result<(), Failure> {
    let service = &cluster.service.service;
    let about = view.way.words();
    match view.way {
        Way::Routes(version) => {
            if let Some(name) = &cluster.written.route {
                // Of a route of others only the weights are ours, and they are traffic.
                if !view.adopted.is_empty() {
                    actions.push(takes_over("HTTPRoute", name, view));
                }
            } else if let Some(route) = &view.route {
                if let Some(Compared { changes, taken }) = compare_users_route(cluster, version, route)? {
                    let summary = format!("the HTTPRoute {} that leads users to {service}", route.metadata.name);
                    actions.push(of_comparison(ActionKind::Update, summary, changes, taken));
                }
            } else {
                let mut differences = Differences::new();
                let body = cluster.users_route(version, &[]);
                cluster.api.apply(Kind::Route(version), &cluster.route_name(), &body, cluster.writer(), Run::Dry)?;
                differences.json("route", None, body.pointer("/spec").unwrap_or(&Value::Null));
                let summary = format!("the HTTPRoute that leads users to {service}, with the first traffic, {about}");
                actions.push(action(ActionKind::Create, summary, differences.into_changes()));
            }
        }
        Way::Pods(_) => {
            if let Some(name) = cluster.written.service.as_ref().filter(|_| !view.adopted.is_empty()) {
                actions.push(takes_over("Service", name, view));
            }
        }
    }
    match &view.front {
        None => {
            let name = cluster.front_name();
            let mut differences = Differences::new();
            differences.value("service.port", None, Some(cluster.config.service_port.to_string()));
            let how = if matches!(view.way, Way::Pods(_)) { format!(", {about}") } else { String::new() };
            let summary = format!("the Service {name} that leads users to {service}, with the first traffic{how}");
            actions.push(action(ActionKind::Create, summary, differences.into_changes()));
        }
        Some(front) if cluster.leads_to(front) == Leads::Elsewhere && view.adopted.is_empty() => {
            let mut differences = Differences::new();
            let selector = |pairs: Vec<(String, String)>| {
                let each: Vec<String> = pairs.into_iter().map(|(key, value)| format!("{key}={value}")).collect();
                each.join(",")
            };
            let ours = names::selector(cluster.service, None).into_iter().collect();
            differences.value(
                "service.selector",
                Some(selector(front.selector().into_iter().collect())),
                Some(selector(ours)),
            );
            let mut found = action(
                ActionKind::Replace,
                format!("where the Service {} leads, with the next traffic", front.metadata.name),
                differences.into_changes(),
            );
            found.irreversible = Some("where it leads now is not kept anywhere".to_owned());
            actions.push(found);
        }
        // Of a Service of others only where it leads is ours, and that is traffic.
        Some(front) if cluster.written.service.is_none() && cluster.leads_to(front) != Leads::Elsewhere => {
            if let Some(Compared { changes, taken }) = compare_users_service(cluster, front)? {
                let name = &front.metadata.name;
                let summary = format!("the Service {name} that leads users to {service}, with the next traffic");
                actions.push(of_comparison(ActionKind::Update, summary, changes, taken));
            }
        }
        Some(_) => {}
    }
    Ok(())
}

fn takes_over(kind: &str, name: &str, view: &View) -> PlannedAction {
    let whose: Vec<&str> = view.adopted.iter().map(|one| one.deployment.metadata.name.as_str()).collect();
    action(
        ActionKind::Replace,
        format!("where the {kind} {name} leads, with the first traffic: now to {}", whose.join(", ")),
        Vec::new(),
    )
}

fn of_comparison(kind: ActionKind, summary: String, changes: Vec<Change>, taken: Option<Taken>) -> PlannedAction {
    let mut found = action(kind, summary, changes);
    match taken {
        Some(Taken { said, force: Force::No }) => {
            found.summary = format!("{}; will be refused: {said}", found.summary);
        }
        Some(Taken { said, force: Force::Yes }) => {
            found.irreversible = Some(format!("what the other manager has set is not kept anywhere: {said}"));
        }
        None => {}
    }
    found
}
