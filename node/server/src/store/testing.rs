//! Stores for tests: an SQLite file each, or, when `MINUS_TEST_DATABASE_URL` names a PostgreSQL server, a database each.

use std::sync::atomic::{AtomicU64, Ordering};

use sqlx::{AnyConnection, AssertSqlSafe, Connection, Executor};

use super::Store;
use crate::config::DatabaseUrl;

/// The server whose databases the tests make and leave behind; the one who started it takes it away.
const SERVER_VARIABLE: &str = "MINUS_TEST_DATABASE_URL";

/// A store in a folder that goes with the guard.
pub(crate) async fn store() -> (Store, tempfile::TempDir) {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let url = fresh_database().await;
    let (store, _task) = Store::open(folder.path(), url.as_ref()).await.expect("a fresh store opens");
    (store, folder)
}

/// An empty database on the server, if there is one.
pub(crate) async fn fresh_database() -> Option<DatabaseUrl> {
    static COUNT: AtomicU64 = AtomicU64::new(0);
    let server = std::env::var(SERVER_VARIABLE).ok()?;
    sqlx::any::install_default_drivers();
    let name = format!("test_{}_{}", std::process::id(), COUNT.fetch_add(1, Ordering::Relaxed));
    let mut connection = AnyConnection::connect(&server).await.expect("the server can be reached");
    connection.execute(AssertSqlSafe(format!("create database {name}"))).await.expect("a database can be made");
    connection.close().await.expect("the server is well");
    let mut url: url::Url = server.parse().expect("it was connected to");
    url.set_path(&name);
    Some(url.as_str().parse().expect("it is of PostgreSQL"))
}
