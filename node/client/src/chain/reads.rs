//! Questions to the chain.

use alloy::primitives::{Address, U256};
use alloy::providers::Provider;
use minus_bindings::contracts::IRoutingTable;
use minus_bindings::{Amount, RoutingTable, SettlementToken};
use minus_protocol::{SealingKey, Tariff};
use serde::Serialize;

use super::schedule::{Period, Schedule};
use super::{Chain, ChainError, refusal};

/// Nodes read per call; at most what the routing table allows.
const PAGE_LENGTH: u64 = 50;

/// Most nodes read in all: bounds memory against a table somebody filled up.
const NODES_MAX: u64 = 10_000;

/// A node as the routing table has it now.
#[derive(Debug, Clone)]
pub struct NodeRecord {
    /// Its address.
    pub address: Address,
    /// Who runs it and is paid.
    pub operator: Address,
    /// Since when, unix seconds.
    pub registered_at: u64,
    /// 0 while it is live.
    pub retired_at: u64,
    /// What packets to it are sealed to.
    pub sealing_key: SealingKey,
    /// The prices in force.
    pub tariff: Tariff,
    /// Their version.
    pub tariff_version: u32,
    /// The announced prices and from when they are in force.
    pub next: Option<(Tariff, u64)>,
    /// Where to POST.
    pub endpoint: String,
}

impl NodeRecord {
    /// Whether it still serves.
    pub fn is_live(&self) -> bool {
        self.retired_at == 0
    }
}

/// A wallet's route.
#[derive(Debug, Clone)]
pub struct RouteRecord {
    /// The agent node; zero when there is none.
    pub agent: Address,
    /// What the wallet's next signature has to carry.
    pub nonce: u64,
    /// What packets to the wallet are sealed to; none without a route.
    pub sealing_key: Option<SealingKey>,
}

/// A lane as the escrow has it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct LaneState {
    /// What is there and unclaimed.
    pub deposit: Amount,
    /// The running total ever claimed.
    pub paid: Amount,
    /// How much of the deposit is under notice.
    pub thawing: Amount,
    /// When the notice ends, unix seconds; 0 without one.
    pub thaw_ends_at: u64,
}

/// A standing mandate as the escrow has it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct MandateState {
    /// What accrues to the payee in a day.
    pub daily_cap: Amount,
    /// How much gathers at most while it does not charge.
    pub accrual_cap: Amount,
    /// The last second it bears charges, unix seconds; 0 if none was ever given.
    pub valid_until: u64,
    /// What could be charged now if the money is there.
    pub chargeable: Amount,
}

/// What an address holds outside the escrow.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TokenBalances {
    /// Settlement tokens.
    pub tokens: Amount,
    /// The reserve asset, in the same base units.
    pub reserve: Amount,
    /// Wei, for gas.
    pub gas: U256,
}

impl Chain {
    /// A node's record. A node that was never registered is refused.
    pub async fn node(&self, address: Address) -> Result<NodeRecord, ChainError> {
        let node = self.ask(self.routing().node(address).call()).await?;
        if node.registeredAt == 0 {
            return Err(ChainError::Refused(format!("{address} is no registered node; `minus nodes` shows them")));
        }
        node_record(address, node)
    }

    /// All nodes, retired ones included, in the order of registration.
    pub async fn nodes(&self) -> Result<Vec<NodeRecord>, ChainError> {
        let mut all = Vec::new();
        for offset in (0..NODES_MAX).step_by(usize::try_from(PAGE_LENGTH).unwrap_or(1)) {
            let page = self.ask(self.routing().nodes(U256::from(offset), U256::from(PAGE_LENGTH)).call()).await?;
            let length = u64::try_from(page.addresses.len()).unwrap_or(u64::MAX);
            for (address, node) in page.addresses.into_iter().zip(page.entries) {
                all.push(node_record(address, node)?);
            }
            if length < PAGE_LENGTH {
                break;
            }
        }
        Ok(all)
    }

    /// A wallet's route, and nonce, also when it has none.
    pub async fn route(&self, wallet: Address) -> Result<RouteRecord, ChainError> {
        let route = self.ask(self.routing().route(wallet).call()).await?;
        route_record(&route)
    }

    /// Where a wallet receives: its sealing key and its agent's record.
    pub async fn resolve(&self, wallet: Address) -> Result<(SealingKey, NodeRecord), ChainError> {
        let found = self.ask(self.routing().resolve(wallet).call()).await?;
        let route = route_record(&found._0)?;
        let key = route.sealing_key.ok_or_else(|| ChainError::Nonsense("a route without a sealing key".to_owned()))?;
        Ok((key, node_record(found._0.agent, found._1)?))
    }

    /// A lane's state.
    pub async fn lane(&self, payer: Address, payee: Address) -> Result<LaneState, ChainError> {
        let found = self.ask(self.escrow().lane(payer, payee).call()).await?;
        Ok(LaneState {
            deposit: Amount::from(found._0.deposit),
            paid: Amount::from(found._0.paid),
            thawing: Amount::from(found._1.amount),
            thaw_ends_at: found._1.endsAt,
        })
    }

    /// The mandate that `payer` gave `payee`.
    pub async fn mandate(&self, payer: Address, payee: Address) -> Result<MandateState, ChainError> {
        let found = self.ask(self.escrow().mandate(payer, payee).call()).await?;
        Ok(MandateState {
            daily_cap: Amount::from(found._0.dailyCap),
            accrual_cap: Amount::from(found._0.accrualCap),
            valid_until: found._0.validUntil,
            chargeable: Amount::from(found.chargeable),
        })
    }

    /// What an address holds outside the escrow.
    pub async fn balances(&self, address: Address) -> Result<TokenBalances, ChainError> {
        let reserve = SettlementToken::new(self.deployment.reserve, &self.provider);
        let tokens = self.ask(self.token().balanceOf(address).call()).await?;
        let reserve = self.ask(reserve.balanceOf(address).call()).await?;
        let gas = self.provider.get_balance(address).await.map_err(|error| refusal::of_transport(&error))?;
        Ok(TokenBalances { tokens: to_amount(tokens), reserve: to_amount(reserve), gas })
    }

    /// The chain's own time, unix seconds: notices end by it.
    pub async fn time(&self) -> Result<u64, ChainError> {
        let block = self
            .provider
            .get_block(alloy::eips::BlockId::latest())
            .await
            .map_err(|error| refusal::of_transport(&error))?;
        Ok(block.map_or(0, |block| block.header.timestamp))
    }

    /// All versions of a node's tariff. The record alone answers while the first version is in force; later the
    /// announcements are read as well.
    pub async fn schedule(&self, node: &NodeRecord) -> Result<Schedule, ChainError> {
        let mut periods = Vec::new();
        if node.tariff_version == 1 {
            periods.push(Period { version: 1, tariff: node.tariff, from: node.registered_at });
        } else {
            let logs = self
                .routing()
                .TariffAnnounced_filter()
                .topic1(node.address.into_word())
                .from_block(self.deployment.block)
                .query()
                .await
                .map_err(|error| refusal::translate(&error, self.deployment.routing_table))?;
            for (event, _) in logs {
                let RoutingTable::TariffAnnounced { version, tariff, effectiveFrom, .. } = event;
                periods.push(Period { version, tariff: to_tariff(&tariff), from: effectiveFrom });
            }
        }
        if let Some((tariff, from)) = node.next {
            periods.push(Period { version: node.tariff_version.saturating_add(1), tariff, from });
        }
        Ok(Schedule::new(periods))
    }
}

fn node_record(address: Address, node: IRoutingTable::Node) -> Result<NodeRecord, ChainError> {
    let sealing_key = SealingKey::from_affine(node.sealingKey.x, node.sealingKey.y)
        .map_err(|_| ChainError::Nonsense(format!("the sealing key of node {address} is not on the curve")))?;
    Ok(NodeRecord {
        address,
        operator: node.operator,
        registered_at: node.registeredAt,
        retired_at: node.retiredAt,
        sealing_key,
        tariff: to_tariff(&node.tariff),
        tariff_version: node.tariffVersion,
        next: (node.nextFrom != 0).then(|| (to_tariff(&node.next), node.nextFrom)),
        endpoint: node.endpoint,
    })
}

fn route_record(route: &IRoutingTable::Route) -> Result<RouteRecord, ChainError> {
    let sealing_key = if route.agent.is_zero() {
        None
    } else {
        let key = SealingKey::from_affine(route.sealingKey.x, route.sealingKey.y);
        Some(key.map_err(|_| ChainError::Nonsense("a route's sealing key is not on the curve".to_owned()))?)
    };
    Ok(RouteRecord { agent: route.agent, nonce: route.nonce, sealing_key })
}

fn to_tariff(tariff: &IRoutingTable::Tariff) -> Tariff {
    Tariff { delivery: tariff.delivery, relay: tariff.relay, storing: tariff.storing }
}

/// A balance too large for a lane is shown as the most a lane can hold.
fn to_amount(balance: U256) -> Amount {
    Amount::try_from(balance).unwrap_or(Amount::MAX)
}
