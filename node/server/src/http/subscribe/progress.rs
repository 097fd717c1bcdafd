//! How far one subscription is: what was pushed, what of it is acknowledged, and whether it is time for a statement.
//! At most one statement is open at a time, because a newer one makes the older worthless.

use std::{collections::VecDeque, time::Duration};

use tokio::time::Instant;

/// A stream is given statements this often, unless half its window waits for one; the first after a pause comes at once. An
/// acknowledgement costs two signatures, a decapsulation and a commit, whether it covers one packet or a thousand.
pub(super) const STATEMENT_EVERY: Duration = Duration::from_secs(1);

/// Whether to issue a statement.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Bill {
    No,
    Now,
    /// Not before.
    At(Instant),
}

/// The state of one subscription's queue.
#[derive(Clone, Debug)]
pub(super) struct Progress {
    /// Highest sequence number the client has or was sent.
    cursor: u64,
    /// Pushed and not acknowledged: sequence number and bytes.
    in_flight: VecDeque<(u64, u64)>,
    in_flight_bytes: u64,
    window_bytes: u64,
    /// Acknowledged, or known to need no statement, up to here.
    settled: u64,
    /// The open statement covers up to here.
    open_bill: Option<u64>,
    /// The next statement need not come sooner.
    rests_until: Option<Instant>,
    /// It is not this wallet's turn before.
    held_until: Option<Instant>,
}

impl Progress {
    pub(super) const fn new(resume_after: u64, window_bytes: u64) -> Self {
        Self {
            cursor: resume_after,
            in_flight: VecDeque::new(),
            in_flight_bytes: 0,
            window_bytes,
            settled: 0,
            open_bill: None,
            rests_until: None,
            held_until: None,
        }
    }

    pub(super) const fn cursor(&self) -> u64 {
        self.cursor
    }

    /// Whether another packet may be pushed. One always may, however small the window is.
    pub(super) fn has_room(&self) -> bool {
        self.in_flight.is_empty() || self.in_flight_bytes < self.window_bytes
    }

    pub(super) fn pushed(&mut self, seq: u64, bytes: u64) {
        self.cursor = self.cursor.max(seq);
        self.in_flight.push_back((seq, bytes));
        self.in_flight_bytes = self.in_flight_bytes.saturating_add(bytes);
    }

    pub(super) fn acknowledged(&mut self, through: u64) {
        while let Some((_, bytes)) = self.in_flight.pop_front_if(|(seq, _)| *seq <= through) {
            self.in_flight_bytes = self.in_flight_bytes.saturating_sub(bytes);
        }
        self.settled = self.settled.max(through);
        if self.open_bill.is_some_and(|open| open <= through) {
            self.open_bill = None;
        }
    }

    pub(super) fn billed(&mut self, through: u64, now: Instant) {
        self.open_bill = Some(through);
        self.rests_until = Some(now + STATEMENT_EVERY);
    }

    /// Another wallet of the account is being billed.
    pub(super) const fn held(&mut self, until: Instant) {
        self.held_until = Some(until);
    }

    /// It is this wallet's turn.
    pub(super) const fn called(&mut self) {
        self.held_until = None;
    }

    /// The open statement is worth nothing any more.
    pub(super) const fn bill_again(&mut self) {
        self.open_bill = None;
        self.rests_until = None;
    }

    /// Nothing up to the cursor is stored: there is nothing to pay for.
    pub(super) fn nothing_to_bill(&mut self) {
        self.acknowledged(self.cursor);
    }

    /// Whether to issue a statement: when all is pushed, or half the window is waiting for one.
    pub(super) fn bill(&self, caught_up: bool, now: Instant) -> Bill {
        let half_full = self.in_flight_bytes >= self.window_bytes / 2;
        if self.open_bill.is_some() || self.cursor <= self.settled || !(caught_up || half_full) {
            return Bill::No;
        }
        let rest = if half_full { None } else { self.rests_until };
        match self.held_until.max(rest) {
            Some(time) if time > now => Bill::At(time),
            _ => Bill::Now,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fresh_subscription_owes_nothing() {
        assert_eq!(Progress::new(0, 100).bill(true, Instant::now()), Bill::No);
    }

    #[test]
    fn what_was_received_before_is_billed() {
        let mut progress = Progress::new(7, 100);
        assert_eq!(progress.bill(true, Instant::now()), Bill::Now);
        progress.nothing_to_bill();
        assert_eq!(progress.bill(true, Instant::now()), Bill::No);
    }

    #[test]
    fn stops_at_the_window_and_goes_on_after_the_acknowledgement() {
        let mut progress = Progress::new(0, 100);
        progress.pushed(1, 60);
        assert!(progress.has_room());
        progress.pushed(2, 60);
        assert!(!progress.has_room());
        progress.acknowledged(1);
        assert!(progress.has_room());
    }

    #[test]
    fn a_packet_larger_than_the_window_is_still_pushed() {
        let mut progress = Progress::new(0, 10);
        assert!(progress.has_room());
        progress.pushed(1, 60);
        assert!(!progress.has_room());
    }

    #[test]
    fn bills_when_caught_up_or_half_full_but_one_at_a_time() {
        let now = Instant::now();
        let mut progress = Progress::new(0, 100);
        progress.pushed(1, 40);
        assert_eq!(progress.bill(false, now), Bill::No);
        assert_eq!(progress.bill(true, now), Bill::Now);
        progress.pushed(2, 10);
        assert_eq!(progress.bill(false, now), Bill::Now);
        progress.billed(2, now);
        progress.pushed(3, 60);
        assert_eq!(progress.bill(true, now), Bill::No);
        progress.acknowledged(2);
        assert_eq!(progress.bill(false, now), Bill::Now, "half the window does not wait");
    }

    #[test]
    fn after_a_statement_the_next_waits_for_company() {
        let now = Instant::now();
        let mut progress = Progress::new(0, 100);
        progress.pushed(1, 10);
        progress.billed(1, now);
        progress.acknowledged(1);
        progress.pushed(2, 10);
        assert_eq!(progress.bill(true, now), Bill::At(now + STATEMENT_EVERY));
        assert_eq!(progress.bill(true, now + STATEMENT_EVERY), Bill::Now);
    }

    #[test]
    fn a_bill_that_is_held_up_is_not_tried_at_every_packet() {
        let now = Instant::now();
        let mut progress = Progress::new(0, 100);
        progress.pushed(1, 60);
        let until = now + Duration::from_secs(3);
        progress.held(until);
        assert_eq!(progress.bill(true, now), Bill::At(until));
        assert_eq!(progress.bill(true, until), Bill::Now);
        progress.called();
        assert_eq!(progress.bill(true, now), Bill::Now);
    }

    #[test]
    fn a_superseded_statement_is_replaced_at_once() {
        let now = Instant::now();
        let mut progress = Progress::new(0, 100);
        progress.pushed(1, 40);
        progress.billed(1, now);
        assert_eq!(progress.bill(true, now), Bill::No);
        progress.bill_again();
        assert_eq!(progress.bill(true, now), Bill::Now);
    }
}
