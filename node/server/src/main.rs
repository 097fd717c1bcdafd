//! `minus-node`: reads flags, environment and file, starts tracing, and runs.

use std::{
    io::IsTerminal,
    net::SocketAddr,
    path::{Path, PathBuf},
    time::Duration,
};

use alloy::primitives::Address;
use anyhow::Context;
use clap::{Args, CommandFactory, Parser, Subcommand};
use clap_complete::Shell;
use figment::{
    Figment,
    providers::{Env, Format, Serialized, Toml},
};
use minus_bindings::Deployment;
use minus_node::{
    Config,
    keys::{self, Password},
};
use serde::{Deserialize, Serialize};
use url::Url;

/// Carries packets to wallet addresses, stores them while the wallet is offline, and is paid per byte.
#[derive(Parser)]
#[command(name = "minus-node", version, arg_required_else_help = true)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Run the node until SIGTERM or Ctrl-C.
    #[command(after_help = "Example:\n  minus-node run --config node.toml\n  \
        MINUS_NODE_PASSWORD=… minus-node run --deployment dev.json --rpc-url http://127.0.0.1:8545 \\\n    \
        --keystore node.key --data-dir data --allow-private-endpoints")]
    Run(Box<RunArgs>),
    /// Make a node key and write it, encrypted.
    #[command(after_help = "Example:\n  minus-node init --keystore node.key --password-file password")]
    Init(KeyArgs),
    /// Print the node's address and sealing key.
    #[command(after_help = "Example:\n  minus-node address --config node.toml --json")]
    Address(KeyArgs),
    /// Sign the node's consent to be registered by an operator; prints the JSON that `settler register-node` takes.
    #[command(after_help = "Example:\n  minus-node consent --config node.toml \\\n    \
        --operator 0x70997970C51812dc3A010C7d01b50e0d17dc79C8 > consent.json")]
    Consent {
        #[command(flatten)]
        key: KeyArgs,
        /// The deployments file.
        #[arg(long)]
        deployment: Option<PathBuf>,
        /// For whom the node works.
        #[arg(long)]
        operator: Address,
        /// How long the consent may be used.
        #[arg(long, default_value = "1day", value_parser = duration)]
        valid_for: Duration,
    },
    /// Print a completion script.
    Completions {
        /// For which shell.
        shell: Shell,
    },
}

/// Which key. A flag wins over `MINUS_NODE_*`, which wins over the file.
#[derive(Args, Serialize)]
struct KeyArgs {
    /// TOML file with the settings of `run`, of which key, password file and deployment are taken.
    #[arg(long, env = "MINUS_NODE_CONFIG")]
    #[serde(skip)]
    config: Option<PathBuf>,
    /// The node key, a web3 keystore file.
    #[arg(long)]
    #[serde(skip_serializing_if = "Option::is_none")]
    keystore: Option<PathBuf>,
    /// File with its password; otherwise MINUS_NODE_PASSWORD, otherwise a prompt.
    #[arg(long)]
    #[serde(skip_serializing_if = "Option::is_none")]
    password_file: Option<PathBuf>,
    /// Print JSON.
    #[arg(long)]
    #[serde(skip)]
    json: bool,
}

/// The settings that `init`, `address` and `consent` need.
#[derive(Deserialize)]
struct KeySettings {
    keystore: PathBuf,
    #[serde(default)]
    password_file: Option<PathBuf>,
    #[serde(default)]
    deployment: Option<PathBuf>,
}

impl KeyArgs {
    fn settings(&self) -> anyhow::Result<(KeySettings, Password)> {
        let settings: KeySettings =
            sources(self.config.as_deref()).merge(Serialized::defaults(self)).extract().context("configuration")?;
        let password = Password::obtain(settings.password_file.as_deref())?;
        Ok((settings, password))
    }
}

/// File and environment. The password is no setting: it is read where it is used and stays out of every value that can
/// be printed.
fn sources(file: Option<&Path>) -> Figment {
    let figment = file.map_or_else(Figment::new, |file| Figment::from(Toml::file_exact(file)));
    figment.merge(Env::prefixed("MINUS_NODE_").ignore(&["password", "log", "config"]))
}

/// Every setting of the configuration; a flag wins over `MINUS_NODE_*`, which wins over the file.
#[derive(Args, Serialize)]
struct RunArgs {
    /// TOML file with these settings, `-` written as `_`.
    #[arg(long, env = "MINUS_NODE_CONFIG")]
    #[serde(skip)]
    config: Option<PathBuf>,
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
    #[arg(long)]
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
    /// What an agent may owe this node without a voucher, in base units [default: 1000000].
    #[arg(long)]
    #[serde(skip_serializing_if = "Option::is_none")]
    relay_credit: Option<u64>,
    /// How often a voucher is asked for [default: 10s].
    #[arg(long)]
    #[serde(skip_serializing_if = "Option::is_none")]
    voucher_interval: Option<String>,
    /// After how many bytes one is asked for at once [default: 67108864].
    #[arg(long)]
    #[serde(skip_serializing_if = "Option::is_none")]
    voucher_bytes: Option<u64>,
    /// How often a silent stream gets a sign of life [default: 15s].
    #[arg(long)]
    #[serde(skip_serializing_if = "Option::is_none")]
    keep_alive: Option<String>,
    /// How often the chain is asked for news [default: 1s].
    #[arg(long)]
    #[serde(skip_serializing_if = "Option::is_none")]
    poll_interval: Option<String>,
    /// How old the last news may be before 503 is answered [default: 30s].
    #[arg(long)]
    #[serde(skip_serializing_if = "Option::is_none")]
    view_stale_after: Option<String>,
    /// How deep a block must be before it is believed [default: 0].
    #[arg(long)]
    #[serde(skip_serializing_if = "Option::is_none")]
    confirmations: Option<u64>,
}

impl RunArgs {
    fn config(&self) -> anyhow::Result<Config> {
        sources(self.config.as_deref()).merge(Serialized::defaults(self)).extract().context("configuration")
    }
}

fn duration(text: &str) -> Result<Duration, String> {
    humantime::parse_duration(text).map_err(|error| error.to_string())
}

fn main() -> anyhow::Result<()> {
    let cli = Cli::parse();
    match cli.command {
        Command::Run(args) => run(args.config()?),
        Command::Init(key) => {
            let (settings, password) = key.settings()?;
            print_keys(&keys::create(&settings.keystore, &password)?, key.json)
        }
        Command::Address(key) => {
            let (settings, password) = key.settings()?;
            print_keys(&keys::show(&settings.keystore, &password)?, key.json)
        }
        Command::Consent { key, deployment, operator, valid_for } => {
            let (settings, password) = key.settings()?;
            let deployment = deployment.or(settings.deployment).context("no deployments file is given")?;
            let text = std::fs::read_to_string(&deployment).with_context(|| deployment.display().to_string())?;
            let deployment = Deployment::from_json(&text)?;
            let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH)?;
            let valid_until = now.saturating_add(valid_for).as_secs();
            let consent = keys::consent(&settings.keystore, &password, &deployment, operator, valid_until)?;
            println!("{}", serde_json::to_string_pretty(&consent)?);
            Ok(())
        }
        Command::Completions { shell } => {
            clap_complete::generate(shell, &mut Cli::command(), "minus-node", &mut std::io::stdout());
            Ok(())
        }
    }
}

fn print_keys(keys: &keys::PublicKeys, json: bool) -> anyhow::Result<()> {
    if json {
        println!("{}", serde_json::to_string_pretty(keys)?);
    } else {
        println!("node          {}", keys.node);
        println!("sealing key x {:#066x}", keys.sealing_key_x);
        println!("sealing key y {:#066x}", keys.sealing_key_y);
    }
    Ok(())
}

fn run(config: Config) -> anyhow::Result<()> {
    let filter = tracing_subscriber::EnvFilter::try_from_env("MINUS_NODE_LOG")
        .unwrap_or_else(|_| tracing_subscriber::EnvFilter::new("info,sqlx=warn,hyper=warn,reqwest=warn"));
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .with_ansi(std::io::stderr().is_terminal())
        .init();
    tokio::runtime::Builder::new_multi_thread().enable_all().build()?.block_on(async {
        let node = minus_node::spawn(config).await?;
        let mut terminated = tokio::signal::unix::signal(tokio::signal::unix::SignalKind::terminate())?;
        tokio::select! {
            _ = terminated.recv() => {}
            interrupted = tokio::signal::ctrl_c() => interrupted?,
        }
        node.shutdown().await;
        Ok(())
    })
}
