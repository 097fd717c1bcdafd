//! Padding: how much of a length an observer learns.
//!
//! A packet's plaintext is padded to Padmé's buckets (Nikitin et al., "Reducing Metadata Leakage from Encrypted Files and
//! Communication with PURBs", PoPETs 2019, section 4): a length of n bytes leaks only O(log log n) bits and grows by less
//! than 12 %. Replies and small stream frames are padded to a multiple. Both have one form,
//! `length 4 (big-endian) | content | zeros`, and one valid size for each content.

/// The smallest bucket: commands, short texts and acknowledgements all look alike below it.
pub const BUCKET_BYTES_MIN: usize = 256;

/// Bytes of the length before the content.
pub const LENGTH_BYTES: usize = 4;

/// Why padded bytes are refused. Final.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PaddingError {
    /// Shorter than its own length field, or the length points past the end.
    #[error("the stated content length {stated} does not fit {available} bytes")]
    Length {
        /// Content bytes stated.
        stated: usize,
        /// Bytes there after the length field.
        available: usize,
    },
    /// The size is not the one that this content is padded to.
    #[error("padded to {given} bytes instead of {expected}")]
    Size {
        /// Bytes given.
        given: usize,
        /// The only valid size.
        expected: usize,
    },
    /// A padding byte is not zero.
    #[error("the padding holds something")]
    NotZero,
}

/// The smallest bucket that holds `len` bytes: `len` rounded up so that, of its binary digits, only as many as its
/// exponent has may be other than zero.
#[must_use]
pub const fn bucket(len: usize) -> usize {
    if len <= BUCKET_BYTES_MIN {
        return BUCKET_BYTES_MIN;
    }
    let mask = low_bits(len);
    len.saturating_add(mask) & !mask
}

/// The largest bucket within `len` bytes; zero where not even the smallest fits.
#[must_use]
pub const fn bucket_within(len: usize) -> usize {
    if len < BUCKET_BYTES_MIN { 0 } else { len & !low_bits(len) }
}

/// The digits that Padmé clears, as a mask. `len` is at least [`BUCKET_BYTES_MIN`].
const fn low_bits(len: usize) -> usize {
    let exponent = len.ilog2();
    let kept = exponent.ilog2() + 1;
    (1 << (exponent - kept)) - 1
}

/// `content` padded to its bucket.
pub(crate) fn pad_to_bucket(content: &[u8]) -> Vec<u8> {
    pad(content, bucket(LENGTH_BYTES + content.len()))
}

/// `content` padded to the next multiple of `multiple` bytes.
pub(crate) fn pad_to_multiple(content: &[u8], multiple: usize) -> Vec<u8> {
    pad(content, (LENGTH_BYTES + content.len()).next_multiple_of(multiple))
}

/// The content of bytes padded by [`pad_to_bucket`].
pub(crate) fn unpad_from_bucket(padded: &[u8]) -> Result<&[u8], PaddingError> {
    unpad(padded, bucket)
}

/// The content of bytes padded by [`pad_to_multiple`].
pub(crate) fn unpad_from_multiple(padded: &[u8], multiple: usize) -> Result<&[u8], PaddingError> {
    unpad(padded, |len| len.next_multiple_of(multiple))
}

fn pad(content: &[u8], size: usize) -> Vec<u8> {
    let length = u32::try_from(content.len()).expect("contents are bounded by the packet, far below 4 GiB");
    let mut padded = Vec::with_capacity(size);
    padded.extend_from_slice(&length.to_be_bytes());
    padded.extend_from_slice(content);
    padded.resize(size, 0);
    padded
}

fn unpad(padded: &[u8], size_of: impl Fn(usize) -> usize) -> Result<&[u8], PaddingError> {
    let Some((length, rest)) = padded.split_first_chunk::<LENGTH_BYTES>() else {
        return Err(PaddingError::Length { stated: 0, available: 0 });
    };
    // on a machine whose usize is smaller than 32 bits the length cannot fit either
    let stated = usize::try_from(u32::from_be_bytes(*length)).unwrap_or(usize::MAX);
    let Some((content, zeros)) = rest.split_at_checked(stated) else {
        return Err(PaddingError::Length { stated, available: rest.len() });
    };
    let expected = size_of(LENGTH_BYTES + content.len());
    if padded.len() != expected {
        return Err(PaddingError::Size { given: padded.len(), expected });
    }
    if zeros.iter().fold(0, |seen, byte| seen | byte) != 0 {
        return Err(PaddingError::NotZero);
    }
    Ok(content)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn refuses_bytes_shorter_than_the_length_field() {
        assert_eq!(unpad_from_bucket(&[0, 0, 0]), Err(PaddingError::Length { stated: 0, available: 0 }));
    }

    #[test]
    fn refuses_a_length_past_the_end() {
        let mut padded = pad_to_bucket(b"abc");
        padded[3] = 253;
        assert_eq!(unpad_from_bucket(&padded), Err(PaddingError::Length { stated: 253, available: 252 }));
        padded[..4].copy_from_slice(&[0xff; 4]);
        assert!(matches!(unpad_from_bucket(&padded), Err(PaddingError::Length { stated: 0xffff_ffff, .. })));
    }

    #[test]
    fn refuses_another_bucket_than_the_contents_own() {
        let padded = pad(b"abc", 272);
        assert_eq!(unpad_from_bucket(&padded), Err(PaddingError::Size { given: 272, expected: 256 }));
    }

    #[test]
    fn refuses_padding_that_holds_something() {
        let mut padded = pad_to_bucket(b"abc");
        padded[255] = 1;
        assert_eq!(unpad_from_bucket(&padded), Err(PaddingError::NotZero));
    }

    #[test]
    fn buckets_of_known_lengths() {
        let known =
            [(0, 256), (256, 256), (257, 272), (272, 272), (273, 288), (512, 512), (513, 544), (1_000_000, 1_015_808)];
        for (len, expected) in known {
            assert_eq!(bucket(len), expected, "{len}");
        }
        assert_eq!(bucket_within(255), 0);
        assert_eq!(bucket_within(271), 256);
        assert_eq!(bucket_within(1 << 20), 1 << 20);
    }

    proptest! {
        #[test]
        fn a_bucket_costs_at_most_twelve_percent(len in BUCKET_BYTES_MIN..1 << 30) {
            let padded = bucket(len);
            prop_assert!(padded >= len);
            prop_assert!((padded - len) * 100 <= len * 12, "{len} -> {padded}");
            prop_assert_eq!(bucket(padded), padded);
            prop_assert_eq!(bucket_within(padded), padded);
            prop_assert!(bucket_within(len) <= len);
        }

        #[test]
        fn buckets_grow_with_the_length(a in 0usize..1 << 24, b in 0usize..1 << 24) {
            prop_assert!(bucket(a.min(b)) <= bucket(a.max(b)));
        }

        #[test]
        fn gives_back_what_it_padded(content in prop::collection::vec(any::<u8>(), 0..2000)) {
            let (bucket, multiple) = (pad_to_bucket(&content), pad_to_multiple(&content, 512));
            prop_assert_eq!(unpad_from_bucket(&bucket), Ok(&content[..]));
            prop_assert_eq!(unpad_from_multiple(&multiple, 512), Ok(&content[..]));
        }

        #[test]
        fn any_bytes_are_answered(bytes in prop::collection::vec(any::<u8>(), 0..600)) {
            if let Ok(content) = unpad_from_bucket(&bytes) {
                prop_assert_eq!(pad_to_bucket(content), bytes);
            }
        }
    }
}
