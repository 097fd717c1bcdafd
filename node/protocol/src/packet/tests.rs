//! Refusals first: every change of a packet, and every envelope that only a modified sender makes.
#![expect(clippy::unwrap_used, reason = "tests")]

use proptest::prelude::*;

use super::*;
use crate::padding::bucket;

const ID: [u8; 16] = [0x1d; 16];
const SENT_AT_MS: u64 = 1_700_000_000_123;

struct World {
    sender: PrivateKeySigner,
    recipient: Address,
    secret: SealingSecret,
    domain: Eip712Domain,
}

impl World {
    fn new() -> Self {
        Self {
            sender: PrivateKeySigner::from_slice(&[0x11; 32]).unwrap(),
            recipient: Address::repeat_byte(0x22),
            secret: SealingSecret::derive(&[0x33; 32]),
            domain: minus_bindings::routing_domain(31337, Address::repeat_byte(0x44)),
        }
    }

    fn seal(&self, body: &[u8]) -> Packet {
        let outgoing = Outgoing { id: ID, sent_at_ms: SENT_AT_MS, body };
        seal(&outgoing, self.recipient, &self.secret.public(), &self.sender, &self.domain).unwrap()
    }

    fn open(&self, packet: &Packet) -> Result<Opened, PacketError> {
        open(packet, &self.secret, &self.domain)
    }

    fn open_bytes(&self, bytes: &[u8]) -> Result<Opened, PacketError> {
        self.open(&Packet::parse(bytes.to_vec())?)
    }

    /// A packet around any plaintext, made for the encapsulated key it is given.
    fn forge(&self, plaintext: impl FnOnce(&[u8]) -> Vec<u8>) -> Packet {
        let key = HpkePublicKey::new(self.secret.public().as_bytes().to_vec());
        let (enc, mut context) = suite().unwrap().setup_sender(&key, PACKET_INFO, None, None, None).unwrap();
        let mut bytes = vec![PACKET_VERSION];
        bytes.extend_from_slice(self.recipient.as_slice());
        let ciphertext = context.seal(&bytes, &plaintext(&enc)).unwrap();
        bytes.extend_from_slice(&enc);
        bytes.extend_from_slice(&ciphertext);
        Packet::parse(bytes).unwrap()
    }

    /// What an honest sender would sign for this encapsulated key.
    fn message(&self, enc: &[u8], body: &[u8]) -> Message {
        Message {
            sender: self.sender.address(),
            recipient: self.recipient,
            encHash: keccak256(enc),
            id: FixedBytes(ID),
            sentAtMs: SENT_AT_MS,
            bodyHash: keccak256(body),
        }
    }

    /// An envelope around that message, its signature made by `sign`.
    fn envelope(&self, body: &[u8], signature: [u8; 65]) -> Vec<u8> {
        let sender = self.sender.address().into_array();
        cbor::encode(&Envelope(sender, ID, SENT_AT_MS, body.to_vec(), signature))
    }
}

#[test]
fn refuses_lengths_and_versions() {
    let packet = World::new().seal(b"hello").into_bytes().to_vec();
    assert_eq!(packet.len(), PACKET_BYTES_MIN);
    let parse = |bytes: &[u8]| Packet::parse(bytes.to_vec()).unwrap_err();
    assert_eq!(parse(&[]), PacketError::TooShort(0));
    assert_eq!(parse(&packet[..PACKET_BYTES_MIN - 1]), PacketError::TooShort(PACKET_BYTES_MIN - 1));
    assert_eq!(parse(&vec![1; PACKET_BYTES_MAX + 1]), PacketError::TooLong(PACKET_BYTES_MAX + 1));
    assert_eq!(parse(&[&packet[..], &[0]].concat()), PacketError::NotABucket(PACKET_BYTES_MIN + 1));
    for version in (0..=u8::MAX).filter(|version| *version != PACKET_VERSION) {
        let mut other = packet.clone();
        other[0] = version;
        assert_eq!(parse(&other), PacketError::Version(version));
    }
    for first in [0, 2, 3, 5, 6, 7] {
        let mut other = packet.clone();
        other[PACKET_HEADER_BYTES] = first;
        assert_eq!(parse(&other), PacketError::EncapsulatedKey);
    }
}

#[test]
fn refuses_a_change_of_any_byte() {
    let world = World::new();
    let packet = world.seal(b"hello").into_bytes().to_vec();
    for index in 0..packet.len() {
        let mut changed = packet.clone();
        changed[index] ^= 1 << (index % 8);
        let error = world.open_bytes(&changed).unwrap_err();
        let expected = match index {
            0 => matches!(error, PacketError::Version(_)),
            PACKET_HEADER_BYTES => error == PacketError::EncapsulatedKey,
            _ => error == PacketError::Unopenable,
        };
        assert!(expected, "byte {index}: {error}");
    }
}

#[test]
fn refuses_every_truncation() {
    let world = World::new();
    let packet = world.seal(&[7; 1000]).into_bytes();
    for len in 0..packet.len() {
        assert!(world.open_bytes(&packet[..len]).is_err(), "{len}");
    }
}

#[test]
fn refuses_another_recipients_key() {
    let world = World::new();
    let packet = world.seal(b"hello");
    let other = SealingSecret::derive(&[0x34; 32]);
    assert_eq!(open(&packet, &other, &world.domain), Err(PacketError::Unopenable));
}

#[test]
fn refuses_another_chain_or_routing_table() {
    let world = World::new();
    let packet = world.seal(b"hello");
    for domain in [
        minus_bindings::routing_domain(1, Address::repeat_byte(0x44)),
        minus_bindings::routing_domain(31337, Address::repeat_byte(0x45)),
    ] {
        let error = open(&packet, &world.secret, &domain).unwrap_err();
        assert!(matches!(error, PacketError::NotTheSender { .. } | PacketError::Signature(_)), "{error}");
    }
}

#[test]
fn refuses_an_envelope_lifted_from_another_packet() {
    let world = World::new();
    let signed_elsewhere = world.message(&[4; 65], b"hello");
    let signature = sign(&signed_elsewhere, &world.domain, &world.sender);
    let packet = world.forge(|_| padding::pad_to_bucket(&world.envelope(b"hello", signature)));
    let error = world.open(&packet).unwrap_err();
    assert!(matches!(error, PacketError::NotTheSender { stated, .. } if stated == world.sender.address()), "{error}");
}

#[test]
fn refuses_a_signature_over_anything_else() {
    let world = World::new();
    let changes: [fn(&mut Message); 5] = [
        |message| message.sender = Address::ZERO,
        |message| message.recipient = Address::ZERO,
        |message| message.id = FixedBytes([0; 16]),
        |message| message.sentAtMs += 1,
        |message| message.bodyHash = B256::ZERO,
    ];
    for change in changes {
        let packet = world.forge(|enc| {
            let mut message = world.message(enc, b"hello");
            change(&mut message);
            padding::pad_to_bucket(&world.envelope(b"hello", sign(&message, &world.domain, &world.sender)))
        });
        assert!(matches!(world.open(&packet), Err(PacketError::NotTheSender { .. })));
    }
}

#[test]
fn refuses_another_signer_and_no_signature() {
    let world = World::new();
    let stranger = PrivateKeySigner::from_slice(&[0x12; 32]).unwrap();
    let packet = world.forge(|enc| {
        let signature = sign(&world.message(enc, b"hello"), &world.domain, &stranger);
        padding::pad_to_bucket(&world.envelope(b"hello", signature))
    });
    let (stated, recovered) = (world.sender.address(), stranger.address());
    assert_eq!(world.open(&packet), Err(PacketError::NotTheSender { stated, recovered }));

    let packet = world.forge(|_| padding::pad_to_bucket(&world.envelope(b"hello", [0; 65])));
    assert_eq!(world.open(&packet), Err(PacketError::Signature(SignatureError::BadV(0))));
}

#[test]
fn refuses_bad_padding_inside() {
    let world = World::new();
    let honest = |enc: &[u8]| {
        let signature = sign(&world.message(enc, b"hello"), &world.domain, &world.sender);
        padding::pad_to_bucket(&world.envelope(b"hello", signature))
    };
    assert!(world.open(&world.forge(honest)).is_ok());

    let dirty = world.forge(|enc| {
        let mut plaintext = honest(enc);
        *plaintext.last_mut().unwrap() = 1;
        plaintext
    });
    assert_eq!(world.open(&dirty), Err(PacketError::Padding(PaddingError::NotZero)));

    let larger = world.forge(|enc| {
        let mut plaintext = honest(enc);
        plaintext.resize(272, 0);
        plaintext
    });
    assert_eq!(world.open(&larger), Err(PacketError::Padding(PaddingError::Size { given: 272, expected: 256 })));

    let past_the_end = world.forge(|enc| {
        let mut plaintext = honest(enc);
        plaintext[..4].copy_from_slice(&[0xff; 4]);
        plaintext
    });
    assert!(matches!(world.open(&past_the_end), Err(PacketError::Padding(PaddingError::Length { .. }))));
}

#[test]
fn refuses_bad_envelopes() {
    let world = World::new();
    let with = |change: fn(&mut Vec<u8>)| {
        let packet = world.forge(|enc| {
            let signature = sign(&world.message(enc, b"hello"), &world.domain, &world.sender);
            let mut envelope = world.envelope(b"hello", signature);
            change(&mut envelope);
            padding::pad_to_bucket(&envelope)
        });
        world.open(&packet).unwrap_err()
    };
    assert_eq!(with(|envelope| envelope.push(0)), PacketError::Envelope(CborError::Trailing(1)));
    assert_eq!(with(|envelope| envelope.truncate(60)), PacketError::Envelope(CborError::Malformed));
    assert_eq!(with(Vec::clear), PacketError::Envelope(CborError::Malformed));
    assert_eq!(with(|envelope| envelope.insert(0, 0xc1)), PacketError::Envelope(CborError::NotCanonical));
    assert_eq!(
        with(|envelope| {
            envelope[0] = 0x86;
            envelope.push(0);
        }),
        PacketError::Envelope(CborError::Trailing(1)),
        "a sixth element"
    );
}

#[test]
fn refuses_a_body_that_fits_no_packet() {
    let world = World::new();
    let body = vec![0; BODY_BYTES_MAX + 1];
    let outgoing = Outgoing { id: ID, sent_at_ms: 0, body: &body };
    let result = seal(&outgoing, world.recipient, &world.secret.public(), &world.sender, &world.domain);
    assert_eq!(result, Err(PacketError::BodyTooLong(BODY_BYTES_MAX + 1)));
}

/// The pitfall this crate's key type exists for: the library takes a 33-byte key and seals what nobody can open.
#[test]
fn a_compressed_key_would_seal_what_nobody_opens_and_cannot_be_had() {
    use k256::elliptic_curve::sec1::ToSec1Point;
    let world = World::new();
    let point = k256::PublicKey::from_sec1_bytes(world.secret.public().as_bytes()).unwrap();
    let compressed = point.to_sec1_point(true);

    let (enc, mut context) = suite()
        .unwrap()
        .setup_sender(&HpkePublicKey::new(compressed.as_bytes().to_vec()), PACKET_INFO, None, None, None)
        .expect("the library does not object");
    let ciphertext = context.seal(&[], b"lost").unwrap();
    let key = HpkePrivateKey::new(world.secret.expose().to_vec());
    let opened =
        suite().unwrap().setup_receiver(&enc, &key, PACKET_INFO, None, None, None).unwrap().open(&[], &ciphertext);
    assert!(opened.is_err(), "the library learned better: this type is no longer needed for that");

    assert!(SealingKey::from_bytes(compressed.as_bytes()).is_err());
}

#[test]
fn the_largest_body_fits_exactly() {
    let world = World::new();
    let body = vec![0x5a; BODY_BYTES_MAX];
    let outgoing = Outgoing { id: ID, sent_at_ms: u64::MAX, body: &body };
    let packet = seal(&outgoing, world.recipient, &world.secret.public(), &world.sender, &world.domain).unwrap();
    assert!(packet.len() <= PACKET_BYTES_MAX);
    assert!(PACKET_OVERHEAD_BYTES + bucket(packet.len() - PACKET_OVERHEAD_BYTES + 1) > PACKET_BYTES_MAX);
    assert_eq!(world.open(&packet).unwrap().body, body);
}

#[test]
fn carries_all_it_was_given() {
    let world = World::new();
    let packet = world.seal(b"hello");
    assert_eq!(packet.recipient(), world.recipient);
    assert_eq!(packet.id(), keccak256(packet.as_bytes()));
    assert_eq!(packet.len(), packet.as_bytes().len());
    let opened = world.open(&packet).unwrap();
    let expected = Opened { sender: world.sender.address(), id: ID, sent_at_ms: SENT_AT_MS, body: b"hello".to_vec() };
    assert_eq!(opened, expected);
    assert!(!format!("{packet:?}{opened:?}").contains("104, 101"), "neither bytes nor bodies are printed");
}

#[test]
fn the_same_message_is_sealed_differently_each_time() {
    let world = World::new();
    assert_ne!(world.seal(b"hello").id(), world.seal(b"hello").id());
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn opens_what_was_sealed(
        body in prop::collection::vec(any::<u8>(), 0..5000),
        id: [u8; 16],
        sent_at_ms: u64,
        sender in 1u8..0xff,
        recipient: [u8; 20],
        secret: [u8; 32],
    ) {
        let domain = World::new().domain;
        let sender = PrivateKeySigner::from_slice(&[sender; 32]).unwrap();
        let secret = SealingSecret::derive(&secret);
        let outgoing = Outgoing { id, sent_at_ms, body: &body };
        let packet = seal(&outgoing, recipient.into(), &secret.public(), &sender, &domain).unwrap();
        let parsed = Packet::parse(packet.clone().into_bytes()).unwrap();
        prop_assert_eq!(&parsed, &packet);
        let opened = open(&parsed, &secret, &domain).unwrap();
        prop_assert_eq!(opened, Opened { sender: sender.address(), id, sent_at_ms, body });
    }

    #[test]
    fn refuses_any_change(body in prop::collection::vec(any::<u8>(), 0..2000), at: prop::sample::Index, change in 1u8..) {
        let world = World::new();
        let mut bytes = world.seal(&body).into_bytes().to_vec();
        let at = at.index(bytes.len());
        bytes[at] ^= change;
        prop_assert!(world.open_bytes(&bytes).is_err());
    }

    #[test]
    fn any_bytes_are_answered(bytes in prop::collection::vec(any::<u8>(), 0..800)) {
        let mut bytes = bytes;
        let world = World::new();
        prop_assert!(world.open_bytes(&bytes).is_err());
        // past the first checks
        bytes.resize(PACKET_BYTES_MIN, 0);
        bytes[0] = PACKET_VERSION;
        bytes[PACKET_HEADER_BYTES] = 4;
        prop_assert_eq!(world.open_bytes(&bytes), Err(PacketError::Unopenable));
    }

    #[test]
    fn any_plaintext_is_answered(plaintext in prop::collection::vec(any::<u8>(), 256)) {
        let world = World::new();
        let mut plaintext = plaintext;
        prop_assert!(world.open(&world.forge(|_| plaintext.clone())).is_err());
        plaintext[..4].copy_from_slice(&[0, 0, 0, 252]);
        plaintext[4] = 0x85;
        prop_assert!(world.open(&world.forge(|_| plaintext)).is_err());
    }
}
