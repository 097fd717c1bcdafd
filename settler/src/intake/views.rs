//! What the chain showed of lanes lately, so that a lane that sends often is not read for each of its vouchers. What is
//! decided on it is only whether a voucher is kept: whatever is claimed, the planner reads again.
//!
//! Only what spoke for a voucher is remembered: whoever is refused is looked at again the next time.

use std::sync::{Mutex, PoisonError};

use crate::chain::LaneQuestion;
use crate::check::DelegateView;
use crate::recent::Recent;
use crate::store::LaneView;

/// Lanes to remember at least; at most twice as many, some 60 MB. Those beyond are read for each voucher.
const LANES_MAX: usize = 1 << 17;
/// However seldom the operator has lanes read: what a payer did in the meantime, as starting a notice, must be seen long
/// before a notice ends.
const AGE_MAX_S: u64 = 60;

/// A lane as the chain showed it.
#[derive(Debug, Clone, Copy)]
pub(super) struct Seen {
    pub(super) view: LaneView,
    pub(super) delegate: DelegateView,
    /// When that was, unix seconds.
    pub(super) at: u64,
}

/// The lanes that were read lately.
#[derive(Debug)]
pub(super) struct Views {
    age_max_s: u64,
    seen: Mutex<Recent<LaneQuestion, Seen>>,
}

impl Views {
    /// Nothing yet, and nothing ever older than this, nor than a minute.
    pub(super) fn new(age_max_s: u64) -> Self {
        Self { age_max_s: age_max_s.min(AGE_MAX_S), seen: Mutex::new(Recent::new(LANES_MAX)) }
    }

    /// What is remembered of each lane, in their order. What was seen after `now` was seen by a clock that was wrong.
    pub(super) fn of(&self, lanes: &[LaneQuestion], now: u64) -> Vec<Option<Seen>> {
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        let recent = |seen: &Seen| now.checked_sub(seen.at).is_some_and(|age| age < self.age_max_s);
        lanes.iter().map(|lane| seen.get(lane).copied().filter(recent)).collect()
    }

    /// Remembers some.
    pub(super) fn keep(&self, lanes: impl Iterator<Item = (LaneQuestion, Seen)>) {
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        lanes.for_each(|(lane, view)| seen.put(lane, view));
    }
}

#[cfg(test)]
mod tests {
    use alloy::primitives::Address;

    use super::*;

    #[test]
    fn a_view_is_used_until_it_is_as_old_as_the_operator_allows() {
        let views = Views::new(30);
        let [payer, payee, other] = [1, 2, 3].map(Address::repeat_byte);
        let lane = LaneQuestion { payer, payee, signer: payer };
        let known = |lane, now| views.of(&[lane], now)[0].is_some();
        assert!(!known(lane, 100));
        let seen = Seen { view: LaneView::default(), delegate: DelegateView::default(), at: 100 };
        views.keep([(lane, seen)].into_iter());
        assert!(known(lane, 100) && known(lane, 129));
        assert!(!known(lane, 130), "too old");
        assert!(!known(lane, 99), "from the future");
        assert!(!known(LaneQuestion { signer: other, ..lane }, 100), "another signer is another question");
        assert_eq!(Views::new(3_600).age_max_s, AGE_MAX_S);
    }
}
