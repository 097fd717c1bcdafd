//! The packets that this relay lately had stored somewhere: what tells a duplicate that a sender repeats from one that
//! an agent only says is one (see `account`).

use std::{
    collections::{HashSet, VecDeque, hash_map::RandomState},
    hash::BuildHasher,
    sync::{Mutex, PoisonError},
};

use alloy::primitives::Address;

/// Packets remembered. Eight bytes each, twice; senders repeat within seconds or minutes.
const SEEN_MAX: usize = 1 << 16;

/// A window over them, by a keyed hash that nobody can aim at.
#[derive(Debug, Default)]
pub(crate) struct Seen {
    key: RandomState,
    window: Mutex<Window>,
}

#[derive(Debug, Default)]
struct Window {
    order: VecDeque<u64>,
    hashes: HashSet<u64>,
}

impl Seen {
    /// Notes a packet at an agent. True when it was noted before.
    pub(crate) fn again(&self, agent: Address, packet: &[u8]) -> bool {
        // A large packet takes a while to hash, and nobody else has to wait for it.
        let hash = self.key.hash_one((agent, packet));
        let mut window = self.window.lock().unwrap_or_else(PoisonError::into_inner);
        if !window.hashes.insert(hash) {
            return true;
        }
        window.order.push_back(hash);
        if window.order.len() > SEEN_MAX
            && let Some(oldest) = window.order.pop_front()
        {
            window.hashes.remove(&oldest);
        }
        false
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn remembers_so_many_and_per_agent() {
        let (one, other) = (Address::repeat_byte(1), Address::repeat_byte(2));
        let seen = Seen::default();
        assert!(!seen.again(one, b"a"));
        assert!(seen.again(one, b"a"));
        assert!(!seen.again(other, b"a"));
        for number in 0..SEEN_MAX {
            seen.again(one, &number.to_be_bytes());
        }
        assert!(!seen.again(one, b"a"), "forgotten");
        let window = seen.window.lock().expect("not poisoned");
        assert_eq!((window.order.len(), window.hashes.len()), (SEEN_MAX, SEEN_MAX));
    }
}
