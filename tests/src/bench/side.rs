//! What is measured, as the load generator sees it: where to post, what to post, how to listen, whose time it costs.

use std::net::SocketAddr;

use anyhow::Result;
use rand::rngs::StdRng;
use rand::{RngCore, SeedableRng};

/// The body of every message: a kibibyte and a little, because the packet's padding knows no 1,024.
pub const BODY_BYTES: usize = 1_030;

/// One of the programs that are compared. The generator does the same for each.
pub trait Side: Send + Sync {
    /// For the table.
    fn name(&self) -> &str;

    /// Where it listens.
    fn address(&self) -> SocketAddr;

    /// How many wallets or channels there are to post to.
    fn channels(&self) -> usize;

    /// Appends a whole request that posts the message of this number to a channel.
    fn post(&self, channel: usize, message: u64, request: &mut Vec<u8>);

    /// A whole request that listens to a channel.
    fn listen(&self, channel: usize) -> Result<Vec<u8>>;

    /// An event with this number arrived on the channel.
    fn received(&self, _channel: usize, _number: u64) {}

    /// The processes that work for it.
    fn processes(&self) -> Vec<u32>;
}

/// Bytes of a body that differ from message to message.
const STAMP_BYTES: usize = 16;

/// Makes bodies that are all different, cheaply: one random text with another number in it each time.
#[derive(Debug, Clone)]
pub struct Bodies {
    text: [u8; BODY_BYTES],
    run: u64,
}

impl Bodies {
    /// Random bytes.
    pub fn new() -> Self {
        let mut random = StdRng::from_os_rng();
        let mut text = [0; BODY_BYTES];
        random.fill_bytes(&mut text);
        Self { text, run: random.next_u64() }
    }

    /// Random lower-case digits: one line of text, so that an event stream carries it in one field.
    pub fn printable() -> Self {
        let mut bodies = Self::new();
        for byte in &mut bodies.text {
            *byte = b'a' + *byte % 16;
        }
        bodies
    }

    /// Appends the body of a message, beginning with `start`, different after it.
    pub fn write(&self, start: &[u8], message: u64, request: &mut Vec<u8>) {
        request.extend_from_slice(start);
        let stamp: [u8; STAMP_BYTES] = {
            let mut stamp = [0; STAMP_BYTES];
            stamp[..8].copy_from_slice(&self.run.to_le_bytes());
            stamp[8..].copy_from_slice(&message.to_le_bytes());
            stamp
        };
        // As letters, so that the stamp fits text and bytes alike.
        request.extend(stamp.iter().flat_map(|byte| [b'a' + (byte >> 4), b'a' + (byte & 15)]));
        request.extend_from_slice(&self.text[start.len() + 2 * STAMP_BYTES..]);
    }
}

impl Default for Bodies {
    fn default() -> Self {
        Self::new()
    }
}

/// The head of a POST of one message.
pub fn post_head(path: &str, host: SocketAddr) -> Vec<u8> {
    format!(
        "POST {path} HTTP/1.1\r\nhost: {host}\r\ncontent-type: application/octet-stream\r\ncontent-length: {BODY_BYTES}\r\n\r\n"
    )
    .into_bytes()
}

#[cfg(test)]
mod tests {
    use minus_protocol::Packet;

    use super::*;

    #[test]
    fn every_body_is_another_packet_of_the_stated_length() {
        let bodies = Bodies::new();
        let start = [&[1][..], &[7; 20], &[4]].concat();
        let ids: std::collections::HashSet<_> = (0..100)
            .map(|message| {
                let mut body = Vec::new();
                bodies.write(&start, message, &mut body);
                assert_eq!(body.len(), BODY_BYTES);
                let packet = Packet::parse(body).expect("well-formed");
                assert_eq!(packet.recipient().as_slice(), [7; 20]);
                packet.id()
            })
            .collect();
        assert_eq!(ids.len(), 100);
    }

    #[test]
    fn printable_bodies_are_one_line() {
        let mut body = Vec::new();
        Bodies::printable().write(b"", 3, &mut body);
        assert!(body.len() == BODY_BYTES && body.iter().all(u8::is_ascii_lowercase));
    }
}
