//! The stream a subscription is answered with: stored packets up to the window, statements, signs of life. All it
//! remembers is in the store; when it breaks, the client subscribes again and resumes.

mod progress;

use std::{
    collections::{HashMap, hash_map::Entry},
    convert::Infallible,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::Duration,
};

use alloy::primitives::Address;
use axum::{
    body::{Body, Bytes},
    http::{HeaderValue, header},
    response::Response,
};
use futures_util::Stream;
use minus_protocol::{Frame, SessionKey, StreamSealer, headers::CONTENT_STREAM, random_bytes};
use tokio::{sync::Notify, sync::OwnedSemaphorePermit, time::Instant};
use tokio_util::sync::CancellationToken;

use self::progress::Progress;
use crate::{
    clock,
    node::Node,
    store::{
        StoreError,
        packets::{self, Relay, Waiting},
        statements::{self, Issued},
    },
};

/// Packets read from the store at once: bounds what one stream holds in memory to as many mebibytes.
const READ_AHEAD: u32 = 4;
/// How soon a bill that had to wait for another wallet of the account is tried again.
const HELD_FOR: Duration = Duration::from_millis(500);

/// Streams of one wallet, displaced ones included: one that nobody reads cannot see that it was displaced, and holds what
/// it was about to say. A customer on the move leaves a few behind until the kernel gives them up.
const STREAMS_PER_WALLET_MAX: usize = 16;

/// The line from the rest of the node to one running subscription.
#[derive(Debug, Default)]
struct Line {
    /// Rung when there is something to look at.
    bell: Notify,
    /// Highest sequence number acknowledged since the subscription began.
    acknowledged: AtomicU64,
    /// Whether the last statement is worth nothing any more.
    bill_again: AtomicBool,
    /// Cancelled when a newer subscription of the wallet takes over.
    displaced: CancellationToken,
}

/// The streams of one wallet.
#[derive(Debug)]
struct Streams {
    /// To the newest; the others are displaced.
    line: Arc<Line>,
    open: usize,
}

/// The running subscriptions, one per wallet. Bounded by the node's number of streams.
#[derive(Debug, Default)]
pub(crate) struct Subscriptions {
    wallets: Mutex<HashMap<Address, Streams>>,
}

impl Subscriptions {
    fn with<T>(&self, change: impl FnOnce(&mut HashMap<Address, Streams>) -> T) -> T {
        change(&mut self.wallets.lock().unwrap_or_else(PoisonError::into_inner))
    }

    fn line(&self, wallet: Address) -> Option<Arc<Line>> {
        self.with(|wallets| wallets.get(&wallet).map(|streams| Arc::clone(&streams.line)))
    }

    /// A packet of this wallet was stored.
    pub(crate) fn ring(&self, wallet: Address) {
        if let Some(line) = self.line(wallet) {
            line.bell.notify_one();
        }
    }

    /// This wallet's packets up to `through` are paid for and gone.
    pub(crate) fn acknowledged(&self, wallet: Address, through: u64) {
        if let Some(line) = self.line(wallet) {
            line.acknowledged.fetch_max(through, Ordering::Release);
            line.bell.notify_one();
        }
    }

    /// The statement this wallet was last given is not the account's latest.
    pub(crate) fn bill_again(&self, wallet: Address) {
        if let Some(line) = self.line(wallet) {
            line.bill_again.store(true, Ordering::Release);
            line.bell.notify_one();
        }
    }

    /// Takes the wallet over from any older subscription. None when too many of those have not ended.
    fn take_over(&self, wallet: Address) -> Option<Arc<Line>> {
        let line = Arc::new(Line::default());
        self.with(|wallets| {
            match wallets.entry(wallet) {
                Entry::Vacant(vacant) => {
                    vacant.insert(Streams { line: Arc::clone(&line), open: 1 });
                }
                Entry::Occupied(occupied) if occupied.get().open >= STREAMS_PER_WALLET_MAX => return None,
                Entry::Occupied(mut occupied) => {
                    let streams = occupied.get_mut();
                    streams.open += 1;
                    std::mem::replace(&mut streams.line, Arc::clone(&line)).displaced.cancel();
                }
            }
            Some(line)
        })
    }

    fn leave(&self, wallet: Address) {
        self.with(|wallets| {
            if let Some(streams) = wallets.get_mut(&wallet) {
                streams.open = streams.open.saturating_sub(1);
                if streams.open == 0 {
                    wallets.remove(&wallet);
                }
            }
        });
    }
}

/// One subscription. Dropping it, however the connection ended, frees its place.
struct Subscription {
    node: Arc<Node>,
    wallet: Address,
    relay: Option<Relay>,
    line: Arc<Line>,
    sealer: StreamSealer,
    progress: Progress,
    _place: OwnedSemaphorePermit,
}

impl Drop for Subscription {
    fn drop(&mut self) {
        self.node.subscriptions.leave(self.wallet);
        self.node.metrics.streams_open.decrement(1.0);
    }
}

/// Begins a subscription. None when the node, or the wallet, has no room for another stream.
pub(crate) fn open(
    node: &Arc<Node>,
    session: &SessionKey,
    wallet: Address,
    resume_after: u64,
    relay: Option<Relay>,
) -> Option<Response> {
    let place = Arc::clone(&node.streams).try_acquire_owned().ok()?;
    let line = node.subscriptions.take_over(wallet)?;
    node.metrics.streams_open.increment(1.0);
    let subscription = Subscription {
        node: Arc::clone(node),
        wallet,
        relay,
        line,
        sealer: StreamSealer::new(session, random_bytes()),
        progress: Progress::new(resume_after, node.config.window_bytes),
        _place: place,
    };
    let mut response = Response::new(Body::from_stream(events(subscription)));
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(CONTENT_STREAM));
    response.headers_mut().insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    Some(response)
}

fn events(mut subscription: Subscription) -> impl Stream<Item = Result<Bytes, Infallible>> {
    async_stream::stream! {
        yield Ok(subscription.sealer.opening_event().into());
        let keep_alive = subscription.node.config.keep_alive;
        let mut spoke_at = Instant::now();
        let mut look_again = None;
        loop {
            subscription.listen();
            let mut caught_up = false;
            while !caught_up && subscription.progress.has_room() {
                let Ok(waiting) = subscription.read().await else { return };
                caught_up = waiting.is_empty();
                for packet in waiting {
                    if !subscription.progress.has_room() {
                        break;
                    }
                    spoke_at = Instant::now();
                    yield Ok(subscription.push(packet));
                }
                subscription.listen();
            }
            if subscription.progress.wants_bill(caught_up) {
                match subscription.bill().await {
                    Ok(Billed::Statement(event)) => {
                        spoke_at = Instant::now();
                        yield Ok(event);
                    }
                    Ok(Billed::Held) => look_again = Some(Instant::now() + HELD_FOR),
                    Ok(Billed::Nothing) => {}
                    Err(error) => {
                        tracing::warn!(%error, "a statement could not be issued");
                        return;
                    }
                }
            }
            let silent_until = spoke_at + keep_alive;
            let wake_at = look_again.take().map_or(silent_until, |at: Instant| at.min(silent_until));
            let line = Arc::clone(&subscription.line);
            tokio::select! {
                biased;
                () = line.displaced.cancelled() => return,
                () = subscription.node.stop.cancelled() => return,
                () = line.bell.notified() => {}
                () = tokio::time::sleep_until(wake_at) => {}
            }
            if Instant::now() >= silent_until {
                spoke_at = Instant::now();
                yield Ok(subscription.sealer.seal(&Frame::KeepAlive).into());
            }
        }
    }
}

enum Billed {
    Statement(Bytes),
    Held,
    Nothing,
}

impl Subscription {
    /// Takes in what happened meanwhile.
    fn listen(&mut self) {
        self.progress.acknowledged(self.line.acknowledged.load(Ordering::Acquire));
        if self.line.bill_again.swap(false, Ordering::AcqRel) {
            self.progress.bill_again();
        }
    }

    async fn read(&self) -> Result<Vec<Waiting>, StoreError> {
        packets::waiting(self.node.store.readers(), self.wallet, self.progress.cursor(), READ_AHEAD)
            .await
            .inspect_err(|error| tracing::warn!(%error, "stored packets could not be read"))
    }

    fn push(&mut self, waiting: Waiting) -> Bytes {
        let bytes = u64::try_from(waiting.packet.len()).unwrap_or(u64::MAX);
        self.progress.pushed(waiting.seq, bytes);
        self.node.metrics.bytes_pushed.increment(bytes);
        let frame = Frame::Message {
            seq: waiting.seq,
            stored_at: waiting.stored_at,
            tariff_version: waiting.tariff_version,
            relayed: waiting.relayed_in,
            packet: waiting.packet,
        };
        self.sealer.seal(&frame).into()
    }

    /// Issues a statement over everything the client has; it is durable before it is pushed.
    async fn bill(&mut self) -> Result<Billed, StoreError> {
        let began = Instant::now();
        let (wallet, through, relay) = (self.wallet, self.progress.cursor(), self.relay);
        let issued = self
            .node
            .store
            .writer()
            .write_patiently(move |connection| {
                Box::pin(async move { statements::issue(connection, wallet, through, relay, clock::now_s()).await })
            })
            .await?;
        match issued {
            Issued::Held => Ok(Billed::Held),
            Issued::Nothing => {
                self.progress.nothing_to_bill();
                Ok(Billed::Nothing)
            }
            Issued::Statement(statement) => {
                self.progress.billed(statement.through);
                self.node.metrics.statements_issued.increment(1);
                self.node.metrics.statement_seconds.record(began.elapsed());
                Ok(Billed::Statement(self.sealer.seal(&Frame::Statement(statement)).into()))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_newer_subscription_displaces_the_older() {
        let (subscriptions, wallet) = (Subscriptions::default(), Address::ZERO);
        let older = subscriptions.take_over(wallet).expect("there is room");
        let newer = subscriptions.take_over(wallet).expect("there is room");
        assert!(older.displaced.is_cancelled() && !newer.displaced.is_cancelled());
        subscriptions.leave(wallet);
        assert!(subscriptions.line(wallet).is_some_and(|line| Arc::ptr_eq(&line, &newer)));
        subscriptions.leave(wallet);
        assert!(subscriptions.line(wallet).is_none());
    }

    #[test]
    fn streams_that_nobody_reads_do_not_pile_up() {
        let (subscriptions, wallet) = (Subscriptions::default(), Address::ZERO);
        assert!((0..STREAMS_PER_WALLET_MAX).all(|_| subscriptions.take_over(wallet).is_some()));
        assert!(subscriptions.take_over(wallet).is_none());
        assert!(subscriptions.take_over(Address::repeat_byte(1)).is_some(), "another wallet's are its own");
        subscriptions.leave(wallet);
        assert!(subscriptions.take_over(wallet).is_some());
    }
}
