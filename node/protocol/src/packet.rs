//! The packet: everything that one address says to another travels in one of these, and its layout stands in this file only.
//!
//! ```text
//! version 1 | recipient 20 | enc 65 | ciphertext | tag 16                                  the wire; AAD = the first 21 bytes
//!                                     length 4 | envelope | zeros to the Padmé bucket       the plaintext
//!                                                [sender 20, id 16, sent_at_ms, body, signature 65]     CBOR, an array
//! ```
//!
//! HPKE (RFC 9180) base mode, suite 0x0016 / 0x0001 / 0x0003, info `layer-minus/1 packet`. The signature is the sender's
//! over the EIP-712 struct `Message(sender, recipient, keccak(enc), id, sentAtMs, keccak(body))` in the routing table's
//! domain, so that an envelope lifted out of one packet is worth nothing in another, to another recipient, or on another
//! chain. A carrier sees the recipient and the bucket; the receiver knows the sender for certain; nobody else does.

use std::fmt;

use alloy::{
    primitives::{Address, B256, FixedBytes, keccak256},
    signers::local::PrivateKeySigner,
    sol_types::Eip712Domain,
};
use bytes::Bytes;
use hpke_rs::{Hpke, HpkePrivateKey, HpkePublicKey, Mode};
use hpke_rs_crypto::types::{AeadAlgorithm, KdfAlgorithm, KemAlgorithm};
use hpke_rs_rust_crypto::HpkeRustCrypto;
use minus_bindings::{Message, SignatureError, recover, sign};
use serde::{Deserialize, Serialize};
use sha3::{Digest, Keccak256};

use crate::{
    cbor::{self, CborError},
    padding::{self, PaddingError},
    sealing::{SEALING_KEY_BYTES, SealingKey, SealingSecret},
};

/// The first byte of every packet.
pub const PACKET_VERSION: u8 = 1;

/// The associated data: version and recipient.
pub const PACKET_HEADER_BYTES: usize = 21;

/// Bytes of a Poly1305 tag.
const TAG_BYTES: usize = 16;

/// What a packet adds to its padded plaintext: header, encapsulated key, tag.
pub const PACKET_OVERHEAD_BYTES: usize = PACKET_HEADER_BYTES + SEALING_KEY_BYTES + TAG_BYTES;

/// The smallest packet: one smallest bucket.
pub const PACKET_BYTES_MIN: usize = PACKET_OVERHEAD_BYTES + padding::BUCKET_BYTES_MIN;

/// No packet is longer: it is held in memory whole by every node on its way, many at a time.
pub const PACKET_BYTES_MAX: usize = 1 << 20;

/// The most that the envelope adds to a body: array head 1, sender 1 + 20, id 1 + 16, time 9, body head 5, signature 2 + 65.
const ENVELOPE_OVERHEAD_BYTES: usize = 1 + 21 + 17 + 9 + 5 + 67;

/// The largest envelope that a packet of at most [`PACKET_BYTES_MAX`] bytes holds.
const ENVELOPE_BYTES_MAX: usize =
    padding::bucket_within(PACKET_BYTES_MAX - PACKET_OVERHEAD_BYTES) - padding::LENGTH_BYTES;

/// The largest body whose padded packet fits [`PACKET_BYTES_MAX`].
pub const BODY_BYTES_MAX: usize = ENVELOPE_BYTES_MAX - ENVELOPE_OVERHEAD_BYTES;

/// Application info of the HPKE key schedule.
pub const PACKET_INFO: &[u8] = b"layer-minus/1 packet";

/// Why bytes are no packet, or a packet cannot be sealed or opened. All are final but [`PacketError::Sealing`]: the same
/// bytes never become valid.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PacketError {
    /// Shorter than [`PACKET_BYTES_MIN`].
    #[error("a packet has at least {PACKET_BYTES_MIN} bytes, not {0}")]
    TooShort(usize),
    /// Longer than [`PACKET_BYTES_MAX`].
    #[error("a packet has at most {PACKET_BYTES_MAX} bytes, not {0}")]
    TooLong(usize),
    /// A version this crate does not know.
    #[error("packet version {0} is not {PACKET_VERSION}")]
    Version(u8),
    /// The length is that of no padding bucket: truncated, extended, or not padded.
    #[error("{0} bytes is the length of no padded packet")]
    NotABucket(usize),
    /// The encapsulated key does not start as an uncompressed point does.
    #[error("the encapsulated key is not an uncompressed point")]
    EncapsulatedKey,
    /// The body to seal is longer than [`BODY_BYTES_MAX`].
    #[error("a body has at most {BODY_BYTES_MAX} bytes, not {0}")]
    BodyTooLong(usize),
    /// The random generator or the cipher failed while sealing. Not final: try again.
    #[error("the packet could not be sealed")]
    Sealing,
    /// Not sealed to this key, or changed on the way.
    #[error("the packet does not open under this key")]
    Unopenable,
    /// The padding inside is wrong.
    #[error("bad padding inside the packet: {0}")]
    Padding(#[from] PaddingError),
    /// The envelope inside is wrong.
    #[error("bad envelope inside the packet: {0}")]
    Envelope(#[from] CborError),
    /// The signature inside is none.
    #[error("bad signature inside the packet: {0}")]
    Signature(#[from] SignatureError),
    /// The signature inside is not the stated sender's.
    #[error("the packet says it is from {stated}, its signature is from {recovered}")]
    NotTheSender {
        /// The sender that the envelope names.
        stated: Address,
        /// The address that the signature recovers to; of anything but the signed bytes it is an arbitrary one.
        recovered: Address,
    },
}

/// A well-formed packet: its version, lengths and bucket are right. Whether it opens only the recipient can tell.
/// Cloning shares the bytes.
#[derive(Clone, PartialEq, Eq)]
pub struct Packet(Bytes);

impl Packet {
    /// Checks all that can be checked without the recipient's key, which also refuses nearly every truncation.
    ///
    /// # Errors
    /// [`PacketError::TooShort`], [`PacketError::TooLong`], [`PacketError::Version`], [`PacketError::NotABucket`],
    /// [`PacketError::EncapsulatedKey`].
    pub fn parse(bytes: impl Into<Bytes>) -> Result<Self, PacketError> {
        let bytes = bytes.into();
        if bytes.len() < PACKET_BYTES_MIN {
            return Err(PacketError::TooShort(bytes.len()));
        }
        if bytes.len() > PACKET_BYTES_MAX {
            return Err(PacketError::TooLong(bytes.len()));
        }
        if bytes[0] != PACKET_VERSION {
            return Err(PacketError::Version(bytes[0]));
        }
        let padded = bytes.len() - PACKET_OVERHEAD_BYTES;
        if padding::bucket(padded) != padded {
            return Err(PacketError::NotABucket(bytes.len()));
        }
        if bytes[PACKET_HEADER_BYTES] != 4 {
            return Err(PacketError::EncapsulatedKey);
        }
        Ok(Self(bytes))
    }

    /// The address this packet is for.
    #[must_use]
    pub fn recipient(&self) -> Address {
        Address::from_slice(&self.0[1..PACKET_HEADER_BYTES])
    }

    /// keccak256 of all bytes: what a store knows a packet by.
    #[must_use]
    pub fn id(&self) -> B256 {
        B256::from_slice(&Keccak256::digest(&self.0))
    }

    /// Bytes on the wire, the unit of every count and price.
    #[must_use]
    #[expect(clippy::len_without_is_empty, reason = "a packet has at least PACKET_BYTES_MIN bytes")]
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// The bytes on the wire.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// The bytes on the wire, without a copy.
    #[must_use]
    pub fn into_bytes(self) -> Bytes {
        self.0
    }

    fn header(&self) -> &[u8] {
        &self.0[..PACKET_HEADER_BYTES]
    }

    fn encapsulated_key(&self) -> &[u8] {
        &self.0[PACKET_HEADER_BYTES..PACKET_HEADER_BYTES + SEALING_KEY_BYTES]
    }

    fn ciphertext(&self) -> &[u8] {
        &self.0[PACKET_HEADER_BYTES + SEALING_KEY_BYTES..]
    }
}

impl fmt::Debug for Packet {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "Packet(to {}, {} bytes)", self.recipient(), self.len())
    }
}

/// What a sender puts into a packet.
#[derive(Clone, Copy)]
pub struct Outgoing<'a> {
    /// The message's id, random: the receiver delivers each once to its application.
    pub id: [u8; 16],
    /// When it was sent, in milliseconds of Unix time by the sender's clock.
    pub sent_at_ms: u64,
    /// What is said, at most [`BODY_BYTES_MAX`] bytes.
    pub body: &'a [u8],
}

/// What the recipient finds in a packet.
#[derive(Clone, PartialEq, Eq)]
pub struct Opened {
    /// Who sent it, proven by signature.
    pub sender: Address,
    /// The message's id, chosen by the sender.
    pub id: [u8; 16],
    /// When it was sent, in milliseconds of Unix time by the sender's clock.
    pub sent_at_ms: u64,
    /// What is said.
    pub body: Vec<u8>,
}

impl fmt::Debug for Opened {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "Opened(from {}, at {} ms, {} bytes)", self.sender, self.sent_at_ms, self.body.len())
    }
}

/// Seals one message to `recipient` under its sealing key, signed by `signer` in the routing table's domain.
///
/// # Errors
/// [`PacketError::BodyTooLong`]; [`PacketError::Sealing`] if the machine gives no randomness.
pub fn seal(
    outgoing: &Outgoing<'_>,
    recipient: Address,
    key: &SealingKey,
    signer: &PrivateKeySigner,
    domain: &Eip712Domain,
) -> Result<Packet, PacketError> {
    if outgoing.body.len() > BODY_BYTES_MAX {
        return Err(PacketError::BodyTooLong(outgoing.body.len()));
    }
    let key = HpkePublicKey::new(key.as_bytes().to_vec());
    let (enc, mut context) =
        suite()?.setup_sender(&key, PACKET_INFO, None, None, None).map_err(|_| PacketError::Sealing)?;

    let message = Message {
        sender: signer.address(),
        recipient,
        encHash: keccak256(&enc),
        id: FixedBytes(outgoing.id),
        sentAtMs: outgoing.sent_at_ms,
        bodyHash: keccak256(outgoing.body),
    };
    let envelope = Envelope(
        message.sender.into_array(),
        outgoing.id,
        outgoing.sent_at_ms,
        outgoing.body.to_vec(),
        sign(&message, domain, signer),
    );

    let plaintext = padding::pad_to_bucket(&cbor::encode(&envelope));
    let mut bytes = Vec::with_capacity(PACKET_OVERHEAD_BYTES + plaintext.len());
    bytes.push(PACKET_VERSION);
    bytes.extend_from_slice(recipient.as_slice());
    let ciphertext = context.seal(&bytes, &plaintext).map_err(|_| PacketError::Sealing)?;
    bytes.extend_from_slice(&enc);
    bytes.extend_from_slice(&ciphertext);
    Packet::parse(bytes)
}

/// Opens a packet with the recipient's secret and holds the sender to its signature.
///
/// # Errors
/// [`PacketError::Unopenable`], and whatever is wrong inside: [`PacketError::Padding`], [`PacketError::Envelope`],
/// [`PacketError::Signature`], [`PacketError::NotTheSender`].
pub fn open(packet: &Packet, secret: &SealingSecret, domain: &Eip712Domain) -> Result<Opened, PacketError> {
    let key = HpkePrivateKey::new(secret.expose().to_vec());
    let plaintext = suite()?
        .setup_receiver(packet.encapsulated_key(), &key, PACKET_INFO, None, None, None)
        .and_then(|mut context| context.open(packet.header(), packet.ciphertext()))
        .map_err(|_| PacketError::Unopenable)?;

    let envelope = padding::unpad_from_bucket(&plaintext)?;
    let Envelope(sender, id, sent_at_ms, body, signature) = cbor::decode(envelope, ENVELOPE_BYTES_MAX)?;
    let stated = Address::from(sender);
    let message = Message {
        sender: stated,
        recipient: packet.recipient(),
        encHash: keccak256(packet.encapsulated_key()),
        id: FixedBytes(id),
        sentAtMs: sent_at_ms,
        bodyHash: keccak256(&body),
    };
    let recovered = recover(&message, domain, &signature)?;
    if recovered != stated {
        return Err(PacketError::NotTheSender { stated, recovered });
    }
    Ok(Opened { sender: stated, id, sent_at_ms, body })
}

/// The envelope on the wire: sender, id, sent_at_ms, body, signature.
#[derive(Serialize, Deserialize)]
struct Envelope(
    #[serde(with = "serde_bytes")] [u8; 20],
    #[serde(with = "serde_bytes")] [u8; 16],
    u64,
    #[serde(with = "serde_bytes")] Vec<u8>,
    #[serde(with = "serde_bytes")] [u8; 65],
);

fn suite() -> Result<Hpke<HpkeRustCrypto>, PacketError> {
    Hpke::try_new(Mode::Base, KemAlgorithm::DhKemK256, KdfAlgorithm::HkdfSha256, AeadAlgorithm::ChaCha20Poly1305)
        .map_err(|_| PacketError::Sealing)
}

#[cfg(test)]
mod tests;
