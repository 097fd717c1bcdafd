//! The running subscriptions, and the line from the rest of the node to each. One per wallet: the newest wins.

use std::{
    collections::{HashMap, hash_map::Entry},
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering},
    },
};

use alloy::primitives::Address;
use tokio::{sync::Notify, time::Instant};

use super::{
    fresh::{Fresh, Next},
    turns::{Turn, Turns},
};
use crate::store::{Audience, packets::Waiting};

/// Streams of one wallet, displaced ones included: one that nobody reads cannot see that it was displaced, and holds what
/// it was about to say. A customer on the move leaves a few behind until the kernel gives them up.
pub(super) const STREAMS_PER_WALLET_MAX: usize = 16;

/// The line to one running subscription.
#[derive(Debug)]
pub(super) struct Line {
    /// Rung when there is something to look at.
    pub(super) bell: Notify,
    /// Highest sequence number acknowledged since the subscription began.
    acknowledged: AtomicU64,
    /// Whether the last statement is worth nothing any more.
    bill_again: AtomicBool,
    /// Set when it is this wallet's turn to be billed.
    called: AtomicBool,
    /// Set when a newer subscription of the wallet takes over.
    displaced: AtomicBool,
    fresh: Mutex<Fresh>,
}

impl Line {
    fn new(in_all: Arc<AtomicUsize>) -> Self {
        Self {
            bell: Notify::new(),
            acknowledged: AtomicU64::new(0),
            bill_again: AtomicBool::new(false),
            called: AtomicBool::new(false),
            displaced: AtomicBool::new(false),
            fresh: Mutex::new(Fresh::new(in_all)),
        }
    }

    fn with_fresh<T>(&self, change: impl FnOnce(&mut Fresh) -> T) -> T {
        change(&mut self.fresh.lock().unwrap_or_else(PoisonError::into_inner))
    }

    pub(super) fn acknowledged(&self) -> u64 {
        self.acknowledged.load(Ordering::Acquire)
    }

    /// Whether to bill again; asked once.
    pub(super) fn take_bill_again(&self) -> bool {
        self.bill_again.swap(false, Ordering::AcqRel)
    }

    /// Whether it is this wallet's turn to be billed; asked once.
    pub(super) fn take_called(&self) -> bool {
        self.called.swap(false, Ordering::AcqRel)
    }

    pub(super) fn is_displaced(&self) -> bool {
        self.displaced.load(Ordering::Acquire)
    }

    /// The first packet handed over beyond `after`.
    pub(super) fn next(&self, after: u64) -> Next {
        self.with_fresh(|fresh| fresh.next(after))
    }

    fn displace(&self) {
        self.displaced.store(true, Ordering::Release);
        self.with_fresh(Fresh::miss);
        self.bell.notify_one();
    }
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
    /// Bytes handed over and not pushed yet.
    fresh_bytes: Arc<AtomicUsize>,
    /// Who is billed, and who waits for it.
    turns: Mutex<Turns>,
}

impl Subscriptions {
    fn with<T>(&self, change: impl FnOnce(&mut HashMap<Address, Streams>) -> T) -> T {
        change(&mut self.wallets.lock().unwrap_or_else(PoisonError::into_inner))
    }

    fn line(&self, wallet: Address) -> Option<Arc<Line>> {
        self.with(|wallets| wallets.get(&wallet).map(|streams| Arc::clone(&streams.line)))
    }

    /// This wallet's packets up to `through` are paid for, by this payer, and gone.
    pub(crate) fn acknowledged(&self, payer: Address, wallet: Address, through: u64) {
        if let Some(line) = self.line(wallet) {
            line.acknowledged.fetch_max(through, Ordering::Release);
            line.bell.notify_one();
        }
        self.not_billed(payer, wallet);
    }

    fn with_turns<T>(&self, change: impl FnOnce(&mut Turns) -> T) -> T {
        change(&mut self.turns.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Whether this wallet is to be billed now.
    pub(super) fn turn(&self, payer: Address, wallet: Address) -> Turn {
        self.with_turns(|turns| turns.ask(payer, wallet, Instant::now()))
    }

    /// It has a statement now.
    pub(super) fn billed(&self, payer: Address, wallet: Address) {
        self.with_turns(|turns| turns.billed(payer, wallet, Instant::now()));
    }

    /// The store leaves a statement of another wallet in peace until then.
    pub(super) fn held_up(&self, payer: Address, wallet: Address, by: Address, until: Instant) {
        self.with_turns(|turns| turns.held_up(payer, wallet, by, until, Instant::now()));
    }

    /// It has none, or none any more: whoever of the account waits longest is called.
    pub(super) fn not_billed(&self, payer: Address, wallet: Address) {
        self.with_turns(|turns| {
            turns.done(payer, wallet);
            turns.call(payer, Instant::now(), |next| {
                let line = self.line(next);
                if let Some(line) = &line {
                    line.called.store(true, Ordering::Release);
                    line.bell.notify_one();
                }
                line.is_some()
            });
        });
    }

    /// The statement this wallet was last given is not the account's latest.
    pub(crate) fn bill_again(&self, wallet: Address) {
        if let Some(line) = self.line(wallet) {
            line.bill_again.store(true, Ordering::Release);
            line.bell.notify_one();
        }
    }

    /// Takes the wallet over from any older subscription. None when too many of those have not ended.
    pub(super) fn take_over(&self, wallet: Address) -> Option<Arc<Line>> {
        let line = Arc::new(Line::new(Arc::clone(&self.fresh_bytes)));
        self.with(|wallets| {
            match wallets.entry(wallet) {
                Entry::Vacant(vacant) => {
                    vacant.insert(Streams { line: Arc::clone(&line), open: 1 });
                }
                Entry::Occupied(occupied) if occupied.get().open >= STREAMS_PER_WALLET_MAX => return None,
                Entry::Occupied(mut occupied) => {
                    let streams = occupied.get_mut();
                    streams.open += 1;
                    std::mem::replace(&mut streams.line, Arc::clone(&line)).displace();
                }
            }
            Some(line)
        })
    }

    pub(super) fn leave(&self, wallet: Address) {
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

impl Audience for Subscriptions {
    fn stored(&self, wallet: Address, waiting: Waiting) {
        if let Some(line) = self.line(wallet) {
            line.with_fresh(|fresh| fresh.offer(waiting));
            line.bell.notify_one();
        }
    }

    fn missed(&self) {
        self.with(|wallets| {
            for Streams { line, .. } in wallets.values() {
                line.with_fresh(Fresh::miss);
                line.bell.notify_one();
            }
        });
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
        assert!(older.is_displaced() && !newer.is_displaced());
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

    #[test]
    fn what_is_published_reaches_the_wallets_newest_stream_only() {
        let (subscriptions, wallet) = (Subscriptions::default(), Address::ZERO);
        let older = subscriptions.take_over(wallet).expect("there is room");
        let newer = subscriptions.take_over(wallet).expect("there is room");
        assert!(matches!(newer.next(0), Next::Missed));
        let waiting =
            Waiting { seq: 1, stored_at: 0, tariff_version: 1, relayed_in: false, packet: vec![0; 10].into() };
        subscriptions.stored(Address::repeat_byte(1), waiting.clone());
        subscriptions.stored(wallet, waiting);
        assert!(matches!(older.next(0), Next::Missed));
        assert!(matches!(older.next(0), Next::Nothing));
        assert!(matches!(newer.next(0), Next::Packet(waiting) if waiting.seq == 1));
    }

    #[test]
    fn after_a_failure_of_the_store_every_stream_reads_it() {
        let subscriptions = Subscriptions::default();
        let lines: Vec<_> = (1..4)
            .map(|wallet| subscriptions.take_over(Address::repeat_byte(wallet)).expect("there is room"))
            .collect();
        assert!(lines.iter().all(|line| matches!(line.next(0), Next::Missed)));
        assert!(lines.iter().all(|line| matches!(line.next(0), Next::Nothing)));
        subscriptions.missed();
        assert!(lines.iter().all(|line| matches!(line.next(0), Next::Missed)));
    }
}
