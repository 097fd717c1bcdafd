//! Commands to an agent: sealed to its key, posted to it or to an access node in front of it, the answer opened under
//! the session key that only this command carried.

use alloy::primitives::Address;
use alloy::signers::local::PrivateKeySigner;
use bytes::Bytes;
use minus_bindings::Deployment;
use minus_protocol::{
    Command, CommandBody, Outgoing, PacketError, Refusal, Reply, ReplyError, SessionKey, Status, open_reply,
    random_bytes, seal,
};

use crate::chain::NodeRecord;
use crate::clock;
use crate::transport::{self, Answer, Transport, TransportError};

/// The way to an agent.
#[derive(Debug, Clone)]
pub struct Channel {
    /// Who commands are for.
    pub agent: NodeRecord,
    /// The access node in between, when there is one.
    pub via: Option<NodeRecord>,
}

impl Channel {
    /// The node that packets are posted to.
    pub fn access(&self) -> &NodeRecord {
        self.via.as_ref().unwrap_or(&self.agent)
    }

    /// Whether a relay carries what comes back.
    pub fn is_relayed(&self) -> bool {
        self.via.is_some()
    }
}

/// Why a command has no good answer.
#[derive(Debug, thiserror::Error)]
pub enum CommandFailure {
    /// The agent opened the command and said no.
    #[error("the agent refused: {reason}{}{detail}", if .detail.is_empty() { "" } else { ": " })]
    Refused {
        /// Why, for programs.
        reason: Refusal,
        /// Why, for people.
        detail: String,
    },
    /// A node on the way said no, or the agent could not open it.
    #[error("{}", transport::explain(*.0).unwrap_or("the node did not do what was asked"))]
    Status(Status),
    /// No answer.
    #[error(transparent)]
    Transport(#[from] TransportError),
    /// The command could not be sealed.
    #[error("the command could not be sealed: {0}")]
    Packet(#[from] PacketError),
    /// The answer does not open.
    #[error("the agent's answer: {0}")]
    Reply(#[from] ReplyError),
    /// The answer is to another question.
    #[error("the agent answered something else than it was asked")]
    Unexpected,
}

impl CommandFailure {
    /// Whether the same command, sent anew, may do better later.
    pub fn is_retryable(&self) -> bool {
        match self {
            Self::Refused { reason, .. } => matches!(reason, Refusal::Busy | Refusal::StaleView | Refusal::Failed),
            Self::Status(status) => transport::is_retryable(*status),
            Self::Transport(error) => error.is_retryable(),
            Self::Reply(_) => true,
            Self::Packet(_) | Self::Unexpected => false,
        }
    }

    /// Whether it says that the agent does not (yet, or any longer) serve the wallet.
    pub fn is_stranger(&self) -> bool {
        matches!(
            self,
            Self::Refused { reason: Refusal::NotEntrusted, .. } | Self::Status(Status::NoRoute | Status::Misdirected)
        )
    }
}

/// A sealed command and the key for its answer.
pub(crate) struct SealedCommand {
    pub(crate) packet: Bytes,
    pub(crate) session: SessionKey,
}

/// Seals a command; its body may depend on the time that the packet will carry.
pub(crate) fn seal_command(
    deployment: &Deployment,
    agent: &NodeRecord,
    signer: &PrivateKeySigner,
    body: impl FnOnce(u64) -> CommandBody,
) -> Result<SealedCommand, PacketError> {
    let session = SessionKey::random();
    let sent_at_ms = clock::now_ms();
    let command = Command { session: session.clone(), body: body(sent_at_ms) }.encode();
    let outgoing = Outgoing { id: random_bytes(), sent_at_ms, body: &command };
    let packet = seal(&outgoing, agent.address, &agent.sealing_key, signer, &deployment.routing_domain())?;
    Ok(SealedCommand { packet: packet.into_bytes(), session })
}

/// Sends a command once and opens its answer.
pub(crate) async fn ask(
    transport: &Transport,
    deployment: &Deployment,
    channel: &Channel,
    signer: &PrivateKeySigner,
    body: impl FnOnce(u64) -> CommandBody,
) -> Result<Reply, CommandFailure> {
    let sealed = seal_command(deployment, &channel.agent, signer, body)?;
    let answer = transport.post(&channel.access().endpoint, sealed.packet).await?;
    read_reply(&sealed.session, &answer)
}

/// An answer is the agent's word only if it opens under the session's key; whatever else came, came from the way.
pub(crate) fn read_reply(session: &SessionKey, answer: &Answer) -> Result<Reply, CommandFailure> {
    match (open_reply(session, &answer.body), answer.status) {
        (Ok(Reply::Refused { reason, detail }), _) => {
            Err(CommandFailure::Refused { reason, detail: printable(&detail) })
        }
        (Ok(reply), Status::Answered) => Ok(reply),
        (Ok(_), _) => Err(CommandFailure::Unexpected),
        (Err(error), Status::Answered) => Err(error.into()),
        (Err(_), status) => Err(CommandFailure::Status(status)),
    }
}

/// A stranger's words on a terminal: without control characters.
fn printable(text: &str) -> String {
    text.chars().filter(|c| !c.is_control()).collect()
}

/// The address that a channel's packets are posted to.
pub(crate) fn access_address(channel: &Channel) -> Address {
    channel.access().address
}
