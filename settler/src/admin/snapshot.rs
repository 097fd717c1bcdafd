//! What is counted over the whole log: kept for a while, so that many browsers cost no more than one, and one never more
//! than a twentieth of a reader. On a long log the last one is shown while the next is made.

use std::sync::Arc;
use std::time::{Duration, Instant};

use alloy::primitives::Address;

use super::{Admin, AdminError};
use crate::alarms::{Attention, Facts, STUCK_AFTER_S, UNSENT_AFTER_S, alarms};
use crate::clock::now_s;
use crate::debts::{owing, total};
use crate::lane_index::LaneIndex;
use crate::reports::{GasKey, LaneRecord, Overview};
use crate::store::{Best, Store, StoreError, TransactionState};

/// A snapshot is good for so many times what it took to make it.
const GOOD_FOR_TIMES: u32 = 20;
/// One that took longer than this is not waited for where there is an older one.
const WAITED_FOR: Duration = Duration::from_millis(500);
/// After one that failed, the next is not tried before.
const PAUSE: Duration = Duration::from_secs(2);
/// Lanes read at once.
const PAGE_LANES: u32 = 5_000;

/// What was counted, all at about the same time.
#[derive(Debug, Default)]
pub(super) struct Snapshot {
    pub(super) overview: Overview,
    pub(super) lanes: LaneIndex,
}

/// The last snapshot.
#[derive(Debug)]
pub(super) struct Kept {
    snapshot: Option<Arc<Snapshot>>,
    good_until: Instant,
    took: Duration,
    is_renewed: bool,
}

impl Default for Kept {
    fn default() -> Self {
        Self { snapshot: None, good_until: Instant::now(), took: Duration::ZERO, is_renewed: false }
    }
}

impl Kept {
    fn put(&mut self, snapshot: &Arc<Snapshot>, took: Duration) {
        self.snapshot = Some(snapshot.clone());
        self.took = took;
        self.good_until = Instant::now() + took * GOOD_FOR_TIMES;
    }
}

impl Admin {
    /// The last snapshot, or a new one when that is old.
    pub(super) async fn snapshot(self: &Arc<Self>) -> Result<Arc<Snapshot>, AdminError> {
        // Held while a short one is made: the others wait for it instead of counting, too.
        let mut kept = self.kept.lock().await;
        if let Some(snapshot) = kept.snapshot.clone() {
            if kept.is_renewed || Instant::now() < kept.good_until {
                return Ok(snapshot);
            }
            if kept.took > WAITED_FOR {
                kept.is_renewed = true;
                tokio::spawn(self.clone().renew());
                return Ok(snapshot);
            }
        }
        let started = Instant::now();
        let snapshot = Arc::new(self.count().await?);
        kept.put(&snapshot, started.elapsed());
        Ok(snapshot)
    }

    async fn renew(self: Arc<Self>) {
        let started = Instant::now();
        let made = self.count().await;
        let mut kept = self.kept.lock().await;
        kept.is_renewed = false;
        match made {
            Ok(snapshot) => kept.put(&Arc::new(snapshot), started.elapsed()),
            Err(error) => {
                tracing::error!(%error, "the log cannot be counted");
                kept.good_until = Instant::now() + PAUSE;
            }
        }
    }

    async fn count(&self) -> Result<Snapshot, StoreError> {
        let now = now_s();
        let (sender, store) = (&self.sender, &self.sender.store);
        let sight = self.watch.sight();
        let deployment = sender.chain.deployment();
        let lanes = index(store).await?;
        let summary = store.summary().await?;
        let (closing, closes_at) = lanes.closing(now.saturating_add(self.policy.thaw_margin_s));
        let older = async |state: TransactionState, seconds: u64| {
            store.transactions_older(state, now.saturating_sub(seconds)).await
        };
        let owed = total(&owing(&store.debts().await?));
        let attention = Attention {
            closing,
            closes_at,
            unsent: older(TransactionState::Planned, UNSENT_AFTER_S).await?,
            stuck: older(TransactionState::Submitted, STUCK_AFTER_S).await?,
            uncovered: owed.uncovered,
            under_notice: owed.under_notice,
        };
        let gas_keys: Vec<_> = sight.gas_keys.iter().map(|key| (key.address, key.balance)).collect();
        let endpoints = sender.chain.endpoint_lines();
        let alarms = alarms(&Facts {
            now,
            started_at: self.started_at,
            looked_at: sight.looked_at,
            trouble: sight.trouble.as_deref(),
            gas_keys: &gas_keys,
            endpoints: &endpoints,
            summary: &summary,
            attention,
        });
        let overview = Overview {
            now,
            version: env!("CARGO_PKG_VERSION").to_owned(),
            chain_id: deployment.chain_id,
            escrow: deployment.escrow,
            payees: self.payees.clone(),
            gas_keys: sight.gas_keys.iter().map(GasKey::from).collect(),
            endpoints,
            head: sight.head.number,
            looked_at: sight.looked_at,
            explorer_url: self.explorer_url.clone(),
            alarms,
            exposure: lanes.exposure(),
            open_lanes: u64::try_from(lanes.lanes()).unwrap_or(u64::MAX),
            owed_to_relays: owed.due,
            uncovered_debts: owed.uncovered,
            summary,
        };
        Ok(Snapshot { overview, lanes })
    }
}

/// Reads all lanes that owe something.
async fn index(store: &Store) -> Result<LaneIndex, StoreError> {
    let mut index = LaneIndex::default();
    for best in [Best::Waiting, Best::UnderWay] {
        let mut after: Option<(Address, Address)> = None;
        loop {
            let lanes = store.lanes_after(best, after, PAGE_LANES).await?;
            let Some(last) = lanes.last() else { break };
            after = Some((last.payer, last.payee));
            index.extend(lanes.into_iter().filter(owes));
        }
    }
    Ok(index.sort())
}

/// What was paid elsewhere already owes nothing.
fn owes(lane: &LaneRecord) -> bool {
    !lane.exposure.is_zero()
}
