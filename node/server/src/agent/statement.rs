//! Assembles the bill of a wallet: what its payer acknowledged before, plus the packets it covers.

use std::collections::BTreeMap;

use alloy::primitives::Address;
use minus_bindings::Amount;
use minus_protocol::{Carriage, MeterLine, Statement, Tariff, meter};

use crate::store::StoreError;

/// What a statement is made of.
#[derive(Clone, Debug)]
pub(crate) struct Draft<'a> {
    pub(crate) number: u64,
    pub(crate) wallet: Address,
    pub(crate) through: u64,
    pub(crate) at: u64,
    pub(crate) base: Amount,
    /// The payer's acknowledged lines.
    pub(crate) acknowledged: Vec<MeterLine>,
    /// The packets covered.
    pub(crate) carriages: &'a [Carriage],
    /// This node's tariffs, for every version a carriage names.
    pub(crate) tariffs: &'a BTreeMap<u32, Tariff>,
    /// Whether the subscription runs through a relay.
    pub(crate) relayed_out: bool,
}

/// The statement, and the outbound relay leg it adds to what is owed to the relay once it is acknowledged.
pub(crate) fn assemble(draft: Draft<'_>) -> Result<(Statement, Vec<MeterLine>), StoreError> {
    let mut lines = draft.acknowledged;
    let mut relay_leg = Vec::new();
    for carriage in draft.carriages {
        let tariff = |version| draft.tariffs.get(&version).copied();
        meter::add_message(&mut lines, tariff, carriage, draft.at, draft.relayed_out)
            .map_err(|_| StoreError::Range("meter"))?;
        if draft.relayed_out {
            meter::add_relay(&mut relay_leg, tariff, carriage.tariff_version, carriage.bytes)
                .map_err(|_| StoreError::Range("meter"))?;
        }
    }
    let total = total(draft.base, &lines)?;
    let statement = Statement {
        number: draft.number,
        wallet: draft.wallet,
        through: draft.through,
        at: draft.at,
        base: draft.base,
        lines,
        total,
    };
    Ok((statement, relay_leg))
}

/// `base + due(lines)`.
pub(crate) fn total(base: Amount, lines: &[MeterLine]) -> Result<Amount, StoreError> {
    meter::total(base, lines).map_err(|_| StoreError::Range("running total"))
}

/// Bytes over all lines that were relayed.
pub(crate) fn relayed_bytes(lines: &[MeterLine]) -> u128 {
    lines.iter().fold(0_u128, |sum, line| sum.saturating_add(line.meter.relayed))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn draft<'a>(carriages: &'a [Carriage], tariffs: &'a BTreeMap<u32, Tariff>, relayed_out: bool) -> Draft<'a> {
        Draft {
            number: 1,
            wallet: Address::repeat_byte(1),
            through: 2,
            at: 1_060,
            base: Amount::from_base_units(10).expect("small"),
            acknowledged: Vec::new(),
            carriages,
            tariffs,
            relayed_out,
        }
    }

    fn tariffs() -> BTreeMap<u32, Tariff> {
        BTreeMap::from([(1, Tariff { delivery: 3 << 20, relay: 1 << 20, storing: 0 })])
    }

    const CARRIAGE: Carriage = Carriage { bytes: 1 << 10, stored_at: 1_000, tariff_version: 1, relayed_in: true };

    #[test]
    fn refuses_a_tariff_version_it_does_not_know() {
        let carriage = Carriage { tariff_version: 2, ..CARRIAGE };
        assert!(assemble(draft(&[carriage], &tariffs(), false)).is_err());
    }

    #[test]
    fn bills_delivery_both_legs_and_storage() {
        let (statement, leg) = assemble(draft(&[CARRIAGE], &tariffs(), true)).expect("assembles");
        let meter = statement.lines[0].meter;
        assert_eq!((meter.delivered, meter.relayed, meter.byte_seconds), (1 << 10, 2 << 10, 60 << 10));
        assert_eq!(statement.total.base_units(), 10 + 3 + 2);
        assert_eq!(relayed_bytes(&leg), 1 << 10);
    }

    #[test]
    fn a_direct_subscription_adds_nothing_for_relays() {
        let (statement, leg) = assemble(draft(&[CARRIAGE], &tariffs(), false)).expect("assembles");
        assert_eq!(statement.lines[0].meter.relayed, 1 << 10);
        assert!(leg.is_empty());
    }
}
