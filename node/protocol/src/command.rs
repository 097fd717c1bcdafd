//! Commands: what the body of a packet to a node's own address asks the node to do.
//!
//! The packet proves who commands and when; the node refuses a command that is not fresh ([`check_fresh`]) and one whose
//! packet it has seen. The answer comes back under the command's own session key: see [`crate::reply`] and
//! [`crate::stream`].

use alloy::primitives::Address;
use minus_bindings::{Amount, SignedVoucher};
use serde::{Deserialize, Serialize};

use crate::{
    cbor::{self, CborError},
    session::SessionKey,
};

/// How far a command's time may lie from the node's clock, in milliseconds, each way: long enough for a slow line and a
/// careless clock, short enough that a node remembers few packets to refuse replays.
pub const COMMAND_FRESHNESS_MS: u64 = 60_000;

/// The longest command: an acknowledgement with its voucher takes about 400 bytes.
pub const COMMAND_BYTES_MAX: usize = 4096;

/// Why a command is refused before anyone looks at what it asks. Final.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CommandError {
    /// The body is no command.
    #[error("not a command: {0}")]
    Malformed(#[from] CborError),
    /// Sent too long ago, or in the future.
    #[error("the command was sent at {sent_at_ms} ms, it is {now_ms} ms now")]
    Stale {
        /// The packet's time, milliseconds of Unix time.
        sent_at_ms: u64,
        /// The node's time, milliseconds of Unix time.
        now_ms: u64,
    },
}

/// One command and the password for its answer.
#[derive(Clone, Debug)]
pub struct Command {
    /// The answer's password, fresh for this command.
    pub session: SessionKey,
    /// What is asked.
    pub body: CommandBody,
}

/// What a command asks. The sender of the packet is the wallet or node that commands.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum CommandBody {
    /// From a wallet: be my agent, `payer` pays.
    Entrust {
        /// Whose lane to the node's operator pays for this wallet.
        payer: Address,
        /// The highest running total that the payer ever signed on that lane; zero if none.
        base: Amount,
        /// The payer's signature of `Entrustment(wallet, payer, agent, base, sentAtMs)` with the packet's time; needed
        /// when the payer is not the sender.
        #[serde(with = "serde_bytes")]
        consent: Option<[u8; 65]>,
    },
    /// From a wallet: push my messages. The answer is an event stream.
    Subscribe {
        /// The highest sequence number that the client holds durably; zero for none.
        resume_after: u64,
    },
    /// From a wallet: I agree to this statement, here is the voucher over its total.
    Acknowledge {
        /// The statement's number.
        statement: u64,
        /// Signed over exactly the statement's total.
        voucher: SignedVoucher,
    },
    /// From a wallet: where does my account stand?
    Statement,
    /// From a registered node: give me a token by which I am known as the relay of what I forward.
    OpenPeerSession,
    /// From a relay node: sign what you owe my operator.
    RequestVoucher {
        /// Packet bytes that this relay counts as carried to the agent since the account began.
        inbound_bytes: u128,
        /// Packet bytes that this relay counts as carried from the agent's streams since the account began.
        outbound_bytes: u128,
    },
}

impl Command {
    /// The CBOR of this command, to be the body of a packet. It holds the session key: only a sealed packet may carry it.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        cbor::encode(&Wire { session: *self.session.expose(), body: self.body.clone() })
    }

    /// The command of a packet's body.
    ///
    /// # Errors
    /// [`CommandError::Malformed`].
    pub fn decode(bytes: &[u8]) -> Result<Self, CommandError> {
        let Wire { session, body } = cbor::decode(bytes, COMMAND_BYTES_MAX)?;
        Ok(Self { session: SessionKey::from_bytes(session), body })
    }
}

/// Whether a command sent at `sent_at_ms` may be obeyed at `now_ms`, both in milliseconds of Unix time.
///
/// # Errors
/// [`CommandError::Stale`] if they lie more than [`COMMAND_FRESHNESS_MS`] apart.
pub const fn check_fresh(sent_at_ms: u64, now_ms: u64) -> Result<(), CommandError> {
    if sent_at_ms.abs_diff(now_ms) > COMMAND_FRESHNESS_MS {
        return Err(CommandError::Stale { sent_at_ms, now_ms });
    }
    Ok(())
}

/// The command on the wire; apart from [`Command`] so that a session key cannot be serialised anywhere else.
#[derive(Serialize, Deserialize)]
struct Wire {
    #[serde(with = "serde_bytes")]
    session: [u8; 32],
    body: CommandBody,
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]

    use alloy::signers::local::PrivateKeySigner;
    use minus_bindings::escrow_domain;
    use proptest::prelude::*;

    use super::*;

    fn command(body: CommandBody) -> Command {
        Command { session: SessionKey::from_bytes([9; 32]), body }
    }

    fn bodies() -> Vec<CommandBody> {
        let signer = PrivateKeySigner::from_slice(&[1; 32]).unwrap();
        let domain = escrow_domain(31337, Address::repeat_byte(0xee));
        let voucher = SignedVoucher::sign(signer.address(), Address::repeat_byte(2), Amount::MAX, &domain, &signer);
        vec![
            CommandBody::Entrust { payer: Address::repeat_byte(3), base: Amount::MAX, consent: Some([4; 65]) },
            CommandBody::Entrust { payer: Address::repeat_byte(3), base: Amount::ZERO, consent: None },
            CommandBody::Subscribe { resume_after: u64::MAX },
            CommandBody::Acknowledge { statement: u64::MAX, voucher },
            CommandBody::Statement,
            CommandBody::OpenPeerSession,
            CommandBody::RequestVoucher { inbound_bytes: u128::MAX, outbound_bytes: 0 },
        ]
    }

    #[test]
    fn refuses_a_command_that_is_not_fresh() {
        let now = 1_000_000;
        assert_eq!(check_fresh(now, now), Ok(()));
        assert_eq!(check_fresh(now - COMMAND_FRESHNESS_MS, now), Ok(()));
        assert_eq!(check_fresh(now + COMMAND_FRESHNESS_MS, now), Ok(()));
        for sent_at_ms in [now - COMMAND_FRESHNESS_MS - 1, now + COMMAND_FRESHNESS_MS + 1, 0, u64::MAX] {
            assert_eq!(check_fresh(sent_at_ms, now), Err(CommandError::Stale { sent_at_ms, now_ms: now }));
        }
    }

    #[test]
    fn refuses_truncated_extended_and_oversized_commands() {
        for body in bodies() {
            let bytes = command(body).encode();
            for len in 0..bytes.len() {
                assert!(Command::decode(&bytes[..len]).is_err(), "{len}");
            }
            assert!(matches!(
                Command::decode(&[&bytes[..], &[0]].concat()),
                Err(CommandError::Malformed(CborError::Trailing(1)))
            ));
        }
        assert!(matches!(
            Command::decode(&[0; COMMAND_BYTES_MAX + 1]),
            Err(CommandError::Malformed(CborError::TooLong { .. }))
        ));
    }

    #[test]
    fn every_command_comes_back_as_it_was() {
        for body in bodies() {
            let bytes = command(body.clone()).encode();
            assert!(bytes.len() <= 512, "{} bytes", bytes.len());
            let decoded = Command::decode(&bytes).unwrap();
            assert_eq!(decoded.body, body);
            assert_eq!(decoded.session.expose(), &[9; 32]);
        }
    }

    #[test]
    fn the_session_key_is_not_printed() {
        let printed = format!("{:?}", command(CommandBody::Statement));
        assert!(printed.contains("SessionKey(hidden)") && !printed.contains('9'), "{printed}");
    }

    proptest! {
        #[test]
        fn any_bytes_are_answered(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
            prop_assert!(Command::decode(&bytes).is_err());
        }

        #[test]
        fn a_changed_byte_is_an_error_or_another_command(which in 0usize..7, index: prop::sample::Index, change in 1u8..) {
            let body = bodies().swap_remove(which);
            let mut bytes = command(body.clone()).encode();
            let index = index.index(bytes.len());
            bytes[index] ^= change;
            if let Ok(decoded) = Command::decode(&bytes) {
                prop_assert!(decoded.body != body || decoded.session.expose() != &[9; 32]);
                prop_assert_eq!(decoded.encode(), bytes);
            }
        }
    }
}
