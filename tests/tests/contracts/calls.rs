//! The contracts' calls in the words that tests use: plain numbers in, typed calls out.

use alloy::primitives::aliases::U96;
use alloy::primitives::{Address, B256, Bytes, U256};
use minus_bindings::{
    Delegation, DepositOrder, IPrepaymentEscrow, IRoutingTable, Mandate, MandateRevocation, NodeConsent, Permit,
    PrepaymentEscrow, Route, RoutingTable, SettlementToken, sign,
};
use minus_tests::evm::{Actor, Contract, Receipt, Refusal, World, units};

/// `PrepaymentEscrow.NOTICE_PERIOD` and `RoutingTable.TARIFF_NOTICE`, in seconds.
pub(crate) const NOTICE_S: u64 = 7 * 24 * 60 * 60;

/// What daily caps count.
pub(crate) const DAY_S: u64 = 24 * 60 * 60;

/// The open balance is the lane to nobody.
pub(crate) const OPEN: Address = Address::ZERO;

pub(crate) fn u96(base_units: u128) -> U96 {
    units(base_units).to_u96()
}

pub(crate) fn u256(number: u128) -> U256 {
    U256::from(number)
}

pub(crate) fn deposit(payer: Address, payee: Address, amount: u128) -> PrepaymentEscrow::depositCall {
    PrepaymentEscrow::depositCall { payer, payee, amount: u96(amount) }
}

pub(crate) fn thaw(payee: Address, amount: u128) -> PrepaymentEscrow::thawCall {
    PrepaymentEscrow::thawCall { payee, amount: u96(amount) }
}

pub(crate) fn withdraw(payee: Address, to: Address) -> PrepaymentEscrow::withdrawCall {
    PrepaymentEscrow::withdrawCall { payee, to }
}

pub(crate) fn authorize(signer: Address) -> PrepaymentEscrow::authorizeCall {
    PrepaymentEscrow::authorizeCall { signer }
}

pub(crate) fn revoke(signer: Address) -> PrepaymentEscrow::revokeCall {
    PrepaymentEscrow::revokeCall { signer }
}

pub(crate) fn wrap(account: Address, amount: u128) -> SettlementToken::depositForCall {
    SettlementToken::depositForCall { account, amount: u256(amount) }
}

pub(crate) fn unwrap(account: Address, amount: u128) -> SettlementToken::withdrawToCall {
    SettlementToken::withdrawToCall { account, amount: u256(amount) }
}

pub(crate) fn is_signer(world: &mut World, payer: &Actor, signer: &Actor) -> bool {
    let call = PrepaymentEscrow::isSignerCall { payer: payer.address(), signer: signer.address() };
    world.view(Contract::Escrow, call)
}

/// A delegation signed by `by`, as `payer`'s.
pub(crate) fn delegation_by_signature(
    world: &World,
    by: &Actor,
    delegation: &Delegation,
) -> PrepaymentEscrow::setDelegateBySignatureCall {
    PrepaymentEscrow::setDelegateBySignatureCall {
        payer: delegation.payer,
        signer: delegation.signer,
        authorized: delegation.authorized,
        validUntil: delegation.validUntil,
        signature: sign(delegation, &world.escrow_domain(), &by.signer).into(),
    }
}

/// A mandate of `daily` a day, of which at most `cap` gathers.
pub(crate) fn set_mandate(
    payee: Address,
    daily: u128,
    cap: u128,
    valid_until: u64,
) -> PrepaymentEscrow::setMandateCall {
    PrepaymentEscrow::setMandateCall { payee, dailyCap: u96(daily), accrualCap: u96(cap), validUntil: valid_until }
}

pub(crate) fn revoke_mandate(payee: Address) -> PrepaymentEscrow::revokeMandateCall {
    PrepaymentEscrow::revokeMandateCall { payee }
}

/// The mandate as stored, and what could be charged now.
pub(crate) fn mandate_of(world: &mut World, payer: Address, payee: Address) -> (IPrepaymentEscrow::Mandate, u128) {
    let answer = world.view(Contract::Escrow, PrepaymentEscrow::mandateCall { payer, payee });
    (answer._0, answer.chargeable.to())
}

/// The nonce that the next signature of `signer` for others to carry must have.
pub(crate) fn nonce_of(world: &mut World, signer: Address) -> U256 {
    world.view(Contract::Escrow, PrepaymentEscrow::noncesCall { signer })
}

/// A mandate signed by `by`, as its payer's.
pub(crate) fn mandate_by_signature(
    world: &World,
    by: &Actor,
    mandate: &Mandate,
) -> PrepaymentEscrow::setMandateBySignatureCall {
    PrepaymentEscrow::setMandateBySignatureCall {
        payer: mandate.payer,
        payee: mandate.payee,
        dailyCap: mandate.dailyCap,
        accrualCap: mandate.accrualCap,
        validUntil: mandate.validUntil,
        signature: sign(mandate, &world.escrow_domain(), &by.signer).into(),
    }
}

/// The end of a mandate signed by `by`, as its payer's.
pub(crate) fn revocation_by_signature(
    world: &World,
    by: &Actor,
    revocation: &MandateRevocation,
) -> PrepaymentEscrow::revokeMandateBySignatureCall {
    PrepaymentEscrow::revokeMandateBySignatureCall {
        payer: revocation.payer,
        payee: revocation.payee,
        validUntil: revocation.validUntil,
        signature: sign(revocation, &world.escrow_domain(), &by.signer).into(),
    }
}

/// A deposit order signed by `by`, as `from`'s, with a permit or none.
pub(crate) fn order_by_signature(
    world: &World,
    by: &Actor,
    order: &DepositOrder,
    permit: IPrepaymentEscrow::PermitSignature,
) -> PrepaymentEscrow::depositBySignatureCall {
    PrepaymentEscrow::depositBySignatureCall {
        order: IPrepaymentEscrow::DepositOrder {
            from: order.from,
            payer: order.payer,
            payee: order.payee,
            amount: order.amount,
            validUntil: order.validUntil,
        },
        signature: sign(order, &world.escrow_domain(), &by.signer).into(),
        permit,
    }
}

/// A permit of `owner` to the escrow, signed by `by`.
pub(crate) fn permit(
    world: &World,
    by: &Actor,
    owner: Address,
    amount: u128,
    nonce: u128,
    deadline: u64,
) -> IPrepaymentEscrow::PermitSignature {
    let permit = Permit {
        owner,
        spender: world.address(Contract::Escrow),
        value: u256(amount),
        nonce: u256(nonce),
        deadline: U256::from(deadline),
    };
    let signature = sign(&permit, &world.token_domain(), &by.signer);
    IPrepaymentEscrow::PermitSignature {
        v: signature[64],
        r: B256::from_slice(&signature[..32]),
        s: B256::from_slice(&signature[32..64]),
    }
}

/// For when the allowance is there already.
pub(crate) fn no_permit() -> IPrepaymentEscrow::PermitSignature {
    IPrepaymentEscrow::PermitSignature { v: 0, r: B256::ZERO, s: B256::ZERO }
}

/// An actor's public key in place of a sealing key: it is on the curve.
pub(crate) fn sealing_key(of: &Actor) -> IRoutingTable::SealingKey {
    let (x, y) = of.point();
    IRoutingTable::SealingKey { x, y }
}

pub(crate) fn tariff(delivery: u64, relay: u64, storing: u64) -> IRoutingTable::Tariff {
    IRoutingTable::Tariff { delivery, relay, storing }
}

/// The registration of `node` under `operator`, with all in order.
pub(crate) fn register(world: &World, node: &Actor, operator: &Actor) -> RoutingTable::registerCall {
    let (sealing_key, valid_until) = (sealing_key(node), world.now() + 60);
    let consent = NodeConsent {
        node: node.address(),
        operator: operator.address(),
        sealingKeyX: sealing_key.x,
        sealingKeyY: sealing_key.y,
        validUntil: valid_until,
    };
    RoutingTable::registerCall {
        node_: node.address(),
        sealingKey: sealing_key,
        endpoint: "https://node.example".to_owned(),
        tariff: tariff(100, 10, 1),
        validUntil: valid_until,
        consent: sign(&consent, &world.routing_domain(), &node.signer).into(),
    }
}

/// `operator` with its bond, and `node` registered under it.
pub(crate) fn registered(world: &mut World, node: &Actor, operator: &Actor) -> Receipt<RoutingTable::registerReturn> {
    world.prepay(operator, OPEN, 10_000_000);
    let register = register(world, node, operator);
    world.call(operator, Contract::Routing, register).unwrap()
}

pub(crate) fn set_route(agent: Address, key: IRoutingTable::SealingKey) -> RoutingTable::setRouteCall {
    RoutingTable::setRouteCall { agent, sealingKey: key }
}

/// A route signed by `by`, as its wallet's.
pub(crate) fn route_by_signature(
    world: &mut World,
    carrier: &Actor,
    by: &Actor,
    route: &Route,
) -> Result<Receipt<RoutingTable::setRouteBySignatureReturn>, Refusal> {
    let signature: Bytes = sign(route, &world.routing_domain(), &by.signer).into();
    let call = RoutingTable::setRouteBySignatureCall {
        wallet: route.wallet,
        agent: route.agent,
        sealingKey: IRoutingTable::SealingKey { x: route.sealingKeyX, y: route.sealingKeyY },
        validUntil: route.validUntil,
        signature,
    };
    world.call(carrier, Contract::Routing, call)
}

pub(crate) fn node_of(world: &mut World, node: &Actor) -> IRoutingTable::Node {
    world.view(Contract::Routing, RoutingTable::nodeCall { node_: node.address() })
}
