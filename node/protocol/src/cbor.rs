//! Strict CBOR: one value has exactly one encoding on our wire.
//!
//! Everything structured in a packet, a command, a reply or a stream frame passes through these two functions. What a
//! stranger sends is decoded with bounded depth and then written again and compared, so that a second encoding of the
//! same value (longer integers, unknown or reordered fields, indefinite lengths, tags) is refused instead of guessed at.

use std::io;

use serde::{Serialize, de::DeserializeOwned};

/// Nesting that the deepest of our values needs, with room to spare: reply > statement > lines > line > meter.
const DEPTH_MAX: usize = 16;

/// Why bytes are not the CBOR of the value expected here. Final: the same bytes never become valid.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CborError {
    /// Not CBOR, cut short, nested too deeply, or of another shape.
    #[error("not the CBOR value expected here")]
    Malformed,
    /// The value ends before the bytes do.
    #[error("{0} bytes follow the CBOR value")]
    Trailing(usize),
    /// The value is right, its encoding is not the one that this crate writes.
    #[error("the CBOR is not in its one valid encoding")]
    NotCanonical,
    /// More bytes than this kind of value may have.
    #[error("{len} bytes of CBOR exceed the limit of {limit}")]
    TooLong {
        /// Bytes given.
        len: usize,
        /// Bytes allowed.
        limit: usize,
    },
}

pub(crate) fn encode<T: Serialize>(value: &T) -> Vec<u8> {
    let mut bytes = Vec::new();
    ciborium::into_writer(value, &mut bytes)
        .expect("a vector takes every write and our types serialise in every state");
    bytes
}

/// Memory is bounded by the input: no length that the bytes only claim is allocated.
pub(crate) fn decode<T: Serialize + DeserializeOwned>(bytes: &[u8], limit: usize) -> Result<T, CborError> {
    if bytes.len() > limit {
        return Err(CborError::TooLong { len: bytes.len(), limit });
    }
    let mut rest = bytes;
    let value: T =
        ciborium::de::from_reader_with_recursion_limit(&mut rest, DEPTH_MAX).map_err(|_| CborError::Malformed)?;
    if !rest.is_empty() {
        return Err(CborError::Trailing(rest.len()));
    }
    let mut expected = Expected(bytes);
    ciborium::into_writer(&value, &mut expected).map_err(|_| CborError::NotCanonical)?;
    if expected.0.is_empty() { Ok(value) } else { Err(CborError::NotCanonical) }
}

/// A writer that accepts exactly the bytes it was made of, and so compares without a second buffer.
struct Expected<'a>(&'a [u8]);

impl io::Write for Expected<'_> {
    fn write(&mut self, written: &[u8]) -> io::Result<usize> {
        self.0 = self.0.strip_prefix(written).ok_or(io::ErrorKind::InvalidData)?;
        Ok(written.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde::Deserialize;

    use super::*;

    #[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
    struct Pair {
        big: u128,
        small: u8,
    }

    #[test]
    fn refuses_a_trailing_byte() {
        let mut bytes = encode(&7u64);
        bytes.push(0);
        assert_eq!(decode::<u64>(&bytes, 64), Err(CborError::Trailing(1)));
    }

    #[test]
    fn refuses_a_longer_encoding_of_the_same_number() {
        // 0x18 0x07 is 7 in two bytes; one byte is the shortest
        assert_eq!(decode::<u64>(&[0x18, 0x07], 64), Err(CborError::NotCanonical));
        assert_eq!(decode::<u64>(&[0x07], 64), Ok(7));
    }

    #[test]
    fn refuses_an_unknown_field() {
        // {"big": 1, "small": 2, "x": 0}
        let bytes = b"\xa3\x63big\x01\x65small\x02\x61x\x00";
        assert_eq!(decode::<Pair>(bytes, 64), Err(CborError::NotCanonical));
    }

    #[test]
    fn refuses_reordered_fields() {
        assert_eq!(decode::<Pair>(b"\xa2\x65small\x02\x63big\x01", 64), Err(CborError::NotCanonical));
        assert_eq!(decode::<Pair>(b"\xa2\x63big\x01\x65small\x02", 64), Ok(Pair { big: 1, small: 2 }));
    }

    #[test]
    fn refuses_a_tag_around_the_value() {
        assert_eq!(decode::<u64>(&[0xc1, 0x07], 64), Err(CborError::NotCanonical));
    }

    #[test]
    fn refuses_a_claimed_length_without_allocating_it() {
        // an array of 2^64 - 1 elements, and a byte string of 2^62 bytes, of which none follow
        let array = [0x9b, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff];
        assert_eq!(decode::<Vec<Pair>>(&array, 64), Err(CborError::Malformed));
        let string = [0x5b, 0x40, 0, 0, 0, 0, 0, 0, 0];
        assert_eq!(decode::<serde_bytes::ByteBuf>(&string, 64), Err(CborError::Malformed));
    }

    #[test]
    fn refuses_more_than_the_limit_unread() {
        assert_eq!(decode::<u64>(&[0; 65], 64), Err(CborError::TooLong { len: 65, limit: 64 }));
    }

    #[test]
    fn refuses_deep_nesting() {
        let deep = vec![0x81; 10_000];
        assert_eq!(decode::<Vec<u8>>(&deep, 10_000), Err(CborError::Malformed));
    }

    proptest! {
        #[test]
        fn reads_back_what_it_wrote(big: u128, small: u8) {
            let pair = Pair { big, small };
            prop_assert_eq!(decode::<Pair>(&encode(&pair), 64), Ok(pair));
        }

        #[test]
        fn any_bytes_are_answered(bytes in prop::collection::vec(any::<u8>(), 0..64)) {
            if let Ok(pair) = decode::<Pair>(&bytes, 64) {
                prop_assert_eq!(encode(&pair), bytes);
            }
        }
    }
}
