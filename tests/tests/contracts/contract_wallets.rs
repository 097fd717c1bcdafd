//! Payers that are contracts: asked whether they signed (ERC-1271), with little gas and no power (laws 2 and 5).

use alloy::primitives::Address;
use minus_bindings::{Delegation, DepositOrder, Mandate, PrepaymentEscrow, RowResult, SettlementToken, SignedVoucher};
use minus_tests::evm::{Actor, Contract, WalletAnswer, World, assert_refused, units};

use crate::calls::{
    DAY_S, OPEN, delegation_by_signature, deposit, mandate_by_signature, mandate_of, no_permit, nonce_of,
    order_by_signature, u96, u256,
};

/// What a wallet can say instead of yes.
const NO: [WalletAnswer; 8] = [
    WalletAnswer::OwnersSignature,
    WalletAnswer::No,
    WalletAnswer::Nothing,
    WalletAnswer::Short,
    WalletAnswer::Dirty,
    WalletAnswer::One,
    WalletAnswer::Failure,
    WalletAnswer::AllGas,
];

/// Alice's wallet is a contract with 100 prepaid to olga.
fn prepaid() -> (World, Actor, Address, Actor) {
    let mut world = World::new();
    let (alice, olga) = (Actor::named("alice"), Actor::named("olga"));
    let wallet = world.wallet(&alice);
    world.fund(&alice, 100);
    world.approve(&alice, 100);
    world.call(&alice, Contract::Escrow, deposit(wallet, olga.address(), 100)).unwrap();
    (world, alice, wallet, olga)
}

#[test]
fn refuses_no_payee_and_no_voucher() {
    let (mut world, alice, wallet, olga) = prepaid();
    let voucher = world.contract_voucher(wallet, OPEN, 5, &alice);
    assert_refused(world.claim_from_contracts(&olga, OPEN, vec![voucher]), &PrepaymentEscrow::BadPayee { payee: OPEN });
    assert_refused(world.claim_from_contracts(&olga, olga.address(), vec![]), &PrepaymentEscrow::NoBatch {});
}

#[test]
fn refuses_whatever_is_not_a_clear_yes() {
    let (mut world, _, wallet, olga) = prepaid();
    let mallory = Actor::named("mallory");
    let forged = world.contract_voucher(wallet, olga.address(), 5, &mallory);
    for answer in NO {
        world.tell(wallet, answer);
        let claim = world.claim_from_contracts(&olga, olga.address(), vec![forged.clone()]).unwrap();
        assert_eq!((claim.results.as_slice(), claim.total), (&[RowResult::BadSignature][..], units(0)), "{answer:?}");
    }
    assert_eq!(world.lane(wallet, olga.address()), (100, 0));
}

#[test]
fn refuses_a_payer_without_code_and_nobody_and_the_payee_itself() {
    let (mut world, alice, _, olga) = prepaid();
    world.prepay(&alice, olga.address(), 10);
    let of_key = world.contract_voucher(alice.address(), olga.address(), 5, &alice);
    let of_payee = world.contract_voucher(olga.address(), olga.address(), 5, &olga);
    let of_nobody = world.contract_voucher(OPEN, olga.address(), 5, &olga);
    let claim = world.claim_from_contracts(&olga, olga.address(), vec![of_key, of_payee, of_nobody]).unwrap();
    assert_eq!(claim.results, [RowResult::BadSignature, RowResult::BadPayer, RowResult::BadPayer]);
}

#[test]
fn a_wallets_voucher_is_no_row_of_a_claim() {
    let (mut world, alice, wallet, olga) = prepaid();
    let voucher = SignedVoucher::sign(wallet, olga.address(), units(5), &world.escrow_domain(), &alice.signer);
    assert_eq!(world.claim(&olga, olga.address(), &[voucher]).unwrap().results, [RowResult::BadSignature]);
}

#[test]
fn claims_the_difference_as_from_any_payer() {
    let (mut world, alice, wallet, olga) = prepaid();
    let first = world.contract_voucher(wallet, olga.address(), 30, &alice);
    let claim = world.claim_from_contracts(&Actor::named("anyone"), olga.address(), vec![first.clone()]).unwrap();
    assert_eq!((claim.total, claim.results.as_slice()), (units(30), &[RowResult::Paid][..]));
    assert_eq!(claim.payments, [(wallet, units(30))]);
    assert_eq!((world.lane(wallet, olga.address()), world.open_balance(olga.address())), ((70, 30), (30, 0)));

    let more = world.contract_voucher(wallet, olga.address(), 130, &alice);
    let claim = world.claim_from_contracts(&olga, olga.address(), vec![first, more.clone(), more]).unwrap();
    assert_eq!(claim.results, [RowResult::NothingNew, RowResult::PartlyPaid, RowResult::Unfunded]);
    assert_eq!(world.lane(wallet, olga.address()), (0, 100));
}

#[test]
fn a_wallet_that_burns_all_its_gas_stops_nobody() {
    let (mut world, alice, wallet, olga) = prepaid();
    let hostile = world.wallet(&Actor::named("mallory"));
    let rows = |world: &World| {
        [hostile, wallet, hostile].map(|payer| world.contract_voucher(payer, olga.address(), 5, &alice)).to_vec()
    };
    for answer in [WalletAnswer::AllGas, WalletAnswer::Failure] {
        world.tell(hostile, answer);
        let mut fork = world.clone();
        let vouchers = rows(&fork);
        let claim = fork.claim_from_contracts(&olga, olga.address(), vouchers).unwrap();
        assert_eq!(claim.results, [RowResult::BadSignature, RowResult::Paid, RowResult::BadSignature], "{answer:?}");
        assert!(claim.gas_used < 1_100_000, "{answer:?} cost {}", claim.gas_used);
    }
}

/// A yes behind which come 400,000 bytes more is a yes; nobody reads the rest.
#[test]
fn an_endless_answer_costs_no_more_than_any() {
    let (mut world, alice, wallet, olga) = prepaid();
    world.tell(wallet, WalletAnswer::Bomb);
    let voucher = world.contract_voucher(wallet, olga.address(), 5, &alice);
    let claim = world.claim_from_contracts(&olga, olga.address(), vec![voucher]).unwrap();
    assert_eq!(claim.results, [RowResult::Paid]);
    assert!(claim.gas_used < 550_000, "it cost {}", claim.gas_used);
}

#[test]
fn a_delegate_of_a_wallet_signs_like_a_key() {
    let (mut world, alice, wallet, olga) = prepaid();
    let session = Actor::named("session");
    let delegation = Delegation {
        payer: wallet,
        signer: session.address(),
        authorized: true,
        nonce: nonce_of(&mut world, wallet),
        validUntil: world.now(),
    };
    let forged = delegation_by_signature(&world, &session, &delegation);
    assert_refused(
        world.call(&session, Contract::Escrow, forged),
        &PrepaymentEscrow::InvalidSignature { expected: wallet },
    );
    let call = delegation_by_signature(&world, &alice, &delegation);
    world.call(&session, Contract::Escrow, call).unwrap();

    let domain = world.escrow_domain();
    let voucher = SignedVoucher::sign(wallet, olga.address(), units(5), &domain, &session.signer);
    let claim = world.claim(&olga, olga.address(), &[voucher]).unwrap();
    assert_eq!((claim.results.as_slice(), claim.total), (&[RowResult::Paid][..], units(5)));
    // To the wallet itself the delegate's signature is a stranger's.
    let voucher = world.contract_voucher(wallet, olga.address(), 6, &session);
    let claim = world.claim_from_contracts(&olga, olga.address(), vec![voucher]).unwrap();
    assert_eq!(claim.results, [RowResult::BadSignature]);
}

#[test]
fn a_wallet_gives_a_mandate_and_bears_charges() {
    let (mut world, alice, wallet, olga) = prepaid();
    let mandate = Mandate {
        payer: wallet,
        payee: olga.address(),
        dailyCap: u96(10),
        accrualCap: u96(10),
        nonce: u256(0),
        validUntil: world.now() + 2 * DAY_S,
    };
    let call = mandate_by_signature(&world, &alice, &mandate);
    world.call(&olga, Contract::Escrow, call).unwrap();
    world.warp(DAY_S);
    assert_eq!(mandate_of(&mut world, wallet, olga.address()).1, 10);
    let charge = world.charge_of(wallet, &olga, 4);
    let claim = world.charge(&olga, olga.address(), &[charge]).unwrap();
    assert_eq!((claim.results.as_slice(), claim.total), (&[RowResult::Paid][..], units(4)));
}

#[test]
fn a_wallet_orders_a_deposit_of_what_it_allowed() {
    let (mut world, alice, wallet, olga) = prepaid();
    world.fund(&alice, 50);
    let transfer = SettlementToken::transferCall { to: wallet, value: u256(50) };
    world.call(&alice, Contract::Token, transfer).unwrap();
    let order = DepositOrder {
        from: wallet,
        payer: wallet,
        payee: olga.address(),
        amount: u96(50),
        nonce: u256(0),
        validUntil: world.now(),
    };
    let call = order_by_signature(&world, &alice, &order, no_permit());
    // A contract cannot sign a permit, and this one has approved nothing.
    assert_refused(
        world.call(&olga, Contract::Escrow, call),
        &SettlementToken::ERC20InsufficientAllowance {
            spender: world.address(Contract::Escrow),
            allowance: u256(0),
            needed: u256(50),
        },
    );
    assert_eq!((world.lane(wallet, olga.address()), nonce_of(&mut world, wallet)), ((100, 0), u256(0)));
}
