//! A node's prices change, but not under the feet of those who already agreed to them.

use minus_bindings::RoutingTable;
use minus_tests::evm::{Actor, Contract, World, assert_refused};

use crate::calls::{NOTICE_S, node_of, register, registered, tariff};

const LIMIT: u64 = 1_000_000_000_000;

fn announce(node: &Actor, delivery: u64) -> RoutingTable::announceTariffCall {
    RoutingTable::announceTariffCall { node_: node.address(), tariff: tariff(delivery, 10, 1) }
}

fn with_node() -> (World, Actor, Actor) {
    let mut world = World::new();
    let (olga, node) = (Actor::named("olga"), Actor::named("node"));
    registered(&mut world, &node, &olga);
    (world, olga, node)
}

#[test]
fn refuses_prices_above_the_limit() {
    let (mut world, olga, node) = with_node();
    let expected = RoutingTable::TariffAboveLimit { given: LIMIT + 1, limit: LIMIT };
    for above in [tariff(LIMIT + 1, 0, 0), tariff(0, LIMIT + 1, 0), tariff(0, 0, LIMIT + 1)] {
        let call = RoutingTable::announceTariffCall { node_: node.address(), tariff: above.clone() };
        assert_refused(world.call(&olga, Contract::Routing, call), &expected);
        let second = Actor::named("second node");
        let call = RoutingTable::registerCall { tariff: above, ..register(&world, &second, &olga) };
        assert_refused(world.call(&olga, Contract::Routing, call), &expected);
    }
    let highest = tariff(LIMIT, LIMIT, LIMIT);
    let call = RoutingTable::announceTariffCall { node_: node.address(), tariff: highest };
    world.call(&olga, Contract::Routing, call).unwrap();
}

#[test]
fn a_change_takes_effect_at_the_exact_second() {
    let (mut world, olga, node) = with_node();
    let effective_from = world.now() + NOTICE_S;

    let receipt = world.call(&olga, Contract::Routing, announce(&node, 200)).unwrap();

    assert_eq!(
        receipt.event::<RoutingTable::TariffAnnounced>(),
        RoutingTable::TariffAnnounced {
            node: node.address(),
            version: 2,
            tariff: tariff(200, 10, 1),
            effectiveFrom: effective_from
        }
    );
    world.warp(NOTICE_S - 1);
    let before = node_of(&mut world, &node);
    assert_eq!((before.tariffVersion, before.tariff), (1, tariff(100, 10, 1)));
    assert_eq!((before.next, before.nextFrom), (tariff(200, 10, 1), effective_from));
    world.warp(1);
    let after = node_of(&mut world, &node);
    assert_eq!((after.tariffVersion, after.tariff), (2, tariff(200, 10, 1)));
    assert_eq!((after.next, after.nextFrom), (tariff(0, 0, 0), 0));
}

#[test]
fn a_later_word_replaces_one_that_is_not_yet_in_force() {
    let (mut world, olga, node) = with_node();
    world.call(&olga, Contract::Routing, announce(&node, 200)).unwrap();
    world.warp(NOTICE_S - 1);
    let effective_from = world.now() + NOTICE_S;

    let receipt = world.call(&olga, Contract::Routing, announce(&node, 300)).unwrap();

    let event = receipt.event::<RoutingTable::TariffAnnounced>();
    assert_eq!((event.version, event.effectiveFrom), (2, effective_from));
    world.warp(1);
    assert_eq!(node_of(&mut world, &node).tariff, tariff(100, 10, 1));
    world.warp(NOTICE_S - 1);
    let after = node_of(&mut world, &node);
    assert_eq!((after.tariffVersion, after.tariff), (2, tariff(300, 10, 1)));
}

#[test]
fn versions_count_what_came_into_force() {
    let (mut world, olga, node) = with_node();
    for version in 2..6_u32 {
        let receipt = world.call(&olga, Contract::Routing, announce(&node, u64::from(version) * 100)).unwrap();
        assert_eq!(receipt.event::<RoutingTable::TariffAnnounced>().version, version);
        assert_eq!(node_of(&mut world, &node).tariffVersion, version - 1);
        world.warp(NOTICE_S);
        let entry = node_of(&mut world, &node);
        assert_eq!((entry.tariffVersion, entry.tariff.delivery), (version, u64::from(version) * 100));
    }
}
