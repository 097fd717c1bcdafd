//! Everything the node must not forget: one database, one writer, any number of readers. SQLite by default, PostgreSQL
//! by URL, one set of SQL for both.
//!
//! - `database` — opens either, with the settings that law 8 asks for
//! - `writer` — the single writer task: batches what is queued into one transaction (group commit)
//! - `convert` — addresses, amounts and counts as columns
//! - `lines` — meter lines of every book
//! - `packets` — store a packet, read what is to be pushed, delete what expired
//! - `customers` — accounts and entrusted wallets
//! - `statements` — issue a statement, accept its acknowledgement
//! - `subscriptions` — what a browser may repeat
//! - `vouchers` — the best voucher of each lane, and the outbox to the settler
//! - `peers` — sessions, what is owed to relays, what is earned from agents
//! - `commands` — what was obeyed once is not obeyed again
//! - `chain` — the persisted view of the chain

pub(crate) mod chain;
pub(crate) mod commands;
pub(crate) mod convert;
pub(crate) mod customers;
mod database;
pub(crate) mod lines;
#[cfg(test)]
mod model;
pub(crate) mod packets;
pub(crate) mod peers;
pub(crate) mod statements;
pub(crate) mod subscriptions;
#[cfg(test)]
pub(crate) mod testing;
pub(crate) mod vouchers;
mod writer;

use std::path::Path;

use sqlx::AnyPool;
use tokio::task::JoinHandle;

use self::database::Database;
use crate::config::DatabaseUrl;

pub(crate) use sqlx::AnyConnection as Connection;
pub(crate) use writer::Writer;

/// Why the store could not do what it was asked.
#[derive(Debug, thiserror::Error)]
pub(crate) enum StoreError {
    /// The database or the disk refused. Nothing was changed.
    #[error("database: {0}")]
    Database(#[from] sqlx::Error),
    /// The schema could not be brought up to date.
    #[error("migration: {0}")]
    Migration(#[from] sqlx::migrate::MigrateError),
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

/// The open store.
#[derive(Clone, Debug)]
pub(crate) struct Store {
    readers: AnyPool,
    writer: Writer,
}

impl Store {
    /// Opens, creates and migrates. The returned task ends when the last `Store` is dropped or `close` is called.
    pub(crate) async fn open(folder: &Path, url: Option<&DatabaseUrl>) -> Result<(Self, JoinHandle<()>), StoreError> {
        let database = Database::at(folder, url)?;
        let mut connection = database.writer().await?;
        sqlx::migrate!("./migrations").run(&mut connection).await?;
        let readers = database.readers().await?;
        let (writer, task) = Writer::start(connection);
        Ok((Self { readers, writer }, task))
    }

    /// For reading only; sees what is committed.
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
