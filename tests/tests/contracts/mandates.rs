//! Leave to charge: given, raised and taken back by the payer, in the open (law 2).

use alloy::primitives::Address;
use minus_bindings::{IPrepaymentEscrow, PrepaymentEscrow};
use minus_tests::evm::{Actor, Contract, World, assert_refused};

use crate::calls::{DAY_S, NOTICE_S, OPEN, mandate_of, nonce_of, revoke_mandate, set_mandate, u96, u256};

/// Far enough that no test gets there by itself.
const MONTH_S: u64 = 30 * DAY_S;

fn people() -> (World, Actor, Actor) {
    (World::new(), Actor::named("alice"), Actor::named("olga"))
}

/// The mandate as stored: daily cap, accrual cap, end; what had accrued in whole days' worth of seconds, and when.
fn stored(world: &mut World, payer: Address, payee: Address) -> (u128, u128, u64, u128, u64) {
    let IPrepaymentEscrow::Mandate { dailyCap, accrualCap, validUntil, accrued, accruedAt } =
        mandate_of(world, payer, payee).0;
    (dailyCap.to(), accrualCap.to(), validUntil, accrued, accruedAt)
}

#[test]
fn refuses_a_lane_to_nobody_or_to_oneself() {
    let (mut world, alice, _) = people();
    let end = world.now() + MONTH_S;
    for payee in [OPEN, alice.address()] {
        assert_refused(
            world.call(&alice, Contract::Escrow, set_mandate(payee, 1, 1, end)),
            &PrepaymentEscrow::BadLane { payer: alice.address(), payee },
        );
    }
}

#[test]
fn refuses_caps_of_nothing() {
    let (mut world, alice, olga) = people();
    let end = world.now() + MONTH_S;
    for (daily, cap) in [(0, 1), (1, 0)] {
        assert_refused(
            world.call(&alice, Contract::Escrow, set_mandate(olga.address(), daily, cap, end)),
            &PrepaymentEscrow::ZeroAmount {},
        );
    }
}

#[test]
fn refuses_one_that_is_over_before_it_begins() {
    let (mut world, alice, olga) = people();
    let now = world.now();
    assert_refused(
        world.call(&alice, Contract::Escrow, set_mandate(olga.address(), 1, 1, now - 1)),
        &PrepaymentEscrow::MandateOver { validUntil: now - 1, timestamp: u256(now.into()) },
    );
    world.call(&alice, Contract::Escrow, set_mandate(olga.address(), 1, 1, now)).unwrap();
}

#[test]
fn refuses_to_reduce_one_that_is_in_force() {
    let (mut world, alice, olga) = people();
    let (payer, payee, end) = (alice.address(), olga.address(), world.now() + MONTH_S);
    world.call(&alice, Contract::Escrow, set_mandate(payee, 10, 20, end)).unwrap();
    for (daily, cap, end) in [(9, 20, end), (10, 19, end), (10, 20, end - 1), (100, 19, end + 1)] {
        assert_refused(
            world.call(&alice, Contract::Escrow, set_mandate(payee, daily, cap, end)),
            &PrepaymentEscrow::MandateReduced { payer, payee },
        );
    }
    assert_eq!(stored(&mut world, payer, payee), (10, 20, end, 0, world.now()));
    // At its last second it still stands, a second later anything goes.
    world.warp(MONTH_S);
    let later = end + MONTH_S;
    assert_refused(
        world.call(&alice, Contract::Escrow, set_mandate(payee, 9, 20, later)),
        &PrepaymentEscrow::MandateReduced { payer, payee },
    );
    world.warp(1);
    world.call(&alice, Contract::Escrow, set_mandate(payee, 9, 20, later)).unwrap();
    assert_eq!(stored(&mut world, payer, payee), (9, 20, later, 0, world.now()));
}

#[test]
fn starts_empty_and_gathers_from_then_on() {
    let (mut world, alice, olga) = people();
    let (payer, payee, end) = (alice.address(), olga.address(), world.now() + MONTH_S);
    let given_at = world.now();

    let receipt = world.call(&alice, Contract::Escrow, set_mandate(payee, 10, 25, end)).unwrap();

    assert_eq!(
        receipt.event::<PrepaymentEscrow::MandateSet>(),
        PrepaymentEscrow::MandateSet { payer, payee, dailyCap: u96(10), accrualCap: u96(25), validUntil: end }
    );
    assert_eq!(nonce_of(&mut world, payer), u256(1));
    for (day, expected) in [(0, 0), (1, 10), (2, 20), (3, 25), (4, 25)] {
        let (mandate, chargeable) = mandate_of(&mut world, payer, payee);
        assert_eq!(chargeable, expected, "after {day} days");
        assert_eq!(mandate.chargeable(world.now()).base_units(), expected, "and so says the node");
        assert_eq!(stored(&mut world, payer, payee), (10, 25, end, 0, given_at), "reading stores nothing");
        world.warp(DAY_S);
    }
    // It is the lane's alone, and one way.
    assert_eq!(mandate_of(&mut world, payee, payer).1, 0);
    assert_eq!(stored(&mut world, payee, payer), (0, 0, 0, 0, 0));
}

#[test]
fn raising_keeps_what_has_accrued_at_the_old_pace() {
    let (mut world, alice, olga) = people();
    let (payer, payee, end) = (alice.address(), olga.address(), world.now() + MONTH_S);
    world.call(&alice, Contract::Escrow, set_mandate(payee, 10, 15, end)).unwrap();
    world.warp(3 * DAY_S);

    world.call(&alice, Contract::Escrow, set_mandate(payee, 20, 100, end)).unwrap();

    // The old cap held until now.
    let day: u128 = DAY_S.into();
    assert_eq!(stored(&mut world, payer, payee), (20, 100, end, 15 * day, world.now()));
    world.warp(DAY_S / 2);
    assert_eq!(mandate_of(&mut world, payer, payee).1, 25);
}

#[test]
fn a_new_one_starts_empty_after_the_old_one_is_over() {
    let (mut world, alice, olga) = people();
    let (payer, payee, end) = (alice.address(), olga.address(), world.now() + DAY_S);
    world.call(&alice, Contract::Escrow, set_mandate(payee, 10, 15, end)).unwrap();
    world.warp(DAY_S);
    assert_eq!(mandate_of(&mut world, payer, payee).1, 10);
    world.warp(1);
    assert_eq!(mandate_of(&mut world, payer, payee).1, 0);
    let end = world.now() + DAY_S;
    world.call(&alice, Contract::Escrow, set_mandate(payee, 10, 15, end)).unwrap();
    assert_eq!(stored(&mut world, payer, payee), (10, 15, end, 0, world.now()));
}

#[test]
fn revoking_ends_it_after_a_notice_to_the_exact_second() {
    let (mut world, alice, olga) = people();
    let (payer, payee, end) = (alice.address(), olga.address(), world.now() + MONTH_S);
    world.call(&alice, Contract::Escrow, set_mandate(payee, 10, 100, end)).unwrap();
    let notice_ends = world.now() + NOTICE_S;

    let receipt = world.call(&alice, Contract::Escrow, revoke_mandate(payee)).unwrap();

    assert_eq!(
        receipt.event::<PrepaymentEscrow::MandateRevoked>(),
        PrepaymentEscrow::MandateRevoked { payer, payee, validUntil: notice_ends }
    );
    assert_eq!(nonce_of(&mut world, payer), u256(2));
    // Said again, the first one's end stands.
    world.warp(DAY_S);
    let receipt = world.call(&alice, Contract::Escrow, revoke_mandate(payee)).unwrap();
    assert_eq!(receipt.event::<PrepaymentEscrow::MandateRevoked>().validUntil, notice_ends);
    world.warp(NOTICE_S - DAY_S);
    assert_eq!(mandate_of(&mut world, payer, payee).1, 70);
    world.warp(1);
    assert_eq!(mandate_of(&mut world, payer, payee).1, 0);
}

#[test]
fn revoking_what_ends_sooner_or_never_was_changes_no_end() {
    let (mut world, alice, olga) = people();
    let (payer, payee) = (alice.address(), olga.address());
    let receipt = world.call(&alice, Contract::Escrow, revoke_mandate(payee)).unwrap();
    assert_eq!(receipt.event::<PrepaymentEscrow::MandateRevoked>().validUntil, 0);

    let end = world.now() + NOTICE_S - 1;
    world.call(&alice, Contract::Escrow, set_mandate(payee, 10, 100, end)).unwrap();
    let receipt = world.call(&alice, Contract::Escrow, revoke_mandate(payee)).unwrap();
    assert_eq!(receipt.event::<PrepaymentEscrow::MandateRevoked>().validUntil, end);
    assert_eq!(nonce_of(&mut world, payer), u256(3), "each of the three voids what was signed before");
}
