//! The entrance to the single writer: arrivals and other writes are queued for its `task`, and answered after their commit.

use std::{
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use futures_util::future::BoxFuture;
use metrics::Counter;
use tokio::{
    sync::{
        mpsc::{self, error::SendTimeoutError},
        oneshot,
    },
    task::JoinHandle,
};

use super::{
    Audience, Connection, StoreError,
    arrivals::{Arrival, Stored},
    database::Database,
    ledger::Ledger,
    task::Task,
    transaction::{Finish, Run, Touch, Work},
};
use crate::metrics::{Limit, Metrics};

/// Writes waiting at most: more than there are requests in work, each of which may hold a packet of a mebibyte, so that
/// these bound the memory; streams that want to bill wait without one.
pub(crate) const QUEUE_LENGTH_MAX: usize = 1_024;
/// How long a write that somebody else asked for waits for room in the queue: some commits, after which a crowd is past or
/// is more than this machine can do.
const ROOM_WITHIN: Duration = Duration::from_millis(100);

pub(super) type Answer<T> = oneshot::Sender<Result<T, StoreError>>;

/// What the task is asked to do.
pub(super) enum Job {
    Work(Work),
    Arrival(Box<Arrival>, Answer<Stored>),
    Compact(Answer<bool>),
    /// Runs a statement outside of any transaction.
    #[cfg(test)]
    Execute(String, Answer<()>),
    Close(oneshot::Sender<()>),
}

/// What callers see of the task without asking it.
#[derive(Debug, Default)]
pub(super) struct Condition {
    /// Why nothing can be written at the moment, if so.
    problem: Mutex<Option<String>>,
    /// Whether something that was let in may not be in the tables yet.
    is_behind: AtomicBool,
}

impl Condition {
    pub(super) fn problem(&self) -> Option<String> {
        self.problem.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub(super) fn has_problem(&self) -> bool {
        self.problem.lock().unwrap_or_else(PoisonError::into_inner).is_some()
    }

    pub(super) fn note(&self, problem: Option<String>) {
        *self.problem.lock().unwrap_or_else(PoisonError::into_inner) = problem;
    }

    pub(super) fn set_behind(&self, is_behind: bool) {
        self.is_behind.store(is_behind, Ordering::Release);
    }
}

/// The entrance to the writer task.
#[derive(Clone, Debug)]
pub(crate) struct Writer {
    queue: mpsc::Sender<Job>,
    condition: Arc<Condition>,
    turned_away: Counter,
    /// Of what it writes.
    touch: Touch,
}

impl Writer {
    pub(super) fn start(
        database: Database,
        ledger: Ledger,
        audience: Arc<dyn Audience>,
        metrics: Arc<Metrics>,
    ) -> (Self, JoinHandle<()>) {
        let (queue, jobs) = mpsc::channel(QUEUE_LENGTH_MAX);
        let condition = Arc::<Condition>::default();
        let turned_away = metrics.limit_reached.of(Limit::WriterQueue).clone();
        let task = Task::new(database, ledger, audience, metrics, Arc::clone(&condition));
        (Self { queue, condition, turned_away, touch: Touch::Everything }, tokio::spawn(task.run(jobs)))
    }

    /// For a write that touches no more than this of what arrivals are judged on.
    pub(crate) fn touching(&self, touch: Touch) -> Self {
        Self { touch, ..self.clone() }
    }

    /// Stores a packet durably and answers then. Who listens to its wallet hears of it first. Refuses when there is no room
    /// in the queue for a while, so that a stranger's packet is turned away instead of piling up.
    pub(crate) async fn arrive(&self, arrival: Arrival) -> Result<Stored, StoreError> {
        let (answer, answered) = oneshot::channel();
        self.enqueue(Job::Arrival(Box::new(arrival), answer)).await?;
        answered.await.map_err(|_| self.unanswered())?
    }

    /// Runs `work` in the next transaction and answers after its commit. An `Err` of `work` undoes what it changed.
    /// Refuses when there is no room in the queue for a while.
    pub(crate) async fn write<T, F>(&self, work: F) -> Result<T, StoreError>
    where
        T: Send + 'static,
        F: for<'c> FnOnce(&'c mut Connection) -> BoxFuture<'c, Result<T, StoreError>> + Send + 'static,
    {
        self.write_then(work, |_| ()).await
    }

    /// As `write`, and calls `then` with the outcome after the commit, before the answer and in the order of commits:
    /// for what memory holds beside the database.
    pub(super) async fn write_then<T, F, G>(&self, work: F, then: G) -> Result<T, StoreError>
    where
        T: Send + 'static,
        F: for<'c> FnOnce(&'c mut Connection) -> BoxFuture<'c, Result<T, StoreError>> + Send + 'static,
        G: FnOnce(&T) + Send + 'static,
    {
        let (job, answered) = job(self.touch, work, then);
        self.enqueue(job).await?;
        answered.await.map_err(|_| self.unanswered())?
    }

    /// As `write`, but waits for room in the queue: for work the node owes itself.
    pub(crate) async fn write_patiently<T, F>(&self, work: F) -> Result<T, StoreError>
    where
        T: Send + 'static,
        F: for<'c> FnOnce(&'c mut Connection) -> BoxFuture<'c, Result<T, StoreError>> + Send + 'static,
    {
        let (job, answered) = job(self.touch, work, |_| ());
        self.queue.send(job).await.map_err(|_| StoreError::Closed)?;
        answered.await.map_err(|_| self.unanswered())?
    }

    /// Whether everything that was let in before is in the tables.
    pub(crate) fn is_caught_up(&self) -> bool {
        !self.condition.is_behind.load(Ordering::Acquire)
    }

    /// Returns when everything that was let in before is in the tables: for who reads them and must miss nothing.
    pub(crate) async fn catch_up(&self) -> Result<(), StoreError> {
        if self.is_caught_up() {
            return Ok(());
        }
        self.touching(Touch::Nothing).write_patiently(|_| Box::pin(async { Ok(()) })).await
    }

    /// Gives some space that deletions left back to the file system. Whether there is more.
    pub(crate) async fn compact(&self) -> Result<bool, StoreError> {
        let (answer, answered) = oneshot::channel();
        self.queue.send(Job::Compact(answer)).await.map_err(|_| StoreError::Closed)?;
        answered.await.map_err(|_| self.unanswered())?
    }

    #[cfg(test)]
    pub(super) async fn execute(&self, statement: String) -> Result<(), StoreError> {
        let (answer, answered) = oneshot::channel();
        self.queue.send(Job::Execute(statement, answer)).await.map_err(|_| StoreError::Closed)?;
        answered.await.map_err(|_| self.unanswered())?
    }

    /// Why nobody answers: what a transaction that could not even begin was to do is dropped.
    fn unanswered(&self) -> StoreError {
        if self.has_stopped() { StoreError::Closed } else { StoreError::NotCommitted }
    }

    async fn enqueue(&self, job: Job) -> Result<(), StoreError> {
        self.queue.send_timeout(job, ROOM_WITHIN).await.map_err(|error| match error {
            SendTimeoutError::Timeout(_) => {
                self.turned_away.increment(1);
                StoreError::Busy
            }
            SendTimeoutError::Closed(_) => StoreError::Closed,
        })
    }

    /// Writes waiting.
    pub(crate) fn queued(&self) -> usize {
        QUEUE_LENGTH_MAX - self.queue.capacity()
    }

    /// Whether nothing can be written any more.
    pub(crate) fn has_stopped(&self) -> bool {
        self.queue.is_closed()
    }

    /// Why nothing can be written for the time being, if so.
    pub(crate) fn problem(&self) -> Option<String> {
        self.condition.problem()
    }

    /// Returns when everything queued before is committed; the task has ended then.
    pub(super) async fn close(&self) {
        let (done, finished) = oneshot::channel();
        if self.queue.send(Job::Close(done)).await.is_ok() {
            let _ = finished.await;
        }
    }
}

/// A write as the task runs it, and its answer.
pub(super) fn job<T, F, G>(touch: Touch, work: F, then: G) -> (Job, oneshot::Receiver<Result<T, StoreError>>)
where
    T: Send + 'static,
    F: for<'c> FnOnce(&'c mut Connection) -> BoxFuture<'c, Result<T, StoreError>> + Send + 'static,
    G: FnOnce(&T) + Send + 'static,
{
    let (answer, answered) = oneshot::channel();
    let run: Run = Box::new(move |connection| {
        Box::pin(async move {
            let outcome = work(connection).await;
            let kept = outcome.is_ok();
            let finish: Finish = Box::new(move |committed| {
                let outcome = committed.and(outcome);
                if let Ok(value) = &outcome {
                    then(value);
                }
                // The caller may have gone away; its write stands all the same.
                let _ = answer.send(outcome);
            });
            (kept, finish)
        })
    });
    (Job::Work(Work { run, touch }), answered)
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
        let (first, second, third, last) =
            tokio::join!(insert(1, false), insert(2, true), insert(3, false), insert(4, true));
        assert!(first.is_ok() && third.is_ok());
        assert!(matches!((second, last), (Err(StoreError::Range(_)), Err(StoreError::Range(_)))));
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
