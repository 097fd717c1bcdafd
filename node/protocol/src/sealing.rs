//! Sealing keys: what packets are sealed to, and the secret that opens them.
//!
//! The sealing secret is derived from the wallet's secret, so a wallet is backed up by one key and its signing key is never
//! used for Diffie-Hellman. The public half stands in the routing table as affine coordinates; here it exists in one form
//! only, 65 uncompressed bytes of a point on the curve. That is deliberate: HPKE hashes the receiver's key as bytes, and
//! a packet sealed to the 33-byte form of a key is one that its owner can never open.

use std::fmt;

use alloy::primitives::{U256, hex};
use hkdf::Hkdf;
use k256::{PublicKey, SecretKey, elliptic_curve::sec1::ToSec1Point};
use sha2::Sha256;
use zeroize::{Zeroize, ZeroizeOnDrop};

/// Bytes of a sealing key: `04 | x 32 | y 32` (SEC 1, uncompressed).
pub const SEALING_KEY_BYTES: usize = 65;

/// Domain separation of the derivation from a wallet's secret; a counter byte follows it.
const DERIVATION_INFO: &[u8] = b"layer-minus/1 sealing";

/// The first byte of an uncompressed point.
const UNCOMPRESSED: u8 = 4;

/// Why bytes or coordinates are not a sealing key. Final.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SealingKeyError {
    /// Not the 65 bytes that start with `04`.
    #[error("a sealing key is the 65 bytes of an uncompressed point, not {len} bytes starting with {first:?}")]
    Form {
        /// Bytes given.
        len: usize,
        /// The first of them, if any.
        first: Option<u8>,
    },
    /// The coordinates are those of no point on secp256k1.
    #[error("the sealing key is not on the curve")]
    NotOnCurve,
}

/// The secret half of a sealing key: 32 bytes, a valid scalar of secp256k1, wiped when dropped and never printed.
#[derive(Clone, Zeroize, ZeroizeOnDrop)]
pub struct SealingSecret([u8; 32]);

impl SealingSecret {
    /// The sealing secret of a wallet: HKDF-SHA256 over the wallet's secret with no salt and the info
    /// `layer-minus/1 sealing` followed by a counter byte, the first counter from 0 that gives a valid scalar.
    #[must_use]
    pub fn derive(wallet_secret: &[u8; 32]) -> Self {
        let kdf = Hkdf::<Sha256>::new(None, wallet_secret);
        let mut candidate = Self([0; 32]);
        for counter in 0..=u8::MAX {
            kdf.expand_multi_info(&[DERIVATION_INFO, &[counter]], &mut candidate.0)
                .expect("32 bytes are within what HKDF-SHA256 gives");
            if SecretKey::from_slice(&candidate.0).is_ok() {
                return candidate;
            }
        }
        unreachable!("each of 256 candidates is invalid with a probability of 2^-127")
    }

    /// The key that others seal to.
    #[must_use]
    pub fn public(&self) -> SealingKey {
        let secret = SecretKey::from_slice(&self.0).expect("only valid scalars are made into a sealing secret");
        SealingKey::from_point(&secret.public_key())
    }

    /// For the one file that opens packets.
    pub(crate) fn expose(&self) -> &[u8; 32] {
        &self.0
    }
}

impl fmt::Debug for SealingSecret {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("SealingSecret(hidden)")
    }
}

/// A public sealing key: always 65 bytes, always a point on secp256k1.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct SealingKey([u8; SEALING_KEY_BYTES]);

impl SealingKey {
    /// The key with these affine coordinates, as the routing table states them.
    ///
    /// # Errors
    /// [`SealingKeyError::NotOnCurve`].
    pub fn from_affine(x: U256, y: U256) -> Result<Self, SealingKeyError> {
        let mut bytes = [UNCOMPRESSED; SEALING_KEY_BYTES];
        bytes[1..33].copy_from_slice(&x.to_be_bytes::<32>());
        bytes[33..].copy_from_slice(&y.to_be_bytes::<32>());
        Self::from_bytes(&bytes)
    }

    /// The affine coordinates (x, y), as the routing table takes them.
    #[must_use]
    pub fn to_affine(&self) -> (U256, U256) {
        (U256::from_be_slice(&self.0[1..33]), U256::from_be_slice(&self.0[33..]))
    }

    /// The key of 65 bytes `04 | x | y`. No other form of the same point is taken.
    ///
    /// # Errors
    /// [`SealingKeyError::Form`] for another length or first byte, [`SealingKeyError::NotOnCurve`].
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, SealingKeyError> {
        let form = SealingKeyError::Form { len: bytes.len(), first: bytes.first().copied() };
        let key: [u8; SEALING_KEY_BYTES] = bytes.try_into().map_err(|_| form)?;
        if key[0] != UNCOMPRESSED {
            return Err(form);
        }
        PublicKey::from_sec1_bytes(&key).map_err(|_| SealingKeyError::NotOnCurve)?;
        Ok(Self(key))
    }

    /// The 65 bytes `04 | x | y`.
    #[must_use]
    pub const fn as_bytes(&self) -> &[u8; SEALING_KEY_BYTES] {
        &self.0
    }

    fn from_point(point: &PublicKey) -> Self {
        let encoded = point.to_sec1_point(false);
        Self(encoded.as_bytes().try_into().expect("an uncompressed point has 65 bytes"))
    }
}

impl fmt::Display for SealingKey {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(&hex::encode_prefixed(self.0))
    }
}

impl fmt::Debug for SealingKey {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "SealingKey({self})")
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]

    use proptest::prelude::*;

    use super::*;

    #[test]
    fn refuses_every_form_but_the_uncompressed_one() {
        let key = SealingSecret::derive(&[7; 32]).public();
        let point = PublicKey::from_sec1_bytes(key.as_bytes()).unwrap();
        let compressed = point.to_sec1_point(true);
        assert_eq!(compressed.as_bytes().len(), 33);
        assert!(matches!(SealingKey::from_bytes(compressed.as_bytes()), Err(SealingKeyError::Form { len: 33, .. })));

        // the hybrid form of the same point, which libsecp256k1 would take
        let mut hybrid = *key.as_bytes();
        hybrid[0] = 6 + (hybrid[64] & 1);
        assert!(matches!(SealingKey::from_bytes(&hybrid), Err(SealingKeyError::Form { len: 65, .. })));
        assert!(matches!(SealingKey::from_bytes(&[]), Err(SealingKeyError::Form { len: 0, first: None })));
        assert!(matches!(SealingKey::from_bytes(&[0]), Err(SealingKeyError::Form { len: 1, first: Some(0) })));
    }

    #[test]
    fn refuses_what_is_not_on_the_curve() {
        let (x, y) = SealingSecret::derive(&[7; 32]).public().to_affine();
        assert_eq!(SealingKey::from_affine(x, y + U256::from(1)), Err(SealingKeyError::NotOnCurve));
        assert_eq!(SealingKey::from_affine(U256::ZERO, U256::ZERO), Err(SealingKeyError::NotOnCurve));
        assert_eq!(SealingKey::from_affine(U256::MAX, y), Err(SealingKeyError::NotOnCurve));
    }

    #[test]
    fn a_wallet_has_one_sealing_key_and_it_is_not_its_own() {
        let wallet = [7; 32];
        assert_eq!(SealingSecret::derive(&wallet).public(), SealingSecret::derive(&wallet).public());
        assert_ne!(SealingSecret::derive(&wallet).public(), SealingSecret::derive(&[8; 32]).public());
        let own = SealingKey::from_point(&SecretKey::from_slice(&wallet).unwrap().public_key());
        assert_ne!(SealingSecret::derive(&wallet).public(), own);
    }

    #[test]
    fn secrets_are_not_printed() {
        let secret = SealingSecret::derive(&[7; 32]);
        assert_eq!(format!("{secret:?}"), "SealingSecret(hidden)");
    }

    proptest! {
        #[test]
        fn coordinates_and_bytes_are_the_same_key(wallet: [u8; 32]) {
            let key = SealingSecret::derive(&wallet).public();
            let (x, y) = key.to_affine();
            prop_assert_eq!(SealingKey::from_affine(x, y), Ok(key));
            prop_assert_eq!(SealingKey::from_bytes(key.as_bytes()), Ok(key));
        }

        #[test]
        fn any_bytes_are_answered(bytes in prop::collection::vec(any::<u8>(), 0..70), x: [u8; 32], y: [u8; 32]) {
            let _ = SealingKey::from_bytes(&bytes);
            let _ = SealingKey::from_affine(U256::from_be_bytes(x), U256::from_be_bytes(y));
        }
    }
}
