//! Money leaves, but not before those who hold vouchers had their time (law 4).

use alloy::primitives::Address;
use minus_bindings::{IPrepaymentEscrow, PrepaymentEscrow, RowResult};
use minus_tests::evm::{Actor, Contract, World, assert_refused, units};

use crate::calls::{NOTICE_S, OPEN, thaw, u96, u256, withdraw};

fn prepaid() -> (World, Actor, Actor) {
    let mut world = World::new();
    let (alice, olga) = (Actor::named("alice"), Actor::named("olga"));
    world.prepay(&alice, olga.address(), 100);
    (world, alice, olga)
}

fn thaw_of(world: &mut World, payer: Address, payee: Address) -> IPrepaymentEscrow::Thaw {
    world.view(Contract::Escrow, PrepaymentEscrow::laneCall { payer, payee })._1
}

#[test]
fn the_period_is_seven_days() {
    assert_eq!(World::new().view(Contract::Escrow, PrepaymentEscrow::NOTICE_PERIODCall {}), NOTICE_S);
}

#[test]
fn refuses_to_thaw_more_than_is_there() {
    let (mut world, alice, olga) = prepaid();
    assert_refused(
        world.call(&alice, Contract::Escrow, thaw(olga.address(), 101)),
        &PrepaymentEscrow::ThawAboveDeposit { amount: u96(101), deposit: u96(100) },
    );
    assert_refused(
        world.call(&olga, Contract::Escrow, thaw(alice.address(), 1)),
        &PrepaymentEscrow::ThawAboveDeposit { amount: u96(1), deposit: u96(0) },
    );
}

#[test]
fn refuses_to_withdraw_without_notice() {
    let (mut world, alice, olga) = prepaid();
    assert_refused(
        world.call(&alice, Contract::Escrow, withdraw(olga.address(), alice.address())),
        &PrepaymentEscrow::NothingThawing { payer: alice.address(), payee: olga.address() },
    );
}

#[test]
fn refuses_to_withdraw_one_second_too_early() {
    let (mut world, alice, olga) = prepaid();
    let ends_at = world.now() + NOTICE_S;
    world.call(&alice, Contract::Escrow, thaw(olga.address(), 100)).unwrap();
    world.warp(NOTICE_S - 1);
    assert_refused(
        world.call(&alice, Contract::Escrow, withdraw(olga.address(), alice.address())),
        &PrepaymentEscrow::NoticeRunning { endsAt: ends_at, timestamp: u256((ends_at - 1).into()) },
    );
    assert_eq!(world.lane(alice.address(), olga.address()), (100, 0));
}

#[test]
fn refuses_to_withdraw_to_nobody_or_into_the_escrow() {
    let (mut world, alice, olga) = prepaid();
    world.call(&alice, Contract::Escrow, thaw(olga.address(), 100)).unwrap();
    world.warp(NOTICE_S);
    for to in [Address::ZERO, world.address(Contract::Escrow)] {
        assert_refused(
            world.call(&alice, Contract::Escrow, withdraw(olga.address(), to)),
            &PrepaymentEscrow::BadRecipient { to },
        );
    }
}

#[test]
fn withdraws_at_the_exact_second() {
    let (mut world, alice, olga) = prepaid();
    let heir = Actor::named("heir").address();
    let ends_at = world.now() + NOTICE_S;
    let receipt = world.call(&alice, Contract::Escrow, thaw(olga.address(), 60)).unwrap();
    assert_eq!(
        receipt.event::<PrepaymentEscrow::ThawStarted>(),
        PrepaymentEscrow::ThawStarted {
            payer: alice.address(),
            payee: olga.address(),
            amount: u96(60),
            endsAt: ends_at
        }
    );
    assert_eq!(
        thaw_of(&mut world, alice.address(), olga.address()),
        IPrepaymentEscrow::Thaw { amount: u96(60), endsAt: ends_at }
    );
    world.warp(NOTICE_S);

    let receipt = world.call(&alice, Contract::Escrow, withdraw(olga.address(), heir)).unwrap();

    assert_eq!(receipt.value, u96(60));
    assert_eq!(
        receipt.event::<PrepaymentEscrow::Withdrawn>(),
        PrepaymentEscrow::Withdrawn { payer: alice.address(), payee: olga.address(), to: heir, amount: u96(60) }
    );
    assert_eq!(world.lane(alice.address(), olga.address()), (40, 0));
    assert_eq!((world.tokens(heir), world.tokens(world.address(Contract::Escrow))), (60, 40));
    assert_eq!(
        thaw_of(&mut world, alice.address(), olga.address()),
        IPrepaymentEscrow::Thaw { amount: u96(0), endsAt: 0 }
    );
    assert_refused(
        world.call(&alice, Contract::Escrow, withdraw(olga.address(), heir)),
        &PrepaymentEscrow::NothingThawing { payer: alice.address(), payee: olga.address() },
    );
}

#[test]
fn claims_go_first_all_along_the_way() {
    let (mut world, alice, olga) = prepaid();
    world.call(&alice, Contract::Escrow, thaw(olga.address(), 100)).unwrap();
    world.warp(NOTICE_S);
    // The notice is over, but the money is still there, and the voucher was signed.
    let voucher = world.voucher(&alice, olga.address(), 70);
    let claim = world.claim(&olga, olga.address(), &[voucher]).unwrap();
    assert_eq!((claim.results.as_slice(), claim.total), (&[RowResult::Paid][..], units(70)));

    let receipt = world.call(&alice, Contract::Escrow, withdraw(olga.address(), alice.address())).unwrap();

    assert_eq!(receipt.value, u96(30));
    assert_eq!((world.tokens(alice.address()), world.lane(alice.address(), olga.address())), (30, (0, 70)));
    assert_eq!(world.open_balance(olga.address()), (70, 0));
}

#[test]
fn a_second_notice_replaces_the_first_and_starts_over() {
    let (mut world, alice, olga) = prepaid();
    world.call(&alice, Contract::Escrow, thaw(olga.address(), 60)).unwrap();
    world.warp(NOTICE_S - 1);
    let ends_at = world.now() + NOTICE_S;
    world.call(&alice, Contract::Escrow, thaw(olga.address(), 10)).unwrap();
    world.warp(1);
    assert_refused(
        world.call(&alice, Contract::Escrow, withdraw(olga.address(), alice.address())),
        &PrepaymentEscrow::NoticeRunning { endsAt: ends_at, timestamp: u256(world.now().into()) },
    );
    world.warp(NOTICE_S - 1);
    let receipt = world.call(&alice, Contract::Escrow, withdraw(olga.address(), alice.address())).unwrap();
    assert_eq!(receipt.value, u96(10));
}

#[test]
fn zero_takes_the_notice_back() {
    let (mut world, alice, olga) = prepaid();
    world.call(&alice, Contract::Escrow, thaw(olga.address(), 60)).unwrap();
    let receipt = world.call(&alice, Contract::Escrow, thaw(olga.address(), 0)).unwrap();
    let event = receipt.event::<PrepaymentEscrow::ThawStarted>();
    assert_eq!((event.amount, event.endsAt), (u96(0), 0));
    world.warp(NOTICE_S);
    assert_refused(
        world.call(&alice, Contract::Escrow, withdraw(olga.address(), alice.address())),
        &PrepaymentEscrow::NothingThawing { payer: alice.address(), payee: olga.address() },
    );
}

#[test]
fn earnings_obey_the_same_notice() {
    let (mut world, alice, olga) = prepaid();
    let rita = Actor::named("rita");
    let voucher = world.voucher(&alice, olga.address(), 80);
    world.claim(&olga, olga.address(), &[voucher]).unwrap();
    world.call(&olga, Contract::Escrow, thaw(OPEN, 80)).unwrap();
    assert_eq!(world.open_balance(olga.address()), (80, 80));
    world.warp(NOTICE_S - 1);
    // What olga owes a relay is paid out of what is thawing.
    let to_rita = world.voucher(&olga, rita.address(), 50);
    world.claim(&rita, rita.address(), &[to_rita]).unwrap();
    assert_eq!(world.open_balance(olga.address()), (30, 30));
    world.warp(1);

    let receipt = world.call(&olga, Contract::Escrow, withdraw(OPEN, olga.address())).unwrap();

    assert_eq!(receipt.value, u96(30));
    assert_eq!((world.tokens(olga.address()), world.open_balance(olga.address())), (30, (0, 0)));
}
