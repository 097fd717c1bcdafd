//! How values look in a column: text that sorts like the number it stands for, hex in lower case.

use std::str::FromStr;

use alloy::primitives::{Address, B256};
use minus_bindings::Amount;

use super::open::StoreError;

/// Digits of the largest amount a lane can hold, 2^96 - 1.
const AMOUNT_DIGITS: usize = 29;

/// Base units with leading zeros.
pub(super) fn amount_text(amount: Amount) -> String {
    format!("{:0AMOUNT_DIGITS$}", amount.base_units())
}

/// The reverse of [`amount_text`].
pub(super) fn amount(text: &str) -> Result<Amount, StoreError> {
    let units = text.parse::<u128>().map_err(|_| StoreError::corrupt("amount", text))?;
    Amount::from_base_units(units).map_err(|_| StoreError::corrupt("amount", text))
}

/// 0x-hex in lower case.
pub(super) fn address_text(address: Address) -> String {
    format!("{address:#x}")
}

/// The reverse of [`address_text`].
pub(super) fn address(text: &str) -> Result<Address, StoreError> {
    Address::from_str(text).map_err(|_| StoreError::corrupt("address", text))
}

/// A hash, as the chain shows it.
pub(super) fn hash_text(hash: B256) -> String {
    format!("{hash:#x}")
}

/// The reverse of [`hash_text`].
pub(super) fn hash(text: &str) -> Result<B256, StoreError> {
    B256::from_str(text).map_err(|_| StoreError::corrupt("hash", text))
}

/// 0x-hex of any bytes.
pub(super) fn bytes_text(bytes: &[u8]) -> String {
    alloy::hex::encode_prefixed(bytes)
}

/// The reverse of [`bytes_text`].
pub(super) fn bytes(text: &str) -> Result<Vec<u8>, StoreError> {
    alloy::hex::decode(text).map_err(|_| StoreError::corrupt("bytes", text))
}

/// A signature column.
pub(super) fn signature(text: &str) -> Result<[u8; 65], StoreError> {
    bytes(text)?.try_into().map_err(|_| StoreError::corrupt("signature", text))
}

/// A count or time that is never negative.
pub(super) fn unsigned(number: i64) -> Result<u64, StoreError> {
    u64::try_from(number).map_err(|_| StoreError::corrupt("count", &number.to_string()))
}

/// A count or time for a column. Saturates: no block, second or nonce reaches 2^63.
pub(super) fn signed(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

/// A word of one of the enums.
pub(super) fn word<T: FromStr>(text: &str) -> Result<T, StoreError> {
    text.parse().map_err(|_| StoreError::corrupt("word", text))
}

/// Wei, which may exceed 63 bits.
pub(super) fn wei(text: &str) -> Result<u128, StoreError> {
    text.parse().map_err(|_| StoreError::corrupt("wei", text))
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    #[test]
    fn text_order_is_number_order() {
        let small = Amount::from_base_units(9).unwrap();
        let large = Amount::from_base_units(10).unwrap();

        assert!(amount_text(small) < amount_text(large));
        assert!(amount_text(large) < amount_text(Amount::MAX));
        assert_eq!(amount_text(Amount::MAX).len(), AMOUNT_DIGITS);
        assert_eq!(amount(&amount_text(Amount::MAX)).unwrap(), Amount::MAX);
    }

    #[test]
    fn refuses_what_it_did_not_write() {
        assert!(amount("79228162514264337593543950336").is_err(), "one above what a lane holds");
        assert!(address("0x12").is_err());
        assert!(signature("0x00").is_err());
        assert!(unsigned(-1).is_err());
    }
}
