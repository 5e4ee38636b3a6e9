//! Making a revision be there: one change at a time, each looked for before it is made, so a call that is made again
//! goes on where the one before it was.

use basb_cloud_kit::Waiting;
use basb_plugin::Failure;
use basb_plugin::provider::{Desired, Outcome, Progress};
use serde_json::{Value, json};

use crate::apps::{Apps, Work};
use crate::settings;
use crate::surplus::Users;
use crate::table::Table;
use crate::template::Wanted;
use crate::view::{Size, View};
use crate::{retire, view};

/// What was sent last, besides a revision's name.
const SETTINGS: &str = "settings";
const LABEL: &str = "label";
/// So often what Azure has accepted may not be seen yet.
const MOST_LOOKS: u32 = 8;

/// Deploys.
///
/// # Errors
/// What Azure says, or what cannot be made.
pub fn deploy(apps: &Apps<'_>, desired: &Desired, state: Option<&str>) -> Result<Progress, Failure> {
    let wanted = Wanted::of(apps.config, &apps.name, desired)?;
    let waiting = apps.waiting(state)?;
    if let Some(progress) = apps.unfinished(&waiting)? {
        return Ok(progress);
    }
    let Some(view) = apps.settled_view()? else {
        if waiting.what.sent.as_deref() == Some(wanted.name.as_str()) {
            return not_seen(apps, &waiting, "the app");
        }
        let answer = apps.api.create(&settings::create(apps, &wanted.template))?;
        return Ok(apps.begun(&waiting, &answer, "it is being made", Some(wanted.name)));
    };
    reach(apps, &view, &desired.revision, &wanted, &waiting)
}

/// Changes how many replicas a revision has, by a revision of the app in another size that takes its place.
///
/// # Errors
/// What Azure says; [`basb_plugin::FailureCode::NotFound`] where there is no such revision.
pub fn scale(apps: &Apps<'_>, id: &str, replicas: u32, state: Option<&str>) -> Result<Progress, Failure> {
    let waiting = apps.waiting(state)?;
    if let Some(progress) = apps.unfinished(&waiting)? {
        return Ok(progress);
    }
    let none = || Progress::done(format!("revision {id} has no replicas"));
    let Some(view) = apps.settled_view()? else { return if replicas == 0 { Ok(none()) } else { Err(apps.gone(id)) } };
    if replicas == 0 {
        return retire::stop(apps, &view, id, &waiting, none());
    }
    let Some(there) = view.current(id).or_else(|| view.newest(id)) else {
        if waiting.looks < MOST_LOOKS {
            return Ok(apps.look_again(&waiting, &format!("revision {id} is not seen yet")));
        }
        return Err(apps.gone(id));
    };
    let template = there.revision.template().cloned().unwrap_or_default();
    match Wanted::resized(apps.config, &apps.name, &template, replicas) {
        Some(wanted) => reach(apps, &view, id, &wanted, &waiting),
        None if view::Size::of(&there.revision, &[]).desired == replicas => {
            Ok(Progress::done(format!("revision {id} has {replicas} replicas")))
        }
        None => Err(Failure::invalid(format!(
            "revision {} was made by others, and a revision's size cannot be changed: deploy one of the file",
            there.name()
        ))),
    }
}

/// One step towards a revision; done where there is none left.
fn reach(
    apps: &Apps<'_>,
    view: &View,
    id: &str,
    wanted: &Wanted,
    waiting: &Waiting<Work>,
) -> Result<Progress, Failure> {
    settings::check(apps, view)?;
    if view.app.is_busy() {
        return Ok(apps.look_again(waiting, "Azure is busy with it"));
    }
    let sent = waiting.what.sent.as_deref();
    let change = |doing: &str, body: &Value, sent: Option<String>| {
        let answer = apps.api.change(&format!("PATCH the container app ({doing})"), body)?;
        Ok(apps.begun(waiting, &answer, doing, sent))
    };
    // Before anything that makes a revision: with `latestRevision` all requests would go to it at once.
    if !view.is_pinned() {
        return change("its traffic is pinned", &pinned(apps, view), None);
    }
    let users = Users::of(view, id, wanted);
    if let Some(body) = settings::change(apps, view, &users)?.filter(|_| sent != Some(SETTINGS)) {
        return change("its settings are changed", &body, Some(SETTINGS.to_owned()));
    }
    let Some(seen) = view.named(&wanted.name) else {
        if sent == Some(wanted.name.as_str()) {
            return not_seen(apps, waiting, &format!("revision {}", wanted.name));
        }
        let body = json!({"properties": {"template": replacing(view, &wanted.template)}});
        let body = settings::with_location(apps, view, body);
        return change(&format!("revision {} is being made", wanted.name), &body, Some(wanted.name.clone()));
    };
    if !seen.revision.template().is_some_and(|there| wanted.is_same(there)) {
        return Err(Failure::conflict(format!(
            "revision {} is there and was not made by basb-host, or not from the same content: it cannot be changed",
            wanted.name
        )));
    }
    if !seen.revision.is_active() {
        apps.api.activate(&wanted.name)?;
        return Ok(apps.look_again(waiting, &format!("revision {} is activated", wanted.name)));
    }
    let older: Vec<String> =
        view.active_of(id).map(|seen| seen.name().to_owned()).filter(|name| *name != wanted.name).collect();
    let table = Table::of(view);
    if older.iter().any(|name| view.weight(name) > 0) {
        let size = Size::of(&seen.revision, &apps.api.replicas(&wanted.name)?);
        if size.available < size.desired {
            if seen.revision.is_hopeless() {
                apps.api.deactivate(&wanted.name)?;
                let why = seen.revision.properties.provisioning_error.as_deref().unwrap_or("Azure does not say why");
                return Err(Failure::unhealthy(format!(
                    "revision {}, which should take the place of {}, does not come up: {why}",
                    wanted.name,
                    older.join(" and ")
                )));
            }
            let note = format!("revision {} comes up: {} of {}", wanted.name, size.available, size.desired);
            return Ok(apps.look_again(waiting, &note));
        }
        let body = table.moved(&older, &wanted.name).change(apps, view);
        return change(&format!("revision {} takes the place of {}", wanted.name, older.join(" and ")), &body, None);
    }
    // Where nobody is led to the app yet, there is no label either.
    let labelled = table.without(&older).with_label(&apps.config.label, &wanted.name);
    if view.app.ingress().is_some() && labelled != table && sent != Some(LABEL) && !seen.revision.is_hopeless() {
        let doing = format!("the label {} leads to revision {}", apps.config.label, wanted.name);
        return change(&doing, &labelled.change(apps, view), Some(LABEL.to_owned()));
    }
    if !older.is_empty() {
        for name in &older {
            apps.api.deactivate(name)?;
        }
        return Ok(apps.look_again(waiting, &format!("{} is deactivated", older.join(" and "))));
    }
    let outcome = Outcome { summary: format!("revision {id} as {}", wanted.name), outputs: Vec::new() }
        .output("revision", wanted.name.clone());
    Ok(Progress::Done(match view.url(apps) {
        Some(url) => outcome.output("url", url),
        None => outcome,
    }))
}

/// The change by which requests go on to who gets them now, whatever is made after it.
pub fn pinned(apps: &Apps<'_>, view: &View) -> Value {
    let mut configuration = json!({"activeRevisionsMode": "Multiple"});
    let pinned = view.app.ingress().map(|_| Table::of(view).change(apps, view));
    let ingress = pinned.as_ref().and_then(|change| change.pointer("/properties/configuration/ingress"));
    if let (Some(ingress), Some(fields)) = (ingress, configuration.as_object_mut()) {
        fields.insert("ingress".into(), ingress.clone());
    }
    settings::with_location(apps, view, json!({"properties": {"configuration": configuration}}))
}

/// A template to be merged into the one that is there: what only that one has is taken away.
fn replacing(view: &View, template: &Value) -> Value {
    let mut merged = template.clone();
    let there = view.app.properties.template.as_ref().and_then(Value::as_object);
    if let Some(fields) = merged.as_object_mut() {
        for (name, value) in there.into_iter().flatten() {
            let is_empty = value.is_null() || value.as_array().is_some_and(Vec::is_empty);
            if !is_empty && !fields.contains_key(name) {
                fields.insert(name.clone(), Value::Null);
            }
        }
    }
    let rules = view.app.properties.template.as_ref().and_then(|template| template.pointer("/scale/rules"));
    let has_rules = rules.and_then(Value::as_array).is_some_and(|rules| !rules.is_empty());
    if let Some(scale) = merged.get_mut("scale").and_then(Value::as_object_mut)
        && has_rules
        && !scale.contains_key("rules")
    {
        scale.insert("rules".into(), Value::Null);
    }
    merged
}

fn not_seen(apps: &Apps<'_>, waiting: &Waiting<Work>, what: &str) -> Result<Progress, Failure> {
    if waiting.looks < MOST_LOOKS {
        return Ok(apps.look_again(waiting, &format!("{what} is not seen yet")));
    }
    Err(Failure::other(format!(
        "Azure has accepted {what} of the container app {} and does not show it: somebody else may have removed it",
        apps.name
    )))
}
