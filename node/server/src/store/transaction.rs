//! One transaction of the writer: closures each in a savepoint, arrivals all together.

use futures_util::future::BoxFuture;
use sqlx::Executor;

use super::{
    Connection, StoreError,
    arrivals::{self, Arrival, Stored},
};

/// Tells a caller what became of its write, once it is known whether the transaction was committed.
pub(super) type Finish = Box<dyn FnOnce(Result<(), StoreError>) + Send>;
/// A write. Gives whether its changes are to stand.
pub(super) type Work = Box<dyn for<'c> FnOnce(&'c mut Connection) -> BoxFuture<'c, (bool, Finish)> + Send>;

/// What a transaction came to, to be told after its commit.
#[derive(Default)]
pub(super) struct Outcomes {
    pub(super) finishes: Vec<Finish>,
    pub(super) stored: Vec<Result<Stored, StoreError>>,
}

/// Runs it all and commits. Refused work and refused arrivals leave no trace; an error leaves the transaction open.
pub(super) async fn transact(
    connection: &mut Connection,
    works: Vec<Work>,
    arrivals: &[Arrival],
    outcomes: &mut Outcomes,
) -> Result<(), sqlx::Error> {
    connection.execute("begin").await?;
    for work in works {
        connection.execute("savepoint work").await?;
        let (kept, finish) = work(connection).await;
        outcomes.finishes.push(finish);
        end_savepoint(connection, kept).await?;
    }
    if !arrivals.is_empty() {
        connection.execute("savepoint work").await?;
        let stored = arrivals::store_many(connection, arrivals).await;
        end_savepoint(connection, stored.is_ok()).await?;
        match stored {
            Ok(stored) => outcomes.stored.extend(stored.into_iter().map(Ok)),
            Err(error) if arrivals.len() == 1 => outcomes.stored.push(Err(error)),
            Err(_) => one_by_one(connection, arrivals, outcomes).await?,
        }
    }
    connection.execute("commit").await?;
    Ok(())
}

/// One of them cannot be stored; the others are not to suffer for it.
async fn one_by_one(
    connection: &mut Connection,
    arrivals: &[Arrival],
    outcomes: &mut Outcomes,
) -> Result<(), sqlx::Error> {
    for arrival in arrivals {
        connection.execute("savepoint work").await?;
        let stored = arrivals::store_many(connection, std::slice::from_ref(arrival)).await;
        end_savepoint(connection, stored.is_ok()).await?;
        outcomes.stored.push(stored.and_then(|stored| stored.first().copied().ok_or(StoreError::Range("outcomes"))));
    }
    Ok(())
}

async fn end_savepoint(connection: &mut Connection, kept: bool) -> Result<(), sqlx::Error> {
    connection.execute(if kept { "release work" } else { "rollback to work; release work" }).await?;
    Ok(())
}
