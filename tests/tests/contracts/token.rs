//! The settlement token: minted and redeemed at par, and backed all the way (law 6).

use alloy::primitives::U256;
use alloy::sol_types::{SolConstructor, SolValue};
use minus_bindings::SettlementToken;
use minus_tests::evm::{Actor, Contract, World, assert_refused};

use crate::calls::{u256, unwrap, wrap};

/// The token's supply and the reserve behind it.
fn backing(world: &mut World) -> (u128, u128) {
    let supply = world.view(Contract::Token, SettlementToken::totalSupplyCall {});
    let account = world.address(Contract::Token);
    let reserve = world.view(Contract::Reserve, SettlementToken::balanceOfCall { account });
    (supply.to(), reserve.to())
}

#[test]
fn refuses_a_reserve_of_other_decimals() {
    let mut world = World::new();
    let deployer = Actor::named("deployer");
    for decimals in [0_u8, 5, 7, 18] {
        let reserve = world.deploy(&deployer, "HostileReserve", &U256::from(decimals).abi_encode()).unwrap();
        let arguments = SettlementToken::constructorCall { reserve }.abi_encode();
        assert_refused(
            world.deploy(&deployer, "SettlementToken", &arguments),
            &SettlementToken::ReserveDecimals { given: decimals, required: 6 },
        );
    }
}

#[test]
fn refuses_to_redeem_more_than_one_has() {
    let mut world = World::new();
    let alice = Actor::named("alice");
    world.fund(&alice, 5);
    assert_refused(
        world.call(&alice, Contract::Token, unwrap(alice.address(), 6)),
        &SettlementToken::ERC20InsufficientBalance { sender: alice.address(), balance: u256(5), needed: u256(6) },
    );
    assert_eq!(backing(&mut world), (5, 5));
}

#[test]
fn refuses_to_mint_without_reserve() {
    let mut world = World::new();
    let alice = Actor::named("alice");
    let spender = world.address(Contract::Token);
    assert_refused(
        world.call(&alice, Contract::Token, wrap(alice.address(), 1)),
        &SettlementToken::ERC20InsufficientAllowance { spender, allowance: u256(0), needed: u256(1) },
    );
    assert_eq!(backing(&mut world), (0, 0));
}

#[test]
fn is_minted_and_redeemed_at_par() {
    let mut world = World::new();
    let (alice, bob) = (Actor::named("alice"), Actor::named("bob"));
    world.fund(&alice, 1_000);
    assert_eq!((world.tokens(alice.address()), backing(&mut world)), (1_000, (1_000, 1_000)));

    world.call(&alice, Contract::Token, unwrap(bob.address(), 400)).unwrap();

    assert_eq!((world.tokens(alice.address()), backing(&mut world)), (600, (600, 600)));
    let of_bob = world.view(Contract::Reserve, SettlementToken::balanceOfCall { account: bob.address() });
    assert_eq!(of_bob, u256(400));
    assert_eq!(world.view(Contract::Token, SettlementToken::decimalsCall {}), 6);
    assert_eq!(world.view(Contract::Token, SettlementToken::underlyingCall {}), world.address(Contract::Reserve));
}
