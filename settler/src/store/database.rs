//! The two databases: an SQLite file, or PostgreSQL by URL. Both are told to let no commit return before it would survive
//! a power cut (law 8), and one settler at a time works on either: two would sign different bytes for the same nonce.

use std::fs::{File, TryLockError};
use std::ops::{Deref, DerefMut};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, PoisonError};
use std::time::Duration;

use sqlx::any::{AnyConnectOptions, AnyPoolOptions};
use sqlx::{AnyConnection, AnyPool, ConnectOptions, Connection, Executor};
use tokio::sync::{Mutex, OwnedMutexGuard};

use super::board::Touched;
use super::intake::Lane;
use super::open::StoreError;

/// Enough for the operator's questions while the engine reads.
const READERS_MAX: u32 = 4;
/// How long a question waits for its connection.
const READER_WAIT: Duration = Duration::from_secs(10);
/// Names the advisory lock that one settler holds on its PostgreSQL database: "settler\0" in ASCII.
const ADVISORY_LOCK: i64 = 0x7365_7474_6c65_7200;

/// The writer's settings in SQLite.
/// - `synchronous = full`: a commit is on the disk before it returns.
/// - `busy_timeout`: a backup, or a person at the file, may hold the write lock for a moment.
/// - `cache_size`: 64 MiB. Vouchers of a million lanes land on random pages, which should be found in memory.
/// - `wal_autocheckpoint`: every 32 MiB of log. A page that many commits change is copied into the file once.
/// - `journal_size_limit`: after a checkpoint the log is cut back to what a busy second fills.
const SQLITE_WRITER: &str = "pragma journal_mode = wal;
    pragma synchronous = full;
    pragma foreign_keys = on;
    pragma busy_timeout = 10000;
    pragma cache_size = -65536;
    pragma wal_autocheckpoint = 8192;
    pragma journal_size_limit = 67108864;";
/// What a session of PostgreSQL that writes relies on, whatever the server's own settings are. A server with
/// `fsync = off` cannot be helped.
const POSTGRES_WRITER: &str = "set synchronous_commit = on";
/// Half of each page is left free: a larger voucher is written beside the one that it replaces, and no index is touched. No
/// column that such an update changes is in an index.
const POSTGRES_TABLES: &str = "alter table vouchers set (fillfactor = 50)";
/// Several statements of one reading see one state, as in SQLite.
const POSTGRES_READER: &str = "set default_transaction_isolation = 'repeatable read';
    set default_transaction_read_only = on;";

/// Which of the two.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Sqlite,
    Postgres,
}

/// A database that can be connected to. Its options hold the password: not to be printed.
pub(super) struct Database {
    kind: Kind,
    writing: AnyConnectOptions,
    reading: AnyConnectOptions,
    /// The file, if it is one.
    file: Option<PathBuf>,
}

impl Database {
    /// What a `sqlite:` or `postgres:` URL names.
    pub(super) fn at(url: &str) -> Result<Self, StoreError> {
        sqlx::any::install_default_drivers();
        if let Some(path) = url.strip_prefix("sqlite:") {
            let path = path.strip_prefix("//").unwrap_or(path);
            let path = path.split_once('?').map_or(path, |(path, _)| path);
            if path.is_empty() || path == ":memory:" {
                return Err(StoreError::Url("an intent log has to be a file"));
            }
            let file = std::path::absolute(path).map_err(sqlx::Error::Io)?;
            let url = url::Url::from_file_path(&file).map_err(|()| StoreError::Url("not a path"))?;
            let options = |mode| format!("sqlite://{}?mode={mode}", url.path()).parse::<AnyConnectOptions>();
            return Ok(Self {
                kind: Kind::Sqlite,
                writing: options("rwc")?,
                reading: options("ro")?,
                file: Some(file),
            });
        }
        let url = url::Url::parse(url).map_err(|_| StoreError::Url("neither sqlite:FILE nor postgres://…"))?;
        if !matches!(url.scheme(), "postgres" | "postgresql") {
            return Err(StoreError::Url("neither sqlite:FILE nor postgres://…"));
        }
        let options = AnyConnectOptions::from_url(&url)?;
        Ok(Self { kind: Kind::Postgres, writing: options.clone(), reading: options, file: None })
    }

    /// The lock that keeps a second settler from the file. The system lets go of it however the process ends.
    fn lock(&self) -> Result<Option<File>, StoreError> {
        let Some(file) = &self.file else { return Ok(None) };
        let mut path = file.clone().into_os_string();
        path.push(".lock");
        let file = File::options().create(true).truncate(false).write(true).open(Path::new(&path));
        let file = file.map_err(sqlx::Error::Io)?;
        match file.try_lock() {
            Ok(()) => Ok(Some(file)),
            Err(TryLockError::WouldBlock) => Err(StoreError::Taken),
            Err(TryLockError::Error(error)) => Err(sqlx::Error::Io(error).into()),
        }
    }

    /// The connection of the one that writes. In PostgreSQL it holds the lock for as long as it lives.
    async fn writer(&self) -> Result<AnyConnection, StoreError> {
        let mut connection = self.writing.connect().await?;
        match self.kind {
            Kind::Sqlite => {
                connection.execute(SQLITE_WRITER).await?;
            }
            Kind::Postgres => {
                connection.execute(POSTGRES_WRITER).await?;
                let alone: bool = sqlx::query_scalar("select pg_try_advisory_lock($1)")
                    .bind(ADVISORY_LOCK)
                    .fetch_one(&mut connection)
                    .await?;
                if !alone {
                    return Err(StoreError::Taken);
                }
            }
        }
        Ok(connection)
    }

    /// Copies an SQLite file as it is at one moment, beside whoever writes it, and waits until the copy is on the disk.
    pub(super) async fn copy_to(&self, copy: &Path) -> Result<(), StoreError> {
        let kept = self.file.as_deref().is_some_and(Path::exists);
        let copy_text = copy.to_str().filter(|_| kept).ok_or(match self.kind {
            Kind::Sqlite => StoreError::Url("there is no such file"),
            Kind::Postgres => StoreError::Url("PostgreSQL is copied with pg_dump"),
        })?;
        let mut connection = self.reading.connect().await?;
        sqlx::query("vacuum into $1").bind(copy_text).execute(&mut connection).await?;
        connection.close().await?;
        Ok(File::open(copy).and_then(|file| file.sync_all()).map_err(sqlx::Error::Io)?)
    }

    /// Connections for reading only.
    pub(super) async fn readers(&self) -> Result<AnyPool, StoreError> {
        let kind = self.kind;
        let pool = AnyPoolOptions::new().max_connections(READERS_MAX).acquire_timeout(READER_WAIT);
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

/// The one connection that writes, and those that wait for it in order.
#[derive(Clone)]
pub(super) struct Writer {
    database: Arc<Database>,
    slot: Arc<Mutex<Slot>>,
    /// Held until the log is closed or nobody has it any more.
    lock: Arc<std::sync::Mutex<Option<File>>>,
    is_abandoned: Arc<AtomicBool>,
    /// Lanes whose rows changed since they were last read.
    pub(super) touched: Arc<Touched>,
}

#[derive(Default)]
struct Slot {
    /// None before the first write, and after the database was lost.
    connection: Option<AnyConnection>,
    /// A transaction was begun, and nobody has seen its end.
    is_open: bool,
    is_closed: bool,
}

impl Writer {
    /// On which of the two.
    pub(super) fn kind(&self) -> Kind {
        self.database.kind
    }

    /// Takes the file's lock, if it is a file.
    pub(super) fn new(database: Arc<Database>) -> Result<Self, StoreError> {
        let lock = Arc::new(std::sync::Mutex::new(database.lock()?));
        Ok(Self { database, slot: Arc::default(), lock, is_abandoned: Arc::default(), touched: Arc::default() })
    }

    /// Starts a transaction that holds the write lock from its first statement on, so that what it reads stays true until
    /// it commits. Dropped, it is undone.
    pub(super) async fn begin(&self) -> Result<Write, StoreError> {
        let mut slot = Arc::clone(&self.slot).lock_owned().await;
        if slot.is_closed || self.is_abandoned.load(Ordering::Acquire) {
            return Err(StoreError::Closed);
        }
        let connection = match slot.connection.take() {
            Some(mut connection) if slot.is_open => {
                // What a caller left when it went away in the middle. Without a transaction this fails or warns.
                let _ = connection.execute("rollback").await;
                connection.ping().await.is_ok().then_some(connection)
            }
            kept => kept,
        };
        let mut connection = match connection {
            Some(connection) => connection,
            None => self.database.writer().await?,
        };
        slot.is_open = true;
        let statement = match self.database.kind {
            Kind::Sqlite => "begin immediate",
            Kind::Postgres => "begin",
        };
        let begun = connection.execute(statement).await;
        slot.connection = Some(connection);
        begun?;
        Ok(Write {
            kind: self.database.kind,
            slot,
            is_abandoned: Arc::clone(&self.is_abandoned),
            lanes: Vec::new(),
            touches_all: false,
            touched: Arc::clone(&self.touched),
        })
    }

    /// Has PostgreSQL count what is in the tables that grow with the lanes. By itself it does so a minute after they grew,
    /// and until then it may read all of a table for each of many rows. SQLite plans without counting.
    pub(super) async fn analyze(&self) -> Result<(), StoreError> {
        if self.kind() == Kind::Sqlite {
            return Ok(());
        }
        let mut transaction = self.begin().await?;
        transaction.execute("analyze lanes, vouchers").await?;
        transaction.commit().await
    }

    /// Opens the connection and brings the tables up to date.
    pub(super) async fn migrate(&self, migrations: &sqlx::migrate::Migrator) -> Result<(), StoreError> {
        let mut slot = self.slot.lock().await;
        let connection = slot.connection.insert(self.database.writer().await?);
        migrations.run(&mut *connection).await?;
        if self.database.kind == Kind::Postgres {
            connection.execute(POSTGRES_TABLES).await?;
        }
        Ok(())
    }

    /// Waits for what runs, closes the connection and begins nothing more.
    pub(super) async fn close(&self) {
        let mut slot = self.slot.lock().await;
        slot.is_closed = true;
        if let Some(connection) = slot.connection.take()
            && let Err(error) = connection.close().await
        {
            tracing::warn!(%error, "the log did not close cleanly");
        }
        self.unlock();
    }

    /// Lets go of the database at once, as the end of the process would: what is under way is undone, nothing more begins.
    pub(super) fn abandon(&self) {
        self.is_abandoned.store(true, Ordering::Release);
        // Whoever holds it drops the connection himself.
        if let Ok(mut slot) = self.slot.try_lock() {
            slot.connection = None;
        }
        self.unlock();
    }

    fn unlock(&self) {
        *self.lock.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }
}

/// A transaction under way on the one connection that writes.
pub(super) struct Write {
    kind: Kind,
    slot: OwnedMutexGuard<Slot>,
    is_abandoned: Arc<AtomicBool>,
    lanes: Vec<Lane>,
    touches_all: bool,
    touched: Arc<Touched>,
}

impl Write {
    /// On which of the two.
    pub(super) const fn kind(&self) -> Kind {
        self.kind
    }

    /// Something that the planner knows of this lane changes.
    pub(super) fn touch(&mut self, lane: Lane) {
        self.lanes.push(lane);
    }

    /// The same for every lane.
    pub(super) fn touch_all(&mut self) {
        self.touches_all = true;
    }

    /// Makes it last. After a failure nobody knows; the next to begin undoes what is left of it.
    pub(super) async fn commit(mut self) -> Result<(), StoreError> {
        if self.is_abandoned.load(Ordering::Acquire) {
            return Err(StoreError::Closed);
        }
        self.execute("commit").await?;
        self.slot.is_open = false;
        Ok(())
    }
}

impl Drop for Write {
    /// Whatever became of it: to read a lane once too often does no harm.
    fn drop(&mut self) {
        if self.is_abandoned.load(Ordering::Acquire) {
            self.slot.connection = None;
        }
        match self.touches_all {
            true => self.touched.add_all(),
            false => self.touched.add(&self.lanes),
        }
    }
}

impl Deref for Write {
    type Target = AnyConnection;

    fn deref(&self) -> &AnyConnection {
        self.slot.connection.as_ref().expect("a transaction was begun on it")
    }
}

impl DerefMut for Write {
    fn deref_mut(&mut self) -> &mut AnyConnection {
        self.slot.connection.as_mut().expect("a transaction was begun on it")
    }
}
