//! Journal and tables together. Packets that are let in are first journaled, in one small write, and answered; steps of the
//! `tables` enter them meanwhile, many at once. What is let in is decided on books in memory, which cover everything journaled;
//! a step with closures has everything that was journaled entered with it. While one runs that may change anything, nothing is
//! decided; after one that only makes room on some accounts, what was decided meanwhile is put on top of them.
//!
//! After a failure nobody knows what was committed. Then, as at every start, memory is forgotten and the journal is entered
//! before anything else.

use std::{
    collections::{HashSet, VecDeque},
    sync::Arc,
};

use alloy::primitives::B256;
use sqlx::Connection as _;
use tokio::time::Instant;
use tokio_util::task::AbortOnDropHandle;

use super::{
    Connection, StoreError,
    arrivals::{Arrival, Kept, Stored},
    books::{Books, Parties},
    database::Database,
    journal::Journal,
    seen,
    tables::{self, Order, Stepped, Tables},
    transaction::Touch,
};

/// Packets that are journaled and not in the tables at most: half a second of what a small machine takes in, so that a step
/// that takes long, as with a checkpoint, holds up nobody; and bounds a start after a crash.
const PENDING_MAX: usize = 16_384;
/// Their bytes, which are in memory too.
const PENDING_BYTES_MAX: usize = 32 << 20;
/// A step is worth its while from so many packets on: neighbours in the tables share its writes.
const STEP_PACKETS: usize = 4_096;
/// Or from so many bytes on.
const STEP_BYTES: usize = 8 << 20;

/// Packets that were journaled together.
#[derive(Clone, Debug)]
pub(super) struct Batch {
    /// Of their record.
    pub(super) number: u64,
    pub(super) kept: Arc<Vec<Kept>>,
    since: Instant,
}

/// A step under way, which ends with this.
struct Running {
    step: AbortOnDropHandle<(Tables, Stepped)>,
    /// How many of the pending batches it enters.
    batches: usize,
    /// What it may change of the books, if it has closures.
    touched: Vec<Touch>,
}

/// The connections of the writer, and what the tables do not say yet.
pub(super) struct Ledger {
    database: Database,
    reading: Connection,
    store: B256,
    /// None while it is opened again.
    journal: Option<Journal>,
    /// None while they are stepping.
    tables: Option<Tables>,
    running: Option<Running>,
    books: Books,
    /// Ids that are not in the large table: pending ones, and recent ones.
    young: HashSet<B256>,
    /// Journaled and not known to be in the tables, in order.
    pending: VecDeque<Batch>,
    pending_packets: usize,
    pending_bytes: usize,
    /// Whether memory and database are known to agree.
    is_sound: bool,
}

impl Running {
    /// Whether it may change what arrivals are judged on, other than to their good.
    fn is_exclusive(&self) -> bool {
        self.touched.iter().any(|touch| touch.is_exclusive())
    }
}

/// What became of some arrivals.
pub(super) struct Judged {
    /// In their order.
    pub(super) outcomes: Vec<Result<Stored, StoreError>>,
    /// Those that were let in; they are durable.
    pub(super) kept: Arc<Vec<Kept>>,
}

impl Ledger {
    /// Connects. Not sound before it was restored.
    pub(super) async fn connect(database: &Database) -> Result<Self, StoreError> {
        let connection = database.writer().await?;
        Self::with(database, connection).await
    }

    /// The same with a connection that is there.
    pub(super) async fn with(database: &Database, mut connection: Connection) -> Result<Self, StoreError> {
        let store = tables::store(&mut connection).await?;
        let journal = Journal::open(database, store).await?;
        Ok(Self {
            database: database.clone(),
            reading: database.reader().await?,
            store,
            journal: Some(journal),
            tables: Some(Tables::new(connection, database)),
            running: None,
            books: Books::default(),
            young: HashSet::new(),
            pending: VecDeque::new(),
            pending_packets: 0,
            pending_bytes: 0,
            is_sound: false,
        })
    }

    pub(super) const fn is_sound(&self) -> bool {
        self.is_sound
    }

    /// Whether everything that was let in is in the tables.
    pub(super) fn is_applied(&self) -> bool {
        self.is_sound && self.pending.is_empty()
    }

    /// Whether no more is to be journaled before a step has ended.
    pub(super) const fn is_full(&self) -> bool {
        self.pending_packets >= PENDING_MAX || self.pending_bytes >= PENDING_BYTES_MAX
    }

    /// Whether a step is worth its while.
    pub(super) const fn has_many(&self) -> bool {
        self.pending_packets >= STEP_PACKETS || self.pending_bytes >= STEP_BYTES
    }

    /// Packets that a step would enter now.
    pub(super) const fn pending(&self) -> usize {
        self.pending_packets
    }

    /// Since when the oldest packet waits to be entered.
    pub(super) fn pending_since(&self) -> Option<Instant> {
        self.pending.front().map(|batch| batch.since)
    }

    pub(super) const fn is_stepping(&self) -> bool {
        self.running.is_some()
    }

    /// Whether nothing is to be decided at the moment.
    pub(super) fn is_exclusive(&self) -> bool {
        self.running.as_ref().is_some_and(Running::is_exclusive)
    }

    /// Runs a statement outside of any transaction. No step may be under way.
    #[cfg(test)]
    pub(super) async fn execute(&mut self, statement: String) -> Result<(), StoreError> {
        self.tables.as_mut().ok_or(StoreError::NotCommitted)?.execute(statement).await
    }

    /// Whether every connection is still well.
    pub(super) async fn answers(&mut self) -> bool {
        let Some(tables) = &mut self.tables else { return false };
        let journal_answers = match &mut self.journal {
            Some(journal) => journal.answers().await,
            None => false,
        };
        journal_answers && tables.answers().await && self.reading.ping().await.is_ok()
    }

    pub(super) async fn close(self) -> Result<(), StoreError> {
        self.reading.close().await?;
        if let Some(journal) = self.journal {
            journal.close().await?;
        }
        match self.tables {
            Some(tables) => tables.close().await,
            None => Ok(()),
        }
    }

    /// Forgets what memory holds, and enters what the journal does. No step may be under way.
    pub(super) async fn restore(&mut self) -> Result<(), StoreError> {
        self.is_sound = false;
        let journal = match &mut self.journal {
            Some(journal) if journal.is_open() => journal,
            _ => self.journal.insert(Journal::open(&self.database, self.store).await?),
        };
        let tables = self.tables.as_mut().ok_or(StoreError::NotCommitted)?;
        tables.restore(journal).await?;
        self.books = Books::default();
        self.young = tables.recent().collect();
        self.pending.clear();
        (self.pending_packets, self.pending_bytes) = (0, 0);
        self.is_sound = true;
        Ok(())
    }

    /// Lets packets in or refuses them, each on what the ones before it left, as if one after the other was stored. All
    /// that are let in are durable when this returns. Not while a step is exclusive.
    pub(super) async fn journal(&mut self, arrivals: &[Arrival]) -> Result<Judged, StoreError> {
        let judged = self.judge(arrivals).await;
        self.is_sound &= judged.is_ok();
        judged
    }

    async fn judge(&mut self, arrivals: &[Arrival]) -> Result<Judged, StoreError> {
        // A step does not touch the rows of parties that no pending packet names, and the others are in the books.
        self.books.open(&mut self.reading, arrivals.iter().map(Parties::from)).await?;
        let unknown: Vec<_> = arrivals.iter().map(|arrival| arrival.id).filter(|id| !self.young.contains(id)).collect();
        let old = seen::entered(&mut self.reading, &unknown).await?;
        let mut kept = Vec::with_capacity(arrivals.len());
        let judge = |arrival: &Arrival| {
            if old.contains(&arrival.id) || self.young.contains(&arrival.id) {
                return Ok(Stored::Duplicate);
            }
            let stored = self.books.judge(arrival, &mut kept)?;
            if matches!(stored, Stored::New { .. }) {
                self.young.insert(arrival.id);
            }
            Ok(stored)
        };
        let outcomes = arrivals.iter().map(judge).collect();
        let kept = Arc::new(kept);
        if !kept.is_empty() {
            self.append(Arc::clone(&kept)).await?;
        }
        Ok(Judged { outcomes, kept })
    }

    /// Writes a record of nothing, to learn whether the journal can be written.
    pub(super) async fn probe(&mut self) -> Result<(), StoreError> {
        let appended = self.append(Arc::default()).await;
        self.is_sound &= appended.is_ok();
        appended
    }

    async fn append(&mut self, kept: Arc<Vec<Kept>>) -> Result<(), StoreError> {
        let journal = self.journal.as_mut().ok_or(StoreError::NotCommitted)?;
        let number = journal.append(&kept).await?;
        self.pending_packets += kept.len();
        self.pending_bytes += bytes(&kept);
        self.pending.push_back(Batch { number, kept, since: Instant::now() });
        Ok(())
    }

    /// Begins a step that enters everything pending and does what else is in the order. None may be under way.
    pub(super) fn begin(&mut self, mut order: Order) -> Result<(), StoreError> {
        let balances = self.books.balances(self.pending.iter().flat_map(|batch| batch.kept.iter()));
        self.is_sound &= balances.is_ok();
        order.balances = balances?;
        order.batches = self.pending.iter().cloned().collect();
        let (batches, touched) = (order.batches.len(), order.works.iter().map(|work| work.touch).collect());
        let mut tables = self.tables.take().ok_or(StoreError::NotCommitted)?;
        let step = AbortOnDropHandle::new(tokio::spawn(async move {
            let stepped = tables.step(order).await;
            (tables, stepped)
        }));
        self.running = Some(Running { step, batches, touched });
        Ok(())
    }

    /// Waits for the step under way, for ever if there is none. May be given up and begun again.
    pub(super) async fn stepped(&mut self) -> Result<Stepped, StoreError> {
        let Some(running) = &mut self.running else { return std::future::pending().await };
        let ended = (&mut running.step).await;
        let (batches, touched) = (running.batches, std::mem::take(&mut running.touched));
        self.running = None;
        let Ok((tables, stepped)) = ended else {
            self.is_sound = false;
            return Err(StoreError::NotCommitted);
        };
        self.tables = Some(tables);
        self.is_sound &= stepped.committed.is_ok();
        if stepped.committed.is_ok() {
            self.entered(batches, &touched);
            let meanwhile = self.pending.iter().flat_map(|batch| batch.kept.iter());
            if let Err(error) = self.books.restate(&stepped.accounts, meanwhile) {
                self.is_sound = false;
                return Err(error);
            }
            #[cfg(test)]
            if !touched.is_empty() && self.pending.is_empty() {
                self.books.check(&mut self.reading).await?;
            }
            for id in &stepped.entered {
                self.young.remove(id);
            }
        }
        Ok(stepped)
    }

    /// The first pending batches are in the tables.
    fn entered(&mut self, batches: usize, touched: &[Touch]) {
        for batch in self.pending.drain(..batches) {
            self.pending_packets -= batch.kept.len();
            self.pending_bytes -= bytes(&batch.kept);
            if let Some(journal) = &mut self.journal {
                journal.applied(batch.number);
            }
        }
        for touched in touched {
            self.books.forget(*touched);
        }
        let pending = self.pending.iter().flat_map(|batch| batch.kept.iter());
        self.books.forget_all_but(pending.map(Parties::from));
    }
}

fn bytes(kept: &[Kept]) -> usize {
    kept.iter().map(|kept| kept.packet.len()).sum()
}
