//! The node's time, read in one place. Everything pure takes the time as an argument.
//!
//! The system's clock may jump: an operator sets it, a time server corrects it, a machine sleeps. Taken at its word, a jump
//! forward would expire every stored packet and bill years of storage, a jump back would make commands fresh that were
//! obeyed and forgotten. So the node's time starts at the system's, never goes back, and runs after it at no less than half
//! and no more than double speed, as the monotonic clock measures. A jump of a minute is made good within two; as long as
//! the two are apart, storage is billed and packets expire at most twice as fast as they should. What is off by more than a
//! command's freshness makes the node refuse commands, and `/health/ready` says why.

use std::{
    sync::{Mutex, OnceLock, PoisonError},
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

/// What the clocks may disagree by without being said to have jumped: the steps of a busy machine stay below.
const JUMP_MS: u64 = 1_000;
/// What the node's time may be off by without the operator being told: half of what commands may be.
pub(crate) const OFF_MAX_MS: u64 = minus_protocol::COMMAND_FRESHNESS_MS / 2;

/// How far the node's time is from the system's.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Standing {
    /// Milliseconds by which the system is ahead of the node.
    pub(crate) ahead_ms: i64,
    /// Jumps since the start.
    pub(crate) jumps: u64,
}

/// The node's time as a function of the two clocks of the system, in microseconds: it is read often, and half of a
/// millisecond would be none.
#[derive(Clone, Copy, Debug)]
struct Guarded {
    time_us: u64,
    monotonic_us: u64,
    standing: Standing,
}

impl Guarded {
    const fn starting(wall_us: u64, monotonic_us: u64) -> Self {
        Self { time_us: wall_us, monotonic_us, standing: Standing { ahead_ms: 0, jumps: 0 } }
    }

    /// The time when the system's clocks say this.
    fn read(&mut self, wall_us: u64, monotonic_us: u64) -> u64 {
        let elapsed_us = monotonic_us.saturating_sub(self.monotonic_us);
        self.monotonic_us = self.monotonic_us.max(monotonic_us);
        let wanted_us = wall_us.saturating_sub(self.time_us);
        self.time_us = self.time_us.saturating_add(wanted_us.clamp(elapsed_us / 2, elapsed_us.saturating_mul(2)));
        self.compare(wall_us);
        self.time_us
    }

    /// The store has seen this time: the node's does not begin before it.
    fn not_before(&mut self, seen_us: u64, wall_us: u64) {
        self.time_us = self.time_us.max(seen_us);
        self.compare(wall_us);
    }

    fn compare(&mut self, wall_us: u64) {
        let distance = i64::try_from(wall_us.abs_diff(self.time_us) / 1_000).unwrap_or(i64::MAX);
        let ahead_ms = if wall_us < self.time_us { -distance } else { distance };
        let before_ms = self.standing.ahead_ms;
        // What is made good little by little is not another jump.
        let is_larger = ahead_ms.unsigned_abs() > before_ms.unsigned_abs();
        self.standing.jumps += u64::from(is_larger && ahead_ms.abs_diff(before_ms) > JUMP_MS);
        self.standing.ahead_ms = ahead_ms;
    }
}

/// The clock of this process: its nodes share the system's.
struct Clock {
    started: Instant,
    guarded: Mutex<Guarded>,
}

impl Clock {
    fn with<T>(ask: impl FnOnce(&mut Guarded, u64, u64) -> T) -> T {
        static CLOCK: OnceLock<Clock> = OnceLock::new();
        let clock = CLOCK.get_or_init(|| Clock {
            started: Instant::now(),
            guarded: Mutex::new(Guarded::starting(since_epoch_us(), 0)),
        });
        let mut guarded = clock.guarded.lock().unwrap_or_else(PoisonError::into_inner);
        // Read under the lock, so that no reading is older than the one before.
        ask(&mut guarded, since_epoch_us(), microseconds(clock.started.elapsed()))
    }
}

fn microseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_micros()).unwrap_or(u64::MAX)
}

fn since_epoch_us() -> u64 {
    microseconds(SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default())
}

/// Milliseconds since 1970.
pub(crate) fn now_ms() -> u64 {
    Clock::with(Guarded::read) / 1_000
}

/// Seconds since 1970.
pub(crate) fn now_s() -> u64 {
    now_ms() / 1_000
}

/// Commands of this second are in the store: what was obeyed before it may be forgotten already.
pub(crate) fn not_before_s(seen_s: u64) {
    Clock::with(|guarded, wall_us, monotonic_us| {
        guarded.read(wall_us, monotonic_us);
        guarded.not_before(seen_s.saturating_mul(1_000_000), wall_us);
    });
}

/// How far the node's time is from the system's now.
pub(crate) fn standing() -> Standing {
    Clock::with(|guarded, wall_us, monotonic_us| {
        guarded.read(wall_us, monotonic_us);
        guarded.standing
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const SECOND: u64 = 1_000_000;
    const START: u64 = 1_700_000_000 * SECOND;
    const YEAR: u64 = 365 * 86_400 * SECOND;

    #[test]
    fn follows_a_clock_that_does_not_jump() {
        let mut clock = Guarded::starting(START, 0);
        for elapsed in (0..3 * SECOND).step_by(701) {
            assert_eq!(clock.read(START + elapsed, elapsed), START + elapsed);
        }
        assert_eq!(clock.standing, Standing::default());
    }

    #[test]
    fn a_jump_forward_is_made_good_at_double_speed_at_most() {
        let mut clock = Guarded::starting(START, 0);
        assert_eq!(clock.read(START + YEAR, SECOND), START + 2 * SECOND);
        assert_eq!(
            clock.read(START + YEAR + 3_600 * SECOND, 3_601 * SECOND),
            START + 7_202 * SECOND,
            "no packet of a week is expired"
        );
        assert_eq!(clock.standing.jumps, 1);
        let mut clock = Guarded::starting(START, 0);
        clock.read(START + 60 * SECOND, 0);
        assert_eq!(clock.read(START + 120 * SECOND, 60 * SECOND), START + 120 * SECOND);
        assert_eq!(clock.standing, Standing { ahead_ms: 0, jumps: 1 });
    }

    #[test]
    fn a_jump_back_is_waited_for_and_the_time_never_goes_back() {
        let mut clock = Guarded::starting(START, 0);
        assert_eq!(clock.read(START - 60 * SECOND, 0), START);
        assert_eq!(clock.standing, Standing { ahead_ms: -60_000, jumps: 1 });
        assert_eq!(clock.read(START, 60 * SECOND), START + 30 * SECOND);
        assert_eq!(clock.read(START + 60 * SECOND, 120 * SECOND), START + 60 * SECOND, "made good");
        assert_eq!(clock.standing, Standing { ahead_ms: 0, jumps: 1 });
    }

    #[test]
    fn begins_no_earlier_than_what_the_store_has_seen() {
        let mut clock = Guarded::starting(START - 600 * SECOND, 0);
        clock.not_before(START, START - 600 * SECOND);
        assert_eq!(clock.read(START - 600 * SECOND, 0), START, "what was fresh ten minutes ago is stale");
        assert_eq!(clock.standing, Standing { ahead_ms: -600_000, jumps: 1 });
        clock.not_before(START - YEAR, START - 600 * SECOND);
        assert_eq!(clock.read(START - 600 * SECOND, 0), START);
    }

    #[test]
    fn the_process_shares_one() {
        let before = now_ms();
        not_before_s(now_s());
        assert!(now_ms() >= before);
        assert!(standing().ahead_ms.unsigned_abs() < OFF_MAX_MS);
    }

    proptest! {
        #[test]
        fn whatever_the_system_says_time_runs_between_half_and_double_speed(
            readings in prop::collection::vec((0_u64..=2 * START, 0_u64..100_000_000), 1..50),
        ) {
            let mut clock = Guarded::starting(START, 0);
            let (mut before, mut monotonic) = (START, 0);
            for (wall, elapsed) in readings {
                monotonic += elapsed;
                let now = clock.read(wall, monotonic);
                prop_assert!((elapsed / 2..=2 * elapsed).contains(&(now - before)), "{} in {elapsed}", now - before);
                before = now;
            }
        }
    }
}
