//! [`Client`]: one customer's view of one deployment. Opening it reads the settings, opens the database and finds the
//! chain; the operations stand in files of their own.

use std::path::PathBuf;

use alloy::primitives::Address;
use alloy::signers::local::PrivateKeySigner;
use minus_bindings::Deployment;

use crate::chain::{Chain, NodeRecord};
use crate::command::Channel;
use crate::config::{Config, ConfigError};
use crate::error::Error;
use crate::keystore::Keystore;
use crate::store::Store;
use crate::transport::Transport;

/// A customer's access to one deployment.
#[derive(Debug)]
pub struct Client {
    pub(crate) deployment: Deployment,
    pub(crate) chain: Chain,
    pub(crate) store: Store,
    pub(crate) transport: Transport,
    data_dir: PathBuf,
}

/// The keys of one receiving customer: the wallet, and who pays for it.
#[derive(Debug, Clone)]
pub struct Identity {
    /// Receives, and signs commands.
    pub wallet: PrivateKeySigner,
    /// Owns the lane, and signs vouchers. Often the same.
    pub payer: PrivateKeySigner,
}

impl Identity {
    /// A wallet that pays for itself.
    pub fn own(wallet: PrivateKeySigner) -> Self {
        Self { payer: wallet.clone(), wallet }
    }

    /// A wallet that another pays for.
    pub fn paid_by(wallet: PrivateKeySigner, payer: PrivateKeySigner) -> Self {
        Self { wallet, payer }
    }
}

impl Client {
    /// Opens the client: deployments file, database, chain.
    pub async fn open(config: Config) -> Result<Self, Error> {
        let deployment = config.read_deployment()?;
        if config.rpc_urls.is_empty() {
            return Err(ConfigError::NoRpcUrl.into());
        }
        let chain = Chain::connect(&config.rpc_urls, deployment).await?;
        // Vouchers of one deployment mean nothing in another, so each has its own books.
        let name = format!("{}-{}", deployment.chain_id, hex::encode(deployment.escrow));
        let store = Store::open(&config.data_dir.join(name).join("client.sqlite")).await?;
        let transport = Transport::new(config.allow_private_endpoints);
        Ok(Self { deployment, chain, store, transport, data_dir: config.data_dir })
    }

    /// Which contracts.
    pub fn deployment(&self) -> &Deployment {
        &self.deployment
    }

    /// The chain.
    pub fn chain(&self) -> &Chain {
        &self.chain
    }

    /// The client's own books.
    pub fn store(&self) -> &Store {
        &self.store
    }

    /// The wallets in the data directory.
    pub fn keystore(&self) -> Keystore {
        keystore(&self.data_dir)
    }

    /// All nodes, retired ones included.
    pub async fn nodes(&self) -> Result<Vec<NodeRecord>, Error> {
        Ok(self.chain.nodes().await?)
    }

    /// The way to an agent, through `via` when that is another node.
    pub(crate) async fn channel(&self, agent: Address, via: Option<Address>) -> Result<Channel, Error> {
        let agent = self.chain.node(agent).await?;
        let via = match via {
            Some(via) if via != agent.address => Some(self.live_node(via).await?),
            _ => None,
        };
        Ok(Channel { agent, via })
    }

    /// A node that still serves.
    pub(crate) async fn live_node(&self, address: Address) -> Result<NodeRecord, Error> {
        let node = self.chain.node(address).await?;
        if !node.is_live() {
            return Err(Error::Refused(format!("node {address} is retired; `minus nodes` shows those that serve")));
        }
        Ok(node)
    }

    /// Closes the database. Dropping the client does so too, a little later.
    pub async fn close(self) {
        self.store.close().await;
    }
}

/// The wallets of a data directory.
pub fn keystore(data_dir: &std::path::Path) -> Keystore {
    Keystore::new(data_dir.join("wallets"))
}
