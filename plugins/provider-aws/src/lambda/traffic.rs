//! The alias that callers know: one or two versions behind it.

use std::collections::BTreeMap;

use basb_cloud_kit::to_units;
use basb_plugin::provider::Progress;
use basb_plugin::{Failure, Weight};

use super::Functions;
use crate::api::lambda::Alias;

/// Weights are fractions; in tenths of a percent they are exact enough to read back as what was set.
const UNITS: u16 = 1_000;

/// Each version behind an alias with its share; the first has what the second has not.
pub fn shares(alias: Option<&Alias>) -> Vec<(String, Weight)> {
    let Some(alias) = alias else { return Vec::new() };
    let routing = alias.routing_config.clone().unwrap_or_default().additional_version_weights;
    let mut shares: Vec<(String, Weight)> = routing
        .iter()
        .filter_map(|(version, fraction)| Some((version.clone(), Weight::from_percent(fraction * 100.0)?)))
        .filter(|(_, weight)| *weight > Weight::ZERO)
        .collect();
    let second = shares.iter().fold(0_u16, |sum, (_, weight)| sum.saturating_add(weight.hundredths()));
    let first = Weight::from_hundredths(10_000_u16.saturating_sub(second));
    if first > Weight::ZERO {
        shares.push((alias.function_version.clone(), first));
    }
    shares
}

/// Sets the shares.
///
/// # Errors
/// What AWS says; [`basb_plugin::FailureCode::Invalid`] for more than two revisions,
/// [`basb_plugin::FailureCode::Conflict`], to be tried again, where somebody else changed the alias meanwhile.
pub fn traffic(functions: &Functions<'_>, weights: &[(String, Weight)]) -> Result<Progress, Failure> {
    let units = to_units(weights, UNITS)?;
    let versions = functions.versions()?;
    let mut wanted: Vec<(String, u16)> = Vec::new();
    for (revision, number) in units.into_iter().filter(|(_, number)| *number > 0) {
        let version = versions.get(&revision).ok_or_else(|| {
            Failure::not_found(format!(
                "the function {} has no version for revision {revision}",
                functions.place.function
            ))
            .retry_after(crate::A_MOMENT)
        })?;
        wanted.push((version.newest.version.clone(), number));
    }
    let name = &functions.lambda.alias;
    let alias = functions.api.alias(name)?;
    let shown: Vec<_> = weights.iter().map(|(revision, weight)| format!("{revision} {weight}")).collect();
    let done = Ok(Progress::done(format!("alias {name}: {}", shown.join(", "))));
    // The one that is first stays first, where it can: what is first serves while AWS changes weights.
    let first_now = alias.as_ref().map(|alias| alias.function_version.clone());
    wanted.sort_by_key(|(version, number)| (std::cmp::Reverse(*number), Some(version) != first_now.as_ref()));
    let (first, second) = match wanted.as_slice() {
        [] => {
            if alias.is_some() {
                functions.api.delete_alias(name)?;
            }
            return Ok(Progress::done(format!("alias {name} is gone: nobody has traffic")));
        }
        [(only, _)] => (only, None),
        [(first, _), (second, number)] => (first, Some((second.clone(), f64::from(*number) / f64::from(UNITS)))),
        more => {
            return Err(Failure::invalid(format!(
                "an alias leads to two versions at the most, and {} should have traffic",
                more.len()
            )));
        }
    };
    let second: BTreeMap<String, f64> = second.into_iter().collect();
    let Some(alias) = alias else {
        let description = format!(
            "{} of {}/{}, by basb-host",
            functions.service.service, functions.service.deployment, functions.service.environment
        );
        let made = functions.api.create_alias(name, first, &description).map_err(Failure::from)?;
        if !second.is_empty() {
            functions.api.update_alias(name, first, &second, made.revision_id.as_deref()).map_err(Failure::from)?;
        }
        return done;
    };
    // Also where it seems to be so already: what was read may be of a moment ago, and the lock tells.
    functions.api.update_alias(name, first, &second, alias.revision_id.as_deref()).map_err(Failure::from)?;
    done
}
