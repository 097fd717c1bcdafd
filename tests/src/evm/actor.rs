//! Somebody with a name and a key.

use alloy::primitives::{Address, keccak256};
use alloy::signers::local::PrivateKeySigner;

/// A named actor. The same name is the same key in every run.
#[derive(Clone, Debug)]
pub struct Actor {
    /// The key.
    pub signer: PrivateKeySigner,
}

impl Actor {
    /// The actor of this name.
    #[must_use]
    pub fn named(name: &str) -> Self {
        let key = keccak256(format!("an actor of Layer Minus's tests: {name}"));
        Self { signer: PrivateKeySigner::from_bytes(&key).expect("a hash is a scalar but for one in 2^127") }
    }

    /// The actor's address.
    #[must_use]
    pub fn address(&self) -> Address {
        self.signer.address()
    }

    /// The actor's public key as an affine point, which is as good a sealing key as any.
    #[must_use]
    pub fn point(&self) -> (alloy::primitives::U256, alloy::primitives::U256) {
        let key = self.signer.public_key();
        (alloy::primitives::U256::from_be_slice(&key[..32]), alloy::primitives::U256::from_be_slice(&key[32..]))
    }
}
