//! Which payers owe more than the operator wants to be owed by one of them. Pure. What was signed and is not paid counts,
//! in all of a payer's lanes, whether it waits or is under way; whether there is money behind it does not matter.

use std::collections::HashMap;

use alloy::primitives::Address;
use minus_bindings::Amount;

use crate::store::OpenVoucher;

/// Marks the vouchers of such payers. `under_way` is what transactions that have not ended are to move, by payer.
pub fn mark<'a>(open: impl IntoIterator<Item = &'a mut OpenVoucher>, under_way: &[(Address, Amount)], limit: Amount) {
    let open: Vec<&mut OpenVoucher> = open.into_iter().collect();
    let waiting = open.iter().map(|open| (open.voucher.payer, open.voucher.cumulative.saturating_sub(open.view.paid)));
    let mut owed: HashMap<Address, u128> = HashMap::new();
    for (payer, amount) in waiting.chain(under_way.iter().copied()) {
        let sum = owed.entry(payer).or_default();
        *sum = sum.saturating_add(amount.base_units());
    }
    for open in open {
        open.exposed = owed.get(&open.voucher.payer).is_some_and(|owed| *owed > limit.base_units());
    }
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

    fn voucher(payer: u8, cumulative: u128, paid: u128) -> OpenVoucher {
        let (payer, payee) = (Address::repeat_byte(payer), Address::repeat_byte(0xaa));
        OpenVoucher {
            id: 1,
            voucher: SignedVoucher { payer, payee, cumulative: units(cumulative), signature: [0; 65] },
            signer: payer,
            recorded_at: 0,
            retry_at: 0,
            asked: false,
            held: None,
            closing_claimed_at: 0,
            failures: 0,
            exposed: false,
            set_off: None,
            backs: false,
            view: LaneView { paid: units(paid), ..LaneView::default() },
        }
    }

    #[test]
    fn all_lanes_of_a_payer_count_and_what_is_under_way() {
        let exposed = |under_way: &[(Address, Amount)]| {
            let mut open = [voucher(1, 60, 10), voucher(1, 50, 0), voucher(2, 100, 0), voucher(3, 900, 850)];
            mark(&mut open, under_way, units(100));
            open.map(|open| open.exposed)
        };
        assert_eq!(exposed(&[]), [false; 4], "a limit may be reached, not crossed");
        assert_eq!(exposed(&[(Address::repeat_byte(1), units(1))]), [true, true, false, false]);
        assert_eq!(exposed(&[(Address::repeat_byte(3), units(51))]), [false, false, false, true]);
    }
}
