//! What an agent fronts for a payer: it owes a relay the inbound leg as soon as it stores a packet, and gets it back when
//! the payer acknowledges. A payer that never does, in league with a relay, would draw money out of the agent packet by
//! packet; so what is fronted has a limit (law 12), and only payment makes room again, not the packets' expiry.

use minus_bindings::Amount;
use minus_protocol::{MeterLine, Tariff};

/// Relayed bytes are priced per GiB, 2^30 bytes.
const GIB_BITS: u32 = 30;

/// What was promised to relays for a payer's packets beyond what the payer has paid since, never below zero. Kept as the
/// exact product bytes · price, which is base units · 2^30, so that no rounding adds up (law 11).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Fronted(pub(crate) u128);

impl Fronted {
    /// With one more packet brought by a relay.
    pub(crate) fn and(self, bytes: u64, tariff: Tariff) -> Self {
        Self(self.0.saturating_add(u128::from(bytes).saturating_mul(tariff.relay.into())))
    }

    /// After a payment of so much more than before, which made these relayed bytes owed too.
    pub(crate) fn after(self, paid: Amount, relay_leg: &[MeterLine]) -> Self {
        let promised = relay_leg
            .iter()
            .fold(self.0, |sum, line| sum.saturating_add(line.meter.relayed.saturating_mul(line.tariff.relay.into())));
        Self(promised.saturating_sub(paid.base_units() << GIB_BITS))
    }

    /// Whether it stays within the agent's credit for one payer.
    pub(crate) fn is_within(self, credit: Amount) -> bool {
        self.0 <= credit.base_units() << GIB_BITS
    }

    /// In base units, rounded up.
    pub(crate) fn base_units(self) -> u128 {
        self.0.div_ceil(1 << GIB_BITS)
    }
}

#[cfg(test)]
mod tests {
    use minus_protocol::Meter;

    use super::*;

    const TARIFF: Tariff = Tariff { delivery: 0, relay: 1 << 30, storing: 0 }; // one base unit a byte

    fn units(value: u128) -> Amount {
        Amount::from_base_units(value).expect("a small amount")
    }

    #[test]
    fn the_limit_is_exact() {
        let fronted = Fronted::default().and(10, TARIFF);
        assert!(!fronted.is_within(units(9)));
        assert!(fronted.is_within(units(10)));
        assert!(!fronted.and(1, Tariff { relay: 1, ..TARIFF }).is_within(units(10)));
    }

    #[test]
    fn only_payment_makes_room() {
        let leg = MeterLine { tariff_version: 1, tariff: TARIFF, meter: Meter { relayed: 4, ..Meter::default() } };
        let fronted = Fronted::default().and(10, TARIFF).after(units(6), &[leg]);
        assert_eq!(fronted.base_units(), 8);
        assert_eq!(fronted.after(units(100), &[]), Fronted::default());
    }

    #[test]
    fn rounding_up_is_for_showing_only() {
        assert_eq!(Fronted(1).base_units(), 1);
        assert_eq!(Fronted(1 << 30).base_units(), 1);
    }
}
