//! What a payer says of its signers.

use alloy::primitives::Address;
use minus_bindings::{Delegation, PrepaymentEscrow};
use minus_tests::evm::Actor;

use super::bench::{Bench, VALID_UNTIL};
use super::cost::{Cost, signed, twice};
use crate::calls::{authorize, revoke};

/// The later use is the second round with the same signer.
pub(super) fn of_delegates(bench: &mut Bench) -> Vec<Cost> {
    let escrow = bench.escrow.address;
    let [payer, other, carrier, node] = ["payer", "other payer", "carrier", "node"].map(Actor::named);
    let signer = node.address();
    let [first, later] = [0, 1].map(|_| {
        let carry = |bench: &mut Bench, authorized| {
            let call = set_delegate(bench, &other, signer, authorized);
            bench.gas(&carrier, escrow, &call)
        };
        [
            ("authorize", bench.gas(&payer, escrow, &authorize(signer))),
            ("revoke", bench.gas(&payer, escrow, &revoke(signer))),
            ("setDelegateBySignature, authorizing", carry(bench, true)),
            ("setDelegateBySignature, revoking", carry(bench, false)),
        ]
    });
    let pairs = first.into_iter().zip(later);
    let mut costs: Vec<Cost> = pairs.map(|((what, first), (_, later))| Cost::new(what, first, later)).collect();
    let nobody = Actor::named("who signed nothing");
    costs.push(twice(bench, "voidSignatures", &nobody, escrow, |_, _| PrepaymentEscrow::voidSignaturesCall {}));
    costs
}

fn set_delegate(
    bench: &Bench,
    by: &Actor,
    signer: Address,
    authorized: bool,
) -> PrepaymentEscrow::setDelegateBySignatureCall {
    let (payer, nonce) = (by.address(), bench.nonce(by));
    let delegation = Delegation { payer, signer, authorized, nonce, validUntil: VALID_UNTIL };
    let signature = signed(by, &delegation, &bench.escrow_domain());
    PrepaymentEscrow::setDelegateBySignatureCall { payer, signer, authorized, validUntil: VALID_UNTIL, signature }
}
