//! What a payee takes while its payer is away: inside the mandate, out of the same running total (laws 2, 3, 5 and 11).

use alloy::primitives::Address;
use minus_bindings::{PrepaymentEscrow, RowResult, SignedCharge, SignedVoucher, row};
use minus_tests::evm::{Actor, Contract, World, assert_refused, units};
use proptest::prelude::*;

use crate::calls::{DAY_S, NOTICE_S, OPEN, authorize, mandate_of, revoke_mandate, set_mandate, u256};
use crate::random;

/// Alice prepaid 100 to olga and lets her charge 10 a day, of which at most 25 gathers, for a month.
fn mandated() -> (World, Actor, Actor, Actor) {
    let mut world = World::new();
    let (alice, olga) = (Actor::named("alice"), Actor::named("olga"));
    world.prepay(&alice, olga.address(), 100);
    let end = world.now() + 30 * DAY_S;
    world.call(&alice, Contract::Escrow, set_mandate(olga.address(), 10, 25, end)).unwrap();
    (world, alice, olga, Actor::named("anyone"))
}

/// Charges one row to olga; how it ended and what it paid.
fn charge_one(world: &mut World, charge: SignedCharge) -> (RowResult, u128) {
    let claim = world.charge(&Actor::named("anyone"), charge.payee, &[charge]).unwrap();
    (claim.results[0], claim.total.base_units())
}

#[track_caller]
fn assert_charges_nothing(world: &mut World, charge: SignedCharge, expected: RowResult) {
    let before = (
        world.lane(charge.payer, charge.payee),
        world.open_balance(charge.payer),
        world.open_balance(charge.payee),
        mandate_of(world, charge.payer, charge.payee),
    );
    assert_eq!(charge_one(world, charge), (expected, 0));
    let after = (
        world.lane(charge.payer, charge.payee),
        world.open_balance(charge.payer),
        world.open_balance(charge.payee),
        mandate_of(world, charge.payer, charge.payee),
    );
    assert_eq!(before, after);
}

#[test]
fn refuses_no_payee_and_no_rows() {
    let (mut world, .., olga, anyone) = mandated();
    let charge = world.charge_of(OPEN, &olga, 1);
    assert_refused(world.charge(&anyone, OPEN, &[charge]), &PrepaymentEscrow::BadPayee { payee: OPEN });
    for length in [0_usize, 1, 95, 97] {
        let call = PrepaymentEscrow::chargeCall { payee: olga.address(), rows: vec![0; length].into() };
        assert_refused(
            world.call(&anyone, Contract::Escrow, call),
            &PrepaymentEscrow::MalformedRows { length: u256(length.try_into().unwrap()) },
        );
    }
}

#[test]
fn refuses_a_row_of_nobody_or_of_the_payee() {
    let (mut world, _, olga, _) = mandated();
    world.warp(DAY_S);
    for payer in [OPEN, olga.address()] {
        let charge = world.charge_of(payer, &olga, 1);
        assert_charges_nothing(&mut world, charge, RowResult::BadPayer);
    }
}

#[test]
fn refuses_all_signatures_but_the_payees() {
    let (mut world, alice, olga, _) = mandated();
    world.warp(DAY_S);
    let domain = world.escrow_domain();
    for stranger in [&alice, &Actor::named("mallory")] {
        let charge = SignedCharge::sign(alice.address(), olga.address(), units(5), &domain, &stranger.signer);
        assert_charges_nothing(&mut world, charge, RowResult::BadSignature);
    }
    let charge = world.charge_of(alice.address(), &olga, 5);
    assert_charges_nothing(&mut world, SignedCharge { cumulative: units(6), ..charge }, RowResult::BadSignature);
    // A voucher to oneself is no charge, and a charge is no voucher.
    let voucher = SignedVoucher::sign(alice.address(), olga.address(), units(5), &domain, &olga.signer);
    let SignedVoucher { payer, payee, cumulative, signature } = voucher;
    let charge = SignedCharge { payer, payee, cumulative, signature };
    assert_charges_nothing(&mut world, charge, RowResult::BadSignature);
    let signed_by_payer = SignedCharge::sign(alice.address(), olga.address(), units(5), &domain, &alice.signer);
    let claim = world.claim_rows(&olga, olga.address(), row::pack(&[signed_by_payer])).unwrap();
    assert_eq!(claim.results, [RowResult::BadSignature]);
}

#[test]
fn refuses_without_a_mandate_or_after_it() {
    let (mut world, alice, olga, _) = mandated();
    let bob = Actor::named("bob");
    world.prepay(&bob, olga.address(), 50);
    let of_bob = world.charge_of(bob.address(), &olga, 5);
    assert_charges_nothing(&mut world, of_bob, RowResult::NoMandate);

    world.warp(30 * DAY_S + 1);
    let late = world.charge_of(alice.address(), &olga, 5);
    assert_charges_nothing(&mut world, late, RowResult::NoMandate);
}

#[test]
fn charges_up_to_the_last_second_of_a_revoked_mandate() {
    let (mut world, alice, olga, _) = mandated();
    world.call(&alice, Contract::Escrow, revoke_mandate(olga.address())).unwrap();
    world.warp(NOTICE_S);
    let charge = world.charge_of(alice.address(), &olga, 20);
    assert_eq!(charge_one(&mut world, charge), (RowResult::Paid, 20));
    let charge = world.charge_of(alice.address(), &olga, 25);
    world.warp(1);
    assert_charges_nothing(&mut world, charge, RowResult::NoMandate);
}

#[test]
fn refuses_before_a_whole_unit_has_accrued() {
    let (mut world, alice, olga, _) = mandated();
    let charge = world.charge_of(alice.address(), &olga, 5);
    assert_charges_nothing(&mut world, charge, RowResult::NothingAccrued);
    // One of ten a day takes 8,640 seconds.
    world.warp(8_639);
    assert_charges_nothing(&mut world, charge, RowResult::NothingAccrued);
    world.warp(1);
    assert_eq!(charge_one(&mut world, charge), (RowResult::PartlyPaid, 1));
    assert_charges_nothing(&mut world, charge, RowResult::NothingAccrued);
}

#[test]
fn pays_what_has_accrued_and_the_rest_of_the_same_row_later() {
    let (mut world, alice, olga, anyone) = mandated();
    world.warp(DAY_S);
    let charge = world.charge_of(alice.address(), &olga, 12);

    let claim = world.charge(&anyone, olga.address(), &[charge]).unwrap();

    assert_eq!((claim.total, claim.results.as_slice()), (units(10), &[RowResult::PartlyPaid][..]));
    assert_eq!(claim.payments, [(alice.address(), units(10))]);
    assert_eq!(world.lane(alice.address(), olga.address()), (90, 10));
    assert_eq!(world.open_balance(olga.address()), (10, 0));
    let (mandate, chargeable) = mandate_of(&mut world, alice.address(), olga.address());
    assert_eq!((mandate.accrued, mandate.accruedAt, chargeable), (0, world.now(), 0));

    world.warp(DAY_S);
    assert_eq!(charge_one(&mut world, charge), (RowResult::Paid, 2));
    assert_eq!(mandate_of(&mut world, alice.address(), olga.address()).1, 8);
    assert_charges_nothing(&mut world, charge, RowResult::NothingNew);
    assert_eq!((world.tokens(anyone.address()), world.open_balance(olga.address())), (0, (12, 0)));
}

#[test]
fn the_running_total_is_the_lanes_for_vouchers_and_charges_alike() {
    let (mut world, alice, olga, anyone) = mandated();
    world.warp(DAY_S);
    let charge = world.charge_of(alice.address(), &olga, 8);
    assert_eq!(charge_one(&mut world, charge), (RowResult::Paid, 8));
    // What was charged, no voucher pays again; the next one includes it.
    let (same, next) = (world.voucher(&alice, olga.address(), 8), world.voucher(&alice, olga.address(), 30));
    let claim = world.claim(&anyone, olga.address(), &[same, next]).unwrap();
    assert_eq!((claim.results, claim.total), (vec![RowResult::NothingNew, RowResult::Paid], units(22)));
    // And a voucher takes nothing from the mandate.
    assert_eq!(mandate_of(&mut world, alice.address(), olga.address()).1, 2);
    let charge = world.charge_of(alice.address(), &olga, 30);
    assert_charges_nothing(&mut world, charge, RowResult::NothingNew);
}

#[test]
fn what_is_not_there_is_not_drawn_from_the_mandate() {
    let (mut world, alice, olga, _) = mandated();
    let voucher = world.voucher(&alice, olga.address(), 97);
    world.claim(&olga, olga.address(), &[voucher]).unwrap();
    world.warp(DAY_S);
    let charge = world.charge_of(alice.address(), &olga, 107);
    assert_eq!(charge_one(&mut world, charge), (RowResult::PartlyPaid, 3));
    assert_charges_nothing(&mut world, charge, RowResult::Unfunded);
    assert_eq!(mandate_of(&mut world, alice.address(), olga.address()).1, 7);
    // The open balance stands behind charges as it does behind vouchers.
    world.prepay(&alice, OPEN, 50);
    assert_eq!(charge_one(&mut world, charge), (RowResult::Paid, 7));
    assert_eq!(world.open_balance(alice.address()), (43, 0));
}

#[test]
fn a_bad_row_stops_no_good_one() {
    let (mut world, alice, olga, anyone) = mandated();
    let (bob, carol) = (Actor::named("bob"), Actor::named("carol"));
    world.prepay(&carol, olga.address(), 50);
    let end = world.now() + DAY_S;
    world.call(&carol, Contract::Escrow, set_mandate(olga.address(), 50, 50, end)).unwrap();
    world.warp(DAY_S);
    let rows = [
        world.charge_of(olga.address(), &olga, 1),
        world.charge_of(alice.address(), &bob, 1),
        world.charge_of(bob.address(), &olga, 1),
        world.charge_of(alice.address(), &olga, 4),
        world.charge_of(alice.address(), &olga, 4),
        world.charge_of(carol.address(), &olga, 40),
        world.charge_of(alice.address(), &olga, 99),
        world.charge_of(alice.address(), &olga, 100),
    ];

    let claim = world.charge(&anyone, olga.address(), &rows).unwrap();

    assert_eq!(
        claim.results,
        [
            RowResult::BadPayer,
            RowResult::BadSignature,
            RowResult::NoMandate,
            RowResult::Paid,
            RowResult::NothingNew,
            RowResult::Paid,
            RowResult::PartlyPaid,
            RowResult::NothingAccrued,
        ]
    );
    let expected = [(alice.address(), 4), (carol.address(), 40), (alice.address(), 6)];
    assert_eq!(claim.payments, expected.map(|(payer, paid)| (payer, units(paid))));
    assert_eq!(world.open_balance(olga.address()), (50, 0));
}

#[test]
fn a_payees_delegate_states_its_charges_and_a_payers_does_not() {
    let (mut world, alice, olga, _) = mandated();
    let (node, session) = (Actor::named("node"), Actor::named("session"));
    world.warp(DAY_S);
    let domain = world.escrow_domain();
    let signed_by = |signer: &Actor, cumulative| {
        SignedCharge::sign(alice.address(), olga.address(), units(cumulative), &domain, &signer.signer)
    };
    world.call(&alice, Contract::Escrow, authorize(session.address())).unwrap();
    assert_charges_nothing(&mut world, signed_by(&session, 5), RowResult::BadSignature);
    assert_charges_nothing(&mut world, signed_by(&node, 5), RowResult::BadSignature);
    world.call(&olga, Contract::Escrow, authorize(node.address())).unwrap();
    assert_eq!(charge_one(&mut world, signed_by(&node, 5)), (RowResult::Paid, 5));
}

/// Charges all it can at these moments, and says what it got in all.
fn charged_at(daily: u128, cap: u128, pauses: &[u64]) -> u128 {
    let mut world = World::new();
    let (alice, olga) = (Actor::named("alice"), Actor::named("olga"));
    let plenty = 1 << 90;
    world.prepay(&alice, olga.address(), plenty);
    world.call(&alice, Contract::Escrow, set_mandate(olga.address(), daily, cap, u64::MAX)).unwrap();
    let charge = world.charge_of(alice.address(), &olga, plenty);
    let mut total = 0;
    for pause in pauses {
        world.warp(*pause);
        total += charge_one(&mut world, charge).1;
    }
    assert_eq!(world.lane(alice.address(), olga.address()).1, total);
    total
}

/// How often one charges makes no difference to what one gets: nothing is lost to rounding, and nothing is gained.
#[test]
fn rounding_never_adds_up() {
    let amounts = prop_oneof![1..=100_u128, 1..=1_u128 << 60];
    let pauses = prop::collection::vec(prop_oneof![0..3_u64, 0..=2 * DAY_S], 1..24);
    random::check(48, &(amounts, pauses), |(daily, pauses)| {
        let seconds: u64 = pauses.iter().sum();
        // A cap that is never reached, so that all that accrues is paid.
        let cap = daily * u128::from(seconds / DAY_S + 1);
        prop_assert_eq!(charged_at(daily, cap, &pauses), daily * u128::from(seconds) / u128::from(DAY_S));
        Ok(())
    });
}

/// Between any two moments a payee gets at most the accrual cap and what accrued since (law 12 for payers).
#[test]
fn never_more_than_the_cap_and_what_accrued_since() {
    let caps = (1..=1_000_u128, 1..=1_000_u128);
    let pauses = prop::collection::vec(0..=3 * DAY_S, 1..24);
    random::check(48, &(caps, pauses), |((daily, cap), pauses)| {
        let seconds: u64 = pauses.iter().sum();
        let accrued = daily * u128::from(seconds) / u128::from(DAY_S);
        let total = charged_at(daily, cap, &pauses);
        prop_assert!(total <= accrued, "{} of {}", total, accrued);
        prop_assert!(total <= cap * u128::try_from(pauses.len()).unwrap());
        // After a pause of whatever length, one charge gets no more than gathers.
        let whole = charged_at(daily, cap, &[seconds]);
        prop_assert_eq!(whole, accrued.min(cap));
        Ok(())
    });
}

/// The address of nobody in particular is as good a payer as any when there is no mandate.
#[test]
fn a_stranger_that_never_gave_a_mandate_is_never_charged() {
    let (mut world, _, olga, _) = mandated();
    for payer in [Address::repeat_byte(1), Address::repeat_byte(0xff)] {
        let charge = world.charge_of(payer, &olga, u128::from(u64::MAX));
        assert_charges_nothing(&mut world, charge, RowResult::NoMandate);
    }
}
