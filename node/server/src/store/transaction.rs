//! Closures in one transaction of the writer, each in a savepoint.

use alloy::primitives::Address;
use futures_util::future::BoxFuture;
use sqlx::Executor;

use super::{Connection, StoreError};

/// Tells a caller what became of its write, once it is known whether the transaction was committed.
pub(super) type Finish = Box<dyn FnOnce(Result<(), StoreError>) + Send>;
/// Gives whether its changes are to stand.
pub(super) type Run = Box<dyn for<'c> FnOnce(&'c mut Connection) -> BoxFuture<'c, (bool, Finish)> + Send>;

/// A write.
pub(super) struct Work {
    pub(super) run: Run,
    pub(super) touch: Touch,
}

/// What a write may change of what arrivals are judged on. What is touched is read again: a few writes that come all the time
/// say that they touch little, and the tests hold them to it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Touch {
    /// Arrivals go on beside it.
    Nothing,
    /// The account of this payer, and it only so that there is more room on it afterwards. Arrivals go on beside it: for what
    /// there was room before, there is room after.
    Room(Address),
    /// The account that this wallet is on, and what is owed to relays. No arrival is judged before it is done.
    AccountOf(Address),
    /// No arrival is judged before it is done.
    Everything,
}

impl Touch {
    /// Whether no arrival is judged before it is done.
    pub(super) const fn is_exclusive(self) -> bool {
        matches!(self, Self::AccountOf(_) | Self::Everything)
    }

    /// On whose account it makes room beside arrivals.
    pub(super) const fn room(self) -> Option<Address> {
        match self {
            Self::Room(payer) => Some(payer),
            Self::Nothing | Self::AccountOf(_) | Self::Everything => None,
        }
    }
}

/// Runs them in the transaction that is open, whose commit ends the last savepoint too. Refused work leaves no trace.
pub(super) async fn run(
    connection: &mut Connection,
    works: Vec<Work>,
    finishes: &mut Vec<Finish>,
) -> Result<(), sqlx::Error> {
    let mut next = "savepoint work";
    for work in works {
        connection.execute(next).await?;
        let (kept, finish) = (work.run)(connection).await;
        finishes.push(finish);
        if !kept {
            connection.execute("rollback to work").await?;
        }
        next = "release work; savepoint work";
    }
    Ok(())
}
