//! What a relay counts of a stream it cannot read: the packet bytes of the messages that pass.
//!
//! A message's event is the one with an id, and its packet's length follows from the length of its data line alone (see
//! [`crate::stream`]). The counter keeps a few bytes of state whatever passes, copies nothing and never fails: what is
//! no message of ours counts as nothing.

use std::io::BufRead;

use crate::{
    packet::PACKET_BYTES_MAX,
    stream::{FRAME_TAG_BYTES, MESSAGE_HEADER_BYTES},
};

/// The longest beginning of a line that matters: `data: `.
const HEAD_BYTES: usize = 6;

/// The longest end of a line that matters: `==` CR LF.
const TAIL_BYTES: usize = 4;

/// The counter of one stream.
#[derive(Debug, Default)]
pub struct RelayCounter {
    line: Line,
    event: Event,
}

impl RelayCounter {
    /// A counter at the beginning of a stream.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Takes the next chunk of the stream, however the network cut it; gives the packet bytes of the message events that
    /// it completes.
    pub fn push(&mut self, chunk: &[u8]) -> u64 {
        let mut counted = 0u64;
        let mut rest = chunk;
        while !rest.is_empty() {
            let before = rest;
            let taken = rest.skip_until(b'\n').expect("reading memory does not fail");
            self.line.extend(&before[..taken]);
            if before[taken - 1] == b'\n' {
                counted = counted.saturating_add(self.event.take(std::mem::take(&mut self.line)));
            }
        }
        counted
    }
}

/// The line so far: its ends and its length.
#[derive(Debug, Default)]
struct Line {
    head: [u8; HEAD_BYTES],
    tail: [u8; TAIL_BYTES],
    len: usize,
}

impl Line {
    fn extend(&mut self, bytes: &[u8]) {
        for (slot, byte) in self.head.iter_mut().skip(self.len).zip(bytes) {
            *slot = *byte;
        }
        for byte in &bytes[bytes.len().saturating_sub(TAIL_BYTES)..] {
            self.tail.rotate_left(1);
            self.tail[TAIL_BYTES - 1] = *byte;
        }
        self.len = self.len.saturating_add(bytes.len());
    }

    /// Bytes before the line's end.
    fn content_len(&self) -> usize {
        self.len - self.end_len()
    }

    fn end_len(&self) -> usize {
        if self.tail.ends_with(b"\r\n") { 2 } else { 1 }
    }

    /// The length of the value if this is a line of the named field.
    fn value_len(&self, name: &[u8]) -> Option<usize> {
        let head = &self.head[..self.content_len().min(HEAD_BYTES)];
        match head.strip_prefix(name)? {
            [] => Some(0),
            [b':', b' ', ..] => Some(self.content_len() - name.len() - 2),
            [b':', ..] => Some(self.content_len() - name.len() - 1),
            _ => None,
        }
    }

    /// The bytes that a base64 value of this length and end stands for.
    fn decoded_len(&self, value_len: usize) -> Option<usize> {
        let end = &self.tail[..TAIL_BYTES - self.end_len()];
        let padding = end.iter().rev().take(value_len.min(2)).take_while(|byte| **byte == b'=').count();
        if value_len.is_multiple_of(4) { (value_len / 4 * 3).checked_sub(padding) } else { None }
    }
}

/// The event so far.
#[derive(Debug, Default)]
struct Event {
    has_id: bool,
    data_lines: usize,
    /// What the only data line decodes to.
    decoded_len: Option<usize>,
}

impl Event {
    /// Takes a complete line; gives the packet bytes of the event that it ends.
    fn take(&mut self, line: Line) -> u64 {
        if line.content_len() == 0 {
            return std::mem::take(self).packet_len();
        }
        if line.value_len(b"id").is_some() {
            self.has_id = true;
        } else if let Some(value_len) = line.value_len(b"data") {
            self.data_lines = self.data_lines.saturating_add(1);
            self.decoded_len = line.decoded_len(value_len);
        }
        0
    }

    fn packet_len(self) -> u64 {
        if !self.has_id || self.data_lines != 1 {
            return 0;
        }
        self.decoded_len
            .and_then(|len| len.checked_sub(MESSAGE_HEADER_BYTES + FRAME_TAG_BYTES))
            .filter(|len| *len <= PACKET_BYTES_MAX)
            .and_then(|len| u64::try_from(len).ok())
            .unwrap_or(0)
    }
}

#[cfg(test)]
mod tests {
    use base64::{Engine, engine::general_purpose::STANDARD};
    use proptest::prelude::*;

    use super::*;
    use crate::sse::SseParser;

    fn count(text: &str) -> u64 {
        RelayCounter::new().push(text.as_bytes())
    }

    fn data(packet_len: usize) -> String {
        STANDARD.encode(vec![1; MESSAGE_HEADER_BYTES + packet_len + FRAME_TAG_BYTES])
    }

    #[test]
    fn counts_nothing_but_messages() {
        let data = data(358);
        assert_eq!(count(&format!("event: salt\ndata: {data}\n\n")), 0);
        assert_eq!(count(&format!("data: {data}\n\n")), 0);
        assert_eq!(count("id: 1\n\n"), 0);
        assert_eq!(count("id: 1\ndata: \n\n"), 0);
        assert_eq!(count("id: 1\ndata: ====\n\n"), 0);
        assert_eq!(count(&format!("id: 1\ndata: {data}x\n\n")), 0);
        assert_eq!(count(&format!("id: 1\ndata: {data}\ndata: {data}\n\n")), 0);
        assert_eq!(count(&format!("idx: 1\ndata: {data}\n\n")), 0);
        assert_eq!(count(&format!("id: 1\ndatax: {data}\n\n")), 0);
        assert_eq!(count(&format!(": id: 1\ndata: {data}\n\n")), 0);
        let too_long = self::data(PACKET_BYTES_MAX + 1);
        assert_eq!(count(&format!("id: 1\ndata: {too_long}\n\n")), 0);
    }

    #[test]
    fn counts_an_event_when_it_is_complete() {
        let data = data(358);
        let mut counter = RelayCounter::new();
        assert_eq!(counter.push(format!("id: 1\ndata: {data}\n").as_bytes()), 0);
        assert_eq!(counter.push(b"\n"), 358);
        assert_eq!(counter.push(b"\n\n"), 0);
        assert_eq!(counter.push(format!("data:{data}\r\nid:2\r\n\r\n: x\n\n").as_bytes()), 358);
    }

    #[test]
    fn counts_every_length_exactly() {
        for len in 0..100 {
            let expected = u64::try_from(len).expect("small");
            assert_eq!(count(&format!("id: 1\ndata: {}\n\n", data(len))), expected);
            assert_eq!(count(&format!("id: 1\r\ndata:{}\r\n\r\n", data(len))), expected);
        }
        assert_eq!(count(&format!("id: 1\ndata: {}\n\n", data(PACKET_BYTES_MAX))), 1 << 20);
    }

    proptest! {
        /// What a relay counts is what a subscriber gets, even of streams that no honest agent sends.
        #[test]
        fn agrees_with_the_parser(
            text in "((id: [1-9]|data: ?[A-Za-z0-9+/]{0,99}={0,2}|event: [a-z]|: [a-z]|)\r?\n){0,30}",
            cuts in prop::collection::vec(any::<prop::sample::Index>(), 0..10),
        ) {
            let messages = SseParser::new().push(text.as_bytes()).expect("text of numbered events");
            let expected: usize = messages
                .iter()
                .filter(|event| event.id.is_some())
                .filter_map(|event| {
                    let padding = event.data.len() - event.data.trim_end_matches('=').len();
                    let whole = event.data.len().is_multiple_of(4) && !event.data.contains('\n');
                    if whole { (event.data.len() / 4 * 3).checked_sub(padding)?.checked_sub(38) } else { None }
                })
                .sum();
            let mut cuts: Vec<_> = cuts.iter().map(|cut| cut.index(text.len() + 1)).collect();
            cuts.push(text.len());
            cuts.sort_unstable();
            let mut counter = RelayCounter::new();
            let mut counted = 0;
            let mut from = 0;
            for cut in cuts {
                counted += counter.push(&text.as_bytes()[from..cut]);
                from = cut;
            }
            prop_assert_eq!(counted, u64::try_from(expected).expect("small"));
        }

        #[test]
        fn any_bytes_are_answered(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
            RelayCounter::new().push(&bytes);
        }
    }
}
