//! Reads the chain over JSON-RPC. Several endpoints: the one that answered last is asked first, the others in turn.

use std::{
    future::Future,
    sync::atomic::{AtomicUsize, Ordering},
    time::Duration,
};

use alloy::{
    eips::{BlockId, BlockNumberOrTag},
    primitives::{Address, B256},
    providers::{DynProvider, Provider, ProviderBuilder},
    rpc::types::{Filter, Log},
};
use minus_bindings::{Amount, Deployment, IRoutingTable, PrepaymentEscrow, RoutingTable};
use minus_protocol::Tariff;
use url::Url;

use super::NodeRecord;
use crate::agent::lane::Lane;

/// An endpoint that has not answered by then is taken for dead.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(10);

/// Why the chain could not be read. Retryable.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ReaderError {
    /// No endpoint answered; the last one's reason.
    #[error("no RPC endpoint answered: {0}")]
    Unavailable(String),
    /// The chain at the endpoint is another one.
    #[error("the endpoints' chain is {given}, the deployment's is {expected}")]
    WrongChain {
        /// What the endpoint says.
        given: u64,
        /// What the deployments file says.
        expected: u64,
    },
    /// The endpoint answered something that cannot be.
    #[error("an RPC endpoint answered nonsense: {0}")]
    Nonsense(&'static str),
}

/// The chain, read only.
#[derive(Debug)]
pub(crate) struct Reader {
    providers: Vec<DynProvider>,
    urls: Vec<Url>,
    first: AtomicUsize,
    confirmations: u64,
    deployment: Deployment,
}

impl Reader {
    pub(crate) fn new(urls: &[Url], deployment: Deployment, confirmations: u64) -> Result<Self, ReaderError> {
        let client = reqwest::Client::builder()
            .timeout(ANSWER_TIMEOUT)
            .build()
            .map_err(|error| ReaderError::Unavailable(error.to_string()))?;
        let providers = urls
            .iter()
            .map(|url| ProviderBuilder::new().connect_reqwest(client.clone(), url.clone()).erased())
            .collect();
        Ok(Self { providers, urls: urls.to_vec(), first: AtomicUsize::new(0), confirmations, deployment })
    }

    pub(crate) const fn deployment(&self) -> &Deployment {
        &self.deployment
    }

    async fn ask<T, E, F, R>(&self, question: F) -> Result<T, ReaderError>
    where
        E: std::fmt::Display,
        F: Fn(DynProvider) -> R,
        R: Future<Output = Result<T, E>>,
    {
        let first = self.first.load(Ordering::Relaxed);
        let mut reason = "none is configured".to_owned();
        for offset in 0..self.providers.len() {
            let place = (first + offset) % self.providers.len();
            match question(self.providers[place].clone()).await {
                Ok(answer) => {
                    self.first.store(place, Ordering::Relaxed);
                    return Ok(answer);
                }
                // An endpoint's address may hold an access key.
                Err(error) => reason = error.to_string().replace(self.urls[place].as_str(), "the endpoint"),
            }
        }
        Err(ReaderError::Unavailable(reason))
    }

    /// Refuses the endpoints of another chain.
    pub(crate) async fn check_chain(&self) -> Result<(), ReaderError> {
        let given = self.ask(|provider| async move { provider.get_chain_id().await }).await?;
        let expected = self.deployment.chain_id;
        if given == expected { Ok(()) } else { Err(ReaderError::WrongChain { given, expected }) }
    }

    /// The newest block that is deep enough to be believed.
    pub(crate) async fn head(&self) -> Result<u64, ReaderError> {
        let newest = self.ask(|provider| async move { provider.get_block_number().await }).await?;
        Ok(newest.saturating_sub(self.confirmations))
    }

    /// The hash of a block, if there is one at that height.
    pub(crate) async fn block_hash(&self, block: u64) -> Result<Option<B256>, ReaderError> {
        self.ask(|provider| async move { provider.get_block_by_number(BlockNumberOrTag::Number(block)).await })
            .await
            .map(|block| block.map(|block| block.header.hash))
    }

    /// What escrow and routing table said in these blocks.
    pub(crate) async fn logs(&self, from: u64, to: u64) -> Result<Vec<Log>, ReaderError> {
        let filter = Filter::new()
            .from_block(from)
            .to_block(to)
            .address(vec![self.deployment.escrow, self.deployment.routing_table]);
        self.ask(|provider| {
            let filter = filter.clone();
            async move { provider.get_logs(&filter).await }
        })
        .await
    }

    /// The block that calls are made at.
    async fn at(&self) -> Result<BlockId, ReaderError> {
        Ok(if self.confirmations == 0 { BlockId::latest() } else { BlockId::number(self.head().await?) })
    }

    pub(crate) async fn node(&self, node: Address) -> Result<Option<NodeRecord>, ReaderError> {
        let at = self.at().await?;
        let table = self.deployment.routing_table;
        let record = self
            .ask(|provider| async move { RoutingTable::new(table, provider).node(node).block(at).call().await })
            .await?;
        if record.operator.is_zero() {
            return Ok(None);
        }
        let tariff = |tariff: &IRoutingTable::Tariff| Tariff {
            delivery: tariff.delivery,
            relay: tariff.relay,
            storing: tariff.storing,
        };
        Ok(Some(NodeRecord {
            operator: record.operator,
            retired_at: record.retiredAt,
            sealing_key: (record.sealingKey.x, record.sealingKey.y),
            tariff: tariff(&record.tariff),
            tariff_version: record.tariffVersion,
            next: tariff(&record.next),
            next_from: record.nextFrom,
            endpoint: record.endpoint,
        }))
    }

    /// Agent and nonce of a wallet's route; agent zero when it has none.
    pub(crate) async fn route(&self, wallet: Address) -> Result<(Address, u64), ReaderError> {
        let at = self.at().await?;
        let table = self.deployment.routing_table;
        let route = self
            .ask(|provider| async move { RoutingTable::new(table, provider).route(wallet).block(at).call().await })
            .await?;
        Ok((route.agent, route.nonce))
    }

    pub(crate) async fn lane(&self, payer: Address, payee: Address) -> Result<Lane, ReaderError> {
        let at = self.at().await?;
        let escrow = self.deployment.escrow;
        let read =
            self.ask(|provider| async move {
                PrepaymentEscrow::new(escrow, provider).lane(payer, payee).block(at).call().await
            })
            .await?;
        let deposit = Amount::from(read._0.deposit);
        Ok(Lane { deposit, paid: Amount::from(read._0.paid), thawing: Amount::from(read._1.amount).min(deposit) })
    }

    /// Whether the payer authorises the signer now. A revoked signer stays claimable for the notice period; nobody
    /// should take new vouchers from it.
    pub(crate) async fn authorized(&self, payer: Address, signer: Address) -> Result<bool, ReaderError> {
        let at = self.at().await?;
        let escrow = self.deployment.escrow;
        let delegate = self
            .ask(|provider| async move {
                PrepaymentEscrow::new(escrow, provider).delegate(payer, signer).block(at).call().await
            })
            .await?;
        Ok(delegate.authorized)
    }
}
