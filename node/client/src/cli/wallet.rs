//! `minus wallet`: make, list, show and import keys. Needs neither a chain nor a node.

use std::io::Read;
use std::path::{Path, PathBuf};

use clap::{Args, Subcommand};
use serde_json::json;

use super::Context;
use super::output::table;
use crate::error::Error;
use crate::keystore::Secret;

/// Longest key file read.
const KEY_BYTES_MAX: u64 = 1024;

/// Make, list and import wallets.
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  minus wallet new alice\n  minus wallet list\n  minus wallet address alice")]
pub struct WalletArgs {
    #[command(subcommand)]
    command: WalletCommand,
}

#[derive(Debug, Subcommand)]
enum WalletCommand {
    /// Make a new wallet
    #[command(
        after_help = "Examples:\n  minus wallet new alice\n  minus wallet new alice --password-file password.txt --json"
    )]
    New {
        /// What to call it
        name: String,
    },
    /// List all wallets
    #[command(after_help = "Examples:\n  minus wallet list\n  minus wallet list --json")]
    List,
    /// Print a wallet's address
    #[command(after_help = "Examples:\n  minus wallet address alice")]
    Address {
        /// Name of the wallet [default: the only one]
        name: Option<String>,
    },
    /// Import a private key: 64 hex digits, from a file or standard input, never from the command line
    #[command(
        after_help = "Examples:\n  minus wallet import alice --key-file key.hex\n  minus wallet import alice --key-file - < key.hex"
    )]
    Import {
        /// What to call it
        name: String,
        /// File with the key; - for standard input
        #[arg(long, value_name = "FILE")]
        key_file: PathBuf,
    },
}

pub(super) fn run(context: &Context, args: &WalletArgs) -> Result<(), Error> {
    let keystore = context.keystore()?;
    let made = |entry: crate::WalletEntry| {
        context.output.result(&entry, |entry| format!("{}  {}", entry.name, entry.address));
        let path = entry.path.display();
        context.output.remark(&format!("its key is in {path}; without that file and its password it is lost"));
    };
    match &args.command {
        WalletCommand::New { name } => made(keystore.create(name, &context.new_password()?)?),
        WalletCommand::Import { name, key_file } => {
            let key = read_key(key_file)?;
            made(keystore.import_key(name, &key, &context.new_password()?)?);
        }
        WalletCommand::List => {
            let wallets = keystore.list()?;
            context.output.result(&wallets, |wallets| {
                if wallets.is_empty() {
                    return "no wallets yet; make one with `minus wallet new NAME`".to_owned();
                }
                let rows = wallets.iter().map(|wallet| [wallet.name.clone(), wallet.address.to_string()]);
                table(["NAME", "ADDRESS"], rows)
            });
        }
        WalletCommand::Address { name } => {
            let entry = context.wallet(name.as_deref())?;
            let json = json!({ "name": entry.name, "address": entry.address });
            context.output.result(&json, |_| entry.address.to_string());
        }
    }
    Ok(())
}

fn read_key(path: &Path) -> Result<Secret, Error> {
    let file_error = |source| Error::File { path: path.to_owned(), source };
    let mut key = String::new();
    if path == Path::new("-") {
        std::io::stdin().take(KEY_BYTES_MAX).read_to_string(&mut key).map_err(file_error)?;
    } else {
        let file = std::fs::File::open(path).map_err(file_error)?;
        file.take(KEY_BYTES_MAX).read_to_string(&mut key).map_err(file_error)?;
    }
    Ok(Secret::new(key))
}
