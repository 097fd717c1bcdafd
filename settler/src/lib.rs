//! The settler: an operator's service that turns the vouchers which its nodes collect into on-chain claims.
//!
//! A voucher, or a charge that a payer's mandate is to bear, comes in at [`intake`], is judged by [`check`] and
//! recorded in the [`store`]. The [`engine`] looks at the chain, lets [`plan`] choose what is worth claiming;
//! [`claiming`] cuts it into batches that fill blocks, [`simulate`]s them, and hands them to the [`sender`], which
//! stores the signed transactions before it sends them; [`follow`] looks after them until enough blocks are on them.
//! The operator looks on through [`admin`]. Everything is an intent in the log before it is acted on; after a crash the
//! chain decides what happened.
//!
//! - [`config`]: what the settler is told; [`keys`]: opening key files
//! - [`charging`]: charges as the planner sees them; [`debts`]: what is owed to relays, and what covers it;
//!   [`netting`]: what is owed in both directions; [`settling`]: what is done about both; [`exposure`]: who owes too
//!   much; [`explain`]: why each voucher is claimed or waits
//! - [`chain`]: what is asked of the chain; [`fees`]: what to offer for a transaction; [`pace`]: how fast the chain is,
//!   and what follows from it; [`chunks`]: how much goes into one transaction; [`load`]: what those that wait carry
//! - [`api`]: the JSON of both ports; [`reports`], [`earnings`], [`alarms`], [`lane_index`], [`csv`]: what the
//!   operator's page shows; [`metrics`]: what Prometheus sees
//! - [`cli`]: the commands of the binary; [`deploy`]: how one of them deploys a network; [`doctor`]: how one looks for
//!   what is wrong

pub mod admin;
pub mod alarms;
pub mod api;
pub mod chain;
pub mod charging;
pub mod check;
pub mod chunks;
pub mod claiming;
pub mod cli;
pub mod clock;
pub mod config;
pub mod csv;
pub mod debts;
pub mod deploy;
pub mod doctor;
pub mod earnings;
pub mod engine;
pub mod explain;
pub mod exposure;
pub mod fees;
pub mod follow;
pub mod intake;
pub mod keys;
pub mod lane_index;
pub mod load;
pub mod metrics;
pub mod netting;
pub mod pace;
pub mod plan;
mod recent;
pub mod reports;
pub mod retention;
pub mod sender;
pub mod settling;
pub mod simulate;
pub mod store;

use std::future::IntoFuture;
use std::net::SocketAddr;
use std::sync::Arc;

use alloy::primitives::Address;
use alloy::signers::local::PrivateKeySigner;
use tokio::net::TcpListener;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

pub use config::{Config, ConfigError};

/// Why a settler does not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The configuration.
    #[error("configuration: {0}")]
    Config(#[from] ConfigError),
    /// A gas key.
    #[error("gas key: {0}")]
    Key(#[from] keys::KeyError),
    /// The chain.
    #[error("chain: {0}")]
    Chain(#[from] chain::ChainError),
    /// The log.
    #[error("{database}: {source}")]
    Store {
        /// Its URL.
        database: String,
        /// Why.
        source: store::StoreError,
    },
    /// A port.
    #[error("{addr}: {source}")]
    Listen {
        /// Which.
        addr: SocketAddr,
        /// Why.
        source: std::io::Error,
    },
    /// The runtime.
    #[error("{0}")]
    Runtime(#[from] tokio::task::JoinError),
}

/// Why a running settler ended without being told to.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// A port failed.
    #[error("{0}")]
    Serve(#[from] std::io::Error),
    /// A task panicked: a defect.
    #[error("{0}")]
    Panic(#[from] tokio::task::JoinError),
}

/// A running settler. Dropped, it stops where it stands, as in a crash: nothing is lost by that either.
#[derive(Debug)]
pub struct Handle {
    /// Where nodes hand in vouchers.
    pub addr: SocketAddr,
    /// Where the operator looks on.
    pub admin_addr: SocketAddr,
    /// The gas keys' addresses.
    pub gas_keys: Vec<Address>,
    stop: CancellationToken,
    tasks: JoinSet<Result<(), std::io::Error>>,
    store: store::Store,
}

impl Handle {
    /// Ends it in order: no more vouchers, no more transactions, the file closed.
    ///
    /// # Errors
    /// When one of its tasks had failed.
    pub async fn shutdown(self) -> Result<(), RunError> {
        self.stop.cancel();
        self.join().await
    }

    /// Waits for its end, which is a failure unless it was told to.
    ///
    /// # Errors
    /// When one of its tasks failed.
    pub async fn join(mut self) -> Result<(), RunError> {
        let mut outcome = Ok(());
        while let Some(ended) = self.tasks.join_next().await {
            // One task's end is everybody's: half a settler helps nobody.
            self.stop.cancel();
            if outcome.is_ok() {
                outcome = ended.map_err(RunError::from).and_then(|ended| ended.map_err(RunError::from));
            }
        }
        self.store.close().await;
        outcome
    }

    /// Tells it to end, from elsewhere.
    #[must_use]
    pub fn stopper(&self) -> CancellationToken {
        self.stop.clone()
    }
}

impl Drop for Handle {
    /// A connection that a node keeps open must not keep the database from the next settler.
    fn drop(&mut self) {
        self.store.abandon();
    }
}

/// Starts a settler with the gas keys from their key files.
///
/// # Errors
/// When anything it needs is missing; then nothing runs.
pub async fn spawn(config: Config) -> Result<Handle, StartError> {
    let (keystores, password_file) = (config.keystores(), config.gas_password_file.clone());
    let open = move || keystores.iter().map(|keystore| keys::open(keystore, password_file.as_deref())).collect();
    let keys: Result<Vec<_>, _> = tokio::task::spawn_blocking(open).await?;
    spawn_with_keys(config, keys?).await
}

/// Starts a settler with gas keys that are open already.
///
/// # Errors
/// When anything it needs is missing; then nothing runs.
pub async fn spawn_with_keys(config: Config, keys: Vec<PrivateKeySigner>) -> Result<Handle, StartError> {
    let policy = config.policy()?;
    let deployment = config::read_deployment(&config.deployment)?;
    let chain = chain::Chain::connect(&config.rpc_urls, config.quorum(), deployment).await?;
    let store = store::Store::open(&config.database)
        .await
        .map_err(|source| StartError::Store { database: store::open::shown(&config.database), source })?;
    let (intake_listener, addr) = listen(config.listen).await?;
    let (admin_listener, admin_addr) = listen(config.admin_listen).await?;

    let gas_keys: Vec<Address> = keys.iter().map(PrivateKeySigner::address).collect();
    config::check_keys(&gas_keys)?;
    let sender = Arc::new(sender::Sender {
        chain,
        store: store.clone(),
        keys,
        metrics: metrics::Metrics::default(),
        fees: config.fees(&policy),
        confirmations: config.confirmations,
        replace_after_blocks: config.replace_after_blocks,
        inclusions: pace::Inclusions::default(),
    });
    let watch = Arc::new(engine::Watch::default());
    let rhythm = engine::Rhythm { poll_interval: config.poll_interval, lane_refresh: config.lane_refresh };
    let engine = engine::Engine::new(sender.clone(), watch.clone(), policy, rhythm);
    let admin = admin::Admin::new(sender.clone(), watch, &config, policy);
    let intake = intake::Intake::new(sender, config.payees, config.lanes_max, config.lane_refresh);

    let stop = CancellationToken::new();
    let mut tasks = JoinSet::new();
    if !config.retention.is_zero() {
        let swept = retention::run(store.clone(), config.retention, stop.clone());
        tasks.spawn(async move {
            swept.await;
            Ok(())
        });
    }
    let ended = stop.clone();
    tasks.spawn(async move {
        engine.run(ended).await;
        Ok(())
    });
    for (listener, router) in
        [(intake_listener, intake::router(Arc::new(intake))), (admin_listener, admin::router(Arc::new(admin)))]
    {
        let ended = stop.clone().cancelled_owned();
        tasks.spawn(axum::serve(listener, router).with_graceful_shutdown(ended).into_future());
    }
    tracing::info!(%addr, %admin_addr, ?gas_keys, "settler is running");
    Ok(Handle { addr, admin_addr, gas_keys, stop, tasks, store })
}

async fn listen(addr: SocketAddr) -> Result<(TcpListener, SocketAddr), StartError> {
    let bind = async {
        let listener = TcpListener::bind(addr).await?;
        let bound = listener.local_addr()?;
        Ok((listener, bound))
    };
    bind.await.map_err(|source| StartError::Listen { addr, source })
}
