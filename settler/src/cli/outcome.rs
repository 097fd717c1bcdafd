//! Exit codes, and printing for people and for programs.

use std::io::Write;
use std::process::ExitCode;

use clap::CommandFactory;
use minus_bindings::ContractRevert;
use serde::Serialize;

use super::arguments::{Arguments, Command};

/// How a command ends other than well.
#[derive(Debug, thiserror::Error)]
pub enum CommandError {
    /// Something did not work.
    #[error("{0:#}")]
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
            return Self::Refused(revert.to_string());
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

/// Runs one command to its exit code.
pub async fn run(arguments: Arguments) -> ExitCode {
    let outcome = match arguments.command {
        Command::Run(command) => command.execute().await,
        Command::Status(command) => super::status::execute(command).await,
        Command::Claim(command) => command.execute().await,
        Command::RegisterNode(command) => command.execute().await,
        Command::RetireNode(command) => command.execute().await,
        Command::Bond(command) => command.execute().await,
        Command::Deploy(command) => command.execute().await,
        Command::NewKey(command) => command.execute(),
        Command::Completions { shell } => {
            clap_complete::generate(shell, &mut Arguments::command(), "settler", &mut std::io::stdout());
            Ok(())
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
/// When nobody reads it.
pub fn say(line: &str) -> Result<(), CommandError> {
    writeln!(std::io::stdout().lock(), "{line}").map_err(|error| CommandError::Failed(error.into()))
}

/// The answer as JSON.
///
/// # Errors
/// When nobody reads it.
pub fn say_json(answer: &impl Serialize) -> Result<(), CommandError> {
    let json = serde_json::to_string_pretty(answer).map_err(|error| CommandError::Failed(error.into()))?;
    say(&json)
}
