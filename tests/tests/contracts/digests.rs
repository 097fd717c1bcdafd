//! Solidity and Rust mean the same by each message: the digest that a contract computes is the one that a key signs.

use std::cell::RefCell;

use alloy::primitives::aliases::U96;
use alloy::primitives::{Address, U256};
use minus_bindings::{
    Amount, Charge, Delegation, DepositOrder, IPrepaymentEscrow, IRoutingTable, Mandate, MandateRevocation,
    NodeConsent, PrepaymentEscrow, Route, RoutingTable, Voucher, digest,
};
use minus_tests::evm::{Contract, World};
use proptest::prelude::*;

use crate::random;

/// Each case asks the contract in the EVM; the fields are independent, so a few dozen tell what thousands would.
const CASES: u32 = 48;

fn addresses() -> impl Strategy<Value = Address> {
    any::<[u8; 20]>().prop_map(Address::from)
}

fn words() -> impl Strategy<Value = U256> {
    any::<[u8; 32]>().prop_map(U256::from_be_bytes)
}

fn amounts() -> impl Strategy<Value = U96> {
    (0..=Amount::MAX.base_units()).prop_map(U96::from)
}

/// Runs `property` against one world, which views leave as it is.
fn check<S: Strategy>(strategy: S, property: impl Fn(&mut World, S::Value) -> Result<(), TestCaseError>) {
    let world = RefCell::new(World::new());
    random::check(CASES, &strategy, |value| property(&mut world.borrow_mut(), value));
}

#[test]
fn vouchers() {
    let fields = (addresses(), addresses(), amounts());
    check(fields, |world, (payer, payee, cumulative)| {
        let ours = digest(&Voucher { payer, payee, cumulative }, &world.escrow_domain());
        let call = PrepaymentEscrow::voucherDigestCall { payer, payee, cumulative };
        prop_assert_eq!(world.view(Contract::Escrow, call), ours);
        Ok(())
    });
}

#[test]
fn charges() {
    let fields = (addresses(), addresses(), amounts());
    check(fields, |world, (payer, payee, cumulative)| {
        let ours = digest(&Charge { payer, payee, cumulative }, &world.escrow_domain());
        let call = PrepaymentEscrow::chargeDigestCall { payer, payee, cumulative };
        prop_assert_eq!(world.view(Contract::Escrow, call), ours);
        Ok(())
    });
}

#[test]
fn mandates() {
    let fields = (addresses(), addresses(), amounts(), amounts(), words(), any::<u64>());
    check(fields, |world, (payer, payee, daily_cap, accrual_cap, nonce, valid_until)| {
        let message =
            Mandate { payer, payee, dailyCap: daily_cap, accrualCap: accrual_cap, nonce, validUntil: valid_until };
        let ours = digest(&message, &world.escrow_domain());
        let call = PrepaymentEscrow::mandateDigestCall {
            payer,
            payee,
            dailyCap: daily_cap,
            accrualCap: accrual_cap,
            nonce,
            validUntil: valid_until,
        };
        prop_assert_eq!(world.view(Contract::Escrow, call), ours);
        Ok(())
    });
}

#[test]
fn mandate_revocations() {
    let fields = (addresses(), addresses(), words(), any::<u64>());
    check(fields, |world, (payer, payee, nonce, valid_until)| {
        let message = MandateRevocation { payer, payee, nonce, validUntil: valid_until };
        let ours = digest(&message, &world.escrow_domain());
        let call = PrepaymentEscrow::mandateRevocationDigestCall { payer, payee, nonce, validUntil: valid_until };
        prop_assert_eq!(world.view(Contract::Escrow, call), ours);
        Ok(())
    });
}

#[test]
fn deposit_orders() {
    let fields = (addresses(), addresses(), addresses(), amounts(), words(), any::<u64>());
    check(fields, |world, (from, payer, payee, amount, nonce, valid_until)| {
        let message = DepositOrder { from, payer, payee, amount, nonce, validUntil: valid_until };
        let ours = digest(&message, &world.escrow_domain());
        let order = IPrepaymentEscrow::DepositOrder { from, payer, payee, amount, validUntil: valid_until };
        let call = PrepaymentEscrow::depositOrderDigestCall { order, nonce };
        prop_assert_eq!(world.view(Contract::Escrow, call), ours);
        Ok(())
    });
}

#[test]
fn delegations() {
    let fields = (addresses(), addresses(), any::<bool>(), words(), any::<u64>());
    check(fields, |world, (payer, signer, authorized, nonce, valid_until)| {
        let message = Delegation { payer, signer, authorized, nonce, validUntil: valid_until };
        let ours = digest(&message, &world.escrow_domain());
        let call = PrepaymentEscrow::delegationDigestCall { payer, signer, authorized, nonce, validUntil: valid_until };
        prop_assert_eq!(world.view(Contract::Escrow, call), ours);
        Ok(())
    });
}

#[test]
fn consents() {
    let fields = (addresses(), addresses(), words(), words(), any::<u64>());
    check(fields, |world, (node, operator, x, y, valid_until)| {
        let message = NodeConsent { node, operator, sealingKeyX: x, sealingKeyY: y, validUntil: valid_until };
        let ours = digest(&message, &world.routing_domain());
        let call = RoutingTable::consentDigestCall {
            node_: node,
            operator,
            sealingKey: IRoutingTable::SealingKey { x, y },
            validUntil: valid_until,
        };
        prop_assert_eq!(world.view(Contract::Routing, call), ours);
        Ok(())
    });
}

#[test]
fn routes() {
    let fields = (addresses(), addresses(), words(), words(), any::<u64>(), any::<u64>());
    check(fields, |world, (wallet, agent, x, y, nonce, valid_until)| {
        let message = Route { wallet, agent, sealingKeyX: x, sealingKeyY: y, nonce, validUntil: valid_until };
        let ours = digest(&message, &world.routing_domain());
        let call = RoutingTable::routeDigestCall {
            wallet,
            agent,
            sealingKey: IRoutingTable::SealingKey { x, y },
            nonce,
            validUntil: valid_until,
        };
        prop_assert_eq!(world.view(Contract::Routing, call), ours);
        Ok(())
    });
}

#[test]
fn the_two_domains_are_not_one() {
    let world = World::new();
    let voucher = Voucher { payer: Address::ZERO, payee: Address::ZERO, cumulative: Amount::ZERO.to_u96() };
    assert_ne!(digest(&voucher, &world.escrow_domain()), digest(&voucher, &world.routing_domain()));
}
