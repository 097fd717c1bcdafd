//! Why the chain gave no answer to go by.

use alloy::primitives::Address;

/// All of it is worth another try, except the last two.
#[derive(Debug, Clone, thiserror::Error)]
pub enum ChainError {
    /// No endpoint answered.
    #[error("no endpoint answers: {0}")]
    Unreachable(String),
    /// An endpoint answered with an error; for a call, the contract's refusal.
    #[error("{0}")]
    Answered(String),
    /// An answer that the escrow cannot have given.
    #[error("nonsense: {0}")]
    Nonsense(String),
    /// Too few endpoints say the same: one lies, or lags, or blocks are just being replaced.
    #[error("{agreeing} of {answered} endpoints agree on {what}, and {needed} are needed")]
    NoQuorum {
        /// What was asked.
        what: &'static str,
        /// The most that said the same.
        agreeing: usize,
        /// How many answered at all.
        answered: usize,
        /// How many have to say the same.
        needed: usize,
    },
    /// The endpoints are of another chain.
    #[error("the endpoint is of chain {given}, the deployment of {expected}")]
    WrongChain {
        /// What they say.
        given: u64,
        /// What the deployments file says.
        expected: u64,
    },
    /// There is no escrow at the deployment's address.
    #[error("there is no contract at {0}")]
    NoContract(Address),
}
