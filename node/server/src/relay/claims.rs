//! As agent: what relays say they took away, against what was pushed through them. The agent pays its own count whatever
//! a relay says; this finds the one that says too much. A relay may honestly claim more than was acknowledged, never
//! more than it was given. What was given before this run is not known, so the first claim is taken as it is.

use std::{
    collections::HashMap,
    sync::{Mutex, PoisonError},
};

use alloy::primitives::Address;

/// Relays that are remembered. Each has a bond in the routing table; the ones beyond are not judged, and are paid no
/// more for that.
const RELAYS_MAX: usize = 16_384;

#[derive(Debug, Default)]
struct Claim {
    first: Option<u128>,
    pushed: u128,
}

/// By relay.
#[derive(Debug, Default)]
pub(crate) struct Claims(Mutex<HashMap<Address, Claim>>);

impl Claims {
    fn with<T>(&self, relay: Address, change: impl FnOnce(&mut Claim) -> T) -> Option<T> {
        let mut claims = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if !claims.contains_key(&relay) && claims.len() >= RELAYS_MAX {
            return None;
        }
        Some(change(claims.entry(relay).or_default()))
    }

    /// Notes packet bytes given to a relay's stream.
    pub(crate) fn pushed(&self, relay: Address, bytes: u64) {
        self.with(relay, |claim| claim.pushed = claim.pushed.saturating_add(bytes.into()));
    }

    /// Bytes by which a relay's running total of what it took away is too high.
    pub(crate) fn excess(&self, relay: Address, outbound: u128) -> u128 {
        let excess = self.with(relay, |claim| {
            let first = *claim.first.get_or_insert(outbound);
            outbound.saturating_sub(first.saturating_add(claim.pushed))
        });
        excess.unwrap_or(0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_relay_claims_no_more_than_it_was_given_since_its_first_claim() {
        let (claims, relay) = (Claims::default(), Address::repeat_byte(1));
        claims.pushed(relay, 10);
        assert_eq!(claims.excess(relay, 70), 0, "of the run before");
        claims.pushed(relay, 5);
        assert_eq!(claims.excess(relay, 85), 0);
        assert_eq!(claims.excess(relay, 86), 1);
        assert_eq!(claims.excess(relay, 3), 0, "a relay that forgot");
    }
}
