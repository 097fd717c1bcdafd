//! Bounds the reads of the chain that others bring about: how often for one record, and how many at a time.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use alloy::primitives::{Address, B256, keccak256};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// Records whose last read is remembered. When full, the old ones are forgotten.
const REMEMBERED_MAX: usize = 16_384;
/// A lane with nothing on it is read again at most this often.
const READ_AGAIN_AFTER: Duration = Duration::from_millis(200);
/// How long a read is remembered when there is no room for all.
const REMEMBERED_FOR: Duration = Duration::from_secs(3);
/// Reads at a time.
const READS_MAX: usize = 16;
/// How long a read waits for its turn before the request is turned away.
pub(super) const TURN_WAIT: Duration = Duration::from_secs(2);

#[derive(Debug)]
pub(super) struct Limiter {
    read: Mutex<HashMap<B256, Instant>>,
    reads: Arc<Semaphore>,
}

impl Limiter {
    pub(super) fn new() -> Self {
        Self { read: Mutex::default(), reads: Arc::new(Semaphore::new(READS_MAX)) }
    }

    /// Whether it is this lane's turn to be read again; if so, it counts as read.
    pub(super) fn due(&self, payer: Address, payee: Address) -> bool {
        let key = keccak256([payer.as_slice(), payee.as_slice()].concat());
        let now = Instant::now();
        let mut read = self.read.lock().unwrap_or_else(PoisonError::into_inner);
        if read.get(&key).is_some_and(|at| now.duration_since(*at) < READ_AGAIN_AFTER) {
            return false;
        }
        if read.len() >= REMEMBERED_MAX {
            read.retain(|_, at| now.duration_since(*at) < REMEMBERED_FOR);
            if read.len() >= REMEMBERED_MAX {
                return false; // a flood: nothing more is looked up until it ebbs
            }
        }
        read.insert(key, now);
        true
    }

    /// None if it takes too long.
    pub(super) async fn permit(&self) -> Option<OwnedSemaphorePermit> {
        let turn = Arc::clone(&self.reads).acquire_owned();
        tokio::time::timeout(TURN_WAIT, turn).await.ok()?.ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lane_is_read_once_per_interval() {
        let limiter = Limiter::new();
        assert!(limiter.due(Address::ZERO, Address::ZERO));
        assert!(!limiter.due(Address::ZERO, Address::ZERO));
        assert!(limiter.due(Address::repeat_byte(1), Address::ZERO), "another lane");
        std::thread::sleep(READ_AGAIN_AFTER);
        assert!(limiter.due(Address::ZERO, Address::ZERO), "its time has come");
    }

    #[test]
    fn a_flood_of_unknown_addresses_is_not_passed_on() {
        let limiter = Limiter::new();
        let due = |number: usize| {
            let address = Address::from_slice(&keccak256(number.to_be_bytes())[..20]);
            limiter.due(address, Address::ZERO)
        };
        assert!((0..REMEMBERED_MAX).all(due));
        assert!(!due(REMEMBERED_MAX));
    }
}
