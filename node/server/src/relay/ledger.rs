//! What this relay holds against one agent, in memory: the account as the store has it, what was carried since, and what
//! is being carried now. The question that each packet asks, whether the agent may owe this much more, is answered here
//! and never by the store. A request in flight is a pending debit: reserved first, then posted or void, so that however
//! many packets are under way, the agent never owes more than its credit (law 12).

use std::sync::{Arc, Mutex, PoisonError};

use super::account::{self, Terms, UnderWay};
use crate::store::peers::Earned;

/// Requests forwarded to one agent at a time: one that answers slowly must not take every place there is.
const REQUESTS_PER_AGENT_MAX: usize = 128;
/// The same, for one that let a request run into its timeout, until it answers one in time.
const REQUESTS_PER_SLOW_AGENT_MAX: usize = 4;
/// Streams piped from one agent at a time, for the same reason.
const STREAMS_PER_AGENT_MAX: usize = 4_096;

/// Why nothing more is carried for an agent now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Full {
    /// It owes too much. `first` when that has just become so.
    Credit { first: bool },
    /// Too many requests or streams are under way.
    Places,
}

/// Bytes carried and not yet in the store.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Carriage {
    pub(crate) inbound: u128,
    pub(crate) outbound: u128,
}

#[derive(Debug)]
struct Books {
    stored: Earned,
    unwritten: Carriage,
    /// Taken to be written, and not known to be committed.
    writing: Carriage,
    /// Bytes of requests whose answers are not counted yet.
    reserved: u128,
    requests: usize,
    /// Streams being piped.
    streams: usize,
    /// Duplicates that this relay cannot explain by what it brought itself.
    duplicates: u128,
    bytes_unasked: u64,
    /// Whether nothing was forwarded since the agent last said what it owes. Not so at the start, of an agent that was
    /// carried for before: that run may have ended between an answer and its count.
    settled: bool,
    slow: bool,
    stopped: bool,
    disputes: u64,
    /// Bytes by which the agent was last seen to count too few.
    shortfall: u128,
}

impl Books {
    /// The account with everything that is counted.
    fn earned(&self) -> Earned {
        let mut earned = self.stored.clone();
        for part in [self.unwritten, self.writing] {
            earned.inbound_bytes = earned.inbound_bytes.saturating_add(part.inbound);
            earned.outbound_bytes = earned.outbound_bytes.saturating_add(part.outbound);
        }
        earned
    }

    fn exposed_bytes(&self, terms: &Terms) -> u128 {
        account::exposed_bytes(&self.earned(), self.duplicates, terms.write_off_bytes).saturating_add(self.reserved)
    }

    /// Whether so many bytes more are within the credit.
    fn admit(&mut self, bytes: u64, terms: &Terms) -> Result<(), Full> {
        let exposed = self.exposed_bytes(terms).saturating_add(bytes.into());
        if account::worth(exposed, terms) <= terms.credit {
            self.stopped = false;
            return Ok(());
        }
        Err(Full::Credit { first: !std::mem::replace(&mut self.stopped, true) })
    }
}

/// One agent's.
#[derive(Debug)]
pub(crate) struct Ledger(Mutex<Books>);

/// What the collector decides by.
#[derive(Clone, Debug)]
pub(crate) struct Standing {
    pub(crate) earned: Earned,
    pub(crate) bytes_unasked: u64,
    pub(crate) settled: bool,
    pub(crate) duplicates: u128,
    pub(crate) disputes: u64,
}

impl Ledger {
    /// As the store has it. `settled` when it is not there yet.
    pub(crate) fn new(stored: Earned, settled: bool) -> Self {
        Self(Mutex::new(Books {
            stored,
            unwritten: Carriage::default(),
            writing: Carriage::default(),
            reserved: 0,
            requests: 0,
            streams: 0,
            duplicates: 0,
            bytes_unasked: 0,
            settled,
            slow: false,
            stopped: false,
            disputes: 0,
            shortfall: 0,
        }))
    }

    fn with<T>(&self, change: impl FnOnce(&mut Books) -> T) -> T {
        change(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }

    pub(crate) fn standing(&self) -> Standing {
        self.with(|books| Standing {
            earned: books.earned(),
            bytes_unasked: books.bytes_unasked,
            settled: books.settled,
            duplicates: books.duplicates,
            disputes: books.disputes,
        })
    }

    /// Unsecured credit given at this moment, requests in flight included.
    pub(crate) fn exposed_bytes(&self, terms: &Terms) -> u128 {
        self.with(|books| books.exposed_bytes(terms))
    }

    /// Begins a request that may come to cost the agent `bytes`. One that costs nothing, a command, passes at the limit
    /// too: among them is the acknowledgement without which the agent does not pay.
    pub(crate) fn begin(self: &Arc<Self>, bytes: u64, terms: &Terms) -> Result<Forwarding, Full> {
        self.with(|books| {
            let places = if books.slow { REQUESTS_PER_SLOW_AGENT_MAX } else { REQUESTS_PER_AGENT_MAX };
            if books.requests >= places {
                return Err(Full::Places);
            }
            if bytes > 0 {
                books.admit(bytes, terms)?;
            }
            books.requests += 1;
            books.reserved = books.reserved.saturating_add(bytes.into());
            Ok(Forwarding { ledger: Arc::clone(self), reserved: bytes, sent: false })
        })
    }

    /// Begins a stream.
    pub(crate) fn begin_stream(self: &Arc<Self>, terms: &Terms) -> Result<Piping, Full> {
        self.with(|books| {
            if books.streams >= STREAMS_PER_AGENT_MAX {
                return Err(Full::Places);
            }
            books.admit(1, terms)?;
            books.streams += 1;
            Ok(Piping(Arc::clone(self)))
        })
    }

    /// Notes that the agent is asked now, and gives what is claimed.
    pub(crate) fn ask(&self) -> Earned {
        self.with(|books| {
            books.bytes_unasked = 0;
            books.settled = true;
            books.earned()
        })
    }

    /// Notes that the agent did not confirm.
    pub(crate) fn unsettle(&self) {
        self.with(|books| books.settled = false);
    }

    /// Notes by how much the agent counts less than it was told 202 for. True when that is more than before.
    pub(crate) fn falls_short(&self, bytes: u128) -> bool {
        self.with(|books| {
            let worse = bytes > books.shortfall;
            books.shortfall = bytes;
            books.disputes += u64::from(worse);
            worse
        })
    }

    /// Takes what is to be written; `None` when nothing is. One at a time: see `Peers::booking`.
    pub(crate) fn take(&self) -> Option<Carriage> {
        self.with(|books| {
            books.writing = std::mem::take(&mut books.unwritten);
            (books.writing != Carriage::default()).then_some(books.writing)
        })
    }

    /// The same, with what is under way at that very moment.
    pub(crate) fn take_all(&self) -> (Carriage, UnderWay) {
        self.with(|books| {
            books.writing = std::mem::take(&mut books.unwritten);
            (books.writing, UnderWay { requests: books.requests > 0, streams: books.streams > 0 })
        })
    }

    /// What was taken is in the store now, and this is the account.
    pub(crate) fn written(&self, stored: Earned) {
        self.with(|books| {
            books.writing = Carriage::default();
            books.stored = stored;
        });
    }

    /// What was taken could not be written.
    pub(crate) fn give_back(&self) {
        self.with(|books| {
            let back = std::mem::take(&mut books.writing);
            books.unwritten.inbound = books.unwritten.inbound.saturating_add(back.inbound);
            books.unwritten.outbound = books.unwritten.outbound.saturating_add(back.outbound);
        });
    }

    /// Bytes that a crash would lose, and bytes since a voucher was last asked for.
    pub(crate) fn bytes_due(&self) -> (u128, u64) {
        self.with(|books| {
            let unwritten = books.unwritten.inbound.saturating_add(books.unwritten.outbound);
            (unwritten, books.bytes_unasked)
        })
    }
}

/// A request on its way to an agent. Dropped uncounted, it was void.
#[derive(Debug)]
pub(crate) struct Forwarding {
    ledger: Arc<Ledger>,
    reserved: u64,
    sent: bool,
}

impl Forwarding {
    /// Notes that the agent is about to be sent it.
    pub(crate) const fn sent(&mut self) {
        self.sent = true;
    }

    /// Posts what was carried.
    pub(crate) fn carried(&self, bytes: u64, disputed: bool) {
        self.ledger.with(|books| {
            books.unwritten.inbound = books.unwritten.inbound.saturating_add(bytes.into());
            books.bytes_unasked = books.bytes_unasked.saturating_add(bytes);
            books.disputes += u64::from(disputed);
        });
    }

    /// Notes a duplicate that this relay did not bring.
    pub(crate) fn in_vain(&self, bytes: u64) {
        self.ledger.with(|books| books.duplicates = books.duplicates.saturating_add(bytes.into()));
    }

    /// Notes whether the agent answered in time.
    pub(crate) fn answered(&self, in_time: bool) {
        self.ledger.with(|books| books.slow = !in_time);
    }
}

impl Drop for Forwarding {
    fn drop(&mut self) {
        self.ledger.with(|books| {
            books.requests = books.requests.saturating_sub(1);
            books.reserved = books.reserved.saturating_sub(self.reserved.into());
            // Whatever it was, it may have changed what the agent owes: a packet stored, a statement acknowledged.
            books.settled &= !self.sent;
        });
    }
}

/// A stream being piped.
#[derive(Debug)]
pub(crate) struct Piping(Arc<Ledger>);

impl Piping {
    /// Posts bytes that are about to pass, if the agent may owe them.
    pub(crate) fn carry(&self, bytes: u64, terms: &Terms) -> Result<(), Full> {
        self.0.with(|books| {
            books.admit(bytes, terms)?;
            books.unwritten.outbound = books.unwritten.outbound.saturating_add(bytes.into());
            books.bytes_unasked = books.bytes_unasked.saturating_add(bytes);
            Ok(())
        })
    }
}

impl Drop for Piping {
    fn drop(&mut self) {
        self.0.with(|books| {
            books.streams = books.streams.saturating_sub(1);
            books.settled = false;
        });
    }
}

#[cfg(test)]
mod tests {
    use alloy::primitives::Address;
    use minus_bindings::Amount;
    use minus_protocol::Tariff;

    use super::*;

    /// One base unit a byte, a hundred on credit, ten in vain.
    fn terms() -> Terms {
        Terms {
            tariff_version: 1,
            tariff: Tariff { delivery: 0, relay: 1 << 30, storing: 0 },
            credit: Amount::from_base_units(100).expect("a small amount"),
            write_off_bytes: 10,
        }
    }

    fn ledger() -> Arc<Ledger> {
        Arc::new(Ledger::new(Earned::new(Address::repeat_byte(1), Address::repeat_byte(2)), true))
    }

    #[test]
    fn what_is_in_flight_is_owed_until_it_is_void() {
        let (ledger, terms) = (ledger(), terms());
        let first = ledger.begin(60, &terms).expect("within the credit");
        assert_eq!(ledger.begin(41, &terms).expect_err("one too many"), Full::Credit { first: true });
        assert_eq!(ledger.begin(41, &terms).expect_err("still"), Full::Credit { first: false });
        let second = ledger.begin(40, &terms).expect("to the last byte");
        second.carried(40, false);
        drop((first, second));
        assert_eq!(ledger.exposed_bytes(&terms), 40, "the first was void, the second posted");
        assert!(ledger.begin(0, &terms).is_ok());
        assert!(ledger.begin(60, &terms).is_ok());
        assert!(ledger.begin(61, &terms).is_err());
    }

    #[test]
    fn at_the_limit_commands_pass_and_streams_do_not() {
        let (ledger, terms) = (ledger(), terms());
        ledger.begin(100, &terms).expect("within the credit").carried(100, false);
        assert!(ledger.begin(0, &terms).is_ok());
        assert!(ledger.begin_stream(&terms).is_err());
    }

    #[test]
    fn a_stream_is_cut_at_the_byte() {
        let (ledger, terms) = (ledger(), terms());
        let piping = ledger.begin_stream(&terms).expect("within the credit");
        assert!(piping.carry(100, &terms).is_ok());
        assert_eq!(piping.carry(1, &terms), Err(Full::Credit { first: true }));
        assert_eq!(ledger.exposed_bytes(&terms), 100);
    }

    #[test]
    fn duplicates_in_vain_are_forgiven_up_to_the_setting() {
        let (ledger, terms) = (ledger(), terms());
        ledger.begin(50, &terms).expect("within the credit").in_vain(50);
        assert_eq!(ledger.exposed_bytes(&terms), 40);
    }

    #[test]
    fn nothing_is_lost_or_doubled_between_memory_and_store() {
        let (ledger, terms) = (ledger(), terms());
        ledger.begin(30, &terms).expect("within the credit").carried(30, false);
        assert_eq!(ledger.take(), Some(Carriage { inbound: 30, outbound: 0 }));
        ledger.begin(5, &terms).expect("within the credit").carried(5, false);
        assert_eq!(ledger.exposed_bytes(&terms), 35, "while it is being written");
        ledger.give_back();
        assert_eq!(ledger.take(), Some(Carriage { inbound: 35, outbound: 0 }));
        let mut stored = ledger.standing().earned;
        assert_eq!(stored.inbound_bytes, 35);
        stored.inbound_confirmed = 20;
        ledger.written(stored);
        assert_eq!(ledger.exposed_bytes(&terms), 15);
        assert_eq!(ledger.take(), None);
    }

    #[test]
    fn a_slow_agent_has_few_places_until_it_answers_in_time() {
        let (ledger, terms) = (ledger(), terms());
        let held: Vec<_> = (0..REQUESTS_PER_AGENT_MAX).map(|_| ledger.begin(0, &terms).expect("a place")).collect();
        assert_eq!(ledger.begin(0, &terms).expect_err("no place"), Full::Places);
        held[0].answered(false);
        drop(held);
        let held: Vec<_> = std::iter::from_fn(|| ledger.begin(0, &terms).ok()).collect();
        assert_eq!(held.len(), REQUESTS_PER_SLOW_AGENT_MAX);
        held[0].answered(true);
        assert!(ledger.begin(0, &terms).is_ok());
    }
}
