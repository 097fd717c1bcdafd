//! The routing table and its second keeping, side by side.

use std::cell::RefCell;

use alloy::primitives::{Address, U256};
use minus_bindings::{IRoutingTable, NodeConsent, Route, RoutingTable, sign};
use minus_tests::evm::{Actor, Contract, World};
use proptest::prelude::*;

use super::outcome::{Seen, assert_happened, same};
use super::routing_model::{BOND, ENDPOINT_MAX, Key, Model, Node, PRICE_MAX, Registration, SignedRoute, Tariff};
use crate::calls::{NOTICE_S, OPEN, route_by_signature, set_route, tariff as tariff_of, thaw, u256};
use crate::random;

const LIVES: u32 = 24;
const STEPS: std::ops::Range<usize> = 30..60;

/// Two operators, then three nodes; all five are wallets, too.
const OPERATORS: usize = 2;
const PEOPLE: usize = 5;

/// Every way in which a step can end, and what shall have gone through at least once.
const OUTCOMES: [&str; 19] = [
    "AlreadyRetired",
    "BondTooLow",
    "EndpointLength",
    "InvalidSignature",
    "NoRoute",
    "NodeExists",
    "NotOnCurve",
    "NotOperator",
    "NotRegistered",
    "SignatureExpired",
    "TariffAboveLimit",
    "a route was carried",
    "a route was cleared",
    "a route was set",
    "a tariff took effect",
    "a tariff was announced",
    "moved",
    "registered",
    "retired",
];

/// One step. People are numbers below [`PEOPLE`]; as an agent, that number itself is nobody.
#[derive(Clone, Debug)]
enum Operation {
    /// Mostly in order; `flaw` says what is not.
    Register {
        operator: usize,
        node: usize,
        flaw: Flaw,
    },
    SetEndpoint {
        by: usize,
        node: usize,
        length: usize,
    },
    Announce {
        by: usize,
        node: usize,
        tariff: Tariff,
    },
    Retire {
        by: usize,
        node: usize,
    },
    SetRoute {
        wallet: usize,
        agent: usize,
        key_is_good: bool,
    },
    SignRoute {
        wallet: usize,
        signer: usize,
        agent: usize,
        key_is_good: bool,
        seconds: u64,
    },
    CarryRoute {
        back: usize,
    },
    /// Announces that so much of an operator's open balance is to leave; 0 takes that back.
    Thaw {
        operator: usize,
        amount: u128,
    },
    Warp {
        seconds: u64,
    },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Flaw {
    None,
    Late,
    KeyOffCurve,
    NoEndpoint,
    LongEndpoint,
    Price,
    ForgedConsent,
    ConsentForAnother,
}

fn operations() -> impl Strategy<Value = Operation> {
    let operator = 0..OPERATORS;
    let node = OPERATORS..PEOPLE;
    let person = 0..PEOPLE;
    let good = prop::bool::weighted(0.8);
    let flaw = prop_oneof![
        14 => Just(Flaw::None),
        1 => Just(Flaw::Late),
        1 => Just(Flaw::KeyOffCurve),
        1 => Just(Flaw::NoEndpoint),
        1 => Just(Flaw::LongEndpoint),
        1 => Just(Flaw::Price),
        1 => Just(Flaw::ForgedConsent),
        1 => Just(Flaw::ConsentForAnother),
    ];
    let length = prop_oneof![1..=ENDPOINT_MAX, Just(ENDPOINT_MAX + 1), Just(0)];
    let price = || prop_oneof![8 => 0..=PRICE_MAX, 1 => Just(PRICE_MAX + 1)];
    let agent = prop_oneof![6 => OPERATORS..PEOPLE, 1 => 0..OPERATORS, 1 => Just(PEOPLE)];
    let signer = |wallet: usize| prop_oneof![4 => Just(wallet), 1 => 0..PEOPLE];
    let signed = (person.clone().prop_flat_map(move |wallet| (Just(wallet), signer(wallet))), agent.clone());
    prop_oneof![
        5 => (operator.clone(), node.clone(), flaw)
            .prop_map(|(operator, node, flaw)| Operation::Register { operator, node, flaw }),
        2 => (operator.clone(), node.clone(), length)
            .prop_map(|(by, node, length)| Operation::SetEndpoint { by, node, length }),
        4 => (operator.clone(), node.clone(), [price(), price(), price()])
            .prop_map(|(by, node, tariff)| Operation::Announce { by, node, tariff }),
        2 => (prop_oneof![2 => 0..OPERATORS, 1 => 0..PEOPLE], node)
            .prop_map(|(by, node)| Operation::Retire { by, node }),
        4 => (person, agent, good)
            .prop_map(|(wallet, agent, key_is_good)| Operation::SetRoute { wallet, agent, key_is_good }),
        5 => (signed, good, 0..NOTICE_S).prop_map(|(((wallet, signer), agent), key_is_good, seconds)| {
            Operation::SignRoute { wallet, signer, agent, key_is_good, seconds }
        }),
        6 => (0..3_usize).prop_map(|back| Operation::CarryRoute { back }),
        2 => (operator, prop_oneof![Just(0), Just(1), 0..=BOND])
            .prop_map(|(operator, amount)| Operation::Thaw { operator, amount }),
        3 => prop_oneof![Just(1), Just(NOTICE_S - 1), Just(NOTICE_S), 0..NOTICE_S]
            .prop_map(|seconds| Operation::Warp { seconds }),
    ]
}

struct Pair {
    world: World,
    model: Model,
    people: Vec<Actor>,
    pocket: Vec<SignedRoute>,
}

impl Pair {
    fn new() -> Self {
        let mut world = World::new();
        let people: Vec<_> = (0..PEOPLE).map(|number| Actor::named(&format!("person {number}"))).collect();
        let mut model = Model { now: world.now(), ..Model::default() };
        for operator in &people[..OPERATORS] {
            world.prepay(operator, OPEN, BOND);
            model.bonds.insert(operator.address(), (BOND, 0));
        }
        Self { world, model, people, pocket: vec![] }
    }

    fn address(&self, person: usize) -> Address {
        self.people.get(person).map_or(Address::ZERO, Actor::address)
    }

    /// A point on the curve, or beside it.
    fn key(&self, of: usize, good: bool) -> Key {
        let (x, y) = self.people[of].point();
        if good { (x, y) } else { (x, y ^ U256::from(1)) }
    }

    fn apply(&mut self, operation: &Operation, seen: &mut Seen) -> Result<(), TestCaseError> {
        let (ours, theirs, word) = match *operation {
            Operation::Register { operator, node, flaw } => {
                let (registration, call) = self.registration(operator, node, flaw);
                let theirs = self.world.call(&self.people[operator], Contract::Routing, call).map(|_| ());
                (self.model.register(registration), theirs, "registered")
            }
            Operation::SetEndpoint { by, node, length } => {
                let (endpoint, node) = ("e".repeat(length), self.address(node));
                let call = RoutingTable::setEndpointCall { node_: node, endpoint: endpoint.clone() };
                let theirs = self.world.call(&self.people[by], Contract::Routing, call).map(|_| ());
                (self.model.set_endpoint(self.address(by), node, endpoint), theirs, "moved")
            }
            Operation::Announce { by, node, tariff } => {
                let node = self.address(node);
                let call = RoutingTable::announceTariffCall { node_: node, tariff: prices(tariff) };
                let theirs = self.world.call(&self.people[by], Contract::Routing, call).map(|_| ());
                (self.model.announce(self.address(by), node, tariff), theirs, "a tariff was announced")
            }
            Operation::Retire { by, node } => {
                let node = self.address(node);
                let call = RoutingTable::retireCall { node_: node };
                let theirs = self.world.call(&self.people[by], Contract::Routing, call).map(|_| ());
                (self.model.retire(self.address(by), node), theirs, "retired")
            }
            Operation::SetRoute { wallet, agent, key_is_good } => {
                let (agent, key) = (self.address(agent), self.key(wallet, key_is_good));
                let call = set_route(agent, point(key));
                let theirs = self.world.call(&self.people[wallet], Contract::Routing, call).map(|_| ());
                let word = if agent == Address::ZERO { "a route was cleared" } else { "a route was set" };
                (self.model.set_route(self.address(wallet), agent, key, key_is_good), theirs, word)
            }
            Operation::SignRoute { wallet, signer, agent, key_is_good, seconds } => {
                let (agent, key) = (self.address(agent), self.key(wallet, key_is_good));
                let (signer, wallet) = (self.address(signer), self.address(wallet));
                let (nonce, valid_until) = (self.model.route(wallet).2, self.model.now + seconds);
                self.pocket.push(SignedRoute { wallet, signer, agent, key, key_is_good, nonce, valid_until });
                return Ok(());
            }
            Operation::CarryRoute { back } => {
                let Some(signed) = self.pocket.iter().rev().nth(back).copied() else { return Ok(()) };
                let by = self.people.iter().find(|person| person.address() == signed.signer).unwrap();
                let route = Route {
                    wallet: signed.wallet,
                    agent: signed.agent,
                    sealingKeyX: signed.key.0,
                    sealingKeyY: signed.key.1,
                    nonce: signed.nonce,
                    validUntil: signed.valid_until,
                };
                let theirs = route_by_signature(&mut self.world, &self.people[0], by, &route).map(|_| ());
                (self.model.carry(&signed), theirs, "a route was carried")
            }
            Operation::Thaw { operator, amount } => {
                self.world.call(&self.people[operator], Contract::Escrow, thaw(OPEN, amount)).unwrap();
                self.model.bonds.insert(self.address(operator), (BOND, amount));
                return Ok(());
            }
            Operation::Warp { seconds } => {
                self.world.warp(seconds);
                self.model.now += seconds;
                return Ok(());
            }
        };
        if ours.is_ok() {
            seen.insert(word.to_owned());
        }
        same(ours, theirs, seen)
    }

    fn registration(&self, operator: usize, node: usize, flaw: Flaw) -> (Registration, RoutingTable::registerCall) {
        let signer = if flaw == Flaw::ForgedConsent { operator } else { node };
        let consented_to = if flaw == Flaw::ConsentForAnother { OPERATORS - 1 - operator } else { operator };
        let endpoint = match flaw {
            Flaw::NoEndpoint => String::new(),
            Flaw::LongEndpoint => "e".repeat(ENDPOINT_MAX + 1),
            _ => "https://node.example".to_owned(),
        };
        let registration = Registration {
            operator: self.address(operator),
            node: self.address(node),
            signer: self.address(signer),
            consented_to: self.address(consented_to),
            valid_until: if flaw == Flaw::Late { self.model.now - 1 } else { self.model.now },
            key: self.key(node, flaw != Flaw::KeyOffCurve),
            key_is_good: flaw != Flaw::KeyOffCurve,
            endpoint,
            tariff: if flaw == Flaw::Price { [0, 0, PRICE_MAX + 1] } else { [3, 2, 1] },
        };
        let consent = NodeConsent {
            node: registration.node,
            operator: registration.consented_to,
            sealingKeyX: registration.key.0,
            sealingKeyY: registration.key.1,
            validUntil: registration.valid_until,
        };
        let call = RoutingTable::registerCall {
            node_: registration.node,
            sealingKey: point(registration.key),
            endpoint: registration.endpoint.clone(),
            tariff: prices(registration.tariff),
            validUntil: registration.valid_until,
            consent: sign(&consent, &self.world.routing_domain(), &self.people[signer].signer).into(),
        };
        (registration, call)
    }

    /// All that can be asked of the table.
    fn compare(&mut self, seen: &mut Seen) -> Result<(), TestCaseError> {
        let now = self.model.now;
        for person in (0..PEOPLE).map(|person| self.address(person)).collect::<Vec<_>>() {
            let theirs = self.world.view(Contract::Routing, RoutingTable::nodeCall { node_: person });
            let ours = self.model.nodes.get(&person);
            if ours.is_some_and(|node| node.tariff(now).0 > 1) {
                seen.insert("a tariff took effect".to_owned());
            }
            prop_assert_eq!(&theirs, &entry(ours, now), "node {}", person);

            let (agent, key, nonce) = self.model.route(person);
            let route = IRoutingTable::Route { agent, nonce, sealingKey: point(key) };
            let stored = self.world.view(Contract::Routing, RoutingTable::routeCall { wallet: person });
            prop_assert_eq!(&stored, &route, "route of {}", person);

            let theirs = self.world.try_view(Contract::Routing, RoutingTable::resolveCall { wallet: person });
            let ours = self.model.resolve(person).map(|agent| (route, entry(self.model.nodes.get(&agent), now)));
            same(ours, theirs.map(|resolved| (resolved._0, resolved._1)), seen)?;
        }
        let call = RoutingTable::nodesCall { offset: u256(0), limit: u256(100) };
        prop_assert_eq!(&self.world.view(Contract::Routing, call).addresses, &self.model.order);
        Ok(())
    }
}

fn point((x, y): Key) -> IRoutingTable::SealingKey {
    IRoutingTable::SealingKey { x, y }
}

fn prices([delivery, relay, storing]: Tariff) -> IRoutingTable::Tariff {
    tariff_of(delivery, relay, storing)
}

/// A node's page as the contract would show it.
fn entry(node: Option<&Node>, now: u64) -> IRoutingTable::Node {
    let Some(node) = node else {
        return IRoutingTable::Node {
            operator: Address::ZERO,
            registeredAt: 0,
            retiredAt: 0,
            sealingKey: point(Key::default()),
            tariff: prices([0; 3]),
            tariffVersion: 0,
            next: prices([0; 3]),
            nextFrom: 0,
            endpoint: String::new(),
        };
    };
    let (version, tariff, next) = node.tariff(now);
    let (next_from, next) = next.unwrap_or_default();
    IRoutingTable::Node {
        operator: node.operator,
        registeredAt: node.registered_at,
        retiredAt: node.retired_at,
        sealingKey: point(node.key),
        tariff: prices(tariff),
        tariffVersion: version.try_into().unwrap(),
        next: prices(next),
        nextFrom: next_from,
        endpoint: node.endpoint.clone(),
    }
}

#[test]
fn the_routing_table_lives_as_its_model() {
    let seen = RefCell::new(Seen::new());
    random::check(LIVES, &prop::collection::vec(operations(), STEPS), |operations| {
        let mut pair = Pair::new();
        for operation in &operations {
            pair.apply(operation, &mut seen.borrow_mut())?;
            pair.compare(&mut seen.borrow_mut())?;
        }
        Ok(())
    });
    assert_happened(&seen.borrow(), &OUTCOMES);
}
