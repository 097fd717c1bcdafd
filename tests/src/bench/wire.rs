//! As much of HTTP/1.1 and server-sent events as a load generator needs: it must cost less than what it measures.

use anyhow::{Context, Result, bail};
use memchr::{memchr, memmem};

/// The head of an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Head {
    /// The status code.
    pub status: u16,
    /// Where the body begins.
    pub bytes: usize,
    /// How the body ends.
    pub body: BodyEnd,
}

/// How a body ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BodyEnd {
    /// After so many bytes.
    Length(usize),
    /// With the last chunk.
    Chunked,
    /// With the connection.
    Close,
}

/// The longest head that is waited for.
const HEAD_BYTES_MAX: usize = 16 << 10;

/// Reads the head of an answer, or of a request whose `status` then says 0. None: more bytes are needed.
pub fn head(bytes: &[u8]) -> Result<Option<Head>> {
    let Some(end) = memmem::find(bytes, b"\r\n\r\n") else {
        if bytes.len() > HEAD_BYTES_MAX {
            bail!("a head without an end");
        }
        return Ok(None);
    };
    let mut lines = bytes[..end].split(|byte| *byte == b'\n').map(<[u8]>::trim_ascii);
    let first = lines.next().unwrap_or_default();
    let status = match first.strip_prefix(b"HTTP/1.1 ") {
        Some(rest) => std::str::from_utf8(rest.get(..3).context("no status")?)?.parse()?,
        None => 0,
    };
    let mut body = BodyEnd::Close;
    for line in lines {
        let Some(colon) = memchr(b':', line) else { bail!("a header without a colon") };
        let (name, value) = (&line[..colon], line[colon + 1..].trim_ascii());
        if name.eq_ignore_ascii_case(b"content-length") {
            body = BodyEnd::Length(std::str::from_utf8(value)?.parse()?);
        } else if name.eq_ignore_ascii_case(b"transfer-encoding") && value.eq_ignore_ascii_case(b"chunked") {
            body = BodyEnd::Chunked;
        }
    }
    Ok(Some(Head { status, bytes: end + 4, body }))
}

/// Takes the framing of chunks off a body, in whatever pieces it comes.
#[derive(Debug, Default)]
pub struct Chunks {
    state: ChunkState,
}

#[derive(Debug, Clone, Copy, Default)]
enum ChunkState {
    /// No digit of the next length was seen yet.
    #[default]
    Before,
    /// Within the length's line.
    Length(usize),
    /// So many bytes of this chunk are to come.
    Data(usize),
}

impl Chunks {
    /// Hands the content of `bytes` to `sink`.
    pub fn push(&mut self, mut bytes: &[u8], mut sink: impl FnMut(&[u8])) -> Result<()> {
        while let Some((first, rest)) = bytes.split_first() {
            self.state = match self.state {
                ChunkState::Before | ChunkState::Length(_) if *first == b'\r' => {
                    bytes = rest;
                    continue;
                }
                ChunkState::Before if *first == b'\n' => {
                    bytes = rest;
                    ChunkState::Before
                }
                ChunkState::Before => ChunkState::Length(0),
                ChunkState::Length(length) if *first == b'\n' => {
                    bytes = rest;
                    if length == 0 { ChunkState::Before } else { ChunkState::Data(length) }
                }
                ChunkState::Length(length) => {
                    bytes = rest;
                    let digit = char::from(*first).to_digit(16).context("a chunk's length is no number")?;
                    let longer = length.checked_mul(16).context("a chunk's length is too long")?;
                    ChunkState::Length(longer + usize::try_from(digit)?)
                }
                ChunkState::Data(left) => {
                    let (content, rest) = bytes.split_at(left.min(bytes.len()));
                    sink(content);
                    bytes = rest;
                    if left == content.len() { ChunkState::Before } else { ChunkState::Data(left - content.len()) }
                }
            };
        }
        Ok(())
    }
}

/// Counts the events of a stream that have a number, in whatever pieces they come.
#[derive(Debug, Default)]
pub struct Events {
    /// The beginning of the present line.
    line: Vec<u8>,
    number: Option<u64>,
}

/// As much of a line as is looked at: `id: ` and a number of 64 bits.
const LINE_BYTES_KEPT: usize = 32;

impl Events {
    /// Calls `sink` with the number of each event that ends in `bytes`. nchan numbers with `seconds:count`, of which this
    /// is the seconds.
    pub fn push(&mut self, mut bytes: &[u8], mut sink: impl FnMut(u64)) {
        while let Some(end) = memchr(b'\n', bytes) {
            self.keep(&bytes[..end]);
            bytes = &bytes[end + 1..];
            if self.line.is_empty() {
                if let Some(number) = self.number.take() {
                    sink(number);
                }
            } else if let Some(value) = self.line.strip_prefix(b"id:") {
                let digits = value.trim_ascii().iter().take_while(|byte| byte.is_ascii_digit());
                self.number =
                    Some(digits.fold(0, |sum: u64, digit| sum.wrapping_mul(10).wrapping_add(u64::from(*digit - b'0'))));
            }
            self.line.clear();
        }
        self.keep(bytes);
    }

    fn keep(&mut self, part: &[u8]) {
        let room = LINE_BYTES_KEPT.saturating_sub(self.line.len());
        self.line.extend_from_slice(&part[..room.min(part.len())]);
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]

    use super::*;

    #[test]
    fn reads_a_head_only_when_it_is_whole() {
        let answer = b"HTTP/1.1 202 Accepted\r\nDate: x: y\r\nContent-Length: 16\r\n\r\n{";
        let end = answer.len() - 1;
        for cut in 0..end {
            assert_eq!(head(&answer[..cut]).unwrap(), None, "{cut}");
        }
        assert_eq!(head(answer).unwrap(), Some(Head { status: 202, bytes: end, body: BodyEnd::Length(16) }));
        let stream = b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n";
        assert_eq!(head(stream).unwrap().map(|head| head.body), Some(BodyEnd::Chunked));
        let request = b"POST / HTTP/1.1\r\ncontent-length: 3\r\n\r\n";
        assert_eq!(head(request).unwrap().map(|head| (head.status, head.body)), Some((0, BodyEnd::Length(3))));
        assert!(head(b"HTTP/1.1 200 OK\r\nnonsense\r\n\r\n").is_err());
        assert!(head(&[b'x'; HEAD_BYTES_MAX + 1]).is_err());
    }

    #[test]
    fn pieces_do_not_matter() {
        let events = "event: salt\ndata: abc\n\nid: 7\ndata: 0123456789abcdef0123456789abcdef\n\ndata: a statement\n\n\
                      id: 1700000000:8\ndata: x\n\n: comment\n\n";
        let mut body = Vec::new();
        for part in events.as_bytes().chunks(13) {
            body.extend(format!("{:x}\r\n", part.len()).into_bytes());
            body.extend(part);
            body.extend(b"\r\n");
        }
        body.extend(b"0\r\n\r\n");
        for size in 1..body.len() {
            let (mut chunks, mut parser) = (Chunks::default(), Events::default());
            let (mut numbers, mut content) = (vec![], vec![]);
            for piece in body.chunks(size) {
                chunks
                    .push(piece, |part| {
                        content.extend_from_slice(part);
                        parser.push(part, |number| numbers.push(number));
                    })
                    .unwrap();
            }
            assert_eq!(content, events.as_bytes());
            assert_eq!(numbers, [7, 1_700_000_000]);
        }
        assert!(Chunks::default().push(b"xyz\r\n", |_| ()).is_err());
    }
}
