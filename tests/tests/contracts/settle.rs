//! Several claims in one transaction: customers' vouchers first, then those of the relays, paid out of what has just
//! been earned.

use alloy::primitives::Address;
use minus_bindings::{PrepaymentEscrow, RowResult, SignedVoucher};
use minus_tests::evm::{Actor, Contract, World, assert_refused, units};

use crate::calls::{OPEN, u256};

/// Alice prepaid 100 to the agent olga, who has nothing of her own; rita and rolf relay for olga.
fn people() -> (World, Actor, Actor, Actor, Actor) {
    let mut world = World::new();
    let (alice, olga) = (Actor::named("alice"), Actor::named("olga"));
    world.prepay(&alice, olga.address(), 100);
    (world, alice, olga, Actor::named("rita"), Actor::named("rolf"))
}

#[test]
fn refuses_no_batch_at_all() {
    let (mut world, _, olga, ..) = people();
    assert_refused(world.settle(&olga, &[]), &PrepaymentEscrow::NoBatch {});
}

#[test]
fn refuses_all_for_a_batch_that_is_malformed() {
    let (mut world, alice, olga, ..) = people();
    let good = [world.voucher(&alice, olga.address(), 10)];
    let none: &[SignedVoucher] = &[];
    assert_refused(
        world.settle(&olga, &[(olga.address(), &good), (olga.address(), none)]),
        &PrepaymentEscrow::MalformedRows { length: u256(0) },
    );
    assert_refused(
        world.settle(&olga, &[(olga.address(), &good), (OPEN, &good)]),
        &PrepaymentEscrow::BadPayee { payee: OPEN },
    );
    assert_eq!(world.lane(alice.address(), olga.address()), (100, 0));
}

#[test]
fn relays_are_paid_out_of_what_was_earned_in_the_same_call() {
    let (mut world, alice, olga, rita, rolf) = people();
    let to_olga = [world.voucher(&alice, olga.address(), 60)];
    let to_rita = [world.voucher(&olga, rita.address(), 25)];
    let to_rolf = [world.voucher(&olga, rolf.address(), 50)];
    let batches = [(olga.address(), &to_olga[..]), (rita.address(), &to_rita), (rolf.address(), &to_rolf)];

    let claims = world.settle(&Actor::named("anyone"), &batches).unwrap();

    let ended: Vec<_> = claims.iter().map(|claim| (claim.results[0], claim.total.base_units())).collect();
    assert_eq!(ended, [(RowResult::Paid, 60), (RowResult::Paid, 25), (RowResult::PartlyPaid, 35)]);
    assert_eq!(claims[1].payments, [(olga.address(), units(25))]);
    let open = [&olga, &rita, &rolf].map(|person| world.open_balance(person.address()));
    assert_eq!(open, [(0, 0), (25, 0), (35, 0)]);
}

#[test]
fn the_other_way_round_there_is_nothing_to_pay_them_from() {
    let (mut world, alice, olga, rita, _) = people();
    let to_olga = [world.voucher(&alice, olga.address(), 60)];
    let to_rita = [world.voucher(&olga, rita.address(), 25)];
    let claims = world.settle(&rita, &[(rita.address(), &to_rita), (olga.address(), &to_olga)]).unwrap();
    assert_eq!(claims[0].results, [RowResult::Unfunded]);
    assert_eq!((claims[0].total, claims[1].total), (units(0), units(60)));
}

#[test]
fn a_bad_row_in_one_batch_stops_no_row_of_another() {
    let (mut world, alice, olga, rita, _) = people();
    let mallory = Actor::named("mallory");
    let forged =
        SignedVoucher::sign(alice.address(), rita.address(), units(5), &world.escrow_domain(), &mallory.signer);
    let good = [world.voucher(&alice, olga.address(), 10)];
    let claims = world.settle(&rita, &[(rita.address(), &[forged]), (olga.address(), &good)]).unwrap();
    assert_eq!((claims[0].results[0], claims[1].results[0]), (RowResult::BadSignature, RowResult::Paid));
}

/// The same batches by `claim`, one after the other, end in the same numbers.
#[test]
fn settles_as_claims_one_after_the_other_would() {
    let (mut world, alice, olga, rita, rolf) = people();
    let batches: Vec<(Address, Vec<SignedVoucher>)> = vec![
        (olga.address(), vec![world.voucher(&alice, olga.address(), 30), world.voucher(&alice, olga.address(), 30)]),
        (rita.address(), vec![world.voucher(&olga, rita.address(), 40), world.voucher(&alice, rita.address(), 1)]),
        (olga.address(), vec![world.voucher(&alice, olga.address(), 70), world.voucher(&rita, olga.address(), 5)]),
        (rolf.address(), vec![world.voucher(&olga, rolf.address(), 7)]),
    ];
    let mut fork = world.clone();
    let slices: Vec<_> = batches.iter().map(|(payee, vouchers)| (*payee, vouchers.as_slice())).collect();

    let settled = world.settle(&olga, &slices).unwrap();

    for ((payee, vouchers), settled) in batches.iter().zip(settled) {
        let claimed = fork.claim(&olga, *payee, vouchers).unwrap();
        assert_eq!(
            (claimed.total, claimed.results, claimed.payments),
            (settled.total, settled.results, settled.payments)
        );
    }
    let people = [&alice, &olga, &rita, &rolf].map(Actor::address);
    for payer in people {
        for payee in people {
            assert_eq!(world.lane(payer, payee), fork.lane(payer, payee));
        }
        assert_eq!(world.open_balance(payer), fork.open_balance(payer));
    }
    assert_eq!(world.tokens(world.address(Contract::Escrow)), 100);
}
