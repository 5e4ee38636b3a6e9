//! The rollout invariants, as pure checks of what a strategy wants against what is there.
//!
//! The attack they stop: a strategy plugin, broken or hostile, that sends users to instances which do not exist, takes
//! capacity away from those that carry the traffic, or declares a candidate stable that never had any. Sources: Argo
//! Rollouts' `trafficrouting.go`, see `docs`; each is also a property test over random strategies and faults.

use super::{Action, RolloutView};
use crate::Weight;

/// An action that would break an invariant.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the strategy wants to {wants}, but {but}")]
pub struct Violation {
    wants: String,
    but: String,
}

fn violation(wants: impl Into<String>, but: impl Into<String>) -> Result<(), Violation> {
    Err(Violation { wants: wants.into(), but: but.into() })
}

/// How many instances a share of the traffic needs, rounded down: at least one for any share at all.
#[must_use]
pub fn needed(replicas: u32, weight: Weight) -> u32 {
    let share = u64::from(replicas) * u64::from(weight.hundredths()) / u64::from(Weight::FULL.hundredths());
    let share = u32::try_from(share).unwrap_or(u32::MAX);
    if weight.is_zero() { 0 } else { share.max(1) }
}

/// How many instances may be missing at any time, whatever a strategy says: half of them, rounded up, so that a service
/// of one, two or three instances can be replaced in place. Strategies are stricter by default (a quarter).
#[must_use]
pub fn allowed_missing(replicas: u32) -> u32 {
    replicas.div_ceil(2)
}

/// Checks an action.
///
/// # Errors
/// [`Violation`], in words for a person.
pub fn check(action: &Action, view: &RolloutView, replicas: u32) -> Result<(), Violation> {
    let candidate = &view.candidate;
    match action {
        Action::SetWeight { weight } => {
            let wants = format!("give the candidate {weight} of the traffic");
            if !weight.is_zero() && candidate.available == 0 {
                return violation(wants, "no instance of it can take traffic");
            }
            let floor = needed(replicas, *weight).saturating_sub(allowed_missing(replicas));
            if *weight > candidate.weight && candidate.available < floor {
                let available = candidate.available;
                return violation(wants, format!("that needs {floor} of its instances, and {available} are available"));
            }
            match &view.stable {
                None if *weight != Weight::FULL && !weight.is_zero() => {
                    violation(wants, "there is no stable revision for the rest")
                }
                Some(stable) if *weight != Weight::FULL && stable.available == 0 => {
                    violation(wants, "no instance of the stable revision can take the rest")
                }
                Some(stable) => {
                    let floor = needed(replicas, weight.rest()).saturating_sub(allowed_missing(replicas));
                    if weight.rest() > stable.weight && stable.available < floor {
                        return violation(
                            wants,
                            format!("the rest needs {floor} stable instances and {} are available", stable.available),
                        );
                    }
                    Ok(())
                }
                None => Ok(()),
            }
        }
        Action::Scale { candidate: wanted, stable: wanted_stable } => {
            let sides =
                [("candidate", *wanted, Some(candidate)), ("stable revision", *wanted_stable, view.stable.as_ref())];
            for (name, wanted, side) in sides {
                let most = replicas.max(side.map_or(0, |side| side.desired));
                if let Some(wanted) = wanted.filter(|wanted| *wanted > most) {
                    let but = format!("the service has {replicas} instances in full");
                    return violation(format!("scale the {name} to {wanted} instances"), but);
                }
            }
            if let Some(wanted) = *wanted
                && wanted < candidate.desired
                && wanted < needed(replicas, candidate.weight).min(candidate.desired)
            {
                let but = format!("{} of the traffic is on it", candidate.weight);
                return violation(format!("scale the candidate down to {wanted}"), but);
            }
            if let (Some(wanted), Some(stable)) = (*wanted_stable, &view.stable) {
                let floor = needed(replicas, stable.weight).saturating_sub(allowed_missing(replicas));
                let floor = if stable.weight.is_zero() { 0 } else { floor.max(1) };
                if wanted < stable.desired && wanted < floor {
                    let but = format!("{} of the traffic is on it, which needs {floor}", stable.weight);
                    return violation(format!("scale the stable revision down to {wanted}"), but);
                }
            }
            Ok(())
        }
        Action::Promote if candidate.weight != Weight::FULL => {
            violation("promote the candidate", format!("it has {} of the traffic, not all of it", candidate.weight))
        }
        Action::Promote
            if candidate.available < needed(replicas, Weight::FULL).saturating_sub(allowed_missing(replicas)) =>
        {
            violation("promote the candidate", format!("{} of {replicas} instances are available", candidate.available))
        }
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::run::{Last, Side};
    use crate::{RevisionId, Timestamp};

    fn side(available: u32, weight: u16) -> Side {
        Side {
            revision: RevisionId::new("r1").unwrap(),
            desired: available,
            available,
            weight: Weight::new(weight).unwrap(),
        }
    }

    fn view(candidate: Side, stable: Option<Side>) -> RolloutView {
        RolloutView { now: Timestamp(0), candidate, stable, last: Last::None }
    }

    fn weight(hundredths: u16) -> Action {
        Action::SetWeight { weight: Weight::new(hundredths).unwrap() }
    }

    #[test]
    fn no_weight_without_an_instance() {
        let dead = view(side(0, 0), Some(side(4, 10_000)));
        assert!(check(&weight(1), &dead, 4).is_err());
        assert!(check(&weight(0), &dead, 4).is_ok());
        let stable_dead = view(side(4, 5000), Some(side(0, 5000)));
        assert!(check(&weight(2000), &stable_dead, 4).is_err());
        assert!(check(&weight(10_000), &stable_dead, 4).is_ok());
        assert!(check(&weight(5000), &view(side(4, 0), None), 4).is_err());
    }

    #[test]
    fn weight_rises_after_the_scale_that_it_needs() {
        let few = view(side(1, 0), Some(side(8, 10_000)));
        assert!(check(&weight(5000), &few, 8).is_ok(), "half of eight may be missing");
        assert!(check(&weight(10_000), &few, 8).is_err());
        assert!(check(&weight(10_000), &view(side(4, 0), Some(side(8, 10_000))), 8).is_ok());
    }

    #[test]
    fn stable_keeps_what_its_traffic_needs() {
        let half = view(side(2, 5000), Some(side(4, 5000)));
        let scale = |n| Action::Scale { candidate: None, stable: Some(n) };
        assert!(check(&scale(2), &half, 4).is_ok());
        assert!(check(&scale(0), &half, 4).is_err(), "some of the traffic is still on it");
        let full = view(side(2, 0), Some(side(4, 10_000)));
        assert!(check(&scale(2), &full, 4).is_ok(), "two of four may be missing");
        assert!(check(&scale(1), &full, 4).is_err());
    }

    #[test]
    fn no_side_gets_more_than_the_service_has() {
        let scale = |n| Action::Scale { candidate: Some(n), stable: None };
        let new = view(side(0, 0), Some(side(4, 10_000)));
        assert!(check(&scale(4), &new, 4).is_ok());
        assert!(check(&scale(5), &new, 4).is_err() && check(&scale(u32::MAX), &new, 4).is_err());
        // One that is larger already may stay so.
        assert!(check(&Action::Scale { candidate: None, stable: Some(4) }, &new, 2).is_ok());
    }

    #[test]
    fn only_a_candidate_with_all_traffic_is_promoted() {
        assert!(check(&Action::Promote, &view(side(4, 9999), Some(side(4, 1))), 4).is_err());
        assert!(check(&Action::Promote, &view(side(4, 10_000), Some(side(4, 0))), 4).is_ok());
        assert!(check(&Action::Promote, &view(side(1, 10_000), None), 4).is_err());
    }
}
