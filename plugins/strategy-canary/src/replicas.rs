//! How many instances make a share of traffic, where traffic follows the instances.

use basb_plugin::Weight;

/// Instances of the candidate and of the stable revision whose share is nearest to the weight; of two that are equally
/// near, the one with fewer instances in all, and then with more of the candidate.
///
/// A weight between nothing and everything gives both sides an instance, except to a service of one without surge. One
/// instance beyond the full number may be used where there may be any.
pub fn nearest(replicas: u32, weight: Weight, surge: u32) -> (u32, u32) {
    let whole = weight == Weight::ZERO || weight == Weight::FULL;
    let most = if surge > 0 && !whole { replicas + 1 } else { replicas };
    let mut best = (u64::MAX, 0, replicas);
    for total in replicas..=most {
        for candidate in 0..=total {
            if !whole && total >= 2 && (candidate == 0 || candidate == total) {
                continue;
            }
            // |candidate / total - weight|, scaled alike for every total so that it compares exactly.
            let wanted = u64::from(weight.hundredths()) * u64::from(total);
            let distance = (u64::from(candidate) * 10_000).abs_diff(wanted) * u64::from(replicas + most - total);
            let nearer = distance < best.0;
            let tied_up = distance == best.0 && total == best.1 + best.2 && candidate > best.1;
            if nearer || tied_up {
                best = (distance, candidate, total - candidate);
            }
        }
    }
    (best.1, best.2)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn percent(percent: f64) -> Weight {
        Weight::from_percent(percent).unwrap()
    }

    #[test]
    fn the_nearest_whole_number_with_ties_up() {
        assert_eq!(nearest(10, percent(10.0), 0), (1, 9));
        assert_eq!(nearest(10, percent(25.0), 0), (3, 7));
        assert_eq!(nearest(10, percent(24.0), 0), (2, 8));
        assert_eq!(nearest(4, percent(10.0), 0), (1, 3), "never nothing: 25 %");
        assert_eq!(nearest(4, percent(99.0), 0), (3, 1), "never everything");
        assert_eq!(nearest(4, percent(0.0), 1), (0, 4));
        assert_eq!(nearest(4, percent(100.0), 1), (4, 0));
    }

    #[test]
    fn one_more_instance_where_it_comes_nearer() {
        assert_eq!(nearest(4, percent(20.0), 1), (1, 4));
        assert_eq!(nearest(4, percent(20.0), 0), (1, 3));
        assert_eq!(nearest(1, percent(50.0), 1), (1, 1));
        assert_eq!(nearest(1, percent(50.0), 0), (1, 0), "tied up");
        assert_eq!(nearest(1, percent(20.0), 0), (0, 1));
    }
}
