//! Replies: what a node answers to a command, sealed under the command's session key so that a relay in between learns
//! neither the answer nor which kind it is.
//!
//! ```text
//! salt 32 | ciphertext | tag 16        ChaCha20Poly1305, key = HKDF-SHA256(salt, session, "layer-minus/1 reply"), nonce 0
//!           length 4 | reply | zeros to a multiple of 512 bytes
//! ```

use std::fmt;

use alloy::primitives::Address;
use minus_bindings::{Amount, SignedVoucher};
use serde::{Deserialize, Serialize};

use crate::{
    cbor::{self, CborError},
    meter::MeterLine,
    padding::{self, PaddingError},
    session::{NONCE_BYTES, SESSION_KEY_BYTES, SessionKey, random_bytes},
    statement::Statement,
};

/// Replies are padded to a multiple of this: every reply but a long statement has the same length.
pub const REPLY_MULTIPLE_BYTES: usize = 512;

/// The longest sealed reply: a statement of [`crate::meter::LINES_MAX`] lines of at most 200 bytes each, and some room.
pub const REPLY_BYTES_MAX: usize = 64 * 1024;

/// The longest explanation of a refusal in bytes; more is cut off.
pub const REFUSAL_DETAIL_BYTES_MAX: usize = 256;

const REPLY_INFO: &[u8] = b"layer-minus/1 reply";

/// The salt makes the key new for every reply, so one nonce does.
const REPLY_NONCE: [u8; NONCE_BYTES] = [0; NONCE_BYTES];

/// Why a sealed reply is refused. Final for these bytes; the command may be sent again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ReplyError {
    /// Shorter than salt and tag, or longer than [`REPLY_BYTES_MAX`].
    #[error("a sealed reply does not have {0} bytes")]
    Length(usize),
    /// Not sealed under this session, or changed on the way: not the node's answer.
    #[error("the reply does not open under the session's key")]
    Unopenable,
    /// The padding inside is wrong.
    #[error("bad padding inside the reply: {0}")]
    Padding(#[from] PaddingError),
    /// What is inside is no reply.
    #[error("not a reply: {0}")]
    Malformed(#[from] CborError),
}

/// What a node answers to a command.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Reply {
    /// The wallet is served.
    Entrusted {
        /// The running total at which the account opens: never below what the lane has paid or the payer has signed.
        base: Amount,
    },
    /// The voucher is stored, what it pays for is deleted.
    Acknowledged {
        /// The running total now held.
        total: Amount,
    },
    /// Where the account stands.
    Statement(Statement),
    /// The relay is known by this token from now on.
    PeerSession {
        /// Sent along with forwarded requests; see [`crate::headers::PEER_SESSION`].
        #[serde(with = "serde_bytes")]
        token: [u8; 32],
        /// When it ends, milliseconds of Unix time.
        expires_at_ms: u64,
    },
    /// What the agent owes the relay's operator.
    RelayVoucher(RelayStatement),
    /// No.
    Refused {
        /// Why, for programs.
        reason: Refusal,
        /// Why, for people; at most [`REFUSAL_DETAIL_BYTES_MAX`] bytes.
        detail: String,
    },
}

/// Why a command is refused. Its HTTP status is [`crate::status::Status::of_refusal`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, thiserror::Error)]
#[serde(rename_all = "snake_case")]
pub enum Refusal {
    /// Not a command.
    #[error("not a command")]
    Malformed,
    /// Too old or from the future; see [`crate::command::check_fresh`].
    #[error("the command is not fresh")]
    Stale,
    /// This very packet was obeyed before.
    #[error("the command was sent before")]
    Replayed,
    /// The routing table does not name this node as the sender's agent, or the wallet never entrusted itself here.
    #[error("this node is not the wallet's agent")]
    NotEntrusted,
    /// The sender is no registered, live node.
    #[error("the sender is no registered node")]
    NotANode,
    /// The sender is a node, but not one that this account belongs to.
    #[error("the sender is not a node of that operator")]
    NotOperatorsNode,
    /// The voucher names another payer or payee, or is not signed by the payer or its live delegate for this escrow.
    #[error("the voucher is not valid")]
    BadVoucher,
    /// The voucher's running total is below one already held.
    #[error("the voucher is below the last one")]
    VoucherBelowLast,
    /// The voucher's running total is not the statement's.
    #[error("the voucher is not over the statement's total")]
    VoucherNotTheTotal,
    /// The lane does not hold what the voucher promises.
    #[error("the voucher exceeds what the lane holds")]
    VoucherAboveLane,
    /// Another statement was issued since; a fresh one follows.
    #[error("the statement was superseded")]
    Superseded,
    /// The payer's consent is missing or not its signature.
    #[error("the payer did not consent")]
    BadConsent,
    /// The payer's lane to this node's operator holds nothing.
    #[error("the payer's lane holds nothing")]
    Unfunded,
    /// A limit of the node is reached; later it may pass.
    #[error("the node is at a limit")]
    Busy,
    /// The node does not know the chain's present state; later it will.
    #[error("the node's view of the chain is too old")]
    StaleView,
    /// The node failed; nothing was changed.
    #[error("the node failed")]
    Failed,
}

impl Refusal {
    /// All of them.
    pub const ALL: [Self; 16] = [
        Self::Malformed,
        Self::Stale,
        Self::Replayed,
        Self::NotEntrusted,
        Self::NotANode,
        Self::NotOperatorsNode,
        Self::BadVoucher,
        Self::VoucherBelowLast,
        Self::VoucherNotTheTotal,
        Self::VoucherAboveLane,
        Self::Superseded,
        Self::BadConsent,
        Self::Unfunded,
        Self::Busy,
        Self::StaleView,
        Self::Failed,
    ];
}

/// An agent's account with the operator of a relay.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RelayStatement {
    /// Who pays: the operator of the agent node.
    pub operator_payer: Address,
    /// The running total at which the account opened.
    pub base: Amount,
    /// What was relayed, per version of the agent's tariff; nothing but `relayed` counts here.
    pub lines: Vec<MeterLine>,
    /// Of it, carried to the agent, in packet bytes.
    pub inbound_bytes: u128,
    /// Of it, carried from the agent's streams, in packet bytes.
    pub outbound_bytes: u128,
    /// base + due(lines).
    pub total: Amount,
    /// Signed over `total`; none while nothing is owed above the base.
    pub voucher: Option<SignedVoucher>,
}

impl Reply {
    /// A refusal, its explanation cut to [`REFUSAL_DETAIL_BYTES_MAX`].
    #[must_use]
    pub fn refused(reason: Refusal, detail: impl Into<String>) -> Self {
        let mut detail = detail.into();
        detail.truncate(detail.floor_char_boundary(REFUSAL_DETAIL_BYTES_MAX));
        Self::Refused { reason, detail }
    }
}

/// Says everything but a session token.
impl fmt::Debug for Reply {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Entrusted { base } => write!(out, "Entrusted({base})"),
            Self::Acknowledged { total } => write!(out, "Acknowledged({total})"),
            Self::Statement(statement) => statement.fmt(out),
            Self::PeerSession { expires_at_ms, .. } => write!(out, "PeerSession(until {expires_at_ms} ms)"),
            Self::RelayVoucher(statement) => statement.fmt(out),
            Self::Refused { reason, detail } => write!(out, "Refused({reason:?}: {detail})"),
        }
    }
}

/// Seals a reply under a fresh salt.
#[must_use]
pub fn seal_reply(session: &SessionKey, reply: &Reply) -> Vec<u8> {
    let salt = random_bytes::<SESSION_KEY_BYTES>();
    let plaintext = padding::pad_to_multiple(&cbor::encode(reply), REPLY_MULTIPLE_BYTES);
    let ciphertext = session.cipher(&salt, REPLY_INFO).seal(&REPLY_NONCE, &[], &plaintext);
    [salt.as_slice(), &ciphertext].concat()
}

/// Opens a reply to the command that carried `session`.
///
/// # Errors
/// All of [`ReplyError`].
pub fn open_reply(session: &SessionKey, bytes: &[u8]) -> Result<Reply, ReplyError> {
    if bytes.len() > REPLY_BYTES_MAX {
        return Err(ReplyError::Length(bytes.len()));
    }
    let Some((salt, ciphertext)) = bytes.split_first_chunk::<SESSION_KEY_BYTES>() else {
        return Err(ReplyError::Length(bytes.len()));
    };
    let plaintext =
        session.cipher(salt, REPLY_INFO).open(&REPLY_NONCE, &[], ciphertext).ok_or(ReplyError::Unopenable)?;
    let reply = padding::unpad_from_multiple(&plaintext, REPLY_MULTIPLE_BYTES)?;
    Ok(cbor::decode(reply, REPLY_BYTES_MAX)?)
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]

    use proptest::prelude::*;

    use super::*;
    use crate::{
        meter::{LINES_MAX, Meter},
        tariff::Tariff,
    };

    fn session() -> SessionKey {
        SessionKey::from_bytes([5; 32])
    }

    fn lines(count: usize) -> Vec<MeterLine> {
        let all = u64::MAX;
        let meter = Meter { delivered: u128::MAX, relayed: u128::MAX, byte_seconds: u128::MAX };
        let line =
            MeterLine { tariff_version: u32::MAX, tariff: Tariff { delivery: all, relay: all, storing: all }, meter };
        vec![line; count]
    }

    fn statement(count: usize) -> Statement {
        Statement {
            number: u64::MAX,
            wallet: Address::repeat_byte(1),
            through: u64::MAX,
            at: u64::MAX,
            base: Amount::MAX,
            lines: lines(count),
            total: Amount::MAX,
        }
    }

    fn replies() -> Vec<Reply> {
        let voucher = SignedVoucher {
            payer: Address::repeat_byte(1),
            payee: Address::repeat_byte(2),
            cumulative: Amount::MAX,
            signature: [3; 65],
        };
        vec![
            Reply::Entrusted { base: Amount::MAX },
            Reply::Acknowledged { total: Amount::ZERO },
            Reply::Statement(statement(1)),
            Reply::PeerSession { token: [0xab; 32], expires_at_ms: u64::MAX },
            Reply::RelayVoucher(RelayStatement {
                operator_payer: Address::repeat_byte(4),
                base: Amount::ZERO,
                lines: vec![],
                inbound_bytes: u128::MAX,
                outbound_bytes: 0,
                total: Amount::MAX,
                voucher: Some(voucher),
            }),
            Reply::refused(Refusal::Superseded, "statement 4 was issued"),
        ]
    }

    #[test]
    fn refuses_another_session_and_any_change() {
        for reply in replies() {
            let sealed = seal_reply(&session(), &reply);
            let other = SessionKey::from_bytes([6; 32]);
            assert_eq!(open_reply(&other, &sealed), Err(ReplyError::Unopenable));
            for index in 0..sealed.len() {
                let mut changed = sealed.clone();
                changed[index] ^= 1;
                assert_eq!(open_reply(&session(), &changed), Err(ReplyError::Unopenable), "{index}");
            }
            for len in 0..sealed.len() {
                assert!(open_reply(&session(), &sealed[..len]).is_err(), "{len}");
            }
        }
    }

    #[test]
    fn refuses_an_oversized_reply_unread() {
        let len = REPLY_BYTES_MAX + 1;
        assert_eq!(open_reply(&session(), &vec![0; len]), Err(ReplyError::Length(len)));
    }

    #[test]
    fn every_reply_comes_back_as_it_was() {
        for reply in replies() {
            assert_eq!(open_reply(&session(), &seal_reply(&session(), &reply)), Ok(reply));
        }
    }

    #[test]
    fn the_longest_statement_fits_a_reply() {
        let reply = Reply::Statement(statement(LINES_MAX));
        assert_eq!(open_reply(&session(), &seal_reply(&session(), &reply)), Ok(reply));
    }

    #[test]
    fn all_replies_but_long_statements_have_one_length() {
        let lengths: Vec<_> = replies().iter().map(|reply| seal_reply(&session(), reply).len()).collect();
        assert_eq!(lengths[0], 32 + REPLY_MULTIPLE_BYTES + 16);
        assert!(lengths.iter().all(|len| *len == lengths[0]), "{lengths:?}");
    }

    #[test]
    fn the_same_reply_is_sealed_differently_each_time() {
        let reply = Reply::Acknowledged { total: Amount::ZERO };
        assert_ne!(seal_reply(&session(), &reply), seal_reply(&session(), &reply));
    }

    #[test]
    fn a_long_explanation_is_cut_between_characters() {
        let Reply::Refused { detail, .. } = Reply::refused(Refusal::Failed, "ö".repeat(200)) else { unreachable!() };
        assert_eq!(detail, "ö".repeat(128));
        let Reply::Refused { detail, .. } = Reply::refused(Refusal::Failed, format!("a{}", "ö".repeat(200))) else {
            unreachable!()
        };
        assert_eq!(detail.len(), 255);
    }

    #[test]
    fn a_token_is_not_printed() {
        let printed = format!("{:?}", Reply::PeerSession { token: [0xab; 32], expires_at_ms: 12 });
        assert_eq!(printed, "PeerSession(until 12 ms)");
    }

    #[test]
    fn refusals_are_words_on_the_wire() {
        assert_eq!(serde_json::to_string(&Refusal::VoucherBelowLast).unwrap(), "\"voucher_below_last\"");
    }

    proptest! {
        #[test]
        fn any_bytes_are_answered(bytes in prop::collection::vec(any::<u8>(), 0..700)) {
            prop_assert!(open_reply(&session(), &bytes).is_err());
        }
    }
}
