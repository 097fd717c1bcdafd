//! Where a wallet receives: said by the wallet, or carried by anyone with its signature, and by nobody else.

use alloy::primitives::{Address, U256};
use minus_bindings::{IRoutingTable, Route, RoutingTable};
use minus_tests::evm::{Actor, Contract, World, assert_refused};

use crate::calls::{node_of, registered, route_by_signature, sealing_key, set_route, u256};

fn with_agent() -> (World, Actor, Actor) {
    let mut world = World::new();
    let (olga, agent) = (Actor::named("olga"), Actor::named("agent"));
    registered(&mut world, &agent, &olga);
    (world, agent, Actor::named("wallet"))
}

fn route_of(world: &mut World, wallet: &Actor) -> IRoutingTable::Route {
    world.view(Contract::Routing, RoutingTable::routeCall { wallet: wallet.address() })
}

fn signed_route(world: &World, wallet: &Actor, agent: &Actor, nonce: u64) -> Route {
    let key = sealing_key(wallet);
    Route {
        wallet: wallet.address(),
        agent: agent.address(),
        sealingKeyX: key.x,
        sealingKeyY: key.y,
        nonce,
        validUntil: world.now(),
    }
}

#[test]
fn refuses_an_agent_that_is_unknown_or_retired() {
    let (mut world, agent, wallet) = with_agent();
    let stranger = Actor::named("stranger").address();
    assert_refused(
        world.call(&wallet, Contract::Routing, set_route(stranger, sealing_key(&wallet))),
        &RoutingTable::NotRegistered { node: stranger },
    );
    let retire = RoutingTable::retireCall { node_: agent.address() };
    world.call(&Actor::named("olga"), Contract::Routing, retire).unwrap();
    assert_refused(
        world.call(&wallet, Contract::Routing, set_route(agent.address(), sealing_key(&wallet))),
        &RoutingTable::AlreadyRetired { node: agent.address() },
    );
}

#[test]
fn refuses_a_sealing_key_that_is_not_on_the_curve() {
    let (mut world, agent, wallet) = with_agent();
    let (x, y) = (sealing_key(&wallet).x, U256::ZERO);
    assert_refused(
        world.call(&wallet, Contract::Routing, set_route(agent.address(), IRoutingTable::SealingKey { x, y })),
        &RoutingTable::NotOnCurve { x, y },
    );
}

#[test]
fn refuses_to_resolve_what_has_no_route() {
    let (mut world, _, wallet) = with_agent();
    let resolve = RoutingTable::resolveCall { wallet: wallet.address() };
    assert_refused(world.try_view(Contract::Routing, resolve), &RoutingTable::NoRoute { wallet: wallet.address() });
}

#[test]
fn by_signature_refuses_what_is_late_forged_or_used() {
    let (mut world, agent, wallet) = with_agent();
    let (carrier, mallory) = (Actor::named("carrier"), Actor::named("mallory"));
    let route = signed_route(&world, &wallet, &agent, 0);
    let now = world.now();
    let invalid = RoutingTable::InvalidSignature { expected: wallet.address() };

    let late = Route { validUntil: now - 1, ..route.clone() };
    assert_refused(
        route_by_signature(&mut world, &carrier, &wallet, &late),
        &RoutingTable::SignatureExpired { validUntil: now - 1, timestamp: u256(now.into()) },
    );
    assert_refused(route_by_signature(&mut world, &carrier, &mallory, &route), &invalid);
    assert_refused(route_by_signature(&mut world, &agent, &agent, &route), &invalid);
    let ahead = Route { nonce: 1, ..route.clone() };
    assert_refused(route_by_signature(&mut world, &carrier, &wallet, &ahead), &invalid);

    route_by_signature(&mut world, &carrier, &wallet, &route).unwrap();
    assert_refused(route_by_signature(&mut world, &carrier, &wallet, &route), &invalid);
}

#[test]
fn a_transaction_makes_signatures_given_before_worthless() {
    let (mut world, agent, wallet) = with_agent();
    let route = signed_route(&world, &wallet, &agent, 0);
    world.call(&wallet, Contract::Routing, set_route(Address::ZERO, sealing_key(&wallet))).unwrap();
    assert_refused(
        route_by_signature(&mut world, &Actor::named("mallory"), &wallet, &route),
        &RoutingTable::InvalidSignature { expected: wallet.address() },
    );
}

#[test]
fn the_wallet_sets_and_clears_its_route() {
    let (mut world, agent, wallet) = with_agent();
    let key = sealing_key(&wallet);

    let receipt = world.call(&wallet, Contract::Routing, set_route(agent.address(), key.clone())).unwrap();

    assert_eq!(
        receipt.event::<RoutingTable::RouteSet>(),
        RoutingTable::RouteSet { wallet: wallet.address(), agent: agent.address(), nonce: 1, sealingKey: key.clone() }
    );
    let route = IRoutingTable::Route { agent: agent.address(), nonce: 1, sealingKey: key.clone() };
    assert_eq!(route_of(&mut world, &wallet), route);
    let resolved = world.view(Contract::Routing, RoutingTable::resolveCall { wallet: wallet.address() });
    assert_eq!((resolved._0, resolved._1), (route, node_of(&mut world, &agent)));

    let receipt = world.call(&wallet, Contract::Routing, set_route(Address::ZERO, key)).unwrap();

    let nothing = IRoutingTable::SealingKey { x: U256::ZERO, y: U256::ZERO };
    assert_eq!(
        receipt.event::<RoutingTable::RouteSet>(),
        RoutingTable::RouteSet {
            wallet: wallet.address(),
            agent: Address::ZERO,
            nonce: 2,
            sealingKey: nothing.clone()
        }
    );
    assert_eq!(
        route_of(&mut world, &wallet),
        IRoutingTable::Route { agent: Address::ZERO, nonce: 2, sealingKey: nothing }
    );
    let resolve = RoutingTable::resolveCall { wallet: wallet.address() };
    assert_refused(world.try_view(Contract::Routing, resolve), &RoutingTable::NoRoute { wallet: wallet.address() });
}

#[test]
fn anyone_carries_a_signed_route() {
    let (mut world, agent, wallet) = with_agent();
    let carrier = Actor::named("carrier");
    for nonce in 0..3 {
        let route = signed_route(&world, &wallet, &agent, nonce);
        let receipt = route_by_signature(&mut world, &carrier, &wallet, &route).unwrap();
        let event = receipt.event::<RoutingTable::RouteSet>();
        assert_eq!((event.wallet, event.agent, event.nonce), (wallet.address(), agent.address(), nonce + 1));
        assert_eq!(route_of(&mut world, &wallet).nonce, nonce + 1);
    }
    assert_eq!(route_of(&mut world, &carrier).agent, Address::ZERO);
}

#[test]
fn a_route_to_a_node_that_retired_still_resolves_to_its_tombstone() {
    let (mut world, agent, wallet) = with_agent();
    world.call(&wallet, Contract::Routing, set_route(agent.address(), sealing_key(&wallet))).unwrap();
    let retire = RoutingTable::retireCall { node_: agent.address() };
    world.call(&Actor::named("olga"), Contract::Routing, retire).unwrap();
    let resolved = world.view(Contract::Routing, RoutingTable::resolveCall { wallet: wallet.address() });
    assert_eq!((resolved._0.agent, resolved._1.retiredAt), (agent.address(), world.now()));
}
