//! Where an answer's body ends, and which bytes before that are its own. Pure: bytes in, bytes out.

use bytes::{Bytes, BytesMut};

use super::EgressError;

/// Bytes of a line between chunks: a length, its extensions, a trailer. Ours have a few digits.
const LINE_BYTES_MAX: usize = 256;
/// Lines after the last chunk.
const TRAILERS_MAX: u8 = 16;
/// What is at most copied out of the buffer, so that the buffer stays one piece and is used again.
const COPIED_MAX: usize = 2 << 10;

/// How the rest of a body is told from what follows it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Framing {
    /// So many bytes are missing.
    Length(u64),
    /// Chunks, at this point of them.
    Chunked(Chunk),
    /// Everything until the connection ends.
    ToTheEnd,
}

/// A point between or in chunks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Chunk {
    /// Before a line with a length.
    Size,
    /// So many bytes of a chunk are missing.
    Data(u64),
    /// Before the line end after a chunk.
    DataEnd,
    /// After the last chunk, and so many trailers.
    Trailer(u8),
}

/// What could be taken.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Taken {
    /// Bytes of the body.
    Data(Bytes),
    /// More has to be read first.
    Nothing,
    /// The body has ended.
    End,
}

impl Framing {
    pub(super) const fn chunked() -> Self {
        Self::Chunked(Chunk::Size)
    }

    /// Takes what belongs to the body off the front of what was read.
    pub(super) fn take(&mut self, read: &mut BytesMut) -> Result<Taken, EgressError> {
        match self {
            Self::Length(0) => Ok(Taken::End),
            Self::Length(missing) => Ok(up_to(missing, read)),
            Self::ToTheEnd => {
                let mut endless = u64::MAX;
                Ok(up_to(&mut endless, read))
            }
            Self::Chunked(chunk) => chunk.take(read),
        }
    }

    /// Bytes that are certain to come.
    pub(super) const fn announced(&self) -> u64 {
        match self {
            Self::Length(missing) | Self::Chunked(Chunk::Data(missing)) => *missing,
            Self::Chunked(_) | Self::ToTheEnd => 0,
        }
    }
}

impl Chunk {
    fn take(&mut self, read: &mut BytesMut) -> Result<Taken, EgressError> {
        loop {
            match self {
                Self::Data(0) => *self = Self::DataEnd,
                Self::Data(missing) => return Ok(up_to(missing, read)),
                Self::Size => {
                    let Some(line) = line(read)? else { return Ok(Taken::Nothing) };
                    let bytes = size(&line).ok_or(EgressError::Garbled)?;
                    *self = if bytes == 0 { Self::Trailer(0) } else { Self::Data(bytes) };
                }
                Self::DataEnd => match line(read)? {
                    None => return Ok(Taken::Nothing),
                    Some(line) if line.is_empty() => *self = Self::Size,
                    Some(_) => return Err(EgressError::Garbled),
                },
                Self::Trailer(before) => match line(read)? {
                    None => return Ok(Taken::Nothing),
                    Some(line) if line.is_empty() => return Ok(Taken::End),
                    Some(_) if *before < TRAILERS_MAX => *self = Self::Trailer(*before + 1),
                    Some(_) => return Err(EgressError::Garbled),
                },
            }
        }
    }
}

/// As much of the missing bytes as there is.
fn up_to(missing: &mut u64, read: &mut BytesMut) -> Taken {
    let length = usize::try_from(*missing).map_or(read.len(), |missing| missing.min(read.len()));
    if length == 0 {
        return Taken::Nothing;
    }
    *missing -= u64::try_from(length).unwrap_or(u64::MAX);
    if length <= COPIED_MAX {
        let copied = Bytes::copy_from_slice(&read[..length]);
        let _ = read.split_to(length);
        return Taken::Data(copied);
    }
    Taken::Data(read.split_to(length).freeze())
}

/// A whole line without its end.
fn line(read: &mut BytesMut) -> Result<Option<BytesMut>, EgressError> {
    let end = read.iter().take(LINE_BYTES_MAX).position(|byte| *byte == b'\n');
    match end {
        None if read.len() >= LINE_BYTES_MAX => Err(EgressError::Garbled),
        None => Ok(None),
        Some(end) => {
            let line = read.split_to(end + 1);
            // A bare line feed ends no line: programs that differ about that can be played against each other.
            match line.strip_suffix(b"\r\n") {
                Some(text) => Ok(Some(BytesMut::from(text))),
                None => Err(EgressError::Garbled),
            }
        }
    }
}

/// The length in a chunk's first line; its extensions say nothing to us.
fn size(line: &[u8]) -> Option<u64> {
    let digits = line.split(|byte| *byte == b';').next()?.trim_ascii_end();
    let is_hex = !digits.is_empty() && digits.iter().all(u8::is_ascii_hexdigit);
    u64::from_str_radix(std::str::from_utf8(digits).ok().filter(|_| is_hex)?, 16).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A body and what follows it.
    type Whole = (Vec<u8>, Vec<u8>);

    /// Reads a body that comes in pieces of so many bytes. None when it does not end.
    fn body(mut framing: Framing, text: &[u8], piece: usize) -> Result<Option<Whole>, EgressError> {
        let (mut read, mut body) = (BytesMut::new(), Vec::new());
        let mut pieces = text.chunks(piece);
        loop {
            match framing.take(&mut read)? {
                Taken::Data(data) => body.extend_from_slice(&data),
                Taken::End => {
                    let rest = [&read[..], &pieces.collect::<Vec<_>>().concat()].concat();
                    return Ok(Some((body, rest)));
                }
                Taken::Nothing => match pieces.next() {
                    Some(piece) => read.extend_from_slice(piece),
                    None => return Ok(None),
                },
            }
        }
    }

    #[test]
    fn a_body_ends_where_it_says_however_it_comes() {
        let long = vec![b'x'; 3 * COPIED_MAX];
        let mut chunked = format!("2\r\nab\r\n3 ;ext=\"x\"\r\ncde\r\n{:X}\r\n", long.len()).into_bytes();
        chunked.extend_from_slice(&long);
        chunked.extend_from_slice(b"\r\n000\r\ntrailer: x\r\n\r\nrest");
        let expected = [b"abcde".as_slice(), &long].concat();
        for piece in (1..40).chain([1_000, 100_000]) {
            let read = body(Framing::chunked(), &chunked, piece).expect("well-formed");
            assert_eq!(read, Some((expected.clone(), b"rest".to_vec())), "{piece}");
            let read = body(Framing::Length(5), b"abcderest", piece).expect("well-formed");
            assert_eq!(read, Some((b"abcde".to_vec(), b"rest".to_vec())), "{piece}");
            assert_eq!(body(Framing::ToTheEnd, b"abcde", piece).expect("well-formed"), None);
        }
        assert_eq!(body(Framing::Length(0), b"rest", 9).expect("empty"), Some((Vec::new(), b"rest".to_vec())));
    }

    #[test]
    fn half_a_body_has_no_end() {
        for text in ["", "2", "2\r\na", "2\r\nab", "2\r\nab\r\n", "0\r\n", "0\r\nx: y\r\n"] {
            assert_eq!(body(Framing::chunked(), text.as_bytes(), 2).expect("so far well"), None, "{text:?}");
        }
        assert_eq!(body(Framing::Length(5), b"abcd", 9).expect("so far well"), None);
    }

    #[test]
    fn refuses_what_are_no_chunks() {
        let long_line = format!("2;{}", "x".repeat(LINE_BYTES_MAX));
        let trailers = format!("0\r\n{}", "x: y\r\n".repeat(usize::from(TRAILERS_MAX) + 1));
        for text in
            ["\r\n", "x\r\n", "-1\r\n", "2\nab\n", "2\r\nabc\r\n", "11111111111111111\r\n", &long_line, &trailers]
        {
            assert!(matches!(body(Framing::chunked(), text.as_bytes(), 3), Err(EgressError::Garbled)), "{text:?}");
        }
    }
}
