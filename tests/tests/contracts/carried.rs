//! What is signed for others to carry: delegations, mandates and their ends, deposit orders. Each takes effect once, in
//! the order in which they were made, and nobody but its signer can make it.

use minus_bindings::{Delegation, DepositOrder, Mandate, MandateRevocation, PrepaymentEscrow, SettlementToken, typed};
use minus_tests::evm::{Actor, CHAIN_ID, Contract, World, assert_refused};

use crate::calls::{
    DAY_S, NOTICE_S, authorize, delegation_by_signature, is_signer, mandate_by_signature, mandate_of, no_permit,
    nonce_of, order_by_signature, permit, revocation_by_signature, revoke, revoke_mandate, set_mandate, u96, u256,
};

/// Alice signs, a carrier carries, all to olga.
fn people() -> (World, Actor, Actor, Actor) {
    (World::new(), Actor::named("alice"), Actor::named("olga"), Actor::named("carrier"))
}

fn mandate(world: &World, payer: &Actor, payee: &Actor, nonce: u128) -> Mandate {
    Mandate {
        payer: payer.address(),
        payee: payee.address(),
        dailyCap: u96(10),
        accrualCap: u96(100),
        nonce: u256(nonce),
        validUntil: world.now() + 30 * DAY_S,
    }
}

fn order(world: &World, from: &Actor, payee: &Actor, amount: u128, nonce: u128) -> DepositOrder {
    DepositOrder {
        from: from.address(),
        payer: from.address(),
        payee: payee.address(),
        amount: u96(amount),
        nonce: u256(nonce),
        validUntil: world.now() + DAY_S,
    }
}

#[test]
fn refuses_a_mandate_that_is_late_forged_or_used() {
    let (mut world, alice, olga, carrier) = people();
    let invalid = PrepaymentEscrow::InvalidSignature { expected: alice.address() };
    let signed = mandate(&world, &alice, &olga, 0);

    for forger in [&olga, &carrier] {
        let call = mandate_by_signature(&world, forger, &signed);
        assert_refused(world.call(&carrier, Contract::Escrow, call), &invalid);
    }
    let ahead = Mandate { nonce: u256(1), ..signed.clone() };
    let call = mandate_by_signature(&world, &alice, &ahead);
    assert_refused(world.call(&carrier, Contract::Escrow, call), &invalid);
    let good = mandate_by_signature(&world, &alice, &signed);
    for altered in [
        PrepaymentEscrow::setMandateBySignatureCall { payee: carrier.address(), ..good.clone() },
        PrepaymentEscrow::setMandateBySignatureCall { dailyCap: u96(11), ..good.clone() },
        PrepaymentEscrow::setMandateBySignatureCall { accrualCap: u96(101), ..good.clone() },
        PrepaymentEscrow::setMandateBySignatureCall { validUntil: good.validUntil + 1, ..good.clone() },
    ] {
        assert_refused(world.call(&carrier, Contract::Escrow, altered), &invalid);
    }
    let late = Mandate { validUntil: world.now() - 1, ..signed };
    let call = mandate_by_signature(&world, &alice, &late);
    assert_refused(
        world.call(&carrier, Contract::Escrow, call),
        &PrepaymentEscrow::SignatureExpired { validUntil: late.validUntil, timestamp: u256(world.now().into()) },
    );

    world.call(&carrier, Contract::Escrow, good.clone()).unwrap();
    assert_refused(world.call(&carrier, Contract::Escrow, good), &invalid);
}

#[test]
fn refuses_a_signature_for_another_chain_or_contract() {
    let (mut world, alice, olga, carrier) = people();
    let signed = mandate(&world, &alice, &olga, 0);
    let elsewhere = typed::escrow_domain(CHAIN_ID + 1, world.address(Contract::Escrow));
    for domain in [elsewhere, world.routing_domain(), world.token_domain()] {
        let signature = typed::sign(&signed, &domain, &alice.signer).into();
        let call =
            PrepaymentEscrow::setMandateBySignatureCall { signature, ..mandate_by_signature(&world, &alice, &signed) };
        assert_refused(
            world.call(&carrier, Contract::Escrow, call),
            &PrepaymentEscrow::InvalidSignature { expected: alice.address() },
        );
    }
}

#[test]
fn a_delegate_cannot_sign_what_is_carried() {
    let (mut world, alice, olga, carrier) = people();
    let session = Actor::named("session");
    world.call(&alice, Contract::Escrow, authorize(session.address())).unwrap();
    let call = mandate_by_signature(&world, &session, &mandate(&world, &alice, &olga, 1));
    assert_refused(
        world.call(&carrier, Contract::Escrow, call),
        &PrepaymentEscrow::InvalidSignature { expected: alice.address() },
    );
}

#[test]
fn anyone_carries_a_mandate_and_its_end() {
    let (mut world, alice, olga, carrier) = people();
    let signed = mandate(&world, &alice, &olga, 0);
    let call = mandate_by_signature(&world, &alice, &signed);

    let receipt = world.call(&carrier, Contract::Escrow, call).unwrap();

    let event = receipt.event::<PrepaymentEscrow::MandateSet>();
    assert_eq!((event.payer, event.payee, event.validUntil), (alice.address(), olga.address(), signed.validUntil));
    world.warp(DAY_S);
    assert_eq!(mandate_of(&mut world, alice.address(), olga.address()).1, 10);

    let end =
        MandateRevocation { payer: alice.address(), payee: olga.address(), nonce: u256(1), validUntil: world.now() };
    let forged = revocation_by_signature(&world, &olga, &end);
    let invalid = PrepaymentEscrow::InvalidSignature { expected: alice.address() };
    assert_refused(world.call(&carrier, Contract::Escrow, forged), &invalid);
    let call = revocation_by_signature(&world, &alice, &end);
    let receipt = world.call(&carrier, Contract::Escrow, call.clone()).unwrap();
    assert_eq!(receipt.event::<PrepaymentEscrow::MandateRevoked>().validUntil, world.now() + NOTICE_S);
    assert_refused(world.call(&carrier, Contract::Escrow, call), &invalid);
    assert_eq!(nonce_of(&mut world, alice.address()), u256(2));
}

#[test]
fn an_order_needs_both_the_lane_and_the_allowance_signed() {
    let (mut world, alice, olga, carrier) = people();
    let mallory = Actor::named("mallory");
    world.fund(&alice, 100);
    let signed = order(&world, &alice, &olga, 40, 0);
    let allowance = permit(&world, &alice, alice.address(), 40, 0, signed.validUntil);
    let invalid = PrepaymentEscrow::InvalidSignature { expected: alice.address() };

    let forged = order_by_signature(&world, &mallory, &signed, allowance.clone());
    assert_refused(world.call(&mallory, Contract::Escrow, forged), &invalid);
    let mut elsewhere = order_by_signature(&world, &alice, &signed, allowance.clone());
    elsewhere.order.payee = mallory.address();
    assert_refused(world.call(&mallory, Contract::Escrow, elsewhere), &invalid);
    let mut for_another = order_by_signature(&world, &alice, &signed, allowance.clone());
    for_another.order.payer = mallory.address();
    assert_refused(world.call(&mallory, Contract::Escrow, for_another), &invalid);
    // Without the permit there is no allowance, and nothing is used up by trying.
    let bare = order_by_signature(&world, &alice, &signed, no_permit());
    assert_refused(
        world.call(&carrier, Contract::Escrow, bare),
        &SettlementToken::ERC20InsufficientAllowance {
            spender: world.address(Contract::Escrow),
            allowance: u256(0),
            needed: u256(40),
        },
    );

    let call = order_by_signature(&world, &alice, &signed, allowance);
    let receipt = world.call(&carrier, Contract::Escrow, call.clone()).unwrap();

    let event = receipt.event::<PrepaymentEscrow::Deposited>();
    assert_eq!((event.payer, event.payee, event.from), (alice.address(), olga.address(), alice.address()));
    assert_eq!((world.lane(alice.address(), olga.address()), world.tokens(alice.address())), ((40, 0), 60));
    assert_eq!(nonce_of(&mut world, alice.address()), u256(1));
    assert_refused(world.call(&carrier, Contract::Escrow, call), &invalid);
}

#[test]
fn an_order_whose_permit_was_carried_first_still_holds() {
    let (mut world, alice, olga, carrier) = people();
    world.fund(&alice, 40);
    let signed = order(&world, &alice, &olga, 40, 0);
    let allowance = permit(&world, &alice, alice.address(), 40, 0, signed.validUntil);
    let front_run = SettlementToken::permitCall {
        owner: alice.address(),
        spender: world.address(Contract::Escrow),
        value: u256(40),
        deadline: u256(signed.validUntil.into()),
        v: allowance.v,
        r: allowance.r,
        s: allowance.s,
    };
    world.call(&Actor::named("mallory"), Contract::Token, front_run).unwrap();
    let call = order_by_signature(&world, &alice, &signed, allowance);
    world.call(&carrier, Contract::Escrow, call).unwrap();
    assert_eq!(world.lane(alice.address(), olga.address()), (40, 0));
}

/// What counts the nonce up voids what was signed before it; claims, charges, deposits and withdrawals do not.
#[test]
fn acting_oneself_voids_what_nobody_has_carried_yet() {
    let (mut world, alice, olga, carrier) = people();
    let session = Actor::named("session").address();
    let signed = mandate(&world, &alice, &olga, 0);
    let call = mandate_by_signature(&world, &alice, &signed);
    let invalid = PrepaymentEscrow::InvalidSignature { expected: alice.address() };
    let assert_voided = |mut world: World| {
        assert_refused(world.call(&carrier, Contract::Escrow, call.clone()), &invalid);
        assert_eq!(nonce_of(&mut world, alice.address()), u256(1));
    };

    let mut fork = world.clone();
    fork.call(&alice, Contract::Escrow, PrepaymentEscrow::voidSignaturesCall {}).unwrap();
    assert_voided(fork);
    let mut fork = world.clone();
    fork.call(&alice, Contract::Escrow, authorize(session)).unwrap();
    assert_voided(fork);
    let mut fork = world.clone();
    let end = world.now() + DAY_S;
    fork.call(&alice, Contract::Escrow, set_mandate(olga.address(), 1, 1, end)).unwrap();
    assert_voided(fork);
    let mut fork = world.clone();
    fork.call(&alice, Contract::Escrow, revoke_mandate(olga.address())).unwrap();
    assert_voided(fork);

    // Money that moves voids nothing, nor does anybody else's act, nor one that was refused.
    world.prepay(&alice, olga.address(), 10);
    let voucher = world.voucher(&alice, olga.address(), 5);
    world.claim(&carrier, olga.address(), &[voucher]).unwrap();
    world.call(&olga, Contract::Escrow, PrepaymentEscrow::voidSignaturesCall {}).unwrap();
    let unknown = PrepaymentEscrow::NotAuthorized { payer: alice.address(), signer: session };
    assert_refused(world.call(&alice, Contract::Escrow, revoke(session)), &unknown);
    world.call(&carrier, Contract::Escrow, call).unwrap();
}

/// One nonce for all of them: two that were signed side by side exclude each other.
#[test]
fn of_two_signed_with_one_nonce_the_first_carried_counts() {
    let (mut world, alice, olga, carrier) = people();
    let session = Actor::named("session");
    let delegation = Delegation {
        payer: alice.address(),
        signer: session.address(),
        authorized: true,
        nonce: u256(0),
        validUntil: world.now(),
    };
    let give = mandate_by_signature(&world, &alice, &mandate(&world, &alice, &olga, 0));
    let authorize = delegation_by_signature(&world, &alice, &delegation);
    world.call(&carrier, Contract::Escrow, give).unwrap();
    assert_refused(
        world.call(&carrier, Contract::Escrow, authorize),
        &PrepaymentEscrow::InvalidSignature { expected: alice.address() },
    );
    assert!(!is_signer(&mut world, &alice, &session));
}
