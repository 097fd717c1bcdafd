//! The tables, and the one connection that writes them. They change in steps, each one transaction: packets that were journaled
//! are entered, many at once, and then closures run, so that none of them ever meets half of the books. How far the journal is
//! entered is a row of the same transaction; so whatever ends a step, each packet is entered exactly once.
//!
//! A step runs beside the journal: packets go on being judged and journaled meanwhile.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::{Duration, Instant},
};

use alloy::primitives::{Address, B256};
use sqlx::{Connection as _, Executor};

use super::{
    Connection, StoreError,
    arrivals::Kept,
    books::{Balances, Books, Parties},
    compaction,
    convert::{hash, integer, unsigned},
    customers::{self, Account},
    database::{Database, Kind},
    journal::{self, Journal},
    ledger::Batch,
    lines::{self, Book},
    packets::{self, Relay},
    peers,
    seen::Recent,
    transaction::{self, Finish, Work},
    writer::Answer,
};

/// What a step is to do.
#[derive(Default)]
pub(super) struct Order {
    /// The next of the journal, in order.
    pub(super) batches: Vec<Batch>,
    /// What the tables are to say with these.
    pub(super) balances: Balances,
    pub(super) works: Vec<Work>,
    /// Who wants space given back to the file system, after that.
    pub(super) compactions: Vec<Answer<bool>>,
}

/// What became of a step.
pub(super) struct Stepped {
    pub(super) committed: Result<(), StoreError>,
    /// To be told of it.
    pub(super) finishes: Vec<Finish>,
    /// Ids that are in the large table now.
    pub(super) entered: Vec<B256>,
    /// Accounts that have more room now, with everything that was entered.
    pub(super) accounts: Vec<Account>,
    pub(super) works: usize,
    pub(super) took: Duration,
}

/// What a transaction has done that memory is to know.
#[derive(Default)]
struct Done {
    entered: Vec<B256>,
    accounts: Vec<Account>,
}

#[derive(Debug)]
pub(super) struct Tables {
    connection: Connection,
    kind: Kind,
    recent: Recent,
    /// How far the journal is entered.
    through: u64,
    /// Versions of the tariff that are in the tables.
    tariffs: BTreeSet<u32>,
}

/// What is to be known of a database before its journal can be opened: its name.
pub(super) async fn store(connection: &mut Connection) -> Result<B256, StoreError> {
    sqlx::query("insert into applied values (1, 0, $1) on conflict do nothing")
        .bind(B256::random().to_vec())
        .execute(&mut *connection)
        .await?;
    let store: Vec<u8> = sqlx::query_scalar("select store from applied").fetch_one(connection).await?;
    hash(&store)
}

impl Tables {
    /// Not to be stepped before they were restored.
    pub(super) fn new(connection: Connection, database: &Database) -> Self {
        Self { connection, kind: database.kind(), recent: Recent::default(), through: 0, tariffs: BTreeSet::new() }
    }

    /// Runs a statement outside of any transaction.
    #[cfg(test)]
    pub(super) async fn execute(&mut self, statement: String) -> Result<(), StoreError> {
        self.connection.execute(sqlx::AssertSqlSafe(statement)).await?;
        Ok(())
    }

    /// Whether the database still answers.
    pub(super) async fn answers(&mut self) -> bool {
        self.connection.ping().await.is_ok()
    }

    pub(super) async fn close(self) -> Result<(), StoreError> {
        Ok(self.connection.close().await?)
    }

    /// Ids that are not in the large table.
    pub(super) fn recent(&self) -> impl Iterator<Item = B256> {
        self.recent.ids()
    }

    /// Ends a transaction that failed, forgets what memory holds, and enters what the journal does.
    pub(super) async fn restore(&mut self, journal: &mut Journal) -> Result<(), StoreError> {
        let _ = self.connection.execute("rollback").await;
        self.tariffs = BTreeSet::new();
        self.connection.execute("begin").await?;
        // Changes a row before any is read: whoever wrote last has finished, or never will.
        sqlx::query("update applied set through = through").execute(&mut self.connection).await?;
        let through: i64 = sqlx::query_scalar("select through from applied").fetch_one(&mut self.connection).await?;
        self.through = unsigned(through)?;
        self.recent = Recent::load(&mut self.connection).await?;
        let (last, kept) = journal.read(&mut self.connection, self.through).await?;
        if last > self.through {
            tracing::info!(packets = kept.len(), "entering what was journaled");
            let mut books = Books::default();
            books.open(&mut self.connection, kept.iter().map(Parties::from)).await?;
            for kept in &kept {
                books.enter(kept)?;
            }
            let balances = books.balances(kept.iter())?;
            self.enter(kept.iter().collect(), last, &balances).await?;
            journal::clear(&mut self.connection, last).await?;
        }
        self.connection.execute("commit").await?;
        journal.applied(self.through);
        Ok(())
    }

    /// Does it, all or nothing, and says what became of it.
    pub(super) async fn step(&mut self, order: Order) -> Stepped {
        let began = Instant::now();
        let Order { batches, balances, works, compactions } = order;
        let count = works.len();
        let mut finishes = Vec::with_capacity(count);
        let done = if batches.is_empty() && works.is_empty() {
            Ok(Done::default())
        } else {
            self.transact(&batches, &balances, works, &mut finishes).await
        };
        let took = began.elapsed();
        for answer in compactions {
            let step = match &done {
                Ok(_) => compaction::step(&mut self.connection, self.kind).await,
                Err(_) => Err(StoreError::NotCommitted),
            };
            let _ = answer.send(step);
        }
        let (committed, Done { entered, accounts }) = match done {
            Ok(done) => (Ok(()), done),
            Err(error) => (Err(error), Done::default()),
        };
        Stepped { committed, finishes, entered, accounts, works: count, took }
    }

    async fn transact(
        &mut self,
        batches: &[Batch],
        balances: &Balances,
        works: Vec<Work>,
        finishes: &mut Vec<Finish>,
    ) -> Result<Done, StoreError> {
        self.connection.execute("begin").await?;
        let mut done = Done::default();
        if let Some(last) = batches.last() {
            if self.kind == Kind::Postgres {
                // First, so that its space is there for what follows.
                journal::clear(&mut self.connection, last.number).await?;
            }
            let kept = batches.iter().flat_map(|batch| batch.kept.iter()).collect();
            done.entered = self.enter(kept, last.number, balances).await?;
        }
        let payers: BTreeSet<_> = works.iter().filter_map(|work| work.touch.room()).collect();
        transaction::run(&mut self.connection, works, finishes).await?;
        if !payers.is_empty() {
            done.accounts = customers::accounts_of(&mut self.connection, &payers).await?.into_values().collect();
        }
        self.connection.execute("commit").await?;
        Ok(done)
    }

    /// Writes packets, with what the books say then, into the tables; the journal is entered up to `through`. The ids that are
    /// in the large table with it.
    async fn enter(
        &mut self,
        mut kept: Vec<&Kept>,
        through: u64,
        balances: &Balances,
    ) -> Result<Vec<B256>, StoreError> {
        let connection = &mut self.connection;
        let moved = sqlx::query("update applied set through = $1 where through = $2")
            .bind(integer(through)?)
            .bind(integer(self.through)?)
            .execute(&mut *connection)
            .await?;
        if moved.rows_affected() != 1 {
            return Err(StoreError::NotCommitted);
        }
        customers::save_accounts(connection, &balances.accounts).await?;
        customers::save_last_seqs(connection, &balances.last_seqs).await?;
        for (operator, owed) in &balances.owed {
            lines::replace(connection, Book::Owed, *operator, owed).await?;
        }
        for (relay, bytes) in brought(&kept).into_values() {
            peers::count_at_agent(connection, relay, bytes, 0).await?;
        }
        for kept in &kept {
            if self.tariffs.insert(kept.tariff_version) {
                packets::keep_tariff(connection, kept.tariff_version, kept.tariff).await?;
            }
        }
        // Neighbours in the index one after the other: a page of it is found, changed and, if memory is short, written once.
        kept.sort_unstable_by_key(|kept| (kept.wallet, kept.seq));
        packets::insert(connection, &kept).await?;
        self.through = through;
        if kept.is_empty() {
            return Ok(Vec::new());
        }
        let ids: Vec<_> = kept.iter().map(|kept| kept.id).collect();
        self.recent.add(connection, through, &ids).await
    }
}

/// By relay: the bytes it brought.
fn brought(kept: &[&Kept]) -> BTreeMap<Address, (Relay, u128)> {
    let mut brought = BTreeMap::new();
    for (relay, bytes) in kept.iter().filter_map(|kept| Some((kept.relay?, kept.bytes()))) {
        let (_, sum) = brought.entry(relay.node).or_insert((relay, 0_u128));
        *sum = sum.saturating_add(u128::from(bytes));
    }
    brought
}
