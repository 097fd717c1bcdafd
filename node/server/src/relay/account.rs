//! A relay's account with an agent. Inbound bytes are certain: the agent answered 202 for each. Outbound bytes become
//! certain when the customer acknowledges; what a broken stream pushed in vain is written off, within reason.

use minus_bindings::Amount;
use minus_protocol::{MeterLine, RelayStatement, Tariff, due};

use crate::store::peers::Earned;

/// What may be written off without any outbound confirmed yet: a few broken streams with their windows full.
const WRITE_OFF_GRACE_BYTES: u128 = 64 << 20;

/// Bytes carried for which no voucher is held.
pub(crate) fn exposed_bytes(earned: &Earned) -> u128 {
    let inbound = earned.inbound_bytes.saturating_sub(earned.inbound_confirmed);
    let outbound =
        earned.outbound_bytes.saturating_sub(earned.outbound_written_off).saturating_sub(earned.outbound_confirmed);
    // An agent whose streams keep breaking before they are paid for is not given that for ever.
    let forgiven = earned.outbound_confirmed.saturating_add(WRITE_OFF_GRACE_BYTES);
    let unforgiven = earned.outbound_written_off.saturating_sub(forgiven);
    inbound.saturating_add(outbound).saturating_add(unforgiven)
}

/// Whether the agent confirmed more than this relay counted: the relay died before it counted, and something was under way
/// when it last heard so. Nothing is exposed then, and yet the agent has to be asked once more.
pub(crate) const fn is_behind(earned: &Earned) -> bool {
    earned.inbound_confirmed > earned.inbound_bytes || earned.outbound_confirmed > earned.outbound_bytes
}

/// What these bytes are worth at the agent's present tariff.
pub(crate) fn exposure(earned: &Earned, tariff_version: u32, tariff: Tariff) -> Amount {
    let mut line = MeterLine { tariff_version, tariff, meter: minus_protocol::Meter::default() };
    line.meter.relayed = exposed_bytes(earned);
    due(&[line]).unwrap_or(Amount::MAX)
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
/// `Ok(true)` when a voucher is due and has the right shape, `Ok(false)` when nothing is owed.
pub(crate) fn check(
    said: &RelayStatement,
    parties: (alloy::primitives::Address, alloy::primitives::Address),
    tariff_version: u32,
    tariff: Tariff,
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
    // Versions that have not been yet are priced by nobody but the agent; of past ones its word is taken.
    let wrong = |line: &MeterLine| {
        !(1..=tariff_version).contains(&line.tariff_version)
            || line.tariff_version == tariff_version && line.tariff != tariff
    };
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

    #[test]
    fn refuses_each_lie() {
        let check = |said: RelayStatement| check(&said, (PAYER, PAYEE), 1, TARIFF);
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
        assert_eq!(check(&said(5, 5), (PAYER, PAYEE), 1, TARIFF), Ok(true));
        let nothing = RelayStatement { voucher: None, ..said(0, 0) };
        assert_eq!(check(&nothing, (PAYER, PAYEE), 1, TARIFF), Ok(false));
        assert_eq!(check(&RelayStatement { voucher: None, ..said(5, 5) }, (PAYER, PAYER), 1, TARIFF), Ok(false));
    }

    #[test]
    fn everything_unconfirmed_is_exposed() {
        assert_eq!(exposure(&earned(5, 7), 1, TARIFF), units(12));
        let confirmed = confirm(&earned(5, 7), &said(5, 7), Some(units(112)), STREAMING);
        assert_eq!(exposure(&confirmed, 1, TARIFF), Amount::ZERO);
        assert_eq!(confirmed.vouchered, units(112));
    }

    #[test]
    fn an_agent_that_counts_less_inbound_stays_exposed() {
        assert_eq!(exposed_bytes(&confirm(&earned(9, 0), &said(5, 0), None, UnderWay::default())), 4);
    }

    /// The agent stored and counted a packet whose answer has not reached this relay: counted once, not twice.
    #[test]
    fn what_is_under_way_is_not_taken_over() {
        let busy = UnderWay { requests: true, streams: true };
        let mut account = confirm(&earned(5, 7), &said(8, 9), Some(units(117)), busy);
        assert_eq!((account.inbound_bytes, account.outbound_bytes), (5, 7));
        assert_eq!(exposed_bytes(&account), 0);
        assert!(is_behind(&account), "the agent is asked again");
        account.inbound_bytes += 3;
        account.outbound_bytes += 2;
        let quiet = confirm(&account, &said(8, 9), Some(units(117)), UnderWay::default());
        assert_eq!((quiet.inbound_bytes, quiet.outbound_bytes), (8, 9));
        assert!(!is_behind(&quiet));
        assert_eq!(exposed_bytes(&quiet), 0);
    }

    #[test]
    fn an_agent_that_counts_more_is_believed() {
        let confirmed = confirm(&earned(5, 7), &said(6, 8), None, UnderWay::default());
        assert_eq!((confirmed.inbound_bytes, confirmed.outbound_bytes), (6, 8));
        assert_eq!(exposed_bytes(&confirmed), 0);
    }

    #[test]
    fn outbound_in_vain_is_written_off_when_no_stream_is_open() {
        assert_eq!(exposed_bytes(&confirm(&earned(0, 9), &said(0, 5), None, STREAMING)), 4);
        let ended = confirm(&earned(0, 9), &said(0, 5), None, UnderWay::default());
        assert_eq!((exposed_bytes(&ended), ended.outbound_written_off), (0, 4));
        // Acknowledged after all.
        let late = confirm(&ended, &said(0, 9), None, UnderWay::default());
        assert_eq!((exposed_bytes(&late), late.outbound_written_off), (0, 0));
    }

    #[test]
    fn writing_off_has_an_end() {
        let vain = Earned { outbound_written_off: WRITE_OFF_GRACE_BYTES + 3, ..earned(0, WRITE_OFF_GRACE_BYTES + 3) };
        assert_eq!(exposed_bytes(&vain), 3);
    }
}
