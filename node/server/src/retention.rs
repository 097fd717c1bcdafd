//! Lets go of what has had its time: packets nobody fetched, commands too old to be replayed, sessions that ended.

use std::{sync::Arc, time::Duration};

use crate::{
    clock,
    node::Node,
    store::{StoreError, commands, packets, peers},
};

/// A command may be dated this far ahead and be replayed as long after; twice the sum of both.
const COMMANDS_KEPT_S: u64 = 4 * minus_protocol::COMMAND_FRESHNESS_MS / 1_000;
/// Between two rounds at most; less when packets live shorter.
const ROUND_MAX: Duration = Duration::from_secs(60);
const ROUND_MIN: Duration = Duration::from_millis(500);

/// Runs until the node stops.
pub(crate) async fn run(node: Arc<Node>) {
    let round = (node.config.retention / 10).clamp(ROUND_MIN, ROUND_MAX);
    loop {
        if let Err(error) = sweep(&node).await {
            tracing::warn!(%error, "nothing was let go");
        }
        tokio::select! {
            () = node.stop.cancelled() => return,
            () = tokio::time::sleep(round) => {}
        }
    }
}

async fn sweep(node: &Node) -> Result<(), StoreError> {
    let now_s = clock::now_s();
    let before_s = now_s.saturating_sub(node.config.retention.as_secs());
    loop {
        let expired = node
            .store
            .writer()
            .write_patiently(move |connection| Box::pin(packets::expire(connection, before_s)))
            .await?;
        if expired == 0 {
            break;
        }
        node.metrics.packets_expired.increment(u64::try_from(expired).unwrap_or(0));
        tracing::info!(expired, "packets expired");
    }
    while node.store.writer().compact().await? {}
    node.store
        .writer()
        .write_patiently(move |connection| {
            Box::pin(async move {
                commands::forget(connection, now_s.saturating_sub(COMMANDS_KEPT_S)).await?;
                peers::forget_sessions(connection, now_s).await
            })
        })
        .await
}
