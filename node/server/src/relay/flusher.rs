//! Writes down what was carried: soon, in few transactions, and never in a packet's way. What a crash loses of this
//! relay's count, the agent's statement brings (see `account::confirm`).

use std::{sync::Arc, time::Duration};

use super::{
    ledger::Ledger,
    peers::{Agent, Peers},
};
use crate::{
    node::Node,
    store::{StoreError, packets::Relay, peers as books},
};

/// Counts are written down at least this often,
const FLUSH_EVERY: Duration = Duration::from_millis(100);
/// or after so many bytes of one agent.
const FLUSH_BYTES: u128 = 1 << 20;
/// After a failed write, before the next.
const REST: Duration = Duration::from_secs(1);

/// Runs until the node stops. What is counted after that, `flush` writes when all connections have ended.
pub(crate) async fn run(node: Arc<Node>) {
    loop {
        tokio::select! {
            () = node.stop.cancelled() => return,
            () = node.peers.counted.notified() => {}
        }
        tokio::select! {
            () = node.stop.cancelled() => return,
            () = node.peers.much_counted.notified() => {}
            () = tokio::time::sleep(FLUSH_EVERY) => {}
        }
        if let Err(error) = flush(&node).await {
            tracing::error!(%error, "carried bytes could not be written down");
            tokio::time::sleep(REST).await;
            node.peers.counted.notify_one();
        }
    }
}

/// Rings for whatever has become due with an agent.
pub(crate) fn ring(peers: &Peers, ledger: &Ledger, voucher_bytes: u64) {
    peers.counted.notify_one();
    let (unwritten_bytes, bytes_unasked) = ledger.bytes_due();
    if unwritten_bytes >= FLUSH_BYTES {
        peers.much_counted.notify_one();
    }
    if bytes_unasked >= voucher_bytes {
        peers.bell.notify_one();
    }
}

/// Writes all that is counted in one transaction.
pub(crate) async fn flush(node: &Node) -> Result<(), StoreError> {
    let _order = node.peers.booking.lock().await;
    let mut taken: Vec<Arc<Agent>> = Vec::new();
    let mut rows = Vec::new();
    for agent in node.peers.all() {
        if let Some(carriage) = agent.ledger.take() {
            let earned = agent.ledger.standing().earned;
            rows.push((Relay { node: earned.agent, operator: earned.agent_operator }, carriage));
            taken.push(agent);
        }
    }
    if rows.is_empty() {
        return Ok(());
    }
    let written = node
        .store
        .writer()
        .write_patiently(move |connection| {
            Box::pin(async move {
                let mut accounts = Vec::with_capacity(rows.len());
                for (agent, carriage) in rows {
                    let counted = books::count_at_relay(connection, agent, carriage.inbound, carriage.outbound).await?;
                    accounts.push(counted);
                }
                Ok(accounts)
            })
        })
        .await;
    match written {
        Ok(accounts) => {
            for (agent, stored) in taken.iter().zip(accounts) {
                agent.ledger.written(stored);
            }
            Ok(())
        }
        Err(error) => {
            for agent in taken {
                agent.ledger.give_back();
            }
            Err(error)
        }
    }
}
