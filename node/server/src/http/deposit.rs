//! A packet for a wallet this node is agent of: stored durably, then answered 202 (law 8), then pushed.

use std::sync::Arc;

use alloy::primitives::Address;
use minus_protocol::Packet;

use super::{answer::Refused, reason::Reason};
use crate::{
    agent::lane::Lane,
    chain::NodeRecord,
    clock,
    node::Node,
    store::{
        arrivals::{Arrival, Stored},
        packets::Relay,
    },
};

/// A packet that is stored, now or before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Deposited {
    pub(crate) stored: minus_protocol::Stored,
    /// What its relay is owed for, if a relay brought it.
    pub(crate) metered: u64,
}

/// Whether the routing table names this node as the wallet's agent. A view that says otherwise is asked once more:
/// the route may have been set a moment ago.
pub(crate) async fn is_agent_of(node: &Node, wallet: Address) -> Result<bool, Refused> {
    if !node.view.is_fresh() {
        return Err(Reason::StaleView.into());
    }
    let own = Some(node.address());
    Ok(node.view.agent_of(wallet) == own || node.view.refresh_agent_of(wallet).await? == own)
}

/// Stores the packet on the payer's account.
pub(crate) async fn deposit(
    node: &Arc<Node>,
    packet: Packet,
    payer: Address,
    relay: Option<Relay>,
) -> Result<Deposited, Refused> {
    let own = node.in_office().await?;
    let lane = node.view.lane(payer, own.operator).await?;
    let arrival = arrival(node, &own, packet, payer, lane, relay);
    let bytes = arrival.bytes();
    let mut stored = node.store.writer().arrive(arrival.clone()).await?;
    if stored == Stored::Spent {
        // A deposit may have come in since; ask before turning the packet away.
        let lane = node.view.refresh_lane(payer, own.operator).await?;
        if lane != arrival.lane {
            stored = node.store.writer().arrive(Arrival { lane, ..arrival }).await?;
        }
    }
    judged(node, stored, bytes)
}

/// The same by what is known now. None when the chain would have to be asked first, which takes a while: nothing was done.
pub(crate) async fn deposit_at_once(node: &Node, packet: Packet, relay: Relay) -> Result<Option<Deposited>, Refused> {
    let wallet = packet.recipient();
    let own = node.in_office().await?;
    let Some(payer) = node.store.payer_of(wallet) else { return Err(Reason::NotTheAgent.into()) };
    if node.view.agent_of(wallet) != Some(node.address()) {
        return Ok(None);
    }
    let Some(lane) = node.view.known_lane(payer, own.operator) else { return Ok(None) };
    let arrival = arrival(node, &own, packet, payer, lane, Some(relay));
    let bytes = arrival.bytes();
    match node.store.writer().arrive(arrival).await? {
        Stored::Spent => Ok(None),
        stored => judged(node, stored, bytes).map(Some),
    }
}

fn arrival(node: &Node, own: &NodeRecord, packet: Packet, payer: Address, lane: Lane, relay: Option<Relay>) -> Arrival {
    let now_s = clock::now_s();
    let (tariff_version, tariff) = own.tariff_at(now_s);
    Arrival {
        wallet: packet.recipient(),
        payer,
        id: packet.id(),
        packet: packet.into_bytes(),
        now_s,
        relay,
        own_operator: own.operator,
        tariff_version,
        tariff,
        lane,
        retention_s: node.config.retention.as_secs(),
        customer_credit: node.config.customer_credit,
        customer_quota: node.config.customer_quota,
    }
}

/// What the store's judgement of so many bytes means outside.
fn judged(node: &Node, stored: Stored, bytes: u64) -> Result<Deposited, Refused> {
    match stored {
        Stored::New { .. } => {
            node.metrics.packets_stored.increment(1);
            node.metrics.bytes_stored.increment(bytes);
            Ok(Deposited { stored: minus_protocol::Stored::New, metered: bytes })
        }
        Stored::Duplicate => {
            node.metrics.packets_duplicate.increment(1);
            Ok(Deposited { stored: minus_protocol::Stored::Duplicate, metered: 0 })
        }
        Stored::NotEntrusted => Err(Reason::NotTheAgent.into()),
        Stored::OverQuota => Err(Reason::OverQuota.into()),
        Stored::OverCredit => Err(Reason::OverCredit.into()),
        Stored::Spent => Err(Reason::Spent.into()),
    }
}
