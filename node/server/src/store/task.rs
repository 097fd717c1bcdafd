//! The writer's task. What is queued is taken together: arrivals are journaled by one write, other work runs in one
//! transaction, and callers are answered after the commit. So one `fsync` serves many, a write that fails leaves the others
//! alone, and no one is told of a change that a power cut could lose (law 8).

use std::{sync::Arc, time::Duration};

use tokio::{
    sync::{mpsc, oneshot},
    time::{Instant, sleep_until},
};

use super::{
    Audience, StoreError,
    arrivals::{Arrival, Stored},
    database::Database,
    journal,
    ledger::Ledger,
    packets::Waiting,
    tables::{Order, Stepped},
    transaction::Touch,
    writer::{Answer, Condition, Job, job},
};
use crate::metrics::Metrics;

/// Writes taken together at most: bounds how long the first of them waits for the last.
const BATCH_LENGTH_MAX: usize = 128;
/// Bytes in one record of the journal: beyond this a longer one gains nothing, and a database may take it badly. The largest
/// packet fits.
const ROW_BYTES_MAX: usize = 4 << 20;
/// While packets arrive, other work gathers for so long since the last transaction of its kind: each has to have the journal
/// entered first, and a thousand streams' acknowledgements would have it entered packet by packet. What is entered in few
/// large steps costs half of that in many small ones.
const WORK_GATHERS_FOR: Duration = Duration::from_millis(50);
/// Other work waiting at most; then nothing is taken from the queue.
const WORKS_MAX: usize = 1_024;
/// Packets that are entered with work that arrivals wait for, if that can be had: more are entered before it, beside arrivals.
const EXCLUSIVE_PACKETS: usize = 512;
/// How long a packet is in the journal alone before a step begins: what reads the tables without need to know the latest is
/// hardly older.
const PENDING_FOR_MAX: Duration = Duration::from_millis(400);
/// How often a store that failed is tried again while nobody writes, so that the node gets well without traffic.
const PROBE_EVERY: Duration = Duration::from_secs(1);

/// Arrivals with whom to answer, in the order of the queue.
#[derive(Default)]
struct Arrivals {
    packets: Vec<Arrival>,
    answers: Vec<Answer<Stored>>,
}

pub(super) struct Task {
    database: Database,
    /// None while the database cannot be reached.
    ledger: Option<Ledger>,
    audience: Arc<dyn Audience>,
    metrics: Arc<Metrics>,
    condition: Arc<Condition>,
    /// Waiting for the next step. Callers wait for their answers, so none depends on another that waits with it, and any order
    /// among them is as good.
    waiting: Order,
    /// When other work was last done.
    worked_at: Instant,
    /// Whether the packets that waited with the work have been entered before it.
    is_prepared: bool,
    probed_at: Instant,
    closing: Option<oneshot::Sender<()>>,
    #[cfg(test)]
    statements: Vec<(String, Answer<()>)>,
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
            waiting: Order::default(),
            worked_at: now,
            is_prepared: false,
            probed_at: now,
            closing: None,
            #[cfg(test)]
            statements: Vec::new(),
        }
    }

    pub(super) async fn run(mut self, mut jobs: mpsc::Receiver<Job>) {
        let mut queued = Vec::with_capacity(BATCH_LENGTH_MAX);
        while self.closing.is_none() {
            let (wakes_at, takes) = (self.wakes_at(), self.takes());
            tokio::select! {
                stepped = stepped(&mut self.ledger) => self.finish(stepped),
                taken = jobs.recv_many(&mut queued, BATCH_LENGTH_MAX), if takes => {
                    if taken == 0 {
                        break;
                    }
                    let arrivals = self.sort(queued.drain(..));
                    self.arrive(arrivals).await;
                }
                () = wake(wakes_at) => {}
            }
            #[cfg(test)]
            self.execute().await;
            if self.is_due() {
                self.begin().await;
            }
            if self.condition.has_problem() && self.probed_at.elapsed() >= PROBE_EVERY {
                self.probe().await;
            }
        }
        self.close().await;
        if let Some(done) = self.closing.take() {
            let _ = done.send(());
        }
    }

    /// Whether there is room for more, and arrivals may be judged.
    fn takes(&self) -> bool {
        let is_open = self.ledger.as_ref().is_none_or(|ledger| !ledger.is_exclusive());
        is_open && self.waiting.works.len() < WORKS_MAX
    }

    /// When there is something to do even if nobody asks.
    fn wakes_at(&self) -> Option<Instant> {
        let probe = self.condition.has_problem().then(|| self.probed_at + PROBE_EVERY);
        let stepping = self.ledger.as_ref().is_some_and(Ledger::is_stepping);
        let work = (!stepping && !self.waiting.works.is_empty()).then(|| self.worked_at + WORK_GATHERS_FOR);
        let sound = self.ledger.as_ref().filter(|ledger| ledger.is_sound() && !stepping);
        let pending = sound.and_then(Ledger::pending_since);
        [probe, work, pending.map(|since| since + PENDING_FOR_MAX)].into_iter().flatten().min()
    }

    /// Whether it is time for a step.
    fn is_due(&self) -> bool {
        if self.has_due_work() || self.has_errands() {
            return self.ledger.as_ref().is_none_or(|ledger| !ledger.is_stepping());
        }
        // What is not sound is restored for who asks, or by the next probe.
        self.ledger.as_ref().filter(|ledger| ledger.is_sound() && !ledger.is_stepping()).is_some_and(|ledger| {
            ledger.has_many() || ledger.pending_since().is_some_and(|since| since.elapsed() >= PENDING_FOR_MAX)
        })
    }

    fn has_due_work(&self) -> bool {
        let is_applied = self.ledger.as_ref().is_none_or(Ledger::is_applied);
        let has_gathered = is_applied
            || self.is_prepared
            || self.waiting.works.len() >= BATCH_LENGTH_MAX
            || self.worked_at.elapsed() >= WORK_GATHERS_FOR;
        !self.waiting.works.is_empty() && has_gathered
    }

    fn has_errands(&self) -> bool {
        !self.waiting.compactions.is_empty()
    }

    fn sort(&mut self, jobs: impl Iterator<Item = Job>) -> Arrivals {
        let mut arrivals = Arrivals::default();
        for job in jobs {
            match job {
                Job::Work(work) => self.waiting.works.push(work),
                Job::Arrival(arrival, answer) => {
                    arrivals.packets.push(*arrival);
                    arrivals.answers.push(answer);
                }
                Job::Compact(answer) => self.waiting.compactions.push(answer),
                #[cfg(test)]
                Job::Execute(statement, answer) => self.statements.push((statement, answer)),
                Job::Close(done) => self.closing = Some(done),
            }
        }
        arrivals
    }

    /// Ends what is under way, does what waits, enters what is journaled.
    async fn close(&mut self) {
        self.settle().await;
        let is_applied = self.ledger.as_ref().is_none_or(Ledger::is_applied);
        if !is_applied || !self.waiting.works.is_empty() || self.has_errands() {
            self.is_prepared = true;
            self.begin().await;
            self.settle().await;
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
                self.make_room().await;
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
            self.observe(began.elapsed(), packets.len());
            (packets, answers) = (later, later_answers);
        }
    }

    async fn make_room(&mut self) {
        if self.ledger.as_ref().is_some_and(|ledger| ledger.is_sound() && !ledger.is_stepping()) {
            self.begin().await;
        }
        self.settle().await;
    }

    async fn journal(&mut self, packets: &[Arrival]) -> Result<Vec<Result<Stored, StoreError>>, StoreError> {
        self.ready().await?;
        let ledger = self.ledger.as_mut().ok_or(StoreError::NotCommitted)?;
        // Before anybody can know of them.
        self.condition.set_behind(true);
        let judged = ledger.journal(packets).await?;
        for kept in judged.kept.iter() {
            self.audience.stored(kept.wallet, Waiting::of(kept));
        }
        self.condition.set_behind(!ledger.is_applied());
        Ok(judged.outcomes)
    }

    /// Begins a step with what waits.
    async fn begin(&mut self) {
        let is_ready = self.ready().await.map(|_| ());
        let has_work = self.has_due_work();
        let pending = self.ledger.as_ref().map_or(0, Ledger::pending);
        let is_exclusive = self.waiting.works.iter().any(|work| work.touch.is_exclusive());
        let is_prepared = self.is_prepared || !is_exclusive || pending <= EXCLUSIVE_PACKETS;
        let mut order = std::mem::take(&mut self.waiting);
        if is_ready.is_ok() && !(has_work && is_prepared) {
            self.waiting.works = std::mem::take(&mut order.works);
            self.is_prepared = has_work;
        } else {
            self.is_prepared = false;
        }
        let begun = match (is_ready, &mut self.ledger) {
            (Ok(()), Some(ledger)) => ledger.begin(order),
            (is_ready, _) => is_ready.and(Err(StoreError::NotCommitted)),
        };
        if let Err(error) = begun {
            self.fail(&error, "a transaction could not begin").await;
        }
    }

    #[cfg(test)]
    async fn execute(&mut self) {
        for (statement, answer) in std::mem::take(&mut self.statements) {
            self.settle().await;
            let executed = match &mut self.ledger {
                Some(ledger) => ledger.execute(statement).await,
                None => Err(StoreError::NotCommitted),
            };
            let _ = answer.send(executed);
        }
    }

    /// Waits for the step under way, if there is one.
    async fn settle(&mut self) {
        if self.ledger.as_ref().is_some_and(Ledger::is_stepping) {
            let stepped = stepped(&mut self.ledger).await;
            self.finish(stepped);
        }
    }

    /// Tells everybody what became of a step.
    fn finish(&mut self, stepped: Result<Stepped, StoreError>) {
        let stepped = match stepped {
            Ok(stepped) => stepped,
            Err(error) => return self.note(&error, "a step broke off"),
        };
        let Stepped { committed, finishes, works, took, .. } = stepped;
        self.observe(took, works);
        if works > 0 {
            self.worked_at = Instant::now();
        }
        match &committed {
            Ok(()) => self.condition.set_behind(!self.ledger.as_ref().is_some_and(Ledger::is_applied)),
            Err(error) => self.note(error, "a transaction was not committed"),
        }
        for finish in finishes {
            finish(if committed.is_ok() { Ok(()) } else { Err(StoreError::NotCommitted) });
        }
    }

    /// The ledger, connected and restored if need be.
    async fn ready(&mut self) -> Result<&mut Ledger, StoreError> {
        if self.ledger.as_ref().is_some_and(|ledger| !ledger.is_sound()) {
            self.settle().await;
        }
        if self.ledger.is_none() {
            self.ledger = Some(Ledger::connect(&self.database).await?);
        }
        let ledger = self.ledger.as_mut().ok_or(StoreError::NotCommitted)?;
        if !ledger.is_sound() {
            ledger.restore().await?;
            self.condition.set_behind(false);
            // Some of it may have been committed without anybody's knowing.
            self.audience.missed();
        }
        Ok(ledger)
    }

    fn note(&self, error: &StoreError, what: &str) {
        tracing::error!(%error, what);
        self.condition.note(Some(error.to_string()));
    }

    /// Takes note, and lets go of connections that are lost.
    async fn fail(&mut self, error: &StoreError, what: &str) {
        self.note(error, what);
        self.settle().await;
        if let Some(ledger) = &mut self.ledger
            && !ledger.answers().await
        {
            self.ledger = None;
        }
    }

    fn observe(&self, took: Duration, writes: usize) {
        self.metrics.commit_seconds.record(took);
        if writes > 0 {
            self.metrics.batch_writes.record(u32::try_from(writes).unwrap_or(u32::MAX));
        }
    }

    /// Writes something, to learn whether that is possible again: a transaction that changes nothing goes well on a full
    /// disk too.
    async fn probe(&mut self) {
        self.probed_at = Instant::now();
        let (Job::Work(pulse), mut answered) =
            job(Touch::Nothing, |connection| Box::pin(super::pulse(connection)), |()| ())
        else {
            return;
        };
        self.settle().await;
        let journaled = match self.ready().await {
            Ok(ledger) => ledger.probe().await,
            Err(error) => Err(error),
        };
        if let Err(error) = journaled {
            return self.fail(&error, "the store cannot be written yet").await;
        }
        self.waiting.works.push(pulse);
        self.is_prepared = true;
        self.begin().await;
        self.settle().await;
        if let Ok(Ok(())) = answered.try_recv() {
            tracing::info!("the store can be written again");
            self.condition.note(None);
        }
    }
}

async fn stepped(ledger: &mut Option<Ledger>) -> Result<Stepped, StoreError> {
    match ledger {
        Some(ledger) => ledger.stepped().await,
        None => std::future::pending().await,
    }
}

async fn wake(at: Option<Instant>) {
    match at {
        Some(at) => sleep_until(at).await,
        None => std::future::pending().await,
    }
}

/// How many of the packets, at least one, go into one record of the journal.
fn row_length(packets: &[Arrival]) -> usize {
    let mut bytes = 0;
    let fitting = packets.iter().take_while(|arrival| {
        bytes += arrival.packet.len() + journal::ENTRY_BYTES;
        bytes <= ROW_BYTES_MAX
    });
    fitting.count().max(1)
}
