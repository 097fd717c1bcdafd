//! The chain, seen through one RPC endpoint at a time: which node serves whom at what price, what is on a lane, and
//! the few transactions a customer sends. A light client: `eth_call` answers all but the history of a tariff.
//!
//! - [`reads`]: nodes, routes, lanes, mandates, balances
//! - [`schedule`]: which tariff was in force when, as a pure value
//! - [`writes`]: deposit, thaw, withdraw, give a mandate, set a route
//! - [`refusal`]: what a reverted call means, in words

pub mod reads;
pub mod refusal;
pub mod schedule;
pub mod writes;

use std::time::Duration;

use alloy::network::EthereumWallet;
use alloy::providers::{DynProvider, Provider, ProviderBuilder};
use alloy::signers::local::PrivateKeySigner;
use minus_bindings::{Deployment, PrepaymentEscrow, RoutingTable, SettlementToken};
use url::Url;

pub use reads::{LaneState, MandateState, NodeRecord, RouteRecord, TokenBalances};
pub use schedule::Schedule;

/// How long an endpoint may take to say which chain it serves, before the next one is tried.
const HELLO_TIMEOUT: Duration = Duration::from_secs(10);

/// How long one question to the chain may take.
const CALL_TIMEOUT: Duration = Duration::from_secs(30);

/// How long a transaction may take to be mined before the customer is told to look for it.
pub(crate) const RECEIPT_TIMEOUT: Duration = Duration::from_secs(180);

/// A connection to the chain of one deployment.
#[derive(Debug, Clone)]
pub struct Chain {
    deployment: Deployment,
    url: Url,
    provider: DynProvider,
}

/// What can go wrong with the chain.
#[derive(Debug, thiserror::Error)]
pub enum ChainError {
    /// No endpoint answers.
    #[error("no RPC endpoint can be reached ({reason}); check --rpc-url and your connection")]
    Unreachable {
        /// What the last one tried said.
        reason: String,
    },
    /// The endpoint serves another chain than the deployments file says.
    #[error("{host} serves chain {given}, the deployments file is for chain {expected}")]
    WrongChain {
        /// Which endpoint.
        host: String,
        /// What it serves.
        given: u64,
        /// What is expected.
        expected: u64,
    },
    /// No contract stands where the deployments file says.
    #[error("there is no Layer Minus contract at {0}; is the deployments file of this chain?")]
    NoContract(alloy::primitives::Address),
    /// The contract said no.
    #[error("{0}")]
    Refused(String),
    /// The transaction was mined and failed, or is not mined yet.
    #[error("transaction {hash}: {reason}")]
    Transaction {
        /// Which one.
        hash: alloy::primitives::B256,
        /// What became of it.
        reason: String,
    },
    /// An answer that makes no sense.
    #[error("the chain's answer makes no sense: {0}")]
    Nonsense(String),
}

impl ChainError {
    /// Whether the same question may do better later.
    pub fn is_retryable(&self) -> bool {
        matches!(self, Self::Unreachable { .. })
    }
}

/// Where an endpoint is, and no more of its URL: the rest may hold an access key.
fn host(url: &Url) -> String {
    url.origin().ascii_serialization()
}

impl Chain {
    /// Connects to the first endpoint that answers, and checks that it serves the deployment's chain.
    pub async fn connect(rpc_urls: &[Url], deployment: Deployment) -> Result<Self, ChainError> {
        let mut last = ChainError::Unreachable { reason: "none was given".to_owned() };
        for url in rpc_urls {
            let provider = ProviderBuilder::new().connect_http(url.clone()).erased();
            match tokio::time::timeout(HELLO_TIMEOUT, provider.get_chain_id()).await {
                Ok(Ok(given)) if given == deployment.chain_id => {
                    return Ok(Self { deployment, url: url.clone(), provider });
                }
                Ok(Ok(given)) => {
                    last = ChainError::WrongChain { host: host(url), given, expected: deployment.chain_id };
                }
                Ok(Err(error)) => last = ChainError::Unreachable { reason: refusal::transport_reason(&error) },
                Err(_) => last = ChainError::Unreachable { reason: format!("{} does not answer", host(url)) },
            }
        }
        Err(last)
    }

    /// Which contracts.
    pub fn deployment(&self) -> &Deployment {
        &self.deployment
    }

    fn escrow(&self) -> PrepaymentEscrow::PrepaymentEscrowInstance<&DynProvider> {
        PrepaymentEscrow::new(self.deployment.escrow, &self.provider)
    }

    fn routing(&self) -> RoutingTable::RoutingTableInstance<&DynProvider> {
        RoutingTable::new(self.deployment.routing_table, &self.provider)
    }

    fn token(&self) -> SettlementToken::SettlementTokenInstance<&DynProvider> {
        SettlementToken::new(self.deployment.token, &self.provider)
    }

    /// A provider that signs transactions with this key.
    fn signing(&self, signer: &PrivateKeySigner) -> DynProvider {
        ProviderBuilder::new().wallet(EthereumWallet::from(signer.clone())).connect_http(self.url.clone()).erased()
    }

    /// Waits for a question within its time, and says what a failure means.
    async fn ask<T>(
        &self,
        question: impl std::future::IntoFuture<Output = Result<T, alloy::contract::Error>>,
    ) -> Result<T, ChainError> {
        match tokio::time::timeout(CALL_TIMEOUT, question.into_future()).await {
            Ok(answer) => answer.map_err(|error| refusal::translate(&error, self.deployment.routing_table)),
            Err(_) => Err(ChainError::Unreachable { reason: format!("{} does not answer", host(&self.url)) }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_access_key_is_not_shown() {
        let url: Url = "https://user:secret@rpc.example:8545/secret?key=secret".parse().expect("a URL");
        assert_eq!(host(&url), "https://rpc.example:8545");
    }
}
