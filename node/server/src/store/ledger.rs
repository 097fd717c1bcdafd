//! What the writer does to the database. Packets that are let in are first journaled, in one small write, and answered; then
//! applied: entered into the tables, many at once, and deleted from the journal in the same transaction. Closures run in
//! that transaction too, after everything was applied, so none of them ever meets a packet that is not in the tables.
//!
//! After a failure nobody knows what was committed. Then, as at every start, the journal is read and applied before
//! anything else.

use std::collections::{BTreeMap, BTreeSet, HashSet};

use alloy::primitives::Address;
use sqlx::{Connection as _, Executor};

use super::{
    Connection, StoreError,
    arrivals::{Arrival, Kept, Stored},
    books::{Books, Parties},
    customers, journal,
    lines::{self, Book},
    packets::{self, Relay},
    peers,
    transaction::{self, Finish, Work},
};

/// Packets that are journaled and not applied at most: bounds how long a transaction that applies them holds up arrivals,
/// and a start after a crash.
const PENDING_MAX: usize = 4_096;
/// Their bytes, which are in memory too.
const PENDING_BYTES_MAX: usize = 16 << 20;

/// The writer's connection, and what the tables do not say yet.
#[derive(Debug)]
pub(super) struct Ledger {
    connection: Connection,
    books: Books,
    /// Journaled and not applied, in order.
    pending: Vec<Kept>,
    pending_bytes: usize,
    /// Rows of the journal.
    rows: i32,
    /// Versions of the tariff that are in the tables.
    tariffs: BTreeSet<u32>,
    /// Whether memory and database are known to agree.
    is_sound: bool,
}

/// What became of some arrivals.
#[derive(Debug)]
pub(super) struct Judged<'a> {
    /// In their order.
    pub(super) outcomes: Vec<Result<Stored, StoreError>>,
    /// Those that were let in; they are durable.
    pub(super) kept: &'a [Kept],
}

impl Ledger {
    /// Not sound before it was restored.
    pub(super) fn new(connection: Connection) -> Self {
        Self {
            connection,
            books: Books::default(),
            pending: Vec::new(),
            pending_bytes: 0,
            rows: 0,
            tariffs: BTreeSet::new(),
            is_sound: false,
        }
    }

    pub(super) const fn is_sound(&self) -> bool {
        self.is_sound
    }

    /// Whether everything that was let in is in the tables.
    pub(super) const fn is_applied(&self) -> bool {
        self.is_sound && self.pending.is_empty()
    }

    /// Whether no more is to be journaled before what is there was applied.
    pub(super) const fn is_full(&self) -> bool {
        self.pending.len() >= PENDING_MAX || self.pending_bytes >= PENDING_BYTES_MAX
    }

    /// For what needs no transaction.
    pub(super) const fn connection(&mut self) -> &mut Connection {
        &mut self.connection
    }

    /// Ends a transaction that failed, if there is one. Whether the database still answers.
    pub(super) async fn roll_back(&mut self) -> bool {
        let _ = self.connection.execute("rollback").await;
        self.connection.ping().await.is_ok()
    }

    pub(super) async fn close(self) -> Result<(), StoreError> {
        Ok(self.connection.close().await?)
    }

    /// Forgets what memory holds, and applies what the journal does.
    pub(super) async fn restore(&mut self) -> Result<(), StoreError> {
        self.is_sound = false;
        self.books = Books::default();
        self.tariffs.clear();
        (self.rows, self.pending) = journal::read(&mut self.connection).await?;
        self.books.open(&mut self.connection, self.pending.iter().map(Parties::from)).await?;
        for kept in &self.pending {
            self.books.enter(kept)?;
        }
        self.is_sound = true;
        if self.rows > 0 {
            tracing::info!(packets = self.pending.len(), "applying the journal");
            self.apply(Vec::new(), &mut Vec::new()).await?;
        }
        Ok(())
    }

    /// Lets packets in or refuses them, each on what the ones before it left, as if one after the other was stored. All
    /// that are let in are durable when this returns.
    pub(super) async fn journal(&mut self, arrivals: &[Arrival]) -> Result<Judged<'_>, StoreError> {
        let before = self.pending.len();
        let judged = self.judge(arrivals).await;
        self.is_sound &= judged.is_ok();
        Ok(Judged { outcomes: judged?, kept: &self.pending[before..] })
    }

    async fn judge(&mut self, arrivals: &[Arrival]) -> Result<Vec<Result<Stored, StoreError>>, StoreError> {
        self.books.open(&mut self.connection, arrivals.iter().map(Parties::from)).await?;
        let ids: Vec<_> = arrivals.iter().map(|arrival| arrival.id).collect();
        let seen: HashSet<_> = packets::seen(&mut self.connection, &ids).await?;
        let before = self.pending.len();
        let outcomes = arrivals.iter().map(|arrival| self.books.judge(arrival, &seen, &mut self.pending)).collect();
        let kept = &self.pending[before..];
        if !kept.is_empty() {
            self.rows += 1;
            self.pending_bytes += kept.iter().map(|kept| kept.packet.len()).sum::<usize>();
            journal::append(&mut self.connection, self.rows, kept).await?;
        }
        Ok(outcomes)
    }

    /// Applies everything journaled and then runs `works`, in one transaction. `finishes` are to be told of its end.
    pub(super) async fn apply(&mut self, works: Vec<Work>, finishes: &mut Vec<Finish>) -> Result<(), StoreError> {
        let changes_books = !works.is_empty();
        let committed = self.transact(works, finishes).await;
        self.is_sound &= committed.is_ok();
        committed?;
        self.pending.clear();
        self.pending_bytes = 0;
        self.rows = 0;
        self.books.applied();
        if changes_books {
            self.books = Books::default();
        }
        Ok(())
    }

    async fn transact(&mut self, works: Vec<Work>, finishes: &mut Vec<Finish>) -> Result<(), StoreError> {
        self.connection.execute("begin").await?;
        if !self.pending.is_empty() {
            // First, so that its space is there for what follows.
            journal::clear(&mut self.connection, self.rows).await?;
            self.enter_pending().await?;
        }
        transaction::run(&mut self.connection, works, finishes).await?;
        self.connection.execute("commit").await?;
        Ok(())
    }

    /// Writes what is pending, and what the books say with it, into the tables.
    async fn enter_pending(&mut self) -> Result<(), StoreError> {
        let Self { connection, books, pending, .. } = self;
        let payers: BTreeSet<_> = pending.iter().map(|kept| kept.payer).collect();
        let accounts: Vec<_> = payers.into_iter().filter_map(|payer| books.account(payer)).collect();
        customers::save_accounts(connection, &accounts).await?;
        let wallets: BTreeSet<_> = pending.iter().map(|kept| kept.wallet).collect();
        let wallets: Vec<_> = wallets.into_iter().filter_map(|at| Some((at, books.last_seq(at)?))).collect();
        customers::save_last_seqs(connection, &wallets).await?;

        let creditors: BTreeSet<_> = pending.iter().filter_map(Kept::creditor).map(|relay| relay.operator).collect();
        for operator in creditors {
            lines::replace(connection, Book::Owed, operator, books.owed(operator)).await?;
        }
        for (relay, bytes) in brought(pending).into_values() {
            peers::count_at_agent(connection, relay, bytes, 0).await?;
        }
        for kept in &*pending {
            if self.tariffs.insert(kept.tariff_version) {
                packets::keep_tariff(connection, kept.tariff_version, kept.tariff).await?;
            }
        }
        packets::insert(connection, pending).await
    }
}

/// By relay: the bytes it brought.
fn brought(pending: &[Kept]) -> BTreeMap<Address, (Relay, u128)> {
    let mut brought = BTreeMap::new();
    for (relay, bytes) in pending.iter().filter_map(|kept| Some((kept.relay?, kept.bytes()))) {
        let (_, sum) = brought.entry(relay.node).or_insert((relay, 0_u128));
        *sum = sum.saturating_add(u128::from(bytes));
    }
    brought
}
