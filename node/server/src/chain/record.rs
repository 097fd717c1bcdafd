//! A node of the routing table.

use alloy::primitives::{Address, U256};
use minus_protocol::Tariff;

/// What the routing table says of a node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct NodeRecord {
    pub(crate) operator: Address,
    /// 0 while it is live.
    pub(crate) retired_at: u64,
    /// Affine x and y.
    pub(crate) sealing_key: (U256, U256),
    pub(crate) tariff: Tariff,
    pub(crate) tariff_version: u32,
    /// Takes the tariff's place at `next_from`, as the following version.
    pub(crate) next: Tariff,
    /// 0 when no change is announced.
    pub(crate) next_from: u64,
    pub(crate) endpoint: String,
}

/// A version of a node's tariff as it was announced, past ones included.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Announced {
    pub(crate) version: u32,
    pub(crate) tariff: Tariff,
    /// When it took, or will take, effect.
    pub(crate) from: u64,
    /// The block that said so. The same version may be announced again, which replaces what was announced before.
    pub(crate) announced_in: u64,
}

impl NodeRecord {
    pub(crate) const fn is_live(&self) -> bool {
        self.retired_at == 0
    }

    /// The tariff in force at a time, and its version.
    pub(crate) const fn tariff_at(&self, now_s: u64) -> (u32, Tariff) {
        if self.next_from != 0 && now_s >= self.next_from {
            (self.tariff_version.saturating_add(1), self.next)
        } else {
            (self.tariff_version, self.tariff)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_announced_tariff_takes_effect_at_its_time() {
        let tariff = |price| Tariff { delivery: price, relay: price, storing: price };
        let record = NodeRecord {
            operator: Address::ZERO,
            retired_at: 0,
            sealing_key: (U256::ZERO, U256::ZERO),
            tariff: tariff(1),
            tariff_version: 3,
            next: tariff(2),
            next_from: 100,
            endpoint: String::new(),
        };
        assert_eq!(record.tariff_at(99), (3, tariff(1)));
        assert_eq!(record.tariff_at(100), (4, tariff(2)));
        let nothing_announced = NodeRecord { next_from: 0, ..record };
        assert_eq!(nothing_announced.tariff_at(100), (3, tariff(1)));
    }
}
