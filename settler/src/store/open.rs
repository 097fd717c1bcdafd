//! Opening the log.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use sqlx::AnyPool;
use tokio::sync::Mutex;
use tokio::time::Instant;

use super::board::{Board, Touched};
use super::database::{Database, Kind, Write, Writer};
use super::earnings;
use super::recorder::Recorder;

/// How long a start waits for another settler to let go of the database: one that was just told to stop, or killed, is
/// gone within moments.
const LOCK_PATIENCE: Duration = Duration::from_secs(5);
/// How often it looks.
const LOCK_RETRY: Duration = Duration::from_millis(50);

/// What can go wrong with the log. None of it is told to a stranger.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The database refused.
    #[error("database: {0}")]
    Sql(#[from] sqlx::Error),
    /// The tables could not be brought up to date.
    #[error("migration: {0}")]
    Migrate(#[from] sqlx::migrate::MigrateError),
    /// The URL names no database that can hold a log.
    #[error("not a database: {0}")]
    Url(&'static str),
    /// Another settler works on it.
    #[error("another settler works on this database: stop that one, or give this one a database of its own")]
    Taken,
    /// The settler is shutting down.
    #[error("the log is closed")]
    Closed,
    /// Too much waits to be recorded. Retryable.
    #[error("too much waits to be recorded")]
    Busy,
    /// It could not be recorded. Retryable.
    #[error("not recorded: {0}")]
    NotCommitted(String),
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

/// The last id of each table. One process writes, so ids need no help from the database, which the two give in different
/// words.
#[derive(Debug, Default)]
pub(super) struct Ids {
    pub(super) requests: AtomicI64,
    pub(super) transactions: AtomicI64,
    pub(super) vouchers: AtomicI64,
    pub(super) charges: AtomicI64,
}

impl Ids {
    async fn read(transaction: &mut Write) -> Result<Self, StoreError> {
        let (requests, transactions, vouchers, charges): (i64, i64, i64, i64) = sqlx::query_as(
            "select (select coalesce(max(id), 0) from requests), (select coalesce(max(id), 0) from transactions),
                    (select coalesce(max(id), 0) from vouchers), (select coalesce(max(id), 0) from charges)",
        )
        .fetch_one(&mut **transaction)
        .await?;
        Ok(Self {
            requests: requests.into(),
            transactions: transactions.into(),
            vouchers: vouchers.into(),
            charges: charges.into(),
        })
    }

    /// One more.
    pub(super) fn next(last: &AtomicI64) -> i64 {
        last.fetch_add(1, Ordering::Relaxed) + 1
    }
}

/// The intent log. Cheap to clone; all clones share their connections.
#[derive(Clone)]
pub struct Store {
    writer: Writer,
    reader: AnyPool,
    recorder: Recorder,
    board: Arc<Mutex<Board>>,
    pub(super) ids: Arc<Ids>,
}

impl std::fmt::Debug for Store {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("Store").finish_non_exhaustive()
    }
}

impl Store {
    /// Opens the database of a `sqlite:` or `postgres:` URL, makes the file if there is none, and brings its tables up to
    /// date.
    ///
    /// # Errors
    /// When it cannot be opened, another settler works on it, or it holds a newer version's tables.
    pub async fn open(url: &str) -> Result<Self, StoreError> {
        let database = Arc::new(Database::at(url)?);
        let deadline = Instant::now() + LOCK_PATIENCE;
        loop {
            match Self::take(&database).await {
                Err(StoreError::Taken) if Instant::now() < deadline => tokio::time::sleep(LOCK_RETRY).await,
                taken => return taken,
            }
        }
    }

    async fn take(database: &Arc<Database>) -> Result<Self, StoreError> {
        let writer = Writer::new(Arc::clone(database))?;
        writer.migrate(&sqlx::migrate!("./migrations")).await?;
        let mut transaction = writer.begin().await?;
        earnings::complete(&mut transaction).await?;
        let ids = Ids::read(&mut transaction).await?;
        transaction.commit().await?;
        let reader = database.readers().await?;
        let ids = Arc::new(ids);
        let recorder = Recorder::start(writer.clone(), Arc::clone(&ids));
        Ok(Self { writer, reader, recorder, board: Arc::default(), ids })
    }

    pub(super) async fn begin(&self) -> Result<Write, StoreError> {
        self.writer.begin().await
    }

    pub(super) fn kind(&self) -> Kind {
        self.writer.kind()
    }

    pub(super) const fn recorder(&self) -> &Recorder {
        &self.recorder
    }

    pub(super) const fn board(&self) -> &Arc<Mutex<Board>> {
        &self.board
    }

    pub(super) fn touched(&self) -> &Touched {
        &self.writer.touched
    }

    pub(super) fn reader(&self) -> &AnyPool {
        &self.reader
    }

    /// Lets go of the database at once, as the end of the process would. What is committed stands; nothing more is written.
    pub fn abandon(&self) {
        self.writer.abandon();
    }

    /// Waits for what runs and closes the database.
    pub async fn close(&self) {
        self.reader.close().await;
        self.writer.close().await;
    }
}

/// Copies the log at `url`, which a settler may be using, into a file that is not there yet: one moment of it, whole.
///
/// # Errors
/// When it is no file of SQLite, cannot be read, or the copy cannot be written.
pub async fn backup(url: &str, copy: &std::path::Path) -> Result<(), StoreError> {
    Database::at(url)?.copy_to(copy).await
}

/// The URL of a database as it may be shown: without its password.
#[must_use]
pub fn shown(url: &str) -> String {
    match url::Url::parse(url) {
        Ok(mut parsed) if parsed.password().is_some() => {
            // Only a URL that has no host refuses a password, and this one has one already.
            let _ = parsed.set_password(Some("…"));
            parsed.to_string()
        }
        _ => url.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_password_is_not_shown() {
        assert!(!shown("postgres://settler:secret@localhost/log").contains("secret"));
        let at_host = shown("postgres://settler:secret@db/settler");
        assert!(!at_host.contains("secret") && at_host.contains("@db/settler"), "{at_host}");
        assert_eq!(shown("sqlite:settler.db"), "sqlite:settler.db");
    }
}
