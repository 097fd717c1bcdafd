//! What the library tells its caller while it works: progress of long operations, and what a listener received.
//! The command line turns these into bars and lines; an application takes them as they are.

use std::path::PathBuf;
use std::sync::Arc;

use alloy::primitives::{Address, B256};
use minus_bindings::Amount;
use serde::Serialize;

/// Progress of `send`, `prepay`, `withdraw` and `entrust`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Progress {
    /// A step of several begins.
    Step(String),
    /// A transaction was sent and is awaited.
    Transaction(B256),
    /// A sending begins.
    Sending {
        /// Packets in all.
        packets: u64,
        /// Bytes of content in all.
        bytes: u64,
    },
    /// A packet is stored at the agent.
    Stored {
        /// Bytes of content in it.
        bytes: u64,
    },
    /// Something failed and is tried again.
    Retrying {
        /// What happened.
        reason: String,
    },
}

/// Takes progress. Called from the task that works: it must return quickly.
pub type ProgressSink = Arc<dyn Fn(Progress) + Send + Sync>;

/// A sink that takes no notice.
pub fn silent() -> ProgressSink {
    Arc::new(|_| {})
}

/// What happens while listening. Serialised, each is one JSON line: `{"event":"file",…}`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(tag = "event", rename_all = "snake_case")]
pub enum ListenEvent {
    /// The stream stands.
    Connected {
        /// The agent node.
        agent: Address,
        /// The access node it runs through; the agent itself when there is none.
        via: Address,
        /// Where it resumes: the last message this client holds.
        resume_after: u64,
    },
    /// Messages are durable here.
    Received {
        /// How many came in this batch.
        messages: u64,
        /// Their packets' bytes.
        bytes: u64,
    },
    /// A text arrived.
    Text {
        /// The sender's id for it.
        id: String,
        /// Who sent it, proven by signature.
        sender: Address,
        /// When, by the sender's clock.
        sent_at_ms: u64,
        /// The text.
        text: String,
    },
    /// A file is whole, checked and in its place.
    File {
        /// Where.
        path: PathBuf,
        /// Hex.
        sha256: String,
        /// Bytes.
        size: u64,
        /// Who sent it, proven by signature.
        sender: Address,
        /// The sender's id for it, hex.
        file_id: String,
    },
    /// A message was paid for but is of no use.
    Discarded {
        /// Its sequence number; absent for a file whose bytes are not what its sender said.
        #[serde(skip_serializing_if = "Option::is_none")]
        seq: Option<u64>,
        /// Why.
        reason: String,
    },
    /// A message's times contradict each other in a way that may be its sender's fault; it is counted.
    Doubt {
        /// Its sequence number.
        seq: u64,
        /// What is strange.
        reason: String,
    },
    /// The agent has a signed voucher for everything up to here.
    Acknowledged {
        /// The statement's number.
        statement: u64,
        /// The last message it covers.
        through: u64,
        /// The running total that was signed.
        total: Amount,
    },
    /// The agent's statement is not what was counted here. Nothing was signed.
    Disagreement {
        /// The statement's number.
        statement: u64,
        /// The line's name: `delivered`, `relayed`, `byte-seconds`, `tariff`, `base`, `through`, `clock`, `total`, …
        line: String,
        /// What disagrees, with both sides' numbers.
        reason: String,
    },
    /// The agent refused an acknowledgement.
    Refused {
        /// Why.
        reason: String,
    },
    /// The stream ended; it is opened again.
    Disconnected {
        /// Why.
        reason: String,
        /// When the next attempt begins.
        retry_in_ms: u64,
    },
}

/// Takes what a listener receives. A text counts as delivered when this returns.
pub type ListenSink = Arc<dyn Fn(ListenEvent) + Send + Sync>;
