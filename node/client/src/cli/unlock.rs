//! How the command line gets at keys: which wallet is meant, and its password.

use std::io::IsTerminal;

use alloy::signers::local::PrivateKeySigner;
use clap::Args;

use super::Context;
use crate::client::Identity;
use crate::error::Error;
use crate::keystore::{KeystoreError, Secret, WalletEntry};

/// The variable that may hold the wallets' password.
const PASSWORD_VARIABLE: &str = "MINUS_PASSWORD";

/// The wallet of a command that concerns one.
#[derive(Debug, Clone, Args)]
pub struct WalletArg {
    /// Name of the wallet [default: the only one]
    #[arg(long, value_name = "NAME")]
    pub wallet: Option<String>,
}

/// The wallet and payer of a command that concerns both.
#[derive(Debug, Clone, Args)]
pub struct IdentityArgs {
    /// Name of the receiving wallet [default: the only one]
    #[arg(long, value_name = "NAME")]
    pub wallet: Option<String>,
    /// Name of the wallet that pays [default: the receiving wallet]
    #[arg(long, value_name = "NAME")]
    pub payer: Option<String>,
}

impl Context {
    /// The key of a wallet.
    pub fn unlock(&self, name: Option<&str>) -> Result<PrivateKeySigner, Error> {
        let keystore = self.keystore()?;
        let entry = self.wallet(name)?;
        let password = self.password(&format!("Password of wallet {}: ", entry.name))?;
        Ok(keystore.unlock(&entry, &password)?)
    }

    /// A wallet without its key.
    pub fn wallet(&self, name: Option<&str>) -> Result<WalletEntry, Error> {
        self.keystore()?.find(name).map_err(|error| match error {
            KeystoreError::NotNamed { count: 0 } => {
                Error::Usage("there are no wallets yet; make one with `minus wallet new NAME`".to_owned())
            }
            other => other.into(),
        })
    }

    /// The keys of a receiving wallet and of who pays for it.
    pub fn identity(&self, args: &IdentityArgs) -> Result<Identity, Error> {
        let wallet = self.unlock(args.wallet.as_deref())?;
        match &args.payer {
            Some(payer) if self.wallet(Some(payer))?.address != wallet.address() => {
                Ok(Identity::paid_by(wallet, self.unlock(Some(payer))?))
            }
            _ => Ok(Identity::own(wallet)),
        }
    }

    /// A password: from the file, the variable, or the terminal.
    pub fn password(&self, prompt: &str) -> Result<Secret, Error> {
        if let Some(password) = self.given_password()? {
            return Ok(password);
        }
        ask(prompt)
    }

    /// A password for a new wallet: asked for twice when it comes from the terminal.
    pub fn new_password(&self) -> Result<Secret, Error> {
        let password = match self.given_password()? {
            Some(password) => password,
            None => {
                let first = ask("Password for the new wallet: ")?;
                if ask("The same again: ")?.expose() != first.expose() {
                    return Err(Error::Usage("the two passwords differ; nothing was made".to_owned()));
                }
                first
            }
        };
        if password.expose().is_empty() {
            return Err(Error::Usage("an empty password protects nothing; choose one".to_owned()));
        }
        Ok(password)
    }

    fn given_password(&self) -> Result<Option<Secret>, Error> {
        if let Some(path) = &self.global.password_file {
            let text = std::fs::read_to_string(path).map_err(|source| Error::File { path: path.clone(), source })?;
            let text = Secret::new(text);
            return Ok(Some(Secret::new(text.expose().lines().next().unwrap_or_default().to_owned())));
        }
        Ok(std::env::var(PASSWORD_VARIABLE).ok().map(Secret::new))
    }
}

fn ask(prompt: &str) -> Result<Secret, Error> {
    let unasked = || {
        Error::Usage(format!(
            "a wallet's password is needed: --password-file FILE, or {PASSWORD_VARIABLE}, or a terminal"
        ))
    };
    if !std::io::stdin().is_terminal() {
        return Err(unasked());
    }
    rpassword::prompt_password(prompt).map(Secret::new).map_err(|_| unasked())
}
