//! Money comes in: by anyone, for anyone, into any lane (law 1).

use alloy::primitives::{Address, B256, U256};
use minus_bindings::{IPrepaymentEscrow, PrepaymentEscrow, SettlementToken};
use minus_tests::evm::{Actor, Contract, World, assert_refused};

use crate::calls::{OPEN, deposit, permit, u96, u256};

fn permit_deposit(
    world: &World,
    owner: &Actor,
    payee: Address,
    amount: u128,
    nonce: u128,
) -> PrepaymentEscrow::depositWithPermitCall {
    let deadline = world.now() + 60;
    let permit = permit(world, owner, owner.address(), amount, nonce, deadline);
    PrepaymentEscrow::depositWithPermitCall {
        payer: owner.address(),
        payee,
        amount: u96(amount),
        deadline: U256::from(deadline),
        v: permit.v,
        r: permit.r,
        s: permit.s,
    }
}

/// Several deposits, each (payer, payee, amount).
fn deposit_many(parts: &[(Address, Address, u128)]) -> PrepaymentEscrow::depositManyCall {
    let part = |&(payer, payee, amount): &_| IPrepaymentEscrow::Deposit { payer, payee, amount: u96(amount) };
    PrepaymentEscrow::depositManyCall { deposits: parts.iter().map(part).collect() }
}

#[test]
fn refuses_nothing() {
    let mut world = World::new();
    let (alice, olga) = (Actor::named("alice"), Actor::named("olga"));
    assert_refused(
        world.call(&alice, Contract::Escrow, deposit(alice.address(), olga.address(), 0)),
        &PrepaymentEscrow::ZeroAmount {},
    );
}

#[test]
fn refuses_a_lane_of_nobody_or_to_oneself() {
    let mut world = World::new();
    let (alice, olga) = (Actor::named("alice"), Actor::named("olga"));
    world.fund(&alice, 10);
    world.approve(&alice, 10);
    for (payer, payee) in [(OPEN, olga.address()), (alice.address(), alice.address()), (OPEN, OPEN)] {
        assert_refused(
            world.call(&alice, Contract::Escrow, deposit(payer, payee, 1)),
            &PrepaymentEscrow::BadLane { payer, payee },
        );
    }
    assert_eq!(world.tokens(alice.address()), 10);
}

#[test]
fn refuses_what_was_not_allowed_or_is_not_there() {
    let mut world = World::new();
    let (alice, olga) = (Actor::named("alice"), Actor::named("olga"));
    world.fund(&alice, 10);
    world.approve(&alice, 4);
    let spender = world.address(Contract::Escrow);
    assert_refused(
        world.call(&alice, Contract::Escrow, deposit(alice.address(), olga.address(), 5)),
        &SettlementToken::ERC20InsufficientAllowance { spender, allowance: u256(4), needed: u256(5) },
    );
    world.approve(&alice, 20);
    assert_refused(
        world.call(&alice, Contract::Escrow, deposit(alice.address(), olga.address(), 20)),
        &SettlementToken::ERC20InsufficientBalance { sender: alice.address(), balance: u256(10), needed: u256(20) },
    );
    assert_eq!(world.tokens(spender), 0);
}

#[test]
fn refuses_more_than_a_lane_holds() {
    let mut world = World::new();
    let (alice, olga) = (Actor::named("alice"), Actor::named("olga"));
    let most = (1_u128 << 96) - 1;
    world.prepay(&alice, olga.address(), most);
    world.fund(&alice, 1);
    world.approve(&alice, 1);
    assert_refused(
        world.call(&alice, Contract::Escrow, deposit(alice.address(), OPEN, 1)),
        &PrepaymentEscrow::EscrowFull { balance: u256(most + 1), limit: u256(most) },
    );
    assert_eq!(world.lane(alice.address(), olga.address()), (most, 0));
}

#[test]
fn refuses_a_permit_that_does_not_hold() {
    let mut world = World::new();
    let (alice, olga) = (Actor::named("alice"), Actor::named("olga"));
    world.fund(&alice, 10);
    let mut call = permit_deposit(&world, &alice, olga.address(), 10, 0);
    call.r = B256::repeat_byte(1);
    let spender = world.address(Contract::Escrow);
    assert_refused(
        world.call(&alice, Contract::Escrow, call),
        &SettlementToken::ERC20InsufficientAllowance { spender, allowance: u256(0), needed: u256(10) },
    );
}

#[test]
fn fills_the_lane_that_is_named() {
    let mut world = World::new();
    let (alice, olga) = (Actor::named("alice"), Actor::named("olga"));
    world.fund(&alice, 100);
    world.approve(&alice, 100);

    let receipt = world.call(&alice, Contract::Escrow, deposit(alice.address(), olga.address(), 70)).unwrap();

    assert_eq!(
        receipt.event::<PrepaymentEscrow::Deposited>(),
        PrepaymentEscrow::Deposited {
            payer: alice.address(),
            payee: olga.address(),
            from: alice.address(),
            amount: u96(70)
        }
    );
    let escrow = world.address(Contract::Escrow);
    assert_eq!(world.lane(alice.address(), olga.address()), (70, 0));
    assert_eq!(world.lane(olga.address(), alice.address()), (0, 0));
    assert_eq!(world.open_balance(alice.address()), (0, 0));
    assert_eq!((world.tokens(alice.address()), world.tokens(escrow)), (30, 70));

    world.call(&alice, Contract::Escrow, deposit(alice.address(), OPEN, 30)).unwrap();

    assert_eq!(world.open_balance(alice.address()), (30, 0));
    assert_eq!(world.lane(alice.address(), OPEN), (30, 0));
    assert_eq!((world.tokens(alice.address()), world.tokens(escrow)), (0, 100));
}

#[test]
fn anyone_may_deposit_for_anyone() {
    let mut world = World::new();
    let (alice, olga, sponsor) = (Actor::named("alice"), Actor::named("olga"), Actor::named("sponsor"));
    world.fund(&sponsor, 10);
    world.approve(&sponsor, 10);

    let receipt = world.call(&sponsor, Contract::Escrow, deposit(alice.address(), olga.address(), 10)).unwrap();

    assert_eq!(receipt.event::<PrepaymentEscrow::Deposited>().from, sponsor.address());
    assert_eq!(world.lane(alice.address(), olga.address()), (10, 0));
    assert_eq!(world.tokens(sponsor.address()), 0);
}

#[test]
fn deposits_with_a_permit_in_one_transaction() {
    let mut world = World::new();
    let (alice, olga) = (Actor::named("alice"), Actor::named("olga"));
    world.fund(&alice, 10);
    let call = permit_deposit(&world, &alice, olga.address(), 10, 0);

    world.call(&alice, Contract::Escrow, call).unwrap();

    assert_eq!(world.lane(alice.address(), olga.address()), (10, 0));
    assert_eq!(world.tokens(alice.address()), 0);
}

#[test]
fn a_permit_that_somebody_else_carried_first_stops_nothing() {
    let mut world = World::new();
    let (alice, olga, mallory) = (Actor::named("alice"), Actor::named("olga"), Actor::named("mallory"));
    world.fund(&alice, 10);
    let call = permit_deposit(&world, &alice, olga.address(), 10, 0);
    let front_run = SettlementToken::permitCall {
        owner: alice.address(),
        spender: world.address(Contract::Escrow),
        value: u256(10),
        deadline: call.deadline,
        v: call.v,
        r: call.r,
        s: call.s,
    };
    world.call(&mallory, Contract::Token, front_run).unwrap();

    world.call(&alice, Contract::Escrow, call).unwrap();

    assert_eq!(world.lane(alice.address(), olga.address()), (10, 0));
}

#[test]
fn refuses_several_deposits_for_one_that_is_bad() {
    let mut world = World::new();
    let (alice, olga, rita) = (Actor::named("alice"), Actor::named("olga").address(), Actor::named("rita").address());
    world.fund(&alice, 100);
    world.approve(&alice, 100);
    let good = (alice.address(), olga, 10);
    let refused = |world: &mut World, parts: &[_]| world.call(&alice, Contract::Escrow, deposit_many(parts));

    assert_refused(refused(&mut world, &[]), &PrepaymentEscrow::ZeroAmount {});
    assert_refused(refused(&mut world, &[good, (olga, rita, 0)]), &PrepaymentEscrow::ZeroAmount {});
    for (payer, payee) in [(OPEN, olga), (olga, olga)] {
        let bad = PrepaymentEscrow::BadLane { payer, payee };
        assert_refused(refused(&mut world, &[good, (payer, payee, 1)]), &bad);
    }
    // Each would do, both are too much.
    assert_refused(
        refused(&mut world, &[(alice.address(), olga, 60), (alice.address(), rita, 41)]),
        &SettlementToken::ERC20InsufficientAllowance {
            spender: world.address(Contract::Escrow),
            allowance: u256(100),
            needed: u256(101),
        },
    );
    assert_eq!((world.lane(alice.address(), olga), world.tokens(alice.address())), ((0, 0), 100));
}

#[test]
fn fills_several_lanes_with_one_transfer() {
    let mut world = World::new();
    let (alice, olga, rita) = (Actor::named("alice"), Actor::named("olga").address(), Actor::named("rita").address());
    world.fund(&alice, 100);
    world.approve(&alice, 100);
    let parts = [(alice.address(), olga, 30), (olga, OPEN, 20), (alice.address(), olga, 1), (rita, olga, 49)];

    let receipt = world.call(&alice, Contract::Escrow, deposit_many(&parts)).unwrap();

    let said: Vec<_> = receipt.events::<PrepaymentEscrow::Deposited>().into_iter().map(|(_, event)| event).collect();
    let expected = parts.map(|(payer, payee, amount)| PrepaymentEscrow::Deposited {
        payer,
        payee,
        from: alice.address(),
        amount: u96(amount),
    });
    assert_eq!(said, expected);
    assert_eq!(receipt.events::<SettlementToken::Transfer>().len(), 1);
    assert_eq!((world.lane(alice.address(), olga), world.lane(rita, olga)), ((31, 0), (49, 0)));
    assert_eq!((world.open_balance(olga), world.tokens(alice.address())), ((20, 0), 0));
}
