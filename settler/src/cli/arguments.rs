//! What the command line looks like.

use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Parser, Subcommand};
use clap_complete::Shell;
use url::Url;

use super::{
    backup, bond, claim, claims, debts, deploy, doctor, export, lanes, new_key, register_node, retire_node, run,
    simulate,
};

const AFTER_HELP: &str = "\
Examples:
  settler new-key gas-key.json
  settler doctor --config settler.toml
  settler run --config settler.toml
  settler status
  settler lanes --sort time-left --limit 10
  settler claim --now

Settings of `run` come from flags, then SETTLER_<SETTING>, then the file; a list in a variable is written
SETTLER_RPC_URLS='[\"http://127.0.0.1:8545\"]'. Passwords come from a password file, then SETTLER_PASSWORD,
then the terminal. SETTLER_LOG sets what is logged, as in `debug`.

Exit codes: 0 done, 1 failed, 2 wrong usage, 3 refused by the chain or the settler, 4 nobody answers";

/// Turns the vouchers that an operator's nodes collect into on-chain claims.
#[derive(Debug, Parser)]
#[command(
    name = "settler",
    version,
    max_term_width = 100,
    after_help = AFTER_HELP
)]
pub struct Arguments {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

impl Arguments {
    /// What is logged unless `SETTLER_LOG` says otherwise: the service tells what it does, a command only complaints.
    #[must_use]
    pub fn log_default(&self) -> &'static str {
        if matches!(self.command, Command::Run(_)) { "info" } else { "warn" }
    }
}

/// The commands.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Take vouchers in and claim them, until told to stop.
    #[command(after_help = "Example:\n  settler run --config settler.toml")]
    Run(Box<run::Run>),
    /// Show what a running settler has and does.
    #[command(after_help = "Example:\n  settler status --json | jq .summary")]
    Status(Running),
    /// Claim everything that can be claimed and wait until it is confirmed.
    #[command(after_help = "Example:\n  settler claim --now --timeout 5m")]
    Claim(claim::Claim),
    /// List the lanes whose vouchers the chain has not paid yet.
    #[command(after_help = "Examples:\n  settler lanes --sort time-left --limit 10\n  \
                      settler lanes --payer 0x12ab --json | jq '.lanes[].exposure'")]
    Lanes(lanes::Lanes),
    /// List what the operators owe relays, and whether their escrow covers it.
    #[command(after_help = "Examples:\n  settler debts\n  settler debts --json | jq '.operators[].uncovered'")]
    Debts(debts::Debts),
    /// List the transactions that claim, the latest first.
    #[command(after_help = "Examples:\n  settler claims --since 7days\n  settler claims --state reverted --json")]
    Claims(claims::Claims),
    /// Write all lanes, claims or earnings to a file.
    #[command(after_help = "Examples:\n  settler export --what claims --format csv --out claims.csv\n  \
                      settler export --what lanes --format json | jq length\n\n\
                      Amounts are token base units (10^-6 tokens), fees wei, times unix seconds. The file appears\n\
                      when it is whole; before, nothing of that name is touched.")]
    Export(export::Export),
    /// Explain what a running settler would claim now, and why the rest waits. Sends nothing.
    #[command(after_help = "Examples:\n  settler simulate --limit 50\n  \
                      settler simulate --payer 0x… --json | jq '.explanations[0]'")]
    Simulate(simulate::Simulate),
    /// Check everything that `run` needs, and say what to do about what is wrong.
    #[command(after_help = "Example:\n  settler doctor --config settler.toml\n\n\
                      Takes the settings of `run`. Changes nothing. Ends with 1 when something is wrong.")]
    Doctor(Box<doctor::Doctor>),
    /// Copy the log of a running settler into a file, to be started from when the log is lost.
    #[command(after_help = "Example:\n  settler backup settler-backup.db --database sqlite:settler.db\n\n\
                      To restore, put the copy where `database` points and start the settler: the chain says\n\
                      what was paid since, and nodes hand in again what they have. A PostgreSQL database is\n\
                      copied with pg_dump and restored with pg_restore.")]
    Backup(backup::Backup),
    /// Bond, authorise and register a node; steps that are done already are skipped.
    #[command(after_help = "Example:\n  minus-node consent --operator 0x… > consent.json\n  \
                      settler register-node --operator-keystore operator.json --consent consent.json \\\n    \
                      --endpoint https://node.example.org --delivery 0.10 --relay 0.05 --storage 0.02")]
    RegisterNode(Box<register_node::RegisterNode>),
    /// Retire a node for ever.
    #[command(after_help = "Example:\n  settler retire-node 0x… --operator-keystore operator.json")]
    RetireNode(retire_node::RetireNode),
    /// Show the operator's open balance, add to it, or take from it.
    #[command(after_help = "Examples:\n  settler bond --operator-keystore operator.json\n  \
                      settler bond 25 --from-reserve --operator-keystore operator.json")]
    Bond(bond::Bond),
    /// Deploy the three contracts and write the deployments file; what stands already is compared and kept.
    #[command(after_help = "Examples:\n  settler deploy --reserve 0x… --dry-run\n  \
                      settler deploy --reserve 0x… --keystore key.json --rpc-url https://rpc.example.org --chain-id 10\n  \
                      settler deploy --reserve 0x… --verification-input explorer\n\n\
                      The second, repeated, sends nothing and prints the same. Every contract is created by\n\
                      CREATE2 through the usual deterministic deployer, with a fixed salt: the same reserve\n\
                      address gives the same addresses on every chain, and another reserve gives others. The\n\
                      file's block is the first that ended with one of the contracts standing, or 0 when the\n\
                      endpoint does not remember it.")]
    Deploy(deploy::Deploy),
    /// Make an encrypted key file, for a gas key or an operator.
    #[command(after_help = "Example:\n  settler new-key gas-key.json --password-file gas-password")]
    NewKey(new_key::NewKey),
    /// Print the completions of a shell.
    #[command(after_help = "Example:\n  settler completions bash > /etc/bash_completion.d/settler")]
    Completions {
        /// Which shell.
        shell: Shell,
    },
}

/// A length of time, as in `5m`.
///
/// # Errors
/// When it is none; the text says how to write one.
pub(super) fn duration(text: &str) -> Result<Duration, String> {
    humantime::parse_duration(text).map_err(|error| format!("{error}; write 10s, 5m or 7days"))
}

/// Checked here, where the flag can be named; read with the rest of the settings.
pub(super) fn duration_text(text: &str) -> Result<String, String> {
    duration(text).map(|_| text.to_owned())
}

/// How to reach a running settler.
#[derive(Debug, Args)]
pub struct Running {
    /// The settler's admin address.
    #[arg(long, env = "SETTLER_URL", default_value = "http://127.0.0.1:7301")]
    pub url: Url,
    /// Print JSON.
    #[arg(long)]
    pub json: bool,
}

/// Who signs, and for which network.
#[derive(Debug, Args)]
pub struct OperatorArguments {
    /// The deployments file.
    #[arg(long, env = "SETTLER_DEPLOYMENT", default_value = "deployment.json")]
    pub deployment: PathBuf,
    /// An endpoint of the chain.
    #[arg(long, env = "SETTLER_RPC_URL", default_value = "http://127.0.0.1:8545")]
    pub rpc_url: Url,
    /// The operator's key file.
    #[arg(long, env = "SETTLER_OPERATOR_KEYSTORE")]
    pub operator_keystore: PathBuf,
    /// File with its password; else SETTLER_PASSWORD, else the terminal.
    #[arg(long, env = "SETTLER_OPERATOR_PASSWORD_FILE")]
    pub operator_password_file: Option<PathBuf>,
    /// Print JSON.
    #[arg(long)]
    pub json: bool,
}
