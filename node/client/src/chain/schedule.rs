//! Which of a node's tariffs was in force when: a pure value, made from the routing table's record and, when the
//! tariff has changed before, its announcements.

use minus_protocol::Tariff;

/// One version of a tariff.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Period {
    /// The version, from 1.
    pub version: u32,
    /// Its prices.
    pub tariff: Tariff,
    /// In force from here, unix seconds, until the next version's.
    pub from: u64,
}

/// All versions of a node's tariff, oldest first.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Schedule {
    periods: Vec<Period>,
}

impl Schedule {
    /// From announcements in the order of the chain. A version announced again before it took effect counts as it was
    /// announced last.
    pub fn new(announced: impl IntoIterator<Item = Period>) -> Self {
        let mut periods: Vec<Period> = Vec::new();
        for period in announced {
            periods.retain(|known| known.version != period.version);
            periods.push(period);
        }
        periods.sort_by_key(|period| period.version);
        Self { periods }
    }

    /// The prices of a version.
    pub fn tariff(&self, version: u32) -> Option<Tariff> {
        self.periods.iter().find(|period| period.version == version).map(|period| period.tariff)
    }

    /// Whether a version was in force at some moment within `tolerance` seconds of `at`: two clocks are never equal.
    pub fn was_in_force(&self, version: u32, at: u64, tolerance: u64) -> bool {
        let Some(index) = self.periods.iter().position(|period| period.version == version) else { return false };
        let has_begun = self.periods[index].from <= at.saturating_add(tolerance);
        let has_ended = self.periods.get(index + 1).is_some_and(|next| next.from <= at.saturating_sub(tolerance));
        has_begun && !has_ended
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn period(version: u32, delivery: u64, from: u64) -> Period {
        Period { version, tariff: Tariff { delivery, relay: 1, storing: 1 }, from }
    }

    #[test]
    fn refuses_versions_out_of_their_time() {
        let schedule = Schedule::new([period(1, 10, 1000), period(2, 20, 5000)]);
        assert!(!schedule.was_in_force(1, 879, 120));
        assert!(schedule.was_in_force(1, 880, 120));
        assert!(schedule.was_in_force(1, 5119, 120));
        assert!(!schedule.was_in_force(1, 5120, 120));
        assert!(!schedule.was_in_force(2, 4879, 120));
        assert!(schedule.was_in_force(2, u64::MAX, 120));
        assert!(!schedule.was_in_force(3, 5000, 120));
    }

    #[test]
    fn the_last_announcement_of_a_version_counts() {
        let schedule = Schedule::new([period(1, 10, 1000), period(2, 20, 5000), period(2, 30, 6000)]);
        assert_eq!(schedule.tariff(2), Some(period(2, 30, 0).tariff));
        assert!(!schedule.was_in_force(2, 5500, 120));
        assert_eq!(schedule.tariff(3), None);
    }
}
