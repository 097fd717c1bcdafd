//! What everything costs, as whole cold transactions: 21,000, calldata and execution, refunds taken off, as a receipt
//! says it, on the latest rules of mainnet.
//!
//! - [`snapshot`]: all figures in one committed file, `tests/snapshots/gas.txt`, for a person to review.
//! - [`money`], [`paying`], [`signers`], [`routing`]: every function that changes anything; [`cost`]: how it is told.
//! - [`row`]: one more row of a claim against the target and the floor, and where each unit of its gas goes.
//! - [`batches`]: the largest batches that fit a transaction.
//! - [`replay`]: a real chain gives the same receipts, to the unit.
//! - [`bench`]: what all of them measure with.

mod batches;
mod bench;
mod cost;
mod money;
mod paying;
mod replay;
mod routing;
mod row;
mod signers;
mod snapshot;
