//! Shares of traffic made by numbers of instances: pure arithmetic.
//!
//! A Service gives every ready pod behind it the same share, so the shares of revisions are those of their pods.

use std::collections::BTreeMap;

use basb_cloud_kit::from_units;
use basb_plugin::Weight;

/// A revision, its wanted share, and the most instances that it may have.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Wanted {
    pub revision: String,
    pub weight: Weight,
    pub most: u32,
}

/// How many instances each revision gets: as many as there may be in all, in the relation of the shares, rounded to the
/// nearest (ties up), and never none for whoever has a share.
pub fn counts(wanted: &[Wanted]) -> BTreeMap<String, u32> {
    // The one that has the fewest instances for its share bounds all others.
    let bound = wanted
        .iter()
        .filter(|one| one.weight > Weight::ZERO)
        .min_by_key(|one| u64::from(one.most) * 1_000_000 / u64::from(one.weight.hundredths()));
    let Some(bound) = bound else { return BTreeMap::new() };
    let (most, share) = (u64::from(bound.most), u64::from(bound.weight.hundredths()));
    wanted
        .iter()
        .filter(|one| one.weight > Weight::ZERO)
        .map(|one| {
            let exact = most * u64::from(one.weight.hundredths());
            let nearest = (exact + share / 2) / share;
            let count = u32::try_from(nearest).unwrap_or(one.most).clamp(1, one.most.max(1));
            (one.revision.clone(), count)
        })
        .collect()
}

/// The shares that these numbers make.
pub fn achieved(counts: &BTreeMap<String, u32>) -> BTreeMap<String, Weight> {
    let numbers: Vec<(String, u64)> =
        counts.iter().map(|(revision, count)| (revision.clone(), u64::from(*count))).collect();
    from_units(&numbers).into_iter().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn made(all: &[(f64, u32)]) -> Vec<(u32, f64)> {
        let wanted: Vec<Wanted> = all
            .iter()
            .enumerate()
            .map(|(at, (percent, most))| Wanted {
                revision: format!("r{at}"),
                weight: Weight::from_percent(*percent).unwrap(),
                most: *most,
            })
            .collect();
        let counts = counts(&wanted);
        let achieved = achieved(&counts);
        counts.iter().map(|(revision, count)| (*count, achieved[revision].percent())).collect()
    }

    #[test]
    fn instances_make_the_nearest_share_with_as_many_as_there_are() {
        assert_eq!(made(&[(90.0, 4), (10.0, 1)]), [(4, 80.0), (1, 20.0)]);
        assert_eq!(made(&[(50.0, 4), (50.0, 2)]), [(2, 50.0), (2, 50.0)]);
        assert_eq!(made(&[(25.0, 4), (75.0, 3)]), [(1, 25.0), (3, 75.0)]);
        assert_eq!(made(&[(10.0, 4), (90.0, 4)]), [(1, 20.0), (4, 80.0)]);
        assert_eq!(made(&[(90.0, 4), (10.0, 4)]), [(4, 80.0), (1, 20.0)]);
        assert_eq!(made(&[(90.0, 18), (10.0, 2)]), [(18, 90.0), (2, 10.0)]);
        assert_eq!(made(&[(60.0, 4), (30.0, 4), (10.0, 1)]), [(4, 57.14), (2, 28.57), (1, 14.29)]);
        assert_eq!(made(&[(100.0, 3), (0.0, 3)]), [(3, 100.0)]);
        assert_eq!(made(&[(0.0, 3)]), []);
    }

    #[test]
    fn nobody_with_a_share_has_no_instance_and_nobody_more_than_it_may() {
        for percent in 1..100_u8 {
            for (one, other) in [(1, 1), (1, 9), (9, 1), (3, 4), (100, 2)] {
                let percent = f64::from(percent);
                let made = made(&[(100.0 - percent, one), (percent, other)]);
                assert!((1..=one).contains(&made[0].0) && (1..=other).contains(&made[1].0), "{percent} {made:?}");
            }
        }
    }
}
