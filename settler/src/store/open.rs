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

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    #[tokio::test]
    async fn what_is_committed_survives_a_power_cut() {
        let dir = tempfile::TempDir::new().unwrap();
        let url = format!("sqlite:{}", dir.path().join("settler.db").display());
        let store = Store::open(&url).await.unwrap();
        let journal: String = sqlx::query_scalar("pragma journal_mode").fetch_one(store.writer()).await.unwrap();
        let synchronous: i64 = sqlx::query_scalar("pragma synchronous").fetch_one(store.writer()).await.unwrap();

        assert_eq!((journal.as_str(), synchronous), ("wal", 2), "2 is full");
        store.close().await;
        Store::open(&url).await.unwrap().close().await;
        assert!(Store::open("postgres://localhost/settler").await.is_err());
    }

    #[tokio::test]
    async fn the_tables_refuse_what_the_state_machine_does_not_know() {
        let dir = tempfile::TempDir::new().unwrap();
        let store = Store::open(&format!("sqlite:{}", dir.path().join("settler.db").display())).await.unwrap();
        let zero = "0".repeat(29);
        sqlx::query("insert into lanes values ('a', 'b', $1, $1, $1, 0, $1, $1, 0, 0, 0)")
            .bind(&zero)
            .execute(store.writer())
            .await
            .unwrap();
        let insert = "insert into vouchers (payer, payee, cumulative, signer, signature, state, recorded_at, paid)
                      values ('a', 'b', $1, '', '', $2, 0, $3)";
        for (state, paid) in
            [("paid", None), ("planned", None), ("confirmed", None), ("recorded", Some(&zero)), ("recorded", None)]
        {
            let inserted = sqlx::query(insert).bind(&zero).bind(state).bind(paid).execute(store.writer()).await;
            assert_eq!(inserted.is_ok(), state == "recorded" && paid.is_none(), "{state} {paid:?}");
        }
        let second = sqlx::query(insert).bind(&zero).bind("recorded").bind(None::<String>);
        assert!(second.execute(store.writer()).await.is_err(), "one waits per lane");
        store.close().await;
    }
}
