//! The stream a subscription is answered with: stored packets up to the window, statements, signs of life. All it
//! remembers is in the store; when it breaks, the client subscribes again and resumes.
//!
//! - `admission` — who may subscribe, and from where on
//! - `listeners` — the running subscriptions; `fresh` — what was just stored, handed over to them
//! - `progress` — what was pushed, what is paid, when to draw up a statement; `turns` — which wallet of an account is billed

mod admission;
mod fresh;
mod listeners;
mod progress;
mod turns;

use std::{collections::VecDeque, pin::pin, sync::Arc};

use alloy::primitives::Address;
use axum::{body::Bytes, response::Response};
use futures_util::Stream;
use minus_protocol::{Frame, Refusal, SessionKey, StreamSealer, random_bytes};
use tokio::{
    sync::OwnedSemaphorePermit,
    time::{Instant, sleep_until},
};

pub(crate) use self::{
    admission::{Resumed, Wish},
    listeners::Subscriptions,
};
use self::{
    fresh::Next,
    listeners::Line,
    progress::{Bill, Progress},
    turns::Turn,
};
use super::streaming::{self, BrokenOff};
use crate::{
    clock,
    node::Node,
    store::{
        StoreError, Touch,
        packets::{self, Relay, Waiting},
        statements::{self, Issued},
    },
};

/// Packets read from the store at once: bounds what one stream holds in memory to as many mebibytes.
const READ_AHEAD: u32 = 4;
/// Events are gathered up to this and written at once: one system call for some dozens of small ones.
const CHUNK_BYTES: usize = 32 << 10;

/// One subscription. Dropping it, however the connection ended, frees its place.
struct Subscription {
    node: Arc<Node>,
    wallet: Address,
    relay: Option<Relay>,
    line: Arc<Line>,
    sealer: StreamSealer,
    progress: Progress,
    /// Read from the store and not pushed yet.
    page: VecDeque<Waiting>,
    /// Whether the store may hold more than was read.
    is_behind: bool,
    /// Whether readers of the store see everything that was not handed over: what comes later is.
    sees_all: bool,
    _place: OwnedSemaphorePermit,
}

impl Drop for Subscription {
    fn drop(&mut self) {
        self.node.subscriptions.leave(self.wallet);
        self.node.metrics.streams_open.decrement(1.0);
    }
}

/// Begins a subscription, if it may be and the node and the wallet have room for another stream.
pub(crate) async fn open(node: &Arc<Node>, session: &SessionKey, wish: Wish) -> Result<Response, Refusal> {
    let place = Arc::clone(&node.streams).try_acquire_owned().map_err(|_| Refusal::Busy)?;
    let resume_after = admission::admit(node, wish).await?;
    let line = node.subscriptions.take_over(wish.wallet).ok_or(Refusal::Busy)?;
    node.metrics.streams_open.increment(1.0);
    let subscription = Subscription {
        node: Arc::clone(node),
        wallet: wish.wallet,
        relay: wish.relay,
        line,
        // A new salt each time: the same command may come again, and no nonce is used twice under one key.
        sealer: StreamSealer::new(session, random_bytes()),
        progress: Progress::new(resume_after, node.config.window_bytes),
        page: VecDeque::new(),
        is_behind: true,
        sees_all: false,
        _place: place,
    };
    Ok(streaming::answer(events(subscription)))
}

fn events(mut subscription: Subscription) -> impl Stream<Item = Result<Bytes, BrokenOff>> {
    async_stream::stream! {
        yield Ok(subscription.sealer.opening_event().into());
        let node = Arc::clone(&subscription.node);
        let keep_alive = node.config.keep_alive;
        let mut spoke_at = Instant::now();
        // Both are set up once: a message costs less than a place among those that wait for a time or for the end.
        let mut stopped = pin!(node.stop.cancelled());
        let mut alarm = pin!(sleep_until(spoke_at + keep_alive));
        loop {
            let caught_up = loop {
                let Ok(gathered) = subscription.gather().await else { return };
                if !gathered.events.is_empty() {
                    spoke_at = Instant::now();
                    yield Ok(gathered.events.into());
                }
                if gathered.is_all {
                    break gathered.caught_up;
                }
                if subscription.line.is_displaced() {
                    return;
                }
            };
            let mut look_again = None;
            match subscription.progress.bill(caught_up, Instant::now()) {
                Bill::No => {}
                Bill::At(time) => look_again = Some(time),
                // In a box, like every future that waits for the store: a stream is idle nearly always, and then has none.
                Bill::Now => match Box::pin(subscription.bill()).await {
                    Ok(Billed::Statement(event)) => {
                        spoke_at = Instant::now();
                        yield Ok(event);
                    }
                    Ok(Billed::Nothing) => {}
                    Ok(Billed::Held) => continue,
                    Err(error) => {
                        tracing::warn!(%error, "a statement could not be issued");
                        return;
                    }
                },
            }
            let silent_until = spoke_at + keep_alive;
            let wake_at = look_again.map_or(silent_until, |at: Instant| at.min(silent_until));
            // One that is early is set again when it rings: it rarely does, and what is pushed meanwhile moves it often.
            if alarm.is_elapsed() || wake_at < alarm.deadline() {
                alarm.as_mut().reset(wake_at);
            }
            tokio::select! {
                biased;
                () = &mut stopped => return,
                () = subscription.line.bell.notified() => {}
                () = &mut alarm => {}
            }
            if subscription.line.is_displaced() {
                return;
            }
            if Instant::now() >= silent_until {
                spoke_at = Instant::now();
                yield Ok(subscription.sealer.seal(&Frame::KeepAlive).into());
            }
        }
    }
}

/// Some events to be written at once.
struct Gathered {
    events: String,
    /// Whether there is nothing to be pushed beyond these now.
    is_all: bool,
    /// Whether that is because nothing is stored beyond these.
    caught_up: bool,
}

enum Billed {
    Statement(Bytes),
    Held,
    Nothing,
}

impl Subscription {
    /// Takes in what happened meanwhile.
    fn listen(&mut self) {
        self.progress.acknowledged(self.line.acknowledged());
        if self.line.take_bill_again() {
            self.progress.bill_again();
        }
        if self.line.take_called() {
            self.progress.called();
        }
    }

    /// Seals what is to be pushed, as far as window and chunk go.
    async fn gather(&mut self) -> Result<Gathered, StoreError> {
        self.listen();
        let mut events = String::new();
        let mut caught_up = false;
        while !caught_up && self.progress.has_room() && events.len() < CHUNK_BYTES {
            match self.next().await? {
                Some(waiting) => self.push(waiting, &mut events),
                None => caught_up = true,
            }
        }
        let is_all = caught_up || !self.progress.has_room();
        if is_all && !self.page.is_empty() {
            // A stream that waits for its client keeps nothing in memory.
            self.page = VecDeque::new();
            self.is_behind = true;
        }
        Ok(Gathered { events, is_all, caught_up })
    }

    /// The next packet: from the store until that has no more, then as they are handed over.
    async fn next(&mut self) -> Result<Option<Waiting>, StoreError> {
        loop {
            if let Some(waiting) = self.page.pop_front() {
                return Ok(Some(waiting));
            }
            if self.is_behind {
                self.page = Box::pin(self.read()).await?.into();
                self.is_behind = !self.page.is_empty();
                continue;
            }
            match self.line.next(self.progress.cursor()) {
                Next::Packet(waiting) => return Ok(Some(waiting)),
                Next::Nothing => return Ok(None),
                Next::Missed => (self.is_behind, self.sees_all) = (true, false),
            }
        }
    }

    /// The next packets in the store. What was stored last may not be visible yet, but always comes after what is; so only
    /// a page without any has to be looked at again. Once is enough: a stream that waited for what had come meanwhile would
    /// stay behind for as long as more comes.
    async fn read(&mut self) -> Result<Vec<Waiting>, StoreError> {
        let store = &self.node.store;
        let page = || packets::waiting(store.readers(), self.wallet, self.progress.cursor(), READ_AHEAD);
        let read = async {
            let sees_all = self.sees_all || store.is_caught_up();
            let first = page().await?;
            if sees_all || !first.is_empty() {
                return Ok((first, sees_all));
            }
            store.catch_up().await?;
            Ok((page().await?, true))
        };
        let read = read.await.inspect_err(|error: &StoreError| {
            tracing::warn!(%error, "stored packets could not be read");
        });
        let (page, sees_all) = read?;
        self.sees_all = sees_all;
        Ok(page)
    }

    fn push(&mut self, waiting: Waiting, events: &mut String) {
        let bytes = u64::try_from(waiting.packet.len()).unwrap_or(u64::MAX);
        self.progress.pushed(waiting.seq, bytes);
        self.node.metrics.bytes_pushed.increment(bytes);
        if let Some(relay) = self.relay {
            self.node.claims.pushed(relay.node, bytes);
        }
        let frame = Frame::Message {
            seq: waiting.seq,
            stored_at: waiting.stored_at,
            tariff_version: waiting.tariff_version,
            relayed: waiting.relayed_in,
            packet: waiting.packet,
        };
        self.sealer.seal_onto(&frame, events);
    }

    async fn issue(&self) -> Result<Issued, StoreError> {
        let (wallet, through, relay) = (self.wallet, self.progress.cursor(), self.relay);
        let writer = self.node.store.writer().touching(Touch::Nothing);
        let issuing = writer.write_patiently(move |connection| {
            Box::pin(async move { statements::issue(connection, wallet, through, relay, clock::now_s()).await })
        });
        issuing.await
    }

    /// Issues a statement over everything the client has; it is durable before it is pushed.
    async fn bill(&mut self) -> Result<Billed, StoreError> {
        let began = Instant::now();
        let node = Arc::clone(&self.node);
        let (subscriptions, wallet) = (&node.subscriptions, self.wallet);
        let Some(payer) = node.store.payer_of(wallet) else {
            self.progress.nothing_to_bill();
            return Ok(Billed::Nothing);
        };
        if let Turn::At(time) = subscriptions.turn(payer, wallet) {
            self.progress.held(time);
            return Ok(Billed::Held);
        }
        match self.issue().await.inspect_err(|_| subscriptions.not_billed(payer, wallet))? {
            Issued::Held { by, rest } => {
                let until = Instant::now() + rest;
                subscriptions.held_up(payer, wallet, by, until);
                self.progress.held(until);
                Ok(Billed::Held)
            }
            Issued::Nothing => {
                subscriptions.not_billed(payer, wallet);
                self.progress.nothing_to_bill();
                Ok(Billed::Nothing)
            }
            Issued::Statement(statement) => {
                subscriptions.billed(payer, wallet);
                self.progress.billed(statement.through, Instant::now());
                self.node.metrics.statements_issued.increment(1);
                self.node.metrics.statement_seconds.record(began.elapsed());
                Ok(Billed::Statement(self.sealer.seal(&Frame::Statement(statement)).into()))
            }
        }
    }
}
