//! Money comes in: by anyone, for anyone, into any lane (law 1).

use alloy::primitives::{Address, B256, U256};
use alloy::sol;
use alloy::sol_types::eip712_domain;
use minus_bindings::{PrepaymentEscrow, SettlementToken, sign};
use minus_tests::evm::{Actor, CHAIN_ID, Contract, World, assert_refused};

use crate::calls::{OPEN, deposit, u96, u256};

sol! {
    /// EIP-2612, signed in the token's own domain.
    struct Permit {
        address owner;
        address spender;
        uint256 value;
        uint256 nonce;
        uint256 deadline;
    }
}

fn permit_deposit(
    world: &World,
    owner: &Actor,
    payee: Address,
    amount: u128,
    nonce: u128,
) -> PrepaymentEscrow::depositWithPermitCall {
    let domain = eip712_domain! {
        name: "Layer Minus Dollar",
        version: "1",
        chain_id: CHAIN_ID,
        verifying_contract: world.address(Contract::Token),
    };
    let permit = Permit {
        owner: owner.address(),
        spender: world.address(Contract::Escrow),
        value: u256(amount),
        nonce: u256(nonce),
        deadline: U256::from(world.now() + 60),
    };
    let signature = sign(&permit, &domain, &owner.signer);
    PrepaymentEscrow::depositWithPermitCall {
        payer: owner.address(),
        payee,
        amount: u96(amount),
        deadline: permit.deadline,
        v: signature[64],
        r: B256::from_slice(&signature[..32]),
        s: B256::from_slice(&signature[32..64]),
    }
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
