//! `settler run`: the service.

use std::net::SocketAddr;
use std::path::PathBuf;

use alloy::primitives::Address;
use anyhow::{Context, anyhow};
use clap::Args;
use serde::Serialize;
use tokio::signal::unix::{SignalKind, signal};
use url::Url;

use super::arguments::duration_text;
use super::outcome::CommandError;
use crate::chain::ChainError;
use crate::{Config, StartError, spawn};

/// Runs the service.
#[derive(Debug, Args)]
pub struct Run {
    #[command(flatten)]
    settings: Settings,
}

/// Flags go over the environment (`SETTLER_…`), that goes over the file.
#[derive(Debug, Args, Serialize)]
pub(super) struct Settings {
    /// The configuration file, TOML.
    #[arg(long, env = "SETTLER_CONFIG")]
    #[serde(skip)]
    config: Option<PathBuf>,
    /// The deployments file.
    #[arg(long)]
    #[serde(skip_serializing_if = "Option::is_none")]
    deployment: Option<PathBuf>,
    /// An endpoint of the chain; may be repeated.
    #[arg(long = "rpc-url")]
    #[serde(skip_serializing_if = "Vec::is_empty")]
    rpc_urls: Vec<Url>,
    /// Key file of the gas key.
    #[arg(long)]
    #[serde(skip_serializing_if = "Option::is_none")]
    gas_keystore: Option<PathBuf>,
    /// Key file of a further gas key; may be repeated.
    #[arg(long = "further-gas-keystore")]
    #[serde(skip_serializing_if = "Vec::is_empty")]
    gas_keystores: Vec<PathBuf>,
    /// File with their password; else SETTLER_PASSWORD, else the terminal.
    #[arg(long)]
    #[serde(skip_serializing_if = "Option::is_none")]
    gas_password_file: Option<PathBuf>,
    /// The intent log, as in `sqlite:settler.db`.
    #[arg(long)]
    #[serde(skip_serializing_if = "Option::is_none")]
    database: Option<String>,
    /// Where nodes hand in vouchers.
    #[arg(long)]
    #[serde(skip_serializing_if = "Option::is_none")]
    listen: Option<SocketAddr>,
    /// Health, metrics, status and claims.
    #[arg(long)]
    #[serde(skip_serializing_if = "Option::is_none")]
    admin_listen: Option<SocketAddr>,
    /// An operator to collect for; may be repeated.
    #[arg(long = "payee")]
    #[serde(skip_serializing_if = "Vec::is_empty")]
    payees: Vec<Address>,
    /// A claim must be worth this many times its gas.
    #[arg(long)]
    #[serde(skip_serializing_if = "Option::is_none")]
    value_over_gas: Option<u64>,
    /// One native coin in settlement tokens.
    #[arg(long)]
    #[serde(skip_serializing_if = "Option::is_none")]
    native_coin_price: Option<String>,
    /// The most to pay, 10^-9 of the native coin per gas.
    #[arg(long)]
    #[serde(skip_serializing_if = "Option::is_none")]
    fee_cap_gwei: Option<u64>,
    /// Blocks on a claim, its own included, before it counts.
    #[arg(long)]
    #[serde(skip_serializing_if = "Option::is_none")]
    confirmations: Option<u64>,
    /// How often to look at the chain, as in `2s`.
    #[arg(long, value_name = "TIME", value_parser = duration_text)]
    #[serde(skip_serializing_if = "Option::is_none")]
    poll_interval: Option<String>,
}

impl Settings {
    /// All of them together.
    pub(super) fn load(&self) -> Result<Config, CommandError> {
        if let Some(file) = self.config.as_deref().filter(|file| !file.is_file()) {
            return Err(CommandError::Usage(format!("there is no file {}", file.display())));
        }
        Config::load(self.config.as_deref(), self).map_err(|error| CommandError::Usage(error.to_string()))
    }
}

impl Run {
    /// Runs until SIGINT or SIGTERM.
    ///
    /// # Errors
    /// When it does not start, or ends by itself.
    pub async fn execute(self) -> Result<(), CommandError> {
        let config = self.settings.load()?;
        let handle = spawn(config).await.map_err(|error| match error {
            StartError::Config(error) => CommandError::Usage(error.to_string()),
            StartError::Key(error) => error.into(),
            StartError::Chain(error @ ChainError::Unreachable(_)) => CommandError::Unreachable(error.to_string()),
            StartError::Chain(error @ (ChainError::WrongChain { .. } | ChainError::NoContract(_))) => {
                CommandError::Refused(error.to_string())
            }
            StartError::Listen { addr, source } => CommandError::Failed(anyhow!("cannot listen on {addr}: {source}")),
            other => CommandError::Failed(other.into()),
        })?;
        let stop = handle.stopper();
        let mut terminate = signal(SignalKind::terminate()).context("SIGTERM")?;
        tokio::spawn(async move {
            tokio::select! {
                _ = tokio::signal::ctrl_c() => {}
                _ = terminate.recv() => {}
            }
            tracing::info!("told to stop");
            stop.cancel();
        });
        handle.join().await.map_err(|error| CommandError::Failed(error.into()))
    }
}
