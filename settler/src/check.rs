//! Is a voucher one that the chain would pay to one of ours? Pure; the one thing that must be asked of the chain, what
//! the payer said of the signer, is an argument.
//!
//! The signature is checked before anything else is looked at, the log included: a stale voucher that skips it would
//! let a stranger learn or change what is stored.
//!
//! - `batch`: many vouchers at once, whose signers are expected
//! - `signers`: who is expected to have signed
//! - `sum`: what a batch's test comes down to

mod batch;
mod signers;
mod sum;

use std::sync::LazyLock;

use alloy::primitives::{Address, B256, keccak256};
use alloy::sol_types::{Eip712Domain, SolStruct};
use minus_bindings::{Amount, Charge, SignedCharge, SignedVoucher, Voucher, signature_parts};
use secp256k1::ecdsa::{RecoverableSignature, RecoveryId};
use secp256k1::{Message, PublicKey, Secp256k1, VerifyOnly};
use serde::{Deserialize, Serialize};

pub use batch::Checker;

/// Recovers with libsecp256k1, several times as fast as k256. Its verifying against a known key would be a little faster,
/// but says nothing of the last byte, which decides whom the escrow recovers.
static CURVE: LazyLock<Secp256k1<VerifyOnly>> = LazyLock::new(Secp256k1::verification_only);

/// Why a voucher is refused. The first six are final: the same voucher will not be accepted later. The others may be
/// handed in again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[serde(rename_all = "snake_case")]
pub enum Refusal {
    /// Not a voucher at all.
    #[error("malformed")]
    Malformed,
    /// Made out to somebody this settler does not collect for.
    #[error("not made out to an operator of this settler")]
    ForeignPayee,
    /// A debt of somebody this settler does not collect for.
    #[error("not a debt of an operator of this settler")]
    ForeignPayer,
    /// The payer is the zero address or the payee itself.
    #[error("the payer cannot be a payer")]
    BadPayer,
    /// No signature of anybody: malleable, or not on the curve.
    #[error("the signature is malformed")]
    BadSignature,
    /// Signed by somebody who is neither the payer nor its live delegate; or for another chain or escrow, which looks
    /// the same.
    #[error("not signed by the payer or its delegate on this chain and escrow")]
    NotASigner,
    /// Neither its lane nor the payer's open balance holds anything, and the lane never paid: signatures cost nothing,
    /// so a stranger could fill the log with such lanes (law 13).
    #[error("there is no money behind it")]
    Unfunded,
    /// A new lane, and the log keeps as many as it may: raise `lanes_max`, or look who is filling it.
    #[error("no room for another lane")]
    NoRoom,
    /// A charge whose payer has given no mandate, or whose mandate is over.
    #[error("the payer has given no mandate that is in force")]
    NoMandate,
    /// Its signer was revoked and ends within the hour, and a voucher of another signer waits, which is safer.
    #[error("its signer is about to be none")]
    SignerEnding,
}

/// Who signed a voucher.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Signed {
    /// The key's address.
    pub signer: Address,
    /// The key, if it had to be recovered.
    key: Option<PublicKey>,
}

/// What a payer said of another signer, from the escrow.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct DelegateView {
    /// Is it authorised now?
    pub authorized: bool,
    /// When it was last revoked, unix seconds; 0 when never.
    pub revoked_at: u64,
}

/// What all vouchers and charges of one escrow are hashed with, computed once.
#[derive(Debug, Clone, Copy)]
pub struct Domain {
    separator: B256,
    voucher: B256,
    charge: B256,
}

impl Domain {
    /// Of an escrow's EIP-712 domain.
    #[must_use]
    pub fn new(domain: &Eip712Domain) -> Self {
        let nobody = Address::ZERO;
        let nothing = Amount::ZERO.to_u96();
        let voucher = Voucher { payer: nobody, payee: nobody, cumulative: nothing };
        let charge = Charge { payer: nobody, payee: nobody, cumulative: nothing };
        Self { separator: domain.separator(), voucher: voucher.eip712_type_hash(), charge: charge.eip712_type_hash() }
    }

    fn voucher_digest(&self, voucher: &SignedVoucher) -> B256 {
        self.digest(self.voucher, voucher.payer, voucher.payee, voucher.cumulative)
    }

    /// The hash that is signed, of a message of this type: both types have the same three fields.
    fn digest(&self, of_type: B256, payer: Address, payee: Address, cumulative: Amount) -> B256 {
        let mut fields = [0; 4 * 32];
        fields[..32].copy_from_slice(of_type.as_slice());
        fields[44..64].copy_from_slice(payer.as_slice());
        fields[76..96].copy_from_slice(payee.as_slice());
        fields[112..].copy_from_slice(&cumulative.base_units().to_be_bytes());
        let mut message = [0; 2 + 2 * 32];
        message[..2].copy_from_slice(&[0x19, 0x01]);
        message[2..34].copy_from_slice(self.separator.as_slice());
        message[34..].copy_from_slice(keccak256(fields).as_slice());
        keccak256(message)
    }
}

fn recover(digest: B256, signature: &[u8; 65]) -> Result<Signed, Refusal> {
    let (scalars, y_is_odd) = signature_parts(signature).map_err(|_| Refusal::BadSignature)?;
    let parity = if y_is_odd { RecoveryId::One } else { RecoveryId::Zero };
    let signature = RecoverableSignature::from_compact(scalars, parity).map_err(|_| Refusal::BadSignature)?;
    let key = CURVE.recover_ecdsa(Message::from_digest(digest.0), &signature).map_err(|_| Refusal::BadSignature)?;
    Ok(Signed { signer: Address::from_raw_public_key(&key.serialize_uncompressed()[1..]), key: Some(key) })
}

/// Who signed the voucher, if it is made out to one of ours.
fn check_voucher(voucher: &SignedVoucher, payees: &[Address], domain: &Domain) -> Result<Signed, Refusal> {
    let signed = recover(domain.voucher_digest(voucher), &voucher.signature)?;
    check_parties(voucher.payer, voucher.payee, payees)?;
    Ok(signed)
}

/// Who signed the charge, if it is made out to one of ours. Whether that is the payee or its delegate, the chain tells.
fn check_charge(charge: &SignedCharge, payees: &[Address], domain: &Domain) -> Result<Address, Refusal> {
    let digest = domain.digest(domain.charge, charge.payer, charge.payee, charge.cumulative);
    let signed = recover(digest, &charge.signature)?;
    check_parties(charge.payer, charge.payee, payees)?;
    Ok(signed.signer)
}

/// Who signed the voucher, if one of ours is its payer. Whether that is the operator or its delegate, the chain tells.
fn check_debt(voucher: &SignedVoucher, payers: &[Address], domain: &Domain) -> Result<Address, Refusal> {
    let signed = recover(domain.voucher_digest(voucher), &voucher.signature)?;
    if !payers.contains(&voucher.payer) {
        return Err(Refusal::ForeignPayer);
    }
    // The lane to nobody is the open balance, which no voucher is for.
    if [Address::ZERO, voucher.payer].contains(&voucher.payee) {
        return Err(Refusal::BadPayer);
    }
    Ok(signed.signer)
}

fn check_parties(payer: Address, payee: Address, payees: &[Address]) -> Result<(), Refusal> {
    if !payees.contains(&payee) {
        return Err(Refusal::ForeignPayee);
    }
    if payer == Address::ZERO || payer == payee {
        return Err(Refusal::BadPayer);
    }
    Ok(())
}

/// Until when the escrow takes this signer's vouchers for the payer: `Some(0)` means that no end is in sight, `None`
/// that it takes none. As `isSigner` in the escrow.
#[must_use]
pub fn signer_until(payer: Address, signer: Address, delegate: DelegateView, notice_s: u64, now: u64) -> Option<u64> {
    if signer == payer || delegate.authorized {
        return Some(0);
    }
    if delegate.revoked_at == 0 {
        return None;
    }
    let ends_at = delegate.revoked_at.saturating_add(notice_s);
    (now < ends_at).then_some(ends_at)
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests {
    use alloy::primitives::address;
    use alloy::signers::local::PrivateKeySigner;
    use minus_bindings::{digest, escrow_domain};

    use super::*;

    const PAYEE: Address = address!("00000000000000000000000000000000000000aa");
    const ESCROW: Address = address!("00000000000000000000000000000000000000ee");

    fn separator() -> Eip712Domain {
        escrow_domain(31_337, ESCROW)
    }

    fn domain() -> Domain {
        Domain::new(&separator())
    }

    fn check_voucher(voucher: &SignedVoucher, payees: &[Address], domain: &Domain) -> Result<Address, Refusal> {
        super::check_voucher(voucher, payees, domain).map(|signed| signed.signer)
    }

    fn voucher(payer: &PrivateKeySigner, domain: &Eip712Domain) -> SignedVoucher {
        SignedVoucher::sign(payer.address(), PAYEE, Amount::from_base_units(5).unwrap(), domain, payer)
    }

    /// Two ways to hash and two to recover, one of them the bindings', have to agree on good, spoilt and random signatures.
    #[test]
    fn hashes_and_recovers_as_the_bindings_do() {
        let (payer, domain) = (PrivateKeySigner::random(), domain());
        for round in 0..64_u8 {
            let cumulative = Amount::from_base_units(u128::MAX >> (32 + round)).unwrap();
            let mut voucher = SignedVoucher::sign(payer.address(), PAYEE, cumulative, &separator(), &payer);
            let own = domain.digest(domain.voucher, voucher.payer, voucher.payee, voucher.cumulative);
            assert_eq!(own, digest(&voucher.voucher(), &separator()));
            assert_eq!(check_voucher(&voucher, &[PAYEE], &domain), Ok(payer.address()));
            voucher.signature[usize::from(round)] ^= 1 << (round % 8);
            let theirs = voucher.signer(&separator()).map_err(|_| Refusal::BadSignature);
            assert_eq!(check_voucher(&voucher, &[PAYEE], &domain), theirs);

            let charge = SignedCharge::sign(payer.address(), PAYEE, cumulative, &separator(), &payer);
            assert_eq!(check_charge(&charge, &[PAYEE], &domain), Ok(payer.address()));
            voucher.signature = charge.signature;
            assert_ne!(check_voucher(&voucher, &[PAYEE], &domain), Ok(payer.address()), "a charge is no voucher");
        }
        let zero = SignedVoucher { payer: payer.address(), payee: PAYEE, cumulative: Amount::ZERO, signature: [0; 65] };
        let mut spoilt = [zero; 3];
        spoilt[1].signature[64] = 27;
        spoilt[2].signature = [0xff; 65];
        assert!(spoilt.iter().all(|it| check_voucher(it, &[PAYEE], &domain) == Err(Refusal::BadSignature)));
    }

    /// The last byte decides whom the escrow recovers: with the other one, the voucher is worth nothing.
    #[test]
    fn the_other_parity_is_another_signer() {
        let payer = PrivateKeySigner::random();
        let mut voucher = voucher(&payer, &separator());
        voucher.signature[64] = 55 - voucher.signature[64];
        assert_ne!(check_voucher(&voucher, &[PAYEE], &domain()), Ok(payer.address()));
    }

    #[test]
    fn refuses_a_foreign_payee() {
        let payer = PrivateKeySigner::random();
        assert_eq!(check_voucher(&voucher(&payer, &separator()), &[ESCROW], &domain()), Err(Refusal::ForeignPayee));
    }

    #[test]
    fn refuses_a_malleable_signature() {
        let payer = PrivateKeySigner::random();
        let mut malleable = voucher(&payer, &separator());
        // (r, n - s) with the other parity signs the same digest.
        let order = alloy::primitives::U256::from_str_radix(
            "fffffffffffffffffffffffffffffffebaaedce6af48a03bbfd25e8cd0364141",
            16,
        )
        .unwrap();
        let s = alloy::primitives::U256::from_be_slice(&malleable.signature[32..64]);
        malleable.signature[32..64].copy_from_slice(&(order - s).to_be_bytes::<32>());
        malleable.signature[64] = if malleable.signature[64] == 27 { 28 } else { 27 };

        assert_eq!(check_voucher(&malleable, &[PAYEE], &domain()), Err(Refusal::BadSignature));
    }

    #[test]
    fn refuses_a_payer_that_is_the_payee() {
        let payer = PrivateKeySigner::random();
        let own = SignedVoucher::sign(payer.address(), payer.address(), Amount::MAX, &separator(), &payer);

        assert_eq!(check_voucher(&own, &[payer.address()], &domain()), Err(Refusal::BadPayer));
    }

    #[test]
    fn another_chain_or_escrow_makes_a_stranger_of_the_signer() {
        let payer = PrivateKeySigner::random();
        for elsewhere in [escrow_domain(1, ESCROW), escrow_domain(31_337, PAYEE)] {
            let signer = check_voucher(&voucher(&payer, &elsewhere), &[PAYEE], &domain());

            assert_ne!(signer, Ok(payer.address()));
        }
        assert_eq!(check_voucher(&voucher(&payer, &separator()), &[PAYEE], &domain()), Ok(payer.address()));
    }

    #[test]
    fn a_signer_is_live_until_its_notice_ends() {
        let (payer, other) = (PAYEE, ESCROW);
        let revoked = DelegateView { authorized: false, revoked_at: 100 };

        assert_eq!(signer_until(payer, other, DelegateView::default(), 10, 0), None, "never authorised");
        assert_eq!(signer_until(payer, other, revoked, 10, 110), None, "the notice has ended");
        assert_eq!(signer_until(payer, other, revoked, 10, 109), Some(110));
        assert_eq!(signer_until(payer, other, DelegateView { authorized: true, ..revoked }, 10, 999), Some(0));
        assert_eq!(signer_until(payer, payer, revoked, 10, 999), Some(0), "the payer signs for itself");
    }
}
