//! One disagreement at a time, each named; then what a customer may sign.
#![expect(clippy::unwrap_used, reason = "tests")]

use proptest::prelude::*;

use super::*;
use crate::meter::{Carriage, Meter, add_message, total};

const NOW: u64 = 1_700_000_000;
const GIB: u64 = 1 << 30;

fn tariff(version: u32) -> Option<Tariff> {
    let factor = u64::from(version);
    Some(Tariff { delivery: 1_000 * factor, relay: 100 * factor, storing: 10 * factor })
}

fn lines() -> Vec<MeterLine> {
    let mut lines = vec![];
    for tariff_version in [1, 2] {
        let carriage = Carriage { bytes: 3 * GIB, stored_at: NOW - 86_400, tariff_version, relayed_in: true };
        add_message(&mut lines, tariff, &carriage, NOW, true).unwrap();
    }
    lines
}

fn expected() -> Expected {
    Expected { wallet: Address::repeat_byte(1), through: 9, base: amount(500), lines: lines() }
}

fn amount(units: u128) -> Amount {
    Amount::from_base_units(units).unwrap()
}

fn statement() -> Statement {
    let own = expected();
    let total = total(own.base, &own.lines).unwrap();
    Statement { number: 4, wallet: own.wallet, through: own.through, at: NOW, base: own.base, lines: own.lines, total }
}

/// The disagreement with a statement that was changed and then summed up again.
fn disagreement(change: impl FnOnce(&mut Statement)) -> Disagreement {
    let mut statement = statement();
    change(&mut statement);
    statement.total = total(statement.base, &statement.lines).unwrap_or(Amount::MAX);
    check(&expected(), &statement, NOW).unwrap_err()
}

#[test]
fn names_the_wallet() {
    let own = Address::repeat_byte(1);
    let named = disagreement(|statement| statement.wallet = Address::ZERO);
    assert_eq!(named, Disagreement::Wallet { stated: Address::ZERO, own });
    assert_eq!(named.line(), "wallet");
}

#[test]
fn names_through() {
    let named = disagreement(|statement| statement.through += 1);
    assert_eq!(named, Disagreement::Through { stated: 10, own: 9 });
    assert_eq!(named.line(), "through");
}

#[test]
fn names_the_clock() {
    let named = disagreement(|statement| statement.at = NOW + CLOCK_TOLERANCE_S + 1);
    assert_eq!(named, Disagreement::Clock { stated: NOW + CLOCK_TOLERANCE_S + 1, now: NOW });
    assert_eq!(named.line(), "clock");
    let edge = Statement { at: NOW + CLOCK_TOLERANCE_S, ..statement() };
    assert_eq!(check(&expected(), &edge, NOW), Ok(()));
}

#[test]
fn names_the_base() {
    for stated in [amount(499), amount(501)] {
        let named = disagreement(|statement| statement.base = stated);
        assert_eq!(named, Disagreement::Base { stated, own: amount(500) });
        assert_eq!(named.line(), "base");
    }
}

#[test]
fn names_the_tariff() {
    let known = tariff(2).unwrap();
    let dearer = Tariff { storing: known.storing + 1, ..known };
    let named = disagreement(|statement| statement.lines[1].tariff = dearer);
    assert_eq!(named, Disagreement::Tariff { tariff_version: 2, stated: dearer, own: Some(known) });
    assert_eq!(named.line(), "tariff");

    let named = disagreement(|statement| statement.lines[1].tariff_version = 7);
    assert_eq!(named, Disagreement::Tariff { tariff_version: 7, stated: known, own: None });
}

#[test]
fn names_a_line_stated_twice() {
    let twice = disagreement(|statement| statement.lines.push(statement.lines[1]));
    assert!(matches!(twice, Disagreement::Tariff { tariff_version: 2, .. }), "{twice}");
    let swapped = disagreement(|statement| statement.lines.swap(0, 1));
    assert!(matches!(swapped, Disagreement::Tariff { tariff_version: 1, .. }), "{swapped}");
}

#[test]
fn names_delivered() {
    let own = u128::from(3 * GIB);
    let named = disagreement(|statement| statement.lines[0].meter.delivered += 1);
    assert_eq!(named, Disagreement::Delivered { tariff_version: 1, stated: own + 1, own });
    assert_eq!(named.line(), "delivered");
}

#[test]
fn names_relayed() {
    let own = u128::from(6 * GIB);
    let named = disagreement(|statement| statement.lines[1].meter.relayed += 1);
    assert_eq!(named, Disagreement::Relayed { tariff_version: 2, stated: own + 1, own });
    assert_eq!(named.line(), "relayed");
}

#[test]
fn names_byte_seconds() {
    let own = u128::from(3 * GIB) * 86_400;
    let named = disagreement(|statement| statement.lines[0].meter.byte_seconds += 1);
    assert_eq!(named, Disagreement::ByteSeconds { tariff_version: 1, stated: own + 1, own });
    assert_eq!(named.line(), "byte-seconds");
}

#[test]
fn names_the_total() {
    let honest = statement().total;
    for stated in [honest.checked_add(amount(1)).unwrap(), honest.checked_sub(amount(1)).unwrap()] {
        let named = check(&expected(), &Statement { total: stated, ..statement() }, NOW).unwrap_err();
        assert_eq!(named, Disagreement::Total { stated, computed: Some(honest) });
        assert_eq!(named.line(), "total");
    }
}

#[test]
fn names_a_total_that_no_amount_can_be() {
    let mut own = expected();
    own.lines[0].meter.delivered = u128::MAX;
    let stated = Statement { lines: own.lines.clone(), total: Amount::MAX, ..statement() };
    let named = check(&own, &stated, NOW).unwrap_err();
    assert_eq!(named, Disagreement::Total { stated: Amount::MAX, computed: None });
    assert_eq!(
        named.to_string(),
        format!("total: {} tokens are stated, the lines come to more than there are", Amount::MAX)
    );
}

#[test]
fn signs_what_its_own_count_says() {
    assert_eq!(check(&expected(), &statement(), NOW), Ok(()));
}

#[test]
fn signs_less_than_its_own_count() {
    let mut less = statement();
    less.lines.remove(0);
    less.lines[0].meter = Meter { delivered: 1 << 30, relayed: 0, byte_seconds: 0 };
    less.through = 3;
    less.at = NOW - 86_400;
    less.total = total(less.base, &less.lines).unwrap();
    assert_eq!(less.total, amount(2_500));
    assert_eq!(check(&expected(), &less, NOW), Ok(()));
}

proptest! {
    /// Whatever is stated: what the customer signs is never above what its own count comes to.
    #[test]
    fn never_signs_above_its_own_count(
        meters in prop::collection::vec((0u32..4, any::<[u32; 3]>()), 0..4),
        at in NOW - 1000..NOW + 1000,
        off in 0u128..2,
    ) {
        let own = expected();
        let lines: Vec<_> = meters
            .into_iter()
            .map(|(tariff_version, [delivered, relayed, byte_seconds])| MeterLine {
                tariff_version,
                tariff: tariff(tariff_version).unwrap(),
                meter: Meter { delivered: delivered.into(), relayed: relayed.into(), byte_seconds: byte_seconds.into() },
            })
            .collect();
        let total_stated = total(own.base, &lines).unwrap().checked_add(amount(off)).unwrap();
        let stated = Statement { at, lines, total: total_stated, ..statement() };
        if check(&own, &stated, NOW).is_ok() {
            prop_assert!(stated.total <= total(own.base, &own.lines).unwrap());
        }
    }
}
