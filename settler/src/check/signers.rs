//! Whose key last signed for whom: so that a voucher of the same signer need not be recovered to be checked. Only what the
//! chain said is a signer comes in here, so nobody but a payer decides what is remembered of it.

use alloy::primitives::Address;
use k256::AffinePoint;

use crate::recent::Recent;

/// Payers to remember at least; at most twice as many, some 70 MB. Of those beyond each voucher is recovered.
const PAYERS_MAX: usize = 1 << 17;
/// After a payer changed its signer, so many of its vouchers are recovered: one that changes it all the time would make
/// every batch fail that it is in.
const PATIENCE: u8 = 64;

/// A key that a payer's vouchers are expected to be signed with.
#[derive(Debug, Clone, Copy)]
pub(super) struct Signer {
    pub(super) address: Address,
    pub(super) key: AffinePoint,
}

#[derive(Debug, Clone, Copy)]
struct Remembered {
    signer: Signer,
    /// How many more vouchers are recovered before the key is relied on.
    recoveries: u8,
}

/// What is remembered, by payer.
#[derive(Debug)]
pub(super) struct Signers(Recent<Address, Remembered>);

impl Default for Signers {
    fn default() -> Self {
        Self(Recent::new(PAYERS_MAX))
    }
}

impl Signers {
    /// The key that this payer's next voucher is expected to be signed with, if that can be said.
    pub(super) fn expected(&mut self, payer: Address) -> Option<Signer> {
        let remembered = self.0.get(&payer)?;
        (remembered.recoveries == 0).then_some(remembered.signer)
    }

    /// This key was recovered from a voucher of the payer, for whom it may sign.
    pub(super) fn learn(&mut self, payer: Address, signer: Signer) {
        match self.0.get(&payer) {
            Some(known) if known.signer.address == signer.address => {
                known.recoveries = known.recoveries.saturating_sub(1);
            }
            Some(known) => *known = Remembered { signer, recoveries: PATIENCE },
            None => self.0.put(payer, Remembered { signer, recoveries: 0 }),
        }
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    fn signer(byte: u8) -> Signer {
        Signer { address: Address::repeat_byte(byte), key: AffinePoint::GENERATOR }
    }

    #[test]
    fn whoever_changes_its_signer_is_recovered_for_a_while() {
        let (mut signers, payer) = (Signers::default(), Address::repeat_byte(7));
        signers.learn(payer, signer(1));
        assert_eq!(signers.expected(payer).unwrap().address, signer(1).address);
        signers.learn(payer, signer(2));
        for _ in 0..PATIENCE {
            assert!(signers.expected(payer).is_none());
            signers.learn(payer, signer(2));
        }
        assert_eq!(signers.expected(payer).unwrap().address, signer(2).address);
    }
}
