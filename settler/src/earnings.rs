//! Earnings over time: mined transactions, added up by steps of time. Pure but for the reading, which goes in short
//! steps, so that a long history holds up no writer.

use minus_bindings::Amount;

use crate::reports::{Earnings, EarningsStep, Range};
use crate::store::{self, Earning, Store, StoreError};

const HOUR_S: u64 = 3_600;
const DAY_S: u64 = 24 * HOUR_S;
/// A plot of more steps than this tells a person nothing more; beyond, they get longer.
const STEPS_MAX: u64 = 120;
/// Transactions read at once.
const READ_ROWS: u32 = 1_000;

/// The earnings of one stretch of time.
///
/// # Errors
/// When the database fails.
pub async fn read(store: &Store, range: Range, now: u64) -> Result<Earnings, StoreError> {
    let mut earnings = Vec::new();
    let Some(since) = start(range, now) else {
        // From the sums by day: transactions that were removed from the log count as well.
        earnings.extend(store.earnings(0, u64::MAX).await?.into_iter().map(of_a_day));
        return Ok(add_up(range, &earnings, now));
    };
    let mut after = 0;
    loop {
        let rows = store.earnings_after(since, after, READ_ROWS).await?;
        let Some((last, _)) = rows.last() else { break };
        after = *last;
        earnings.extend(rows.into_iter().map(|(_, earning)| earning));
    }
    Ok(add_up(range, &earnings, now))
}

fn of_a_day(day: store::Earnings) -> Earning {
    Earning {
        at: day.day.saturating_mul(DAY_S),
        paid: day.moved,
        vouchers: day.moved_rows,
        gas_used: day.gas_used,
        fee_wei: day.fee_wei,
        claims: day.transactions,
    }
}

/// Where a stretch begins, if not with the first claim. Steps begin at whole hours and days of UTC, so that the same
/// claim is in the same step whenever one looks.
fn start(range: Range, now: u64) -> Option<u64> {
    let (steps, step_s) = match range {
        Range::Day => (24, HOUR_S),
        Range::Week => (28, DAY_S / 4),
        Range::Month => (30, DAY_S),
        Range::All => return None,
    };
    Some(floor(now, step_s).saturating_sub((steps - 1) * step_s))
}

fn floor(time: u64, step_s: u64) -> u64 {
    time - time % step_s
}

/// Adds up by steps. What was stored after `now`, by a clock that was wrong, counts as now.
#[must_use]
pub fn add_up(range: Range, earnings: &[Earning], now: u64) -> Earnings {
    let first = earnings.iter().map(|earning| earning.at.min(now)).min().unwrap_or(now);
    let step_s = match range {
        Range::Day => HOUR_S,
        Range::Week => DAY_S / 4,
        Range::Month => DAY_S,
        Range::All => DAY_S * (floor(now, DAY_S).saturating_sub(floor(first, DAY_S)) / DAY_S / STEPS_MAX + 1),
    };
    let from = start(range, now).unwrap_or_else(|| floor(first, step_s));
    let mut steps = Vec::new();
    let mut at = from;
    while at <= now {
        steps.push(EarningsStep { from: at, ..EarningsStep::default() });
        at += step_s;
    }
    for earning in earnings {
        let Some(since) = earning.at.min(now).checked_sub(from) else { continue };
        let step = usize::try_from(since / step_s).ok().and_then(|step| steps.get_mut(step));
        if let Some(step) = step {
            step.paid = step.paid.checked_add(earning.paid).unwrap_or(Amount::MAX);
            step.claims += earning.claims;
            step.vouchers += earning.vouchers;
            step.gas_used += earning.gas_used;
            step.fee_wei = step.fee_wei.saturating_add(earning.fee_wei);
        }
    }
    Earnings { range, from, step_s, steps }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    /// Some noon.
    const NOW: u64 = 20_000 * DAY_S + 12 * HOUR_S;

    fn earning(at: u64, units: u128) -> Earning {
        let paid = Amount::from_base_units(units).unwrap();
        Earning { at, paid, vouchers: 2, gas_used: 50_000, fee_wei: u128::from(u64::MAX), claims: 1 }
    }

    #[test]
    fn every_claim_is_in_exactly_one_step_of_each_stretch() {
        let all =
            [earning(NOW - 400 * DAY_S, 1), earning(NOW - 6 * DAY_S, 20), earning(NOW - 90, 300), earning(NOW, 4_000)];
        for (range, expected, steps) in
            [(Range::Day, 4_300, 24), (Range::Week, 4_320, 28), (Range::Month, 4_320, 30), (Range::All, 4_321, 101)]
        {
            let given = add_up(range, &all, NOW);
            let sum: u128 = given.steps.iter().map(|step| step.paid.base_units()).sum();
            assert_eq!((sum, given.steps.len()), (expected, steps), "{range:?}");
            assert!(
                given
                    .steps
                    .iter()
                    .zip(1..)
                    .all(|(step, next)| step.from + given.step_s == given.from + next * given.step_s)
            );
            assert!(given.steps.last().unwrap().from <= NOW && NOW < given.steps.last().unwrap().from + given.step_s);
        }
    }

    #[test]
    fn sums_are_exact_and_a_clock_that_was_wrong_loses_nothing() {
        let given = add_up(Range::Day, &[earning(NOW + 10 * DAY_S, 7), earning(NOW, 7)], NOW);
        let last = given.steps.last().unwrap();

        assert_eq!((last.paid.base_units(), last.claims, last.vouchers, last.gas_used), (14, 2, 4, 100_000));
        assert_eq!(last.fee_wei, 2 * u128::from(u64::MAX));
    }

    #[test]
    fn a_reverted_claim_costs_and_is_none() {
        let reverted = Earning { claims: 0, ..earning(NOW, 0) };
        let given = add_up(Range::All, &[reverted], NOW);

        assert_eq!((given.steps.len(), given.steps[0].claims, given.steps[0].gas_used), (1, 0, 50_000));
        assert_eq!(add_up(Range::All, &[], NOW).steps.len(), 1, "nothing yet is one empty step");
    }
}
