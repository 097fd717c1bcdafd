//! Exit codes, and printing for people and for programs.

use std::io::{ErrorKind, Write};
use std::process::ExitCode;

use clap::CommandFactory;
use minus_bindings::revert::{EscrowErrors, TokenErrors};
use minus_bindings::{Amount, ContractRevert};
use serde::Serialize;

use super::arguments::{Arguments, Command};
use crate::deploy::DeployError;
use crate::keys::KeyError;

/// What the keystore library says of a password that is not the right one.
const WRONG_PASSWORD: &str = "Mac Mismatch";

/// How a command ends other than well.
#[derive(Debug, thiserror::Error)]
pub enum CommandError {
    /// Something did not work.
    #[error("{}", whole(.0))]
    Failed(#[from] anyhow::Error),
    /// Wrong usage that the parser cannot see.
    #[error("{0}")]
    Usage(String),
    /// The chain or the settler said no.
    #[error("{0}")]
    Refused(String),
    /// Nobody answers.
    #[error("{0}")]
    Unreachable(String),
}

impl CommandError {
    fn code(&self) -> u8 {
        match self {
            Self::Failed(_) => 1,
            Self::Usage(_) => 2,
            Self::Refused(_) => 3,
            Self::Unreachable(_) => 4,
        }
    }
}

impl From<alloy::contract::Error> for CommandError {
    fn from(error: alloy::contract::Error) -> Self {
        if let Some(revert) = ContractRevert::of(&error) {
            return Self::Refused(explain(&revert));
        }
        match error {
            alloy::contract::Error::TransportError(error) => error.into(),
            other => Self::Failed(other.into()),
        }
    }
}

impl From<alloy::transports::TransportError> for CommandError {
    fn from(error: alloy::transports::TransportError) -> Self {
        match error.as_error_resp() {
            Some(payload) => Self::Refused(format!("the chain refused: {payload}")),
            None => Self::Unreachable(format!("the chain's endpoint does not answer: {error}")),
        }
    }
}

impl From<alloy::providers::PendingTransactionError> for CommandError {
    fn from(error: alloy::providers::PendingTransactionError) -> Self {
        Self::Failed(error.into())
    }
}

impl From<DeployError> for CommandError {
    fn from(error: DeployError) -> Self {
        match error {
            DeployError::Transport(error) => error.into(),
            DeployError::File { .. } | DeployError::NotMined { .. } => Self::Failed(error.into()),
            refused => Self::Refused(refused.to_string()),
        }
    }
}

impl From<KeyError> for CommandError {
    fn from(error: KeyError) -> Self {
        match &error {
            KeyError::NoPassword(_) => Self::Usage(error.to_string()),
            KeyError::Keystore { path, problem } if problem == WRONG_PASSWORD => {
                Self::Failed(anyhow::anyhow!("the password does not open {}", path.display()))
            }
            KeyError::Keystore { path, .. } if !path.exists() => {
                Self::Failed(anyhow::anyhow!("there is no key file {}; `settler new-key` makes one", path.display()))
            }
            _ => Self::Failed(anyhow::anyhow!(error.to_string())),
        }
    }
}

/// The error and its causes, without a cause that has been told already.
fn whole(error: &anyhow::Error) -> String {
    error.chain().fold(String::new(), |told, cause| {
        let cause = cause.to_string();
        match told.is_empty() {
            true => cause,
            false if told.contains(&cause) => told,
            false => format!("{told}: {cause}"),
        }
    })
}

/// The errors an operator can meet, in plain words; any other as the contract names it.
fn explain(revert: &ContractRevert) -> String {
    match revert {
        ContractRevert::Escrow(EscrowErrors::ThawAboveDeposit(error)) => format!(
            "the open balance is {}, fewer tokens than the {} to be taken out",
            Amount::from(error.deposit),
            Amount::from(error.amount)
        ),
        ContractRevert::Escrow(EscrowErrors::NoticeRunning(error)) => {
            format!("the notice runs until unix second {}; withdraw then", error.endsAt)
        }
        ContractRevert::Escrow(EscrowErrors::NothingThawing(_)) => {
            "no notice was given; start one with --thaw AMOUNT".to_owned()
        }
        ContractRevert::Escrow(EscrowErrors::ZeroAmount(_)) => "an amount of zero moves nothing".to_owned(),
        ContractRevert::Token(TokenErrors::ERC20InsufficientBalance(error)) => {
            format!("{} holds {} base units of that token, {} are needed", error.sender, error.balance, error.needed)
        }
        other => other.to_string(),
    }
}

/// Runs one command to its exit code.
pub async fn run(arguments: Arguments) -> ExitCode {
    let outcome = match arguments.command {
        Command::Run(command) => command.execute().await,
        Command::Status(command) => super::status::execute(command).await,
        Command::Claim(command) => command.execute().await,
        Command::Lanes(command) => command.execute().await,
        Command::Debts(command) => command.execute().await,
        Command::Claims(command) => command.execute().await,
        Command::Export(command) => command.execute().await,
        Command::Simulate(command) => command.execute().await,
        Command::Doctor(command) => command.execute().await,
        Command::Backup(command) => super::backup::execute(command).await,
        Command::RegisterNode(command) => command.execute().await,
        Command::RetireNode(command) => command.execute().await,
        Command::Bond(command) => command.execute().await,
        Command::Deploy(command) => command.execute().await,
        Command::NewKey(command) => command.execute(),
        Command::Completions { shell } => {
            let mut script = Vec::new();
            clap_complete::generate(shell, &mut Arguments::command(), "settler", &mut script);
            print(&script)
        }
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            complain(&format!("settler: {error}"));
            ExitCode::from(error.code())
        }
    }
}

/// One line for a person, beside what programs read. A closed pipe is no reason to fail.
pub fn complain(line: &str) {
    let _ = writeln!(std::io::stderr().lock(), "{line}");
}

/// One line of the answer.
///
/// # Errors
/// When it cannot be written; that nobody reads on, as before `head`, is no error.
pub fn say(line: &str) -> Result<(), CommandError> {
    print(format!("{line}\n").as_bytes())
}

fn print(text: &[u8]) -> Result<(), CommandError> {
    let mut stdout = std::io::stdout().lock();
    match stdout.write_all(text).and_then(|()| stdout.flush()) {
        Err(error) if error.kind() != ErrorKind::BrokenPipe => Err(CommandError::Failed(error.into())),
        _ => Ok(()),
    }
}

/// The answer as JSON.
///
/// # Errors
/// When it cannot be written.
pub fn say_json(answer: &impl Serialize) -> Result<(), CommandError> {
    let json = serde_json::to_string_pretty(answer).map_err(|error| CommandError::Failed(error.into()))?;
    say(&json)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cause_is_told_once() {
        let twice = anyhow::anyhow!("no such file").context("password: no such file").context("gas key");

        assert_eq!(CommandError::Failed(twice).to_string(), "gas key: password: no such file");
    }

    #[test]
    fn a_missing_password_is_wrong_usage_and_a_wrong_one_is_named_so() {
        let path = || std::path::PathBuf::from("key.json");
        let wrong = KeyError::Keystore { path: path(), problem: WRONG_PASSWORD.to_owned() };

        assert_eq!(CommandError::from(KeyError::NoPassword(path())).code(), 2);
        assert_eq!(CommandError::from(wrong).to_string(), "the password does not open key.json");
    }
}
