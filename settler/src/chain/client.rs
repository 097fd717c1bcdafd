//! The one that asks: heads, receipts, nonces, balances and fees; and that hands transactions to all endpoints. What
//! counts as an answer, [`super::quorum`] says.

use std::sync::atomic::AtomicUsize;

use alloy::eips::{BlockId, BlockNumberOrTag};
use alloy::primitives::{Address, B256, Bytes, Log};
use alloy::providers::Provider;
use alloy::rpc::types::{Block, TransactionReceipt};
use alloy::transports::TransportError;
use minus_bindings::{Deployment, PrepaymentEscrow};
use tokio::task::JoinSet;
use url::Url;

use super::endpoint::{Endpoint, EndpointLine};
use super::error::ChainError;
use crate::fees::{Complaint, complaint};

pub use super::endpoint::provider;

/// The last block that enough endpoints know.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Head {
    /// Its number.
    pub number: u64,
    /// Its hash.
    pub hash: B256,
    /// Its time, unix seconds.
    pub timestamp: u64,
    /// Its base fee, wei per gas.
    pub base_fee: u128,
    /// How much gas fits it.
    pub gas_limit: u64,
}

impl From<Block> for Head {
    fn from(block: Block) -> Self {
        Self {
            number: block.header.number,
            hash: block.header.hash,
            timestamp: block.header.timestamp,
            base_fee: u128::from(block.header.base_fee_per_gas.unwrap_or(0)),
            gas_limit: block.header.gas_limit,
        }
    }
}

impl Head {
    /// This very block, for reading at.
    #[must_use]
    pub fn id(&self) -> BlockId {
        BlockId::hash(self.hash)
    }
}

/// What a block says of a transaction that it holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mined {
    /// The transaction.
    pub hash: B256,
    /// The block's number.
    pub block: u64,
    /// The block's hash.
    pub block_hash: B256,
    /// Did it not revert?
    pub succeeded: bool,
    /// Gas that it used.
    pub gas_used: u64,
    /// What that cost, wei.
    pub fee_wei: u128,
    /// What the contracts said.
    pub logs: Vec<Log>,
}

impl Mined {
    fn read(receipt: TransactionReceipt) -> Option<Self> {
        Some(Self {
            hash: receipt.transaction_hash,
            block: receipt.block_number?,
            block_hash: receipt.block_hash?,
            succeeded: receipt.status(),
            gas_used: receipt.gas_used,
            fee_wei: u128::from(receipt.gas_used).saturating_mul(receipt.effective_gas_price),
            logs: receipt.logs().iter().map(|log| log.inner.clone()).collect(),
        })
    }
}

/// The chain, as far as a settler needs it.
#[derive(Debug)]
pub struct Chain {
    pub(super) endpoints: Vec<Endpoint>,
    /// How many of them have to say the same.
    pub(super) quorum: usize,
    /// The endpoint that answered last.
    pub(super) preferred: AtomicUsize,
    deployment: Deployment,
    notice_s: u64,
}

impl Chain {
    /// Connects and makes sure that this is the deployment's chain. `quorum` is how many endpoints have to say the same
    /// where money is decided on.
    ///
    /// # Errors
    /// When too few endpoints answer, or it is another chain, or there is no escrow.
    pub async fn connect(rpc_urls: &[Url], quorum: usize, deployment: Deployment) -> Result<Self, ChainError> {
        let endpoints: Vec<Endpoint> = rpc_urls.iter().map(Endpoint::new).collect();
        let quorum = quorum.clamp(1, endpoints.len().max(1));
        let mut chain = Self { endpoints, quorum, preferred: AtomicUsize::new(0), deployment, notice_s: 0 };
        let given = chain.decide("the chain's number", |provider| async move { provider.get_chain_id().await }).await?;
        if given != deployment.chain_id {
            return Err(ChainError::WrongChain { given, expected: deployment.chain_id });
        }
        let escrow = deployment.escrow;
        let code =
            chain.decide("the escrow's code", |provider| async move { provider.get_code_at(escrow).await }).await?;
        if code.is_empty() {
            return Err(ChainError::NoContract(escrow));
        }
        let notice = |provider| async move {
            let escrow = PrepaymentEscrow::new(escrow, provider);
            escrow.NOTICE_PERIOD().call().await.map_err(|error| match error {
                alloy::contract::Error::TransportError(error) => error,
                other => TransportError::local_usage(other),
            })
        };
        chain.notice_s = chain.decide("the notice period", notice).await?;
        Ok(chain)
    }

    /// Where the contracts stand.
    #[must_use]
    pub fn deployment(&self) -> &Deployment {
        &self.deployment
    }

    /// How long the escrow makes payers wait, seconds.
    #[must_use]
    pub fn notice_s(&self) -> u64 {
        self.notice_s
    }

    /// What is to be said of each endpoint.
    #[must_use]
    pub fn endpoint_lines(&self) -> Vec<EndpointLine> {
        self.endpoints.iter().map(Endpoint::line).collect()
    }

    /// The last block that enough endpoints know by the same hash. One that runs ahead does not set it.
    ///
    /// # Errors
    /// When too few answer or agree.
    pub async fn head(&self) -> Result<Head, ChainError> {
        let latest = |provider| block(provider, BlockNumberOrTag::Latest);
        if self.quorum == 1 {
            let head = self.ask(latest).await?;
            self.note_heads(&[(head, self.all())], head.number);
            return Ok(head);
        }
        let answers = self.ask_all(latest).await;
        let mut numbers: Vec<u64> =
            answers.groups.iter().flat_map(|(head, known)| known.iter().map(|_| head.number)).collect();
        numbers.sort_unstable_by(|a, b| b.cmp(a));
        let shown = answers.groups.clone();
        let agreed =
            match shown.iter().filter(|(_, known)| known.len() >= self.quorum).max_by_key(|(head, _)| head.number) {
                Some((head, _)) => *head,
                None => match numbers.get(self.quorum - 1) {
                    // So many endpoints are at least here: what is this block called?
                    Some(number) => {
                        let number = BlockNumberOrTag::Number(*number);
                        self.decide("the head", |provider| block(provider, number)).await?
                    }
                    None => answers.verdict("the head", self.quorum)?.0,
                },
            };
        self.note_heads(&shown, agreed.number);
        Ok(agreed)
    }

    fn all(&self) -> Vec<usize> {
        (0..self.endpoints.len()).collect()
    }

    fn note_heads(&self, shown: &[(Head, Vec<usize>)], agreed: u64) {
        for (head, endpoints) in shown {
            endpoints.iter().for_each(|index| self.endpoints[*index].stands_at(head.number, agreed));
        }
    }

    /// When a block was made, unix seconds.
    ///
    /// # Errors
    /// When no endpoint knows it.
    pub async fn block_time(&self, number: u64) -> Result<u64, ChainError> {
        let number = BlockNumberOrTag::Number(number);
        Ok(self.ask(|provider| block(provider, number)).await?.timestamp)
    }

    /// What enough endpoints call a block.
    ///
    /// # Errors
    /// When too few endpoints agree.
    pub async fn block_hash(&self, number: u64) -> Result<B256, ChainError> {
        let number = BlockNumberOrTag::Number(number);
        Ok(self.decide("a block", |provider| block(provider, number)).await?.hash)
    }

    /// The tips of the last blocks at these percentiles, block by block, wei per gas.
    ///
    /// # Errors
    /// When no endpoint tells.
    pub async fn tips(&self, blocks: u64, percentiles: &[f64]) -> Result<Vec<Vec<u128>>, ChainError> {
        let ask = |provider: alloy::providers::DynProvider| async move {
            provider.get_fee_history(blocks, BlockNumberOrTag::Latest, percentiles).await
        };
        Ok(self.ask(ask).await?.reward.unwrap_or_default())
    }

    /// How many transactions of this account were in blocks: its next nonce, what waits not counted.
    ///
    /// # Errors
    /// When too few endpoints agree.
    pub async fn transaction_count(&self, account: Address, head: &Head) -> Result<u64, ChainError> {
        let at = head.id();
        let ask = |provider: alloy::providers::DynProvider| async move {
            provider.get_transaction_count(account).block_id(at).await
        };
        self.decide("a nonce", ask).await
    }

    /// What this account can pay for gas, wei.
    ///
    /// # Errors
    /// When too few endpoints agree.
    pub async fn balance(&self, account: Address, head: &Head) -> Result<u128, ChainError> {
        let at = head.id();
        let ask =
            |provider: alloy::providers::DynProvider| async move { provider.get_balance(account).block_id(at).await };
        Ok(u128::try_from(self.decide("a balance", ask).await?).unwrap_or(u128::MAX))
    }

    /// What the block says that holds a transaction; none when no block does.
    ///
    /// # Errors
    /// When too few endpoints agree, as while a block is on its way from one to the other.
    pub async fn receipt(&self, hash: B256) -> Result<Option<Mined>, ChainError> {
        let ask = |provider: alloy::providers::DynProvider| async move {
            Ok(provider.get_transaction_receipt(hash).await?.and_then(Mined::read))
        };
        self.decide("a receipt", ask).await
    }

    /// Whether every endpoint answers and none knows of a block that holds one of these transactions.
    pub async fn all_deny(&self, transactions: impl Iterator<Item = B256>) -> bool {
        for hash in transactions {
            let ask = |provider: alloy::providers::DynProvider| async move {
                Ok(provider.get_transaction_receipt(hash).await?.is_none())
            };
            let answers = self.ask_all(ask).await;
            if answers.count() < self.endpoints.len() || answers.groups.iter().any(|(denies, _)| !denies) {
                return false;
            }
        }
        true
    }

    /// Hands signed bytes to all endpoints; done when the first accepts, while the others go on. That one refuses says
    /// nothing about the others, nor about what it did with them.
    ///
    /// # Errors
    /// When none accepts: what the most knowing complaint was, or that none answers.
    pub async fn send(&self, raw: &[u8]) -> Result<(), ChainError> {
        let raw = Bytes::copy_from_slice(raw);
        let mut sends = JoinSet::new();
        for (index, endpoint) in self.endpoints.iter().enumerate() {
            let (provider, raw) = (endpoint.provider.clone(), raw.clone());
            sends.spawn(async move { (index, provider.send_raw_transaction(&raw).await.map(|_| ())) });
        }
        let mut refused: Option<(Complaint, String)> = None;
        let mut silent = ChainError::Unreachable("no endpoint is configured".into());
        while let Some(ended) = sends.join_next().await {
            let Ok((index, answer)) = ended else { continue };
            match answer {
                Ok(()) => {
                    sends.detach_all();
                    return Ok(());
                }
                Err(error) => match error.as_error_resp() {
                    Some(payload) => {
                        let said = (complaint(&payload.to_string()), payload.to_string());
                        if refused.as_ref().is_none_or(|(known, _)| said.0 < *known) {
                            refused = Some(said);
                        }
                    }
                    None => silent = ChainError::Unreachable(self.endpoints[index].complaint(&error)),
                },
            }
        }
        Err(refused.map_or(silent, |(_, message)| ChainError::Answered(message)))
    }
}

/// A block's header. One that is not there yet is no answer: the endpoint lags.
async fn block(provider: alloy::providers::DynProvider, number: BlockNumberOrTag) -> Result<Head, TransportError> {
    let block = provider.get_block_by_number(number).await?;
    block.map(Head::from).ok_or_else(|| TransportError::local_usage_str("it does not know the block"))
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_complaint_does_not_tell_the_access_key() {
        let url: Url = "http://127.0.0.1:9/v3/access-key".parse().unwrap();
        let deployment = Deployment {
            chain_id: 1,
            reserve: Address::ZERO,
            token: Address::ZERO,
            escrow: Address::ZERO,
            routing_table: Address::ZERO,
            block: 0,
        };

        let error = Chain::connect(&[url], 1, deployment).await.unwrap_err();

        assert!(matches!(error, ChainError::Unreachable(_)));
        assert!(!error.to_string().contains("access-key"), "{error}");
        assert!(error.to_string().contains("127.0.0.1"), "{error}");
    }
}
