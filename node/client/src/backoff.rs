//! Waiting between attempts: doubling, bounded, with jitter so that many clients of one node do not come back at once.

use std::time::Duration;

use rand::Rng;

/// The first wait.
const FIRST: Duration = Duration::from_millis(250);

/// A growing wait.
#[derive(Debug, Clone)]
pub(crate) struct Backoff {
    attempt: u32,
    longest: Duration,
}

impl Backoff {
    pub(crate) fn new(longest: Duration) -> Self {
        Self { attempt: 0, longest }
    }

    /// The next wait: between half and all of 250 ms · 2^attempt, at most the longest.
    pub(crate) fn next(&mut self) -> Duration {
        let full = FIRST.saturating_mul(1 << self.attempt.min(16)).min(self.longest);
        self.attempt = self.attempt.saturating_add(1);
        let half = full / 2;
        half + half.mul_f64(rand::rng().random_range(0.0..=1.0))
    }

    pub(crate) fn reset(&mut self) {
        self.attempt = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn grows_and_is_bounded() {
        let mut backoff = Backoff::new(Duration::from_secs(2));
        assert!(backoff.next() <= FIRST);
        for _ in 0..100 {
            assert!(backoff.next() <= Duration::from_secs(2));
        }
        assert!(backoff.next() >= Duration::from_secs(1));
        backoff.reset();
        assert!(backoff.next() <= FIRST);
    }
}
