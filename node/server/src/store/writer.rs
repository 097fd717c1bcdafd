//! The single writer. Writes are queued as closures; the task takes what is queued, runs each inside a savepoint of
//! one transaction, commits once, and only then answers them all. So one `fsync` serves many callers, a write that
//! fails leaves the others alone, and no one is told of a change that a power cut could lose (law 8).

use futures_util::future::BoxFuture;
use sqlx::{Connection as _, Executor};
use tokio::{
    sync::{mpsc, oneshot},
    task::JoinHandle,
};

use super::{Connection, StoreError};

/// Writes waiting at most. With packets of a mebibyte this bounds the memory held by the queue.
const QUEUE_LENGTH_MAX: usize = 256;
/// Writes in one transaction at most: bounds how long the first of them waits for the last.
const BATCH_LENGTH_MAX: usize = 64;

type Finish = Box<dyn FnOnce(Result<(), StoreError>) + Send>;
type Work = Box<dyn for<'c> FnOnce(&'c mut Connection) -> BoxFuture<'c, (bool, Finish)> + Send>;

enum Job {
    Work(Work),
    Close(oneshot::Sender<()>),
}

/// The entrance to the writer task.
#[derive(Clone, Debug)]
pub(crate) struct Writer {
    queue: mpsc::Sender<Job>,
}

impl Writer {
    pub(super) fn start(connection: Connection) -> (Self, JoinHandle<()>) {
        let (queue, jobs) = mpsc::channel(QUEUE_LENGTH_MAX);
        (Self { queue }, tokio::spawn(run(connection, jobs)))
    }

    /// Runs `work` in the next transaction and answers after its commit. An `Err` of `work` undoes what it changed.
    /// Refuses at once when the queue is full, so that a stranger's packet is turned away instead of piling up.
    pub(crate) async fn write<T, F>(&self, work: F) -> Result<T, StoreError>
    where
        T: Send + 'static,
        F: for<'c> FnOnce(&'c mut Connection) -> BoxFuture<'c, Result<T, StoreError>> + Send + 'static,
    {
        let (job, answer) = job(work);
        self.queue.try_send(job).map_err(|error| match error {
            mpsc::error::TrySendError::Full(_) => StoreError::Busy,
            mpsc::error::TrySendError::Closed(_) => StoreError::Closed,
        })?;
        answer.await.map_err(|_| StoreError::Closed)?
    }

    /// As `write`, but waits for room in the queue: for work the node owes itself.
    pub(crate) async fn write_patiently<T, F>(&self, work: F) -> Result<T, StoreError>
    where
        T: Send + 'static,
        F: for<'c> FnOnce(&'c mut Connection) -> BoxFuture<'c, Result<T, StoreError>> + Send + 'static,
    {
        let (job, answer) = job(work);
        self.queue.send(job).await.map_err(|_| StoreError::Closed)?;
        answer.await.map_err(|_| StoreError::Closed)?
    }

    /// Whether nothing can be written any more.
    pub(crate) fn has_stopped(&self) -> bool {
        self.queue.is_closed()
    }

    /// Returns when everything queued before is committed; the task has ended then.
    pub(super) async fn close(&self) {
        let (done, finished) = oneshot::channel();
        if self.queue.send(Job::Close(done)).await.is_ok() {
            let _ = finished.await;
        }
    }
}

fn job<T, F>(work: F) -> (Job, oneshot::Receiver<Result<T, StoreError>>)
where
    T: Send + 'static,
    F: for<'c> FnOnce(&'c mut Connection) -> BoxFuture<'c, Result<T, StoreError>> + Send + 'static,
{
    let (answer, answered) = oneshot::channel();
    let work: Work = Box::new(move |connection| {
        Box::pin(async move {
            let outcome = work(connection).await;
            let kept = outcome.is_ok();
            let finish: Finish = Box::new(move |committed| {
                // The caller may have gone away; its write stands all the same.
                let _ = answer.send(committed.and(outcome));
            });
            (kept, finish)
        })
    });
    (Job::Work(work), answered)
}

async fn run(mut connection: Connection, mut jobs: mpsc::Receiver<Job>) {
    let mut batch = Vec::with_capacity(BATCH_LENGTH_MAX);
    let mut closing = None;
    while closing.is_none() && jobs.recv_many(&mut batch, BATCH_LENGTH_MAX).await > 0 {
        let mut works = Vec::with_capacity(batch.len());
        for job in batch.drain(..) {
            match job {
                Job::Work(work) => works.push(work),
                Job::Close(done) => closing = Some(done),
            }
        }
        let mut finishes = Vec::with_capacity(works.len());
        let committed = commit(&mut connection, works, &mut finishes).await;
        if let Err(error) = &committed {
            tracing::error!(%error, writes = finishes.len(), "a transaction was not committed");
        }
        for finish in finishes {
            finish(if committed.is_ok() { Ok(()) } else { Err(StoreError::NotCommitted) });
        }
    }
    if let Err(error) = connection.close().await {
        tracing::warn!(%error, "the store did not close cleanly");
    }
    if let Some(done) = closing {
        let _ = done.send(());
    }
}

async fn commit(connection: &mut Connection, works: Vec<Work>, finishes: &mut Vec<Finish>) -> Result<(), sqlx::Error> {
    connection.execute("begin").await?;
    for work in works {
        if let Err(error) = connection.execute("savepoint work").await {
            let _ = connection.execute("rollback").await;
            return Err(error);
        }
        let (kept, finish) = work(connection).await;
        finishes.push(finish);
        let end = if kept { "release work" } else { "rollback to work; release work" };
        if let Err(error) = connection.execute(end).await {
            let _ = connection.execute("rollback").await;
            return Err(error);
        }
    }
    if let Err(error) = connection.execute("commit").await {
        let _ = connection.execute("rollback").await;
        return Err(error);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::super::{StoreError, testing};

    #[tokio::test]
    async fn a_failed_write_leaves_its_neighbours_alone() {
        let (store, _folder) = testing::store().await;
        let insert = |version: i64, fails: bool| {
            let store = store.clone();
            async move {
                store
                    .writer()
                    .write(move |connection| {
                        Box::pin(async move {
                            sqlx::query("insert into tariffs values ($1, '0', '0', '0')")
                                .bind(version)
                                .execute(&mut *connection)
                                .await?;
                            if fails { Err(StoreError::Range("told to fail")) } else { Ok(()) }
                        })
                    })
                    .await
            }
        };
        let (first, second, third) = tokio::join!(insert(1, false), insert(2, true), insert(3, false));
        assert!(first.is_ok() && third.is_ok());
        assert!(matches!(second, Err(StoreError::Range(_))));
        let versions: Vec<i64> = sqlx::query_scalar("select version from tariffs order by version")
            .fetch_all(store.readers())
            .await
            .expect("readable");
        assert_eq!(versions, [1, 3]);
    }

    #[tokio::test]
    async fn close_commits_what_was_queued_and_refuses_the_rest() {
        let (store, _folder) = testing::store().await;
        assert!(!store.writer().has_stopped());
        store.close().await;
        assert!(store.writer().has_stopped());
        let refused = store.writer().write(|_| Box::pin(async { Ok(()) })).await;
        assert!(matches!(refused, Err(StoreError::Closed)));
    }
}
