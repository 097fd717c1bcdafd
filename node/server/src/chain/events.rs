//! What a range of logs says. Routes, delegates and tariffs stand in the events themselves; of everything else an event
//! only says where to look.

use std::collections::{BTreeMap, BTreeSet};

use alloy::{primitives::Address, rpc::types::Log, sol_types::SolEvent};
use minus_bindings::{
    IRoutingTable,
    PrepaymentEscrow::{
        Claimed, DelegateAuthorized, DelegateRevoked, Deposited, MandateRevoked, MandateSet, ThawStarted, Withdrawn,
    },
    RoutingTable::{EndpointChanged, NodeRegistered, NodeRetired, RouteSet, TariffAnnounced},
    row,
};
use minus_protocol::Tariff;

use super::record::Announced;

/// A record of the view.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Key {
    Node(Address),
    /// Of a wallet.
    Route(Address),
    /// Payer and payee; payee zero is the open balance.
    Lane(Address, Address),
    /// Payer and payee.
    Mandate(Address, Address),
    /// Payer and signer.
    Delegate(Address, Address),
}

/// What the logs of some blocks say.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct News {
    /// The records that each block touches.
    pub(crate) touched: BTreeMap<u64, BTreeSet<Key>>,
    /// Wallet → agent, zero where the route was cleared. The newest of the range.
    pub(crate) routes: BTreeMap<Address, Address>,
    /// (payer, signer) → whether it may sign. The newest of the range.
    pub(crate) delegates: BTreeMap<(Address, Address), bool>,
    /// In the order they were announced.
    pub(crate) tariffs: Vec<(Address, Announced)>,
}

impl News {
    /// Gathers them. `escrow` and `routing_table` say who may speak of what; logs without a block say nothing.
    pub(crate) fn from_logs(logs: &[Log], escrow: Address, routing_table: Address) -> Self {
        let mut in_order: Vec<_> =
            logs.iter().filter_map(|log| Some(((log.block_number?, log.log_index?), log))).collect();
        in_order.sort_unstable_by_key(|(place, _)| *place);
        let mut news = Self::default();
        for ((block, _), log) in in_order {
            if log.address() == routing_table {
                news.routing(block, &log.inner);
            } else if log.address() == escrow {
                news.escrowed(block, &log.inner);
            }
        }
        news
    }

    /// Every record touched in the range.
    pub(crate) fn keys(&self) -> BTreeSet<Key> {
        self.touched.values().flatten().copied().collect()
    }

    fn touch(&mut self, block: u64, key: Key) {
        self.touched.entry(block).or_default().insert(key);
    }

    fn routing(&mut self, block: u64, log: &alloy::primitives::Log) {
        if let Ok(event) = RouteSet::decode_log(log) {
            self.routes.insert(event.wallet, event.agent);
            self.touch(block, Key::Route(event.wallet));
        } else if let Ok(event) = TariffAnnounced::decode_log(log) {
            let announced = Announced {
                version: event.version,
                tariff: tariff(&event.tariff),
                from: event.effectiveFrom,
                announced_in: block,
            };
            self.tariffs.push((event.node, announced));
            self.touch(block, Key::Node(event.node));
        } else if let Ok(event) = NodeRegistered::decode_log(log) {
            self.touch(block, Key::Node(event.node));
        } else if let Ok(event) = EndpointChanged::decode_log(log) {
            self.touch(block, Key::Node(event.node));
        } else if let Ok(event) = NodeRetired::decode_log(log) {
            self.touch(block, Key::Node(event.node));
        }
    }

    fn escrowed(&mut self, block: u64, log: &alloy::primitives::Log) {
        if let Ok(event) = Deposited::decode_log(log) {
            self.touch(block, Key::Lane(event.payer, event.payee));
        } else if let Ok(event) = Withdrawn::decode_log(log) {
            self.touch(block, Key::Lane(event.payer, event.payee));
        } else if let Ok(event) = ThawStarted::decode_log(log) {
            self.touch(block, Key::Lane(event.payer, event.payee));
        } else if let Ok(event) = Claimed::decode_log(log) {
            self.touch(block, Key::Lane(event.payee, Address::ZERO));
            for (payer, _) in row::parse_payments(&event.payments).unwrap_or_default() {
                self.touch(block, Key::Lane(payer, event.payee));
                // What the lane lacked came out of the payer's open balance.
                self.touch(block, Key::Lane(payer, Address::ZERO));
                // It may have been a charge, which uses up what has accrued.
                self.touch(block, Key::Mandate(payer, event.payee));
            }
        } else if let Ok(event) = MandateSet::decode_log(log) {
            self.touch(block, Key::Mandate(event.payer, event.payee));
        } else if let Ok(event) = MandateRevoked::decode_log(log) {
            self.touch(block, Key::Mandate(event.payer, event.payee));
        } else if let Ok(event) = DelegateAuthorized::decode_log(log) {
            self.delegate(block, event.payer, event.signer, true);
        } else if let Ok(event) = DelegateRevoked::decode_log(log) {
            self.delegate(block, event.payer, event.signer, false);
        }
    }

    fn delegate(&mut self, block: u64, payer: Address, signer: Address, authorized: bool) {
        self.delegates.insert((payer, signer), authorized);
        self.touch(block, Key::Delegate(payer, signer));
    }
}

/// The contract's words in the protocol's.
pub(crate) const fn tariff(said: &IRoutingTable::Tariff) -> Tariff {
    Tariff { delivery: said.delivery, relay: said.relay, storing: said.storing }
}

#[cfg(test)]
mod tests {
    use alloy::primitives::{LogData, aliases::U96};

    use super::*;

    const ESCROW: Address = Address::repeat_byte(0xee);
    const TABLE: Address = Address::repeat_byte(0x77);
    const PAYER: Address = Address::repeat_byte(1);
    const PAYEE: Address = Address::repeat_byte(2);

    fn log(block: u64, index: u64, address: Address, data: LogData) -> Log {
        Log {
            inner: alloy::primitives::Log { address, data },
            block_number: Some(block),
            log_index: Some(index),
            ..Log::default()
        }
    }

    fn news(logs: &[Log]) -> News {
        News::from_logs(logs, ESCROW, TABLE)
    }

    #[test]
    fn a_stranger_contract_touches_nothing() {
        let event = NodeRetired { node: PAYER }.encode_log_data();
        assert_eq!(news(&[log(1, 0, PAYER, event.clone()), log(1, 1, ESCROW, event)]), News::default());
    }

    #[test]
    fn the_newest_of_a_range_wins_in_whatever_order_it_came() {
        let route = |agent, nonce| {
            let key = IRoutingTable::SealingKey::default();
            RouteSet { wallet: PAYER, agent, nonce, sealingKey: key }.encode_log_data()
        };
        let news = news(&[log(2, 0, TABLE, route(ESCROW, 2)), log(1, 7, TABLE, route(PAYEE, 1))]);
        assert_eq!(news.routes.get(&PAYER), Some(&ESCROW));
        assert_eq!(news.touched.keys().copied().collect::<Vec<_>>(), [1, 2]);
    }

    #[test]
    fn a_claim_touches_lane_mandate_and_both_open_balances() {
        let mut payments = PAYER.to_vec();
        payments.extend([0; 11]);
        payments.push(5);
        let claimed = Claimed { payee: PAYEE, total: U96::from(5), payments: payments.into() };
        let news = news(&[log(3, 0, ESCROW, claimed.encode_log_data())]);
        let expected = BTreeSet::from([
            Key::Lane(PAYER, PAYEE),
            Key::Lane(PAYER, Address::ZERO),
            Key::Lane(PAYEE, Address::ZERO),
            Key::Mandate(PAYER, PAYEE),
        ]);
        assert_eq!((news.keys(), news.touched.len()), (expected, 1));
    }

    #[test]
    fn a_delegate_is_what_was_said_last() {
        let given = DelegateAuthorized { payer: PAYER, signer: PAYEE }.encode_log_data();
        let taken = DelegateRevoked { payer: PAYER, signer: PAYEE, liveUntil: 9 }.encode_log_data();
        let news = news(&[log(1, 0, ESCROW, given), log(1, 1, ESCROW, taken)]);
        assert_eq!(news.delegates.get(&(PAYER, PAYEE)), Some(&false));
    }

    #[test]
    fn every_announcement_is_kept_with_its_block() {
        let announce = |price, version| {
            let tariff = IRoutingTable::Tariff { delivery: price, relay: 0, storing: 0 };
            TariffAnnounced { node: PAYEE, version, tariff, effectiveFrom: price }.encode_log_data()
        };
        let news = news(&[log(4, 0, TABLE, announce(10, 2)), log(5, 0, TABLE, announce(20, 2))]);
        let said: Vec<_> = news.tariffs.iter().map(|(_, said)| (said.announced_in, said.from)).collect();
        assert_eq!(said, [(4, 10), (5, 20)]);
        assert_eq!(news.keys(), BTreeSet::from([Key::Node(PAYEE)]));
    }
}
