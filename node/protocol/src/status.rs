//! What each HTTP status means between clients, relays and agents. It stands in this file only.
//!
//! Never 200 for something dropped: 202 says that an agent stored the packet durably (law 8), 200 that a node obeyed a
//! command. Every other status says that nothing was stored and nothing charged.

use serde::{Deserialize, Serialize};

use crate::{packet::PacketError, reply::Refusal};

/// The answer to a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Status {
    /// 200: a command was obeyed; the body is the sealed reply or the event stream.
    Answered,
    /// 202: the agent has stored the packet durably, now or before; the body is a [`Receipt`].
    Stored,
    /// 400: no packet, or a command that is malformed, stale, replayed or badly signed; or a bad voucher.
    Malformed,
    /// 402: the recipient's prepayment is spent, or the voucher exceeds the lane.
    Spent,
    /// 404: no agent is responsible for the address.
    NoRoute,
    /// 413: longer than [`crate::packet::PACKET_BYTES_MAX`].
    TooLarge,
    /// 421: this node is not, or no longer, responsible for the address: refresh the route and retry once.
    Misdirected,
    /// 429: a limit of this node is reached, or the agent owes its relay too much.
    TooMany,
    /// 502: the responsible node could not be reached, or did not answer.
    Unreachable,
    /// 503: this node's view of the chain is too old to decide.
    StaleView,
}

/// What whoever got a status should do with its packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Advice {
    /// Nothing: it arrived.
    Done,
    /// Give up: the same bytes will never pass.
    GiveUp,
    /// Read the routing table again and retry once.
    RefreshRoute,
    /// Retry later, with back-off, or by another node; the same packet, so that it is stored and charged once.
    RetryLater,
}

impl Status {
    /// All of them.
    pub const ALL: [Self; 10] = [
        Self::Answered,
        Self::Stored,
        Self::Malformed,
        Self::Spent,
        Self::NoRoute,
        Self::TooLarge,
        Self::Misdirected,
        Self::TooMany,
        Self::Unreachable,
        Self::StaleView,
    ];

    /// The number on the wire.
    #[must_use]
    pub const fn code(self) -> u16 {
        match self {
            Self::Answered => 200,
            Self::Stored => 202,
            Self::Malformed => 400,
            Self::Spent => 402,
            Self::NoRoute => 404,
            Self::TooLarge => 413,
            Self::Misdirected => 421,
            Self::TooMany => 429,
            Self::Unreachable => 502,
            Self::StaleView => 503,
        }
    }

    /// The status of a number; `None` for one that no node of ours gives.
    #[must_use]
    pub fn from_code(code: u16) -> Option<Self> {
        Self::ALL.into_iter().find(|status| status.code() == code)
    }

    /// What to do next.
    #[must_use]
    pub const fn advice(self) -> Advice {
        match self {
            Self::Answered | Self::Stored => Advice::Done,
            Self::Malformed | Self::TooLarge => Advice::GiveUp,
            Self::Misdirected => Advice::RefreshRoute,
            Self::Spent | Self::NoRoute | Self::TooMany | Self::Unreachable | Self::StaleView => Advice::RetryLater,
        }
    }

    /// The status under which a refused command's sealed reply travels.
    #[must_use]
    pub const fn of_refusal(refusal: Refusal) -> Self {
        match refusal {
            Refusal::Malformed
            | Refusal::Stale
            | Refusal::Replayed
            | Refusal::BadVoucher
            | Refusal::VoucherBelowLast
            | Refusal::VoucherNotTheTotal
            | Refusal::Superseded
            | Refusal::BadConsent => Self::Malformed,
            Refusal::VoucherAboveLane | Refusal::Unfunded => Self::Spent,
            Refusal::NotEntrusted | Refusal::NotANode | Refusal::NotOperatorsNode => Self::Misdirected,
            Refusal::Busy => Self::TooMany,
            Refusal::StaleView | Refusal::Failed => Self::StaleView,
        }
    }

    /// The status for bytes that are no packet, or a packet to the node itself that does not open.
    #[must_use]
    pub const fn of_packet_error(error: &PacketError) -> Self {
        match error {
            PacketError::TooLong(_) | PacketError::BodyTooLong(_) => Self::TooLarge,
            PacketError::Sealing => Self::StaleView,
            PacketError::TooShort(_)
            | PacketError::Version(_)
            | PacketError::NotABucket(_)
            | PacketError::EncapsulatedKey
            | PacketError::Unopenable
            | PacketError::Padding(_)
            | PacketError::Envelope(_)
            | PacketError::Signature(_)
            | PacketError::NotTheSender { .. } => Self::Malformed,
        }
    }
}

/// The body of a 202, JSON: `{"stored":"new"}` or `{"stored":"duplicate"}`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Receipt {
    /// Whether these bytes were seen before.
    pub stored: Stored,
}

/// How a packet came to be stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Stored {
    /// By this very request.
    New,
    /// Before, perhaps even delivered and deleted since; charged then, not again (law 9).
    Duplicate,
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]

    use super::*;

    #[test]
    fn every_status_is_found_by_its_number() {
        let codes = Status::ALL.map(Status::code);
        assert_eq!(codes, [200, 202, 400, 402, 404, 413, 421, 429, 502, 503]);
        for status in Status::ALL {
            assert_eq!(Status::from_code(status.code()), Some(status));
        }
        assert_eq!(Status::from_code(500), None);
    }

    #[test]
    fn only_what_arrived_is_done() {
        for status in Status::ALL {
            assert_eq!(status.advice() == Advice::Done, status.code() < 300, "{status:?}");
        }
    }

    #[test]
    fn no_refusal_is_a_success() {
        assert_eq!(Status::of_refusal(Refusal::Superseded), Status::Malformed);
        assert_eq!(Status::of_refusal(Refusal::VoucherAboveLane), Status::Spent);
        assert_eq!(Status::of_refusal(Refusal::NotEntrusted), Status::Misdirected);
        assert_eq!(Status::of_packet_error(&PacketError::TooLong(1 << 21)), Status::TooLarge);
        assert_eq!(Status::of_packet_error(&PacketError::TooShort(1)), Status::Malformed);
    }

    #[test]
    fn a_receipt_is_the_documented_json() {
        let receipt = |stored| serde_json::to_string(&Receipt { stored }).unwrap();
        assert_eq!(receipt(Stored::New), r#"{"stored":"new"}"#);
        assert_eq!(receipt(Stored::Duplicate), r#"{"stored":"duplicate"}"#);
    }
}
