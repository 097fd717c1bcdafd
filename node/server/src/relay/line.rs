//! Packets for one agent that became ready on one core at the same moment, until they go out together. The first to come
//! lets everything else that is ready on the core run once; if nobody has joined it by then it goes by itself, as if there
//! were no line. Otherwise whoever came second has called for somebody to take them all. Nobody waits for time to pass, nor
//! for what went before.

use std::{
    collections::VecDeque,
    mem,
    sync::{Mutex, MutexGuard, PoisonError},
};

use axum::http::HeaderValue;
use minus_protocol::{Bundle, Judgement, Packet};
use tokio::sync::{OwnedSemaphorePermit, oneshot};

use super::ledger::Forwarding;
use crate::egress::{EgressError, Endpoint};

/// What a packet under way holds: its pending debit, and a place among all that is forwarded.
#[derive(Debug)]
pub(crate) struct Debit {
    pub(crate) forwarding: Forwarding,
    pub(crate) place: OwnedSemaphorePermit,
}

/// A packet that may share a request with others. It goes along with its debit, so that what it was answered is counted also
/// when nobody waits for it any more.
#[derive(Debug)]
pub(crate) struct Rider {
    pub(crate) packet: Packet,
    pub(crate) endpoint: Endpoint,
    pub(crate) token: HeaderValue,
    pub(crate) debit: Debit,
}

impl Rider {
    /// Whether both may be in one request: to the same place, under the same session.
    fn may_ride_with(&self, other: &Self) -> bool {
        self.token == other.token && self.endpoint.is(&other.endpoint)
    }
}

/// What became of a packet that joined.
#[derive(Debug)]
pub(crate) enum Ride {
    /// The agent's answer to it.
    Judged(Judgement),
    /// There was no answer; it may have arrived.
    Failed(EgressError),
}

/// A packet in the line, and to whom it is handed back.
#[derive(Debug)]
pub(crate) struct Waiting {
    pub(crate) rider: Rider,
    pub(crate) answer: oneshot::Sender<(Rider, Ride)>,
}

/// What whoever joined has to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Turn {
    /// Let the others run, and then go alone if it is still alone.
    First,
    /// Call somebody who takes them all.
    Second,
    /// Nothing but to wait.
    Later,
}

#[derive(Debug)]
struct Queue<T> {
    waiting: VecDeque<(u64, T)>,
    next: u64,
    /// Whether somebody is on the way to take them.
    is_called: bool,
}

/// One agent's, of one core. As long as the places that requests to one agent have.
#[derive(Debug)]
pub(crate) struct Line<T = Waiting>(Mutex<Queue<T>>);

impl<T> Default for Line<T> {
    fn default() -> Self {
        Self(Mutex::new(Queue { waiting: VecDeque::new(), next: 0, is_called: false }))
    }
}

impl<T> Line<T> {
    fn queue(&self) -> MutexGuard<'_, Queue<T>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Joins. The number is what it is known by.
    pub(crate) fn join(&self, one: T) -> (u64, Turn) {
        let mut queue = self.queue();
        let number = queue.next;
        queue.next = number.wrapping_add(1);
        queue.waiting.push_back((number, one));
        let turn = match (queue.is_called, queue.waiting.len()) {
            (true, _) => Turn::Later,
            (false, 1) => Turn::First,
            (false, _) => Turn::Second,
        };
        queue.is_called = turn != Turn::First;
        (number, turn)
    }

    /// Leaves, if it was not taken.
    pub(crate) fn leave(&self, number: u64) -> Option<T> {
        self.queue().leave(number)
    }

    /// Leaves, if nobody is on the way to take it.
    pub(crate) fn leave_uncalled(&self, number: u64) -> Option<T> {
        let mut queue = self.queue();
        if queue.is_called { None } else { queue.leave(number) }
    }

    /// Takes them all, in the order in which they came.
    pub(crate) fn take(&self) -> impl Iterator<Item = T> + use<T> {
        let mut queue = self.queue();
        queue.is_called = false;
        mem::take(&mut queue.waiting).into_iter().map(|(_, one)| one)
    }
}

impl<T> Queue<T> {
    fn leave(&mut self, number: u64) -> Option<T> {
        let place = self.waiting.iter().position(|(known, _)| *known == number)?;
        self.waiting.remove(place).map(|(_, one)| one)
    }
}

/// Packets that go in one request.
#[derive(Debug)]
pub(crate) struct Load {
    pub(crate) bundle: Bundle,
    pub(crate) riders: Vec<Waiting>,
}

/// Puts into one request what fits, in the order in which it came.
pub(crate) fn loads(waiting: impl Iterator<Item = Waiting>) -> Vec<Load> {
    let mut loads: Vec<Load> = Vec::new();
    for one in waiting {
        if let Some(last) = loads.last_mut()
            && last.bundle.packets() == last.riders.len() // or it is one that no bundle has room for
            && last.riders[0].rider.may_ride_with(&one.rider)
            && last.bundle.push(&one.rider.packet)
        {
            last.riders.push(one);
            continue;
        }
        let mut bundle = Bundle::default();
        // What is too large for any bundle goes alone, and needs none.
        let _ = bundle.push(&one.rider.packet);
        loads.push(Load { bundle, riders: vec![one] });
    }
    loads
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use alloy::primitives::Address;
    use minus_bindings::Amount;
    use minus_protocol::{
        Tariff,
        bundle::{BUNDLE_BYTES_MAX, BUNDLE_PACKETS_MAX},
        packet::{PACKET_OVERHEAD_BYTES, PACKET_VERSION},
    };
    use tokio::sync::Semaphore;

    use super::*;
    use crate::{
        egress::Egress,
        relay::{account::Terms, ledger::Ledger},
        store::peers::Earned,
    };

    /// Makes packets of so many padded bytes that wait under a token for an endpoint.
    fn waiting() -> impl Fn(usize, &'static str, &str) -> Waiting {
        let ledger = Arc::new(Ledger::new(Earned::new(Address::repeat_byte(1), Address::repeat_byte(2)), true));
        let tariff = Tariff { delivery: 0, relay: 0, storing: 0 };
        let terms = Terms { tariff_version: 1, tariff, credit: Amount::ZERO, write_off_bytes: 0 };
        let (places, egress) = (Arc::new(Semaphore::new(1_000)), Egress::new(true).expect("a client"));
        // Kept, so that the same text is the same place.
        let known = ["http://127.0.0.1:1", "http://127.0.0.1:2"].map(|url| (url, egress.endpoint(url).expect("a URL")));
        move |padded, token, url| {
            let mut packet = vec![4; PACKET_OVERHEAD_BYTES + padded];
            packet[0] = PACKET_VERSION;
            let endpoint = &known.iter().find(|(text, _)| *text == url).expect("a known one").1;
            let debit = Debit {
                forwarding: ledger.begin(0, &terms).expect("a place"),
                place: Arc::clone(&places).try_acquire_owned().expect("a place"),
            };
            let rider = Rider {
                packet: Packet::parse(packet).expect("well-formed"),
                endpoint: endpoint.clone(),
                token: HeaderValue::from_static(token),
                debit,
            };
            Waiting { rider, answer: oneshot::channel().0 }
        }
    }

    fn sizes(all: Vec<Waiting>) -> Vec<usize> {
        let loads = loads(all.into_iter());
        for load in &loads {
            let fits = load.bundle.packets() == load.riders.len() && load.bundle.as_bytes().len() <= BUNDLE_BYTES_MAX;
            assert!(fits || (load.bundle.packets() == 0 && load.riders.len() == 1));
        }
        loads.iter().map(|load| load.riders.len()).collect()
    }

    #[test]
    fn a_load_has_what_fits_and_goes_one_way() {
        let (here, there) = ("http://127.0.0.1:1", "http://127.0.0.1:2");
        let one = waiting();
        assert_eq!(sizes(Vec::new()), [0; 0]);
        let many = (0..BUNDLE_PACKETS_MAX + 9).map(|_| one(256, "a", here)).collect();
        assert_eq!(sizes(many), [BUNDLE_PACKETS_MAX, 9]);
        assert_eq!(sizes((0..5).map(|_| one(60 << 10, "a", here)).collect()), [2, 2, 1]);
        let mixed = vec![one(256, "a", here), one(256, "b", here), one(256, "b", here), one(256, "b", there)];
        assert_eq!(sizes(mixed), [1, 2, 1]);
        assert_eq!(sizes(vec![one(256, "a", here), one(256 << 10, "a", here), one(256, "a", here)]), [1, 1, 1]);
    }

    #[test]
    fn the_first_goes_alone_if_nobody_comes() {
        let line = Line::default();
        let (number, turn) = line.join('a');
        assert_eq!(turn, Turn::First);
        assert_eq!(line.leave_uncalled(number), Some('a'));
        assert_eq!(line.leave_uncalled(number), None);
        assert_eq!(line.join('b').1, Turn::First, "as if nobody had been there");
    }

    #[test]
    fn the_second_calls_and_all_are_taken_once() {
        let line = Line::default();
        let (first, _) = line.join('a');
        assert_eq!(line.join('b').1, Turn::Second);
        assert_eq!(line.join('c').1, Turn::Later);
        assert_eq!(line.leave_uncalled(first), None, "it is being fetched");
        assert_eq!(line.take().collect::<String>(), "abc");
        assert_eq!(line.take().count(), 0);
        let (next, turn) = line.join('d');
        assert_eq!(turn, Turn::First);
        assert_eq!(line.leave_uncalled(first), None, "another's place");
        assert_eq!(line.leave(next), Some('d'));
    }

    /// Whoever goes away takes nobody with it: while anybody waits, the first is awake or somebody is called.
    #[test]
    fn whoever_leaves_leaves_the_others() {
        let line = Line::default();
        let (first, _) = line.join('a');
        assert_eq!(line.leave(first), Some('a'));
        let (second, turn) = line.join('b');
        assert_eq!(turn, Turn::First);
        let (third, turn) = line.join('c');
        assert_eq!(turn, Turn::Second);
        assert_eq!((line.leave(second), line.leave(third)), (Some('b'), Some('c')));
        assert_eq!(line.join('d').1, Turn::Later, "who was called is still to come");
        assert_eq!(line.take().collect::<String>(), "d");
    }
}
