//! What is asked of the chain, over several endpoints: the first that answers is believed; no read asks for a quorum. A
//! contract's refusal is an answer; any other error, stated or not, makes the next one be asked, for an endpoint may be
//! out of quota, out of date or pruned. The first stated error is the answer if no endpoint has a better one.

use std::future::Future;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use alloy::contract;
use alloy::eips::{BlockId, BlockNumberOrTag};
use alloy::network::Ethereum;
use alloy::primitives::{Address, B256, Bytes};
use alloy::providers::{DynProvider, Provider, ProviderBuilder};
use alloy::rpc::types::TransactionReceipt;
use alloy::sol_types::SolCall;
use alloy::transports::TransportError;
use minus_bindings::{Amount, Deployment, PrepaymentEscrow, RowResult, row};
use url::Url;

use crate::check::{DelegateView, signer_until};
use crate::plan::TRANSACTION_GAS_MAX;
use crate::store::{Instrument, LaneView, PlannedRow};

/// An endpoint that takes longer is as good as down.
const CALL_TIMEOUT: Duration = Duration::from_secs(10);
/// When an endpoint cannot say what tips are usual: one gwei.
const PRIORITY_FEE_USUAL: u128 = 1_000_000_000;

/// Why the chain gave no answer to go by.
#[derive(Debug, Clone, thiserror::Error)]
pub enum ChainError {
    /// No endpoint answered. Worth another try.
    #[error("no endpoint answers: {0}")]
    Unreachable(String),
    /// An endpoint answered with an error; for a call, the contract's refusal.
    #[error("{0}")]
    Answered(String),
    /// An answer that the escrow cannot have given.
    #[error("nonsense: {0}")]
    Nonsense(String),
    /// The endpoint is of another chain.
    #[error("the endpoint is of chain {given}, the deployment of {expected}")]
    WrongChain {
        /// What it says.
        given: u64,
        /// What the deployments file says.
        expected: u64,
    },
    /// There is no escrow at the deployment's address.
    #[error("there is no contract at {0}")]
    NoContract(Address),
}

/// The last block.
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
}

type Escrow = PrepaymentEscrow::PrepaymentEscrowInstance<DynProvider, Ethereum>;

/// What a payer's mandate bears.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct MandateView {
    /// It bears charges until then, inclusive, unix seconds; 0 when it was never given.
    pub valid_until: u64,
    /// What could be charged now if the money is there.
    pub chargeable: Amount,
}

/// A batch as one of the escrow's entry points takes it.
#[derive(Debug, Clone)]
pub struct Calldata {
    /// Which entry point.
    pub instrument: Instrument,
    /// Whom it credits.
    pub payee: Address,
    /// The packed rows.
    pub rows: Bytes,
}

impl Calldata {
    /// Packs rows.
    #[must_use]
    pub fn new(instrument: Instrument, payee: Address, rows: &[PlannedRow]) -> Self {
        let vouchers: Vec<_> = rows.iter().map(|row| row.voucher).collect();
        Self { instrument, payee, rows: row::pack(&vouchers) }
    }

    /// The input of its transaction.
    #[must_use]
    pub fn abi_encode(&self) -> Bytes {
        let (payee, rows) = (self.payee, self.rows.clone());
        match self.instrument {
            Instrument::Voucher => PrepaymentEscrow::claimCall { payee, rows }.abi_encode().into(),
            Instrument::Charge => PrepaymentEscrow::chargeCall { payee, rows }.abi_encode().into(),
        }
    }
}

#[derive(Debug)]
struct Endpoint {
    provider: DynProvider,
    url: Url,
}

impl Endpoint {
    /// An endpoint's URL often holds the operator's access key, and an HTTP client's errors hold the URL: in logs and
    /// on the operator's port, the host has to do.
    fn complaint(&self, error: &TransportError) -> String {
        error.to_string().replace(self.url.as_str(), self.url.host_str().unwrap_or("the endpoint"))
    }
}

/// The chain, as far as a settler needs it.
#[derive(Debug)]
pub struct Chain {
    endpoints: Vec<Endpoint>,
    /// The endpoint that answered last.
    preferred: AtomicUsize,
    deployment: Deployment,
    notice_s: u64,
}

/// One provider that signs nothing, for any of the settler's uses.
#[must_use]
pub fn provider(url: &Url) -> DynProvider {
    // A client without this timeout is as usable as one with it, hence the fallback.
    let client = reqwest::Client::builder().timeout(CALL_TIMEOUT).build().unwrap_or_default();
    ProviderBuilder::new().connect_reqwest(client, url.clone()).erased()
}

impl Chain {
    /// Connects and makes sure that this is the deployment's chain.
    ///
    /// # Errors
    /// When no endpoint answers, or it is another chain, or there is no escrow.
    pub async fn connect(rpc_urls: &[Url], deployment: Deployment) -> Result<Self, ChainError> {
        let endpoints = rpc_urls.iter().map(|url| Endpoint { provider: provider(url), url: url.clone() }).collect();
        let mut chain = Self { endpoints, preferred: AtomicUsize::new(0), deployment, notice_s: 0 };
        let given = chain.ask(|provider| async move { provider.get_chain_id().await }).await?;
        if given != deployment.chain_id {
            return Err(ChainError::WrongChain { given, expected: deployment.chain_id });
        }
        let escrow = deployment.escrow;
        let code = chain.ask(|provider| async move { provider.get_code_at(escrow).await }).await?;
        if code.is_empty() {
            return Err(ChainError::NoContract(escrow));
        }
        chain.notice_s = chain.call(|escrow| async move { escrow.NOTICE_PERIOD().call().await }).await?;
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

    /// The last block.
    ///
    /// # Errors
    /// When no endpoint answers.
    pub async fn head(&self) -> Result<Head, ChainError> {
        let block = self
            .ask(|provider| async move { provider.get_block_by_number(BlockNumberOrTag::Latest).await })
            .await?
            .ok_or_else(|| ChainError::Nonsense("no latest block".into()))?;
        Ok(Head {
            number: block.header.number,
            hash: block.header.hash,
            timestamp: block.header.timestamp,
            base_fee: u128::from(block.header.base_fee_per_gas.unwrap_or(0)),
        })
    }

    /// The tip that is usual now, wei per gas.
    ///
    /// # Errors
    /// When no endpoint answers.
    pub async fn priority_fee(&self) -> Result<u128, ChainError> {
        match self.ask(|provider| async move { provider.get_max_priority_fee_per_gas().await }).await {
            Err(ChainError::Answered(_)) => Ok(PRIORITY_FEE_USUAL),
            answer => answer,
        }
    }

    /// How many transactions of this account are in blocks: its next nonce, what waits not counted.
    ///
    /// # Errors
    /// When no endpoint answers.
    pub async fn transaction_count(&self, account: Address) -> Result<u64, ChainError> {
        self.ask(|provider| async move { provider.get_transaction_count(account).await }).await
    }

    /// What this account can pay for gas, wei.
    ///
    /// # Errors
    /// When no endpoint answers.
    pub async fn balance(&self, account: Address) -> Result<u128, ChainError> {
        let balance = self.ask(|provider| async move { provider.get_balance(account).await }).await?;
        Ok(u128::try_from(balance).unwrap_or(u128::MAX))
    }

    /// The receipt of a transaction that is in a block.
    ///
    /// # Errors
    /// When no endpoint answers.
    pub async fn receipt(&self, hash: B256) -> Result<Option<TransactionReceipt>, ChainError> {
        let receipt = self.ask(|provider| async move { provider.get_transaction_receipt(hash).await }).await?;
        Ok(receipt.filter(|receipt| receipt.block_hash.is_some() && receipt.block_number.is_some()))
    }

    /// Hands signed bytes to an endpoint. That one refuses says nothing about the others, nor about what it did with
    /// them.
    ///
    /// # Errors
    /// When no endpoint answers or one refuses.
    pub async fn send(&self, raw: &[u8]) -> Result<(), ChainError> {
        self.ask(|provider| async move { provider.send_raw_transaction(raw).await.map(|_| ()) }).await
    }

    /// Everything a decision about this lane rests on, at the last block.
    ///
    /// # Errors
    /// When no endpoint answers, or something other than the escrow did.
    pub async fn lane_view(
        &self,
        payer: Address,
        payee: Address,
        signer: Address,
        now: u64,
    ) -> Result<(LaneView, DelegateView), ChainError> {
        let lane = self.call(|escrow| async move { escrow.lane(payer, payee).call().await }).await?;
        let open = self.call(|escrow| async move { escrow.lane(payer, Address::ZERO).call().await }).await?;
        let delegate = if signer == payer { DelegateView::default() } else { self.delegate(payer, signer).await? };
        let view = LaneView {
            deposit: lane._0.deposit.into(),
            paid: lane._0.paid.into(),
            thawing: lane._1.amount.into(),
            thaw_ends_at: ends_at(&lane._1),
            open: open._0.deposit.into(),
            open_thawing: open._1.amount.into(),
            open_thaw_ends_at: ends_at(&open._1),
            // A signer that is none ends in the past, so that the planner leaves its voucher alone.
            signer_ends_at: signer_until(payer, signer, delegate, self.notice_s, now).unwrap_or(1),
        };
        Ok((view, delegate))
    }

    /// What a lane has paid, at the last block or at an earlier one.
    ///
    /// # Errors
    /// When no endpoint answers, or it does not know that block.
    pub async fn lane_paid(&self, payer: Address, payee: Address, block: Option<u64>) -> Result<Amount, ChainError> {
        let at = block.map_or_else(BlockId::latest, BlockId::number);
        let lane = self.call(|escrow| async move { escrow.lane(payer, payee).block(at).call().await }).await?;
        Ok(lane._0.paid.into())
    }

    /// What the owner of a lane or a mandate said of another signer.
    ///
    /// # Errors
    /// When no endpoint answers.
    pub async fn delegate(&self, owner: Address, signer: Address) -> Result<DelegateView, ChainError> {
        let said = self.call(|escrow| async move { escrow.delegate(owner, signer).call().await }).await?;
        Ok(DelegateView { authorized: said.authorized, revoked_at: said.revokedAt })
    }

    /// What the payer's mandate bears at the last block.
    ///
    /// # Errors
    /// When no endpoint answers.
    pub async fn mandate(&self, payer: Address, payee: Address) -> Result<MandateView, ChainError> {
        let said = self.call(|escrow| async move { escrow.mandate(payer, payee).call().await }).await?;
        Ok(MandateView { valid_until: said._0.validUntil, chargeable: said.chargeable.into() })
    }

    /// What a batch would do at the last block, row by row.
    ///
    /// # Errors
    /// [`ChainError::Answered`] when the whole of it would fail.
    pub async fn simulate(&self, from: Address, batch: &Calldata) -> Result<Vec<RowResult>, ChainError> {
        let Calldata { instrument, payee, rows } = batch;
        let results = match instrument {
            Instrument::Voucher => {
                let call = |escrow: Escrow| async move {
                    escrow.claim(*payee, rows.clone()).from(from).gas(TRANSACTION_GAS_MAX).call().await
                };
                self.call(call).await?.results
            }
            Instrument::Charge => {
                let call = |escrow: Escrow| async move {
                    escrow.charge(*payee, rows.clone()).from(from).gas(TRANSACTION_GAS_MAX).call().await
                };
                self.call(call).await?.results
            }
        };
        let results = row::parse_results(&results).map_err(|error| ChainError::Nonsense(error.to_string()))?;
        if results.len() * minus_bindings::ROW_BYTES != rows.len() {
            return Err(ChainError::Nonsense(format!("{} results for {} bytes", results.len(), rows.len())));
        }
        Ok(results)
    }

    /// The gas of a batch at the last block.
    ///
    /// # Errors
    /// [`ChainError::Answered`] when the whole of it would fail.
    pub async fn estimate(&self, from: Address, batch: &Calldata) -> Result<u64, ChainError> {
        let Calldata { instrument, payee, rows } = batch;
        match instrument {
            Instrument::Voucher => {
                self.call(|escrow| async move { escrow.claim(*payee, rows.clone()).from(from).estimate_gas().await })
                    .await
            }
            Instrument::Charge => {
                self.call(|escrow| async move { escrow.charge(*payee, rows.clone()).from(from).estimate_gas().await })
                    .await
            }
        }
    }

    async fn call<T, F, Fut>(&self, call: F) -> Result<T, ChainError>
    where
        F: Fn(Escrow) -> Fut,
        Fut: Future<Output = Result<T, contract::Error>>,
    {
        let escrow = self.deployment.escrow;
        self.ask(|provider| {
            let answer = call(PrepaymentEscrow::new(escrow, provider));
            async move {
                answer.await.map_err(|error| match error {
                    contract::Error::TransportError(error) => error,
                    other => TransportError::local_usage(other),
                })
            }
        })
        .await
    }

    async fn ask<T, F, Fut>(&self, call: F) -> Result<T, ChainError>
    where
        F: Fn(DynProvider) -> Fut,
        Fut: Future<Output = Result<T, TransportError>>,
    {
        let first = self.preferred.load(Ordering::Relaxed);
        let mut last = ChainError::Unreachable("no endpoint is configured".into());
        let mut stated = None;
        for offset in 0..self.endpoints.len() {
            let index = (first + offset) % self.endpoints.len();
            let Some(endpoint) = self.endpoints.get(index) else { continue };
            match call(endpoint.provider.clone()).await {
                Ok(answer) => {
                    self.preferred.store(index, Ordering::Relaxed);
                    return Ok(answer);
                }
                Err(error) => match error.as_error_resp() {
                    Some(payload) => {
                        let answer = ChainError::Answered(payload.to_string());
                        if payload.as_revert_data().is_some() {
                            return Err(answer);
                        }
                        stated.get_or_insert(answer);
                    }
                    None if matches!(error, TransportError::LocalUsageError(_)) => {
                        stated.get_or_insert(ChainError::Nonsense(endpoint.complaint(&error)));
                    }
                    None => last = ChainError::Unreachable(endpoint.complaint(&error)),
                },
            }
        }
        Err(stated.unwrap_or(last))
    }
}

fn ends_at(thaw: &minus_bindings::contracts::IPrepaymentEscrow::Thaw) -> u64 {
    if thaw.amount.is_zero() { 0 } else { thaw.endsAt }
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

        let error = Chain::connect(&[url], deployment).await.unwrap_err();

        assert!(matches!(error, ChainError::Unreachable(_)));
        assert!(!error.to_string().contains("access-key"), "{error}");
        assert!(error.to_string().contains("127.0.0.1"), "{error}");
    }
}
