//! Revisions that are left over beside a service that is as it should be: those of rollouts that never came to an end. They
//! have no traffic; they are removed, and nothing else of the service is touched.

use super::rules::Rules;
use super::service::{ServiceRun, Todo};
use super::{Phase, StartMode};
use crate::RevisionId;
use crate::event::Body;

impl ServiceRun {
    /// What is to be removed beside a service that is as it should be. Not for an undo, which does nothing to what is stable
    /// already.
    pub(super) fn to_clear_away(&self) -> Vec<RevisionId> {
        if self.rules != Rules::Now || self.mode != StartMode::Rollout || self.keeps_candidates() {
            return Vec::new();
        }
        self.leftovers()
    }

    /// Whether candidates are kept for good after an abort: nothing tells those from what is left over.
    fn keeps_candidates(&self) -> bool {
        self.spec.abort_scale_down_delay.is_none()
    }

    /// Whether a repair leaves other revisions where they are, as a run that finds nothing to repair does.
    pub(super) fn keeps_what_is_there(&self) -> bool {
        self.rules == Rules::Now && self.repair && self.keeps_candidates()
    }

    /// Removes what is left over, as soon as it may.
    pub(super) fn clear_away(&mut self, left_over: Vec<RevisionId>, out: &mut Vec<Body>) {
        let names: Vec<&str> = left_over.iter().map(RevisionId::as_str).collect();
        let message =
            format!("nothing but {} should be there; left over: {}", self.candidate.revision, names.join(", "));
        self.tell_drift(message, out);
        if self.must_wait_for_leave() {
            return;
        }
        // There is nothing to go back to: what is stable stays as it is, whatever comes of this.
        self.repair = true;
        self.clearing = true;
        self.enter(Phase::Record, out);
        self.queue.clear();
        self.queue.extend(left_over.into_iter().map(Todo::Retire));
    }

    /// Ends the clearing early: the service itself is as it should be.
    pub(super) fn leave_the_rest(&mut self, reason: String, out: &mut Vec<Body>) {
        out.push(Body::Warning { message: reason });
        self.unchanged(out);
    }
}
