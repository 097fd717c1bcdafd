//! Every reason for which a request is not served: its status, its word in the metrics, and what a stranger reads. It
//! never says anything about content, senders or passwords.

use minus_protocol::{BundleError, PacketError, Status};

/// Why a request is not served.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Reason {
    /// Another method than the surface knows.
    Method,
    /// A GET without a packet, or with one that does not subscribe.
    GetSubscribes,
    /// The bytes are no packet.
    NotAPacket,
    /// The bytes are no bundle, or no relay brought them.
    NotABundle,
    /// A command among the packets of a bundle.
    BundledCommand,
    /// Longer than a packet, as announced or as it came.
    TooLarge,
    /// The body ended before it should.
    BodyBrokenOff,
    /// The body did not come in time.
    BodyTooSlow,
    /// Too many bodies are coming, here or from that address.
    BodiesFull,
    /// Too many bytes of bodies are coming.
    BodyBytesFull,
    /// Too many requests are in work.
    RequestsFull,
    /// The node is going down.
    Draining,
    /// The peer session is not open.
    UnknownSession,
    /// Not the wallet's agent.
    NotTheAgent,
    /// The routing table names this node, but the wallet never entrusted itself.
    NotEntrusted,
    /// The view of the chain is too old.
    StaleView,
    /// This node is not in the routing table.
    Unregistered,
    /// This node is retired.
    Retired,
    /// The recipient's lane is spent.
    Spent,
    /// As many bytes wait for the recipient as may.
    OverQuota,
    /// More was fronted for the recipient than it may owe.
    OverCredit,
    /// Nobody is responsible for the address.
    NoRoute,
    /// Too many requests are being forwarded.
    ForwardsFull,
    /// The agent owes this relay too much.
    AgentOwes,
    /// The agent's places here are taken.
    AgentFull,
    /// The agent did not answer.
    AgentUnreachable,
    /// Too many streams.
    StreamsFull,
    /// A packet to this node that does not open.
    Unopenable,
    /// A packet to this node that holds no command.
    NotACommand,
    /// The writer's queue is full.
    WriterFull,
    /// The store failed.
    StoreFailed,
    /// Too many reads of the chain at once.
    ChainBusy,
    /// The chain could not be read.
    ChainFailed,
}

impl Reason {
    /// All of them.
    pub(crate) const ALL: &'static [Self] = &[
        Self::Method,
        Self::GetSubscribes,
        Self::NotAPacket,
        Self::NotABundle,
        Self::BundledCommand,
        Self::TooLarge,
        Self::BodyBrokenOff,
        Self::BodyTooSlow,
        Self::BodiesFull,
        Self::BodyBytesFull,
        Self::RequestsFull,
        Self::Draining,
        Self::UnknownSession,
        Self::NotTheAgent,
        Self::NotEntrusted,
        Self::StaleView,
        Self::Unregistered,
        Self::Retired,
        Self::Spent,
        Self::OverQuota,
        Self::OverCredit,
        Self::NoRoute,
        Self::ForwardsFull,
        Self::AgentOwes,
        Self::AgentFull,
        Self::AgentUnreachable,
        Self::StreamsFull,
        Self::Unopenable,
        Self::NotACommand,
        Self::WriterFull,
        Self::StoreFailed,
        Self::ChainBusy,
        Self::ChainFailed,
    ];

    /// For bytes that are no packet.
    pub(crate) const fn of_packet_error(error: &PacketError) -> Self {
        match Status::of_packet_error(error) {
            Status::TooLarge => Self::TooLarge,
            _ => Self::NotAPacket,
        }
    }

    /// For bytes that are no bundle.
    pub(crate) const fn of_bundle_error(error: &BundleError) -> Self {
        match error {
            BundleError::TooLong(_) => Self::TooLarge,
            _ => Self::NotABundle,
        }
    }

    const fn row(self) -> (Status, &'static str, &'static str) {
        match self {
            Self::Method => (Status::Malformed, "method", "only GET and POST are answered"),
            Self::GetSubscribes => (Status::Malformed, "get_subscribes", "a GET only subscribes"),
            Self::NotAPacket => (Status::Malformed, "not_a_packet", "not a packet"),
            Self::NotABundle => (Status::Malformed, "not_a_bundle", "not a bundle that a relay brings"),
            Self::BundledCommand => (Status::Malformed, "bundled_command", "a command does not travel in a bundle"),
            Self::TooLarge => (Status::TooLarge, "too_large", "longer than a packet"),
            Self::BodyBrokenOff => (Status::Malformed, "body_broken_off", "the body broke off"),
            Self::BodyTooSlow => (Status::Malformed, "body_too_slow", "the body came too slowly"),
            Self::BodiesFull => (Status::TooMany, "bodies_full", "too many packets are coming at once"),
            Self::BodyBytesFull => (Status::TooMany, "body_bytes_full", "too many bytes are coming at once"),
            Self::RequestsFull => (Status::TooMany, "requests_full", "this node is at its limit of requests"),
            Self::Draining => (Status::StaleView, "draining", "this node is going down"),
            Self::UnknownSession => (Status::Misdirected, "unknown_session", "no such peer session"),
            Self::NotTheAgent => (Status::Misdirected, "not_the_agent", "this node is not the agent"),
            Self::NotEntrusted => (Status::Misdirected, "not_entrusted", "the wallet is not entrusted to this node"),
            Self::StaleView => (Status::StaleView, "stale_view", "this node's view of the chain is too old"),
            Self::Unregistered => (Status::StaleView, "unregistered", "this node is not registered"),
            Self::Retired => (Status::Misdirected, "retired", "this node is retired"),
            Self::Spent => (Status::Spent, "spent", "the recipient's prepayment is spent"),
            Self::OverQuota => (Status::TooMany, "over_quota", "too much waits for the recipient already"),
            Self::OverCredit => (
                Status::TooMany,
                "over_credit",
                "too much was carried here for the recipient that it has not paid for yet",
            ),
            Self::NoRoute => (Status::NoRoute, "no_route", "no route to this address"),
            Self::ForwardsFull => (Status::TooMany, "forwards_full", "this node is at its limit of forwarded requests"),
            Self::AgentOwes => (Status::TooMany, "agent_owes", "the agent owes this relay too much"),
            Self::AgentFull => (Status::TooMany, "agent_full", "the agent is slow and has no place left here"),
            Self::AgentUnreachable => {
                (Status::Unreachable, "agent_unreachable", "the responsible node could not be reached")
            }
            Self::StreamsFull => (Status::TooMany, "streams_full", "this node is at its limit of streams"),
            Self::Unopenable => (Status::Malformed, "unopenable", "the command does not open"),
            Self::NotACommand => (Status::Malformed, "not_a_command", "not a command"),
            Self::WriterFull => (Status::TooMany, "writer_full", "try again later"),
            Self::StoreFailed => (Status::StaleView, "store_failed", "try again later"),
            Self::ChainBusy => (Status::TooMany, "chain_busy", "try again later"),
            Self::ChainFailed => (Status::StaleView, "chain_failed", "try again later"),
        }
    }

    /// What HTTP says.
    pub(crate) const fn status(self) -> Status {
        self.row().0
    }

    /// As the metrics have it.
    pub(crate) const fn word(self) -> &'static str {
        self.row().1
    }

    /// What a stranger reads.
    pub(crate) const fn text(self) -> &'static str {
        self.row().2
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn each_reason_has_its_own_word_and_is_no_success() {
        let words: BTreeSet<_> = Reason::ALL.iter().map(|reason| reason.word()).collect();
        assert_eq!(words.len(), Reason::ALL.len());
        for reason in Reason::ALL {
            assert!(reason.status().code() >= 400, "{reason:?}");
        }
    }
}
