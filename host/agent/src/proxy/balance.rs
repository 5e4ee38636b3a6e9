//! Which revision the next request goes to: smooth weighted round robin, laid out in advance.
//!
//! nginx's algorithm gives each revision its exact share over one round, and spreads it evenly within the round, so
//! that any stretch of requests is within about one request of the exact share. Laying the round out in advance turns
//! the choice into one atomic addition, shared by all workers.

use std::sync::atomic::{AtomicU64, Ordering};

use crate::ids::Weight;

/// One round of choices. Each slot holds an index into the list of weights it was made from.
#[derive(Debug)]
pub(crate) struct Schedule {
    slots: Box<[u16]>,
    cursor: AtomicU64,
}

impl Schedule {
    /// Lays out a round for these weights. Empty when all of them are zero.
    pub(crate) fn new(weights: &[Weight]) -> Self {
        Self { slots: lay_out(weights), cursor: AtomicU64::new(0) }
    }

    /// The index of the next choice, or nothing when no weight is above zero.
    pub(crate) fn next(&self) -> Option<usize> {
        match self.slots.len() {
            0 => None,
            1 => self.slots.first().map(|slot| usize::from(*slot)),
            length => {
                let turn = self.cursor.fetch_add(1, Ordering::Relaxed) % (length as u64);
                self.slots.get(usize::try_from(turn).unwrap_or(0)).map(|slot| usize::from(*slot))
            }
        }
    }
}

fn lay_out(weights: &[Weight]) -> Box<[u16]> {
    let shares: Vec<i64> = weights.iter().map(|weight| i64::from(weight.hundredths())).collect();
    let divisor = shares.iter().fold(0, |a, b| greatest_common_divisor(a, *b));
    if divisor == 0 {
        return Box::default();
    }
    let mut entries: Vec<(u16, i64, i64)> = shares
        .iter()
        .enumerate()
        .filter(|(_, share)| **share > 0)
        .filter_map(|(index, share)| Some((u16::try_from(index).ok()?, share / divisor, 0)))
        .collect();
    let total: i64 = entries.iter().map(|(_, share, _)| share).sum();
    let mut slots = Vec::with_capacity(usize::try_from(total).unwrap_or(0));
    for _ in 0..total {
        for (_, share, current) in &mut entries {
            *current += *share;
        }
        // The first of equals wins, so that the layout does not depend on anything but the weights.
        let mut best: Option<&mut (u16, i64, i64)> = None;
        for entry in &mut entries {
            if best.as_ref().is_none_or(|best| entry.2 > best.2) {
                best = Some(entry);
            }
        }
        if let Some((index, _, current)) = best {
            *current -= total;
            slots.push(*index);
        }
    }
    slots.into_boxed_slice()
}

fn greatest_common_divisor(a: i64, b: i64) -> i64 {
    if b == 0 { a } else { greatest_common_divisor(b, a % b) }
}

/// The index of the least loaded of `count` candidates (`None`: not a candidate); equals take turns.
///
/// Each load is read once: it may change while we look, and must not make us find nobody.
pub(crate) fn least_loaded(count: usize, turn: usize, load: impl Fn(usize) -> Option<u32>) -> Option<usize> {
    let start = turn.checked_rem(count)?;
    let mut best: Option<(usize, u32)> = None;
    for index in (start..count).chain(0..start) {
        if let Some(load) = load(index)
            && best.is_none_or(|(_, lowest)| load < lowest)
        {
            best = Some((index, load));
        }
    }
    best.map(|(index, _)| index)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn weights(of: &[u16]) -> Vec<Weight> {
        of.iter().map(|w| Weight::new(*w).unwrap()).collect()
    }

    #[test]
    fn no_weight_no_choice() {
        assert_eq!(Schedule::new(&[]).next(), None);
        assert_eq!(Schedule::new(&weights(&[0, 0])).next(), None);
    }

    #[test]
    fn ten_percent_is_every_tenth() {
        let schedule = Schedule::new(&weights(&[9_000, 1_000]));
        assert_eq!(schedule.slots.len(), 10);
        let picks: Vec<_> = (0..300).map(|_| schedule.next().unwrap()).collect();
        assert_eq!(picks.iter().filter(|p| **p == 1).count(), 30);
    }

    #[test]
    fn the_least_loaded_wins_and_equals_take_turns() {
        let loads = [Some(3), None, Some(1), Some(1)];
        let pick = |turn| least_loaded(4, turn, |index| loads[index]);
        assert_eq!([0, 2, 3, 4].map(pick), [Some(2), Some(2), Some(3), Some(2)]);
        assert_eq!(least_loaded(2, 0, |_| None), None);
        assert_eq!(least_loaded(0, 5, |_| Some(1)), None);
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]

        #[test]
        fn two_revisions_are_within_one_request_of_exact_over_any_window(
            candidate in 0_u16..=10_000, start in 0_usize..20_000, window in 1_usize..2_000,
        ) {
            let schedule = Schedule::new(&weights(&[10_000 - candidate, candidate]));
            for _ in 0..start { schedule.next(); }
            let got = (0..window).filter(|_| schedule.next() == Some(1)).count();
            let exact = window as f64 * f64::from(candidate) / 10_000.0;
            prop_assert!((got as f64 - exact).abs() < 1.0 + 1e-9, "{got} instead of {exact}");
        }

        #[test]
        fn many_revisions_are_exact_over_a_round_and_near_over_a_window(
            raw in prop::collection::vec(0_u16..=100, 1..6), window in 1_usize..500,
        ) {
            prop_assume!(raw.iter().any(|w| *w > 0));
            let total: u32 = raw.iter().map(|w| u32::from(*w)).sum();
            let schedule = Schedule::new(&weights(&raw));
            let round = schedule.slots.len();
            let mut counts = vec![0_u32; raw.len()];
            for _ in 0..round { counts[schedule.next().unwrap()] += 1; }
            for (index, weight) in raw.iter().enumerate() {
                prop_assert_eq!(u64::from(counts[index]) * u64::from(total), u64::from(*weight) * round as u64);
            }
            let mut counts = vec![0_u32; raw.len()];
            for _ in 0..window { counts[schedule.next().unwrap()] += 1; }
            for (index, weight) in raw.iter().enumerate() {
                let exact = window as f64 * f64::from(*weight) / f64::from(total);
                prop_assert!((f64::from(counts[index]) - exact).abs() < 2.0 * raw.len() as f64);
                prop_assert!(*weight > 0 || counts[index] == 0, "a revision without weight was chosen");
            }
        }
    }
}
