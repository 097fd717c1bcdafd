//! What a payee takes while its payer is away: a charge with the payee's signature, out of a standing
//! [mandate](crate::mandate).

use alloy::primitives::Address;
use alloy::signers::local::PrivateKeySigner;
use alloy::sol_types::Eip712Domain;
use serde::{Deserialize, Serialize};

use crate::amount::Amount;
use crate::row::{self, ROW_BYTES};
use crate::typed::{self, Charge, SIGNATURE_BYTES, SignatureError};
use crate::voucher::signature_bytes;

/// A charge and its signature: `payee` asks for the lane's running total to become `cumulative` (law 3). Its JSON and CBOR
/// look like a voucher's.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct SignedCharge {
    /// Who pays, and gave the mandate.
    pub payer: Address,
    /// Who is paid. Not necessarily who signed: a live delegate of the payee may.
    pub payee: Address,
    /// The running total of all that was ever owed on this lane, vouchers included.
    pub cumulative: Amount,
    /// r 32, s 32, v 1.
    #[serde(with = "signature_bytes")]
    pub signature: [u8; SIGNATURE_BYTES],
}

impl SignedCharge {
    /// Signs a charge with the payee's key or a delegate's. `domain` is that of the escrow.
    #[must_use]
    pub fn sign(
        payer: Address,
        payee: Address,
        cumulative: Amount,
        domain: &Eip712Domain,
        signer: &PrivateKeySigner,
    ) -> Self {
        let charge = Charge { payer, payee, cumulative: cumulative.to_u96() };
        Self { payer, payee, cumulative, signature: typed::sign(&charge, domain, signer) }
    }

    /// What was signed.
    #[must_use]
    pub fn charge(&self) -> Charge {
        Charge { payer: self.payer, payee: self.payee, cumulative: self.cumulative.to_u96() }
    }

    /// Whose key signed, in the escrow's `domain`. Whether that key may sign for the payee, the escrow knows.
    ///
    /// # Errors
    /// When the signature is malformed, malleable or nobody's.
    pub fn signer(&self, domain: &Eip712Domain) -> Result<Address, SignatureError> {
        typed::recover(&self.charge(), domain, &self.signature)
    }

    /// As `charge` takes it: payer 20 | cumulative 12 | r 32 | vs 32. The payee is said once per batch.
    #[must_use]
    pub fn to_row(&self) -> [u8; ROW_BYTES] {
        row::encode(self.payer, self.cumulative, &self.signature)
    }
}

impl From<SignedCharge> for [u8; ROW_BYTES] {
    fn from(charge: SignedCharge) -> Self {
        charge.to_row()
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]

    use super::*;
    use crate::typed::escrow_domain;
    use crate::voucher::SignedVoucher;

    fn signed() -> (SignedCharge, PrivateKeySigner, Eip712Domain) {
        let payee = PrivateKeySigner::from_slice(&[7; 32]).unwrap();
        let domain = escrow_domain(1, Address::repeat_byte(0xee));
        let total = Amount::from_base_units(5).unwrap();
        (SignedCharge::sign(Address::repeat_byte(2), payee.address(), total, &domain, &payee), payee, domain)
    }

    #[test]
    fn a_charge_is_no_voucher() {
        let (charge, payee, domain) = signed();
        let SignedCharge { payer, cumulative, signature, .. } = charge;
        let voucher = SignedVoucher { payer, payee: charge.payee, cumulative, signature };
        assert_ne!(voucher.signer(&domain), Ok(payee.address()));
        // The same bytes go to `claim` and to `charge`; which of the two they are, the type hash says.
        assert_eq!(voucher.to_row(), charge.to_row());
    }

    #[test]
    fn recovers_the_payee_and_another_for_anything_else() {
        let (charge, payee, domain) = signed();
        assert_eq!(charge.signer(&domain), Ok(payee.address()));
        let more = SignedCharge { cumulative: Amount::MAX, ..charge };
        let of_another = SignedCharge { payer: Address::repeat_byte(3), ..charge };
        for altered in [more, of_another] {
            assert_ne!(altered.signer(&domain), Ok(payee.address()));
        }
    }

    #[test]
    fn its_json_is_a_vouchers() {
        let (charge, ..) = signed();
        let json = serde_json::to_value(charge).unwrap();
        assert_eq!(json, serde_json::to_value(SignedVoucher::from_row(charge.payee, &charge.to_row())).unwrap());
        assert_eq!(serde_json::from_value::<SignedCharge>(json).unwrap(), charge);
    }

    #[test]
    fn rows_pack_one_behind_the_other() {
        let (charge, ..) = signed();
        let rows = row::pack(&[charge, charge]);
        assert_eq!(rows[..ROW_BYTES], charge.to_row());
        assert_eq!(rows[ROW_BYTES..], charge.to_row());
    }
}
