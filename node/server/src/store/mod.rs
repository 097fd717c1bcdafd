//! Everything the node must not forget: one SQLite file, one writer, any number of readers.
//!
//! - `writer` — the single writer task: batches what is queued into one transaction (group commit)
//! - `convert` — addresses, amounts and counts as columns
//! - `lines` — meter lines of every book
//! - `packets` — store a packet, read what is to be pushed, delete what expired
//! - `customers` — accounts and entrusted wallets
//! - `statements` — issue a statement, accept its acknowledgement
//! - `vouchers` — the best voucher of each lane, and the outbox to the settler
//! - `peers` — sessions, what is owed to relays, what is earned from agents
//! - `commands` — what was obeyed once is not obeyed again
//! - `chain` — the persisted view of the chain

pub(crate) mod chain;
pub(crate) mod commands;
pub(crate) mod convert;
pub(crate) mod customers;
pub(crate) mod lines;
#[cfg(test)]
mod model;
pub(crate) mod packets;
pub(crate) mod peers;
pub(crate) mod statements;
pub(crate) mod vouchers;
mod writer;

use std::{path::Path, time::Duration};

use sqlx::sqlite::{SqliteConnectOptions, SqliteJournalMode, SqlitePool, SqlitePoolOptions, SqliteSynchronous};
use tokio::task::JoinHandle;

pub(crate) use writer::Writer;

/// Readers at a time. A reader holds a page cache; more than the machine has cores gains nothing.
const READERS_MAX: u32 = 8;
/// How long a reader waits for its connection before the request is refused.
const READER_WAIT: Duration = Duration::from_secs(5);
/// How long SQLite itself waits for a lock. Only the start-up of a second process can hold one.
const BUSY_TIMEOUT: Duration = Duration::from_secs(5);

/// Why the store could not do what it was asked.
#[derive(Debug, thiserror::Error)]
pub(crate) enum StoreError {
    /// SQLite or the disk refused. Nothing was changed.
    #[error("database: {0}")]
    Database(#[from] sqlx::Error),
    /// The schema could not be brought up to date.
    #[error("migration: {0}")]
    Migration(#[from] sqlx::migrate::MigrateError),
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

/// The open store.
#[derive(Clone, Debug)]
pub(crate) struct Store {
    readers: SqlitePool,
    writer: Writer,
}

impl Store {
    /// Opens, creates and migrates. The returned task ends when the last `Store` is dropped or `close` is called.
    pub(crate) async fn open(folder: &Path) -> Result<(Self, JoinHandle<()>), StoreError> {
        let options = SqliteConnectOptions::new()
            .filename(folder.join("node.sqlite"))
            .create_if_missing(true)
            .journal_mode(SqliteJournalMode::Wal)
            .synchronous(SqliteSynchronous::Full) // law 8: a commit survives a power cut
            .foreign_keys(true)
            .busy_timeout(BUSY_TIMEOUT);
        let writers = SqlitePoolOptions::new().max_connections(1).connect_with(options.clone()).await?;
        sqlx::migrate!("./migrations").run(&writers).await?;
        let connection = writers.acquire().await?.detach();
        let readers = SqlitePoolOptions::new()
            .max_connections(READERS_MAX)
            .acquire_timeout(READER_WAIT)
            .connect_with(options.read_only(true))
            .await?;
        let (writer, task) = Writer::start(connection);
        Ok((Self { readers, writer }, task))
    }

    /// For reading only; sees what is committed.
    pub(crate) fn readers(&self) -> &SqlitePool {
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

#[cfg(test)]
pub(crate) mod testing {
    use super::Store;

    /// A store in a folder that goes with the guard.
    pub(crate) async fn store() -> (Store, tempfile::TempDir) {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let (store, _task) = Store::open(folder.path()).await.expect("a fresh store opens");
        (store, folder)
    }
}
