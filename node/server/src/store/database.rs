//! Opens the database: an SQLite file, or PostgreSQL by URL. Both are told to let no commit return before it would
//! survive a power cut (law 8), and one process at a time works on either.

use std::{
    path::{Path, PathBuf},
    time::Duration,
};

use sqlx::{
    AnyConnection, AnyPool, ConnectOptions, Executor,
    any::{AnyConnectOptions, AnyPoolOptions},
};

use super::StoreError;
use crate::config::DatabaseUrl;

/// Readers at a time. A reader holds a page cache, or a process of PostgreSQL; more than the machine has cores gains
/// nothing.
const READERS_MAX: u32 = 8;
/// How long a reader waits for its connection before the request is refused.
const READER_WAIT: Duration = Duration::from_secs(5);
/// Names the advisory lock that one node holds on its PostgreSQL database: "minusnod" in ASCII.
const ADVISORY_LOCK: i64 = 0x6d69_6e75_736e_6f64;
/// The same for its journal, which has a session of its own: "minusjou". Or a node whose other session is lost would go on
/// journaling beside the next one.
const JOURNAL_LOCK: i64 = 0x6d69_6e75_736a_6f75;

/// The writer's settings in SQLite. `auto_vacuum` comes first: it is fixed by the first page written.
/// - `synchronous = full`: a commit is on the disk before it returns.
/// - `cache_size`: 64 MiB. Packets' places in the index, accounts and wallets are on random pages, which should be found in
///   memory.
/// - `busy_timeout`: who was killed in the middle of a step may hold the lock for a moment still, and a checkpoint that is to
///   cut the log waits for readers.
/// - `temp_store`: what it keeps to undo one of several statements stays in memory, a few pages for each row of a statement; in
///   a file, as by default, it would be more than half of all writes.
/// - `wal_autocheckpoint`: every 64 MiB of log. A page that many commits change is copied into the file once, and at the
///   default of 4 MiB a busy node would spend half of its writes on copying.
/// - `journal_size_limit`: after a checkpoint the log is cut back to 128 MiB, which a busy second may fill; what is cut off has
///   to be allocated anew.
const SQLITE_WRITER: &str = "pragma auto_vacuum = incremental;
    pragma journal_mode = wal;
    pragma synchronous = full;
    pragma foreign_keys = on;
    pragma busy_timeout = 1000;
    pragma cache_size = -65536;
    pragma temp_store = memory;
    pragma wal_autocheckpoint = 16384;
    pragma journal_size_limit = 134217728;";

/// What a session of PostgreSQL that writes relies on, whatever the server's own settings are.
const POSTGRES_WRITER: &str = "set synchronous_commit = on";
/// Several statements of one reading see one state, as in SQLite.
const POSTGRES_READER: &str = "set default_transaction_isolation = 'repeatable read';
    set default_transaction_read_only = on;";

/// Which of the two.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Sqlite,
    Postgres,
}

/// A database that can be connected to. Its options hold the password: not to be printed.
#[derive(Clone)]
pub(super) struct Database {
    kind: Kind,
    folder: PathBuf,
    writing: AnyConnectOptions,
    reading: AnyConnectOptions,
}

impl Database {
    /// The database at `url`, or the file in `folder`.
    pub(super) fn at(folder: &Path, url: Option<&DatabaseUrl>) -> Result<Self, StoreError> {
        sqlx::any::install_default_drivers();
        let folder = std::path::absolute(folder).map_err(sqlx::Error::Io)?;
        if let Some(url) = url {
            let options = AnyConnectOptions::from_url(url.reveal())?;
            return Ok(Self { kind: Kind::Postgres, folder, writing: options.clone(), reading: options });
        }
        let no_url = || sqlx::Error::Configuration("data_dir cannot be written as a URL".into());
        let file = folder.join("node.sqlite");
        let file = url::Url::from_file_path(file).map_err(|()| no_url())?;
        let options = |mode| format!("sqlite://{}?mode={mode}", file.path()).parse::<AnyConnectOptions>();
        Ok(Self { kind: Kind::Sqlite, folder, writing: options("rwc")?, reading: options("ro")? })
    }

    pub(super) const fn kind(&self) -> Kind {
        self.kind
    }

    /// Where the node's files are.
    pub(super) fn folder(&self) -> &Path {
        &self.folder
    }

    /// The connection that writes the tables.
    pub(super) async fn writer(&self) -> Result<AnyConnection, StoreError> {
        match self.kind {
            Kind::Sqlite => {
                let mut connection = self.writing.connect().await?;
                connection.execute(SQLITE_WRITER).await?;
                Ok(connection)
            }
            Kind::Postgres => self.session(ADVISORY_LOCK).await,
        }
    }

    /// The connection that writes the journal, where that is a table.
    pub(super) async fn journal(&self) -> Result<AnyConnection, StoreError> {
        self.session(JOURNAL_LOCK).await
    }

    /// A session of PostgreSQL that writes, and is the only one of its kind.
    async fn session(&self, lock: i64) -> Result<AnyConnection, StoreError> {
        let mut connection = self.writing.connect().await?;
        connection.execute(POSTGRES_WRITER).await?;
        let alone: bool =
            sqlx::query_scalar("select pg_try_advisory_lock($1)").bind(lock).fetch_one(&mut connection).await?;
        if alone { Ok(connection) } else { Err(StoreError::Taken) }
    }

    /// A connection that reads what is committed, for the one that judges arrivals.
    pub(super) async fn reader(&self) -> Result<AnyConnection, StoreError> {
        Ok(self.reading.connect().await?)
    }

    /// Connections for reading only.
    pub(super) async fn readers(&self) -> Result<AnyPool, StoreError> {
        let kind = self.kind;
        let pool = AnyPoolOptions::new().max_connections(READERS_MAX).acquire_timeout(READER_WAIT);
        // A file is there as long as the process; asking it each time would cost as much as most questions do.
        let pool = pool.test_before_acquire(kind == Kind::Postgres);
        let pool = pool.after_connect(move |connection, _| {
            Box::pin(async move {
                if kind == Kind::Postgres {
                    connection.execute(POSTGRES_READER).await?;
                }
                Ok(())
            })
        });
        Ok(pool.connect_with(self.reading.clone()).await?)
    }
}
