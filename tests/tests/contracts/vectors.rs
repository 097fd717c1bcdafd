//! `tests/vectors/typed-data.json`: every message that is signed, as viem hashes and signs it. Alloy and the contracts
//! must give the same; `tests/contracts/TypedData.t.sol` holds Solidity to it a second time, by itself.

use std::collections::BTreeMap;
use std::fs;
use std::process::Command;

use alloy::primitives::{Address, B256, Bytes, keccak256};
use alloy::signers::local::PrivateKeySigner;
use alloy::sol_types::{Eip712Domain, SolStruct};
use minus_bindings::{
    Charge, Delegation, DepositOrder, Entrustment, IPrepaymentEscrow, IRoutingTable, Mandate, MandateRevocation,
    Message, NodeConsent, Permit, PrepaymentEscrow, Route, RoutingTable, SettlementToken, Voucher, digest, recover,
    sign,
};
use minus_tests::compile;
use minus_tests::evm::{Contract, World};
use serde::Deserialize;

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Vectors {
    private_key: B256,
    signer: Address,
    domains: BTreeMap<String, Domain>,
    structs: Vec<Struct>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Domain {
    verifying_contract: Address,
    separator: B256,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Struct {
    name: String,
    domain: String,
    r#type: String,
    type_hash: B256,
    vectors: Vec<Vector>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Vector {
    /// The words that are hashed, the type hash in front.
    encoded: Bytes,
    struct_hash: B256,
    digest: B256,
    signature: Bytes,
}

fn vectors() -> Vectors {
    let text = fs::read_to_string(compile::root().join("tests/vectors/typed-data.json")).unwrap();
    serde_json::from_str(&text).unwrap()
}

fn domain_of(world: &World, name: &str) -> Eip712Domain {
    match name {
        "escrow" => world.escrow_domain(),
        "routing" => world.routing_domain(),
        "token" => world.token_domain(),
        other => panic!("no domain is called {other}"),
    }
}

/// Alloy makes the same of each message of this type, and so does the contract, if any checks it.
fn check<T: SolStruct>(ask: impl Fn(&mut World, T) -> Option<B256>) {
    let (mut world, vectors) = (World::new(), vectors());
    let signer = PrivateKeySigner::from_bytes(&vectors.private_key).unwrap();
    assert_eq!(signer.address(), vectors.signer);
    let of_type = vectors.structs.iter().find(|of_type| of_type.name == T::NAME).unwrap();
    let domain = domain_of(&world, &of_type.domain);
    assert_eq!(domain.verifying_contract, Some(vectors.domains[&of_type.domain].verifying_contract));
    assert_eq!(domain.separator(), vectors.domains[&of_type.domain].separator);
    assert_eq!(T::eip712_encode_type(), of_type.r#type);
    assert_eq!(keccak256(T::eip712_encode_type().as_bytes()), of_type.type_hash);

    for vector in &of_type.vectors {
        let message = T::abi_decode_validate(&vector.encoded[32..]).unwrap();
        assert_eq!(message.eip712_type_hash(), of_type.type_hash);
        assert_eq!(message.eip712_hash_struct(), vector.struct_hash);
        assert_eq!(digest(&message, &domain), vector.digest);
        let signature = sign(&message, &domain, &signer);
        assert_eq!(Bytes::copy_from_slice(&signature), vector.signature);
        assert_eq!(recover(&message, &domain, &signature), Ok(vectors.signer));
        if let Some(theirs) = ask(&mut world, message) {
            assert_eq!(theirs, vector.digest, "{}", T::NAME);
        }
    }
}

#[test]
fn the_committed_file_is_what_viem_makes() {
    let output = Command::new("node")
        .args(["tests/vectors/vectors.mjs", "--check"])
        .current_dir(compile::root())
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

/// The tests below name every type in the file, and the file every type.
#[test]
fn no_type_is_left_out() {
    let names: Vec<_> = vectors().structs.into_iter().map(|of_type| of_type.name).collect();
    let ours = [
        Voucher::NAME,
        Charge::NAME,
        Delegation::NAME,
        Mandate::NAME,
        MandateRevocation::NAME,
        DepositOrder::NAME,
        NodeConsent::NAME,
        Route::NAME,
        Message::NAME,
        Entrustment::NAME,
        Permit::NAME,
    ];
    assert_eq!(names, ours);
}

#[test]
fn vouchers_and_charges() {
    check(|world, Voucher { payer, payee, cumulative }| {
        let call = PrepaymentEscrow::voucherDigestCall { payer, payee, cumulative };
        Some(world.view(Contract::Escrow, call))
    });
    check(|world, Charge { payer, payee, cumulative }| {
        let call = PrepaymentEscrow::chargeDigestCall { payer, payee, cumulative };
        Some(world.view(Contract::Escrow, call))
    });
}

#[test]
fn delegations() {
    check(|world, message: Delegation| {
        let call = PrepaymentEscrow::delegationDigestCall {
            payer: message.payer,
            signer: message.signer,
            authorized: message.authorized,
            nonce: message.nonce,
            validUntil: message.validUntil,
        };
        Some(world.view(Contract::Escrow, call))
    });
}

#[test]
fn mandates_and_their_ends() {
    check(|world, message: Mandate| {
        let call = PrepaymentEscrow::mandateDigestCall {
            payer: message.payer,
            payee: message.payee,
            dailyCap: message.dailyCap,
            accrualCap: message.accrualCap,
            nonce: message.nonce,
            validUntil: message.validUntil,
        };
        Some(world.view(Contract::Escrow, call))
    });
    check(|world, message: MandateRevocation| {
        let call = PrepaymentEscrow::mandateRevocationDigestCall {
            payer: message.payer,
            payee: message.payee,
            nonce: message.nonce,
            validUntil: message.validUntil,
        };
        Some(world.view(Contract::Escrow, call))
    });
}

#[test]
fn deposit_orders() {
    check(|world, message: DepositOrder| {
        let order = IPrepaymentEscrow::DepositOrder {
            from: message.from,
            payer: message.payer,
            payee: message.payee,
            amount: message.amount,
            validUntil: message.validUntil,
        };
        let call = PrepaymentEscrow::depositOrderDigestCall { order, nonce: message.nonce };
        Some(world.view(Contract::Escrow, call))
    });
}

#[test]
fn consents_and_routes() {
    check(|world, message: NodeConsent| {
        let call = RoutingTable::consentDigestCall {
            node_: message.node,
            operator: message.operator,
            sealingKey: IRoutingTable::SealingKey { x: message.sealingKeyX, y: message.sealingKeyY },
            validUntil: message.validUntil,
        };
        Some(world.view(Contract::Routing, call))
    });
    check(|world, message: Route| {
        let call = RoutingTable::routeDigestCall {
            wallet: message.wallet,
            agent: message.agent,
            sealingKey: IRoutingTable::SealingKey { x: message.sealingKeyX, y: message.sealingKeyY },
            nonce: message.nonce,
            validUntil: message.validUntil,
        };
        Some(world.view(Contract::Routing, call))
    });
}

/// The token shows its domain's separator, but no digest; the rest is EIP-712 by hand.
#[test]
fn permits() {
    check(|world, message: Permit| {
        let separator = world.view(Contract::Token, SettlementToken::DOMAIN_SEPARATORCall {});
        Some(keccak256([b"\x19\x01".as_slice(), &separator.0, &message.eip712_hash_struct().0].concat()))
    });
}

#[test]
fn what_no_contract_checks() {
    check(|_, _: Message| None);
    check(|_, _: Entrustment| None);
}
