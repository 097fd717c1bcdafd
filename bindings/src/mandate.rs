//! What a standing mandate bears at a given second, in the escrow's own arithmetic: `dailyCap` accrues per day, evenly by
//! the second, up to `accrualCap`; charges draw on it. Kept in base units times the seconds of a day, so that nothing is
//! rounded but what is paid out, down to a whole base unit (law 11).

use crate::amount::Amount;
use crate::contracts::IPrepaymentEscrow::Mandate;

/// The scale of [`Mandate::accrued`]: what accrues in a second is then the daily cap itself.
const DAY_S: u128 = 24 * 60 * 60;

/// As the escrow's `mandate` answers it.
impl Mandate {
    /// Whether it bears charges at `now`, in seconds since 1970: until `validUntil` inclusive. One that was never given
    /// ended in 1970.
    #[must_use]
    pub const fn is_in_force(&self, now: u64) -> bool {
        now <= self.validUntil
    }

    /// What could be charged at `now`, in seconds since 1970, if the money is there and nothing is charged before; zero
    /// once it is over. A clock behind the chain's answers for the time of the last charge.
    #[must_use]
    pub fn chargeable(&self, now: u64) -> Amount {
        if !self.is_in_force(now) {
            return Amount::ZERO;
        }
        let seconds = u128::from(now.saturating_sub(self.accruedAt));
        let limit = self.accrualCap.to::<u128>() * DAY_S;
        // 2^64 seconds of 2^96 base units would not fit, but are above any limit: that has 113 bits.
        let accrued = self.dailyCap.to::<u128>().saturating_mul(seconds).saturating_add(self.accrued).min(limit);
        Amount::from_base_units(accrued / DAY_S).expect("at most the accrual cap")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloy::primitives::aliases::U96;

    const GIVEN_AT: u64 = 1_800_000_000;

    fn mandate(daily_cap: u128, accrual_cap: u128, accrued: u128) -> Mandate {
        Mandate {
            dailyCap: U96::from(daily_cap),
            accrualCap: U96::from(accrual_cap),
            validUntil: GIVEN_AT + 1_000_000,
            accrued,
            accruedAt: GIVEN_AT,
        }
    }

    fn chargeable(mandate: &Mandate, seconds: u64) -> u128 {
        mandate.chargeable(GIVEN_AT + seconds).base_units()
    }

    #[test]
    fn bears_nothing_before_it_is_given_and_after_it_is_over() {
        let never = Mandate { validUntil: 0, accruedAt: 0, ..mandate(0, 0, 0) };
        assert_eq!(never.chargeable(GIVEN_AT), Amount::ZERO);
        let full = mandate(1, 7, 7 * DAY_S);
        assert_eq!((chargeable(&full, 1_000_000), chargeable(&full, 1_000_001)), (7, 0));
        assert!(full.is_in_force(full.validUntil) && !full.is_in_force(full.validUntil + 1));
    }

    #[test]
    fn a_clock_that_is_behind_accrues_nothing() {
        let mandate = mandate(100, 100, 3 * DAY_S);
        assert_eq!(mandate.chargeable(GIVEN_AT - 50).base_units(), 3);
        assert_eq!(mandate.chargeable(0).base_units(), 3);
    }

    #[test]
    fn accrues_by_the_second_and_pays_whole_units() {
        let one_a_day = mandate(1, 1_000, 0);
        assert_eq!((chargeable(&one_a_day, 86_399), chargeable(&one_a_day, 86_400)), (0, 1));
        let one_a_second = mandate(86_400, 1_000, 0);
        assert_eq!([0, 1, 2, 999, 1_000, 1_001].map(|s| chargeable(&one_a_second, s)), [0, 1, 2, 999, 1_000, 1_000]);
        // 7 a day are one every 12,342.857 seconds.
        let seven = mandate(7, 1_000, 0);
        assert_eq!((chargeable(&seven, 12_342), chargeable(&seven, 12_343)), (0, 1));
        assert_eq!((chargeable(&seven, 24_685), chargeable(&seven, 24_686)), (1, 2));
    }

    #[test]
    fn what_is_less_than_a_unit_is_kept() {
        let almost = mandate(1, 10, DAY_S - 1);
        assert_eq!((chargeable(&almost, 0), chargeable(&almost, 1)), (0, 1));
    }

    #[test]
    fn gathers_up_to_the_cap_and_not_above_what_it_holds() {
        let mandate = mandate(10, 15, 14 * DAY_S);
        assert_eq!((chargeable(&mandate, 8_639), chargeable(&mandate, 8_640)), (14, 15));
        assert_eq!(chargeable(&mandate, 1_000_000), 15);
    }

    #[test]
    fn the_widest_numbers_fit() {
        let most = Amount::MAX.base_units();
        let widest = Mandate { validUntil: u64::MAX, accruedAt: 0, ..mandate(most, most, most * DAY_S) };
        assert_eq!(widest.chargeable(u64::MAX), Amount::MAX);
        let fast = mandate(most, 5, 0);
        assert_eq!((chargeable(&fast, 0), chargeable(&fast, 1)), (0, 5));
    }
}
