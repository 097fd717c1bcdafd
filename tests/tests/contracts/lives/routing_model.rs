//! The routing table once more, as a person would keep it: a page for each node, a line for each wallet, and of the
//! escrow no more than the operators' open balances.

use std::collections::BTreeMap;

use alloy::primitives::{Address, U256};
use alloy::sol_types::SolError;
use minus_bindings::RoutingTable;

use super::outcome;
use crate::calls::NOTICE_S;

/// Base units that an operator must have in its open balance, and not under notice.
pub(super) const BOND: u128 = 10_000_000;
/// The longest endpoint, in bytes.
pub(super) const ENDPOINT_MAX: usize = 200;
/// The highest price.
pub(super) const PRICE_MAX: u64 = 1_000_000_000_000;

/// Delivery, relay, storing.
pub(super) type Tariff = [u64; 3];
/// An affine point, if it is one.
pub(super) type Key = (U256, U256);

/// One node's page.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Node {
    pub(super) operator: Address,
    pub(super) registered_at: u64,
    pub(super) retired_at: u64,
    pub(super) key: Key,
    pub(super) endpoint: String,
    /// Every tariff that was not replaced before its time, with the second from which it holds.
    pub(super) tariffs: Vec<(u64, Tariff)>,
}

impl Node {
    /// How many tariffs hold or held by now, and the last of them; the next one, if there is any.
    pub(super) fn tariff(&self, now: u64) -> (usize, Tariff, Option<(u64, Tariff)>) {
        let version = self.tariffs.iter().filter(|(from, _)| *from <= now).count();
        (version, self.tariffs[version - 1].1, self.tariffs.get(version).copied())
    }
}

/// Why the table does not take an entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Refused {
    SignatureExpired,
    InvalidSignature,
    NodeExists,
    NotRegistered,
    AlreadyRetired,
    NotOperator,
    NotOnCurve,
    EndpointLength,
    TariffAboveLimit,
    BondTooLow,
    NoRoute,
}

impl outcome::Refused for Refused {
    fn selector(self) -> [u8; 4] {
        match self {
            Self::SignatureExpired => RoutingTable::SignatureExpired::SELECTOR,
            Self::InvalidSignature => RoutingTable::InvalidSignature::SELECTOR,
            Self::NodeExists => RoutingTable::NodeExists::SELECTOR,
            Self::NotRegistered => RoutingTable::NotRegistered::SELECTOR,
            Self::AlreadyRetired => RoutingTable::AlreadyRetired::SELECTOR,
            Self::NotOperator => RoutingTable::NotOperator::SELECTOR,
            Self::NotOnCurve => RoutingTable::NotOnCurve::SELECTOR,
            Self::EndpointLength => RoutingTable::EndpointLength::SELECTOR,
            Self::TariffAboveLimit => RoutingTable::TariffAboveLimit::SELECTOR,
            Self::BondTooLow => RoutingTable::BondTooLow::SELECTOR,
            Self::NoRoute => RoutingTable::NoRoute::SELECTOR,
        }
    }
}

/// A registration, with who really signed the node's consent and for whom.
#[derive(Clone, Debug)]
pub(super) struct Registration {
    pub(super) operator: Address,
    pub(super) node: Address,
    pub(super) signer: Address,
    pub(super) consented_to: Address,
    pub(super) valid_until: u64,
    pub(super) key: Key,
    /// Whether the key is on the curve, as its maker knows.
    pub(super) key_is_good: bool,
    pub(super) endpoint: String,
    pub(super) tariff: Tariff,
}

/// A route as it was signed.
#[derive(Clone, Copy, Debug)]
pub(super) struct SignedRoute {
    pub(super) wallet: Address,
    pub(super) signer: Address,
    pub(super) agent: Address,
    pub(super) key: Key,
    pub(super) key_is_good: bool,
    pub(super) nonce: u64,
    pub(super) valid_until: u64,
}

#[derive(Clone, Debug, Default)]
pub(super) struct Model {
    pub(super) nodes: BTreeMap<Address, Node>,
    /// In the order in which they registered.
    pub(super) order: Vec<Address>,
    /// Agent, key and nonce.
    pub(super) routes: BTreeMap<Address, (Address, Key, u64)>,
    /// Open balances, and how much of them was announced to leave.
    pub(super) bonds: BTreeMap<Address, (u128, u128)>,
    pub(super) now: u64,
}

impl Model {
    pub(super) fn register(&mut self, registration: Registration) -> Result<(), Refused> {
        let Registration { operator, node, key, endpoint, tariff, .. } = registration;
        if self.now > registration.valid_until {
            return Err(Refused::SignatureExpired);
        }
        if self.nodes.contains_key(&node) {
            return Err(Refused::NodeExists);
        }
        if !registration.key_is_good {
            return Err(Refused::NotOnCurve);
        }
        check_endpoint(&endpoint)?;
        check_tariff(&tariff)?;
        if registration.signer != node || registration.consented_to != operator {
            return Err(Refused::InvalidSignature);
        }
        let (open, announced) = self.bonds.get(&operator).copied().unwrap_or_default();
        if open.saturating_sub(announced) < BOND {
            return Err(Refused::BondTooLow);
        }
        let tariffs = vec![(self.now, tariff)];
        self.order.push(node);
        self.nodes.insert(node, Node { operator, registered_at: self.now, retired_at: 0, key, endpoint, tariffs });
        Ok(())
    }

    fn live(&mut self, node: Address) -> Result<&mut Node, Refused> {
        let node = self.nodes.get_mut(&node).ok_or(Refused::NotRegistered)?;
        if node.retired_at == 0 { Ok(node) } else { Err(Refused::AlreadyRetired) }
    }

    fn own(&mut self, by: Address, node: Address) -> Result<&mut Node, Refused> {
        let node = self.live(node)?;
        if node.operator == by { Ok(node) } else { Err(Refused::NotOperator) }
    }

    pub(super) fn set_endpoint(&mut self, by: Address, node: Address, endpoint: String) -> Result<(), Refused> {
        let node = self.own(by, node)?;
        check_endpoint(&endpoint)?;
        node.endpoint = endpoint;
        Ok(())
    }

    pub(super) fn announce(&mut self, by: Address, node: Address, tariff: Tariff) -> Result<(), Refused> {
        let now = self.now;
        let node = self.own(by, node)?;
        check_tariff(&tariff)?;
        // What does not hold yet is replaced.
        node.tariffs.retain(|(from, _)| *from <= now);
        node.tariffs.push((now + NOTICE_S, tariff));
        Ok(())
    }

    pub(super) fn retire(&mut self, by: Address, node: Address) -> Result<(), Refused> {
        let now = self.now;
        self.own(by, node)?.retired_at = now;
        Ok(())
    }

    pub(super) fn route(&self, wallet: Address) -> (Address, Key, u64) {
        self.routes.get(&wallet).copied().unwrap_or_default()
    }

    pub(super) fn set_route(
        &mut self,
        wallet: Address,
        agent: Address,
        key: Key,
        key_is_good: bool,
    ) -> Result<(), Refused> {
        let nonce = self.route(wallet).2 + 1;
        if agent == Address::ZERO {
            self.routes.insert(wallet, (agent, Key::default(), nonce));
            return Ok(());
        }
        self.live(agent)?;
        if !key_is_good {
            return Err(Refused::NotOnCurve);
        }
        self.routes.insert(wallet, (agent, key, nonce));
        Ok(())
    }

    pub(super) fn carry(&mut self, route: &SignedRoute) -> Result<(), Refused> {
        if self.now > route.valid_until {
            return Err(Refused::SignatureExpired);
        }
        if route.signer != route.wallet || route.nonce != self.route(route.wallet).2 {
            return Err(Refused::InvalidSignature);
        }
        self.set_route(route.wallet, route.agent, route.key, route.key_is_good)
    }

    pub(super) fn resolve(&self, wallet: Address) -> Result<Address, Refused> {
        match self.route(wallet).0 {
            Address::ZERO => Err(Refused::NoRoute),
            agent => Ok(agent),
        }
    }
}

fn check_endpoint(endpoint: &str) -> Result<(), Refused> {
    if (1..=ENDPOINT_MAX).contains(&endpoint.len()) { Ok(()) } else { Err(Refused::EndpointLength) }
}

fn check_tariff(tariff: &Tariff) -> Result<(), Refused> {
    if tariff.iter().all(|price| *price <= PRICE_MAX) { Ok(()) } else { Err(Refused::TariffAboveLimit) }
}
