//! The message that moves money: a voucher with its signature, as clients sign it, nodes check and store it, and
//! settlers claim it.

use alloy::primitives::{Address, FixedBytes};
use alloy::signers::local::PrivateKeySigner;
use alloy::sol_types::Eip712Domain;
use serde::{Deserialize, Serialize};

use crate::amount::Amount;
use crate::row::{self, ROW_BYTES};
use crate::typed::{self, SIGNATURE_BYTES, SignatureError, Voucher};

/// A voucher and its signature: `payer` owes `payee` a running total of `cumulative` (law 3).
///
/// JSON has the signature as 0x-hexadecimal and the total as a string of base units; CBOR has the signature as bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct SignedVoucher {
    /// Who pays. Not necessarily who signed: a live delegate may.
    pub payer: Address,
    /// Who is paid.
    pub payee: Address,
    /// The running total of all that was ever owed on this lane.
    pub cumulative: Amount,
    /// r 32, s 32, v 1.
    #[serde(with = "signature_bytes")]
    pub signature: [u8; SIGNATURE_BYTES],
}

impl SignedVoucher {
    /// Signs a voucher with the payer's key or a delegate's. `domain` is that of the escrow.
    #[must_use]
    pub fn sign(
        payer: Address,
        payee: Address,
        cumulative: Amount,
        domain: &Eip712Domain,
        signer: &PrivateKeySigner,
    ) -> Self {
        let voucher = Voucher { payer, payee, cumulative: cumulative.to_u96() };
        Self { payer, payee, cumulative, signature: typed::sign(&voucher, domain, signer) }
    }

    /// What was signed.
    #[must_use]
    pub fn voucher(&self) -> Voucher {
        Voucher { payer: self.payer, payee: self.payee, cumulative: self.cumulative.to_u96() }
    }

    /// Whose key signed, in the escrow's `domain`. Whether that key may sign for the payer, the escrow knows.
    ///
    /// # Errors
    /// When the signature is malformed, malleable or nobody's.
    pub fn signer(&self, domain: &Eip712Domain) -> Result<Address, SignatureError> {
        typed::recover(&self.voucher(), domain, &self.signature)
    }

    /// As `claim` takes it: payer 20 | cumulative 12 | r 32 | vs 32. The payee is said once per batch.
    ///
    /// A signature that [`Self::signer`] refuses gives a row that the escrow refuses.
    #[must_use]
    pub fn to_row(&self) -> [u8; ROW_BYTES] {
        row::encode(self.payer, self.cumulative, &self.signature)
    }

    /// The inverse of [`Self::to_row`], for a batch to `payee`. Any 96 bytes are some row; whether it is signed,
    /// [`Self::signer`] tells.
    #[must_use]
    pub fn from_row(payee: Address, row: &[u8; ROW_BYTES]) -> Self {
        let (payer, cumulative, signature) = row::decode(row);
        Self { payer, payee, cumulative, signature }
    }
}

impl From<SignedVoucher> for [u8; ROW_BYTES] {
    fn from(voucher: SignedVoucher) -> Self {
        voucher.to_row()
    }
}

/// Signatures in serde: hexadecimal where people read, bytes where machines do. Usable with `#[serde(with = …)]`.
pub mod signature_bytes {
    use super::{Deserialize, FixedBytes, SIGNATURE_BYTES, Serialize};
    use serde::{Deserializer, Serializer};

    /// Writes a signature.
    ///
    /// # Errors
    /// Those of the serializer.
    pub fn serialize<S: Serializer>(bytes: &[u8; SIGNATURE_BYTES], serializer: S) -> Result<S::Ok, S::Error> {
        FixedBytes(*bytes).serialize(serializer)
    }

    /// Reads a signature of exactly 65 bytes.
    ///
    /// # Errors
    /// Those of the deserializer, and any other length.
    pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<[u8; SIGNATURE_BYTES], D::Error> {
        FixedBytes::<SIGNATURE_BYTES>::deserialize(deserializer).map(|bytes| bytes.0)
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]

    use super::*;
    use crate::typed::escrow_domain;
    use alloy::primitives::{U256, uint};
    use proptest::prelude::*;
    use proptest::test_runner::RngSeed;

    fn signer() -> PrivateKeySigner {
        PrivateKeySigner::from_slice(&[7; 32]).unwrap()
    }

    fn signed(cumulative: u128) -> SignedVoucher {
        let domain = escrow_domain(1, Address::repeat_byte(0xee));
        let total = Amount::from_base_units(cumulative).unwrap();
        SignedVoucher::sign(signer().address(), Address::repeat_byte(2), total, &domain, &signer())
    }

    #[test]
    fn refuses_a_row_that_was_mirrored() {
        let domain = escrow_domain(1, Address::repeat_byte(0xee));
        let mut voucher = signed(5);
        let order = uint!(0xfffffffffffffffffffffffffffffffebaaedce6af48a03bbfd25e8cd0364141_U256);
        let s = U256::from_be_slice(&voucher.signature[32..64]);
        voucher.signature[32..64].copy_from_slice(&(order - s).to_be_bytes::<32>());
        voucher.signature[64] = 55 - voucher.signature[64];
        assert_eq!(voucher.signer(&domain), Err(SignatureError::HighS));
        // The upper half of the order starts below the parity bit's half, so a mirrored s cannot hide in a row.
        let row = SignedVoucher::from_row(voucher.payee, &voucher.to_row());
        assert_ne!(row.signer(&domain), Ok(signer().address()));
    }

    #[test]
    fn another_chain_or_escrow_recovers_another_signer() {
        let voucher = signed(5);
        assert_eq!(voucher.signer(&escrow_domain(1, Address::repeat_byte(0xee))), Ok(signer().address()));
        assert_ne!(voucher.signer(&escrow_domain(2, Address::repeat_byte(0xee))), Ok(signer().address()));
        assert_ne!(voucher.signer(&escrow_domain(1, Address::repeat_byte(0xed))), Ok(signer().address()));
    }

    #[test]
    fn an_altered_field_recovers_another_signer() {
        let domain = escrow_domain(1, Address::repeat_byte(0xee));
        let voucher = signed(5);
        let more = SignedVoucher { cumulative: Amount::from_base_units(6).unwrap(), ..voucher };
        let elsewhere = SignedVoucher { payee: Address::repeat_byte(3), ..voucher };
        let of_another = SignedVoucher { payer: Address::repeat_byte(4), ..voucher };
        for altered in [more, elsewhere, of_another] {
            assert_ne!(altered.signer(&domain), Ok(signer().address()));
        }
    }

    #[test]
    fn json_is_readable() {
        let json = serde_json::to_value(signed(10_500_000)).unwrap();
        assert_eq!(json["cumulative"], "10500000");
        let signature = json["signature"].as_str().unwrap().to_owned();
        assert!(signature.starts_with("0x") && signature.len() == 2 + 2 * SIGNATURE_BYTES);
        assert_eq!(serde_json::from_value::<SignedVoucher>(json.clone()).unwrap(), signed(10_500_000));

        let mut short = json;
        short["signature"] = signature[..signature.len() - 2].into();
        assert!(serde_json::from_value::<SignedVoucher>(short).is_err());
    }

    /// What others read: the same key and numbers given to `cast wallet sign --data` make the same signature.
    #[test]
    fn the_written_form_is_pinned() {
        let expected = concat!(
            r#"{"payer":"0x4a62316623ad457f02cdc5d997ded67a383ec569","#,
            r#""payee":"0x0202020202020202020202020202020202020202","cumulative":"10500000","#,
            r#""signature":"0x425afdbe6d1b80382fbafe907fc91d7150d6cd7bfc3fbaf39cce9d2554f37c51"#,
            r#"752d45b818ae0b5f0505c2b6657e2ef6593b5c004db8037a8054ecd8190fd58b1c"}"#,
        );
        assert_eq!(serde_json::to_string(&signed(10_500_000)).unwrap(), expected);
    }

    #[test]
    fn cbor_is_compact() {
        let mut cbor = Vec::new();
        ciborium::into_writer(&signed(10_500_000), &mut cbor).unwrap();
        assert!(cbor.len() < 170, "{} bytes", cbor.len());
        assert_eq!(ciborium::from_reader::<SignedVoucher, _>(cbor.as_slice()).unwrap(), signed(10_500_000));
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 64, rng_seed: RngSeed::Fixed(3), ..ProptestConfig::default() })]

        #[test]
        fn rows_hold_the_whole_voucher(cumulative in 0..=Amount::MAX.base_units()) {
            let voucher = signed(cumulative);
            let row = voucher.to_row();
            prop_assert_eq!(&row[..20], voucher.payer.as_slice());
            prop_assert_eq!(U256::from_be_slice(&row[20..32]), U256::from(cumulative));
            prop_assert_eq!(&row[32..64], &voucher.signature[..32]);
            prop_assert_eq!(SignedVoucher::from_row(voucher.payee, &row), voucher);
        }

        #[test]
        fn any_row_reads_and_packs_back(row in prop::array::uniform32(any::<[u8; 3]>())) {
            let row: [u8; ROW_BYTES] = row.concat().try_into().unwrap();
            prop_assert_eq!(SignedVoucher::from_row(Address::ZERO, &row).to_row(), row);
        }
    }
}
