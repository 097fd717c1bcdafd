//! Nodes come with their own consent and a bond, and leave a tombstone.

use alloy::primitives::{Address, Bytes, U256, uint};
use minus_bindings::{IRoutingTable, RoutingTable};
use minus_tests::evm::{Actor, Contract, World, assert_refused};

use crate::calls::{NOTICE_S, OPEN, node_of, register, registered, sealing_key, tariff, thaw, u256};

fn bonded() -> (World, Actor, Actor) {
    let mut world = World::new();
    let (olga, node) = (Actor::named("olga"), Actor::named("node"));
    world.prepay(&olga, OPEN, 10_000_000);
    (world, olga, node)
}

#[test]
fn refuses_less_than_the_bond() {
    let mut world = World::new();
    let (olga, node) = (Actor::named("olga"), Actor::named("node"));
    world.prepay(&olga, OPEN, 9_999_999);
    let call = register(&world, &node, &olga);
    assert_refused(
        world.call(&olga, Contract::Routing, call.clone()),
        &RoutingTable::BondTooLow { given: u256(9_999_999), required: u256(10_000_000) },
    );
    // A lane to somebody is no bond, and neither is what has been given notice.
    world.prepay(&olga, Actor::named("rita").address(), 1);
    world.prepay(&olga, OPEN, 1);
    world.call(&olga, Contract::Escrow, thaw(OPEN, 1)).unwrap();
    assert_refused(
        world.call(&olga, Contract::Routing, call.clone()),
        &RoutingTable::BondTooLow { given: u256(9_999_999), required: u256(10_000_000) },
    );
    world.call(&olga, Contract::Escrow, thaw(OPEN, 0)).unwrap();
    world.call(&olga, Contract::Routing, call).unwrap();
}

#[test]
fn refuses_consent_that_is_late_forged_or_for_another() {
    let (mut world, olga, node) = bonded();
    let call = register(&world, &node, &olga);
    let invalid = RoutingTable::InvalidSignature { expected: node.address() };

    let forged = register(&world, &Actor::named("mallory"), &olga);
    let forged = RoutingTable::registerCall { consent: forged.consent, ..call.clone() };
    assert_refused(world.call(&olga, Contract::Routing, forged), &invalid);

    let mallory = Actor::named("mallory");
    world.prepay(&mallory, OPEN, 10_000_000);
    assert_refused(world.call(&mallory, Contract::Routing, call.clone()), &invalid);

    let other_key = RoutingTable::registerCall { sealingKey: sealing_key(&mallory), ..call.clone() };
    assert_refused(world.call(&olga, Contract::Routing, other_key), &invalid);

    let longer = RoutingTable::registerCall { validUntil: call.validUntil + 1, ..call.clone() };
    assert_refused(world.call(&olga, Contract::Routing, longer), &invalid);

    let nobody = RoutingTable::registerCall { node_: Address::ZERO, consent: Bytes::new(), ..call.clone() };
    assert_refused(
        world.call(&olga, Contract::Routing, nobody),
        &RoutingTable::InvalidSignature { expected: Address::ZERO },
    );

    world.warp(61);
    assert_refused(
        world.call(&olga, Contract::Routing, call.clone()),
        &RoutingTable::SignatureExpired { validUntil: call.validUntil, timestamp: u256(world.now().into()) },
    );
    assert_eq!(world.view(Contract::Routing, RoutingTable::nodeCountCall {}), u256(0));
}

#[test]
fn refuses_a_sealing_key_that_is_not_on_the_curve() {
    let (mut world, olga, node) = bonded();
    let key = sealing_key(&node);
    // The last is on the curve in the eyes of arithmetic modulo the prime: (x, 1), said with a y above the prime.
    let prime = U256::MAX - u256((1 << 32) + 976);
    let x_of_1 = uint!(0x1fe1e5ef3fceb5c135ab7741333ce5a6e80d68167653f6b2b24bcbcfaaaff507_U256);
    for (x, y) in [
        (key.x, key.y + u256(1)),
        (key.x, key.x),
        (U256::ZERO, U256::ZERO),
        (U256::MAX, key.y),
        (x_of_1, prime + u256(1)),
    ] {
        let call = register(&world, &node, &olga);
        let call = RoutingTable::registerCall { sealingKey: IRoutingTable::SealingKey { x, y }, ..call };
        assert_refused(world.call(&olga, Contract::Routing, call), &RoutingTable::NotOnCurve { x, y });
    }
}

#[test]
fn refuses_an_endpoint_that_is_empty_or_too_long() {
    let (mut world, olga, node) = bonded();
    for length in [0_usize, 201] {
        let call = register(&world, &node, &olga);
        let call = RoutingTable::registerCall { endpoint: "x".repeat(length), ..call };
        assert_refused(
            world.call(&olga, Contract::Routing, call),
            &RoutingTable::EndpointLength { given: U256::from(length), limit: u256(200) },
        );
    }
    let call = register(&world, &node, &olga);
    let call = RoutingTable::registerCall { endpoint: "x".repeat(200), ..call };
    world.call(&olga, Contract::Routing, call).unwrap();
    assert_eq!(node_of(&mut world, &node).endpoint.len(), 200);
}

#[test]
fn refuses_a_node_that_exists() {
    let (mut world, olga, node) = bonded();
    let call = register(&world, &node, &olga);
    world.call(&olga, Contract::Routing, call.clone()).unwrap();
    assert_refused(world.call(&olga, Contract::Routing, call), &RoutingTable::NodeExists { node: node.address() });
}

#[test]
fn registers_with_consent_and_bond() {
    let mut world = World::new();
    let (olga, node) = (Actor::named("olga"), Actor::named("node"));
    let registered_at = world.now();

    let receipt = registered(&mut world, &node, &olga);

    assert_eq!(
        receipt.event::<RoutingTable::NodeRegistered>(),
        RoutingTable::NodeRegistered { node: node.address(), operator: olga.address() }
    );
    assert_eq!(
        receipt.event::<RoutingTable::EndpointChanged>(),
        RoutingTable::EndpointChanged { node: node.address(), endpoint: "https://node.example".to_owned() }
    );
    assert_eq!(
        receipt.event::<RoutingTable::TariffAnnounced>(),
        RoutingTable::TariffAnnounced {
            node: node.address(),
            version: 1,
            tariff: tariff(100, 10, 1),
            effectiveFrom: registered_at
        }
    );
    assert_eq!(
        node_of(&mut world, &node),
        IRoutingTable::Node {
            operator: olga.address(),
            registeredAt: registered_at,
            retiredAt: 0,
            sealingKey: sealing_key(&node),
            tariff: tariff(100, 10, 1),
            tariffVersion: 1,
            next: tariff(0, 0, 0),
            nextFrom: 0,
            endpoint: "https://node.example".to_owned(),
        }
    );
    // The bond stays the operator's.
    assert_eq!(world.open_balance(olga.address()), (10_000_000, 0));
}

#[test]
fn only_its_operator_moves_a_node() {
    let mut world = World::new();
    let (olga, node, mallory) = (Actor::named("olga"), Actor::named("node"), Actor::named("mallory"));
    let endpoint = || "https://elsewhere.example".to_owned();
    let moved = RoutingTable::setEndpointCall { node_: node.address(), endpoint: endpoint() };
    assert_refused(
        world.call(&olga, Contract::Routing, moved.clone()),
        &RoutingTable::NotRegistered { node: node.address() },
    );
    registered(&mut world, &node, &olga);
    for stranger in [&mallory, &node] {
        let expected = RoutingTable::NotOperator { caller: stranger.address(), operator: olga.address() };
        assert_refused(world.call(stranger, Contract::Routing, moved.clone()), &expected);
        let retire = RoutingTable::retireCall { node_: node.address() };
        assert_refused(world.call(stranger, Contract::Routing, retire), &expected);
        let announce = RoutingTable::announceTariffCall { node_: node.address(), tariff: tariff(1, 1, 1) };
        assert_refused(world.call(stranger, Contract::Routing, announce), &expected);
    }
    let too_long = RoutingTable::setEndpointCall { node_: node.address(), endpoint: String::new() };
    assert_refused(
        world.call(&olga, Contract::Routing, too_long),
        &RoutingTable::EndpointLength { given: u256(0), limit: u256(200) },
    );

    let receipt = world.call(&olga, Contract::Routing, moved).unwrap();

    assert_eq!(
        receipt.event::<RoutingTable::EndpointChanged>(),
        RoutingTable::EndpointChanged { node: node.address(), endpoint: endpoint() }
    );
    assert_eq!(node_of(&mut world, &node).endpoint, endpoint());
}

#[test]
fn a_retired_node_is_a_tombstone_forever() {
    let mut world = World::new();
    let (olga, node) = (Actor::named("olga"), Actor::named("node"));
    registered(&mut world, &node, &olga);
    world.warp(5);
    let retired_at = world.now();
    let retire = RoutingTable::retireCall { node_: node.address() };

    let receipt = world.call(&olga, Contract::Routing, retire.clone()).unwrap();

    assert_eq!(receipt.event::<RoutingTable::NodeRetired>(), RoutingTable::NodeRetired { node: node.address() });
    world.warp(10 * NOTICE_S);
    let tombstone = node_of(&mut world, &node);
    assert_eq!((tombstone.retiredAt, tombstone.operator), (retired_at, olga.address()));
    let retired = RoutingTable::AlreadyRetired { node: node.address() };
    assert_refused(world.call(&olga, Contract::Routing, retire), &retired);
    let moved = RoutingTable::setEndpointCall { node_: node.address(), endpoint: "x".to_owned() };
    assert_refused(world.call(&olga, Contract::Routing, moved), &retired);
    let announce = RoutingTable::announceTariffCall { node_: node.address(), tariff: tariff(1, 1, 1) };
    assert_refused(world.call(&olga, Contract::Routing, announce), &retired);
    let again = register(&world, &node, &olga);
    assert_refused(world.call(&olga, Contract::Routing, again), &RoutingTable::NodeExists { node: node.address() });
    assert_eq!(world.view(Contract::Routing, RoutingTable::nodeCountCall {}), u256(1));
}

#[test]
fn lists_nodes_by_the_page() {
    let mut world = World::new();
    let olga = Actor::named("olga");
    world.prepay(&olga, OPEN, 10_000_000);
    let nodes: Vec<Actor> = (0..5).map(|number| Actor::named(&format!("node {number}"))).collect();
    for node in &nodes {
        let register = register(&world, node, &olga);
        world.call(&olga, Contract::Routing, register).unwrap();
    }
    let page = |offset: u128, limit: u128| RoutingTable::nodesCall { offset: u256(offset), limit: u256(limit) };
    let addresses: Vec<Address> = nodes.iter().map(Actor::address).collect();
    for (offset, limit, expected) in [
        (0, 100, &addresses[..]),
        (0, 2, &addresses[..2]),
        (2, 2, &addresses[2..4]),
        (4, 2, &addresses[4..]),
        (5, 2, &[]),
        (u128::MAX, 100, &[]),
        (0, 0, &[]),
    ] {
        let listed = world.view(Contract::Routing, page(offset, limit));
        assert_eq!(listed.addresses, expected, "from {offset}, {limit} of them");
        assert_eq!(listed.entries.len(), expected.len());
    }
    let entry = world.view(Contract::Routing, page(3, 1)).entries.remove(0);
    assert_eq!(entry, node_of(&mut world, &nodes[3]));
    let refused = world.try_view(Contract::Routing, page(0, 101));
    assert_refused(refused, &RoutingTable::PageTooLong { given: u256(101), limit: u256(100) });
}
