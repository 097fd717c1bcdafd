//! Keeps the view up to date: asks for the logs since the cursor, applies them and moves the cursor in one
//! transaction. A cursor whose block has another hash now means a reorganisation: everything is read anew, and until
//! that is done the view counts as stale.

use std::{sync::Arc, time::Instant};

use tokio_util::sync::CancellationToken;

use super::{
    events::{self, Touched},
    view::{View, ViewError},
};
use crate::{
    metrics::Metrics,
    store::{
        Store, StoreError,
        chain::{self, Cursor},
    },
};

/// Blocks asked for at once: what public endpoints commonly allow.
const BLOCKS_PER_QUERY_MAX: u64 = 1_000;

/// What the follower needs.
pub(crate) struct Follower {
    pub(crate) store: Store,
    pub(crate) view: Arc<View>,
    pub(crate) metrics: Arc<Metrics>,
    pub(crate) interval: std::time::Duration,
}

impl Follower {
    /// Runs until told to stop. Every failure is tried again at the next interval; readiness shows it meanwhile.
    pub(crate) async fn run(self, stop: CancellationToken) {
        let mut chain_checked = false;
        loop {
            let step = async {
                if !chain_checked {
                    self.view.reader().check_chain().await?;
                    chain_checked = true;
                }
                self.catch_up().await
            };
            match step.await {
                Ok(block) => self.view.set_freshness(|freshness| {
                    freshness.caught_up = Some(Instant::now());
                    freshness.block = block;
                    freshness.problem = None;
                }),
                Err(error) => {
                    tracing::warn!(%error, "the chain could not be followed");
                    self.metrics.chain_failures.increment(1);
                    self.view.set_freshness(|freshness| freshness.problem = Some(error.to_string()));
                }
            }
            tokio::select! {
                () = stop.cancelled() => return,
                () = tokio::time::sleep(self.interval) => {}
            }
        }
    }

    /// Follows to the head and returns its number.
    async fn catch_up(&self) -> Result<u64, ViewError> {
        let reader = self.view.reader();
        let head = reader.head().await?;
        let mut next = match chain::cursor(self.store.readers()).await? {
            None => reader.deployment().block,
            Some(cursor) => match reader.block_hash(cursor.block).await? {
                Some(hash) if hash == cursor.hash => cursor.block + 1,
                Some(_) => {
                    self.start_over(cursor).await?;
                    reader.deployment().block
                }
                // This endpoint is behind, or the new branch is still shorter. Either ends by waiting.
                None => {
                    return Err(super::reader::ReaderError::Nonsense("its head is behind what it said before").into());
                }
            },
        };
        while next <= head {
            let last = head.min(next.saturating_add(BLOCKS_PER_QUERY_MAX - 1));
            self.apply(next, last).await?;
            next = last + 1;
        }
        Ok(head)
    }

    async fn start_over(&self, cursor: Cursor) -> Result<(), StoreError> {
        tracing::warn!(block = cursor.block, "the chain was reorganised; reading it anew");
        self.metrics.chain_reorganisations.increment(1);
        self.view.set_freshness(|freshness| {
            freshness.caught_up = None;
            freshness.problem = Some("the chain was reorganised".to_owned());
        });
        self.store.writer().write_patiently(|connection| Box::pin(chain::clear(connection))).await
    }

    async fn apply(&self, from: u64, to: u64) -> Result<(), ViewError> {
        let reader = self.view.reader();
        // Before the logs: should the chain change in between, the next round finds the wrong hash.
        let missing = super::reader::ReaderError::Nonsense("a block below its head is missing");
        let hash = reader.block_hash(to).await?.ok_or(missing)?;
        let logs = reader.logs(from, to).await?;
        let deployment = reader.deployment();
        let Touched { routes, nodes, lanes, delegates } =
            events::touched(&logs, deployment.escrow, deployment.routing_table);

        let mut node_records = Vec::new();
        for node in nodes {
            if let Some(record) = reader.node(node).await? {
                node_records.push((node, record));
            }
        }
        let mut lane_records = Vec::new();
        for (payer, payee) in lanes {
            if chain::lane(self.store.readers(), payer, payee).await?.is_some() {
                lane_records.push((payer, payee, reader.lane(payer, payee).await?));
            }
        }
        let mut delegate_records = Vec::new();
        for (payer, signer) in delegates {
            if chain::authorized(self.store.readers(), payer, signer).await?.is_some() {
                delegate_records.push((payer, signer, reader.authorized(payer, signer).await?));
            }
        }
        self.store
            .writer()
            .write_patiently(move |connection| {
                Box::pin(async move {
                    for (wallet, (agent, nonce)) in routes {
                        chain::save_route(connection, wallet, agent, nonce).await?;
                    }
                    for (node, record) in &node_records {
                        chain::save_node(connection, *node, record).await?;
                    }
                    for (payer, payee, lane) in &lane_records {
                        chain::save_lane(connection, *payer, *payee, lane).await?;
                    }
                    for (payer, signer, authorized) in delegate_records {
                        chain::save_delegate(connection, payer, signer, authorized).await?;
                    }
                    chain::set_cursor(connection, Cursor { block: to, hash }).await
                })
            })
            .await?;
        Ok(())
    }
}
