//! The stream: what an agent pushes to a subscriber, as events that a relay can carry and count but not read.
//!
//! ```text
//! retry: <milliseconds>\nevent: salt\ndata: <base64 of 32 random bytes>\n\n               once, first
//! id: <sequence number>\ndata: <base64 of ciphertext | tag 16>\n\n                        a message
//! data: <base64 of ciphertext | tag 16>\n\n                                               a statement or keep-alive
//! ```
//!
//! ChaCha20Poly1305, key = HKDF-SHA256(salt, session, "layer-minus/1 stream"), nonce = 96-bit big-endian count of events
//! from 0, AAD = the decimal digits of the event's id (empty when it has none). So no event can be dropped, repeated,
//! reordered or renumbered unnoticed. Base64 is the standard alphabet with padding.
//!
//! ```text
//! kind 1 | seq 8 | stored_at 8 | tariff_version 4 | flags 1 | packet                      a message, integers big-endian
//! kind 1 | length 4 | CBOR | zeros to 1 + a multiple of 1024 bytes                        a statement or keep-alive
//! ```
//!
//! A message adds a fixed [`MESSAGE_HEADER_BYTES`] to its packet, which is padded already, so that a relay knows the
//! packet's length from the length of the data line; see [`crate::relay_count`].

//! A browser's `EventSource` repeats its GET, with the same packet, `retry` milliseconds after the stream ended, and names
//! the last id it saw (`Last-Event-ID`). The agent goes on after that one or after the command's `resume_after`, whichever
//! is more. The header is nobody's signature: a relay that raises it holds back messages, as it could anyway, and the
//! statement that follows fails the customer's own count; they stay stored, for the next sealed `resume_after`.

use base64::{Engine, engine::general_purpose::STANDARD};
use bytes::Bytes;

use crate::{
    cbor::{self, CborError},
    packet::PACKET_BYTES_MAX,
    padding::{self, PaddingError},
    reply::REPLY_BYTES_MAX,
    session::{NONCE_BYTES, SESSION_KEY_BYTES, SessionCipher, SessionKey},
    sse::SseEvent,
    statement::Statement,
};

/// What a message's frame adds before its packet.
pub const MESSAGE_HEADER_BYTES: usize = 22;

/// What encryption adds to a frame.
pub const FRAME_TAG_BYTES: usize = 16;

/// The largest frame's ciphertext: a message with the largest packet.
pub const FRAME_BYTES_MAX: usize = MESSAGE_HEADER_BYTES + PACKET_BYTES_MAX + FRAME_TAG_BYTES;

/// Frames that are no messages are padded to a multiple of this, so that statements and keep-alives look alike.
pub const FRAME_MULTIPLE_BYTES: usize = 1024;

/// Field names, line ends and an id of 20 digits around an event's data.
const EVENT_FIELDS_BYTES_MAX: usize = 40;

/// The name of the first event.
pub const SALT_EVENT: &str = "salt";

/// The least time after which a browser comes back to a stream that ended: a node that restarts is not stormed.
const RETRY_MS_MIN: u16 = 1_000;

/// How far beyond [`RETRY_MS_MIN`] the salt spreads that time, so that the browsers of one node do not come back as one.
const RETRY_MS_SPREAD: u16 = 4_000;

const STREAM_INFO: &[u8] = b"layer-minus/1 stream";
const KIND_MESSAGE: u8 = 1;
const KIND_STATEMENT: u8 = 2;
const KIND_KEEP_ALIVE: u8 = 3;
const FLAG_RELAYED: u8 = 1;

/// Why an event is refused. Final for the connection: subscribe again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum StreamError {
    /// The first event is not the salt, or a second salt came.
    #[error("the salt has to be the first event and the only one of its kind")]
    Salt,
    /// Not base64, or of an impossible length.
    #[error("the event's data is not base64 of a frame")]
    Encoding,
    /// Not sealed under this session, changed, dropped, repeated or reordered on the way.
    #[error("event {0} of the stream does not open")]
    Unopenable(u64),
    /// An unknown kind or flag, or too short for its kind.
    #[error("the frame is of no known form")]
    Form,
    /// The number inside a message is not its event's, or something else has a number.
    #[error("the event has id {event:?}, its frame {frame:?}")]
    Number {
        /// The event's id.
        event: Option<u64>,
        /// The sequence number inside.
        frame: Option<u64>,
    },
    /// The padding inside is wrong.
    #[error("bad padding inside the frame: {0}")]
    Padding(#[from] PaddingError),
    /// What is inside is no statement.
    #[error("bad statement inside the frame: {0}")]
    Statement(#[from] CborError),
}

/// One thing pushed to a subscriber.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Frame {
    /// A stored packet.
    Message {
        /// Its number in the wallet's queue, from 1.
        seq: u64,
        /// When the agent stored it, seconds of Unix time.
        stored_at: u64,
        /// The version of the agent's tariff in force then.
        tariff_version: u32,
        /// Whether its first copy came to the agent through a relay.
        relayed: bool,
        /// The packet's bytes as received: what is counted. It may be something that does not parse or open.
        packet: Bytes,
    },
    /// An account to agree to.
    Statement(Statement),
    /// Nothing new.
    KeepAlive,
}

/// Turns frames into the text of events, for one connection.
pub struct StreamSealer {
    cipher: SessionCipher,
    salt: [u8; SESSION_KEY_BYTES],
    sealed: u64,
}

impl StreamSealer {
    /// The sealer of one connection. `salt` must be random and new for each: the nonces count from zero.
    #[must_use]
    pub fn new(session: &SessionKey, salt: [u8; SESSION_KEY_BYTES]) -> Self {
        Self { cipher: session.cipher(&salt, STREAM_INFO), salt, sealed: 0 }
    }

    /// The event that has to be sent before all others.
    #[must_use]
    pub fn opening_event(&self) -> String {
        let [first, second, ..] = self.salt;
        let retry_ms = RETRY_MS_MIN + u16::from_be_bytes([first, second]) % RETRY_MS_SPREAD;
        format!("retry: {retry_ms}\nevent: {SALT_EVENT}\ndata: {}\n\n", STANDARD.encode(self.salt))
    }

    /// The next event, complete with its blank line. A message must hold at most [`PACKET_BYTES_MAX`] bytes, or no
    /// subscriber accepts the event.
    #[must_use]
    pub fn seal(&mut self, frame: &Frame) -> String {
        let mut event = String::new();
        self.seal_onto(frame, &mut event);
        event
    }

    /// The same at the end of the events before it, to be sent with them.
    pub fn seal_onto(&mut self, frame: &Frame, events: &mut String) {
        let id = match frame {
            Frame::Message { seq, .. } => Some(*seq),
            Frame::Statement(_) | Frame::KeepAlive => None,
        };
        let aad = id.map(|id| id.to_string()).unwrap_or_default();
        let bytes = self.cipher.seal(&nonce(self.sealed), aad.as_bytes(), &plaintext(frame));
        self.sealed += 1;

        events.reserve(bytes.len().div_ceil(3) * 4 + EVENT_FIELDS_BYTES_MAX);
        if id.is_some() {
            events.push_str("id: ");
            events.push_str(&aad);
            events.push('\n');
        }
        events.push_str("data: ");
        STANDARD.encode_string(&bytes, events);
        events.push_str("\n\n");
    }
}

/// Turns events back into frames, for one connection.
pub struct StreamOpener {
    session: SessionKey,
    cipher: Option<SessionCipher>,
    opened: u64,
}

impl StreamOpener {
    /// The opener of one connection.
    #[must_use]
    pub fn new(session: &SessionKey) -> Self {
        Self { session: session.clone(), cipher: None, opened: 0 }
    }

    /// The frame of the next event; `None` for the salt, which has to be the first.
    ///
    /// # Errors
    /// [`StreamError`]; the connection is of no more use then.
    pub fn open(&mut self, event: &SseEvent) -> Result<Option<Frame>, StreamError> {
        let is_salt = event.event.as_deref() == Some(SALT_EVENT);
        let Some(cipher) = &self.cipher else {
            if !is_salt {
                return Err(StreamError::Salt);
            }
            let salt = decode(&event.data)?.try_into().map_err(|_| StreamError::Salt)?;
            self.cipher = Some(self.session.cipher(&salt, STREAM_INFO));
            return Ok(None);
        };
        if is_salt {
            return Err(StreamError::Salt);
        }
        let aad = event.id.map(|id| id.to_string()).unwrap_or_default();
        let ciphertext = decode(&event.data)?;
        let bytes = cipher
            .open(&nonce(self.opened), aad.as_bytes(), &ciphertext)
            .ok_or(StreamError::Unopenable(self.opened))?;
        self.opened += 1;
        frame(bytes, event.id).map(Some)
    }
}

fn nonce(count: u64) -> [u8; NONCE_BYTES] {
    let mut nonce = [0; NONCE_BYTES];
    nonce[4..].copy_from_slice(&count.to_be_bytes());
    nonce
}

fn decode(data: &str) -> Result<Vec<u8>, StreamError> {
    if data.len() > FRAME_BYTES_MAX.div_ceil(3) * 4 {
        return Err(StreamError::Encoding);
    }
    STANDARD.decode(data).map_err(|_| StreamError::Encoding)
}

fn plaintext(frame: &Frame) -> Vec<u8> {
    let small = |kind: u8, content: &[u8]| {
        let mut bytes = vec![kind];
        bytes.extend_from_slice(&padding::pad_to_multiple(content, FRAME_MULTIPLE_BYTES));
        bytes
    };
    match frame {
        Frame::Message { seq, stored_at, tariff_version, relayed, packet } => {
            let mut bytes = Vec::with_capacity(MESSAGE_HEADER_BYTES + packet.len());
            bytes.push(KIND_MESSAGE);
            bytes.extend_from_slice(&seq.to_be_bytes());
            bytes.extend_from_slice(&stored_at.to_be_bytes());
            bytes.extend_from_slice(&tariff_version.to_be_bytes());
            bytes.push(if *relayed { FLAG_RELAYED } else { 0 });
            bytes.extend_from_slice(packet);
            bytes
        }
        Frame::Statement(statement) => small(KIND_STATEMENT, &cbor::encode(statement)),
        Frame::KeepAlive => small(KIND_KEEP_ALIVE, &[]),
    }
}

fn frame(bytes: Vec<u8>, id: Option<u64>) -> Result<Frame, StreamError> {
    let (kind, rest) = bytes.split_first().ok_or(StreamError::Form)?;
    match *kind {
        KIND_MESSAGE => message(bytes, id),
        kind @ (KIND_STATEMENT | KIND_KEEP_ALIVE) => {
            if id.is_some() {
                return Err(StreamError::Number { event: id, frame: None });
            }
            let content = padding::unpad_from_multiple(rest, FRAME_MULTIPLE_BYTES)?;
            match (kind, content) {
                (KIND_KEEP_ALIVE, []) => Ok(Frame::KeepAlive),
                (KIND_KEEP_ALIVE, _) => Err(StreamError::Form),
                (_, statement) => Ok(Frame::Statement(cbor::decode(statement, REPLY_BYTES_MAX)?)),
            }
        }
        _ => Err(StreamError::Form),
    }
}

fn message(bytes: Vec<u8>, id: Option<u64>) -> Result<Frame, StreamError> {
    let header: &[u8; MESSAGE_HEADER_BYTES] = bytes.first_chunk().ok_or(StreamError::Form)?;
    let number = |range: std::ops::Range<usize>| header[range].iter().fold(0, |sum, byte| sum << 8 | u64::from(*byte));
    let seq = number(1..9);
    let stored_at = number(9..17);
    let tariff_version = u32::try_from(number(17..21)).expect("four bytes are 32 bits");
    let relayed = match header[21] {
        0 => false,
        FLAG_RELAYED => true,
        _ => return Err(StreamError::Form),
    };
    if id != Some(seq) {
        return Err(StreamError::Number { event: id, frame: Some(seq) });
    }
    let packet = Bytes::from(bytes).slice(MESSAGE_HEADER_BYTES..);
    Ok(Frame::Message { seq, stored_at, tariff_version, relayed, packet })
}

#[cfg(test)]
mod tests;
