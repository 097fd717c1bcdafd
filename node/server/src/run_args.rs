//! The flags of `minus-node run`: one for each setting, so that each layer says only what it was given.

use std::{net::SocketAddr, path::PathBuf, time::Duration};

use clap::Args;
use serde::Serialize;
use url::Url;

/// Every setting of the configuration; a flag wins over `MINUS_NODE_*`, which wins over the file.
#[derive(Args, Serialize)]
pub(crate) struct RunArgs {
    /// TOML file with these settings, `-` written as `_`.
    #[arg(long, env = "MINUS_NODE_CONFIG")]
    #[serde(skip)]
    pub(crate) config: Option<PathBuf>,
    /// The deployments file: which chain, which contracts.
    #[arg(long)]
    #[serde(skip_serializing_if = "Option::is_none")]
    deployment: Option<PathBuf>,
    /// JSON-RPC endpoint; may be given several times.
    #[arg(long = "rpc-url")]
    #[serde(skip_serializing_if = "Vec::is_empty")]
    rpc_urls: Vec<Url>,
    /// The node key, a web3 keystore file.
    #[arg(long)]
    #[serde(skip_serializing_if = "Option::is_none")]
    keystore: Option<PathBuf>,
    /// File with its password; otherwise MINUS_NODE_PASSWORD, otherwise a prompt.
    #[arg(long)]
    #[serde(skip_serializing_if = "Option::is_none")]
    password_file: Option<PathBuf>,
    /// Where the store lives.
    #[arg(long)]
    #[serde(skip_serializing_if = "Option::is_none")]
    data_dir: Option<PathBuf>,
    /// Where packets are accepted [default: 0.0.0.0:8402].
    #[arg(long)]
    #[serde(skip_serializing_if = "Option::is_none")]
    listen: Option<SocketAddr>,
    /// Where health, metrics and meters are answered [default: 127.0.0.1:8403].
    #[arg(long)]
    #[serde(skip_serializing_if = "Option::is_none")]
    admin_listen: Option<SocketAddr>,
    /// The operator's settler.
    #[arg(long)]
    #[serde(skip_serializing_if = "Option::is_none")]
    settler_url: Option<Url>,
    /// Connect to loopback and private addresses too. For development.
    #[arg(long)]
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    allow_private_endpoints: bool,
    /// How long a packet waits for its receiver [default: 7days].
    #[arg(long, value_name = "TIME", value_parser = duration_text)]
    #[serde(skip_serializing_if = "Option::is_none")]
    retention: Option<String>,
    /// Bytes pushed beyond what is acknowledged [default: 8388608].
    #[arg(long)]
    #[serde(skip_serializing_if = "Option::is_none")]
    window_bytes: Option<u64>,
    /// Base units paid to relays in advance for one payer [default: 1000000].
    #[arg(long)]
    #[serde(skip_serializing_if = "Option::is_none")]
    customer_credit: Option<u64>,
    /// Bytes that wait for one payer's wallets at most [default: 1073741824].
    #[arg(long)]
    #[serde(skip_serializing_if = "Option::is_none")]
    customer_quota: Option<u64>,
    /// What an agent may owe this node without a voucher, in base units [default: 1000000].
    #[arg(long)]
    #[serde(skip_serializing_if = "Option::is_none")]
    relay_credit: Option<u64>,
    /// How often a voucher is asked for [default: 10s].
    #[arg(long, value_name = "TIME", value_parser = duration_text)]
    #[serde(skip_serializing_if = "Option::is_none")]
    voucher_interval: Option<String>,
    /// After how many bytes one is asked for at once [default: 67108864].
    #[arg(long)]
    #[serde(skip_serializing_if = "Option::is_none")]
    voucher_bytes: Option<u64>,
    /// How long a payer is silent before its standing mandate is charged [default: 1day].
    #[arg(long, value_name = "TIME", value_parser = duration_text)]
    #[serde(skip_serializing_if = "Option::is_none")]
    mandate_interval: Option<String>,
    /// How often a silent stream gets a sign of life [default: 15s].
    #[arg(long, value_name = "TIME", value_parser = duration_text)]
    #[serde(skip_serializing_if = "Option::is_none")]
    keep_alive: Option<String>,
    /// How often the chain is asked for news [default: 1s].
    #[arg(long, value_name = "TIME", value_parser = duration_text)]
    #[serde(skip_serializing_if = "Option::is_none")]
    poll_interval: Option<String>,
    /// How old the last news may be before 503 is answered [default: 30s].
    #[arg(long, value_name = "TIME", value_parser = duration_text)]
    #[serde(skip_serializing_if = "Option::is_none")]
    view_stale_after: Option<String>,
    /// How deep a block must be before it is believed [default: 0].
    #[arg(long)]
    #[serde(skip_serializing_if = "Option::is_none")]
    confirmations: Option<u64>,
    /// Connections at a time [default: 16384].
    #[arg(long)]
    #[serde(skip_serializing_if = "Option::is_none")]
    connections_max: Option<usize>,
    /// The same from one remote address [default: 8192]; behind a reverse proxy, give it all.
    #[arg(long)]
    #[serde(skip_serializing_if = "Option::is_none")]
    connections_per_address_max: Option<usize>,
    /// How long running requests may take to end after SIGTERM [default: 10s].
    #[arg(long, value_name = "TIME", value_parser = duration_text)]
    #[serde(skip_serializing_if = "Option::is_none")]
    drain_max: Option<String>,
    /// How the log is written: text or json [default: text].
    #[arg(long, value_name = "FORMAT", value_parser = ["text", "json"])]
    #[serde(skip_serializing_if = "Option::is_none")]
    log_format: Option<String>,
}

pub(crate) fn duration(text: &str) -> Result<Duration, String> {
    humantime::parse_duration(text).map_err(|error| format!("{error}; write 10s, 5m or 7days"))
}

/// Checked here, where the flag can be named; read with the rest of the settings.
fn duration_text(text: &str) -> Result<String, String> {
    duration(text).map(|_| text.to_owned())
}
