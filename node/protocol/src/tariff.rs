//! Tariff: what a node asks for carrying and storing, and the most that one packet can come to cost.
//!
//! The agent's tariff at the moment it stored a packet prices all services for that packet; see [`crate::meter`].

use alloy::primitives::U256;
use minus_bindings::Amount;
use serde::{Deserialize, Serialize};

/// Binary digits of the unit of carriage, one GiB = 2^30 bytes.
pub const GIB_BITS: usize = 30;

/// Seconds of the unit of storage, one GiB-day.
pub const DAY_SECONDS: u64 = 86_400;

/// How many relays carry one packet at most: one to the agent, one from it.
pub const RELAY_LEGS_MAX: u64 = 2;

/// Prices in token base units.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Tariff {
    /// Per GiB delivered to the customer.
    pub delivery: u64,
    /// Per GiB and relay; the agent passes it on.
    pub relay: u64,
    /// Per GiB-day stored.
    pub storing: u64,
}

/// The most that storing one packet of `bytes` bytes can add to what is due: delivery, both relay legs, and storage for
/// `retention_s` seconds, each rounded up on its own. The sum of these over any packets is therefore never below what
/// [`crate::meter::due`] grows by when they are all delivered within the retention. Saturates at [`Amount::MAX`], which
/// no lane holds.
#[must_use]
pub fn reserve(tariff: &Tariff, bytes: u64, retention_s: u64) -> Amount {
    let bytes = U256::from(bytes);
    let gib = U256::from(1u64 << GIB_BITS);
    let delivery = (bytes * U256::from(tariff.delivery)).div_ceil(gib);
    let relay = (bytes * U256::from(RELAY_LEGS_MAX) * U256::from(tariff.relay)).div_ceil(gib);
    let storing =
        (bytes * U256::from(retention_s) * U256::from(tariff.storing)).div_ceil(gib * U256::from(DAY_SECONDS));
    u128::try_from(delivery + relay + storing)
        .ok()
        .and_then(|units| Amount::from_base_units(units).ok())
        .unwrap_or(Amount::MAX)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::meter::{Carriage, add_message, due};

    #[test]
    fn what_no_amount_can_be_is_saturated() {
        let tariff = Tariff { delivery: u64::MAX, relay: u64::MAX, storing: u64::MAX };
        assert_eq!(reserve(&tariff, u64::MAX, u64::MAX), Amount::MAX);
    }

    #[test]
    fn each_service_is_rounded_up() {
        let tariff = Tariff { delivery: 1, relay: 1, storing: 1 };
        assert_eq!(reserve(&tariff, 1, 1).base_units(), 3);
        assert_eq!(reserve(&tariff, 0, 1), Amount::ZERO);
        assert_eq!(reserve(&tariff, 1 << 30, 7 * DAY_SECONDS).base_units(), 1 + 2 + 7);
        assert_eq!(reserve(&Tariff::default(), u64::MAX, u64::MAX), Amount::ZERO);
    }

    proptest! {
        /// Law 12: what was reserved for messages covers what they come to, whatever had been counted before.
        #[test]
        fn reservations_cover_what_becomes_due(
            delivery in 0u64..1 << 40, relay in 0u64..1 << 40, storing in 0u64..1 << 40,
            before in prop::collection::vec((1u64..1 << 21, 0u64..1_000_000), 0..8),
            messages in prop::collection::vec((1u64..1 << 21, 0u64..=604_800, any::<bool>(), any::<bool>()), 1..12),
        ) {
            let tariff = Tariff { delivery, relay, storing };
            let known = |_| Some(tariff);
            let mut lines = vec![];
            for (bytes, stored) in before {
                let carriage = Carriage { bytes, stored_at: 0, tariff_version: 1, relayed_in: true };
                add_message(&mut lines, known, &carriage, stored, true).expect("small numbers");
            }
            let opening = due(&lines).expect("small numbers");
            let mut reserved = Amount::ZERO;
            for (bytes, stored, relayed_in, relayed_out) in messages {
                let carriage = Carriage { bytes, stored_at: 1_000, tariff_version: 1, relayed_in };
                add_message(&mut lines, known, &carriage, 1_000 + stored, relayed_out).expect("small numbers");
                reserved = reserved.checked_add(reserve(&tariff, bytes, 604_800)).expect("small numbers");
            }
            let grown = due(&lines).expect("small numbers").saturating_sub(opening);
            prop_assert!(grown <= reserved, "{grown} > {reserved}");
        }
    }
}
