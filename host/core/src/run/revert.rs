//! Bringing back a revision that was stable before: capacity, all of the traffic, verification. It never runs the steps
//! of a rollout again.

use super::StartMode;
use super::service::{ServiceRun, Todo};
use crate::Weight;
use crate::event::Body;
use std::collections::BTreeMap;

impl ServiceRun {
    /// Whether the candidate is brought back rather than rolled out.
    pub(super) fn reverts(&self) -> bool {
        self.mode == StartMode::Revert
    }

    /// Says that it begins.
    pub(super) fn say_revert(&self, out: &mut Vec<Body>) {
        let from = self.stable.as_ref().map(|s| s.revision.clone());
        out.push(Body::Reverting { revision: self.candidate.revision.clone(), from });
    }

    /// The candidate in full, with all of the traffic, whatever is there: for a repair and for a revert. What carries
    /// the traffic until then is left as it is, so that there is a way back.
    pub(super) fn in_one_go(&self) -> [Todo; 4] {
        let (candidate, replicas) = (self.candidate.revision.clone(), self.spec.replicas);
        let all: BTreeMap<_, _> = [(candidate.clone(), Weight::FULL)].into();
        [
            Todo::Deploy(candidate.clone(), replicas),
            Todo::Await(candidate, replicas),
            Todo::Traffic(all.clone()),
            Todo::VerifyTraffic(all),
        ]
    }
}
