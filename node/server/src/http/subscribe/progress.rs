//! How far one subscription is: what was pushed, what of it is acknowledged, and whether it is time for a statement.
//! At most one statement is open at a time, because a newer one makes the older worthless.

use std::collections::VecDeque;

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

    pub(super) const fn billed(&mut self, through: u64) {
        self.open_bill = Some(through);
    }

    pub(super) const fn bill_again(&mut self) {
        self.open_bill = None;
    }

    /// Nothing up to the cursor is stored: there is nothing to pay for.
    pub(super) fn nothing_to_bill(&mut self) {
        self.acknowledged(self.cursor);
    }

    /// Whether to issue a statement now: when all is pushed, or half the window is waiting for one.
    pub(super) fn wants_bill(&self, caught_up: bool) -> bool {
        let enough = caught_up || self.in_flight_bytes >= self.window_bytes / 2;
        self.open_bill.is_none() && self.cursor > self.settled && enough
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fresh_subscription_owes_nothing() {
        assert!(!Progress::new(0, 100).wants_bill(true));
    }

    #[test]
    fn what_was_received_before_is_billed() {
        let mut progress = Progress::new(7, 100);
        assert!(progress.wants_bill(true));
        progress.nothing_to_bill();
        assert!(!progress.wants_bill(true));
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
        let mut progress = Progress::new(0, 100);
        progress.pushed(1, 40);
        assert!(!progress.wants_bill(false));
        assert!(progress.wants_bill(true));
        progress.pushed(2, 10);
        assert!(progress.wants_bill(false));
        progress.billed(2);
        progress.pushed(3, 40);
        assert!(!progress.wants_bill(true));
        progress.acknowledged(2);
        assert!(progress.wants_bill(true));
    }

    #[test]
    fn a_superseded_statement_is_replaced() {
        let mut progress = Progress::new(0, 100);
        progress.pushed(1, 40);
        progress.billed(1);
        assert!(!progress.wants_bill(true));
        progress.bill_again();
        assert!(progress.wants_bill(true));
    }
}
