//! The load generator: publishers and listeners on two threads, the same for every side. Each thread has its own
//! event loop and shares with the other nothing but the count of messages under way.
//!
//! A publisher posts on one keep-alive connection and waits for each answer. In an open load it posts by the clock, and
//! what it posts late because the last answer was late counts from when it should have been posted.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::io::ErrorKind;
use std::rc::Rc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Barrier, Mutex, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;
use tokio::sync::Semaphore;
use tokio::task::{JoinSet, LocalSet};

use super::machine::cpu_time;
use super::side::Side;
use super::statistics::{Samples, number};
use super::wire::{BodyEnd, Chunks, Events, Head, head};

/// As many as the machine that this is made for has cores, so that the generator is never the narrowest place.
const THREADS: usize = 2;

/// Messages acknowledged or posted and not delivered yet. Less than any side buffers, so that none has to drop one.
const UNDER_WAY_MAX: usize = 256;

/// How long what was acknowledged may take to arrive after the last post.
const DRAIN: Duration = Duration::from_secs(5);

/// Listeners that connect at a time, per thread: fewer than a listening socket's backlog.
const CONNECTING_MAX: usize = 32;

/// Read at once from one connection: some tens of events.
const READ_BYTES: usize = 64 << 10;

/// Numbers of the messages of all runs: a body that came before would be acknowledged as a duplicate and not delivered.
static NEXT_MESSAGE: AtomicU64 = AtomicU64::new(0);

/// How hard, how long.
#[derive(Debug, Clone)]
pub struct Plan {
    /// Connections that post, each waiting for its answer.
    pub publishers: usize,
    /// Whether every channel has a listener, whose events are counted.
    pub listening: bool,
    /// Messages per second of all publishers together; None: as fast as answers come.
    pub pace: Option<f64>,
    /// Not counted.
    pub warm_up: Duration,
    /// Counted.
    pub measure: Duration,
}

/// What one run gave.
#[derive(Debug, Clone, Default)]
pub struct Outcome {
    /// Posts answered with success per second.
    pub acknowledged_per_s: f64,
    /// Events that arrived per second.
    pub delivered_per_s: f64,
    /// From post to its answer.
    pub acknowledged: Samples,
    /// From post to the last byte of its event.
    pub delivered: Samples,
    /// Answers that were no success, by status, over the whole run.
    pub refused: u64,
    /// Acknowledged and never delivered, over the whole run.
    pub lost: u64,
    /// Processor time of the side per acknowledged message, in microseconds.
    pub cpu_us: f64,
}

/// When a run counts.
#[derive(Debug, Clone, Copy)]
struct Window {
    from: Instant,
    until: Instant,
}

impl Window {
    fn holds(&self, moment: Instant) -> bool {
        self.from <= moment && moment < self.until
    }
}

/// What both threads share.
struct Run {
    side: Arc<dyn Side>,
    plan: Plan,
    window: OnceLock<Window>,
    under_way: Semaphore,
    /// For each channel, when its undelivered messages were posted. A channel's events come in the order of its posts;
    /// where two posts cross on the way, their times are swapped, on every side alike.
    posted: Vec<Mutex<VecDeque<Instant>>>,
    acknowledged: AtomicU64,
    delivered: AtomicU64,
    refused: AtomicU64,
    /// Threads whose publishers wait for answers.
    publishing: AtomicUsize,
    ready: Barrier,
    start: Barrier,
    failed: AtomicBool,
}

/// What one thread counted.
#[derive(Default)]
struct Tally {
    acknowledged: Samples,
    delivered: Samples,
}

/// Runs a plan against a side, whose processes must be ready. Blocks.
pub fn run(side: &Arc<dyn Side>, plan: &Plan) -> Result<Outcome> {
    ensure!(side.channels() > 0 && plan.publishers > 0, "nothing to measure");
    let run = Arc::new(Run {
        side: Arc::clone(side),
        plan: plan.clone(),
        window: OnceLock::new(),
        under_way: Semaphore::new(UNDER_WAY_MAX),
        posted: (0..side.channels()).map(|_| Mutex::default()).collect(),
        acknowledged: AtomicU64::new(0),
        delivered: AtomicU64::new(0),
        refused: AtomicU64::new(0),
        publishing: AtomicUsize::new(THREADS),
        ready: Barrier::new(THREADS + 1),
        start: Barrier::new(THREADS + 1),
        failed: AtomicBool::new(false),
    });
    let threads: Vec<_> = (0..THREADS)
        .map(|thread| {
            let run = Arc::clone(&run);
            std::thread::spawn(move || worker(&run, thread))
        })
        .collect();
    run.ready.wait();
    let from = Instant::now() + plan.warm_up;
    let window = Window { from, until: from + plan.measure };
    run.window.set(window).expect("set once, here");
    run.start.wait();
    let mut cpu = Duration::ZERO;
    if !run.failed.load(Ordering::Relaxed) {
        sleep_until(window.from);
        let before = cpu_time(&side.processes());
        sleep_until(window.until);
        cpu = cpu_time(&side.processes()).saturating_sub(before);
    }
    let mut outcome = Outcome::default();
    for thread in threads {
        let tally = thread.join().expect("a generator's thread does not panic")?;
        outcome.acknowledged.merge(&tally.acknowledged);
        outcome.delivered.merge(&tally.delivered);
    }
    let seconds = plan.measure.as_secs_f64();
    outcome.acknowledged_per_s = number(outcome.acknowledged.count()) / seconds;
    outcome.delivered_per_s = number(outcome.delivered.count()) / seconds;
    outcome.cpu_us = cpu.as_secs_f64() * 1e6 / number(outcome.acknowledged.count());
    outcome.refused = run.refused.load(Ordering::Relaxed);
    if plan.listening {
        outcome.lost = run.acknowledged.load(Ordering::Relaxed).saturating_sub(run.delivered.load(Ordering::Relaxed));
    }
    Ok(outcome)
}

fn sleep_until(moment: Instant) {
    std::thread::sleep(moment.saturating_duration_since(Instant::now()));
}

/// One thread: its share of listeners, then its share of publishers.
fn worker(run: &Arc<Run>, thread: usize) -> Result<Tally> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let local = LocalSet::new();
    let mut listeners = Ok(Vec::new());
    if run.plan.listening {
        let channels = (thread..run.side.channels()).step_by(THREADS);
        listeners = local.block_on(&runtime, connect_all(&run.side, channels));
    }
    run.failed.fetch_or(listeners.is_err(), Ordering::Relaxed);
    run.ready.wait();
    run.start.wait();
    let listeners = listeners?;
    ensure!(!run.failed.load(Ordering::Relaxed), "the other thread's listeners could not connect");
    local.block_on(&runtime, load(run, thread, listeners))
}

/// One listener, its stream open.
#[derive(Debug)]
pub struct Listener {
    channel: usize,
    stream: TcpStream,
    chunked: Option<Chunks>,
    events: Events,
}

/// Opens the streams of channels.
pub async fn connect_all(side: &Arc<dyn Side>, channels: impl Iterator<Item = usize>) -> Result<Vec<Listener>> {
    let mut connecting = JoinSet::new();
    let mut listeners = Vec::new();
    for channel in channels {
        if connecting.len() == CONNECTING_MAX {
            listeners.push(connecting.join_next().await.context("there are some")???);
        }
        connecting.spawn(Listener::connect(Arc::clone(side), channel));
    }
    while let Some(connected) = connecting.join_next().await {
        listeners.push(connected??);
    }
    Ok(listeners)
}

impl Listener {
    async fn connect(side: Arc<dyn Side>, channel: usize) -> Result<Self> {
        let mut stream = TcpStream::connect(side.address()).await?;
        stream.set_nodelay(true)?;
        stream.write_all(&side.listen(channel)?).await?;
        let mut bytes = Vec::new();
        let head = read_head(&stream, &mut bytes).await?;
        ensure!(head.status == 200, "{}: a listener was answered {}", side.name(), head.status);
        let chunked = (head.body == BodyEnd::Chunked).then(Chunks::default);
        let mut listener = Self { channel, stream, chunked, events: Events::default() };
        listener.feed(&bytes[head.bytes..], |number| side.received(channel, number))?;
        Ok(listener)
    }

    fn feed(&mut self, bytes: &[u8], mut sink: impl FnMut(u64)) -> Result<()> {
        let Self { chunked, events, .. } = self;
        match chunked {
            Some(chunks) => chunks.push(bytes, |content| events.push(content, &mut sink)),
            None => {
                events.push(bytes, sink);
                Ok(())
            }
        }
    }

    /// Counts what arrives until the connection ends.
    async fn listen(mut self, run: &Run, window: Window, shared: &Shared) -> Result<()> {
        loop {
            self.stream.readable().await?;
            let mut buffer = shared.buffer.borrow_mut();
            let bytes = match self.stream.try_read(&mut buffer) {
                Ok(0) => bail!("{} closed a listener's connection", run.side.name()),
                Ok(bytes) => bytes,
                Err(error) if error.kind() == ErrorKind::WouldBlock => continue,
                Err(error) => return Err(error.into()),
            };
            let now = Instant::now();
            let channel = self.channel;
            self.feed(&buffer[..bytes], |number| {
                run.side.received(channel, number);
                run.delivered.fetch_add(1, Ordering::Relaxed);
                run.under_way.add_permits(1);
                let posted = run.posted[channel].lock().unwrap_or_else(PoisonError::into_inner).pop_front();
                if let Some(posted) = posted.filter(|_| window.holds(now)) {
                    shared.tally.borrow_mut().delivered.add(now - posted);
                }
            })?;
        }
    }
}

/// What the tasks of one thread share.
#[derive(Default)]
struct Shared {
    tally: RefCell<Tally>,
    buffer: RefCell<Vec<u8>>,
}

async fn load(run: &Arc<Run>, thread: usize, listeners: Vec<Listener>) -> Result<Tally> {
    let window = *run.window.get().context("set before the threads start")?;
    let shared = Rc::new(Shared::default());
    shared.buffer.borrow_mut().resize(READ_BYTES, 0);
    let mut listening = JoinSet::new();
    for listener in listeners {
        let (run, shared) = (Arc::clone(run), Rc::clone(&shared));
        listening.spawn_local(async move { listener.listen(&run, window, &shared).await });
    }
    let mut publishing = JoinSet::new();
    for publisher in (thread..run.plan.publishers).step_by(THREADS) {
        let (run, shared) = (Arc::clone(run), Rc::clone(&shared));
        publishing.spawn_local(async move { publish(&run, window, publisher, &shared).await });
    }
    while let Some(published) = publishing.join_next().await {
        published??;
    }
    let deadline = Instant::now() + DRAIN;
    // Until the other thread has its last answers too, what is all here may not be in a moment.
    let all_here = || {
        run.publishing.load(Ordering::Acquire) == 0
            && run.delivered.load(Ordering::Relaxed) >= run.acknowledged.load(Ordering::Relaxed)
    };
    run.publishing.fetch_sub(1, Ordering::AcqRel);
    while run.plan.listening && Instant::now() < deadline && !all_here() {
        tokio::time::sleep(Duration::from_millis(20)).await;
        if let Some(ended) = listening.try_join_next() {
            ended??;
        }
    }
    Ok(shared.tally.take())
}

/// When to post.
struct Clock {
    interval: Option<Duration>,
    due: Instant,
}

impl Clock {
    fn new(plan: &Plan, random: &mut StdRng) -> Self {
        let publishers = number(u64::try_from(plan.publishers).unwrap_or(u64::MAX));
        let interval = plan.pace.map(|pace| Duration::from_secs_f64(publishers / pace));
        Self { interval, due: Instant::now() + interval.unwrap_or_default().mul_f64(random.random()) }
    }

    /// Waits until it is time to post, and says from when the post counts: a timer that wakes late is this generator's
    /// fault, an answer that came late is not.
    async fn next(&mut self) -> Instant {
        let Some(interval) = self.interval else { return Instant::now() };
        let due = self.due;
        self.due += interval;
        if Instant::now() >= due {
            return due;
        }
        tokio::time::sleep_until(due.into()).await;
        Instant::now()
    }
}

/// Posts to random channels until the window ends.
async fn publish(run: &Run, window: Window, publisher: usize, shared: &Shared) -> Result<()> {
    let mut stream = TcpStream::connect(run.side.address()).await?;
    stream.set_nodelay(true)?;
    let mut random = StdRng::seed_from_u64(u64::try_from(publisher)?);
    let mut clock = Clock::new(&run.plan, &mut random);
    let (mut request, mut answer) = (Vec::new(), Vec::new());
    loop {
        let posted = clock.next().await;
        let permit = tokio::select! {
            biased;
            permit = run.under_way.acquire() => permit?,
            () = tokio::time::sleep_until(window.until.into()) => return Ok(()),
        };
        if Instant::now() >= window.until {
            return Ok(());
        }
        let channel = random.random_range(0..run.side.channels());
        request.clear();
        run.side.post(channel, NEXT_MESSAGE.fetch_add(1, Ordering::Relaxed), &mut request);
        let waiting = || run.posted[channel].lock().unwrap_or_else(PoisonError::into_inner);
        if run.plan.listening {
            permit.forget();
            waiting().push_back(posted);
        }
        stream.write_all(&request).await?;
        let status = read_answer(&stream, &mut answer).await?;
        let now = Instant::now();
        if (200..300).contains(&status) {
            run.acknowledged.fetch_add(1, Ordering::Relaxed);
            if window.holds(now) {
                shared.tally.borrow_mut().acknowledged.add(now - posted);
            }
        } else {
            run.refused.fetch_add(1, Ordering::Relaxed);
            if run.plan.listening {
                run.under_way.add_permits(1);
                waiting().pop_back();
            }
        }
    }
}

/// Reads one whole answer with a body of stated length; its status.
async fn read_answer(stream: &TcpStream, bytes: &mut Vec<u8>) -> Result<u16> {
    bytes.clear();
    let head = read_head(stream, bytes).await?;
    let BodyEnd::Length(length) = head.body else { bail!("an answer of unknown length, status {}", head.status) };
    while bytes.len() < head.bytes + length {
        read_some(stream, bytes).await?;
    }
    Ok(head.status)
}

async fn read_head(stream: &TcpStream, bytes: &mut Vec<u8>) -> Result<Head> {
    loop {
        if let Some(head) = head(bytes)? {
            return Ok(head);
        }
        read_some(stream, bytes).await?;
    }
}

/// Appends what there is, waiting for at least a byte.
async fn read_some(stream: &TcpStream, bytes: &mut Vec<u8>) -> Result<()> {
    loop {
        stream.readable().await?;
        match stream.try_read_buf(bytes) {
            Ok(0) => bail!("the connection was closed"),
            Ok(_) => return Ok(()),
            Err(error) if error.kind() == ErrorKind::WouldBlock => {}
            Err(error) => return Err(error.into()),
        }
    }
}
