//! The client's own SQLite database: what it must not forget in a power cut (law 8). Write-ahead log, every commit on
//! disk before it returns. Stands below `listen`, `entrust` and `assemble`; above it nothing knows SQL.
//!
//! - [`books`]: lanes, accounts, meters, signed statements, as [`records`]
//! - [`inbox`]: messages counted once, message ids seen once, texts not yet delivered
//! - [`files`]: parts of files until the file is in its place

pub mod books;
pub mod files;
pub mod inbox;
pub mod records;

use std::path::Path;
use std::time::Duration;

use alloy::primitives::Address;
use minus_bindings::Amount;
use sqlx::sqlite::{SqliteConnectOptions, SqliteJournalMode, SqlitePoolOptions, SqliteRow, SqliteSynchronous};
use sqlx::{Row, SqlitePool};

/// Connections: one writes at a time, a few read beside it.
const CONNECTIONS_MAX: u32 = 4;

/// How long one process waits for another that writes to the same database.
const BUSY_TIMEOUT: Duration = Duration::from_secs(20);

/// The database of one customer for one deployment.
#[derive(Debug, Clone)]
pub struct Store {
    pool: SqlitePool,
}

/// What can go wrong with the database. Nothing was half done: every operation is one transaction.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// SQLite's word.
    #[error("the client's database: {0}")]
    Database(#[from] sqlx::Error),
    /// It cannot be brought to this version's tables.
    #[error("the client's database cannot be upgraded: {0}")]
    Migration(#[from] sqlx::migrate::MigrateError),
    /// A row that this program cannot have written.
    #[error("the client's database holds a damaged {0}")]
    Damaged(&'static str),
    /// A number wider than the database's.
    #[error("{0} does not fit the client's database")]
    OutOfRange(&'static str),
    /// Its directory.
    #[error("the client's data directory: {0}")]
    Io(#[from] std::io::Error),
}

impl Store {
    /// Opens the database, making and upgrading it as needed.
    pub async fn open(path: &Path) -> Result<Self, StoreError> {
        if let Some(directory) = path.parent() {
            crate::keystore::private_directory(directory)?;
        }
        let options = SqliteConnectOptions::new()
            .filename(path)
            .create_if_missing(true)
            .journal_mode(SqliteJournalMode::Wal)
            .synchronous(SqliteSynchronous::Full)
            .foreign_keys(true)
            .busy_timeout(BUSY_TIMEOUT);
        let pool = SqlitePoolOptions::new().max_connections(CONNECTIONS_MAX).connect_with(options).await?;
        sqlx::migrate!("./migrations").run(&pool).await?;
        Ok(Self { pool })
    }

    /// Closes all connections.
    pub async fn close(&self) {
        self.pool.close().await;
    }

    /// A transaction that may write: it takes the write lock at once, so what it read stays true until it commits.
    async fn write(&self) -> Result<sqlx::Transaction<'static, sqlx::Sqlite>, StoreError> {
        Ok(self.pool.begin_with("BEGIN IMMEDIATE").await?)
    }
}

fn to_column(value: u64, what: &'static str) -> Result<i64, StoreError> {
    i64::try_from(value).map_err(|_| StoreError::OutOfRange(what))
}

fn unsigned(row: &SqliteRow, column: &'static str) -> Result<u64, StoreError> {
    u64::try_from(row.try_get::<i64, _>(column)?).map_err(|_| StoreError::Damaged(column))
}

fn small(row: &SqliteRow, column: &'static str) -> Result<u32, StoreError> {
    u32::try_from(row.try_get::<i64, _>(column)?).map_err(|_| StoreError::Damaged(column))
}

fn flag(row: &SqliteRow, column: &'static str) -> Result<bool, StoreError> {
    Ok(row.try_get::<i64, _>(column)? != 0)
}

fn fixed<const N: usize>(row: &SqliteRow, column: &'static str) -> Result<[u8; N], StoreError> {
    row.try_get::<&[u8], _>(column)?.try_into().map_err(|_| StoreError::Damaged(column))
}

fn address(row: &SqliteRow, column: &'static str) -> Result<Address, StoreError> {
    Ok(Address::from(fixed::<20>(row, column)?))
}

fn wide(row: &SqliteRow, column: &'static str) -> Result<u128, StoreError> {
    row.try_get::<&str, _>(column)?.parse().map_err(|_| StoreError::Damaged(column))
}

fn amount(row: &SqliteRow, column: &'static str) -> Result<Amount, StoreError> {
    Amount::from_base_units(wide(row, column)?).map_err(|_| StoreError::Damaged(column))
}
