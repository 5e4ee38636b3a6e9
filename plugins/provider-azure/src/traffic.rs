//! Sharing users' requests out: one change of one table, so that all shares change at the same moment.
//!
//! Azure documents no precondition for it. So the app is read before and after, and a table that is neither what it was
//! nor what was sent is somebody else's: said, and not overwritten.

use basb_cloud_kit::to_units;
use basb_plugin::provider::Progress;
use basb_plugin::{Failure, Weight};
use serde_json::{Value, json};

use crate::apps::Apps;
use crate::settings;
use crate::table::Table;
use crate::view::Standing;

/// Weights are whole percents.
const UNITS: u16 = 100;
/// So often what was set may not be seen yet.
const MOST_LOOKS: u32 = 5;

/// Sets the shares; who is not named gets none.
///
/// # Errors
/// What Azure says; [`basb_plugin::FailureCode::NotFound`] for a revision that is not there,
/// [`basb_plugin::FailureCode::Conflict`] where somebody else changed the table meanwhile.
pub fn traffic(apps: &Apps<'_>, weights: &[(String, Weight)], state: Option<&str>) -> Result<Progress, Failure> {
    let units = to_units(weights, UNITS)?;
    let waiting = apps.waiting(state)?;
    if let Some(progress) = apps.unfinished(&waiting)? {
        return Ok(progress);
    }
    let wanted: Vec<&(String, u16)> = units.iter().filter(|(_, number)| *number > 0).collect();
    let Some(view) = apps.settled_view()? else {
        return match wanted.first() {
            None => Ok(Progress::done("no traffic: there is no container app")),
            Some((revision, _)) => Err(apps.gone(revision)),
        };
    };
    if view.standing == Standing::Untagged {
        apps.api.client().cx().log().warn(format!(
            "the container app {} has revisions of {} and not its tags: somebody else changed them. Its traffic is set all the \
             same, and nothing else of it until they are put back",
            apps.name, apps.service.service
        ));
    }
    if view.app.is_busy() {
        return Ok(apps.look_again(&waiting, "Azure is busy with it"));
    }
    let mut names: Vec<(String, u16)> = Vec::new();
    for (revision, number) in wanted {
        let Some(current) = view.current(revision) else {
            // It was seen before it was given traffic: what does not show it may be an older list.
            if waiting.looks < MOST_LOOKS {
                return Ok(apps.look_again(&waiting, &format!("revision {revision} is not seen yet")));
            }
            return Err(apps.gone(revision));
        };
        names.push((current.name().to_owned(), *number));
    }
    let now = Table::of(&view);
    let table = now.with_weights(&names);
    let is_as_wanted = if names.is_empty() { view.app.ingress().is_none() } else { now == table && view.is_pinned() };
    if is_as_wanted {
        let shown: Vec<_> = weights.iter().map(|(revision, weight)| format!("{revision} {weight}")).collect();
        let summary = if names.is_empty() { "no traffic".to_owned() } else { format!("traffic: {}", shown.join(", ")) };
        return Ok(Progress::done(summary));
    }
    // Labels are not compared: whoever moves one changes nobody's share.
    let shown: Vec<_> = names.iter().map(|(name, number)| format!("{name} {number}%")).collect();
    let sent = if names.is_empty() { "nobody".to_owned() } else { shown.join(", ") };
    if waiting.what.sent.as_ref() == Some(&sent) {
        if waiting.looks < MOST_LOOKS {
            return Ok(apps.look_again(&waiting, "the new shares are not seen yet"));
        }
        return Err(Failure::conflict(format!(
            "the traffic of the container app {} was set to {sent}, and is {}: somebody else changed it",
            apps.name,
            now.shown()
        )));
    }
    let body = if names.is_empty() { nobody(apps, &view)? } else { table.change(apps, &view) };
    let answer = apps.api.change("PATCH the container app's traffic", &body)?;
    Ok(apps.begun(&waiting, &answer, &format!("traffic to {sent}"), Some(sent.clone())))
}

/// The change by which nobody is led to the app: weights always make 100, so the way in goes.
fn nobody(apps: &Apps<'_>, view: &crate::view::View) -> Result<Value, Failure> {
    let domains = view.app.configuration("/ingress/customDomains").and_then(Value::as_array);
    if domains.is_some_and(|domains| !domains.is_empty()) {
        return Err(Failure::conflict(format!(
            "nobody should be led to the container app {}, and without its ingress it would lose its custom domains: take \
             them away first, or lead them to a revision",
            apps.name
        )));
    }
    let none = json!({"properties": {"configuration": {"ingress": null}}});
    Ok(settings::with_location(apps, view, none))
}
