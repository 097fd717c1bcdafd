//! The one that records vouchers: takes what several requests have queued, writes all of it in one transaction, and answers
//! them after its commit. So one wait for the disk serves many, and nobody is told of a voucher that a power cut could lose
//! (law 8).

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use tokio::sync::{mpsc, oneshot};

use super::database::Writer;
use super::intake::{Books, CheckedVoucher, Recording};
use super::open::{Ids, StoreError};

/// Requests that wait to be recorded at most. With a thousand vouchers each, this bounds their memory to some 20 MB.
const QUEUE_MAX: usize = 64;
/// Requests in one transaction at most: bounds how long the first of them waits for the last.
const BATCH_MAX: usize = 8;
/// The database counts its tables anew when there are so many times as many lanes as the last time.
const COUNT_AT_GROWTH: u64 = 4;
/// In place of the number of lanes, when a commit failed and only the database knows.
const UNKNOWN: i64 = -1;

type Answer = oneshot::Sender<Result<Vec<Recording>, StoreError>>;

/// What one request hands in.
pub(super) struct Job {
    pub(super) vouchers: Vec<CheckedVoucher>,
    pub(super) lanes_max: u64,
    pub(super) now: u64,
}

/// The entrance to the recorder.
#[derive(Clone)]
pub(super) struct Recorder {
    queue: mpsc::Sender<(Job, Answer)>,
}

impl Recorder {
    /// Starts the task. It ends when the last entrance is gone.
    pub(super) fn start(writer: Writer, ids: Arc<Ids>) -> Self {
        let (queue, jobs) = mpsc::channel(QUEUE_MAX);
        tokio::spawn(run(writer, ids, jobs));
        Self { queue }
    }

    /// Records it with the next transaction and answers after its commit. Refuses at once when the queue is full.
    pub(super) async fn record(&self, job: Job) -> Result<Vec<Recording>, StoreError> {
        let (answer, answered) = oneshot::channel();
        self.queue.try_send((job, answer)).map_err(|error| match error {
            mpsc::error::TrySendError::Full(_) => StoreError::Busy,
            mpsc::error::TrySendError::Closed(_) => StoreError::Closed,
        })?;
        answered.await.map_err(|_| StoreError::Closed)?
    }
}

async fn run(writer: Writer, ids: Arc<Ids>, mut queue: mpsc::Receiver<(Job, Answer)>) {
    let lanes = AtomicI64::new(UNKNOWN);
    let mut count_at = 1;
    let mut queued = Vec::with_capacity(BATCH_MAX);
    while queue.recv_many(&mut queued, BATCH_MAX).await > 0 {
        let (jobs, answers): (Vec<Job>, Vec<Answer>) = queued.drain(..).unzip();
        match commit(&writer, &ids, &lanes, &jobs).await {
            Ok(outcomes) => {
                for (answer, outcome) in answers.into_iter().zip(outcomes) {
                    // The one who asked may have gone away; what is recorded stands all the same.
                    let _ = answer.send(Ok(outcome));
                }
                if let Ok(count) = u64::try_from(lanes.load(Ordering::Relaxed))
                    && count >= count_at
                {
                    count_at = count.saturating_mul(COUNT_AT_GROWTH);
                    if let Err(error) = writer.analyze().await {
                        tracing::warn!(%error, "the log's tables were not counted");
                    }
                }
            }
            // What one of them brought must not be a reason to refuse the others (law 5).
            Err(error) if jobs.len() > 1 => {
                tracing::warn!(%error, "several requests could not be recorded at once: one by one");
                for (job, answer) in jobs.into_iter().zip(answers) {
                    let outcome = commit(&writer, &ids, &lanes, &[job]).await;
                    let _ = answer.send(outcome.map(|mut outcomes| outcomes.pop().unwrap_or_default()));
                }
            }
            Err(error) => {
                for answer in answers.into_iter().take(1) {
                    let _ = answer.send(Err(StoreError::NotCommitted(error.to_string())));
                }
            }
        }
    }
}

/// All of it in one transaction, with the outcome that one voucher after the other would have had.
async fn commit(
    writer: &Writer,
    ids: &Ids,
    lanes: &AtomicI64,
    jobs: &[Job],
) -> Result<Vec<Vec<Recording>>, StoreError> {
    let mut transaction = writer.begin().await?;
    let known = u64::try_from(lanes.swap(UNKNOWN, Ordering::Relaxed)).ok();
    let mut books = Books::load(&mut transaction, jobs, known).await?;
    let outcomes = jobs
        .iter()
        .map(|job| job.vouchers.iter().map(|checked| books.judge(checked, job.lanes_max, job.now, ids)).collect())
        .collect();
    books.save(&mut transaction).await?;
    transaction.commit().await?;
    lanes.store(books.lanes().and_then(|count| i64::try_from(count).ok()).unwrap_or(UNKNOWN), Ordering::Relaxed);
    Ok(outcomes)
}
