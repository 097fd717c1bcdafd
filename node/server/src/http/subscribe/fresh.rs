//! Packets that were just stored, on their way to a listener without a detour through the store. The writer hands them over
//! in the order of its commits, so what lies here follows without a gap on everything committed before it. Bounded: when
//! there is no room, all of it is let go and the stream is told to read the store, which has it.

use std::{
    collections::VecDeque,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};

use crate::store::packets::Waiting;

/// Packets kept for one wallet: what arrives while its stream is busy with one write.
const PACKETS_MAX: usize = 256;
/// Their bytes: the largest packet fits.
const BYTES_MAX: usize = 1 << 20;
/// Bytes kept for all wallets: a thousandth of what all streams could keep, because most are caught up.
const BYTES_IN_ALL_MAX: usize = 64 << 20;

/// What the next packet is.
#[derive(Debug)]
pub(super) enum Next {
    Packet(Waiting),
    /// Nothing was stored that is not pushed yet.
    Nothing,
    /// Something was not kept: it is in the store.
    Missed,
}

/// The packets of one listener.
#[derive(Debug)]
pub(super) struct Fresh {
    packets: VecDeque<Waiting>,
    bytes: usize,
    /// Whether something was not kept since the listener last asked; nothing is kept then.
    missed: bool,
    /// The bytes of all listeners.
    in_all: Arc<AtomicUsize>,
}

impl Fresh {
    /// A listener has missed everything that came before it.
    pub(super) const fn new(in_all: Arc<AtomicUsize>) -> Self {
        Self { packets: VecDeque::new(), bytes: 0, missed: true, in_all }
    }

    /// Keeps a packet that was just committed, if there is room.
    pub(super) fn offer(&mut self, waiting: Waiting) {
        if self.missed {
            return;
        }
        let bytes = waiting.packet.len();
        let fits = self.packets.len() < PACKETS_MAX && self.bytes.saturating_add(bytes) <= BYTES_MAX;
        if !fits || self.in_all.fetch_add(bytes, Ordering::Relaxed) + bytes > BYTES_IN_ALL_MAX {
            if fits {
                self.in_all.fetch_sub(bytes, Ordering::Relaxed);
            }
            self.miss();
            return;
        }
        self.bytes += bytes;
        self.packets.push_back(waiting);
    }

    /// Something was stored that is not handed over.
    pub(super) fn miss(&mut self) {
        self.in_all.fetch_sub(self.bytes, Ordering::Relaxed);
        self.bytes = 0;
        self.packets = VecDeque::new();
        self.missed = true;
    }

    /// The first packet beyond `after`. After [`Next::Missed`] packets are kept again: whoever reads the store then misses
    /// nothing.
    pub(super) fn next(&mut self, after: u64) -> Next {
        if std::mem::take(&mut self.missed) {
            return Next::Missed;
        }
        while let Some(waiting) = self.packets.pop_front() {
            self.bytes -= waiting.packet.len();
            self.in_all.fetch_sub(waiting.packet.len(), Ordering::Relaxed);
            if waiting.seq > after {
                return Next::Packet(waiting);
            }
        }
        Next::Nothing
    }
}

impl Drop for Fresh {
    fn drop(&mut self) {
        self.in_all.fetch_sub(self.bytes, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn packet(seq: u64, bytes: usize) -> Waiting {
        Waiting { seq, stored_at: 0, tariff_version: 1, relayed_in: false, packet: vec![0; bytes].into() }
    }

    /// One that has read the store.
    fn caught_up() -> Fresh {
        let mut fresh = Fresh::new(Arc::default());
        assert!(matches!(fresh.next(0), Next::Missed));
        fresh
    }

    fn seqs(fresh: &mut Fresh, after: u64) -> Vec<u64> {
        std::iter::from_fn(|| match fresh.next(after) {
            Next::Packet(waiting) => Some(waiting.seq),
            Next::Nothing | Next::Missed => None,
        })
        .collect()
    }

    #[test]
    fn gives_in_order_what_comes_after() {
        let mut fresh = caught_up();
        (1..=4).for_each(|seq| fresh.offer(packet(seq, 10)));
        assert_eq!(seqs(&mut fresh, 2), [3, 4], "the store had the first two");
        assert!(matches!(fresh.next(4), Next::Nothing));
        assert_eq!(fresh.in_all.load(Ordering::Relaxed), 0);
    }

    #[test]
    fn keeps_nothing_before_the_store_was_read() {
        let mut fresh = Fresh::new(Arc::default());
        fresh.offer(packet(1, 10));
        assert!(matches!(fresh.next(0), Next::Missed));
        assert!(matches!(fresh.next(0), Next::Nothing));
    }

    #[test]
    fn lets_everything_go_when_there_is_no_room_and_says_so() {
        let one_more = |fresh: &mut Fresh, seq| {
            fresh.offer(packet(seq, 10));
            assert_eq!(fresh.in_all.load(Ordering::Relaxed), 0);
            assert!(matches!(fresh.next(0), Next::Missed), "read the store");
            assert!(matches!(fresh.next(0), Next::Nothing));
            fresh.offer(packet(seq + 1, 10));
            assert_eq!(seqs(fresh, 0), [seq + 1]);
        };
        let mut many = caught_up();
        (1..=256).for_each(|seq| many.offer(packet(seq, 1)));
        one_more(&mut many, 257);
        let mut large = caught_up();
        large.offer(packet(1, BYTES_MAX));
        one_more(&mut large, 2);
        let mut crowded = caught_up();
        crowded.in_all.store(BYTES_IN_ALL_MAX - 5, Ordering::Relaxed);
        crowded.offer(packet(1, 10));
        assert_eq!(crowded.in_all.load(Ordering::Relaxed), BYTES_IN_ALL_MAX - 5);
        assert!(matches!(crowded.next(0), Next::Missed));
    }

    #[test]
    fn a_listener_that_leaves_takes_its_bytes_along() {
        let in_all = Arc::<AtomicUsize>::default();
        let mut fresh = Fresh::new(Arc::clone(&in_all));
        fresh.next(0);
        fresh.offer(packet(1, 10));
        assert_eq!(in_all.load(Ordering::Relaxed), 10);
        drop(fresh);
        assert_eq!(in_all.load(Ordering::Relaxed), 0);
    }
}
