//! Who else may sign for a payer, and for how long after being told not to (laws 2 and 4).

use minus_bindings::{Delegation, PrepaymentEscrow, RowResult, SignedVoucher};
use minus_tests::evm::{Actor, Contract, World, assert_refused, units};

use crate::calls::{NOTICE_S, OPEN, authorize, delegation_by_signature, is_signer, revoke, u256};

/// The operator olga has an open balance of 100; her node signs for her, to the relay operator rita.
fn bonded() -> (World, Actor, Actor, Actor) {
    let mut world = World::new();
    let (olga, node, rita) = (Actor::named("olga"), Actor::named("node"), Actor::named("rita"));
    world.prepay(&olga, OPEN, 100);
    (world, olga, node, rita)
}

/// Claims a voucher of `payer` to `payee` that `signer` signed.
fn claim_signed_by(world: &mut World, payer: &Actor, signer: &Actor, payee: &Actor, cumulative: u128) -> RowResult {
    let domain = world.escrow_domain();
    let voucher = SignedVoucher::sign(payer.address(), payee.address(), units(cumulative), &domain, &signer.signer);
    world.claim(payee, payee.address(), &[voucher]).unwrap().results[0]
}

#[test]
fn refuses_nobody_and_oneself() {
    let (mut world, olga, ..) = bonded();
    for signer in [OPEN, olga.address()] {
        assert_refused(world.call(&olga, Contract::Escrow, authorize(signer)), &PrepaymentEscrow::BadSigner { signer });
    }
}

#[test]
fn refuses_to_revoke_who_was_not_authorized() {
    let (mut world, olga, node, _) = bonded();
    let expected = PrepaymentEscrow::NotAuthorized { payer: olga.address(), signer: node.address() };
    assert_refused(world.call(&olga, Contract::Escrow, revoke(node.address())), &expected);
    world.call(&olga, Contract::Escrow, authorize(node.address())).unwrap();
    world.call(&olga, Contract::Escrow, revoke(node.address())).unwrap();
    assert_refused(world.call(&olga, Contract::Escrow, revoke(node.address())), &expected);
}

#[test]
fn a_delegate_signs_like_the_payer() {
    let (mut world, olga, node, rita) = bonded();
    assert_eq!(claim_signed_by(&mut world, &olga, &node, &rita, 10), RowResult::BadSignature);
    assert!(!is_signer(&mut world, &olga, &node));
    assert!(is_signer(&mut world, &olga, &olga));
    let authorized_at = world.now();

    let receipt = world.call(&olga, Contract::Escrow, authorize(node.address())).unwrap();

    assert_eq!(
        receipt.event::<PrepaymentEscrow::DelegateAuthorized>(),
        PrepaymentEscrow::DelegateAuthorized { payer: olga.address(), signer: node.address() }
    );
    assert!(is_signer(&mut world, &olga, &node));
    let call = PrepaymentEscrow::delegateCall { payer: olga.address(), signer: node.address() };
    let delegate = world.view(Contract::Escrow, call);
    assert_eq!((delegate.authorizedAt, delegate.revokedAt, delegate.authorized), (authorized_at, 0, true));
    assert_eq!(claim_signed_by(&mut world, &olga, &node, &rita, 10), RowResult::Paid);
    assert_eq!(world.lane(olga.address(), rita.address()), (0, 10));
    assert_eq!(world.open_balance(olga.address()), (90, 0));
}

#[test]
fn a_signer_of_one_payer_is_nothing_for_another() {
    let (mut world, olga, node, rita) = bonded();
    let other = Actor::named("other operator");
    world.prepay(&other, OPEN, 100);
    world.call(&olga, Contract::Escrow, authorize(node.address())).unwrap();
    assert_eq!(claim_signed_by(&mut world, &other, &node, &rita, 10), RowResult::BadSignature);
    assert_eq!(claim_signed_by(&mut world, &node, &olga, &rita, 10), RowResult::BadSignature);
    assert!(!is_signer(&mut world, &other, &node));
}

#[test]
fn a_revoked_delegate_signs_until_the_exact_second() {
    let (mut world, olga, node, rita) = bonded();
    world.call(&olga, Contract::Escrow, authorize(node.address())).unwrap();
    world.warp(10);
    let revoked_at = world.now();

    let receipt = world.call(&olga, Contract::Escrow, revoke(node.address())).unwrap();

    assert_eq!(
        receipt.event::<PrepaymentEscrow::DelegateRevoked>(),
        PrepaymentEscrow::DelegateRevoked {
            payer: olga.address(),
            signer: node.address(),
            liveUntil: revoked_at + NOTICE_S
        }
    );
    world.warp(NOTICE_S - 1);
    assert!(is_signer(&mut world, &olga, &node));
    assert_eq!(claim_signed_by(&mut world, &olga, &node, &rita, 10), RowResult::Paid);
    world.warp(1);
    assert!(!is_signer(&mut world, &olga, &node));
    assert_eq!(claim_signed_by(&mut world, &olga, &node, &rita, 20), RowResult::BadSignature);
    // When it was revoked stays readable.
    let call = PrepaymentEscrow::delegateCall { payer: olga.address(), signer: node.address() };
    let delegate = world.view(Contract::Escrow, call);
    assert_eq!((delegate.authorizedAt, delegate.revokedAt, delegate.authorized), (revoked_at - 10, revoked_at, false));
    // The payer's own signature is never revoked.
    assert_eq!(claim_signed_by(&mut world, &olga, &olga, &rita, 20), RowResult::Paid);
}

#[test]
fn who_is_authorized_again_signs_again() {
    let (mut world, olga, node, rita) = bonded();
    world.call(&olga, Contract::Escrow, authorize(node.address())).unwrap();
    world.call(&olga, Contract::Escrow, revoke(node.address())).unwrap();
    world.warp(2 * NOTICE_S);
    assert!(!is_signer(&mut world, &olga, &node));
    world.call(&olga, Contract::Escrow, authorize(node.address())).unwrap();
    assert_eq!(claim_signed_by(&mut world, &olga, &node, &rita, 10), RowResult::Paid);
}

#[test]
fn by_signature_refuses_what_is_late_forged_or_used() {
    let (mut world, olga, node, _) = bonded();
    let (carrier, mallory) = (Actor::named("carrier"), Actor::named("mallory"));
    let now = world.now();
    let delegation =
        Delegation { payer: olga.address(), signer: node.address(), authorized: true, nonce: u256(0), validUntil: now };

    let late = Delegation { validUntil: now - 1, ..delegation.clone() };
    let call = delegation_by_signature(&world, &olga, &late);
    assert_refused(
        world.call(&carrier, Contract::Escrow, call),
        &PrepaymentEscrow::SignatureExpired { validUntil: now - 1, timestamp: u256(now.into()) },
    );

    let invalid = PrepaymentEscrow::InvalidSignature { expected: olga.address() };
    let call = delegation_by_signature(&world, &mallory, &delegation);
    assert_refused(world.call(&carrier, Contract::Escrow, call), &invalid);
    let ahead = Delegation { nonce: u256(1), ..delegation.clone() };
    let call = delegation_by_signature(&world, &olga, &ahead);
    assert_refused(world.call(&carrier, Contract::Escrow, call), &invalid);
    let mut call = delegation_by_signature(&world, &olga, &delegation);
    call.authorized = false;
    assert_refused(world.call(&carrier, Contract::Escrow, call), &invalid);

    let call = delegation_by_signature(&world, &olga, &delegation);
    world.call(&carrier, Contract::Escrow, call.clone()).unwrap();
    assert_refused(world.call(&carrier, Contract::Escrow, call), &invalid);
}

#[test]
fn by_signature_authorizes_and_revokes_for_whoever_signed() {
    let (mut world, olga, node, _) = bonded();
    let carrier = Actor::named("carrier");
    let mut delegation = Delegation {
        payer: olga.address(),
        signer: node.address(),
        authorized: true,
        nonce: u256(0),
        validUntil: world.now(),
    };
    let call = delegation_by_signature(&world, &olga, &delegation);
    let receipt = world.call(&carrier, Contract::Escrow, call).unwrap();
    assert_eq!(receipt.events::<PrepaymentEscrow::DelegateAuthorized>().len(), 1);
    assert!(is_signer(&mut world, &olga, &node));
    let nonce = PrepaymentEscrow::noncesCall { signer: olga.address() };
    assert_eq!(world.view(Contract::Escrow, nonce.clone()), u256(1));

    (delegation.authorized, delegation.nonce) = (false, u256(1));
    let call = delegation_by_signature(&world, &olga, &delegation);
    let receipt = world.call(&carrier, Contract::Escrow, call).unwrap();
    let revoked = receipt.event::<PrepaymentEscrow::DelegateRevoked>();
    assert_eq!(revoked.liveUntil, world.now() + NOTICE_S);
    world.warp(NOTICE_S);
    assert!(!is_signer(&mut world, &olga, &node));
    assert_eq!(world.view(Contract::Escrow, nonce), u256(2));
}
