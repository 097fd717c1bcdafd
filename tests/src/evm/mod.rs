//! The contracts in an EVM in memory, for tests that ask them everything and wait for nothing. From the outside in:
//!
//! - [`world`]: deploys Layer Minus from source; verbs for what actors do in it.
//! - [`batches`]: verbs for what pays, read back by type.
//! - [`wallet`]: a payer that is a contract.
//! - [`actor`]: who does it: named, with a key that is always the same.
//! - [`outcome`]: what a call gives: a typed return with logs and gas, or the decoded refusal.
//! - [`chain`]: the EVM itself: accounts, a clock, one transaction at a time.

pub mod actor;
pub mod batches;
pub mod chain;
pub mod outcome;
pub mod wallet;
pub mod world;

pub use actor::Actor;
pub use batches::Claim;
pub use chain::{CHAIN_ID, Chain, Execution, Surroundings, TRANSACTION_GAS_MAX};
pub use outcome::{Receipt, Refusal, assert_refused};
pub use wallet::WalletAnswer;
pub use world::{Contract, TestReserve, World, creation_code, units};
