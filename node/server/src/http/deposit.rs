//! A packet for a wallet this node is agent of: stored durably, then answered 202 (law 8), then pushed.

use std::sync::Arc;

use alloy::primitives::Address;
use axum::response::Response;
use minus_protocol::Packet;

use super::{
    answer::{self, Refused},
    reason::Reason,
};
use crate::{
    clock,
    node::Node,
    store::{
        arrivals::{Arrival, Stored},
        packets::Relay,
    },
};

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
) -> Result<Response, Refused> {
    let own = node.in_office().await?;
    let now_s = clock::now_s();
    let (tariff_version, tariff) = own.tariff_at(now_s);
    let wallet = packet.recipient();
    let bytes = u64::try_from(packet.len()).expect("a packet's length fits 64 bits");
    let lane = node.view.lane(payer, own.operator).await?;
    let arrival = Arrival {
        wallet,
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
    };
    let mut stored = node.store.writer().arrive(arrival.clone()).await?;
    if stored == Stored::Spent {
        // A deposit may have come in since; ask before turning the packet away.
        let lane = node.view.refresh_lane(payer, own.operator).await?;
        if lane != arrival.lane {
            stored = node.store.writer().arrive(Arrival { lane, ..arrival }).await?;
        }
    }
    match stored {
        Stored::New { .. } => {
            node.metrics.packets_stored.increment(1);
            node.metrics.bytes_stored.increment(bytes);
            Ok(answer::stored(minus_protocol::Stored::New, relay.map(|_| bytes)))
        }
        Stored::Duplicate => {
            node.metrics.packets_duplicate.increment(1);
            Ok(answer::stored(minus_protocol::Stored::Duplicate, relay.map(|_| 0)))
        }
        Stored::NotEntrusted => Err(Reason::NotTheAgent.into()),
        Stored::OverQuota => Err(Reason::OverQuota.into()),
        Stored::OverCredit => Err(Reason::OverCredit.into()),
        Stored::Spent => Err(Reason::Spent.into()),
    }
}
