//! Shares of traffic in a counterpart's units and back.

use basb_plugin::{Failure, Weight};

/// All of the traffic, in hundredths of a percent.
const ALL: u64 = 10_000;

/// The shares as whole numbers of `units` (100 for percent, 1000 for tenths of a percent), in the same order.
///
/// # Errors
/// Where a share is no whole number of units, or where they are not all of the traffic or none of it: a provider sets
/// what it was asked for and nothing near it.
pub fn to_units(weights: &[(String, Weight)], units: u16) -> Result<Vec<(String, u16)>, Failure> {
    let sum: u64 = weights.iter().map(|(_, weight)| u64::from(weight.hundredths())).sum();
    if sum != ALL && sum != 0 {
        let shown: Vec<_> = weights.iter().map(|(revision, weight)| format!("{revision} {weight}")).collect();
        return Err(Failure::invalid(format!("the shares do not make all of the traffic: {}", shown.join(", "))));
    }
    let convert = |(revision, weight): &(String, Weight)| {
        let scaled = u64::from(weight.hundredths()) * u64::from(units);
        match (scaled % ALL, u16::try_from(scaled / ALL)) {
            (0, Ok(number)) => Ok((revision.clone(), number)),
            _ => Err(Failure::invalid(format!(
                "{weight} for {revision} cannot be made: the smallest change here is {}",
                Weight::from_hundredths(u16::try_from(ALL / u64::from(units.max(1))).unwrap_or(1))
            ))),
        }
    };
    weights.iter().map(convert).collect()
}

/// Numbers that stand in a relation (a counterpart's weights, whatever their sum) as shares that add up exactly.
///
/// What rounding leaves over goes to those that lost most by it, so the shares are always all of the traffic; nothing
/// for everybody where every number is 0.
pub fn from_units<K: Clone>(numbers: &[(K, u64)]) -> Vec<(K, Weight)> {
    let sum: u64 = numbers.iter().fold(0, |sum, (_, number)| sum.saturating_add(*number));
    if sum == 0 {
        return numbers.iter().map(|(key, _)| (key.clone(), Weight::ZERO)).collect();
    }
    let mut shares: Vec<(u64, u64)> = Vec::with_capacity(numbers.len());
    for (_, number) in numbers {
        let scaled = u128::from(*number) * u128::from(ALL);
        let whole = u64::try_from(scaled / u128::from(sum)).unwrap_or(ALL);
        let lost = u64::try_from(scaled % u128::from(sum)).unwrap_or(0);
        shares.push((whole, lost));
    }
    let mut left = ALL.saturating_sub(shares.iter().map(|(whole, _)| whole).sum());
    let mut order: Vec<usize> = (0..shares.len()).collect();
    order.sort_by_key(|index| std::cmp::Reverse(shares.get(*index).map_or(0, |(_, lost)| *lost)));
    for index in order {
        if left == 0 {
            break;
        }
        if let Some((whole, lost)) = shares.get_mut(index)
            && *lost > 0
        {
            *whole += 1;
            left -= 1;
        }
    }
    let weight = |whole: u64| Weight::from_hundredths(u16::try_from(whole).unwrap_or(u16::MAX));
    numbers.iter().zip(shares).map(|((key, _), (whole, _))| (key.clone(), weight(whole))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn weights(all: &[u16]) -> Vec<(String, Weight)> {
        all.iter().enumerate().map(|(n, weight)| (format!("r{n}"), Weight::from_hundredths(*weight))).collect()
    }

    #[test]
    fn what_can_be_made_is_made_exactly() {
        let units = |all: &[u16], units| {
            to_units(&weights(all), units).map(|made| made.into_iter().map(|(_, number)| number).collect::<Vec<_>>())
        };
        assert_eq!(units(&[9_000, 1_000], 100).unwrap(), [90, 10]);
        assert_eq!(units(&[9_990, 10], 1_000).unwrap(), [999, 1]);
        assert_eq!(units(&[10_000], 1_000).unwrap(), [1_000]);
        assert_eq!(units(&[0, 0], 100).unwrap(), [0, 0]);
        assert_eq!(units(&[], 100).unwrap(), [0; 0]);
        assert!(units(&[9_995, 5], 1_000).unwrap_err().message.contains("smallest change here is 0.1 %"));
        assert!(units(&[9_000], 100).unwrap_err().message.contains("do not make all"));
    }

    #[test]
    fn shares_add_up_whatever_the_numbers() {
        for numbers in
            [vec![1, 2], vec![1, 1, 1], vec![999, 1], vec![0, 7], vec![3, 3, 3, 3, 3, 3, 3], vec![u64::MAX, 1]]
        {
            let keyed: Vec<_> = numbers.iter().map(|number| ((), *number)).collect();
            let sum: u32 = from_units(&keyed).iter().map(|(_, weight)| u32::from(weight.hundredths())).sum();
            assert_eq!(sum, 10_000, "{numbers:?}");
        }
        let none = from_units(&[("a", 0), ("b", 0)]);
        assert!(none.iter().all(|(_, weight)| *weight == Weight::ZERO));
        // Nobody without a number gets what rounding left.
        assert_eq!(from_units(&[("a", 0), ("b", 1), ("c", 2)])[0].1, Weight::ZERO);
    }

    #[test]
    fn what_was_set_is_what_is_read() {
        for tenths in 0..=1_000_u16 {
            let set = weights(&[10_000 - tenths * 10, tenths * 10]);
            let units = to_units(&set, 1_000).unwrap();
            let read = from_units(&units.into_iter().map(|(key, number)| (key, u64::from(number))).collect::<Vec<_>>());
            assert_eq!(read, set);
        }
    }
}
