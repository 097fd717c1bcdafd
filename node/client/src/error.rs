//! Everything an operation of the client can fail with, and what a script is told by it: the exit code.

use std::path::PathBuf;

use crate::assemble::AssembleError;
use crate::chain::ChainError;
use crate::command::CommandFailure;
use crate::config::ConfigError;
use crate::content::ContentError;
use crate::keystore::KeystoreError;
use crate::meter::Objection;
use crate::store::StoreError;
use crate::transport::TransportError;

/// What a program that calls `minus` learns from its exit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ExitCode {
    /// 0: done.
    Done,
    /// 1: something on this machine failed.
    Failed,
    /// 2: the command or the settings are wrong.
    Usage,
    /// 3: a node or the chain said no, or a statement was not agreed with.
    Refused,
    /// 4: a node or the chain cannot be reached.
    Unreachable,
}

impl ExitCode {
    /// The number.
    pub fn number(self) -> u8 {
        match self {
            Self::Done => 0,
            Self::Failed => 1,
            Self::Usage => 2,
            Self::Refused => 3,
            Self::Unreachable => 4,
        }
    }
}

/// Why an operation failed.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The settings.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// The wallets.
    #[error(transparent)]
    Keystore(#[from] KeystoreError),
    /// The client's database.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The chain.
    #[error(transparent)]
    Chain(#[from] ChainError),
    /// The way to a node.
    #[error(transparent)]
    Transport(#[from] TransportError),
    /// A command to a node.
    #[error(transparent)]
    Command(#[from] CommandFailure),
    /// What is to be sent.
    #[error(transparent)]
    Content(#[from] ContentError),
    /// Putting received files in their place.
    #[error(transparent)]
    Assemble(#[from] AssembleError),
    /// A statement that is not what was counted; nothing was signed and nothing is lost.
    #[error(
        "statement {statement} of the agent is not what was counted here, nothing was signed: {objection}; what was \
         received is safe, run `minus statement` to see both sides, and `minus listen --keep-going` to go on receiving"
    )]
    Disagreement {
        /// Its number.
        statement: u64,
        /// What disagrees.
        objection: Objection,
    },
    /// A node or the rules of the system say no.
    #[error("{0}")]
    Refused(String),
    /// The caller asked for something that makes no sense.
    #[error("{0}")]
    Usage(String),
    /// A file of the customer's.
    #[error("{path}: {source}")]
    File {
        /// Which.
        path: PathBuf,
        /// What happened.
        source: std::io::Error,
    },
    /// A key that cannot sign or seal; does not happen with sound keys.
    #[error("sealing a packet failed: {0}")]
    Packet(#[from] minus_protocol::PacketError),
    /// A task of this program died.
    #[error("a part of this program failed: {0}")]
    Task(#[from] tokio::task::JoinError),
}

impl Error {
    /// What a script is told.
    pub fn exit_code(&self) -> ExitCode {
        match self {
            Self::Config(_) | Self::Usage(_) | Self::Content(_) => ExitCode::Usage,
            Self::Keystore(error) => match error {
                KeystoreError::BadName(_)
                | KeystoreError::Unknown(_)
                | KeystoreError::NotNamed { .. }
                | KeystoreError::Exists(_)
                | KeystoreError::BadKey => ExitCode::Usage,
                _ => ExitCode::Failed,
            },
            Self::Chain(ChainError::Unreachable { .. }) => ExitCode::Unreachable,
            Self::Chain(ChainError::Refused(_) | ChainError::Transaction { .. }) => ExitCode::Refused,
            Self::Chain(ChainError::WrongChain { .. } | ChainError::NoContract(_)) => ExitCode::Usage,
            Self::Transport(error) => of_transport(error),
            Self::Command(error) => match error {
                CommandFailure::Transport(error) => of_transport(error),
                CommandFailure::Status(minus_protocol::Status::Unreachable) => ExitCode::Unreachable,
                CommandFailure::Status(_) | CommandFailure::Refused { .. } => ExitCode::Refused,
                CommandFailure::Packet(_) | CommandFailure::Reply(_) | CommandFailure::Unexpected => ExitCode::Failed,
            },
            Self::Disagreement { .. } | Self::Refused(_) => ExitCode::Refused,
            Self::Store(_)
            | Self::Assemble(_)
            | Self::File { .. }
            | Self::Packet(_)
            | Self::Task(_)
            | Self::Chain(ChainError::Nonsense(_)) => ExitCode::Failed,
        }
    }
}

fn of_transport(error: &TransportError) -> ExitCode {
    match error {
        TransportError::Unreachable { .. } | TransportError::Guard(_) => ExitCode::Unreachable,
        TransportError::UnknownStatus { .. } | TransportError::AnswerTooLong { .. } => ExitCode::Refused,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use minus_protocol::{Refusal, Status};

    #[test]
    fn exit_codes_are_what_the_help_says() {
        let unreachable = ChainError::Unreachable { reason: "down".into() };
        let refused = CommandFailure::Refused { reason: Refusal::Unfunded, detail: String::new() };
        for (error, code) in [
            (Error::Usage("no".into()), 2),
            (ConfigError::NoDeployment.into(), 2),
            (KeystoreError::Unknown("x".into()).into(), 2),
            (KeystoreError::Locked("x".into()).into(), 1),
            (unreachable.into(), 4),
            (ChainError::Refused("no".into()).into(), 3),
            (refused.into(), 3),
            (CommandFailure::Status(Status::Unreachable).into(), 4),
            (CommandFailure::Status(Status::Spent).into(), 3),
            (Error::Refused("no".into()), 3),
        ] {
            assert_eq!(error.exit_code().number(), code, "{error}");
        }
    }
}
