//! The view that everything else asks: the persisted records, refreshed by a call when something is missing or not
//! enough. Refreshing is bounded per record and in all, so that a stranger cannot make this node flood its endpoints.

use std::{
    collections::HashMap,
    sync::{Mutex, PoisonError},
    time::{Duration, Instant},
};

use alloy::primitives::{Address, B256, keccak256};
use tokio::sync::{Semaphore, SemaphorePermit};

use super::{
    NodeRecord,
    reader::{Reader, ReaderError},
};
use crate::{
    agent::lane::Lane,
    store::{Store, StoreError, chain},
};

/// A record is read again at most this often on demand; the follower brings news anyway.
const REFRESH_INTERVAL: Duration = Duration::from_millis(200);
/// An address that is not in the routing table is not asked for again this long.
const ABSENT_FOR: Duration = Duration::from_secs(3);
/// Records whose last refresh is remembered. When full, the old ones are forgotten.
const REMEMBERED_MAX: usize = 16_384;
/// Calls on demand at a time, of each sort.
const CALLS_MAX: usize = 16;
/// How long a call waits for its turn before the request is turned away.
const PERMIT_WAIT: Duration = Duration::from_secs(2);

/// Why the view has no answer. Retryable; a stranger is told 503.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ViewError {
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The chain could not be read.
    #[error(transparent)]
    Reader(#[from] ReaderError),
    /// Too many calls on demand at once.
    #[error("too many reads of the chain at once")]
    Busy,
}

/// How fresh the view is.
#[derive(Clone, Debug, Default)]
pub(crate) struct Freshness {
    /// When the follower last found itself at the head.
    pub(crate) caught_up: Option<Instant>,
    /// The block it was at.
    pub(crate) block: u64,
    /// What kept it last.
    pub(crate) problem: Option<String>,
}

/// The chain as this node knows it.
#[derive(Debug)]
pub(crate) struct View {
    store: Store,
    reader: Reader,
    stale_after: Duration,
    freshness: Mutex<Freshness>,
    /// For addresses that anybody may name.
    strangers: Limiter,
    /// For lanes and delegates of customers and peers, so that a flood of the former does not stop the latter.
    acquaintances: Limiter,
}

/// Bounds the calls on demand: how often for one record, and how many at a time.
#[derive(Debug)]
struct Limiter {
    read: Mutex<HashMap<B256, Instant>>,
    calls: Semaphore,
}

impl Limiter {
    fn new() -> Self {
        Self { read: Mutex::default(), calls: Semaphore::new(CALLS_MAX) }
    }

    /// Whether it is this record's turn to be read again; if so, it counts as read.
    fn due(&self, kind: &[u8], first: Address, second: Address, interval: Duration) -> bool {
        let key = keccak256([kind, first.as_slice(), second.as_slice()].concat());
        let now = Instant::now();
        let mut read = self.read.lock().unwrap_or_else(PoisonError::into_inner);
        if read.get(&key).is_some_and(|at| now.duration_since(*at) < interval) {
            return false;
        }
        if read.len() >= REMEMBERED_MAX {
            read.retain(|_, at| now.duration_since(*at) < ABSENT_FOR);
            if read.len() >= REMEMBERED_MAX {
                return false; // a flood: nothing more is looked up until it ebbs
            }
        }
        read.insert(key, now);
        true
    }

    async fn permit(&self) -> Result<SemaphorePermit<'_>, ViewError> {
        match tokio::time::timeout(PERMIT_WAIT, self.calls.acquire()).await {
            Ok(Ok(permit)) => Ok(permit),
            _ => Err(ViewError::Busy),
        }
    }
}

impl View {
    pub(crate) fn new(store: Store, reader: Reader, stale_after: Duration) -> Self {
        Self {
            store,
            reader,
            stale_after,
            freshness: Mutex::default(),
            strangers: Limiter::new(),
            acquaintances: Limiter::new(),
        }
    }

    pub(crate) const fn reader(&self) -> &Reader {
        &self.reader
    }

    pub(crate) fn freshness(&self) -> Freshness {
        self.freshness.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub(crate) fn set_freshness(&self, change: impl FnOnce(&mut Freshness)) {
        change(&mut self.freshness.lock().unwrap_or_else(PoisonError::into_inner));
    }

    /// Whether the view may be acted on.
    pub(crate) fn is_fresh(&self) -> bool {
        self.freshness().caught_up.is_some_and(|at| at.elapsed() < self.stale_after)
    }

    /// Whether an address is a node, as far as this node has heard; asks nobody.
    pub(crate) async fn is_known_node(&self, node: Address) -> Result<bool, ViewError> {
        Ok(chain::node(self.store.readers(), node).await?.is_some())
    }

    /// A node of the routing table.
    pub(crate) async fn node(&self, node: Address) -> Result<Option<NodeRecord>, ViewError> {
        if let Some(known) = chain::node(self.store.readers(), node).await? {
            return Ok(Some(known));
        }
        if !self.strangers.due(b"absent node", node, Address::ZERO, ABSENT_FOR) {
            return Ok(None);
        }
        self.refresh_node(node).await
    }

    /// The same, read again.
    pub(crate) async fn refresh_node(&self, node: Address) -> Result<Option<NodeRecord>, ViewError> {
        if !self.strangers.due(b"node", node, Address::ZERO, REFRESH_INTERVAL) {
            return Ok(chain::node(self.store.readers(), node).await?);
        }
        let _permit = self.strangers.permit().await?;
        let Some(record) = self.reader.node(node).await? else { return Ok(None) };
        let saved = record.clone();
        self.store
            .writer()
            .write_patiently(move |connection| {
                Box::pin(async move { chain::save_node(connection, node, &saved).await })
            })
            .await?;
        Ok(Some(record))
    }

    /// The agent of a wallet.
    pub(crate) async fn agent_of(&self, wallet: Address) -> Result<Option<Address>, ViewError> {
        if let Some(agent) = chain::agent_of(self.store.readers(), wallet).await? {
            return Ok(Some(agent).filter(|agent| !agent.is_zero()));
        }
        if !self.strangers.due(b"absent route", wallet, Address::ZERO, ABSENT_FOR) {
            return Ok(None);
        }
        self.refresh_agent_of(wallet).await
    }

    /// The same, read again.
    pub(crate) async fn refresh_agent_of(&self, wallet: Address) -> Result<Option<Address>, ViewError> {
        if self.strangers.due(b"route", wallet, Address::ZERO, REFRESH_INTERVAL) {
            let _permit = self.strangers.permit().await?;
            let (agent, nonce) = self.reader.route(wallet).await?;
            // A wallet that never had a route is not kept: the table is bounded by what the chain was paid for.
            if nonce > 0 {
                self.store
                    .writer()
                    .write_patiently(move |connection| {
                        Box::pin(async move { chain::save_route(connection, wallet, agent, nonce).await })
                    })
                    .await?;
            }
        }
        let agent = chain::agent_of(self.store.readers(), wallet).await?;
        Ok(agent.filter(|agent| !agent.is_zero()))
    }

    /// A lane; payee zero is the open balance.
    pub(crate) async fn lane(&self, payer: Address, payee: Address) -> Result<Lane, ViewError> {
        match chain::lane(self.store.readers(), payer, payee).await? {
            Some(lane) => Ok(lane),
            None => self.read_lane(payer, payee).await,
        }
    }

    /// The same, read again.
    pub(crate) async fn refresh_lane(&self, payer: Address, payee: Address) -> Result<Lane, ViewError> {
        if self.acquaintances.due(b"lane", payer, payee, REFRESH_INTERVAL) {
            return self.read_lane(payer, payee).await;
        }
        self.lane(payer, payee).await
    }

    /// The same, of a payer that anybody may have named. Kept only if there is something on it: naming payers must neither
    /// fill the store nor keep the lanes of customers from being read.
    pub(crate) async fn named_lane(&self, payer: Address, payee: Address) -> Result<Lane, ViewError> {
        if chain::lane(self.store.readers(), payer, payee).await?.is_some() {
            return self.refresh_lane(payer, payee).await;
        }
        if !self.strangers.due(b"lane", payer, payee, REFRESH_INTERVAL) {
            return Ok(Lane::default());
        }
        let _permit = self.strangers.permit().await?;
        let lane = self.reader.lane(payer, payee).await?;
        if lane == Lane::default() { Ok(lane) } else { self.keep_lane(payer, payee, lane).await }
    }

    async fn read_lane(&self, payer: Address, payee: Address) -> Result<Lane, ViewError> {
        let _permit = self.acquaintances.permit().await?;
        let lane = self.reader.lane(payer, payee).await?;
        self.keep_lane(payer, payee, lane).await
    }

    async fn keep_lane(&self, payer: Address, payee: Address, lane: Lane) -> Result<Lane, ViewError> {
        self.store
            .writer()
            .write_patiently(move |connection| {
                Box::pin(async move { chain::save_lane(connection, payer, payee, &lane).await })
            })
            .await?;
        Ok(lane)
    }

    /// Whether `signer` may sign new vouchers for `payer`. A signer that was not allowed is asked about again.
    pub(crate) async fn may_sign(&self, payer: Address, signer: Address) -> Result<bool, ViewError> {
        if signer == payer {
            return Ok(true);
        }
        let known = chain::authorized(self.store.readers(), payer, signer).await?;
        if known == Some(true) || !self.acquaintances.due(b"delegate", payer, signer, REFRESH_INTERVAL) {
            return Ok(known == Some(true));
        }
        let _permit = self.acquaintances.permit().await?;
        let authorized = self.reader.authorized(payer, signer).await?;
        // Only what was once true is kept: anybody can name a signer that never was one.
        if authorized || known.is_some() {
            self.store
                .writer()
                .write_patiently(move |connection| {
                    Box::pin(async move { chain::save_delegate(connection, payer, signer, authorized).await })
                })
                .await?;
        }
        Ok(authorized)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_is_read_once_per_interval() {
        let limiter = Limiter::new();
        let due = |kind: &[u8], interval| limiter.due(kind, Address::ZERO, Address::ZERO, interval);
        assert!(due(b"lane", Duration::from_secs(60)));
        assert!(!due(b"lane", Duration::from_secs(60)));
        assert!(due(b"route", Duration::from_secs(60)), "another record");
        assert!(due(b"lane", Duration::ZERO), "its time has come");
    }

    #[test]
    fn a_flood_of_unknown_addresses_is_not_passed_on() {
        let limiter = Limiter::new();
        let due = |number: usize| {
            let address = Address::from_slice(&keccak256(number.to_be_bytes())[..20]);
            limiter.due(b"route", address, Address::ZERO, ABSENT_FOR)
        };
        assert!((0..REMEMBERED_MAX).all(due));
        assert!(!due(REMEMBERED_MAX));
    }
}
