//! The command line `minus`: arguments in, library calls, lines or JSON out. One file per command, each with what it
//! takes, its examples, and how its answer looks.
//!
//! [`bars`] and [`output`] are how it speaks, [`unlock`] how it gets at keys.

pub mod balance;
pub mod bars;
pub mod completions;
pub mod entrust;
pub mod listen;
pub mod mandate;
pub mod nodes;
pub mod output;
pub mod prepay;
pub mod send;
pub mod statement;
pub mod unlock;
pub mod wallet;
pub mod withdraw;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, Parser, Subcommand};
use url::Url;

use crate::client::{Client, keystore};
use crate::config::{Config, Overrides};
use crate::error::Error;
use crate::keystore::Keystore;
use output::Output;

const AFTER_HELP: &str = "\
Examples:
  minus wallet new alice
  minus prepay --wallet alice --agent 0xA9e7… --from-reserve 10
  minus entrust --wallet alice --agent 0xA9e7…
  minus send --wallet bob 0x7E5F… report.pdf photos.zip
  minus listen --wallet alice --output inbox

Settings come from flags, then MINUS_DEPLOYMENT, MINUS_RPC_URLS, MINUS_DATA_DIR and
MINUS_ALLOW_PRIVATE_ENDPOINTS, then the settings file (TOML, the same names in small letters).
Passwords come from --password-file, then MINUS_PASSWORD, then the terminal.

Exit codes: 0 done, 1 failed, 2 wrong usage, 3 refused by a node or the chain, 4 unreachable";

/// Receive at your wallet's address, send to any other: prepaid, carried by nodes, checked before you sign
#[derive(Debug, Parser)]
#[command(name = "minus", version, after_help = AFTER_HELP, max_term_width = 100, propagate_version = true)]
pub struct Cli {
    /// What concerns every command
    #[command(flatten)]
    pub global: Global,
    /// The command
    #[command(subcommand)]
    pub command: Command,
}

/// Flags of every command.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Global options")]
pub struct Global {
    /// Settings file [default: layer-minus/minus.toml in your configuration directory]
    #[arg(long, global = true, value_name = "FILE", env = "MINUS_CONFIG", hide_env_values = true)]
    pub config: Option<PathBuf>,
    /// Deployments file: which contracts on which chain
    #[arg(long, global = true, value_name = "FILE")]
    pub deployment: Option<PathBuf>,
    /// RPC endpoint of the chain; give it several times to have others in reserve
    #[arg(long = "rpc-url", global = true, value_name = "URL")]
    pub rpc_urls: Vec<Url>,
    /// Wallets and the client's database [default: layer-minus in your data directory]
    #[arg(long, global = true, value_name = "DIR")]
    pub data_dir: Option<PathBuf>,
    /// Connect to nodes at loopback and private addresses too (test networks only)
    #[arg(long, global = true)]
    pub allow_private_endpoints: bool,
    /// Print JSON: amounts as strings of base units (millionths of a token)
    #[arg(long, global = true)]
    pub json: bool,
    /// File with the wallets' password on its first line
    #[arg(long, global = true, value_name = "FILE")]
    pub password_file: Option<PathBuf>,
    /// No progress bars and no remarks, only results and errors
    #[arg(long, short, global = true)]
    pub quiet: bool,
}

/// The commands.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Make, list and import wallets
    Wallet(wallet::WalletArgs),
    /// Put tokens into the lane to an agent's operator
    Prepay(prepay::PrepayArgs),
    /// Give notice, and take tokens out of a lane when it has ended
    Withdraw(withdraw::WithdrawArgs),
    /// Let an agent charge what you owe while you are away
    Mandate(mandate::MandateArgs),
    /// Show what a wallet holds and what is on its lanes
    Balance(balance::BalanceArgs),
    /// Make a node the agent of a wallet
    Entrust(entrust::EntrustArgs),
    /// List the nodes and their prices
    Nodes(nodes::NodesArgs),
    /// Send files or a text to a wallet address
    Send(send::SendArgs),
    /// Receive, check what is charged, and sign for it
    Listen(listen::ListenArgs),
    /// Show both sides of a wallet's account at its agent
    Statement(statement::StatementArgs),
    /// Print a completion script for a shell
    Completions(completions::CompletionsArgs),
}

/// What every command works with.
pub struct Context {
    /// The flags of every command.
    pub global: Global,
    /// How to speak.
    pub output: Output,
}

impl Context {
    /// The settings, from all their places.
    pub fn config(&self) -> Result<Config, Error> {
        let global = &self.global;
        let overrides = Overrides {
            deployment: global.deployment.clone(),
            rpc_urls: global.rpc_urls.clone(),
            data_dir: global.data_dir.clone(),
            allow_private_endpoints: global.allow_private_endpoints.then_some(true),
        };
        Ok(Config::load(global.config.as_deref(), &overrides)?)
    }

    /// The wallets.
    pub fn keystore(&self) -> Result<Keystore, Error> {
        Ok(keystore(&self.config()?.data_dir))
    }

    /// The client, connected.
    pub async fn client(&self) -> Result<Client, Error> {
        Client::open(self.config()?).await
    }
}

/// Parses, runs, and says how it went.
pub fn main() -> ExitCode {
    let cli = Cli::parse();
    start_tracing();
    let context = Context { output: Output::new(cli.global.json, cli.global.quiet), global: cli.global };
    let runtime = match tokio::runtime::Runtime::new() {
        Ok(runtime) => runtime,
        Err(error) => {
            context.output.error(&error.to_string(), crate::ExitCode::Failed);
            return ExitCode::from(crate::ExitCode::Failed.number());
        }
    };
    match runtime.block_on(run(&context, cli.command)) {
        Ok(()) => ExitCode::from(crate::ExitCode::Done.number()),
        Err(error) => {
            let code = error.exit_code();
            context.output.error(&error.to_string(), code);
            ExitCode::from(code.number())
        }
    }
}

async fn run(context: &Context, command: Command) -> Result<(), Error> {
    match command {
        Command::Wallet(args) => wallet::run(context, &args),
        Command::Prepay(args) => prepay::run(context, &args).await,
        Command::Withdraw(args) => withdraw::run(context, &args).await,
        Command::Mandate(args) => mandate::run(context, &args).await,
        Command::Balance(args) => balance::run(context, &args).await,
        Command::Entrust(args) => entrust::run(context, &args).await,
        Command::Nodes(args) => nodes::run(context, &args).await,
        Command::Send(args) => send::run(context, args).await,
        Command::Listen(args) => listen::run(context, &args).await,
        Command::Statement(args) => statement::run(context, &args).await,
        Command::Completions(args) => {
            completions::run(context, &args);
            Ok(())
        }
    }
}

/// Silent unless asked by `RUST_LOG`: what a customer has to know is said by the commands themselves.
fn start_tracing() {
    let filter = tracing_subscriber::EnvFilter::try_from_default_env()
        .unwrap_or_else(|_| tracing_subscriber::EnvFilter::new("off"));
    tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).init();
}
