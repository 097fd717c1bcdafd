//! What an agent asks for out of the standing mandate of a payer that is away: a payment on account, never a new debt.
//! Bills stay what they are; what was charged before is in the same running total (law 3), so the voucher that pays the
//! next bill moves only the rest, and what was charged for packets that then expired stays the payer's credit.

use minus_bindings::Amount;

use super::lane::Lane;

/// When an account was last heard of and last charged, seconds since 1970.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Silence {
    /// The last acknowledgement that was accepted; before the first, when the account was opened.
    pub(crate) acknowledged_at: u64,
    /// The last charge; 0 before the first.
    pub(crate) charged_at: u64,
}

impl Silence {
    /// Whether it is time for a charge: an interval after the last one, if the payer was silent as long or is leaving.
    pub(crate) fn is_over(self, lane: &Lane, now_s: u64, interval_s: u64) -> bool {
        let waited = |since: u64| now_s.saturating_sub(since) >= interval_s;
        waited(self.charged_at) && (waited(self.acknowledged_at) || !lane.thawing.is_zero())
    }
}

/// What decides how much is asked for.
#[derive(Clone, Copy, Debug)]
pub(crate) struct OnAccount {
    /// The running total if all that is stored were billed now for its storage and the leg that brought it.
    pub(crate) owed: Amount,
    /// The lane as the chain has it.
    pub(crate) lane: Lane,
    /// The highest total the payer has signed.
    pub(crate) vouchered: Amount,
    /// The highest total asked for by a charge.
    pub(crate) charged: Amount,
    /// What the mandate bears now.
    pub(crate) chargeable: Amount,
}

/// The running total to ask for: what is owed, as far as the lane holds it and the mandate bears it; none if that is
/// nothing new. Money under notice counts: the notice is there so that it can still be taken (law 4).
pub(crate) fn charge(account: &OnAccount) -> Option<Amount> {
    let OnAccount { owed, lane, vouchered, charged, chargeable } = *account;
    let sum = |one: Amount, other: Amount| one.checked_add(other).unwrap_or(Amount::MAX);
    // A voucher that is not claimed yet pays first and takes nothing from the mandate.
    let settled = lane.paid.max(vouchered);
    let total = owed.min(sum(lane.paid, lane.deposit)).min(sum(settled, chargeable));
    (total > settled.max(charged)).then_some(total)
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

    /// 30 were paid, 40 signed for; all bounds are at 70.
    fn account() -> OnAccount {
        OnAccount {
            owed: units(70),
            lane: lane(40, 30, 0),
            vouchered: units(40),
            charged: units(0),
            chargeable: units(30),
        }
    }

    fn asked(account: OnAccount) -> Option<u128> {
        charge(&account).map(|total| total.base_units())
    }

    #[test]
    fn each_bound_is_exact() {
        let all = account();
        assert_eq!(asked(all), Some(70));
        assert_eq!(asked(OnAccount { owed: units(69), ..all }), Some(69));
        assert_eq!(asked(OnAccount { lane: lane(39, 30, 0), ..all }), Some(69));
        assert_eq!(asked(OnAccount { chargeable: units(29), ..all }), Some(69));
        let plenty = OnAccount { lane: lane(1_000, 30, 0), chargeable: units(1_000), ..all };
        assert_eq!(asked(plenty), Some(70), "never more than is owed");
    }

    #[test]
    fn nothing_new_is_not_asked_for() {
        let all = account();
        assert_eq!(asked(OnAccount { charged: units(70), ..all }), None);
        assert_eq!(asked(OnAccount { charged: units(69), ..all }), Some(70));
        assert_eq!(asked(OnAccount { owed: units(40), ..all }), None, "what was signed for is not charged");
        assert_eq!(asked(OnAccount { owed: units(41), ..all }), Some(41));
        assert_eq!(asked(OnAccount { chargeable: Amount::ZERO, ..all }), None);
        assert_eq!(asked(OnAccount { lane: lane(0, 70, 0), ..all }), None, "a surplus paid before is credit");
    }

    #[test]
    fn what_was_paid_without_a_voucher_of_ours_counts_as_settled() {
        assert_eq!(asked(OnAccount { lane: lane(1_000, 60, 0), chargeable: units(5), ..account() }), Some(65));
    }

    #[test]
    fn money_under_notice_is_charged_while_it_is_there() {
        assert_eq!(asked(OnAccount { lane: lane(40, 30, 40), ..account() }), Some(70));
    }

    #[test]
    fn the_widest_numbers_fit() {
        let widest = OnAccount {
            owed: Amount::MAX,
            lane: Lane { deposit: Amount::MAX, paid: units(1), thawing: Amount::ZERO },
            vouchered: units(1),
            charged: units(1),
            chargeable: Amount::MAX,
        };
        assert_eq!(charge(&widest), Some(Amount::MAX));
    }

    #[test]
    fn a_payer_is_left_in_peace_for_an_interval_after_it_was_heard_of_or_charged() {
        let over = |acknowledged_at, charged_at, thawing| {
            Silence { acknowledged_at, charged_at }.is_over(&lane(100, 0, thawing), 1_000, 100)
        };
        assert!(over(900, 0, 0) && over(900, 900, 0));
        assert!(!over(901, 0, 0) && !over(0, 901, 0));
        assert!(over(1_000, 900, 1), "who leaves is not waited for");
        assert!(!over(1_000, 901, 1));
        assert!(!over(2_000, 0, 0), "a clock that was set back waits");
    }
}
