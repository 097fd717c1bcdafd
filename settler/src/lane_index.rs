//! The lanes that owe something, in every order that the operator wants them, small enough to be kept: a million lanes take
//! some eighty megabytes for as long as somebody looks. Sorting them in the database would read all of them for each page.
//! Pure.

use alloy::primitives::Address;
use minus_bindings::Amount;
use serde::{Deserialize, Serialize};

use crate::reports::LaneRecord;
use crate::store::{Hold, VoucherState};

/// In which order lanes are shown. Lanes that are equal in it come in the order of their payers.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "snake_case")]
pub enum LaneSort {
    /// Those that owe most first.
    #[default]
    Exposure,
    /// Those that close first first; those that do not close last.
    TimeLeft,
    /// Those that wait longest first.
    Age,
}

impl LaneSort {
    /// The word of it, as in a query.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Exposure => "exposure",
            Self::TimeLeft => "time_left",
            Self::Age => "age",
        }
    }
}

/// Which lanes.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct LaneFilter {
    /// How the payer's address begins, 0x-hex in lower case.
    pub payer: String,
    /// Why its voucher waits.
    pub held: Option<Hold>,
}

impl LaneFilter {
    fn fits(&self, lane: &Entry) -> bool {
        self.held.is_none_or(|held| lane.held == Some(held))
            && (self.payer.is_empty() || format!("{:#x}", lane.payer).starts_with(&self.payer))
    }
}

/// What is kept of a lane.
#[derive(Debug, Clone, Copy)]
struct Entry {
    voucher: i64,
    payer: Address,
    exposure: Amount,
    /// `u64::MAX` when it does not close.
    closes_at: u64,
    recorded_at: u64,
    held: Option<Hold>,
    waits: bool,
}

/// The lanes that owed something when it was made.
#[derive(Debug, Default)]
pub struct LaneIndex {
    entries: Vec<Entry>,
    by_exposure: Vec<u32>,
    by_time_left: Vec<u32>,
    by_age: Vec<u32>,
}

impl LaneIndex {
    /// Takes in more lanes; [`LaneIndex::sort`] comes after the last.
    pub fn extend(&mut self, lanes: impl IntoIterator<Item = LaneRecord>) {
        self.entries.extend(lanes.into_iter().map(|lane| Entry {
            voucher: lane.id,
            payer: lane.payer,
            exposure: lane.exposure,
            closes_at: lane.closes_at.unwrap_or(u64::MAX),
            recorded_at: lane.recorded_at,
            held: lane.held,
            waits: lane.state == VoucherState::Recorded,
        }));
    }

    /// Puts them in every order.
    #[must_use]
    pub fn sort(mut self) -> Self {
        let count = u32::try_from(self.entries.len()).unwrap_or(u32::MAX);
        let all: Vec<u32> = (0..count).collect();
        let entry = |at: &u32| usize::try_from(*at).ok().and_then(|at| self.entries.get(at));
        let mut orders = [all.clone(), all.clone(), all];
        orders[0].sort_by_key(|at| std::cmp::Reverse(entry(at).map(|lane| lane.exposure)));
        orders[1].sort_by_key(|at| entry(at).map(|lane| lane.closes_at));
        orders[2].sort_by_key(|at| entry(at).map(|lane| lane.recorded_at));
        [self.by_exposure, self.by_time_left, self.by_age] = orders;
        self
    }

    fn in_order(&self, sort: LaneSort) -> impl Iterator<Item = &Entry> {
        let order = match sort {
            LaneSort::Exposure => &self.by_exposure,
            LaneSort::TimeLeft => &self.by_time_left,
            LaneSort::Age => &self.by_age,
        };
        order.iter().filter_map(|at| usize::try_from(*at).ok().and_then(|at| self.entries.get(at)))
    }

    /// How many lanes fit, and the vouchers of one page of them.
    #[must_use]
    pub fn page(&self, filter: &LaneFilter, sort: LaneSort, limit: usize, offset: usize) -> (usize, Vec<i64>) {
        if *filter == LaneFilter::default() {
            let page = self.in_order(sort).skip(offset).take(limit).map(|lane| lane.voucher).collect();
            return (self.entries.len(), page);
        }
        let mut total = 0;
        let mut page = Vec::new();
        for lane in self.in_order(sort).filter(|lane| filter.fits(lane)) {
            if total >= offset && page.len() < limit {
                page.push(lane.voucher);
            }
            total += 1;
        }
        (total, page)
    }

    /// How many lanes owe something.
    #[must_use]
    pub fn lanes(&self) -> usize {
        self.entries.len()
    }

    /// What they owe together.
    #[must_use]
    pub fn exposure(&self) -> Amount {
        // More than all tokens there are only if the payers signed more than that.
        Amount::checked_sum(self.entries.iter().map(|lane| lane.exposure)).unwrap_or(Amount::MAX)
    }

    /// How many lanes close until then without being claimed, and when the first of them does. What is `not_worth_yet` so
    /// near its end is dust that was signed after a claim; `settled` is paid; `unfunded` has no money that could leave.
    #[must_use]
    pub fn closing(&self, until: u64) -> (u64, Option<u64>) {
        let is_left = |lane: &&Entry| {
            lane.waits && !matches!(lane.held, Some(Hold::NotWorthYet | Hold::Settled | Hold::Unfunded))
        };
        let near = || self.in_order(LaneSort::TimeLeft).take_while(|lane| lane.closes_at <= until).filter(is_left);
        (u64::try_from(near().count()).unwrap_or(u64::MAX), near().next().map(|lane| lane.closes_at))
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    fn lane(id: i64, exposure: u128, closes_at: Option<u64>, held: Option<Hold>) -> LaneRecord {
        let exposure = Amount::from_base_units(exposure).unwrap();
        LaneRecord {
            id,
            payer: Address::repeat_byte(u8::try_from(id).unwrap()),
            payee: Address::ZERO,
            cumulative: exposure,
            paid: Amount::ZERO,
            exposure,
            claimable: exposure,
            deposit: exposure,
            open_balance: Amount::ZERO,
            state: VoucherState::Recorded,
            held,
            reason: None,
            recorded_at: 1_000 - u64::try_from(id).unwrap(),
            closes_at,
            seen_at: 0,
        }
    }

    fn index() -> LaneIndex {
        let mut index = LaneIndex::default();
        index.extend([lane(1, 50, None, None), lane(2, 70, Some(900), Some(Hold::Unfunded))]);
        index.extend([lane(3, 60, Some(800), None), lane(4, 70, None, Some(Hold::NotWorthYet))]);
        index.sort()
    }

    fn ids(sort: LaneSort, limit: usize, offset: usize) -> Vec<i64> {
        index().page(&LaneFilter::default(), sort, limit, offset).1
    }

    #[test]
    fn each_order_is_its_own_and_equals_stay_in_place() {
        assert_eq!(ids(LaneSort::Exposure, 9, 0), [2, 4, 3, 1]);
        assert_eq!(ids(LaneSort::TimeLeft, 9, 0), [3, 2, 1, 4]);
        assert_eq!(ids(LaneSort::Age, 9, 0), [4, 3, 2, 1]);
        assert_eq!((ids(LaneSort::Exposure, 2, 1), ids(LaneSort::Exposure, 2, 9)), (vec![4, 3], vec![]));
    }

    #[test]
    fn filters_count_what_fits() {
        let held = LaneFilter { held: Some(Hold::Unfunded), ..LaneFilter::default() };
        let payer = LaneFilter { payer: "0x0303".into(), ..LaneFilter::default() };
        assert_eq!(index().page(&held, LaneSort::Age, 9, 0), (1, vec![2]));
        assert_eq!(index().page(&payer, LaneSort::Age, 9, 0), (1, vec![3]));
        assert_eq!(index().page(&payer, LaneSort::Age, 9, 1), (1, vec![]));
        assert_eq!(index().page(&LaneFilter { payer: "0x04".into(), ..held }, LaneSort::Age, 9, 0).0, 0);
    }

    #[test]
    fn sums_up_and_sees_what_closes_unclaimed() {
        assert_eq!((index().lanes(), index().exposure().base_units()), (4, 250));
        assert_eq!(index().closing(799), (0, None));
        assert_eq!(index().closing(900), (1, Some(800)), "the empty one loses nothing");
    }
}
