//! The single writer. Arrivals and other writes are queued; the task takes what is queued, runs all of it in one
//! transaction, commits once, and only then answers. So one `fsync` serves many callers, a write that fails leaves the
//! others alone, and no one is told of a change that a power cut could lose (law 8).

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use futures_util::future::BoxFuture;
use metrics::Counter;
use sqlx::{Connection as _, Executor};
use tokio::{
    sync::{mpsc, oneshot},
    task::JoinHandle,
    time::Instant,
};

use super::{
    Connection, StoreError,
    arrivals::{Arrival, Stored},
    compaction,
    database::Database,
    packets::Waiting,
    transaction::{Finish, Outcomes, Work, transact},
};
use crate::{
    http::subscribe::Subscriptions,
    metrics::{Limit, Metrics},
};

/// Writes waiting at most. With packets of a mebibyte this bounds the memory held by the queue.
pub(crate) const QUEUE_LENGTH_MAX: usize = 256;
/// Writes in one transaction at most: bounds how long the first of them waits for the last.
const BATCH_LENGTH_MAX: usize = 128;
/// How often a store that failed is tried again while nobody writes, so that the node gets well without traffic.
const PROBE_EVERY: Duration = Duration::from_secs(1);

type Answer<T> = oneshot::Sender<Result<T, StoreError>>;

enum Job {
    Work(Work),
    Arrival(Box<Arrival>, Answer<Stored>),
    Compact(Answer<bool>),
    Close(oneshot::Sender<()>),
}

/// Why nothing can be written at the moment, if so.
type Problem = Arc<Mutex<Option<String>>>;

/// The entrance to the writer task.
#[derive(Clone, Debug)]
pub(crate) struct Writer {
    queue: mpsc::Sender<Job>,
    problem: Problem,
    turned_away: Counter,
}

impl Writer {
    pub(super) fn start(
        database: Database,
        connection: Connection,
        subscriptions: Arc<Subscriptions>,
        metrics: Arc<Metrics>,
    ) -> (Self, JoinHandle<()>) {
        let (queue, jobs) = mpsc::channel(QUEUE_LENGTH_MAX);
        let problem = Problem::default();
        let turned_away = metrics.limit_reached.of(Limit::WriterQueue).clone();
        let task = Task {
            database,
            connection: Some(connection),
            subscriptions,
            metrics,
            problem: Arc::clone(&problem),
            probed_at: Instant::now(),
        };
        (Self { queue, problem, turned_away }, tokio::spawn(task.run(jobs)))
    }

    /// Stores a packet in the next transaction and answers after its commit. A subscription of its wallet hears of it
    /// first. Refuses at once when the queue is full, so that a stranger's packet is turned away instead of piling up.
    pub(crate) async fn arrive(&self, arrival: Arrival) -> Result<Stored, StoreError> {
        let (answer, answered) = oneshot::channel();
        self.try_queue(Job::Arrival(Box::new(arrival), answer))?;
        answered.await.map_err(|_| StoreError::Closed)?
    }

    /// Runs `work` in the next transaction and answers after its commit. An `Err` of `work` undoes what it changed.
    /// Refuses at once when the queue is full.
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
        let (job, answered) = job(work, then);
        self.try_queue(job)?;
        answered.await.map_err(|_| StoreError::Closed)?
    }

    /// As `write`, but waits for room in the queue: for work the node owes itself.
    pub(crate) async fn write_patiently<T, F>(&self, work: F) -> Result<T, StoreError>
    where
        T: Send + 'static,
        F: for<'c> FnOnce(&'c mut Connection) -> BoxFuture<'c, Result<T, StoreError>> + Send + 'static,
    {
        let (job, answered) = job(work, |_| ());
        self.queue.send(job).await.map_err(|_| StoreError::Closed)?;
        answered.await.map_err(|_| StoreError::Closed)?
    }

    /// Gives some space that deletions left back to the file system. Whether there is more.
    pub(crate) async fn compact(&self) -> Result<bool, StoreError> {
        let (answer, answered) = oneshot::channel();
        self.queue.send(Job::Compact(answer)).await.map_err(|_| StoreError::Closed)?;
        answered.await.map_err(|_| StoreError::Closed)?
    }

    fn try_queue(&self, job: Job) -> Result<(), StoreError> {
        self.queue.try_send(job).map_err(|error| match error {
            mpsc::error::TrySendError::Full(_) => {
                self.turned_away.increment(1);
                StoreError::Busy
            }
            mpsc::error::TrySendError::Closed(_) => StoreError::Closed,
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
        self.problem.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Returns when everything queued before is committed; the task has ended then.
    pub(super) async fn close(&self) {
        let (done, finished) = oneshot::channel();
        if self.queue.send(Job::Close(done)).await.is_ok() {
            let _ = finished.await;
        }
    }
}

fn job<T, F, G>(work: F, then: G) -> (Job, oneshot::Receiver<Result<T, StoreError>>)
where
    T: Send + 'static,
    F: for<'c> FnOnce(&'c mut Connection) -> BoxFuture<'c, Result<T, StoreError>> + Send + 'static,
    G: FnOnce(&T) + Send + 'static,
{
    let (answer, answered) = oneshot::channel();
    let work: Work = Box::new(move |connection| {
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
    (Job::Work(work), answered)
}

/// The jobs of one transaction, by kind. Callers wait for their answers, so none depends on another of the same batch,
/// and any order among them is as good.
#[derive(Default)]
struct Batch {
    works: Vec<Work>,
    arrivals: Vec<Arrival>,
    answers: Vec<Answer<Stored>>,
    compactions: Vec<Answer<bool>>,
    closing: Option<oneshot::Sender<()>>,
}

impl Batch {
    fn sorted(jobs: impl Iterator<Item = Job>) -> Self {
        let mut batch = Self::default();
        for job in jobs {
            match job {
                Job::Work(work) => batch.works.push(work),
                Job::Arrival(arrival, answer) => {
                    batch.arrivals.push(*arrival);
                    batch.answers.push(answer);
                }
                Job::Compact(answer) => batch.compactions.push(answer),
                Job::Close(done) => batch.closing = Some(done),
            }
        }
        batch
    }
}

struct Task {
    database: Database,
    /// None while the database cannot be reached.
    connection: Option<Connection>,
    subscriptions: Arc<Subscriptions>,
    metrics: Arc<Metrics>,
    problem: Problem,
    probed_at: Instant,
}

impl Task {
    async fn run(mut self, mut jobs: mpsc::Receiver<Job>) {
        let mut queued = Vec::with_capacity(BATCH_LENGTH_MAX);
        loop {
            if self.has_problem() && self.probed_at.elapsed() >= PROBE_EVERY {
                self.probe().await;
            }
            let more = jobs.recv_many(&mut queued, BATCH_LENGTH_MAX);
            let count = match self.has_problem() {
                true => tokio::time::timeout(PROBE_EVERY, more).await,
                false => Ok(more.await),
            };
            match count {
                Ok(0) => break,
                Ok(_) => {}
                Err(_) => continue,
            }
            let mut batch = Batch::sorted(queued.drain(..));
            let closing = batch.closing.take();
            let compactions = std::mem::take(&mut batch.compactions);
            self.settle(batch).await;
            for answer in compactions {
                let _ = answer.send(self.compact().await);
            }
            if let Some(done) = closing {
                self.close().await;
                let _ = done.send(());
                return;
            }
        }
        self.close().await;
    }

    async fn close(&mut self) {
        if let Some(connection) = self.connection.take()
            && let Err(error) = connection.close().await
        {
            tracing::warn!(%error, "the store did not close cleanly");
        }
    }

    /// Runs the batch and answers everybody in it.
    async fn settle(&mut self, batch: Batch) {
        let Batch { works, arrivals, answers, .. } = batch;
        if works.is_empty() && arrivals.is_empty() {
            return;
        }
        let mut outcomes = Outcomes::default();
        let began = Instant::now();
        let writes = u32::try_from(works.len() + arrivals.len()).unwrap_or(u32::MAX);
        let committed = self.commit(works, &arrivals, &mut outcomes).await;
        self.metrics.commit_seconds.record(began.elapsed());
        self.metrics.batch_writes.record(writes);
        let full = outcomes.stored.iter().find_map(|stored| match stored {
            Err(StoreError::Database(error)) => Some(error.to_string()),
            _ => None,
        });
        let problem = committed.as_ref().err().map(ToString::to_string).or(full);
        if let Some(problem) = &problem {
            tracing::error!(problem, arrivals = arrivals.len(), "what came in was not stored");
        }
        if problem.is_some() {
            self.note(problem);
        }
        let committed = || if committed.is_ok() { Ok(()) } else { Err(StoreError::NotCommitted) };
        for finish in outcomes.finishes {
            finish(committed());
        }
        let nothing = std::iter::repeat_with(|| Err(StoreError::NotCommitted));
        let stored: Vec<_> = match committed() {
            Ok(()) => outcomes.stored,
            Err(_) => nothing.take(arrivals.len()).collect(),
        };
        for (arrival, stored) in arrivals.iter().zip(&stored) {
            if let Ok(Stored::New { seq }) = stored {
                self.subscriptions.publish(arrival.wallet, Waiting::of(arrival, *seq));
            }
        }
        for (answer, stored) in answers.into_iter().zip(stored) {
            let _ = answer.send(stored);
        }
    }

    /// The connection, opened anew if it was lost.
    async fn connection(&mut self) -> Result<&mut Connection, StoreError> {
        if self.connection.is_none() {
            self.connection = Some(self.database.writer().await?);
        }
        self.connection.as_mut().ok_or(StoreError::NotCommitted)
    }

    /// All of it in one transaction. After a failure nothing of it stands, as far as this node can know.
    async fn commit(
        &mut self,
        works: Vec<Work>,
        arrivals: &[Arrival],
        outcomes: &mut Outcomes,
    ) -> Result<(), StoreError> {
        let connection = self.connection().await?;
        let done = transact(connection, works, arrivals, outcomes).await;
        if done.is_err() {
            let _ = connection.execute("rollback").await;
            if connection.ping().await.is_err() {
                self.connection = None;
            }
        }
        Ok(done?)
    }

    async fn compact(&mut self) -> Result<bool, StoreError> {
        let kind = self.database.kind();
        compaction::step(self.connection().await?, kind).await
    }

    fn has_problem(&self) -> bool {
        self.problem.lock().unwrap_or_else(PoisonError::into_inner).is_some()
    }

    fn note(&self, problem: Option<String>) {
        *self.problem.lock().unwrap_or_else(PoisonError::into_inner) = problem;
    }

    /// Writes something, to learn whether that is possible again: a transaction that changes nothing goes well on a full
    /// disk too.
    async fn probe(&mut self) {
        let (pulse, mut answered) = job(|connection| Box::pin(super::pulse(connection)), |()| ());
        self.settle(Batch::sorted(std::iter::once(pulse))).await;
        self.probed_at = Instant::now();
        if let Ok(Ok(())) = answered.try_recv() {
            tracing::info!("the store can be written again");
            self.note(None);
        }
    }
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
