//! Sharing users' requests out: one change of one rule, so that all shares change at the same moment.

use basb_cloud_kit::to_units;
use basb_plugin::provider::Progress;
use basb_plugin::{Failure, Weight};

use super::deploy::{gone, group_or};
use super::{Fleet, view};
use crate::api::elb::{MOST_WEIGHT, RuleAction};

/// Shares are set in tenths of a percent: 999 is the largest weight, so all of the traffic is one target group alone.
const UNITS: u16 = 1_000;

/// Sets the shares; who is not named gets none.
///
/// # Errors
/// What AWS says; [`basb_plugin::FailureCode::NotFound`] for a revision that is not there.
pub fn traffic(fleet: &Fleet<'_>, weights: &[(String, Weight)]) -> Result<Progress, Failure> {
    let units = to_units(weights, UNITS)?;
    let mut targets: Vec<(String, u16)> = Vec::new();
    for (revision, number) in units.iter().filter(|(_, number)| *number > 0) {
        let service = fleet.service_of(revision)?.ok_or_else(|| gone(fleet, revision))?;
        targets.push((group_or(&service)?.to_owned(), (*number).min(MOST_WEIGHT)));
    }
    let rules = fleet.elb.rules(&fleet.ecs.listener)?;
    let rule = fleet.production_rule(&rules)?;
    let action = if targets.is_empty() { RuleAction::Nobody } else { RuleAction::Forward(targets.clone()) };
    match rule {
        // Also where it seems to be so already: what was read may be of a moment ago.
        Some(rule) => {
            // No more than a word of it: what is led to here may be the way back.
            if let Err(first) = fleet.check_first(&rules, Some(&rule)) {
                fleet.client().cx().log().warn(first.message);
            }
            let conditions = fleet.other_conditions(&rule)?;
            fleet.elb.modify_rule(&rule, conditions.as_deref(), &action)?;
        }
        // Nobody is asked for, and nobody would be reached.
        None if targets.is_empty() => {}
        None => drop(fleet.create_production_rule(&rules, &action)?),
    }
    let shown: Vec<_> = weights.iter().map(|(revision, weight)| format!("{revision} {weight}")).collect();
    Ok(Progress::done(if shown.is_empty() {
        "no traffic".to_owned()
    } else {
        format!("traffic: {}", shown.join(", "))
    }))
}

impl view::View {
    /// The rule's action where it is one that we could not put back.
    pub fn foreign_action(&self) -> Option<&str> {
        self.production.as_ref().map(|rule| rule.action.as_str()).filter(|action| *action != "forward")
    }
}
