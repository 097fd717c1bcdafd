//! What a packet's body says to its receiver: a text, or one part of a file. CBOR, decoded with every bound checked,
//! because the sender may be anybody.
//!
//! Flow: `send` splits and encodes; `listen` decodes and hands the parts to the store and to `assemble`.

use serde::{Deserialize, Serialize};

use crate::file_name::NAME_BYTES_MAX;

/// Bytes of a file that one packet carries. Padding rounds a plaintext of this size up to a multiple of 4 KiB; this
/// is the largest size whose packet, with 1 KiB for names, keys and the signature, stays within 256 KiB: small
/// enough that a lost connection repeats little, large enough that per-packet cost does not matter.
pub const PART_BYTES: usize = 63 * 4096 - 1024;

/// Longest text, in bytes. A longer one is sent as a file.
pub const TEXT_BYTES_MAX: usize = 64 * 1024;

/// Most parts of one file: 16 GiB at our part size. Bounds what one file's bookkeeping may take.
pub const PARTS_MAX: u32 = 1 << 16;

/// The content of one packet.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Content {
    /// A short text.
    Text {
        /// The text itself.
        text: String,
    },
    /// One part of a file.
    FilePart(FilePart),
}

/// One part of a file, with all that is needed to know the whole.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FilePart {
    /// Random, the same in all parts of one sending.
    #[serde(with = "serde_bytes")]
    pub file_id: [u8; 16],
    /// The file's name as the sender has it: a stranger's word, see [`crate::file_name::sanitise`].
    pub name: String,
    /// Size of the whole file in bytes.
    pub size: u64,
    /// SHA-256 of the whole file.
    #[serde(with = "serde_bytes")]
    pub sha256: [u8; 32],
    /// Which part this is, from 0.
    pub index: u32,
    /// How many parts there are.
    pub count: u32,
    /// This part's bytes.
    #[serde(with = "serde_bytes")]
    pub bytes: Vec<u8>,
}

/// Why a body is no content.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ContentError {
    /// Not CBOR of a known shape.
    #[error("unknown content")]
    Unknown,
    /// A text above its limit.
    #[error("a text of {given} bytes is above the limit of {limit}; send it as a file")]
    TextTooLong {
        /// Bytes given.
        given: usize,
        /// [`TEXT_BYTES_MAX`].
        limit: usize,
    },
    /// A file that needs more parts than allowed.
    #[error("a file of {size} bytes is above the limit of {limit} bytes")]
    FileTooLarge {
        /// Bytes given.
        size: u64,
        /// What [`PARTS_MAX`] parts hold.
        limit: u64,
    },
    /// A part that contradicts itself.
    #[error("a file part that contradicts itself: {0}")]
    BadPart(&'static str),
}

impl Content {
    /// CBOR bytes.
    pub fn encode(&self) -> Vec<u8> {
        let mut bytes = Vec::new();
        ciborium::into_writer(self, &mut bytes).expect("writing CBOR of a plain value to memory cannot fail");
        bytes
    }

    /// Reads a body and checks every bound.
    pub fn decode(bytes: &[u8]) -> Result<Self, ContentError> {
        let mut rest = bytes;
        let content: Self = ciborium::from_reader(&mut rest).map_err(|_| ContentError::Unknown)?;
        if !rest.is_empty() {
            return Err(ContentError::Unknown);
        }
        content.check()?;
        Ok(content)
    }

    /// A text within its limit.
    pub fn text(text: impl Into<String>) -> Result<Self, ContentError> {
        let content = Self::Text { text: text.into() };
        content.check()?;
        Ok(content)
    }

    fn check(&self) -> Result<(), ContentError> {
        match self {
            Self::Text { text } if text.len() > TEXT_BYTES_MAX => {
                Err(ContentError::TextTooLong { given: text.len(), limit: TEXT_BYTES_MAX })
            }
            Self::Text { .. } => Ok(()),
            Self::FilePart(part) => part.check(),
        }
    }
}

impl FilePart {
    fn check(&self) -> Result<(), ContentError> {
        let length = u64::try_from(self.bytes.len()).map_err(|_| ContentError::BadPart("length"))?;
        if self.count == 0 || self.count > PARTS_MAX {
            Err(ContentError::BadPart("count out of range"))
        } else if self.index >= self.count {
            Err(ContentError::BadPart("index out of range"))
        } else if self.name.len() > NAME_BYTES_MAX * 4 {
            Err(ContentError::BadPart("name too long"))
        } else if length > self.size || (length == 0 && self.size > 0) {
            Err(ContentError::BadPart("length and size disagree"))
        } else if self.count == 1 && length != self.size {
            Err(ContentError::BadPart("the only part is not the whole"))
        } else if u64::from(self.count) > self.size.max(1) {
            Err(ContentError::BadPart("more parts than bytes"))
        } else if i64::try_from(self.size).is_err() {
            Err(ContentError::BadPart("size out of range"))
        } else {
            Ok(())
        }
    }
}

/// How many parts a file of `size` bytes travels in; an empty file is one empty part.
pub fn part_count(size: u64) -> Result<u32, ContentError> {
    let part = u64::try_from(PART_BYTES).expect("a part's size fits 64 bits");
    u32::try_from(size.div_ceil(part).max(1))
        .ok()
        .filter(|count| *count <= PARTS_MAX)
        .ok_or(ContentError::FileTooLarge { size, limit: u64::from(PARTS_MAX) * part })
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a test fails by panicking")]
    use super::*;
    use proptest::prelude::*;

    fn part(bytes: Vec<u8>) -> FilePart {
        let size = u64::try_from(bytes.len()).unwrap();
        FilePart { file_id: [7; 16], name: "a.txt".into(), size, sha256: [9; 32], index: 0, count: 1, bytes }
    }

    #[test]
    fn refuses_parts_that_contradict_themselves() {
        let good = part(vec![1, 2, 3]);
        for (bad, reason) in [
            (FilePart { count: 0, ..good.clone() }, "count out of range"),
            (FilePart { count: PARTS_MAX + 1, ..good.clone() }, "count out of range"),
            (FilePart { index: 1, ..good.clone() }, "index out of range"),
            (FilePart { size: 2, ..good.clone() }, "length and size disagree"),
            (FilePart { size: 4, ..good.clone() }, "the only part is not the whole"),
            (FilePart { count: 9, ..good.clone() }, "more parts than bytes"),
            (FilePart { bytes: vec![], ..good.clone() }, "length and size disagree"),
            (FilePart { name: "n".repeat(NAME_BYTES_MAX * 4 + 1), ..good.clone() }, "name too long"),
        ] {
            let encoded = Content::FilePart(bad).encode();
            assert_eq!(Content::decode(&encoded), Err(ContentError::BadPart(reason)));
        }
    }

    #[test]
    fn refuses_long_texts_and_trailing_bytes() {
        let long = "x".repeat(TEXT_BYTES_MAX + 1);
        assert!(matches!(Content::text(long), Err(ContentError::TextTooLong { .. })));
        let mut encoded = Content::text("hello").unwrap().encode();
        encoded.push(0);
        assert_eq!(Content::decode(&encoded), Err(ContentError::Unknown));
    }

    #[test]
    fn refuses_files_above_the_limit() {
        let limit = u64::from(PARTS_MAX) * u64::try_from(PART_BYTES).unwrap();
        assert_eq!(part_count(limit), Ok(PARTS_MAX));
        assert_eq!(part_count(limit + 1), Err(ContentError::FileTooLarge { size: limit + 1, limit }));
        assert_eq!(part_count(0), Ok(1));
    }

    #[test]
    fn the_wire_shape_stays() {
        assert_eq!(hex::encode(Content::text("hi").unwrap().encode()), "a16474657874a16474657874626869");
        let encoded = Content::FilePart(part(vec![1])).encode();
        assert!(hex::encode(&encoded).starts_with("a16966696c655f70617274a76766696c655f696450070707"));
    }

    proptest! {
        #[test]
        fn what_is_encoded_is_decoded(bytes in proptest::collection::vec(any::<u8>(), 0..2000), text in "\\PC{0,200}") {
            let content = Content::FilePart(part(bytes));
            prop_assert_eq!(Content::decode(&content.encode()), Ok(content));
            let content = Content::Text { text };
            prop_assert_eq!(Content::decode(&content.encode()), Ok(content));
        }

        #[test]
        fn random_bytes_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
            let _ = Content::decode(&bytes);
        }
    }
}
