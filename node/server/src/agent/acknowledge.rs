//! Judges an acknowledgement: is this voucher the payment of the account's latest statement, and is it good?
//! Refusals from the cheapest lie to the dearest truth; the numbers that decide come from the same transaction that
//! books the outcome.

use alloy::primitives::Address;
use minus_bindings::{Amount, SignedVoucher};
use minus_protocol::Refusal;

use super::lane::Lane;

/// The latest statement of the account.
#[derive(Clone, Debug)]
pub(crate) struct Latest {
    pub(crate) number: u64,
    pub(crate) wallet: Address,
    pub(crate) total: Amount,
    pub(crate) acknowledged: bool,
}

/// Where the account stands.
#[derive(Clone, Debug)]
pub(crate) struct Standing {
    pub(crate) payer: Address,
    pub(crate) payee: Address,
    /// Highest total accepted so far.
    pub(crate) vouchered: Amount,
    pub(crate) latest: Option<Latest>,
    pub(crate) lane: Lane,
}

/// What the wallet offers.
#[derive(Clone, Debug)]
pub(crate) struct Offer<'a> {
    pub(crate) wallet: Address,
    pub(crate) number: u64,
    pub(crate) voucher: &'a SignedVoucher,
    /// Whether the voucher's signer is its payer or a delegate that is not revoked.
    pub(crate) signer_authorized: bool,
}

/// A good offer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// To be booked.
    Accept,
    /// Was booked before; the answer had been lost.
    SameAsBefore,
}

/// Accepts exactly the total of the latest statement, signed for this lane, within what the lane pays.
pub(crate) fn judge(standing: &Standing, offer: &Offer<'_>) -> Result<Verdict, Refusal> {
    let voucher = offer.voucher;
    let right_lane = voucher.payer == standing.payer && voucher.payee == standing.payee;
    if !right_lane || !offer.signer_authorized {
        return Err(Refusal::BadVoucher);
    }
    // First, because an honest wallet may come late: meanwhile another one of the account was billed and paid more.
    let latest = standing
        .latest
        .as_ref()
        .filter(|latest| latest.number == offer.number && latest.wallet == offer.wallet)
        .ok_or(Refusal::Superseded)?;
    if voucher.cumulative < standing.vouchered {
        return Err(Refusal::VoucherBelowLast);
    }
    if latest.acknowledged && voucher.cumulative == latest.total {
        return Ok(Verdict::SameAsBefore);
    }
    if latest.acknowledged {
        return Err(Refusal::Superseded);
    }
    if voucher.cumulative > standing.lane.limit() {
        return Err(Refusal::VoucherAboveLane);
    }
    if voucher.cumulative != latest.total {
        return Err(Refusal::VoucherNotTheTotal);
    }
    Ok(Verdict::Accept)
}

#[cfg(test)]
mod tests {
    use super::*;

    const WALLET: Address = Address::repeat_byte(1);
    const PAYER: Address = Address::repeat_byte(2);
    const PAYEE: Address = Address::repeat_byte(3);

    fn units(value: u128) -> Amount {
        Amount::from_base_units(value).expect("a small amount")
    }

    fn voucher(cumulative: u128) -> SignedVoucher {
        SignedVoucher { payer: PAYER, payee: PAYEE, cumulative: units(cumulative), signature: [0; 65] }
    }

    fn standing() -> Standing {
        Standing {
            payer: PAYER,
            payee: PAYEE,
            vouchered: units(40),
            latest: Some(Latest { number: 7, wallet: WALLET, total: units(50), acknowledged: false }),
            lane: Lane { deposit: units(100), paid: units(0), thawing: units(0) },
        }
    }

    fn offer(voucher: &SignedVoucher) -> Offer<'_> {
        Offer { wallet: WALLET, number: 7, voucher, signer_authorized: true }
    }

    #[test]
    fn refuses_the_wrong_lane() {
        for voucher in [SignedVoucher { payer: PAYEE, ..voucher(50) }, SignedVoucher { payee: PAYER, ..voucher(50) }] {
            assert_eq!(judge(&standing(), &offer(&voucher)), Err(Refusal::BadVoucher));
        }
    }

    #[test]
    fn refuses_a_signer_that_is_not_authorized() {
        let voucher = voucher(50);
        let offer = Offer { signer_authorized: false, ..offer(&voucher) };
        assert_eq!(judge(&standing(), &offer), Err(Refusal::BadVoucher));
    }

    #[test]
    fn refuses_a_voucher_below_the_last() {
        assert_eq!(judge(&standing(), &offer(&voucher(39))), Err(Refusal::VoucherBelowLast));
    }

    #[test]
    fn refuses_an_older_statement_and_another_wallets() {
        let voucher = voucher(50);
        for offer in [
            Offer { number: 6, ..offer(&voucher) },
            Offer { number: 8, ..offer(&voucher) },
            Offer { wallet: PAYER, ..offer(&voucher) },
        ] {
            assert_eq!(judge(&standing(), &offer), Err(Refusal::Superseded));
        }
        let late = self::voucher(39);
        assert_eq!(judge(&standing(), &Offer { number: 6, ..offer(&late) }), Err(Refusal::Superseded));
        let nothing_issued = Standing { latest: None, ..standing() };
        assert_eq!(judge(&nothing_issued, &offer(&voucher)), Err(Refusal::Superseded));
    }

    #[test]
    fn refuses_a_voucher_above_the_lane() {
        assert_eq!(judge(&standing(), &offer(&voucher(101))), Err(Refusal::VoucherAboveLane));
    }

    #[test]
    fn refuses_what_is_thawing() {
        let lane = Lane { thawing: units(51), ..standing().lane };
        let thawing = Standing { lane, ..standing() };
        assert_eq!(judge(&thawing, &offer(&voucher(50))), Err(Refusal::VoucherAboveLane));
    }

    #[test]
    fn refuses_any_other_total() {
        for other in [49, 51] {
            assert_eq!(judge(&standing(), &offer(&voucher(other))), Err(Refusal::VoucherNotTheTotal));
        }
    }

    #[test]
    fn accepts_exactly_the_total() {
        assert_eq!(judge(&standing(), &offer(&voucher(50))), Ok(Verdict::Accept));
    }

    #[test]
    fn accepts_the_same_again_without_booking_it() {
        let mut standing = standing();
        standing.vouchered = units(50);
        if let Some(latest) = &mut standing.latest {
            latest.acknowledged = true;
        }
        assert_eq!(judge(&standing, &offer(&voucher(50))), Ok(Verdict::SameAsBefore));
        assert_eq!(judge(&standing, &offer(&voucher(51))), Err(Refusal::Superseded));
    }
}
