//! Taking a revision out of service. Azure removes revisions by itself only: what can be done is to deactivate one, and
//! to activate it again on the way back.

use basb_cloud_kit::Waiting;
use basb_plugin::provider::Progress;
use basb_plugin::{Failure, Weight};

use crate::apps::{Apps, Work};
use crate::table::Table;
use crate::view::{Standing, View};

/// Retires a revision without traffic; one that is not active is retired.
///
/// # Errors
/// [`basb_plugin::FailureCode::Conflict`] where it has traffic; else what Azure says.
pub fn retire(apps: &Apps<'_>, id: &str, state: Option<&str>) -> Result<Progress, Failure> {
    let waiting = apps.waiting(state)?;
    if let Some(progress) = apps.unfinished(&waiting)? {
        return Ok(progress);
    }
    let Some(view) = apps.settled_view()? else {
        return Ok(Progress::done(format!("revision {id} is gone: there is no container app {}", apps.name)));
    };
    let is_last =
        view.standing == Standing::Ours && view.app.ingress().is_none() && view.active().all(|seen| seen.id == id);
    if is_last && !view.app.is_busy() {
        let answer = apps.api.delete()?;
        return Ok(apps.begun(&waiting, &answer, "it goes with its last revision", None));
    }
    let done = Progress::done(format!(
        "revision {id} is deactivated: it can be activated again, until Azure removes it (more than {} inactive ones)",
        apps.config.max_inactive_revisions
    ));
    stop(apps, &view, id, &waiting, done)
}

/// One step towards a revision that has no replicas.
///
/// # Errors
/// As [`retire`].
pub fn stop(
    apps: &Apps<'_>,
    view: &View,
    id: &str,
    waiting: &Waiting<Work>,
    done: Progress,
) -> Result<Progress, Failure> {
    if view.app.is_busy() {
        return Ok(apps.look_again(waiting, "Azure is busy with it"));
    }
    let names: Vec<String> = view.active_of(id).map(|seen| seen.name().to_owned()).collect();
    if names.is_empty() {
        return Ok(done);
    }
    if view.share(id) > Weight::ZERO {
        return Err(Failure::conflict(format!("revision {id} has traffic: give it to another one first")));
    }
    let table = Table::of(view);
    let without = table.without(&names);
    if without != table {
        let answer = apps.api.change("PATCH the container app's labels", &without.change(apps, view))?;
        return Ok(apps.begun(waiting, &answer, &format!("labels without {}", names.join(" and ")), None));
    }
    for name in &names {
        apps.api.deactivate(name)?;
    }
    Ok(apps.look_again(waiting, &format!("{} is deactivated", names.join(" and "))))
}
