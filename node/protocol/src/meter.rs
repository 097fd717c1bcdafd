//! Metering: running totals of what was carried and stored, and what is due for them.
//!
//! Everything is a running total in 128 bits; money is computed from the totals and never per message, so rounding is
//! always against the one who is paid and never accumulates (law 11). A message is charged by the tariff in force when
//! its agent stored it, so an account has one line per tariff version. Both sides, agent and customer, keep these lines by
//! the same function and agree to the base unit.

use alloy::primitives::U256;
use minus_bindings::Amount;
use serde::{Deserialize, Serialize};

use crate::tariff::{DAY_SECONDS, GIB_BITS, Tariff};

/// Tariff versions that one account can have seen. Changing a tariff takes notice and a transaction, so this is years;
/// it bounds statements, replies and rows (law 13).
pub const LINES_MAX: usize = 256;

/// Why a meter cannot count on. Final: the account's lines stay as they were.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum MeterError {
    /// A total exceeds 128 bits, or what is due exceeds [`Amount::MAX`].
    #[error("a running total exceeds its range")]
    Overflow,
    /// No such version of the tariff is known.
    #[error("tariff version {0} is not known")]
    UnknownTariff(u32),
    /// The account has [`LINES_MAX`] tariff versions already.
    #[error("the account has lines of {LINES_MAX} tariff versions already")]
    TooManyLines,
}

/// Running totals under one tariff.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Meter {
    /// Packet bytes delivered to the customer.
    pub delivered: u128,
    /// Packet bytes times relays that carried them.
    pub relayed: u128,
    /// Packet bytes times seconds stored.
    pub byte_seconds: u128,
}

impl Meter {
    /// The sum of two meters; `None` if a total exceeds 128 bits.
    #[must_use]
    pub fn checked_add(self, other: Self) -> Option<Self> {
        Some(Self {
            delivered: self.delivered.checked_add(other.delivered)?,
            relayed: self.relayed.checked_add(other.relayed)?,
            byte_seconds: self.byte_seconds.checked_add(other.byte_seconds)?,
        })
    }
}

/// One tariff version's totals. Lines are kept in ascending order of the version, each version once.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct MeterLine {
    /// The version, as the routing table numbers the agent's tariffs.
    pub tariff_version: u32,
    /// That version's prices.
    pub tariff: Tariff,
    /// The totals.
    pub meter: Meter,
}

impl MeterLine {
    /// ⌊delivered·d/2^30⌋ + ⌊relayed·r/2^30⌋ + ⌊byte-seconds·s/(2^30·86400)⌋ in base units; below 2^194, exact.
    fn due(&self) -> U256 {
        let price = |total: u128, price: u64| U256::from(total) * U256::from(price);
        (price(self.meter.delivered, self.tariff.delivery) >> GIB_BITS)
            + (price(self.meter.relayed, self.tariff.relay) >> GIB_BITS)
            + (price(self.meter.byte_seconds, self.tariff.storing) >> GIB_BITS) / U256::from(DAY_SECONDS)
    }
}

/// What one stored message is charged for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Carriage {
    /// The packet's length.
    pub bytes: u64,
    /// When the agent stored it, seconds of Unix time by the agent's clock.
    pub stored_at: u64,
    /// The version of the agent's tariff in force then.
    pub tariff_version: u32,
    /// Whether its first copy came to the agent through a relay.
    pub relayed_in: bool,
}

/// What is due for all lines: the sum, over versions and services, of floors.
///
/// # Errors
/// [`MeterError::Overflow`] if it exceeds [`Amount::MAX`].
pub fn due(lines: &[MeterLine]) -> Result<Amount, MeterError> {
    let sum = lines.iter().try_fold(U256::ZERO, |sum, line| sum.checked_add(line.due())).ok_or(MeterError::Overflow)?;
    let units = u128::try_from(sum).map_err(|_| MeterError::Overflow)?;
    Amount::from_base_units(units).map_err(|_| MeterError::Overflow)
}

/// The running total of an account that opened at `base`: base + due(lines).
///
/// # Errors
/// [`MeterError::Overflow`] if it exceeds [`Amount::MAX`].
pub fn total(base: Amount, lines: &[MeterLine]) -> Result<Amount, MeterError> {
    base.checked_add(due(lines)?).ok_or(MeterError::Overflow)
}

/// Counts one message as delivered and paid for at `at` (seconds of Unix time, the statement's): its bytes once, its bytes
/// per relay leg, and its bytes times the seconds since it was stored, zero if that lies ahead. `tariff` gives the prices
/// of a version that has no line yet.
///
/// # Errors
/// [`MeterError`]; the lines are unchanged then.
pub fn add_message(
    lines: &mut Vec<MeterLine>,
    tariff: impl FnOnce(u32) -> Option<Tariff>,
    carriage: &Carriage,
    at: u64,
    relayed_out: bool,
) -> Result<(), MeterError> {
    let bytes = u128::from(carriage.bytes);
    let legs = u128::from(carriage.relayed_in) + u128::from(relayed_out);
    let added = Meter {
        delivered: bytes,
        relayed: bytes * legs,
        byte_seconds: bytes * u128::from(at.saturating_sub(carriage.stored_at)),
    };
    add(lines, tariff, carriage.tariff_version, added)
}

/// Counts what one message has cost by `at` that still waits for its receiver: the relay leg that brought it, and its
/// storage so far. When it is delivered, [`add_message`] counts all of this again and more, never less.
///
/// # Errors
/// [`MeterError`]; the lines are unchanged then.
pub fn add_waiting(
    lines: &mut Vec<MeterLine>,
    tariff: impl FnOnce(u32) -> Option<Tariff>,
    carriage: &Carriage,
    at: u64,
) -> Result<(), MeterError> {
    let bytes = u128::from(carriage.bytes);
    let added = Meter {
        delivered: 0,
        relayed: bytes * u128::from(carriage.relayed_in),
        byte_seconds: bytes * u128::from(at.saturating_sub(carriage.stored_at)),
    };
    add(lines, tariff, carriage.tariff_version, added)
}

/// Counts `bytes` packet bytes as carried by a relay under one version of the agent's tariff: the account of an agent with
/// a relay's operator.
///
/// # Errors
/// [`MeterError`]; the lines are unchanged then.
pub fn add_relay(
    lines: &mut Vec<MeterLine>,
    tariff: impl FnOnce(u32) -> Option<Tariff>,
    tariff_version: u32,
    bytes: u64,
) -> Result<(), MeterError> {
    add(lines, tariff, tariff_version, Meter { relayed: bytes.into(), ..Meter::default() })
}

fn add(
    lines: &mut Vec<MeterLine>,
    tariff: impl FnOnce(u32) -> Option<Tariff>,
    tariff_version: u32,
    added: Meter,
) -> Result<(), MeterError> {
    match lines.binary_search_by_key(&tariff_version, |line| line.tariff_version) {
        Ok(index) => {
            let line = &mut lines[index];
            line.meter = line.meter.checked_add(added).ok_or(MeterError::Overflow)?;
        }
        Err(_) if lines.len() >= LINES_MAX => return Err(MeterError::TooManyLines),
        Err(index) => {
            let tariff = tariff(tariff_version).ok_or(MeterError::UnknownTariff(tariff_version))?;
            lines.insert(index, MeterLine { tariff_version, tariff, meter: added });
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]

    use proptest::prelude::*;

    use super::*;

    const TARIFF: Tariff = Tariff { delivery: 3_000, relay: 500, storing: 70 };

    fn known(_: u32) -> Option<Tariff> {
        Some(TARIFF)
    }

    fn carriage(bytes: u64) -> Carriage {
        Carriage { bytes, stored_at: 1_000, tariff_version: 1, relayed_in: false }
    }

    fn line(tariff_version: u32, tariff: Tariff, delivered: u128, relayed: u128, byte_seconds: u128) -> MeterLine {
        MeterLine { tariff_version, tariff, meter: Meter { delivered, relayed, byte_seconds } }
    }

    #[test]
    fn what_waits_costs_its_storage_and_the_leg_that_brought_it_and_delivery_adds_to_that() {
        let brought = Carriage { relayed_in: true, ..carriage(7) };
        let (mut waiting, mut delivered) = (vec![], vec![]);
        add_waiting(&mut waiting, known, &brought, 1_060).unwrap();
        add_waiting(&mut waiting, known, &carriage(5), 1_060).unwrap();
        assert_eq!(waiting, [line(1, TARIFF, 0, 7, 12 * 60)]);
        add_message(&mut delivered, known, &brought, 1_060, false).unwrap();
        add_message(&mut delivered, known, &carriage(5), 1_060, false).unwrap();
        assert_eq!(delivered, [line(1, TARIFF, 12, 7, 12 * 60)]);
    }

    #[test]
    fn refuses_an_unknown_tariff() {
        let mut lines = vec![];
        assert_eq!(add_message(&mut lines, |_| None, &carriage(1), 1_000, false), Err(MeterError::UnknownTariff(1)));
        assert!(lines.is_empty());
    }

    #[test]
    fn refuses_an_overflow_and_leaves_the_lines_alone() {
        let full = line(1, TARIFF, 5, u128::MAX, 0);
        let mut lines = vec![full];
        assert_eq!(add_message(&mut lines, known, &carriage(1), 1_000, true), Err(MeterError::Overflow));
        assert_eq!(lines, [full]);
        assert_eq!(
            due(&[line(1, Tariff { delivery: u64::MAX, ..TARIFF }, u128::MAX, 0, 0)]),
            Err(MeterError::Overflow)
        );
        assert_eq!(total(Amount::MAX, &[line(1, TARIFF, 1 << 30, 0, 0)]), Err(MeterError::Overflow));
    }

    #[test]
    fn refuses_more_lines_than_a_statement_holds() {
        let mut lines = vec![];
        for version in 0..u32::try_from(LINES_MAX).unwrap() {
            add_relay(&mut lines, known, version, 1).unwrap();
        }
        assert_eq!(add_relay(&mut lines, known, u32::MAX, 1), Err(MeterError::TooManyLines));
        assert_eq!(add_relay(&mut lines, known, 0, 1), Ok(()));
        assert_eq!(lines.len(), LINES_MAX);
        assert_eq!(lines[0].meter.relayed, 2);
    }

    #[test]
    fn counts_each_service() {
        let mut lines = vec![];
        let message = Carriage { relayed_in: true, ..carriage(10) };
        add_message(&mut lines, known, &message, 1_007, true).unwrap();
        assert_eq!(lines, [line(1, TARIFF, 10, 20, 70)]);
        add_message(&mut lines, known, &carriage(4), 1_001, true).unwrap();
        assert_eq!(lines, [line(1, TARIFF, 14, 24, 74)]);
        // a clock that went backwards stores for no time
        add_message(&mut lines, known, &carriage(1), 999, false).unwrap();
        assert_eq!(lines, [line(1, TARIFF, 15, 24, 74)]);
        add_relay(&mut lines, known, 1, 6).unwrap();
        assert_eq!(lines, [line(1, TARIFF, 15, 30, 74)]);
    }

    #[test]
    fn lines_stand_in_the_order_of_their_versions() {
        let mut lines = vec![];
        for version in [3, 1, 2, 3, 1] {
            add_message(&mut lines, known, &Carriage { tariff_version: version, ..carriage(1) }, 1_000, false).unwrap();
        }
        let counted: Vec<_> = lines.iter().map(|line| (line.tariff_version, line.meter.delivered)).collect();
        assert_eq!(counted, [(1, 2), (2, 1), (3, 2)]);
    }

    #[test]
    fn a_known_version_keeps_its_first_tariff() {
        let mut lines = vec![];
        add_relay(&mut lines, known, 1, 1).unwrap();
        add_relay(&mut lines, |_| unreachable!("not asked again"), 1, 1).unwrap();
        assert_eq!(lines, [line(1, TARIFF, 0, 2, 0)]);
    }

    #[test]
    fn computes_due_by_the_formula() {
        let gib = 1u128 << 30;
        let day = u128::from(DAY_SECONDS);
        let whole = [line(1, TARIFF, gib, 2 * gib, 7 * gib * day)];
        assert_eq!(due(&whole).unwrap().base_units(), 3_000 + 1_000 + 490);
        // one byte less of each: each service loses one base unit, none borrows from another
        let less = [line(1, TARIFF, gib - 1, 2 * gib - 1, 7 * gib * day - 1)];
        assert_eq!(due(&less).unwrap().base_units(), 2_999 + 999 + 489);
        let versions = [whole[0], line(2, Tariff { delivery: 1, relay: 0, storing: 0 }, gib, gib, gib)];
        assert_eq!(due(&versions).unwrap().base_units(), 4_491);
        assert_eq!(total(Amount::from_base_units(9).unwrap(), &versions).unwrap().base_units(), 4_500);
        assert_eq!(due(&[]), Ok(Amount::ZERO));
    }

    prop_compose! {
        fn any_line()(version: u32, prices: [u32; 3], totals: [u64; 3]) -> MeterLine {
            let [delivery, relay, storing] = prices.map(u64::from);
            let [delivered, relayed, byte_seconds] = totals.map(u128::from);
            line(version, Tariff { delivery, relay, storing }, delivered, relayed, byte_seconds)
        }
    }

    /// The exact sum over the common denominator 2^30 · 86400.
    fn exact_numerator(lines: &[MeterLine]) -> U256 {
        let day = U256::from(DAY_SECONDS);
        lines.iter().fold(U256::ZERO, |sum, line| {
            let MeterLine { tariff, meter, .. } = line;
            sum + U256::from(meter.delivered) * U256::from(tariff.delivery) * day
                + U256::from(meter.relayed) * U256::from(tariff.relay) * day
                + U256::from(meter.byte_seconds) * U256::from(tariff.storing)
        })
    }

    proptest! {
        /// Law 11, as mathematics: exact − 3·lines < due ≤ exact.
        #[test]
        fn due_is_never_above_the_exact_sum_and_less_than_three_units_per_line_below(
            lines in prop::collection::vec(any_line(), 0..6)
        ) {
            let unit = U256::from(1u64 << GIB_BITS) * U256::from(DAY_SECONDS);
            let due = U256::from(due(&lines).unwrap().base_units());
            let exact = exact_numerator(&lines);
            prop_assert!(due * unit <= exact);
            prop_assert!(lines.is_empty() || (due + U256::from(3 * lines.len())) * unit > exact);
        }

        #[test]
        fn due_grows_with_every_count(line in any_line(), more: [u32; 3]) {
            let [delivered, relayed, byte_seconds] = more.map(u128::from);
            let grown = MeterLine {
                meter: line.meter.checked_add(Meter { delivered, relayed, byte_seconds }).unwrap(),
                ..line
            };
            prop_assert!(due(&[line]).unwrap() <= due(&[grown]).unwrap());
        }

        /// Rounding does not accumulate: many messages are due what their sum is due, whatever their order.
        #[test]
        fn messages_are_due_what_their_totals_are_due(
            messages in prop::collection::vec((1u64..1 << 21, 0u64..100_000, any::<bool>(), any::<bool>()), 0..40)
        ) {
            let mut lines = vec![];
            let mut sum = Meter::default();
            for (bytes, stored, relayed_in, relayed_out) in &messages {
                let message = Carriage { relayed_in: *relayed_in, ..carriage(*bytes) };
                add_message(&mut lines, known, &message, 1_000 + stored, *relayed_out).unwrap();
                sum.delivered += u128::from(*bytes);
                sum.relayed += u128::from(*bytes) * (u128::from(*relayed_in) + u128::from(*relayed_out));
                sum.byte_seconds += u128::from(*bytes) * u128::from(*stored);
            }
            let whole = MeterLine { tariff_version: 1, tariff: TARIFF, meter: sum };
            prop_assert_eq!(due(&lines).unwrap(), due(&[whole]).unwrap());

            let mut backwards = vec![];
            for (bytes, stored, relayed_in, relayed_out) in messages.iter().rev() {
                let message = Carriage { relayed_in: *relayed_in, ..carriage(*bytes) };
                add_message(&mut backwards, known, &message, 1_000 + stored, *relayed_out).unwrap();
            }
            prop_assert_eq!(lines, backwards);
        }

        #[test]
        fn lines_come_back_from_json_and_cbor(line in any_line()) {
            let json = serde_json::to_string(&line).unwrap();
            prop_assert_eq!(serde_json::from_str::<MeterLine>(&json).unwrap(), line);
            let cbor = crate::cbor::encode(&line);
            prop_assert_eq!(crate::cbor::decode::<MeterLine>(&cbor, 1024), Ok(line));
        }
    }
}
