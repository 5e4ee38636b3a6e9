//! What a deployment would change, from what Azure has. Reads only.

use basb_cloud_kit::Differences;
use basb_plugin::Failure;
use basb_plugin::provider::{ActionKind, Desired, PlannedAction, ServicePlan};
use serde_json::Value;

use crate::apps::Apps;
use crate::deploy::pinned;
use crate::settings;
use crate::surplus::Users;
use crate::table::Table;
use crate::template::Wanted;
use crate::view::View;

/// What `apply` and the first traffic would do.
///
/// # Errors
/// What Azure says, and what cannot be made.
pub fn plan(apps: &Apps<'_>, desired: &Desired) -> Result<ServicePlan, Failure> {
    let wanted = Wanted::of(apps.config, &apps.name, desired)?;
    let mut actions = Vec::new();
    let Some(view) = apps.view()? else {
        let mut app = Differences::new();
        app.json("app", None, &without_template(settings::create(apps, &Value::Null)));
        app.json("app.ingress", None, &settings::ingress(apps));
        actions.push(action(ActionKind::Create, format!("the container app {}", apps.name), app));
        actions.push(revision(apps, desired, &wanted));
        return Ok(ServicePlan { observed: None, actions });
    };
    settings::check(apps, &view)?;
    plan_pin(apps, &view, &mut actions);
    let users = Users::of(&view, &desired.revision, &wanted);
    let differences = settings::differences(apps, &view, &users)?;
    if !differences.is_empty() {
        let mut settings = action(
            ActionKind::Update,
            format!("the container app {}: what holds for all of its revisions at once", apps.name),
            differences,
        );
        settings.irreversible = Some(format!(
            "settings of the app {} take effect for the revision that serves too, and a rollback does not change them back",
            apps.name
        ));
        actions.push(settings);
    }
    plan_revision(apps, desired, &wanted, &view, &mut actions);
    say_staying(apps, &settings::staying(apps, &view, &users)?, &mut actions);
    Ok(ServicePlan { observed: view.observed(apps)?, actions })
}

/// What stays is no action: a run would carry it out for ever. It is said with the last one, and where there is none, in the
/// log.
fn say_staying(apps: &Apps<'_>, staying: &[String], actions: &mut [PlannedAction]) {
    if staying.is_empty() {
        return;
    }
    let said = format!(
        "{} stays with the app, although the configuration does not name it: what was ours goes with a later run, once no \
         other revision runs and nothing needs it",
        staying.join(", ")
    );
    match actions.last_mut() {
        Some(action) => action.summary = format!("{}; {said}", action.summary),
        None => apps.api.client().cx().log().warn(format!("the container app {}: {said}", apps.name)),
    }
}

/// Pinning the traffic of an app that others made.
fn plan_pin(apps: &Apps<'_>, view: &View, actions: &mut Vec<PlannedAction>) {
    if view.is_pinned() {
        return;
    }
    let mut differences = Differences::new();
    let there = view.app.properties.configuration.as_ref();
    if let Some(wanted) = pinned(apps, view).pointer("/properties/configuration") {
        differences.json("app.configuration", there, wanted);
    }
    let summary = format!("the traffic of {} is pinned to who has it now: {}", apps.name, Table::of(view).shown());
    let mut pin = action(ActionKind::Update, summary, differences);
    // Neither the mode nor the line that follows is written down: a rollback leads users back, by names.
    let mode = (!view.is_multiple()).then(|| format!("that {} was in the mode {}", apps.name, view.mode()));
    let follows = view.follows_latest().then(|| "that its traffic followed the latest revision".to_owned());
    let lost: Vec<String> = mode.into_iter().chain(follows).collect();
    pin.irreversible = Some(format!("{} is not kept anywhere", lost.join(", and ")));
    actions.push(pin);
}

fn plan_revision(apps: &Apps<'_>, desired: &Desired, wanted: &Wanted, view: &View, actions: &mut Vec<PlannedAction>) {
    if view.named(&wanted.name).is_some_and(|seen| seen.revision.is_active()) {
        return;
    }
    if view.named(&wanted.name).is_some() {
        let mut differences = Differences::new();
        differences.value("revision.active", Some("false".into()), Some("true".into()));
        let summary = format!("revision {} as {}, which is there and is activated", desired.revision, wanted.name);
        actions.push(action(ActionKind::Update, summary, differences));
    } else if let Some(current) = view.current(&desired.revision) {
        // Immutable: another size or content of the same revision is a new one that takes its place.
        let summary = format!(
            "every replica of revision {}: {} takes the place of {}, which cannot be changed",
            desired.revision,
            wanted.name,
            current.name()
        );
        actions.push(action(ActionKind::Replace, summary, wanted.differences(current.revision.template())));
    } else {
        actions.push(revision(apps, desired, wanted));
    }
}

fn revision(apps: &Apps<'_>, desired: &Desired, wanted: &Wanted) -> PlannedAction {
    let replicas = match desired.replicas {
        1 => "1 replica".to_owned(),
        number => format!("{number} replicas"),
    };
    let summary = format!(
        "revision {} as {} with {replicas} at the least, reached by the label {}",
        desired.revision, wanted.name, apps.config.label
    );
    action(ActionKind::Create, summary, wanted.differences(None))
}

fn action(kind: ActionKind, summary: String, differences: Differences) -> PlannedAction {
    PlannedAction { kind, summary, changes: differences.into_changes(), irreversible: None }
}

fn without_template(mut body: Value) -> Value {
    if let Some(properties) = body.get_mut("properties").and_then(Value::as_object_mut) {
        properties.remove("template");
    }
    body
}
