//! The life of an instance that somebody else runs: watched, given requests, drained, and never touched otherwise.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch::Receiver;

use super::Supervisor;
use super::instance::Goal;
use super::model::Key;
use super::watch::Watch;
use crate::api::{External, InstancePhase};

/// Watches an instance until it is retired. What listens at its address, and whether anything does, is not ours.
pub(crate) async fn run(supervisor: Arc<Supervisor>, key: Key, external: Arc<External>, mut goal: Receiver<Goal>) {
    let watch = Watch { supervisor, key };
    // Never proven when it is new, so that it has to pass its check first.
    let first = watch.first_phase(true);
    let drain = tokio::select! {
        drain = leaving(&mut goal) => drain,
        () = watch.readiness(external.ready.as_ref(), first) => return,
    };
    let Some((drain, last)) = drain else { return };
    watch.drain(drain).await;
    match last {
        Last::Forgotten => watch.supervisor.instance_gone(&watch.key),
        Last::Kept => {
            watch.update(|instance| {
                instance.phase = InstancePhase::Exited;
                instance.upstream = None;
            });
            watch.supervisor.save_or_log();
        }
    }
}

enum Last {
    Forgotten,
    Kept,
}

/// Waits until it is to leave: how long it may take to finish, and what becomes of it then.
async fn leaving(goal: &mut Receiver<Goal>) -> Option<(Duration, Last)> {
    let leaves = goal.wait_for(|goal| !matches!(goal, Goal::Run { .. })).await.ok()?;
    match *leaves {
        Goal::Retire { drain } => Some((drain, Last::Forgotten)),
        Goal::Halt { drain } => Some((drain, Last::Kept)),
        Goal::Run { .. } => None,
    }
}
