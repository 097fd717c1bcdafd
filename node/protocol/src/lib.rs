//! What goes over the wire of Layer Minus: the packet, commands and their replies, the event stream, and the arithmetic of
//! tariff, meter and statement. Node and client both stand on this crate, so that they agree to the byte and to the base
//! unit. No I/O, no clock, no async: time is an argument, and whatever parses a stranger's bytes answers every input with a
//! value or an error, in memory bounded by that input.
//!
//! In the order of a packet's life:
//! - [`sealing`]: the key a packet is sealed to, and the secret that opens it
//! - [`packet`]: the packet's bytes; seal, parse, open ([`padding`]: what its length tells)
//! - [`bundle`]: several of them in one request from a relay to an agent
//! - [`command`]: what a packet to a node's own address asks for; [`reply`]: what comes back ([`session`]: under which key)
//! - [`stream`]: the frames pushed to a subscriber; [`sse`]: the events they travel in; [`relay_count`]: what a blind
//!   relay counts of them
//! - [`tariff`], [`meter`], [`statement`]: what it costs, how it adds up, and whether the customer agrees
//! - [`status`], [`headers`]: what HTTP says around all this; [`endpoint`]: where it may be said to

pub mod bundle;
pub mod cbor;
pub mod command;
pub mod endpoint;
pub mod headers;
pub mod meter;
pub mod packet;
pub mod padding;
pub mod relay_count;
pub mod reply;
pub mod sealing;
pub mod session;
pub mod sse;
pub mod statement;
pub mod status;
pub mod stream;
pub mod tariff;

pub use bundle::{Bundle, BundleError, CONTENT_BUNDLE, Judgement};
pub use cbor::CborError;
pub use command::{COMMAND_FRESHNESS_MS, Command, CommandBody, CommandError, check_fresh};
pub use meter::{Carriage, LINES_MAX, Meter, MeterError, MeterLine, add_message, add_relay, add_waiting, due, total};
pub use packet::{
    BODY_BYTES_MAX, Opened, Outgoing, PACKET_BYTES_MAX, PACKET_BYTES_MIN, Packet, PacketError, open, seal,
};
pub use padding::PaddingError;
pub use relay_count::RelayCounter;
pub use reply::{Refusal, RelayStatement, Reply, ReplyError, open_reply, seal_reply};
pub use sealing::{SealingKey, SealingKeyError, SealingSecret};
pub use session::{SessionKey, random_bytes};
pub use sse::{SseError, SseEvent, SseParser, event_id};
pub use statement::{CLOCK_TOLERANCE_S, Disagreement, Expected, Statement, check};
pub use status::{Advice, Receipt, Status, Stored};
pub use stream::{Frame, MESSAGE_HEADER_BYTES, StreamError, StreamOpener, StreamSealer};
pub use tariff::{Tariff, reserve};
