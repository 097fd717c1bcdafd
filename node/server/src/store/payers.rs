//! What every packet asks of the store, kept in memory as well: who pays for a wallet.

use std::{
    collections::HashMap,
    sync::{PoisonError, RwLock},
};

use alloy::primitives::Address;

/// The payers of all entrusted wallets, some 64 bytes each: an exact copy of the rows, changed by the writer after the
/// commit that changed them. Absence means something too, so it is complete.
#[derive(Debug, Default)]
pub(super) struct Payers {
    of: RwLock<HashMap<Address, Address>>,
}

impl Payers {
    pub(super) fn new(of: HashMap<Address, Address>) -> Self {
        Self { of: RwLock::new(of) }
    }

    pub(super) fn of(&self, wallet: Address) -> Option<Address> {
        self.of.read().unwrap_or_else(PoisonError::into_inner).get(&wallet).copied()
    }

    pub(super) fn entrusted(&self, wallet: Address, payer: Address) {
        self.of.write().unwrap_or_else(PoisonError::into_inner).insert(wallet, payer);
    }
}
