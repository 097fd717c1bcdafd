//! The session's temporary password: 32 random bytes that a command carries inside its sealed packet, and under which
//! everything that comes back (the reply, or the stream of a subscription) is encrypted.
//!
//! One session key serves one command. A node forgets it with the answer or the connection.

use std::fmt;

use hkdf::Hkdf;
use hpke_rs_crypto::{HpkeCrypto, types::AeadAlgorithm};
use hpke_rs_rust_crypto::HpkeRustCrypto;
use rand::RngCore;
use sha2::Sha256;
use zeroize::{Zeroize, ZeroizeOnDrop, Zeroizing};

/// Bytes of a session key and of the salt that each use of it adds.
pub const SESSION_KEY_BYTES: usize = 32;

/// Bytes of a nonce of ChaCha20Poly1305.
pub(crate) const NONCE_BYTES: usize = 12;

/// A session's password: wiped when dropped and never printed.
#[derive(Clone, Zeroize, ZeroizeOnDrop)]
pub struct SessionKey([u8; SESSION_KEY_BYTES]);

impl SessionKey {
    /// A fresh key from the operating system's generator.
    #[must_use]
    pub fn random() -> Self {
        Self(random_bytes())
    }

    /// The key of given bytes, for whoever restores one or tests with a known one.
    #[must_use]
    pub const fn from_bytes(bytes: [u8; SESSION_KEY_BYTES]) -> Self {
        Self(bytes)
    }

    /// The bytes themselves. Whoever calls this must not log, store or send them outside a sealed packet.
    #[must_use]
    pub const fn expose(&self) -> &[u8; SESSION_KEY_BYTES] {
        &self.0
    }

    /// The cipher under the key `HKDF-SHA256(salt, session key, info)`.
    pub(crate) fn cipher(&self, salt: &[u8; SESSION_KEY_BYTES], info: &[u8]) -> SessionCipher {
        let mut key = Zeroizing::new([0; 32]);
        Hkdf::<Sha256>::new(Some(salt), &self.0)
            .expand(info, &mut *key)
            .expect("32 bytes are within what HKDF-SHA256 gives");
        SessionCipher(key)
    }
}

impl fmt::Debug for SessionKey {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("SessionKey(hidden)")
    }
}

/// ChaCha20Poly1305 under one derived key, from the library that also seals packets. Each nonce may seal once.
pub(crate) struct SessionCipher(Zeroizing<[u8; 32]>);

impl SessionCipher {
    const ALGORITHM: AeadAlgorithm = AeadAlgorithm::ChaCha20Poly1305;

    /// Ciphertext and tag.
    pub(crate) fn seal(&self, nonce: &[u8; NONCE_BYTES], aad: &[u8], plaintext: &[u8]) -> Vec<u8> {
        HpkeRustCrypto::aead_seal(Self::ALGORITHM, self.0.as_slice(), nonce, aad, plaintext)
            .expect("key and nonce have their lengths, and no frame nears the 256 GiB that ChaCha20 encrypts")
    }

    /// The plaintext; `None` of anything but what [`SessionCipher::seal`] gave for the same nonce and data.
    pub(crate) fn open(&self, nonce: &[u8; NONCE_BYTES], aad: &[u8], ciphertext: &[u8]) -> Option<Vec<u8>> {
        HpkeRustCrypto::aead_open(Self::ALGORITHM, self.0.as_slice(), nonce, aad, ciphertext).ok()
    }
}

/// Fresh random bytes for keys, salts, tokens and message ids.
#[must_use]
pub fn random_bytes<const N: usize>() -> [u8; N] {
    let mut bytes = [0; N];
    rand::rng().fill_bytes(&mut bytes);
    bytes
}
