//! An incremental parser of server-sent events (WHATWG HTML, section 9.2), as far as our streams use them.
//!
//! Chunks go in as the network cuts them, complete events come out; what is held is bounded by one event. Lines end with LF
//! or CR LF. Comments and unknown fields are skipped. Stricter than a browser in one thing: an event's id has to be a
//! decimal number without leading zeros, because it is the associated data of what the event carries.

use std::io::BufRead;

use crate::stream::FRAME_BYTES_MAX;

/// The longest event: a message with the largest packet in base64, its id, and room for field names and comments.
pub const EVENT_BYTES_MAX: usize = FRAME_BYTES_MAX.div_ceil(3) * 4 + 1024;

/// Why bytes are no stream of ours. Final for the connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SseError {
    /// An event is longer than [`EVENT_BYTES_MAX`].
    #[error("an event has more than {EVENT_BYTES_MAX} bytes")]
    TooLong,
    /// A line is not UTF-8.
    #[error("the stream is not text")]
    NotText,
    /// An id is not a decimal number in its shortest form.
    #[error("an event's id is not a number")]
    Id,
}

/// One event as received. Events without data are none.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SseEvent {
    /// The `id` field of this very event: a message's sequence number.
    pub id: Option<u64>,
    /// The `event` field.
    pub event: Option<String>,
    /// The `data` field; several lines of it are joined by LF.
    pub data: String,
}

/// The parser's state between two chunks.
#[derive(Debug, Default)]
pub struct SseParser {
    line: Vec<u8>,
    /// Bytes of the current event's finished lines.
    event_bytes: usize,
    id: Option<u64>,
    event: Option<String>,
    data: Option<String>,
}

impl SseParser {
    /// A parser at the beginning of a stream.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Takes the next chunk and returns the events that it completes.
    ///
    /// # Errors
    /// [`SseError`]; events completed by the same chunk are lost with it, and the connection is of no more use.
    pub fn push(&mut self, chunk: &[u8]) -> Result<Vec<SseEvent>, SseError> {
        let mut events = Vec::new();
        let mut rest = chunk;
        while !rest.is_empty() {
            rest.read_until(b'\n', &mut self.line).expect("reading memory does not fail");
            if self.event_bytes + self.line.len() > EVENT_BYTES_MAX {
                return Err(SseError::TooLong);
            }
            if let Some(line) = self.line.strip_suffix(b"\n") {
                let line = str::from_utf8(line.strip_suffix(b"\r").unwrap_or(line)).map_err(|_| SseError::NotText)?;
                if line.is_empty() {
                    let (id, event) = (self.id.take(), self.event.take());
                    events.extend(self.data.take().map(|data| SseEvent { id, event, data }));
                    self.event_bytes = 0;
                } else {
                    let (name, value) = line.split_once(':').unwrap_or((line, ""));
                    let value = value.strip_prefix(' ').unwrap_or(value);
                    match name {
                        "id" => self.id = Some(event_id(value).ok_or(SseError::Id)?),
                        "event" => self.event = Some(value.to_owned()),
                        "data" => match &mut self.data {
                            None => self.data = Some(value.to_owned()),
                            Some(data) => {
                                data.push('\n');
                                data.push_str(value);
                            }
                        },
                        _ => {}
                    }
                    self.event_bytes += self.line.len();
                }
                self.line.clear();
            }
        }
        Ok(events)
    }
}

/// The number of an event's id, and of a [`crate::headers::LAST_EVENT_ID`]; `None` of anything but a decimal number in
/// its shortest form.
#[must_use]
pub fn event_id(text: &str) -> Option<u64> {
    let number: u64 = text.parse().ok()?;
    // "+7" and "007" parse as well; one number has one form
    (number.to_string() == text).then_some(number)
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]

    use proptest::prelude::*;

    use super::*;

    fn parse(text: &str) -> Result<Vec<SseEvent>, SseError> {
        SseParser::new().push(text.as_bytes())
    }

    fn event(id: Option<u64>, event: Option<&str>, data: &str) -> SseEvent {
        SseEvent { id, event: event.map(Into::into), data: data.into() }
    }

    #[test]
    fn refuses_an_endless_line() {
        let mut parser = SseParser::new();
        let chunk = vec![b'x'; 1 << 16];
        let refused = (0..1 << 10).find_map(|_| parser.push(&chunk).err());
        assert_eq!(refused, Some(SseError::TooLong));
        assert!(parser.line.len() <= EVENT_BYTES_MAX + chunk.len());
    }

    #[test]
    fn refuses_an_endless_event() {
        let mut parser = SseParser::new();
        let chunk = "data: x\n".repeat(1 << 13);
        let refused = (0..1 << 10).find_map(|_| parser.push(chunk.as_bytes()).err());
        assert_eq!(refused, Some(SseError::TooLong));
    }

    #[test]
    fn refuses_ids_that_are_no_numbers() {
        for id in ["", "x", "-1", "+1", "007", "1 ", "18446744073709551616"] {
            assert_eq!(parse(&format!("id: {id}\n")), Err(SseError::Id), "{id:?}");
        }
        assert_eq!(parse("id: 18446744073709551615\ndata\n\n").unwrap(), [event(Some(u64::MAX), None, "")]);
    }

    #[test]
    fn refuses_what_is_not_text() {
        assert_eq!(SseParser::new().push(b"data: \xff\n"), Err(SseError::NotText));
    }

    #[test]
    fn reads_fields_as_the_standard_says() {
        assert_eq!(parse("event: salt\ndata: abc\n\n").unwrap(), [event(None, Some("salt"), "abc")]);
        assert_eq!(parse("id:7\ndata:abc\n\n").unwrap(), [event(Some(7), None, "abc")]);
        assert_eq!(parse("data:  two spaces\n\n").unwrap(), [event(None, None, " two spaces")]);
        assert_eq!(parse("data: a\ndata: b\n\n").unwrap(), [event(None, None, "a\nb")]);
        assert_eq!(parse("data: a\r\nid: 1\r\n\r\n").unwrap(), [event(Some(1), None, "a")]);
        assert_eq!(parse(": comment\nretry: 5\nother\ndata: a\n\n").unwrap(), [event(None, None, "a")]);
        assert_eq!(parse("data\n\n").unwrap(), [event(None, None, "")]);
        // no data, no event; and nothing of it stays for the next one
        assert_eq!(parse("id: 1\nevent: x\n\ndata: a\n\n").unwrap(), [event(None, None, "a")]);
        // an event is there when its blank line is
        assert_eq!(parse("data: a\n").unwrap(), []);
    }

    proptest! {
        #[test]
        fn chunks_do_not_matter(
            text in "((id: [1-9]|data: [a-z]{0,9}|event: [a-z]|: [a-z]|)\r?\n){0,30}",
            cuts in prop::collection::vec(any::<prop::sample::Index>(), 0..10),
        ) {
            let mut cuts: Vec<_> = cuts.iter().map(|cut| cut.index(text.len() + 1)).collect();
            cuts.push(text.len());
            cuts.sort_unstable();
            let mut parser = SseParser::new();
            let mut events = vec![];
            let mut from = 0;
            for cut in cuts {
                events.extend(parser.push(&text.as_bytes()[from..cut]).unwrap());
                from = cut;
            }
            prop_assert_eq!(events, parse(&text).unwrap());
        }

        #[test]
        fn any_bytes_are_answered(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
            let _ = SseParser::new().push(&bytes);
        }
    }
}
