//! The messages that keys of Layer Minus sign, as EIP-712 typed data, and the one way to hash, sign and recover them.
//!
//! What moves money is checked by `PrepaymentEscrow` and signed in its domain: `Voucher`, `Charge`, and what others may
//! carry: `Delegation`, `Mandate`, `MandateRevocation`, `DepositOrder`. `NodeConsent` and `Route` are checked by
//! `RoutingTable` in its own domain, `Permit` by the settlement token in a third. `Message` and `Entrustment` never
//! reach a chain: nodes and clients check them, in the routing table's domain, so that what was said on one network
//! means nothing on another.

use alloy::primitives::{Address, B256, Signature, U256};
use alloy::signers::SignerSync;
use alloy::signers::local::PrivateKeySigner;
use alloy::sol;
use alloy::sol_types::{Eip712Domain, SolStruct, eip712_domain};

/// Length of every signature: r 32, s 32, v 1 (27 or 28).
pub const SIGNATURE_BYTES: usize = 65;

/// Half of the order of secp256k1. Of the two signatures that say the same, only the one with `s` up to here is
/// taken, as the contracts do.
const S_MAX: U256 = U256::from_limbs([0xdfe9_2f46_681b_20a0, 0x5d57_6e73_57a4_501d, u64::MAX, 0x7fff_ffff_ffff_ffff]);

sol! {
    /// `payer` owes `payee` a running total of `cumulative` base units (law 3).
    #[derive(Debug, PartialEq, Eq)]
    struct Voucher {
        address payer;
        address payee;
        uint96 cumulative;
    }

    /// `payee` asks for a running total of `cumulative` base units out of `payer`'s standing mandate.
    #[derive(Debug, PartialEq, Eq)]
    struct Charge {
        address payer;
        address payee;
        uint96 cumulative;
    }

    /// `payer` lets `signer` sign its vouchers, or takes that back.
    #[derive(Debug, PartialEq, Eq)]
    struct Delegation {
        address payer;
        address signer;
        bool authorized;
        uint256 nonce;
        uint64 validUntil;
    }

    /// `payer` lets `payee` charge `dailyCap` a day, of which at most `accrualCap` gathers, until `validUntil`.
    #[derive(Debug, PartialEq, Eq)]
    struct Mandate {
        address payer;
        address payee;
        uint96 dailyCap;
        uint96 accrualCap;
        uint256 nonce;
        uint64 validUntil;
    }

    /// `payer` takes its mandate to `payee` back. `validUntil` is how long this may be carried.
    #[derive(Debug, PartialEq, Eq)]
    struct MandateRevocation {
        address payer;
        address payee;
        uint256 nonce;
        uint64 validUntil;
    }

    /// Put `amount` of the tokens of `from`, who signs, into the lane from `payer` to `payee`.
    #[derive(Debug, PartialEq, Eq)]
    struct DepositOrder {
        address from;
        address payer;
        address payee;
        uint96 amount;
        uint256 nonce;
        uint64 validUntil;
    }

    /// `node` agrees to be registered by `operator` with this sealing key.
    #[derive(Debug, PartialEq, Eq)]
    struct NodeConsent {
        address node;
        address operator;
        uint256 sealingKeyX;
        uint256 sealingKeyY;
        uint64 validUntil;
    }

    /// `wallet` receives through `agent`, sealed to this key.
    #[derive(Debug, PartialEq, Eq)]
    struct Route {
        address wallet;
        address agent;
        uint256 sealingKeyX;
        uint256 sealingKeyY;
        uint64 nonce;
        uint64 validUntil;
    }

    /// `owner` lets `spender` take `value` of its settlement tokens (EIP-2612).
    #[derive(Debug, PartialEq, Eq)]
    struct Permit {
        address owner;
        address spender;
        uint256 value;
        uint256 nonce;
        uint256 deadline;
    }

    /// What the sender of a packet signs inside it; `encHash` binds the signature to this very packet.
    #[derive(Debug, PartialEq, Eq)]
    struct Message {
        address sender;
        address recipient;
        bytes32 encHash;
        bytes16 id;
        uint64 sentAtMs;
        bytes32 bodyHash;
    }

    /// `payer` agrees to pay `agent` for what `wallet` receives, from the running total `base` on.
    #[derive(Debug, PartialEq, Eq)]
    struct Entrustment {
        address wallet;
        address payer;
        address agent;
        uint96 base;
        uint64 sentAtMs;
    }
}

/// Why a signature is not one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SignatureError {
    /// The last byte is neither 27 nor 28.
    #[error("the signature's v is {0}, not 27 or 28")]
    BadV(u8),
    /// `s` lies in the upper half of the order; the contracts refuse that too.
    #[error("the signature is malleable: its s is in the upper half")]
    HighS,
    /// No key can have made it.
    #[error("the signature belongs to no key")]
    Unrecoverable,
}

/// The domain of vouchers, charges and all else that the escrow checks.
#[must_use]
pub fn escrow_domain(chain_id: u64, escrow: Address) -> Eip712Domain {
    domain("Layer Minus", chain_id, escrow)
}

/// The domain of consents, routes and everything that is checked off-chain.
#[must_use]
pub fn routing_domain(chain_id: u64, routing_table: Address) -> Eip712Domain {
    domain("Layer Minus", chain_id, routing_table)
}

/// The domain of permits: the settlement token's.
#[must_use]
pub fn token_domain(chain_id: u64, token: Address) -> Eip712Domain {
    domain("Layer Minus Dollar", chain_id, token)
}

fn domain(name: &'static str, chain_id: u64, contract: Address) -> Eip712Domain {
    eip712_domain! {
        name: name,
        version: "1",
        chain_id: chain_id,
        verifying_contract: contract,
    }
}

/// The hash that is signed.
#[must_use]
pub fn digest<T: SolStruct>(message: &T, domain: &Eip712Domain) -> B256 {
    message.eip712_signing_hash(domain)
}

/// Signs `message`: r, s (in the lower half), v (27 or 28).
#[must_use]
pub fn sign<T: SolStruct>(message: &T, domain: &Eip712Domain, signer: &PrivateKeySigner) -> [u8; SIGNATURE_BYTES] {
    signer
        .sign_hash_sync(&digest(message, domain))
        .expect("a key in memory signs every digest")
        .normalized_s()
        .as_bytes()
}

/// Who signed `message`. A signature made for another message or domain recovers some other address; the caller
/// compares.
///
/// # Errors
/// When `v` is not 27 or 28, `s` is in the upper half, or no key can have signed.
pub fn recover<T: SolStruct>(
    message: &T,
    domain: &Eip712Domain,
    signature: &[u8; SIGNATURE_BYTES],
) -> Result<Address, SignatureError> {
    recover_digest(digest(message, domain), signature)
}

fn recover_digest(digest: B256, signature: &[u8; SIGNATURE_BYTES]) -> Result<Address, SignatureError> {
    let (scalars, y_is_odd) = signature_parts(signature)?;
    let signature = Signature::from_bytes_and_parity(scalars, y_is_odd);
    signature.recover_address_from_prehash(&digest).map_err(|_| SignatureError::Unrecoverable)
}

/// A signature's r and s, 64 bytes, and whether the point it was made with has an odd y. For those who recover by
/// themselves: what the contracts refuse by its form is refused here.
///
/// # Errors
/// When `v` is not 27 or 28 or `s` is in the upper half.
pub fn signature_parts(signature: &[u8; SIGNATURE_BYTES]) -> Result<(&[u8], bool), SignatureError> {
    let [scalars @ .., v] = signature;
    let y_is_odd = match v {
        27 => false,
        28 => true,
        other => return Err(SignatureError::BadV(*other)),
    };
    if U256::from_be_slice(&scalars[32..]) > S_MAX {
        return Err(SignatureError::HighS);
    }
    Ok((scalars, y_is_odd))
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]

    use super::*;
    use alloy::primitives::aliases::U96;
    use alloy::primitives::{address, keccak256, uint};

    const ORDER: U256 = uint!(0xfffffffffffffffffffffffffffffffebaaedce6af48a03bbfd25e8cd0364141_U256);
    const ESCROW: Address = address!("0x00000000000000000000000000000000000e5c40");

    fn voucher() -> Voucher {
        Voucher { payer: Address::repeat_byte(1), payee: Address::repeat_byte(2), cumulative: U96::from(3) }
    }

    /// The same signature with s mirrored into the upper half, and the parity with it.
    fn mirrored(signature: &[u8; SIGNATURE_BYTES]) -> [u8; SIGNATURE_BYTES] {
        let mut other = *signature;
        let s = U256::from_be_slice(&signature[32..64]);
        other[32..64].copy_from_slice(&(ORDER - s).to_be_bytes::<32>());
        other[64] = 55 - signature[64];
        other
    }

    #[test]
    fn half_of_the_order_is_what_it_says() {
        assert_eq!(S_MAX, ORDER >> 1);
    }

    #[test]
    fn refuses_bad_v() {
        let (signer, domain) = (PrivateKeySigner::random(), escrow_domain(1, ESCROW));
        let mut signature = sign(&voucher(), &domain, &signer);
        for v in (0..=255).filter(|v| !matches!(v, 27 | 28)) {
            signature[64] = v;
            assert_eq!(recover(&voucher(), &domain, &signature), Err(SignatureError::BadV(v)));
        }
    }

    #[test]
    fn refuses_high_s() {
        let (signer, domain) = (PrivateKeySigner::random(), escrow_domain(1, ESCROW));
        let signature = sign(&voucher(), &domain, &signer);
        assert_eq!(recover(&voucher(), &domain, &mirrored(&signature)), Err(SignatureError::HighS));
    }

    #[test]
    fn refuses_what_no_key_can_sign() {
        let domain = escrow_domain(1, ESCROW);
        let mut signature = [0; SIGNATURE_BYTES];
        signature[64] = 27;
        assert_eq!(recover(&voucher(), &domain, &signature), Err(SignatureError::Unrecoverable));
    }

    #[test]
    fn recovers_the_signer_and_another_for_anything_else() {
        let (signer, domain) = (PrivateKeySigner::random(), escrow_domain(1, ESCROW));
        let signature = sign(&voucher(), &domain, &signer);
        assert_eq!(recover(&voucher(), &domain, &signature), Ok(signer.address()));

        let other_total = Voucher { cumulative: U96::from(4), ..voucher() };
        assert_ne!(recover(&other_total, &domain, &signature), Ok(signer.address()));
        let other_chain = escrow_domain(2, ESCROW);
        assert_ne!(recover(&voucher(), &other_chain, &signature), Ok(signer.address()));
        let other_escrow = escrow_domain(1, Address::repeat_byte(9));
        assert_ne!(recover(&voucher(), &other_escrow, &signature), Ok(signer.address()));
    }

    #[test]
    fn type_strings_are_those_of_the_contracts() {
        let types: [(_, &str); 11] = [
            (Voucher::eip712_encode_type(), "Voucher(address payer,address payee,uint96 cumulative)"),
            (Charge::eip712_encode_type(), "Charge(address payer,address payee,uint96 cumulative)"),
            (
                Delegation::eip712_encode_type(),
                "Delegation(address payer,address signer,bool authorized,uint256 nonce,uint64 validUntil)",
            ),
            (
                Mandate::eip712_encode_type(),
                "Mandate(address payer,address payee,uint96 dailyCap,uint96 accrualCap,uint256 nonce,uint64 validUntil)",
            ),
            (
                MandateRevocation::eip712_encode_type(),
                "MandateRevocation(address payer,address payee,uint256 nonce,uint64 validUntil)",
            ),
            (
                DepositOrder::eip712_encode_type(),
                "DepositOrder(address from,address payer,address payee,uint96 amount,uint256 nonce,uint64 validUntil)",
            ),
            (
                Permit::eip712_encode_type(),
                "Permit(address owner,address spender,uint256 value,uint256 nonce,uint256 deadline)",
            ),
            (
                NodeConsent::eip712_encode_type(),
                "NodeConsent(address node,address operator,uint256 sealingKeyX,uint256 sealingKeyY,uint64 validUntil)",
            ),
            (
                Route::eip712_encode_type(),
                "Route(address wallet,address agent,uint256 sealingKeyX,uint256 sealingKeyY,uint64 nonce,uint64 validUntil)",
            ),
            (
                Message::eip712_encode_type(),
                "Message(address sender,address recipient,bytes32 encHash,bytes16 id,uint64 sentAtMs,bytes32 bodyHash)",
            ),
            (
                Entrustment::eip712_encode_type(),
                "Entrustment(address wallet,address payer,address agent,uint96 base,uint64 sentAtMs)",
            ),
        ];
        for (ours, expected) in types {
            assert_eq!(ours, expected);
        }
    }

    /// The whole computation once by hand, from the text of EIP-712.
    #[test]
    fn digest_is_that_of_eip_712() {
        let word = |address: Address| address.into_word().0;
        let domain_separator = keccak256(
            [
                keccak256("EIP712Domain(string name,string version,uint256 chainId,address verifyingContract)").0,
                keccak256("Layer Minus").0,
                keccak256("1").0,
                U256::from(31_337).to_be_bytes(),
                word(ESCROW),
            ]
            .concat(),
        );
        let struct_hash = keccak256(
            [
                keccak256("Voucher(address payer,address payee,uint96 cumulative)").0,
                word(voucher().payer),
                word(voucher().payee),
                U256::from(3).to_be_bytes(),
            ]
            .concat(),
        );
        let expected = keccak256([b"\x19\x01".as_slice(), &domain_separator.0, &struct_hash.0].concat());
        assert_eq!(digest(&voucher(), &escrow_domain(31_337, ESCROW)), expected);
    }

    #[test]
    fn signatures_are_low_s_with_v_27_or_28() {
        let domain = routing_domain(1, ESCROW);
        for _ in 0..32 {
            let signer = PrivateKeySigner::random();
            let signature = sign(&voucher(), &domain, &signer);
            assert!(U256::try_from_be_slice(&signature[32..64]).unwrap() <= S_MAX);
            assert!(matches!(signature[64], 27 | 28));
        }
    }
}
