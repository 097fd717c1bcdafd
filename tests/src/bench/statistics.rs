//! Samples of one run and spreads over several: pure arithmetic.

use std::time::Duration;

use serde::Serialize;

/// Durations of one run, in microseconds.
#[derive(Debug, Clone, Default)]
pub struct Samples(Vec<u32>);

impl Samples {
    /// Adds one. What takes longer than an hour counts as an hour.
    pub fn add(&mut self, duration: Duration) {
        self.0.push(u32::try_from(duration.as_micros()).unwrap_or(u32::MAX));
    }

    /// Adds all of another run's part.
    pub fn merge(&mut self, other: &Self) {
        self.0.extend_from_slice(&other.0);
    }

    /// How many there are.
    pub fn count(&self) -> u64 {
        u64::try_from(self.0.len()).unwrap_or(u64::MAX)
    }

    /// The smallest sample that is at least as long as `per_mille` thousandths of all, in milliseconds (nearest rank); of
    /// none, not a number.
    pub fn quantile_ms(&self, per_mille: usize) -> f64 {
        let mut sorted = self.0.clone();
        sorted.sort_unstable();
        let rank = (sorted.len() * per_mille).div_ceil(1000).max(1);
        sorted.get(rank - 1).map_or(f64::NAN, |micros| f64::from(*micros) / 1e3)
    }
}

/// One figure over the rounds of a comparison.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Spread {
    /// The middle one; of an even number, the mean of both in the middle.
    pub median: f64,
    /// The smallest.
    pub min: f64,
    /// The largest.
    pub max: f64,
}

impl Spread {
    /// Over the rounds; None when there were none or one is not a number.
    pub fn of(rounds: &[f64]) -> Option<Self> {
        if rounds.is_empty() || rounds.iter().any(|figure| figure.is_nan()) {
            return None;
        }
        let mut sorted = rounds.to_vec();
        sorted.sort_by(f64::total_cmp);
        let (low, high) = (sorted[(sorted.len() - 1) / 2], sorted[sorted.len() / 2]);
        Some(Self { median: f64::midpoint(low, high), min: sorted[0], max: sorted[sorted.len() - 1] })
    }
}

/// A count as a number to divide with.
pub fn number(count: u64) -> f64 {
    // Exact up to 2^53 in two halves, each of which has a lossless conversion.
    let high = u32::try_from(count >> 32).expect("the upper half of 64 bits has 32");
    let low = u32::try_from(count & u64::from(u32::MAX)).expect("the lower half of 64 bits has 32");
    f64::from(high) * 4_294_967_296.0 + f64::from(low)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_quantile_is_a_sample_of_the_nearest_rank() {
        let mut samples = Samples::default();
        assert!(samples.quantile_ms(500).is_nan());
        for ms in (1..=100).rev() {
            samples.add(Duration::from_millis(ms));
        }
        assert_eq!(samples.quantile_ms(0), 1.0);
        assert_eq!(samples.quantile_ms(500), 50.0);
        assert_eq!(samples.quantile_ms(990), 99.0);
        assert_eq!(samples.quantile_ms(1000), 100.0);
    }

    #[test]
    fn the_parts_of_a_run_count_together() {
        let (mut one, mut other) = (Samples::default(), Samples::default());
        one.add(Duration::from_micros(1_500));
        other.add(Duration::from_micros(2_500));
        one.merge(&other);
        assert_eq!((one.count(), one.quantile_ms(1000)), (2, 2.5));
    }

    #[test]
    fn a_spread_does_not_depend_on_the_order_of_rounds() {
        let spread = Spread { median: 2.0, min: 1.0, max: 9.0 };
        assert_eq!(Spread::of(&[9.0, 1.0, 2.0]), Some(spread));
        assert_eq!(Spread::of(&[4.0, 1.0, 2.0, 9.0]).map(|spread| spread.median), Some(3.0));
        assert_eq!(Spread::of(&[]), None);
        assert_eq!(Spread::of(&[1.0, f64::NAN]), None);
    }

    #[test]
    fn counts_keep_their_value() {
        for count in [0, 1, u64::from(u32::MAX), 1 << 32, (1 << 53) - 1] {
            assert_eq!(format!("{:.0}", number(count)), count.to_string());
        }
    }
}
