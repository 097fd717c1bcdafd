//! How much goes into one transaction: so much that whole transactions fill whole blocks. Pure.
//!
//! A builder counts a transaction's gas limit when it looks whether it still fits a block, and what it used afterwards.
//! So the last one of a block leaves its room unused, and a block is full when the others used up the rest exactly.

use crate::plan::{ROW_GAS_MAX, TRANSACTION_GAS_MAX};

/// Room above what simulation used: a sixteenth, for a lane may change between the two blocks; and one row's worst.
const ROOM_DIVISOR: u64 = 16;
/// About what a transaction should use. Less would cost more transactions, each 21,000 and more; more would not fit
/// the [`ROWS_BYTES_MAX`] of one when rows are cheap.
const CHUNK_GAS: u64 = 7_500_000;
/// Nodes refuse a transaction above 128 KiB.
const ROWS_BYTES_MAX: u64 = 128 * 1_024 - 1_024;
/// Rows that fit that.
pub const ROWS_OF_A_TRANSACTION_MAX: u64 = ROWS_BYTES_MAX / 96;
/// What a batch costs before its first row: transaction, event, credit.
const BEFORE_ROWS_GAS: u64 = 50_000;
/// The bounds of what a row can be measured at.
const ROW_GAS_LEAST: u64 = 5_000;

/// The gas limit of what uses so much. `risky` rows may each become as dear as a row can be.
#[must_use]
pub fn gas_limit(gas: u64, risky: u64) -> u64 {
    let room = risky.saturating_add(1).saturating_mul(ROW_GAS_MAX);
    gas.saturating_add(gas / ROOM_DIVISOR).saturating_add(room)
}

/// How much a transaction is to use at most, so that a whole number of them fills a block.
#[must_use]
pub fn chunk_gas(block_gas: u64) -> u64 {
    let count = block_gas.div_ceil(CHUNK_GAS).max(1);
    // The last one needs its limit: (count - 1) · gas + gas_limit(gas, 0) is the block.
    let gas = block_gas.saturating_sub(ROW_GAS_MAX).saturating_mul(ROOM_DIVISOR) / (ROOM_DIVISOR * count + 1);
    gas.min(TRANSACTION_GAS_MAX / 2)
}

/// How many rows use about so much gas.
#[must_use]
pub fn rows_for(gas: u64, row_gas: u64) -> u64 {
    (gas.saturating_sub(BEFORE_ROWS_GAS) / row_gas.max(1)).clamp(1, ROWS_OF_A_TRANSACTION_MAX)
}

/// What a row of such a batch used.
#[must_use]
pub fn row_gas(gas: u64, rows: u64) -> u64 {
    gas.saturating_sub(BEFORE_ROWS_GAS).div_ceil(rows.max(1)).clamp(ROW_GAS_LEAST, ROW_GAS_MAX)
}

/// Is a batch of this gas one that fills its part of a block, to a thirty-second?
#[must_use]
pub const fn fills(gas: u64, chunk: u64) -> bool {
    gas <= chunk && gas >= chunk - chunk / 32
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whole_transactions_fill_a_block() {
        for block in (15_000_000..=150_000_000).step_by(1_000_000) {
            let chunk = chunk_gas(block);
            let (mut used, mut count) = (0, 0);
            while used + gas_limit(chunk, 0) <= block {
                used += chunk;
                count += 1;
            }
            assert!(used * 100 >= block * 96, "{count} of {chunk} make {used} of {block}");
            assert!(gas_limit(chunk, 0) <= TRANSACTION_GAS_MAX);
        }
    }

    #[test]
    fn a_small_block_still_holds_one() {
        let chunk = chunk_gas(1_000_000);
        assert!(gas_limit(chunk, 0) <= 1_000_000 && chunk > 800_000);
        assert_eq!(rows_for(chunk_gas(10_000), 15_000), 1);
    }

    #[test]
    fn rows_follow_what_was_measured() {
        let chunk = chunk_gas(30_000_000);
        let rows = rows_for(chunk, 10_000);
        assert!(fills(BEFORE_ROWS_GAS + rows * 10_000, chunk), "{rows} rows of {chunk}");
        assert_eq!(row_gas(BEFORE_ROWS_GAS + rows * 10_000, rows), 10_000);
        assert_eq!(rows_for(chunk, 1), ROWS_OF_A_TRANSACTION_MAX, "no node takes a larger one");
        assert!(!fills(chunk + 1, chunk) && !fills(chunk / 2, chunk));
    }

    #[test]
    fn risky_rows_have_their_worst() {
        assert_eq!(gas_limit(1_600_000, 0), 1_700_000 + ROW_GAS_MAX);
        assert_eq!(gas_limit(1_600_000, 10), 1_700_000 + 11 * ROW_GAS_MAX);
    }
}
