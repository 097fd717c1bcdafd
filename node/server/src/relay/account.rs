//! A relay's account with an agent: what counts as carried, what is exposed, what a voucher confirms.
//!
//! **Inbound.** The agent answers 202 with a receipt (`new` or `duplicate`) and says in `minus-metered` what it counted.
//! This relay believes the receipt for *whether* and its own ruler for *how much*:
//!
//! | receipt | `minus-metered` | counted | why |
//! |---|---|---|---|
//! | new | the length | the length | both agree |
//! | new | absent, less or more | the length, disputed | silence makes nothing free, and nobody is billed more than was brought |
//! | unreadable | absent or above 0 | the length, disputed | 202 says it is stored; garbled words must not be cheaper than plain ones |
//! | unreadable | 0 | as a duplicate | a duplicate's answer that broke off |
//! | duplicate | absent or 0 | nothing | law 9 |
//! | duplicate | above 0 | that, at most the length | the agent says itself that it owes it |
//!
//! What is counted and not confirmed stays exposed until a voucher confirms it, so an agent that lies about length gains
//! at most its credit. A *duplicate* is where it could go on for ever: saying so of new packets costs it nothing at once.
//! So duplicates are told apart. Those of packets that this relay itself had stored there are explained; a sender repeats
//! them at its own cost, and they harm nobody's account. The rest are carriage in vain. A sender could make an honest agent
//! look like that, but only with packets that it got stored by another way first, each paid for by its recipient.
//!
//! **Outbound** becomes certain when the customer acknowledges. What a broken stream pushed is in vain.
//!
//! **In vain** is forgiven up to a setting and a share of what the agent did pay for, and is exposure beyond that. So
//! the most that an agent gains by breaking streams and crying duplicate is `relay_write_off_bytes` and one byte in
//! [`FORGIVEN_SHARE`] paid ones; then it has to pay, which makes room again. Duplicates in vain are counted in memory: a
//! restart of this relay forgives them, and no agent can restart its relay.

use alloy::primitives::Address;
use minus_bindings::Amount;
use minus_protocol::{MeterLine, RelayStatement, Stored, Tariff, due};

use crate::store::peers::Earned;

/// One byte in vain is forgiven for so many paid ones: customers on trains break their streams, though rarely the greater
/// part of them.
const FORGIVEN_SHARE: u128 = 4;

/// How far this relay trusts an agent.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Terms {
    pub(crate) tariff_version: u32,
    pub(crate) tariff: Tariff,
    /// What may be owed without a voucher.
    pub(crate) credit: Amount,
    /// What may be carried in vain without anything paid yet.
    pub(crate) write_off_bytes: u64,
}

/// What a 202 is worth.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Carried {
    /// Both count the same.
    Agreed(u64),
    /// Counted against the agent's word.
    Disputed(u64),
    /// Stored before. The bytes that the agent counts nevertheless.
    Duplicate(u64),
}

/// Judges a 202 for a packet of `length` bytes; see the table above.
pub(crate) fn carried(receipt: Option<Stored>, metered: Option<u64>, length: u64) -> Carried {
    match (receipt, metered) {
        (Some(Stored::Duplicate), said) => Carried::Duplicate(said.unwrap_or(0).min(length)),
        (None, Some(0)) => Carried::Duplicate(0),
        (Some(Stored::New), Some(said)) if said == length => Carried::Agreed(length),
        (Some(Stored::New) | None, _) => Carried::Disputed(length),
    }
}

/// Bytes carried for which no voucher is held. `duplicates` are those in vain.
pub(crate) fn exposed_bytes(earned: &Earned, duplicates: u128, write_off_bytes: u64) -> u128 {
    let inbound = earned.inbound_bytes.saturating_sub(earned.inbound_confirmed);
    let outbound =
        earned.outbound_bytes.saturating_sub(earned.outbound_written_off).saturating_sub(earned.outbound_confirmed);
    let paid = earned.inbound_confirmed.saturating_add(earned.outbound_confirmed);
    let forgiven = (paid / FORGIVEN_SHARE).saturating_add(write_off_bytes.into());
    let in_vain = earned.outbound_written_off.saturating_add(duplicates);
    inbound.saturating_add(outbound).saturating_add(in_vain.saturating_sub(forgiven))
}

/// Whether the agent confirmed more than this relay counted: the relay died before it counted, and something was under way
/// when it last heard so. Nothing is exposed then, and yet the agent has to be asked once more.
pub(crate) const fn is_behind(earned: &Earned) -> bool {
    earned.inbound_confirmed > earned.inbound_bytes || earned.outbound_confirmed > earned.outbound_bytes
}

/// What bytes are worth at the agent's present tariff.
pub(crate) fn worth(bytes: u128, terms: &Terms) -> Amount {
    let meter = minus_protocol::Meter { relayed: bytes, ..minus_protocol::Meter::default() };
    due(&[MeterLine { tariff_version: terms.tariff_version, tariff: terms.tariff, meter }]).unwrap_or(Amount::MAX)
}

/// What this relay carries for the agent at this moment and has not counted to its end.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct UnderWay {
    /// Requests whose answers are not counted yet.
    pub(crate) requests: bool,
    /// Streams that are open, or not counted to their end.
    pub(crate) streams: bool,
}

/// Takes over what the agent confirmed. `vouchered` is the total of the voucher that was verified for it, none if
/// nothing is owed.
///
/// The agent counts in the transaction that stores; this relay may have died before it counted, and takes the higher
/// count over. But not while something is under way: what the agent has counted already, this relay is yet to count.
pub(crate) fn confirm(
    earned: &Earned,
    said: &RelayStatement,
    vouchered: Option<Amount>,
    under_way: UnderWay,
) -> Earned {
    let mut now = earned.clone();
    now.inbound_confirmed = said.inbound_bytes;
    now.outbound_confirmed = said.outbound_bytes;
    if !under_way.requests {
        now.inbound_bytes = earned.inbound_bytes.max(said.inbound_bytes);
    }
    let unconfirmed = earned.outbound_bytes.saturating_sub(said.outbound_bytes);
    if under_way.streams {
        now.outbound_written_off = earned.outbound_written_off.min(unconfirmed);
    } else {
        now.outbound_bytes = earned.outbound_bytes.max(said.outbound_bytes);
        now.outbound_written_off = unconfirmed;
    }
    now.vouchered = now.vouchered.max(vouchered.unwrap_or_default());
    now
}

/// Why a relay statement is not worth what it says.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Unpaid {
    #[error("the payer is not the agent's operator")]
    WrongPayer,
    #[error("the total is not base plus lines")]
    WrongTotal,
    #[error("a line's prices are not the agent's tariff")]
    WrongTariff,
    #[error("fewer bytes are billed than counted")]
    WrongBytes,
    #[error("there is no voucher for what is owed")]
    NoVoucher,
    #[error("the voucher is not for the total, or not for this lane")]
    WrongVoucher,
    #[error("the voucher is below what was vouchered or paid before")]
    BelowLast,
    #[error("the voucher is not signed by the payer or its delegate")]
    WrongSigner,
    #[error("the payer's lane and open balance do not cover the voucher")]
    Uncovered,
}

/// Checks everything about a statement that needs no key and no chain: who pays, the arithmetic, the prices, the bytes.
/// `Ok(true)` when a voucher is due and has the right shape, `Ok(false)` when nothing is owed. `priced`
/// knows the agent's tariff versions that are, or were, in force.
pub(crate) fn check(
    said: &RelayStatement,
    parties: (Address, Address),
    priced: impl Fn(u32) -> Option<Tariff>,
) -> Result<bool, Unpaid> {
    let (payer, payee) = parties;
    if said.operator_payer != payer {
        return Err(Unpaid::WrongPayer);
    }
    // Within one operator's house nothing is owed.
    if payer == payee {
        return Ok(false);
    }
    let owed = due(&said.lines).map_err(|_| Unpaid::WrongTotal)?;
    if said.base.checked_add(owed) != Some(said.total) {
        return Err(Unpaid::WrongTotal);
    }
    let wrong = |line: &MeterLine| priced(line.tariff_version) != Some(line.tariff);
    if said.lines.iter().any(wrong) || !said.lines.is_sorted_by(|one, next| one.tariff_version < next.tariff_version) {
        return Err(Unpaid::WrongTariff);
    }
    let billed = said.lines.iter().fold(0_u128, |sum, line| sum.saturating_add(line.meter.relayed));
    if billed < said.inbound_bytes.saturating_add(said.outbound_bytes) {
        return Err(Unpaid::WrongBytes);
    }
    if owed == Amount::ZERO {
        return Ok(false);
    }
    let voucher = said.voucher.as_ref().ok_or(Unpaid::NoVoucher)?;
    let right = voucher.payer == payer && voucher.payee == payee && voucher.cumulative == said.total;
    if right { Ok(true) } else { Err(Unpaid::WrongVoucher) }
}

#[cfg(test)]
mod tests {
    use alloy::primitives::Address;
    use minus_bindings::SignedVoucher;
    use minus_protocol::Meter;

    use super::*;

    const AGENT: Address = Address::repeat_byte(1);
    const PAYER: Address = Address::repeat_byte(2);
    const PAYEE: Address = Address::repeat_byte(3);
    const TARIFF: Tariff = Tariff { delivery: 0, relay: 1 << 30, storing: 0 }; // one base unit a byte
    const STREAMING: UnderWay = UnderWay { requests: false, streams: true };

    fn units(value: u128) -> Amount {
        Amount::from_base_units(value).expect("a small amount")
    }

    fn earned(inbound: u128, outbound: u128) -> Earned {
        Earned { inbound_bytes: inbound, outbound_bytes: outbound, ..Earned::new(AGENT, PAYER) }
    }

    fn said(inbound_bytes: u128, outbound_bytes: u128) -> RelayStatement {
        let relayed = inbound_bytes + outbound_bytes;
        let total = units(100 + relayed);
        RelayStatement {
            operator_payer: PAYER,
            base: units(100),
            lines: vec![MeterLine { tariff_version: 1, tariff: TARIFF, meter: Meter { relayed, ..Meter::default() } }],
            inbound_bytes,
            outbound_bytes,
            total,
            voucher: Some(SignedVoucher { payer: PAYER, payee: PAYEE, cumulative: total, signature: [0; 65] }),
        }
    }

    /// One version has been in force.
    fn priced(version: u32) -> Option<Tariff> {
        (version == 1).then_some(TARIFF)
    }

    #[test]
    fn a_past_version_is_held_to_its_own_price() {
        let mut old = said(5, 5);
        old.lines[0].tariff.relay /= 2;
        old.total = units(105);
        let past = |price| move |version| (version == 1).then_some(Tariff { relay: price, ..TARIFF });
        assert_eq!(check(&old, (PAYER, PAYEE), past(TARIFF.relay)), Err(Unpaid::WrongTariff));
        if let Some(voucher) = &mut old.voucher {
            voucher.cumulative = units(105);
        }
        assert_eq!(check(&old, (PAYER, PAYEE), past(TARIFF.relay / 2)), Ok(true));
    }

    #[test]
    fn refuses_each_lie() {
        let check = |said: RelayStatement| check(&said, (PAYER, PAYEE), priced);
        assert_eq!(check(RelayStatement { operator_payer: PAYEE, ..said(5, 5) }), Err(Unpaid::WrongPayer));
        assert_eq!(check(RelayStatement { total: units(109), ..said(5, 5) }), Err(Unpaid::WrongTotal));
        assert_eq!(check(RelayStatement { inbound_bytes: 6, ..said(5, 5) }), Err(Unpaid::WrongBytes));
        assert_eq!(check(RelayStatement { voucher: None, ..said(5, 5) }), Err(Unpaid::NoVoucher));
        let mut cheap = said(5, 5);
        cheap.lines[0].tariff.relay = 0;
        cheap.total = units(100);
        for tariff_version in [0, 1, 2] {
            let mut cheap = cheap.clone();
            cheap.lines[0].tariff_version = tariff_version;
            assert_eq!(check(cheap), Err(Unpaid::WrongTariff), "{tariff_version}");
        }
        let mut split = said(5, 5);
        split.lines = vec![split.lines[0]; 2];
        split.total = units(120);
        assert_eq!(check(split), Err(Unpaid::WrongTariff));
        let mut short = said(5, 5);
        if let Some(voucher) = &mut short.voucher {
            voucher.cumulative = units(109);
        }
        assert_eq!(check(short), Err(Unpaid::WrongVoucher));
    }

    #[test]
    fn takes_a_right_one_and_knows_when_nothing_is_owed() {
        assert_eq!(check(&said(5, 5), (PAYER, PAYEE), priced), Ok(true));
        let nothing = RelayStatement { voucher: None, ..said(0, 0) };
        assert_eq!(check(&nothing, (PAYER, PAYEE), priced), Ok(false));
        assert_eq!(check(&RelayStatement { voucher: None, ..said(5, 5) }, (PAYER, PAYER), priced), Ok(false));
    }

    const TERMS: Terms = Terms { tariff_version: 1, tariff: TARIFF, credit: Amount::ZERO, write_off_bytes: 64 };

    fn exposed(earned: &Earned) -> u128 {
        exposed_bytes(earned, 0, TERMS.write_off_bytes)
    }

    #[test]
    fn each_answer_is_counted_as_the_table_says() {
        use Carried::{Agreed, Disputed, Duplicate};
        let (new, again) = (Some(Stored::New), Some(Stored::Duplicate));
        for (receipt, metered, expected) in [
            (new, Some(9), Agreed(9)),
            (new, None, Disputed(9)),
            (new, Some(0), Disputed(9)),
            (new, Some(8), Disputed(9)),
            (new, Some(10), Disputed(9)),
            (None, None, Disputed(9)),
            (None, Some(9), Disputed(9)),
            (None, Some(0), Duplicate(0)),
            (again, None, Duplicate(0)),
            (again, Some(0), Duplicate(0)),
            (again, Some(5), Duplicate(5)),
            (again, Some(10), Duplicate(9)),
        ] {
            assert_eq!(carried(receipt, metered, 9), expected, "{receipt:?} {metered:?}");
        }
    }

    #[test]
    fn everything_unconfirmed_is_exposed() {
        assert_eq!(exposed(&earned(5, 7)), 12);
        assert_eq!(worth(12, &TERMS), units(12));
        let confirmed = confirm(&earned(5, 7), &said(5, 7), Some(units(112)), STREAMING);
        assert_eq!(exposed(&confirmed), 0);
        assert_eq!(confirmed.vouchered, units(112));
    }

    #[test]
    fn an_agent_that_counts_less_inbound_stays_exposed() {
        assert_eq!(exposed(&confirm(&earned(9, 0), &said(5, 0), None, UnderWay::default())), 4);
    }

    /// The agent stored and counted a packet whose answer has not reached this relay: counted once, not twice.
    #[test]
    fn what_is_under_way_is_not_taken_over() {
        let busy = UnderWay { requests: true, streams: true };
        let mut account = confirm(&earned(5, 7), &said(8, 9), Some(units(117)), busy);
        assert_eq!((account.inbound_bytes, account.outbound_bytes), (5, 7));
        assert_eq!(exposed(&account), 0);
        assert!(is_behind(&account), "the agent is asked again");
        account.inbound_bytes += 3;
        account.outbound_bytes += 2;
        let quiet = confirm(&account, &said(8, 9), Some(units(117)), UnderWay::default());
        assert_eq!((quiet.inbound_bytes, quiet.outbound_bytes), (8, 9));
        assert!(!is_behind(&quiet));
        assert_eq!(exposed(&quiet), 0);
    }

    #[test]
    fn an_agent_that_counts_more_is_believed() {
        let confirmed = confirm(&earned(5, 7), &said(6, 8), None, UnderWay::default());
        assert_eq!((confirmed.inbound_bytes, confirmed.outbound_bytes), (6, 8));
        assert_eq!(exposed(&confirmed), 0);
    }

    #[test]
    fn outbound_in_vain_is_written_off_when_no_stream_is_open() {
        assert_eq!(exposed(&confirm(&earned(0, 9), &said(0, 5), None, STREAMING)), 4);
        let ended = confirm(&earned(0, 9), &said(0, 5), None, UnderWay::default());
        assert_eq!((exposed(&ended), ended.outbound_written_off), (0, 4));
        // Acknowledged after all.
        let late = confirm(&ended, &said(0, 9), None, UnderWay::default());
        assert_eq!((exposed(&late), late.outbound_written_off), (0, 0));
    }

    #[test]
    fn what_is_in_vain_is_forgiven_up_to_the_setting_and_a_share_of_what_was_paid() {
        let vain = Earned { outbound_written_off: 60, ..earned(0, 60) };
        assert_eq!(exposed_bytes(&vain, 4, 64), 0);
        assert_eq!(exposed_bytes(&vain, 7, 64), 3);
        let paying =
            Earned { inbound_confirmed: 6, outbound_confirmed: 6, outbound_bytes: 66, inbound_bytes: 6, ..vain };
        assert_eq!(exposed_bytes(&paying, 7, 64), 0, "12 paid ones forgive 3");
    }
}
