//! The writer's task. What is queued is taken together: arrivals are journaled by one write, other work runs in one
//! transaction, and callers are answered after the commit. So one `fsync` serves many, a write that fails leaves the others
//! alone, and no one is told of a change that a power cut could lose (law 8).

use std::{sync::Arc, time::Duration};

use tokio::{
    sync::{mpsc, oneshot},
    time::{Instant, timeout_at},
};

use super::{
    Audience, StoreError,
    arrivals::{Arrival, Stored},
    compaction,
    database::Database,
    journal,
    ledger::Ledger,
    packets::Waiting,
    transaction::Work,
    writer::{Answer, Condition, Job, job},
};
use crate::metrics::Metrics;

/// Writes taken together at most: bounds how long the first of them waits for the last.
const BATCH_LENGTH_MAX: usize = 128;
/// Bytes in one row of the journal: beyond this a longer row gains nothing, and a database may take it badly. The largest
/// packet fits.
const ROW_BYTES_MAX: usize = 4 << 20;
/// While packets arrive, other work gathers for so long since the last transaction: each has to apply the journal first,
/// and a thousand streams' acknowledgements would have it applied packet by packet.
const WORK_GATHERS_FOR: Duration = Duration::from_millis(20);
/// How long a packet is in the journal alone at most: what reads the tables without need to know the latest is no older.
const PENDING_FOR_MAX: Duration = Duration::from_millis(200);
/// How often a store that failed is tried again while nobody writes, so that the node gets well without traffic.
const PROBE_EVERY: Duration = Duration::from_secs(1);

/// Arrivals with whom to answer, in the order of the queue.
#[derive(Default)]
struct Arrivals {
    packets: Vec<Arrival>,
    answers: Vec<Answer<Stored>>,
}

/// What was taken from the queue, by kind. Callers wait for their answers, so none depends on another of the same batch, and
/// any order among them is as good.
#[derive(Default)]
struct Batch {
    works: Vec<Work>,
    arrivals: Arrivals,
    compactions: Vec<Answer<bool>>,
    #[cfg(test)]
    statements: Vec<(String, Answer<()>)>,
    closing: Option<oneshot::Sender<()>>,
}

impl Batch {
    fn sorted(jobs: impl Iterator<Item = Job>) -> Self {
        let mut batch = Self::default();
        for job in jobs {
            match job {
                Job::Work(work) => batch.works.push(work),
                Job::Arrival(arrival, answer) => {
                    batch.arrivals.packets.push(*arrival);
                    batch.arrivals.answers.push(answer);
                }
                Job::Compact(answer) => batch.compactions.push(answer),
                #[cfg(test)]
                Job::Execute(statement, answer) => batch.statements.push((statement, answer)),
                Job::Close(done) => batch.closing = Some(done),
            }
        }
        batch
    }
}

pub(super) struct Task {
    database: Database,
    /// None while the database cannot be reached.
    ledger: Option<Ledger>,
    audience: Arc<dyn Audience>,
    metrics: Arc<Metrics>,
    condition: Arc<Condition>,
    /// Waiting for the next transaction.
    works: Vec<Work>,
    applied_at: Instant,
    /// Since when the journal has something that is not applied.
    pending_since: Option<Instant>,
    probed_at: Instant,
}

impl Task {
    pub(super) fn new(
        database: Database,
        ledger: Ledger,
        audience: Arc<dyn Audience>,
        metrics: Arc<Metrics>,
        condition: Arc<Condition>,
    ) -> Self {
        let now = Instant::now();
        Self {
            database,
            ledger: Some(ledger),
            audience,
            metrics,
            condition,
            works: Vec::new(),
            applied_at: now,
            pending_since: None,
            probed_at: now,
        }
    }

    pub(super) async fn run(mut self, mut jobs: mpsc::Receiver<Job>) {
        let mut queued = Vec::with_capacity(BATCH_LENGTH_MAX);
        loop {
            let more = jobs.recv_many(&mut queued, BATCH_LENGTH_MAX);
            let taken = match self.wakes_at() {
                Some(time) => timeout_at(time, more).await,
                None => Ok(more.await),
            };
            if taken == Ok(0) {
                break;
            }
            let batch = Batch::sorted(queued.drain(..));
            self.arrive(batch.arrivals).await;
            self.works.extend(batch.works);
            if self.is_due() {
                self.apply().await;
            }
            for answer in batch.compactions {
                let _ = answer.send(self.compact().await);
            }
            #[cfg(test)]
            for (statement, answer) in batch.statements {
                let _ = answer.send(self.execute(statement).await);
            }
            if let Some(done) = batch.closing {
                self.close().await;
                let _ = done.send(());
                return;
            }
            if self.condition.has_problem() && self.probed_at.elapsed() >= PROBE_EVERY {
                self.probe().await;
            }
        }
        self.close().await;
    }

    /// When there is something to do even if nobody asks.
    fn wakes_at(&self) -> Option<Instant> {
        let probe = self.condition.has_problem().then(|| self.probed_at + PROBE_EVERY);
        let work = (!self.works.is_empty()).then(|| self.applied_at + WORK_GATHERS_FOR);
        let pending = self.pending_since.map(|since| since + PENDING_FOR_MAX);
        [probe, work, pending].into_iter().flatten().min()
    }

    /// Whether it is time for a transaction.
    fn is_due(&self) -> bool {
        let work_waits = !self.works.is_empty();
        let is_applied = self.ledger.as_ref().is_none_or(Ledger::is_applied);
        let has_gathered =
            is_applied || self.works.len() >= BATCH_LENGTH_MAX || self.applied_at.elapsed() >= WORK_GATHERS_FOR;
        let is_late = self.pending_since.is_some_and(|since| since.elapsed() >= PENDING_FOR_MAX);
        (work_waits && has_gathered) || is_late || self.ledger.as_ref().is_some_and(Ledger::is_full)
    }

    async fn close(&mut self) {
        if !self.works.is_empty() || self.pending_since.is_some() {
            self.apply().await;
        }
        if let Some(ledger) = self.ledger.take()
            && let Err(error) = ledger.close().await
        {
            tracing::warn!(%error, "the store did not close cleanly");
        }
    }

    /// Journals what arrived, tells the listeners and answers everybody.
    async fn arrive(&mut self, arrivals: Arrivals) {
        let Arrivals { mut packets, mut answers } = arrivals;
        while !packets.is_empty() {
            if self.ledger.as_ref().is_some_and(Ledger::is_full) {
                self.apply().await;
            }
            let length = row_length(&packets);
            let (later, later_answers) = (packets.split_off(length), answers.split_off(length));
            let began = Instant::now();
            match self.journal(&packets).await {
                Ok(outcomes) => answers.into_iter().zip(outcomes).for_each(|(answer, outcome)| {
                    let _ = answer.send(outcome);
                }),
                Err(error) => {
                    self.fail(&error, "what came in was not stored").await;
                    for answer in answers {
                        let _ = answer.send(Err(StoreError::NotCommitted));
                    }
                }
            }
            self.observe(began, packets.len());
            (packets, answers) = (later, later_answers);
        }
    }

    async fn journal(&mut self, packets: &[Arrival]) -> Result<Vec<Result<Stored, StoreError>>, StoreError> {
        self.ready().await?;
        let ledger = self.ledger.as_mut().ok_or(StoreError::NotCommitted)?;
        // Before anybody can know of them.
        self.condition.set_behind(true);
        let judged = ledger.journal(packets).await?;
        for kept in judged.kept {
            self.audience.stored(kept.wallet, Waiting::of(kept));
        }
        let outcomes = judged.outcomes;
        if ledger.is_applied() {
            self.condition.set_behind(false);
        } else {
            self.pending_since.get_or_insert_with(Instant::now);
        }
        Ok(outcomes)
    }

    /// Applies what is pending, runs what waits, and answers everybody.
    async fn apply(&mut self) {
        let works = std::mem::take(&mut self.works);
        let began = Instant::now();
        let count = works.len();
        let mut finishes = Vec::with_capacity(count);
        let committed = match self.ready().await {
            Ok(ledger) => ledger.apply(works, &mut finishes).await,
            Err(error) => Err(error),
        };
        self.observe(began, count);
        self.applied_at = Instant::now();
        match &committed {
            Ok(()) => {
                self.pending_since = None;
                self.condition.set_behind(false);
            }
            Err(error) => self.fail(error, "a transaction was not committed").await,
        }
        for finish in finishes {
            finish(if committed.is_ok() { Ok(()) } else { Err(StoreError::NotCommitted) });
        }
    }

    /// The ledger, connected and restored if need be.
    async fn ready(&mut self) -> Result<&mut Ledger, StoreError> {
        if self.ledger.is_none() {
            self.ledger = Some(Ledger::new(self.database.writer().await?));
        }
        let ledger = self.ledger.as_mut().ok_or(StoreError::NotCommitted)?;
        if !ledger.is_sound() {
            ledger.restore().await?;
            self.pending_since = None;
            self.condition.set_behind(false);
            // Some of it may have been committed without anybody's knowing.
            self.audience.missed();
        }
        Ok(ledger)
    }

    async fn fail(&mut self, error: &StoreError, what: &str) {
        tracing::error!(%error, what);
        self.condition.note(Some(error.to_string()));
        // Nothing is applied on the old books any more.
        self.pending_since = None;
        if let Some(ledger) = &mut self.ledger
            && !ledger.roll_back().await
        {
            self.ledger = None;
        }
    }

    fn observe(&self, began: Instant, writes: usize) {
        self.metrics.commit_seconds.record(began.elapsed());
        if writes > 0 {
            self.metrics.batch_writes.record(u32::try_from(writes).unwrap_or(u32::MAX));
        }
    }

    async fn compact(&mut self) -> Result<bool, StoreError> {
        let kind = self.database.kind();
        match self.ready().await {
            Ok(ledger) => compaction::step(ledger.connection(), kind).await,
            Err(error) => {
                self.fail(&error, "the space of what was deleted was not returned").await;
                Err(error)
            }
        }
    }

    #[cfg(test)]
    async fn execute(&mut self, statement: String) -> Result<(), StoreError> {
        let ledger = self.ledger.as_mut().ok_or(StoreError::NotCommitted)?;
        sqlx::Executor::execute(ledger.connection(), sqlx::AssertSqlSafe(statement)).await?;
        Ok(())
    }

    /// Writes something, to learn whether that is possible again: a transaction that changes nothing goes well on a full
    /// disk too.
    async fn probe(&mut self) {
        self.probed_at = Instant::now();
        let (Job::Work(pulse), mut answered) = job(|connection| Box::pin(super::pulse(connection)), |()| ()) else {
            return;
        };
        self.works.push(pulse);
        self.apply().await;
        if let Ok(Ok(())) = answered.try_recv() {
            tracing::info!("the store can be written again");
            self.condition.note(None);
        }
    }
}

/// How many of the packets, at least one, go into one row of the journal.
fn row_length(packets: &[Arrival]) -> usize {
    let mut bytes = 0;
    let fitting = packets.iter().take_while(|arrival| {
        bytes += arrival.packet.len() + journal::ENTRY_BYTES;
        bytes <= ROW_BYTES_MAX
    });
    fitting.count().max(1)
}
