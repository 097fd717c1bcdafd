//! What an operator owes relays, against what its escrow holds for it. Pure.
//!
//! A relay takes a voucher only while lane and open balance of the agent's operator cover it, money under notice not
//! counted; and it may claim at any time. All relays share the open balance, so coverage is a matter of all debts together.

use std::collections::BTreeMap;

use alloy::primitives::Address;
use minus_bindings::Amount;
use serde::{Deserialize, Serialize};

use crate::store::Debt;

/// What one operator owes all relays together.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Owing {
    /// The operator.
    pub payer: Address,
    /// Lanes on which something is due.
    pub lanes: u64,
    /// What was promised and is not paid.
    pub due: Amount,
    /// Its open balance, money under notice included.
    pub open_balance: Amount,
    /// What of `due` no money stands behind, money under notice not counted: relays stop carrying for it.
    pub uncovered: Amount,
    /// What of that is covered by money under notice, until it leaves.
    pub under_notice: Amount,
}

/// Sums up debts by operator, in the order of their addresses.
#[must_use]
pub fn owing(debts: &[Debt]) -> Vec<Owing> {
    let mut sums: BTreeMap<Address, Sum> = BTreeMap::new();
    for debt in debts {
        sums.entry(debt.voucher.payer).or_default().add(debt);
    }
    sums.into_iter().map(|(payer, sum)| sum.owing(payer)).collect()
}

/// All operators of a settler together: what is due, what of it is not covered, and what of that is under notice.
#[must_use]
pub fn total(owing: &[Owing]) -> Owing {
    let sum = |of: fn(&Owing) -> Amount| Amount::checked_sum(owing.iter().map(of)).unwrap_or(Amount::MAX);
    Owing {
        payer: Address::ZERO,
        lanes: owing.iter().map(|owing| owing.lanes).sum(),
        due: sum(|owing| owing.due),
        open_balance: sum(|owing| owing.open_balance),
        uncovered: sum(|owing| owing.uncovered),
        under_notice: sum(|owing| owing.under_notice),
    }
}

#[derive(Default)]
struct Sum {
    lanes: u64,
    due: u128,
    /// What the lanes themselves do not hold, money under notice counted and not.
    beyond_lanes: u128,
    beyond_firm_lanes: u128,
    /// The open balance as the lane shows it that was read last.
    seen_at: u64,
    open: Amount,
    open_thawing: Amount,
}

impl Sum {
    fn add(&mut self, debt: &Debt) {
        let (due, view) = (debt.due(), &debt.view);
        let firm = view.deposit.saturating_sub(view.thawing);
        self.lanes += u64::from(!due.is_zero());
        self.due = self.due.saturating_add(due.base_units());
        self.beyond_lanes = self.beyond_lanes.saturating_add(due.saturating_sub(view.deposit).base_units());
        self.beyond_firm_lanes = self.beyond_firm_lanes.saturating_add(due.saturating_sub(firm).base_units());
        if debt.seen_at >= self.seen_at {
            (self.seen_at, self.open, self.open_thawing) = (debt.seen_at, view.open, view.open_thawing);
        }
    }

    fn owing(self, payer: Address) -> Owing {
        let firm = self.open.saturating_sub(self.open_thawing).base_units();
        let uncovered = self.beyond_firm_lanes.saturating_sub(firm);
        let missing = self.beyond_lanes.saturating_sub(self.open.base_units());
        Owing {
            payer,
            lanes: self.lanes,
            due: tokens(self.due),
            open_balance: self.open,
            uncovered: tokens(uncovered),
            under_notice: tokens(uncovered.saturating_sub(missing)),
        }
    }
}

/// Saturates: together, debts exceed what one lane can hold only if nobody could ever pay them.
fn tokens(base_units: u128) -> Amount {
    Amount::from_base_units(base_units).unwrap_or(Amount::MAX)
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests {
    use minus_bindings::SignedVoucher;

    use super::*;
    use crate::store::LaneView;

    fn units(units: u128) -> Amount {
        Amount::from_base_units(units).unwrap()
    }

    /// Owes 100 of which 40 are paid, with nothing in the lane.
    fn debt(payee: u8, view: LaneView) -> Debt {
        let (payer, payee) = (Address::repeat_byte(0xaa), Address::repeat_byte(payee));
        Debt {
            voucher: SignedVoucher { payer, payee, cumulative: units(100), signature: [0; 65] },
            signer: payer,
            recorded_at: 0,
            view: LaneView { paid: units(40), ..view },
            seen_at: 0,
            counterclaim: Amount::ZERO,
            is_under_way: false,
        }
    }

    fn one(debts: &[Debt]) -> (u128, u128, u128) {
        let [owing] = &owing(debts)[..] else { panic!("one operator") };
        (owing.due.base_units(), owing.uncovered.base_units(), owing.under_notice.base_units())
    }

    #[test]
    fn lanes_are_their_payees_and_the_open_balance_is_shared() {
        let open = LaneView { open: units(70), ..LaneView::default() };
        assert_eq!(one(&[debt(1, open)]), (60, 0, 0));
        assert_eq!(one(&[debt(1, open), debt(2, open)]), (120, 50, 0), "what one is paid the other is not");
        let own = LaneView { deposit: units(60), ..open };
        assert_eq!(one(&[debt(1, own), debt(2, open)]), (120, 0, 0));
        let rich = LaneView { deposit: units(500), ..open };
        assert_eq!(one(&[debt(1, rich), debt(2, open), debt(3, open)]), (180, 50, 0), "a lane is nobody else's");
    }

    #[test]
    fn money_under_notice_covers_nothing_and_is_told_apart() {
        let open = LaneView { open: units(100), open_thawing: units(70), ..LaneView::default() };
        assert_eq!(one(&[debt(1, open)]), (60, 30, 30));
        let lane = LaneView { deposit: units(60), thawing: units(60), ..LaneView::default() };
        assert_eq!(one(&[debt(1, lane)]), (60, 60, 60));
        let gone = LaneView { deposit: units(10), thawing: units(60), ..LaneView::default() };
        assert_eq!(one(&[debt(1, gone)]), (60, 60, 10), "claims took from the announced money, too");
    }

    #[test]
    fn what_is_paid_owes_nothing_and_the_last_view_counts() {
        let mut paid = debt(1, LaneView::default());
        paid.view.paid = units(100);
        assert_eq!(one(&[paid]), (0, 0, 0));
        let old = debt(1, LaneView { open: units(500), ..LaneView::default() });
        let new = Debt { seen_at: 7, ..debt(2, LaneView { open: units(100), ..LaneView::default() }) };
        assert_eq!(one(&[new, old]), (120, 20, 0), "the open balance is not as it was");
    }

    #[test]
    fn operators_do_not_pay_for_each_other() {
        let open = LaneView { open: units(1_000), ..LaneView::default() };
        let mut other = debt(1, LaneView::default());
        other.voucher.payer = Address::repeat_byte(0xbb);
        let both = owing(&[debt(1, open), other]);
        assert_eq!(both.iter().map(|owing| owing.uncovered.base_units()).collect::<Vec<_>>(), [0, 60]);
        assert_eq!(total(&both).uncovered, units(60));
    }
}
