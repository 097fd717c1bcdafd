//! Reads the chain's records from endpoints. All reads are made at a block named by its hash, so that no answer can be
//! older than what is asked for.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::Duration,
};

use alloy::{
    primitives::{Address, B256, U256},
    rpc::types::Log,
    sol_types::SolCall,
};
use minus_bindings::{
    Amount, Deployment, IRoutingTable,
    PrepaymentEscrow::{delegateCall, laneCall, mandateCall},
    RoutingTable::{nodeCall, nodeCountCall, routeCall},
};
use url::Url;

use super::{
    NodeRecord,
    check::Misfit,
    events::{self, Key},
    rpc::{self, Header, Rpc, RpcError},
    tables::Record,
};
use crate::agent::lane::Lane;

/// How long one is waited for that is only asked for its head.
const HEAD_WAIT: Duration = Duration::from_secs(2);

/// Why the chain could not be read. Retryable.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum ReaderError {
    /// The endpoint gave no answer, or none that can be.
    #[error(transparent)]
    Rpc(#[from] RpcError),
    /// The chain at the endpoint is another one.
    #[error("the endpoint's chain is {given}, the deployment's is {expected}")]
    WrongChain {
        /// What the endpoint says.
        given: u64,
        /// What the deployments file says.
        expected: u64,
    },
    /// Its head is below what the view contains.
    #[error("the endpoint is behind: at block {given}, the view is at {known}")]
    Behind {
        /// What the endpoint says.
        given: u64,
        /// Where the view is.
        known: u64,
    },
    /// Its answers do not fit together.
    #[error(transparent)]
    Misfit(#[from] Misfit),
    /// Nothing can be read before the chain was seen once.
    #[error("the chain was not followed yet")]
    NotFollowed,
}

impl ReaderError {
    /// What is the matter with the endpoint, if anything.
    pub(crate) const fn flaw(&self) -> Option<Flaw> {
        match self {
            Self::Rpc(RpcError::Unreachable(_)) => Some(Flaw::Unreachable),
            Self::Rpc(RpcError::Refused(_)) => Some(Flaw::Refusing),
            Self::Rpc(RpcError::TooLong) => Some(Flaw::TooLong),
            Self::Rpc(RpcError::Nonsense(_)) => Some(Flaw::Nonsense),
            Self::WrongChain { .. } => Some(Flaw::WrongChain),
            Self::Behind { .. } => Some(Flaw::Behind),
            Self::Misfit(_) => Some(Flaw::Misfit),
            Self::NotFollowed => None,
        }
    }
}

/// Why an endpoint is passed over, for those who watch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Flaw {
    Unreachable,
    Refusing,
    TooLong,
    Nonsense,
    WrongChain,
    Behind,
    Misfit,
}

impl Flaw {
    pub(crate) const ALL: [Self; 7] = [
        Self::Unreachable,
        Self::Refusing,
        Self::TooLong,
        Self::Nonsense,
        Self::WrongChain,
        Self::Behind,
        Self::Misfit,
    ];

    pub(crate) const fn word(self) -> &'static str {
        match self {
            Self::Unreachable => "unreachable",
            Self::Refusing => "refusing",
            Self::TooLong => "too_long",
            Self::Nonsense => "nonsense",
            Self::WrongChain => "wrong_chain",
            Self::Behind => "behind",
            Self::Misfit => "misfit",
        }
    }
}

/// All endpoints. The one that served last is asked first, the others in turn.
#[derive(Debug)]
pub(crate) struct Reader {
    endpoints: Vec<Endpoint>,
    first: AtomicUsize,
    deployment: Deployment,
}

/// One endpoint, and what is read there.
#[derive(Debug)]
pub(crate) struct Endpoint {
    rpc: Rpc,
    confirmations: u64,
    deployment: Deployment,
    /// It said the right chain id since it last failed.
    right_chain: AtomicBool,
}

impl Reader {
    pub(crate) fn new(urls: &[Url], deployment: Deployment, confirmations: u64) -> Result<Self, ReaderError> {
        let client = rpc::client()?;
        let endpoints = urls
            .iter()
            .map(|url| Endpoint {
                rpc: Rpc::new(client.clone(), url.clone()),
                confirmations,
                deployment,
                right_chain: AtomicBool::new(false),
            })
            .collect();
        Ok(Self { endpoints, first: AtomicUsize::new(0), deployment })
    }

    pub(crate) const fn deployment(&self) -> &Deployment {
        &self.deployment
    }

    /// Refuses a configuration that names an endpoint of another chain. One that does not answer passes: it is asked
    /// again before it is used.
    pub(crate) async fn refuse_other_chains(&self) -> Result<(), ReaderError> {
        let answers = futures_util::future::join_all(self.endpoints.iter().map(Endpoint::check_chain)).await;
        answers.into_iter().find(|answer| matches!(answer, Err(ReaderError::WrongChain { .. }))).unwrap_or(Ok(()))
    }

    /// The endpoints in the order in which they are to be asked, with their places.
    pub(super) fn in_turn(&self) -> impl Iterator<Item = (usize, &Endpoint)> {
        let first = self.first.load(Ordering::Relaxed);
        let count = self.endpoints.len();
        (0..count).map(move |offset| (first + offset) % count).map(|place| (place, &self.endpoints[place]))
    }

    /// Asks this one first from now on.
    pub(super) fn prefer(&self, place: usize) {
        self.first.store(place, Ordering::Relaxed);
    }

    /// Asks all for their heads, and from now on first one that is ahead of the others and of `block`, if there is any.
    pub(super) async fn prefer_one_ahead_of(&self, block: u64) {
        let heads = self.endpoints.iter().map(|endpoint| async {
            let head = async {
                endpoint.ensure_right_chain().await?;
                endpoint.head().await
            };
            tokio::time::timeout(HEAD_WAIT, head).await.ok()?.ok()
        });
        let heads = futures_util::future::join_all(heads).await;
        let ahead = heads.into_iter().enumerate().filter(|(_, head)| head.is_some_and(|head| head > block));
        if let Some((place, _)) = ahead.max_by_key(|(_, head)| *head) {
            self.prefer(place);
        }
    }

    /// Reads a record as it was after a block, at one endpoint after the other until one answers.
    pub(super) async fn read(&self, key: Key, at: B256) -> Result<Record, ReaderError> {
        let mut last = ReaderError::NotFollowed;
        for (_, endpoint) in self.in_turn() {
            let answer = async {
                endpoint.ensure_right_chain().await?;
                endpoint.read(key, at).await
            };
            match answer.await {
                Ok(record) => return Ok(record),
                Err(error) => last = endpoint.failed(error),
            }
        }
        Err(last)
    }
}

impl Endpoint {
    /// Takes note of a failure: whatever stands behind the address may be another machine next time.
    pub(super) fn failed(&self, error: ReaderError) -> ReaderError {
        self.right_chain.store(false, Ordering::Relaxed);
        error
    }

    pub(super) async fn ensure_right_chain(&self) -> Result<(), ReaderError> {
        if self.right_chain.load(Ordering::Relaxed) { Ok(()) } else { self.check_chain().await }
    }

    pub(super) async fn check_chain(&self) -> Result<(), ReaderError> {
        let (given, expected) = (self.rpc.chain_id().await?, self.deployment.chain_id);
        self.right_chain.store(given == expected, Ordering::Relaxed);
        if given == expected { Ok(()) } else { Err(ReaderError::WrongChain { given, expected }) }
    }

    /// The newest block that is deep enough to be believed.
    pub(super) async fn head(&self) -> Result<u64, ReaderError> {
        Ok(self.rpc.block_number().await?.saturating_sub(self.confirmations))
    }

    /// None if it has no block at that height.
    pub(super) async fn header(&self, number: u64) -> Result<Option<Header>, ReaderError> {
        Ok(self.rpc.header(number).await?)
    }

    /// What escrow and routing table said in these blocks.
    pub(super) async fn logs(&self, from: u64, to: u64) -> Result<Vec<Log>, RpcError> {
        self.rpc.logs([self.deployment.escrow, self.deployment.routing_table], from, to).await
    }

    async fn call<C: SolCall>(&self, contract: Address, call: C, at: B256) -> Result<C::Return, ReaderError> {
        let answer = self.rpc.call(contract, call.abi_encode(), at).await?;
        let nonsense = RpcError::Nonsense("what was called is not the contract of the deployment");
        // Not validated further: an endpoint's name need not be UTF-8, and must not stop anything.
        C::abi_decode_returns(&answer).map_err(|_| nonsense.into())
    }

    /// A record as it was after a block.
    pub(super) async fn read(&self, key: Key, at: B256) -> Result<Record, ReaderError> {
        let (escrow, table) = (self.deployment.escrow, self.deployment.routing_table);
        Ok(match key {
            Key::Node(node) => Record::Node(node, node_record(self.call(table, nodeCall { node_: node }, at).await?)),
            Key::Route(wallet) => Record::Route(wallet, self.call(table, routeCall { wallet }, at).await?.agent),
            Key::Lane(payer, payee) => {
                let read = self.call(escrow, laneCall { payer, payee }, at).await?;
                let deposit = Amount::from(read._0.deposit);
                let thawing = Amount::from(read._1.amount).min(deposit);
                Record::Lane(payer, payee, Lane { deposit, paid: Amount::from(read._0.paid), thawing })
            }
            Key::Mandate(payer, payee) => {
                Record::Mandate(payer, payee, self.call(escrow, mandateCall { payer, payee }, at).await?._0)
            }
            // A revoked signer stays claimable for the notice period; nobody should take new vouchers from it.
            Key::Delegate(payer, signer) => {
                let delegate = self.call(escrow, delegateCall { payer, signer }, at).await?;
                Record::Delegate(payer, signer, delegate.authorized)
            }
        })
    }

    /// How many nodes were ever registered.
    pub(super) async fn node_count(&self, at: B256) -> Result<U256, ReaderError> {
        self.call(self.deployment.routing_table, nodeCountCall {}, at).await
    }
}

fn node_record(node: IRoutingTable::Node) -> Option<Arc<NodeRecord>> {
    let record = || NodeRecord {
        operator: node.operator,
        retired_at: node.retiredAt,
        sealing_key: (node.sealingKey.x, node.sealingKey.y),
        tariff: events::tariff(&node.tariff),
        tariff_version: node.tariffVersion,
        next: events::tariff(&node.next),
        next_from: node.nextFrom,
        endpoint: node.endpoint.clone(),
    };
    (!node.operator.is_zero()).then(|| Arc::new(record()))
}
