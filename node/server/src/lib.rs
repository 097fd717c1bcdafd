//! The Layer Minus node: carries, stores and meters packets. `spawn` is the one place that wires it up.
//!
//! - [`config`] — what an operator may set; [`keys`] — the node key
//! - `http` — the public surface: one POST, told apart by the packet's address
//! - `agent` — what an agent decides (pure); `relay` — what a relay holds against agents
//! - `store` — SQLite or PostgreSQL, one writer; `chain` — the view of routing table and escrow
//! - `charging` — payers that are away; `handover` — vouchers and charges to the settler; `retention` — what expires;
//!   `egress` — connections to strangers
//! - `cores` — the threads that connections are served on
//! - `admin`, `health`, `inspect`, `metrics`, `process`, `totals` — for the operator

mod admin;
mod agent;
mod chain;
mod charging;
mod clock;
pub mod config;
mod cores;
mod egress;
mod handover;
mod health;
mod http;
mod inspect;
pub mod keys;
#[doc(hidden)]
pub mod measure;
mod metrics;
mod node;
mod process;
mod relay;
mod retention;
mod store;
mod totals;

use std::{net::SocketAddr, sync::Arc, time::Duration};

use alloy::primitives::Address;
use minus_bindings::Deployment;
use tokio::{net::TcpListener, task::JoinHandle};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

pub use config::Config;

use crate::{
    chain::{follower::Follower, reader::Reader, view::View},
    cores::Cores,
    egress::Egress,
    http::subscribe::Subscriptions,
    keys::{KeyError, NodeKey, Password},
    metrics::Metrics,
    node::{Node, Parts},
    relay::peers::Peers,
    store::{Store, commands},
};

/// How often samples are sorted into their buckets and idle connections are closed: bounds what is kept of them to as many
/// seconds' worth.
const TIDY_EVERY: Duration = Duration::from_secs(5);

/// Why a node did not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// A file or folder could not be used.
    #[error("{what}: {source}")]
    File {
        /// Which.
        what: String,
        /// Why.
        source: std::io::Error,
    },
    /// The deployments file does not say what it should.
    #[error("deployments file: {0}")]
    Deployment(String),
    /// The node key could not be opened.
    #[error(transparent)]
    Key(#[from] KeyError),
    /// The store could not be opened.
    #[error("store: {0}")]
    Store(String),
    /// A setting makes no sense.
    #[error("{0}")]
    Setting(&'static str),
    /// An RPC endpoint is of another chain.
    #[error("rpc_urls: {0}")]
    Chain(String),
    /// An HTTP client could not be built.
    #[error("HTTP client: {0}")]
    Client(String),
}

/// A running node.
#[derive(Debug)]
pub struct Handle {
    /// Where packets are accepted.
    pub public_addr: SocketAddr,
    /// Where health, metrics and meters are answered.
    pub admin_addr: SocketAddr,
    /// The node's address.
    pub node: Address,
    stop: CancellationToken,
    ended: JoinHandle<()>,
}

impl Handle {
    /// Stops accepting, lets running requests end, commits what is queued, closes the store.
    pub async fn shutdown(self) {
        self.stop.cancel();
        self.join().await;
    }

    /// Asks for the same without waiting.
    pub fn stop(&self) {
        self.stop.cancel();
    }

    /// Waits for the node to end.
    pub async fn join(self) {
        if let Err(error) = self.ended.await {
            tracing::error!(%error, "the node ended badly");
        }
    }
}

/// Starts a node. It runs, and says what it waits for under `/health/ready`, even while the chain cannot be reached.
///
/// # Errors
/// When a file, a key, the store or an address cannot be used.
pub async fn spawn(config: Config) -> Result<Handle, StartError> {
    check(&config)?;
    let file = |what: &std::path::Path| {
        let what = what.display().to_string();
        move |source| StartError::File { what, source }
    };
    let text = std::fs::read_to_string(&config.deployment).map_err(file(&config.deployment))?;
    let deployment = Deployment::from_json(&text).map_err(|error| StartError::Deployment(error.to_string()))?;
    let key = NodeKey::open(&config.keystore, &Password::obtain(config.password_file.as_deref())?)?;
    std::fs::create_dir_all(&config.data_dir).map_err(file(&config.data_dir))?;
    let subscriptions = Arc::<Subscriptions>::default();
    let metrics = Arc::<Metrics>::default();
    let (audience, counted) = (Arc::<Subscriptions>::clone(&subscriptions), Arc::clone(&metrics));
    let (store, writer) = Store::open(&config.data_dir, config.database_url.as_ref(), audience, counted)
        .await
        .map_err(|error| StartError::Store(error.to_string()))?;
    let newest = commands::newest(store.readers()).await.map_err(|error| StartError::Store(error.to_string()))?;
    clock::not_before_s(newest.unwrap_or(0));
    let reader = Reader::new(&config.rpc_urls, deployment, config.confirmations)
        .map_err(|error| StartError::Client(error.to_string()))?;
    reader.refuse_other_chains().await.map_err(|error| StartError::Chain(error.to_string()))?;
    let earned = store::peers::all_earned(store.readers()).await;
    let peers = Peers::new(earned.map_err(|error| StartError::Store(error.to_string()))?);
    let egress = Egress::new(config.allow_private_endpoints).map_err(|error| StartError::Client(error.to_string()))?;
    let listen = |address: SocketAddr| async move {
        TcpListener::bind(address)
            .await
            .and_then(|listener| listener.local_addr().map(|bound| (listener, bound)))
            .map_err(|source| StartError::File { what: format!("listen on {address}"), source })
    };
    let (public, public_addr) = listen(config.listen).await?;
    let (admin, admin_addr) = listen(config.admin_listen).await?;
    let cores = Cores::start().map_err(|source| StartError::File { what: "threads".to_owned(), source })?;

    let view = View::open(store.clone(), reader, config.view_stale_after)
        .await
        .map_err(|error| StartError::Store(error.to_string()))?;
    let stop = CancellationToken::new();
    let node = Arc::new(Node::new(Parts {
        view: Arc::new(view),
        metrics,
        stop: stop.clone(),
        config,
        deployment,
        key,
        store,
        subscriptions,
        egress,
        peers,
    }));
    let address = node.address();
    tracing::info!(node = %address, %public_addr, %admin_addr, "listening");
    let ended = tokio::spawn(run(node, [public, admin], cores, writer));
    Ok(Handle { public_addr, admin_addr, node: address, stop, ended })
}

fn check(config: &Config) -> Result<(), StartError> {
    if config.rpc_urls.is_empty() {
        return Err(StartError::Setting("rpc_urls names no endpoint"));
    }
    if config.retention < Duration::from_secs(1) {
        return Err(StartError::Setting("retention is shorter than a second"));
    }
    if config.connections_max == 0 || config.connections_per_address_max == 0 {
        return Err(StartError::Setting("connections_max and connections_per_address_max are at least 1"));
    }
    if config.keep_alive.is_zero() || config.poll_interval.is_zero() || config.voucher_interval.is_zero() {
        return Err(StartError::Setting("keep_alive, poll_interval and voucher_interval are longer than nothing"));
    }
    Ok(())
}

/// Keeps what nobody asks for from piling up.
async fn tidy(node: Arc<Node>) {
    while node.stop.run_until_cancelled(tokio::time::sleep(TIDY_EVERY)).await.is_some() {
        node.metrics.tidy();
        node.egress.tidy();
    }
}

/// Runs every part until `stop`, then takes them down in the order that loses nothing.
async fn run(node: Arc<Node>, [public, admin]: [TcpListener; 2], cores: Cores, writer: JoinHandle<()>) {
    let parts = TaskTracker::new();
    let connections = TaskTracker::new();
    let follower = Follower::new(Arc::clone(&node.view), Arc::clone(&node.metrics), node.config.poll_interval);
    // The view serves the last requests too.
    let following = CancellationToken::new();
    let follower = tokio::spawn(follower.run(following.clone()));
    parts.spawn(handover::run(Arc::clone(&node)));
    parts.spawn(retention::run(Arc::clone(&node)));
    parts.spawn(charging::run(Arc::clone(&node)));
    parts.spawn(relay::collector::run(Arc::clone(&node)));
    parts.spawn(tidy(Arc::clone(&node)));
    parts.spawn(totals::watch(Arc::clone(&node)));
    parts.spawn(relay::flusher::run(Arc::clone(&node)));
    let watch = tokio::spawn(health::watch(Arc::clone(&node)));
    parts.spawn(http::surface::serve(Arc::clone(&node), public, cores.in_turn(), connections.clone()));
    // The operator sees how the node goes down.
    let watched = CancellationToken::new();
    let operator = tokio::spawn(admin::serve(Arc::clone(&node), admin, cores.in_turn(), watched.clone()));

    node.stop.cancelled().await;
    tracing::info!("draining");
    parts.close();
    connections.close();
    node.tasks.close();
    let drained = async {
        connections.wait().await;
        parts.wait().await;
        node.tasks.wait().await;
    };
    if tokio::time::timeout(node.config.drain_max, drained).await.is_err() {
        tracing::warn!("some requests did not end in time");
    }
    if let Err(error) = relay::flusher::flush(&node).await {
        tracing::error!(%error, "carried bytes could not be written down");
    }
    following.cancel();
    follower.abort();
    watch.abort();
    node.store.close().await;
    let _ = writer.await;
    watched.cancel();
    let _ = operator.await;
    drop(cores);
    tracing::info!("stopped");
}
