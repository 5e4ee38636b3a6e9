//! The way back: capacity first, then traffic, then verification, and only then the candidate goes.
//!
//! It never runs the steps of a rollout again, and a way back that fails ends in a state of its own.

use super::invariant::allowed_missing;
use super::service::{ServiceRun, Todo};
use super::{Phase, ServiceOutcome, Side};
use crate::event::Body;
use crate::{ServiceName, Timestamp, Weight};
use std::collections::BTreeMap;

impl ServiceRun {
    /// Gives the release up. An effect that is being carried out is waited for first: dropping it half-way would leave
    /// in doubt what it did.
    pub(super) fn give_up(&mut self, reason: String, out: &mut Vec<Body>) {
        if self.outcome.is_some() {
            return;
        }
        self.why.get_or_insert_with(|| reason.clone());
        if self.current.as_ref().is_some_and(|c| c.in_doubt && c.order.effect.mutates()) {
            self.pending_rollback.get_or_insert(reason);
            return;
        }
        self.current = None;
        self.analysis = None;
        self.watch = None;
        self.queue.clear();
        self.approvals.clear();
        match self.phase {
            Phase::Rollback => {
                out.push(Body::RollbackFailed { reason });
                self.finish(ServiceOutcome::RollbackFailed);
            }
            Phase::Waiting | Phase::Readiness => {
                out.push(Body::Failed { reason });
                self.finish(ServiceOutcome::Failed);
            }
            _ if self.clearing => self.leave_the_rest(reason, out),
            // A repair has nothing to go back to: the revision is the stable one.
            _ if self.repair => {
                let revision = self.candidate.revision.clone();
                out.push(Body::IncidentOpened {
                    title: format!("{} cannot be repaired: {reason}", self.name()),
                    revision,
                });
                out.push(Body::RollbackFailed { reason });
                self.finish(ServiceOutcome::RollbackFailed);
            }
            // Its group is stable from the moment on at which all of it was there.
            Phase::Record if self.is_grouped() => {
                let revision = self.candidate.revision.clone();
                let title = format!("{} {revision} cannot be recorded as stable: {reason}", self.name());
                out.push(Body::IncidentOpened { title, revision });
                out.push(Body::RollbackFailed { reason });
                self.finish(ServiceOutcome::RollbackFailed);
            }
            _ if self.is_grouped() => {
                self.retreat.get_or_insert(reason);
            }
            _ => self.start_rollback(reason, out),
        }
    }

    /// Goes back now: nothing of its group that depends on it is in the way any more.
    pub(super) fn start_back(&mut self, at: Timestamp) -> Vec<Body> {
        self.now = at;
        let mut out = Vec::new();
        if let Some(reason) = self.retreat.take() {
            self.start_rollback(reason, &mut out);
            self.advance(&mut out);
        }
        out
    }

    /// Stays where it is, since a service of its group that depends on it could not go back.
    pub(super) fn cannot_go_back(&mut self, because: &ServiceName) -> Vec<Body> {
        let reason = format!("{because}, which depends on it, is not back: a way back from here would break it");
        self.finish(ServiceOutcome::RollbackFailed);
        vec![Body::RollbackFailed { reason }]
    }

    fn start_rollback(&mut self, reason: String, out: &mut Vec<Body>) {
        let revision = self.candidate.revision.clone();
        let target = self.stable.as_ref().map(|s| s.revision.clone());
        out.push(Body::Aborted { revision: revision.clone(), target, reason: reason.clone() });
        out.push(Body::IncidentOpened {
            title: format!("{} {revision} was given up: {reason}", self.name()),
            revision: revision.clone(),
        });
        self.rollback_began = Some(self.time());
        self.enter(Phase::Rollback, out);
        match self.stable.clone() {
            Some(stable) => {
                let back = self.traffic_back(&stable);
                self.queue.extend(back);
                if let Some(delay) = self.spec.abort_scale_down_delay {
                    self.queue.push_back(Todo::Wait(delay, "keep the candidate for a look".to_owned()));
                    self.queue.push_back(Todo::Retire(revision));
                }
                self.queue.extend(self.leftovers().into_iter().map(Todo::Retire));
            }
            None => {
                // Verified even when no traffic was ever set: that there is none is the promise.
                let none = BTreeMap::new();
                let leftovers = self.leftovers();
                if self.touched_traffic || !leftovers.is_empty() {
                    self.queue.push_back(Todo::Traffic(none.clone()));
                    self.queue.push_back(Todo::VerifyTraffic(none));
                } else {
                    self.rolled_back(out);
                }
                self.queue.push_back(Todo::Retire(revision));
                self.queue.extend(leftovers.into_iter().map(Todo::Retire));
            }
        }
    }

    /// Capacity, then traffic, then verification.
    pub(super) fn traffic_back(&self, stable: &Side) -> Vec<Todo> {
        let mut back = Vec::new();
        let full = self.spec.replicas.max(stable.desired);
        let enough = self.spec.replicas.saturating_sub(allowed_missing(self.spec.replicas)).max(1);
        if stable.desired < self.spec.replicas || stable.available < enough {
            back.push(Todo::Scale(stable.revision.clone(), full));
            back.push(Todo::Await(stable.revision.clone(), full));
        }
        let all: BTreeMap<_, _> = [(stable.revision.clone(), Weight::FULL)].into();
        back.push(Todo::Traffic(all.clone()));
        back.push(Todo::VerifyTraffic(all));
        back
    }

    /// Called whenever shares of traffic have been verified.
    pub(super) fn traffic_verified(&mut self, out: &mut Vec<Body>) {
        if self.phase == Phase::Rollback && !self.rolled_back {
            self.rolled_back(out);
        }
    }

    fn rolled_back(&mut self, out: &mut Vec<Body>) {
        self.rolled_back = true;
        let began = self.rollback_began.unwrap_or(self.time());
        let revision = self.stable.as_ref().map(|s| s.revision.clone());
        // The provider's own words, of what the candidate's deployment changed for good; nothing if it never began.
        let not_undone = if self.deployed { self.irreversible.clone() } else { Vec::new() };
        out.push(Body::RolledBack { revision, took: self.time().since(began), not_undone });
    }
}
