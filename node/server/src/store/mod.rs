//! Everything the node must not forget: one database, one writer, any number of readers. SQLite by default, PostgreSQL
//! by URL, one set of SQL for both.
//!
//! - `database` — opens either, with the settings that law 8 asks for
//! - `writer` — the entrance to the single writer; `task` — takes what is queued together (group commit)
//! - `ledger` — what the task does: packets are put into the `journal`, answered, and entered into the `tables` meanwhile, many
//!   at once; every other write runs in a `transaction` that enters them first. `segments` — the journal's files
//! - `seen` — the ids of what was stored, in two levels
//! - `convert` — addresses, amounts and counts as columns
//! - `lines` — meter lines of every book
//! - `arrivals` — packets at the door; `books` — what they are judged on; `rows` — statements over many rows
//! - `packets` — put them in, read what is to be pushed, delete what expired; `compaction` — the space of what was deleted
//! - `payers` — who pays for a wallet, without asking the database
//! - `customers` — accounts and entrusted wallets
//! - `statements` — issue a statement, accept its acknowledgement
//! - `subscriptions` — what a browser may repeat
//! - `charges` — the latest charge of each lane by a standing mandate; `outbox` — what it shares with vouchers
//! - `vouchers` — the best voucher of each lane, to be handed to the settler
//! - `peers` — sessions, what is owed to relays, what is earned from agents; `promises` — what the settler is to know of that
//! - `commands` — what was obeyed once is not obeyed again
//! - `chain` — the persisted view of the chain

pub(crate) mod arrivals;
mod books;
pub(crate) mod chain;
pub(crate) mod charges;
pub(crate) mod commands;
mod compaction;
pub(crate) mod convert;
pub(crate) mod customers;
mod database;
#[cfg(test)]
mod endurance;
mod journal;
#[cfg(test)]
mod journaling;
mod ledger;
pub(crate) mod lines;
#[cfg(test)]
mod model;
mod outbox;
pub(crate) mod packets;
mod payers;
pub(crate) mod peers;
pub(crate) mod promises;
mod rows;
mod seen;
mod segments;
pub(crate) mod statements;
pub(crate) mod subscriptions;
mod tables;
mod task;
#[cfg(test)]
pub(crate) mod testing;
mod transaction;
pub(crate) mod vouchers;
mod writer;

use std::{fmt::Debug, path::Path, sync::Arc};

use alloy::primitives::Address;
use sqlx::{AnyPool, Executor};
use tokio::task::JoinHandle;

use self::{
    customers::{Entrusted, Entrusting},
    database::{Database, Kind},
    ledger::Ledger,
    packets::Waiting,
    payers::Payers,
};
use crate::{clock, config::DatabaseUrl, metrics::Metrics};

pub(crate) use sqlx::AnyConnection as Connection;
pub(crate) use transaction::Touch;
pub(crate) use writer::{QUEUE_LENGTH_MAX, Writer};

/// Why the store could not do what it was asked.
#[derive(Debug, thiserror::Error)]
pub(crate) enum StoreError {
    /// The database or the disk refused. Nothing was changed.
    #[error("database: {0}")]
    Database(#[from] sqlx::Error),
    /// The schema could not be brought up to date.
    #[error("migration: {0}")]
    Migration(#[from] sqlx::migrate::MigrateError),
    /// The journal's files could not be read or written.
    #[error("journal: {0}")]
    Journal(#[from] std::io::Error),
    /// The journal's files are of another database: what they hold was acknowledged there.
    #[error("node.journal-0 and node.journal-1 belong to another node.sqlite: put that back, or move them away")]
    Foreign,
    /// Another process works on this database.
    #[error("another node works on this database")]
    Taken,
    /// A column does not hold what this program writes there.
    #[error("corrupt column: {0}")]
    Corrupt(&'static str),
    /// A count or an amount would leave its range. Nothing was changed.
    #[error("out of range: {0}")]
    Range(&'static str),
    /// The queue of the writer is full. Retryable.
    #[error("the writer's queue is full")]
    Busy,
    /// The transaction this write was part of could not be committed. Nothing was changed.
    #[error("commit failed")]
    NotCommitted,
    /// The writer has stopped: the node is shutting down.
    #[error("the store is closed")]
    Closed,
}

/// Who hears of packets that were stored, in the order in which they were. Must not block: the writer calls it.
pub(crate) trait Audience: Debug + Send + Sync {
    /// A packet of this wallet is durable. [`Store::catch_up`] puts it where readers see it.
    fn stored(&self, wallet: Address, waiting: Waiting);

    /// Packets may have been stored that nobody was told of. Readers see them now.
    fn missed(&self);
}

/// Nobody listens.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Nobody;

impl Audience for Nobody {
    fn stored(&self, _: Address, _: Waiting) {}

    fn missed(&self) {}
}

/// The open store.
#[derive(Clone, Debug)]
pub(crate) struct Store {
    readers: AnyPool,
    writer: Writer,
    payers: Arc<Payers>,
}

impl Store {
    /// Opens, creates and migrates. The returned task ends when the last `Store` is dropped or `close` is called.
    pub(crate) async fn open(
        folder: &Path,
        url: Option<&DatabaseUrl>,
        audience: Arc<dyn Audience>,
        metrics: Arc<Metrics>,
    ) -> Result<(Self, JoinHandle<()>), StoreError> {
        let database = Database::at(folder, url)?;
        let mut connection = database.writer().await?;
        sqlx::migrate!("./migrations").run(&mut connection).await?;
        if database.kind() == Kind::Postgres {
            connection.execute(compaction::POSTGRES_TABLES).await?;
        }
        let payers = Arc::new(Payers::new(customers::payers(&mut connection).await?));
        let mut ledger = Ledger::with(&database, connection).await?;
        ledger.restore().await?;
        let readers = database.readers().await?;
        let (writer, task) = Writer::start(database, ledger, audience, metrics);
        Ok((Self { readers, writer, payers }, task))
    }

    /// Who pays for the wallet, if it is entrusted to this node.
    pub(crate) fn payer_of(&self, wallet: Address) -> Option<Address> {
        self.payers.of(wallet)
    }

    /// Obeys a command to entrust a wallet. None when it is a replay.
    pub(crate) async fn entrust(&self, order: Entrusting) -> Result<Option<Entrusted>, StoreError> {
        let payers = Arc::clone(&self.payers);
        let then = move |entrusted: &Option<Entrusted>| {
            if matches!(entrusted, Some(Entrusted::Yes { .. })) {
                payers.entrusted(order.wallet, order.payer);
            }
        };
        self.writer.write_then(move |connection| Box::pin(customers::obey(connection, order)), then).await
    }

    /// Why nothing can be written at the moment, if so. What was acknowledged is safe all the same.
    pub(crate) fn problem(&self) -> Option<String> {
        self.writer.problem()
    }

    /// Reads one row, to learn whether anything can be read.
    pub(crate) async fn read_something(&self) -> Result<(), StoreError> {
        sqlx::query("select at from pulse where id = 1").fetch_optional(&self.readers).await?;
        Ok(())
    }

    /// Whether readers see every packet that was stored before.
    pub(crate) fn is_caught_up(&self) -> bool {
        self.writer.is_caught_up()
    }

    /// Returns when readers see every packet that was stored before.
    pub(crate) async fn catch_up(&self) -> Result<(), StoreError> {
        self.writer.catch_up().await
    }

    /// For reading only; sees what is committed, but a packet that was stored a moment ago only after `catch_up`.
    pub(crate) fn readers(&self) -> &AnyPool {
        &self.readers
    }

    /// For everything that changes the store.
    pub(crate) fn writer(&self) -> &Writer {
        &self.writer
    }

    /// Lets queued writes finish and refuses new ones.
    pub(crate) async fn close(&self) {
        self.writer.close().await;
        self.readers.close().await;
    }
}

/// Changes one row, to learn whether anything can be written.
async fn pulse(connection: &mut Connection) -> Result<(), StoreError> {
    sqlx::query("insert into pulse values (1, $1) on conflict (id) do update set at = excluded.at")
        .bind(convert::integer(clock::now_s())?)
        .execute(connection)
        .await?;
    Ok(())
}
