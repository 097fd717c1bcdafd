//! Which records a batch of logs touches. Routes are taken from the events themselves; everything else is read again,
//! so that an event only has to say where to look.

use std::collections::{BTreeMap, BTreeSet};

use alloy::{primitives::Address, rpc::types::Log, sol_types::SolEvent};
use minus_bindings::{
    PrepaymentEscrow::{Claimed, DelegateAuthorized, DelegateRevoked, Deposited, ThawStarted, Withdrawn},
    RoutingTable::{EndpointChanged, NodeRegistered, NodeRetired, RouteSet, TariffAnnounced},
    row,
};

/// What is to be read again, or is known now.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Touched {
    /// Wallet → (agent, nonce), the newest of the batch.
    pub(crate) routes: BTreeMap<Address, (Address, u64)>,
    pub(crate) nodes: BTreeSet<Address>,
    /// (payer, payee); payee zero is the open balance.
    pub(crate) lanes: BTreeSet<(Address, Address)>,
    /// (payer, signer).
    pub(crate) delegates: BTreeSet<(Address, Address)>,
}

/// Gathers what the logs touch. `escrow` and `routing_table` say who may speak of what.
pub(crate) fn touched(logs: &[Log], escrow: Address, routing_table: Address) -> Touched {
    let mut touched = Touched::default();
    for log in logs {
        if log.address() == routing_table {
            routing(&log.inner, &mut touched);
        } else if log.address() == escrow {
            escrowed(&log.inner, &mut touched);
        }
    }
    touched
}

fn routing(log: &alloy::primitives::Log, touched: &mut Touched) {
    if let Ok(event) = RouteSet::decode_log(log) {
        touched.routes.insert(event.wallet, (event.agent, event.nonce));
    } else if let Ok(event) = NodeRegistered::decode_log(log) {
        touched.nodes.insert(event.node);
    } else if let Ok(event) = EndpointChanged::decode_log(log) {
        touched.nodes.insert(event.node);
    } else if let Ok(event) = TariffAnnounced::decode_log(log) {
        touched.nodes.insert(event.node);
    } else if let Ok(event) = NodeRetired::decode_log(log) {
        touched.nodes.insert(event.node);
    }
}

fn escrowed(log: &alloy::primitives::Log, touched: &mut Touched) {
    if let Ok(event) = Deposited::decode_log(log) {
        touched.lanes.insert((event.payer, event.payee));
    } else if let Ok(event) = Withdrawn::decode_log(log) {
        touched.lanes.insert((event.payer, event.payee));
    } else if let Ok(event) = ThawStarted::decode_log(log) {
        touched.lanes.insert((event.payer, event.payee));
    } else if let Ok(event) = Claimed::decode_log(log) {
        touched.lanes.insert((event.payee, Address::ZERO));
        for (payer, _) in row::parse_payments(&event.payments).unwrap_or_default() {
            touched.lanes.insert((payer, event.payee));
            // What the lane lacked came out of the payer's open balance.
            touched.lanes.insert((payer, Address::ZERO));
        }
    } else if let Ok(event) = DelegateAuthorized::decode_log(log) {
        touched.delegates.insert((event.payer, event.signer));
    } else if let Ok(event) = DelegateRevoked::decode_log(log) {
        touched.delegates.insert((event.payer, event.signer));
    }
}

#[cfg(test)]
mod tests {
    use alloy::primitives::{LogData, aliases::U96};

    use super::*;

    const ESCROW: Address = Address::repeat_byte(0xee);
    const TABLE: Address = Address::repeat_byte(0x77);
    const PAYER: Address = Address::repeat_byte(1);
    const PAYEE: Address = Address::repeat_byte(2);

    fn log(address: Address, data: LogData) -> Log {
        Log { inner: alloy::primitives::Log { address, data }, ..Log::default() }
    }

    #[test]
    fn a_stranger_contract_touches_nothing() {
        let event = NodeRetired { node: PAYER }.encode_log_data();
        assert_eq!(touched(&[log(PAYER, event.clone()), log(ESCROW, event)], ESCROW, TABLE), Touched::default());
    }

    #[test]
    fn the_newest_route_of_a_batch_wins() {
        let route = |agent, nonce| {
            let key = minus_bindings::IRoutingTable::SealingKey::default();
            log(TABLE, RouteSet { wallet: PAYER, agent, nonce, sealingKey: key }.encode_log_data())
        };
        let touched = touched(&[route(PAYEE, 1), route(ESCROW, 2)], ESCROW, TABLE);
        assert_eq!(touched.routes.get(&PAYER), Some(&(ESCROW, 2)));
    }

    #[test]
    fn a_claim_touches_lane_and_both_open_balances() {
        let mut payments = PAYER.to_vec();
        payments.extend([0; 11]);
        payments.push(5);
        let claimed = Claimed { payee: PAYEE, total: U96::from(5), payments: payments.into() };
        let touched = touched(&[log(ESCROW, claimed.encode_log_data())], ESCROW, TABLE);
        let expected = BTreeSet::from([(PAYER, PAYEE), (PAYER, Address::ZERO), (PAYEE, Address::ZERO)]);
        assert_eq!(touched.lanes, expected);
    }
}
