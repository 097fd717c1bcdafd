//! Closures in one transaction of the writer, each in a savepoint.

use futures_util::future::BoxFuture;
use sqlx::Executor;

use super::{Connection, StoreError};

/// Tells a caller what became of its write, once it is known whether the transaction was committed.
pub(super) type Finish = Box<dyn FnOnce(Result<(), StoreError>) + Send>;
/// A write. Gives whether its changes are to stand.
pub(super) type Work = Box<dyn for<'c> FnOnce(&'c mut Connection) -> BoxFuture<'c, (bool, Finish)> + Send>;

/// Runs them in the transaction that is open, whose commit ends the last savepoint too. Refused work leaves no trace.
pub(super) async fn run(
    connection: &mut Connection,
    works: Vec<Work>,
    finishes: &mut Vec<Finish>,
) -> Result<(), sqlx::Error> {
    let mut next = "savepoint work";
    for work in works {
        connection.execute(next).await?;
        let (kept, finish) = work(connection).await;
        finishes.push(finish);
        if !kept {
            connection.execute("rollback to work").await?;
        }
        next = "release work; savepoint work";
    }
    Ok(())
}
