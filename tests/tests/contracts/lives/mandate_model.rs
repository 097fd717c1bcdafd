//! A mandate as its whole history: what it bears is counted anew from the first entry each time, where the contract
//! keeps a running number.

/// Seconds of a day; accruals are kept in base units times this, so that a second's part is a whole number.
const DAY_S: u128 = 86_400;

#[derive(Clone, Copy, Debug)]
enum Entry {
    /// Begins, empty.
    Given { daily: u128, cap: u128 },
    /// Goes on with other caps.
    Raised { daily: u128, cap: u128 },
    /// So many base units were charged.
    Charged(u128),
}

/// What one payer ever allowed and one payee ever charged.
#[derive(Clone, Debug, Default)]
pub(super) struct Mandate {
    history: Vec<(u64, Entry)>,
    /// The last second in which it bears charges.
    pub(super) until: u64,
}

impl Mandate {
    pub(super) fn is_in_force(&self, now: u64) -> bool {
        !self.history.is_empty() && now <= self.until
    }

    /// The caps as last said.
    pub(super) fn caps(&self) -> (u128, u128) {
        let said = self.history.iter().rev().find_map(|(_, entry)| match entry {
            Entry::Given { daily, cap } | Entry::Raised { daily, cap } => Some((*daily, *cap)),
            Entry::Charged(_) => None,
        });
        said.unwrap_or_default()
    }

    pub(super) fn give(&mut self, now: u64, daily: u128, cap: u128, until: u64) {
        let entry = if self.is_in_force(now) { Entry::Raised { daily, cap } } else { Entry::Given { daily, cap } };
        self.history.push((now, entry));
        self.until = until;
    }

    pub(super) fn charge(&mut self, now: u64, amount: u128) {
        self.history.push((now, Entry::Charged(amount)));
    }

    /// What had gathered, in base units times [`DAY_S`], when the last entry was made, and when that was.
    pub(super) fn at_last_entry(&self) -> (u128, u64) {
        let last = self.history.last().map_or(0, |(at, _)| *at);
        (self.gathered(last), last)
    }

    /// Whole base units that can be charged.
    pub(super) fn chargeable(&self, now: u64) -> u128 {
        if self.is_in_force(now) { self.gathered(now) / DAY_S } else { 0 }
    }

    fn gathered(&self, now: u64) -> u128 {
        let (mut gathered, mut daily, mut cap, mut since) = (0, 0, 0, 0);
        let grown = |gathered: u128, daily: u128, cap: u128, seconds: u64| {
            let grown: u128 = gathered + daily * u128::from(seconds);
            grown.min(cap * DAY_S)
        };
        for (at, entry) in &self.history {
            gathered = grown(gathered, daily, cap, at - since);
            since = *at;
            match entry {
                Entry::Given { daily: new_daily, cap: new_cap } => {
                    (gathered, daily, cap) = (0, *new_daily, *new_cap);
                }
                Entry::Raised { daily: new_daily, cap: new_cap } => (daily, cap) = (*new_daily, *new_cap),
                Entry::Charged(amount) => gathered -= amount * DAY_S,
            }
        }
        grown(gathered, daily, cap, now - since)
    }
}
