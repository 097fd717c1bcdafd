//! Header names and other words of the HTTP around packets.

use base64::{
    Engine,
    engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD},
};

use crate::packet::{PACKET_BYTES_MAX, Packet, PacketError};

/// Request header, relay to agent: base64 of the 32-byte token of an open peer session. What comes with it counts as
/// carried by that relay.
pub const PEER_SESSION: &str = "minus-peer-session";

/// Response header, agent to relay: decimal packet bytes that the agent counted for this relay; 0 for a duplicate.
pub const METERED: &str = "minus-metered";

/// The content type of packets and sealed replies.
pub const CONTENT_PACKET: &str = "application/octet-stream";

/// The content type of a subscription's answer.
pub const CONTENT_STREAM: &str = "text/event-stream";

/// Request header of a GET: the id of the last event that the browser's `EventSource` saw, a decimal number. A relay passes
/// it on. Nothing proves it; see [`crate::stream`].
pub const LAST_EVENT_ID: &str = "last-event-id";

/// Query parameter of a GET: a sealed subscribe command, base64 of the URL alphabet without padding. For a browser's
/// `EventSource`, which cannot POST.
pub const PACKET_QUERY: &str = "packet";

/// Why a query's packet is refused. Final.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum QueryError {
    /// Not base64.
    #[error("the query's packet is not base64")]
    Encoding,
    /// Not a packet.
    #[error(transparent)]
    Packet(#[from] PacketError),
}

/// The value of [`PEER_SESSION`].
#[must_use]
pub fn encode_token(token: &[u8; 32]) -> String {
    STANDARD.encode(token)
}

/// The token of a [`PEER_SESSION`] header; `None` if it is none.
#[must_use]
pub fn decode_token(value: &str) -> Option<[u8; 32]> {
    // 44 characters are 32 bytes; anything longer is not worth decoding
    if value.len() != 44 {
        return None;
    }
    STANDARD.decode(value).ok()?.try_into().ok()
}

/// The value of [`PACKET_QUERY`].
#[must_use]
pub fn encode_packet_query(packet: &Packet) -> String {
    URL_SAFE_NO_PAD.encode(packet.as_bytes())
}

/// The packet of a [`PACKET_QUERY`].
///
/// # Errors
/// All of [`QueryError`].
pub fn decode_packet_query(value: &str) -> Result<Packet, QueryError> {
    let len = value.len() / 4 * 3;
    if len > PACKET_BYTES_MAX {
        return Err(PacketError::TooLong(len).into());
    }
    Ok(Packet::parse(URL_SAFE_NO_PAD.decode(value).map_err(|_| QueryError::Encoding)?)?)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn refuses_what_is_no_token() {
        assert_eq!(decode_token(""), None);
        assert_eq!(decode_token(&"A".repeat(44)), None);
        assert_eq!(decode_token(&STANDARD.encode([1; 31])), None);
        assert_eq!(decode_token(&STANDARD.encode([1; 33])), None);
    }

    #[test]
    fn refuses_a_query_that_is_no_packet() {
        assert_eq!(decode_packet_query("!"), Err(QueryError::Encoding));
        assert_eq!(decode_packet_query(""), Err(QueryError::Packet(PacketError::TooShort(0))));
        let long = "A".repeat(PACKET_BYTES_MAX / 3 * 4 + 8);
        assert!(matches!(decode_packet_query(&long), Err(QueryError::Packet(PacketError::TooLong(_)))));
    }

    proptest! {
        #[test]
        fn tokens_come_back(token: [u8; 32]) {
            prop_assert_eq!(decode_token(&encode_token(&token)), Some(token));
        }
    }
}
