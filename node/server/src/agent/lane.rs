//! What a lane can pay. The sum of `paid` and `deposit` does not change when a voucher is claimed, so a limit computed
//! from them holds however far the settler has come.

use minus_bindings::Amount;

/// A lane as the chain has it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Lane {
    /// There and unclaimed.
    pub(crate) deposit: Amount,
    /// Running total ever claimed.
    pub(crate) paid: Amount,
    /// How much of the deposit is under notice to leave. Not counted on.
    pub(crate) thawing: Amount,
}

impl Lane {
    /// The highest running total that the lane pays in full.
    pub(crate) fn limit(&self) -> Amount {
        let staying = self.deposit.saturating_sub(self.thawing);
        self.paid.checked_add(staying).unwrap_or(Amount::MAX)
    }

    /// Whether `total`, already owed, and all of `reserves`, which may become owed, stay within the limit.
    pub(crate) fn covers(&self, total: Amount, reserves: &[Amount]) -> bool {
        reserves.iter().try_fold(total, |sum, reserve| sum.checked_add(*reserve)).is_some_and(|sum| sum <= self.limit())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn units(value: u128) -> Amount {
        Amount::from_base_units(value).expect("a small amount")
    }

    fn lane(deposit: u128, paid: u128, thawing: u128) -> Lane {
        Lane { deposit: units(deposit), paid: units(paid), thawing: units(thawing) }
    }

    #[test]
    fn refuses_a_reserve_above_what_stays() {
        assert!(!lane(100, 0, 0).covers(units(50), &[units(30), units(21)]));
        assert!(!lane(100, 0, 60).covers(units(0), &[units(41)]));
        assert!(!lane(0, 0, 0).covers(units(0), &[units(1)]));
    }

    #[test]
    fn refuses_when_the_sum_leaves_its_range() {
        assert!(!lane(100, 0, 0).covers(units(1), &[Amount::MAX]));
    }

    #[test]
    fn covers_up_to_the_limit() {
        assert!(lane(100, 0, 0).covers(units(50), &[units(30), units(20)]));
        assert!(lane(100, 0, 60).covers(units(0), &[units(40)]));
    }

    #[test]
    fn a_claim_does_not_move_the_limit() {
        assert_eq!(lane(100, 20, 0).limit(), lane(70, 50, 0).limit());
    }

    #[test]
    fn a_thaw_above_the_deposit_leaves_nothing() {
        assert_eq!(lane(10, 5, 60).limit(), units(5));
    }
}
