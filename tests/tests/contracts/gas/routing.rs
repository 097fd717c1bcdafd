//! The routing table: nodes and routes.

use alloy::primitives::Address;
use minus_bindings::{IRoutingTable, NodeConsent, Route, RoutingTable};
use minus_tests::evm::Actor;

use super::bench::{Bench, VALID_UNTIL, people};
use super::cost::{Cost, signed, twice};
use crate::calls::{NOTICE_S, OPEN, sealing_key, set_route, tariff};

/// The endpoint is 25 bytes; a tariff that was announced took effect before the next one.
pub(super) fn of_routing(bench: &mut Bench) -> Vec<Cost> {
    let routing = bench.routing.address;
    let [operator, wallet, other, carrier] = ["operator", "wallet", "other wallet", "carrier"].map(Actor::named);
    let nodes = people("node", 2);
    let agent = nodes[0].address();
    bench.endow(&operator);
    bench.prepay(&operator, &[operator.address()], OPEN);
    let mut costs = vec![
        twice(bench, "register", &operator, routing, |bench, nth| register(bench, &nodes[nth], &operator)),
        twice(bench, "setEndpoint", &operator, routing, |_, nth| RoutingTable::setEndpointCall {
            node_: agent,
            endpoint: format!("https://node.example/at/{nth}"),
        }),
    ];
    let [first, later] = [2, 3].map(|price| {
        let call = RoutingTable::announceTariffCall { node_: agent, tariff: tariff(price, price, price) };
        let gas = bench.gas(&operator, routing, &call);
        bench.wait(NOTICE_S);
        gas
    });
    costs.push(Cost::new("announceTariff", first, later));
    let retire = RoutingTable::retireCall { node_: nodes[1].address() };
    costs.push(Cost { function: "retire".to_owned(), first: bench.gas(&operator, routing, &retire), later: None });

    let keys = [sealing_key(&wallet), sealing_key(&other)];
    let key = |nth: usize| keys[nth].clone();
    costs.push(twice(bench, "setRoute", &wallet, routing, |_, nth| set_route(agent, key(nth))));
    costs.push(twice(bench, "setRouteBySignature", &carrier, routing, |bench, nth| {
        set_route_by_signature(bench, &other, agent, key(nth))
    }));
    costs.push(twice(bench, "setRoute to nobody, then again", &wallet, routing, |_, nth| set_route(OPEN, key(nth))));
    costs
}

fn register(bench: &Bench, node: &Actor, operator: &Actor) -> RoutingTable::registerCall {
    let key = sealing_key(node);
    let consent = NodeConsent {
        node: node.address(),
        operator: operator.address(),
        sealingKeyX: key.x,
        sealingKeyY: key.y,
        validUntil: VALID_UNTIL,
    };
    RoutingTable::registerCall {
        node_: node.address(),
        sealingKey: key,
        endpoint: "https://node.example:8443".to_owned(),
        tariff: tariff(100, 10, 1),
        validUntil: VALID_UNTIL,
        consent: signed(node, &consent, &bench.routing_domain()),
    }
}

fn set_route_by_signature(
    bench: &Bench,
    wallet: &Actor,
    agent: Address,
    key: IRoutingTable::SealingKey,
) -> RoutingTable::setRouteBySignatureCall {
    let nonce = bench.view(bench.routing.address, &RoutingTable::routeCall { wallet: wallet.address() }).nonce;
    let route = Route {
        wallet: wallet.address(),
        agent,
        sealingKeyX: key.x,
        sealingKeyY: key.y,
        nonce,
        validUntil: VALID_UNTIL,
    };
    let signature = signed(wallet, &route, &bench.routing_domain());
    RoutingTable::setRouteBySignatureCall {
        wallet: route.wallet,
        agent,
        sealingKey: key,
        validUntil: VALID_UNTIL,
        signature,
    }
}
