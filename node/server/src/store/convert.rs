//! Columns to values and back. A column that does not convert is corruption, not a default.

use alloy::primitives::{Address, B256};
use minus_bindings::Amount;

use super::StoreError;

pub(crate) fn address(column: &[u8]) -> Result<Address, StoreError> {
    Address::try_from(column).map_err(|_| StoreError::Corrupt("address"))
}

pub(crate) fn hash(column: &[u8]) -> Result<B256, StoreError> {
    B256::try_from(column).map_err(|_| StoreError::Corrupt("hash"))
}

pub(crate) fn count(column: &str) -> Result<u128, StoreError> {
    column.parse().map_err(|_| StoreError::Corrupt("count"))
}

pub(crate) fn price(column: &str) -> Result<u64, StoreError> {
    column.parse().map_err(|_| StoreError::Corrupt("price"))
}

pub(crate) fn amount(column: &str) -> Result<Amount, StoreError> {
    Amount::from_base_units(count(column)?).map_err(|_| StoreError::Corrupt("amount"))
}

/// An amount as a column: decimal base units.
pub(crate) fn amount_column(amount: Amount) -> String {
    amount.base_units().to_string()
}

pub(crate) fn unsigned(column: i64) -> Result<u64, StoreError> {
    u64::try_from(column).map_err(|_| StoreError::Corrupt("negative integer"))
}

pub(crate) fn version(column: i64) -> Result<u32, StoreError> {
    u32::try_from(column).map_err(|_| StoreError::Corrupt("tariff version"))
}

/// A yes or no as a column: both databases have integers, only one has truth.
pub(crate) fn flag(column: i64) -> Result<bool, StoreError> {
    match column {
        0 => Ok(false),
        1 => Ok(true),
        _ => Err(StoreError::Corrupt("flag")),
    }
}

/// A value as the databases' integer. What a peer may say can be wider; such a value is refused.
pub(crate) fn integer(value: u64) -> Result<i64, StoreError> {
    i64::try_from(value).map_err(|_| StoreError::Range("integer"))
}
