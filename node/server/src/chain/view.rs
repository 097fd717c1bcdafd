//! The view that everything else asks. Nodes, routes, tariffs and delegates are all here, from events; lanes and mandates
//! from when they were first asked for. The store holds the same, a commit ahead at most, and is the truth.

use std::{
    sync::{
        Arc, Mutex, PoisonError, RwLock, RwLockReadGuard,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use alloy::primitives::Address;
use minus_bindings::IPrepaymentEscrow::Mandate;
use tokio::sync::OwnedRwLockWriteGuard;

use super::{
    NodeRecord,
    events::Key,
    limiter::{Limiter, TURN_WAIT},
    reader::{Reader, ReaderError},
    record::Announced,
    rounds::Rounds,
    tables::{Batch, Record, Tables},
    window::{Block, Cursor},
};
use crate::{
    agent::lane::Lane,
    store::{Store, StoreError, Touch, chain},
};

/// Why the view has no answer. Retryable; a stranger is told 503.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ViewError {
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The chain could not be read.
    #[error(transparent)]
    Reader(#[from] ReaderError),
    /// News were needed, and no endpoint gave any.
    #[error("the chain could not be asked for news")]
    NoNews,
    /// Too many reads on demand at once.
    #[error("too many reads of the chain at once")]
    Busy,
}

/// How fresh the view is.
#[derive(Clone, Debug, Default)]
pub(crate) struct Freshness {
    /// When the chain was last asked for its head by a round that then reached it.
    pub(crate) caught_up: Option<Instant>,
    /// Whether that was ever so since the start; a reorganisation empties `caught_up` and not this.
    pub(crate) seen: bool,
    /// Whether the last round ended at an endpoint of another chain.
    pub(crate) wrong_chain: bool,
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
    tables: RwLock<Tables>,
    /// Shared by reads on demand, exclusive while the cursor moves: what was read at one block is never put beside what
    /// belongs to another.
    gate: Arc<tokio::sync::RwLock<()>>,
    /// A commit failed, or may have: memory is no longer sure to be what the store holds.
    reload: AtomicBool,
    freshness: Mutex<Freshness>,
    pub(super) rounds: Rounds,
    /// For addresses that anybody may name.
    strangers: Limiter,
    /// For lanes of customers and peers, so that a flood of the former does not stop the latter.
    acquaintances: Limiter,
}

impl View {
    /// Loads what the store holds.
    pub(crate) async fn open(store: Store, reader: Reader, stale_after: Duration) -> Result<Self, StoreError> {
        let tables = chain::load(&store).await?;
        Ok(Self {
            store,
            reader,
            stale_after,
            tables: RwLock::new(tables),
            gate: Arc::default(),
            reload: AtomicBool::new(false),
            freshness: Mutex::default(),
            rounds: Rounds::new(),
            strangers: Limiter::new(),
            acquaintances: Limiter::new(),
        })
    }

    pub(super) const fn reader(&self) -> &Reader {
        &self.reader
    }

    pub(crate) fn freshness(&self) -> Freshness {
        self.freshness.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub(super) fn set_freshness(&self, change: impl FnOnce(&mut Freshness)) {
        change(&mut self.freshness.lock().unwrap_or_else(PoisonError::into_inner));
    }

    /// Whether the view may be acted on.
    pub(crate) fn is_fresh(&self) -> bool {
        let caught_up = self.freshness.lock().unwrap_or_else(PoisonError::into_inner).caught_up;
        caught_up.is_some_and(|at| at.elapsed() < self.stale_after)
    }

    pub(super) fn tables(&self) -> RwLockReadGuard<'_, Tables> {
        self.tables.read().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether an address is a node.
    pub(crate) fn is_known_node(&self, node: Address) -> bool {
        self.node(node).is_some()
    }

    /// A node of the routing table.
    pub(crate) fn node(&self, node: Address) -> Option<Arc<NodeRecord>> {
        self.tables().node(node)
    }

    /// The same, after asking for news.
    pub(crate) async fn refresh_node(&self, node: Address) -> Result<Option<Arc<NodeRecord>>, ViewError> {
        self.refresh().await?;
        Ok(self.node(node))
    }

    /// A version of a node's tariff: past, in force or announced.
    pub(crate) fn tariff_version(&self, node: Address, version: u32) -> Option<Announced> {
        self.tables().tariff_version(node, version)
    }

    /// The agent of a wallet.
    pub(crate) fn agent_of(&self, wallet: Address) -> Option<Address> {
        self.tables().agent_of(wallet)
    }

    /// The same, after asking for news.
    pub(crate) async fn refresh_agent_of(&self, wallet: Address) -> Result<Option<Address>, ViewError> {
        self.refresh().await?;
        Ok(self.agent_of(wallet))
    }

    /// A lane that was asked for before; payee zero is the open balance.
    pub(crate) fn known_lane(&self, payer: Address, payee: Address) -> Option<Lane> {
        self.tables().lane(payer, payee)
    }

    /// A lane; read from the chain the first time, followed from then on.
    pub(crate) async fn lane(self: &Arc<Self>, payer: Address, payee: Address) -> Result<Lane, ViewError> {
        match self.known_lane(payer, payee) {
            Some(lane) => Ok(lane),
            None => self.read_lane(&self.acquaintances, payer, payee, true).await,
        }
    }

    /// The same, after asking for news.
    pub(crate) async fn refresh_lane(self: &Arc<Self>, payer: Address, payee: Address) -> Result<Lane, ViewError> {
        self.refresh().await?;
        self.lane(payer, payee).await
    }

    /// The same, of a payer that anybody may have named. Kept only if there is something on it: naming payers must neither
    /// fill the store nor keep the lanes of customers from being read.
    pub(crate) async fn named_lane(self: &Arc<Self>, payer: Address, payee: Address) -> Result<Lane, ViewError> {
        if self.known_lane(payer, payee).is_some() {
            return self.refresh_lane(payer, payee).await;
        }
        if !self.strangers.due(payer, payee) {
            return Ok(Lane::default());
        }
        self.read_lane(&self.strangers, payer, payee, false).await
    }

    async fn read_lane(
        self: &Arc<Self>,
        limiter: &Limiter,
        payer: Address,
        payee: Address,
        keep_empty: bool,
    ) -> Result<Lane, ViewError> {
        let keep =
            |record: &Record| keep_empty || !matches!(record, Record::Lane(_, _, lane) if *lane == Lane::default());
        match self.read(limiter, Key::Lane(payer, payee), keep).await? {
            Record::Lane(_, _, lane) => Ok(lane),
            other => unreachable!("{other:?} was read for a lane"),
        }
    }

    /// The standing mandate of a payer that has an account here; read from the chain the first time, followed from then
    /// on. One that was never given ended in 1970.
    pub(crate) async fn mandate(self: &Arc<Self>, payer: Address, payee: Address) -> Result<Mandate, ViewError> {
        if let Some(mandate) = self.tables().mandate(payer, payee) {
            return Ok(mandate.clone());
        }
        match self.read(&self.acquaintances, Key::Mandate(payer, payee), |_| true).await? {
            Record::Mandate(_, _, mandate) => Ok(mandate),
            other => unreachable!("{other:?} was read for a mandate"),
        }
    }

    /// Whether `signer` may sign new vouchers for `payer`. Before it is refused, news are asked for.
    pub(crate) async fn may_sign(&self, payer: Address, signer: Address) -> Result<bool, ViewError> {
        if signer == payer || self.tables().may_sign(payer, signer) {
            return Ok(true);
        }
        self.refresh().await?;
        Ok(self.tables().may_sign(payer, signer))
    }

    async fn refresh(&self) -> Result<(), ViewError> {
        match tokio::time::timeout(TURN_WAIT, self.rounds.next()).await {
            Ok(true) => Ok(()),
            Ok(false) => Err(ViewError::NoNews),
            Err(_) => Err(ViewError::Busy),
        }
    }

    /// Reads a record at the newest block the view contains, and follows it from then on if it is to be kept.
    async fn read(
        self: &Arc<Self>,
        limiter: &Limiter,
        key: Key,
        keep: impl FnOnce(&Record) -> bool,
    ) -> Result<Record, ViewError> {
        self.refresh().await?;
        let permit = limiter.permit().await.ok_or(ViewError::Busy)?;
        let gate = tokio::time::timeout(TURN_WAIT, Arc::clone(&self.gate).read_owned());
        let gate = gate.await.map_err(|_| ViewError::Busy)?;
        let cursor = self.cursor().ok_or(ReaderError::NotFollowed)?;
        let record = self.reader.read(key, cursor.hash).await?;
        if keep(&record) {
            // Should this block be taken back, what was read at it has to be read again.
            let block = Block { number: cursor.block, hash: cursor.hash, touched: [key].into() };
            let mut batch = Batch { blocks: vec![block], ..Batch::default() };
            batch.take(record.clone());
            self.commit(batch, (gate, permit)).await?;
        }
        Ok(record)
    }

    /// Nothing else moves the view while this is held.
    pub(super) async fn hold(&self) -> OwnedRwLockWriteGuard<()> {
        Arc::clone(&self.gate).write_owned().await
    }

    pub(super) fn cursor(&self) -> Option<Cursor> {
        self.tables().window.cursor()
    }

    /// Saves a change and then makes it in memory, holding `gate` meanwhile. It is done to the end even if the caller goes
    /// away, for memory must not miss what the store has.
    pub(super) async fn commit(self: &Arc<Self>, batch: Batch, gate: impl Send + 'static) -> Result<(), ViewError> {
        let view = Arc::clone(self);
        let committing = tokio::spawn(async move {
            let _gate = gate;
            let batch = Arc::new(batch);
            let saved = Arc::clone(&batch);
            let committed = view
                .store
                .writer()
                .touching(Touch::Nothing)
                .write_patiently(move |connection| Box::pin(async move { chain::save(connection, &saved).await }))
                .await;
            match &committed {
                Ok(()) => view.tables.write().unwrap_or_else(PoisonError::into_inner).apply(&batch),
                Err(_) => view.reload.store(true, Ordering::Relaxed),
            }
            committed
        });
        Ok(committing.await.unwrap_or(Err(StoreError::Closed))?)
    }

    /// Loads the view anew if a commit has failed: a lost answer does not say whether the commit was.
    pub(super) async fn reload_if_unsure(&self) -> Result<(), ViewError> {
        if self.reload.load(Ordering::Relaxed) {
            let _gate = self.hold().await;
            let loaded = chain::load(&self.store).await?;
            *self.tables.write().unwrap_or_else(PoisonError::into_inner) = loaded;
            self.reload.store(false, Ordering::Relaxed);
        }
        Ok(())
    }
}
