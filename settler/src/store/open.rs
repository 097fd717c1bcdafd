//! Opening the database.

use std::str::FromStr;
use std::time::Duration;

use sqlx::sqlite::{SqliteConnectOptions, SqliteJournalMode, SqlitePool, SqlitePoolOptions, SqliteSynchronous};
use sqlx::{Sqlite, Transaction};

/// One writer: SQLite has one anyway, and queueing for it here is fairer than its busy loop.
const WRITERS: u32 = 1;
/// Enough for the operator's questions while the engine reads.
const READERS: u32 = 4;
/// How long a connection waits for another process that holds the write lock, such as a backup.
const BUSY_TIMEOUT: Duration = Duration::from_secs(10);

/// What can go wrong with the log. None of it is told to a stranger.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The database refused.
    #[error("database: {0}")]
    Sql(#[from] sqlx::Error),
    /// The tables could not be brought up to date.
    #[error("migration: {0}")]
    Migrate(#[from] sqlx::migrate::MigrateError),
    /// A column holds what this program never writes.
    #[error("column of {kind} holds {value:?}")]
    Corrupt {
        /// What was expected there.
        kind: &'static str,
        /// What was there.
        value: String,
    },
    /// More lanes than the limit; raise it, or look who is filling the log (law 13).
    #[error("{lanes} lanes are stored already, the limit is {limit}")]
    Full {
        /// How many there are.
        lanes: u64,
        /// How many there may be.
        limit: u64,
    },
}

impl StoreError {
    pub(super) fn corrupt(kind: &'static str, value: &str) -> Self {
        Self::Corrupt { kind, value: value.chars().take(80).collect() }
    }
}

/// The intent log. Cheap to clone; all clones share their connections.
#[derive(Debug, Clone)]
pub struct Store {
    writer: SqlitePool,
    reader: SqlitePool,
}

impl Store {
    /// Opens or makes the database of a `sqlite:` URL and brings its tables up to date.
    ///
    /// # Errors
    /// When the URL is not one of SQLite, the file cannot be opened, or it holds a newer version's tables.
    pub async fn open(url: &str) -> Result<Self, StoreError> {
        let options = SqliteConnectOptions::from_str(url)?
            .create_if_missing(true)
            .foreign_keys(true)
            .journal_mode(SqliteJournalMode::Wal)
            .synchronous(SqliteSynchronous::Full)
            .busy_timeout(BUSY_TIMEOUT);
        let writer = SqlitePoolOptions::new().max_connections(WRITERS).connect_with(options.clone()).await?;
        sqlx::migrate!("./migrations").run(&writer).await?;
        let reader = SqlitePoolOptions::new().max_connections(READERS).connect_with(options.read_only(true)).await?;
        Ok(Self { writer, reader })
    }

    /// Starts a transaction that holds the write lock from its first statement on, so that what it reads stays true
    /// until it commits.
    pub(super) async fn begin(&self) -> Result<Transaction<'static, Sqlite>, StoreError> {
        Ok(self.writer.begin_with("begin immediate").await?)
    }

    pub(super) fn reader(&self) -> &SqlitePool {
        &self.reader
    }

    pub(super) fn writer(&self) -> &SqlitePool {
        &self.writer
    }

    /// Waits for what runs and closes the file.
    pub async fn close(&self) {
        self.reader.close().await;
        self.writer.close().await;
    }
}
