//! Taking what is there for what is stable: it changes nothing outside, and writes down what was found.

use super::service::{ServiceRun, Todo};
use super::{Phase, StartMode};
use crate::Weight;
use crate::event::Body;

impl ServiceRun {
    /// Whether the candidate is there already and only written down.
    pub(super) fn adopts(&self) -> bool {
        self.mode == StartMode::Adopt
    }

    /// Writes the candidate down as stable if it still is what there is: all of the traffic, and an instance to take it.
    pub(super) fn adopt(&mut self, out: &mut Vec<Body>) {
        let c = &self.candidate;
        if c.weight != Weight::FULL || c.available == 0 {
            let reason = format!(
                "{} is not what users reach: it has {} of the traffic and {} of {} instances available",
                c.revision, c.weight, c.available, c.desired
            );
            self.give_up(reason, out);
            return;
        }
        let revision = c.revision.clone();
        self.enter(Phase::Record, out);
        // Whatever else is there belongs to whoever made it.
        self.queue.clear();
        self.queue.push_back(Todo::MarkStable(revision));
    }
}
