//! The packet against a second implementation of HPKE that shares no code with ours: `bitcoin-hpke`, on libsecp256k1.
//! Each side seals and the other opens, with the envelope built by hand from the layout in `src/packet.rs`.
#![expect(clippy::unwrap_used, reason = "tests")]

use alloy::{
    primitives::{Address, FixedBytes, keccak256},
    signers::local::PrivateKeySigner,
    sol_types::Eip712Domain,
};
use bitcoin_hpke::{
    Deserializable, Kem as _, OpModeR, OpModeS, Serializable, aead::ChaCha20Poly1305, kdf::HkdfSha256,
    kem::SecpK256HkdfSha256, rand_core::OsRng, setup_sender, single_shot_open,
};
use ciborium::Value;
use hkdf::Hkdf;
use minus_bindings::{Message, recover, routing_domain, sign};
use minus_protocol::{Opened, Outgoing, Packet, PacketError, SealingSecret, open, padding::bucket, seal};
use proptest::prelude::*;

type Kem = SecpK256HkdfSha256;
type Cipher = ChaCha20Poly1305;

const INFO: &[u8] = b"layer-minus/1 packet";

/// A receiver whose secret both implementations hold; theirs derives it anew from the wallet's.
struct Receiver {
    address: Address,
    ours: SealingSecret,
    theirs: <Kem as bitcoin_hpke::Kem>::PrivateKey,
}

impl Receiver {
    fn new(wallet_secret: [u8; 32]) -> Self {
        let mut scalar = [0; 32];
        let info = [b"layer-minus/1 sealing".as_slice(), &[0]].concat();
        Hkdf::<sha2::Sha256>::new(None, &wallet_secret).expand(&info, &mut scalar).unwrap();
        Self {
            address: Address::repeat_byte(0x22),
            ours: SealingSecret::derive(&wallet_secret),
            theirs: Deserializable::from_bytes(&scalar).unwrap(),
        }
    }
}

fn domain() -> Eip712Domain {
    routing_domain(31337, Address::repeat_byte(0x44))
}

fn sender() -> PrivateKeySigner {
    PrivateKeySigner::from_slice(&[0x11; 32]).unwrap()
}

/// Seals with libsecp256k1, by hand.
fn seal_theirs(receiver: &Receiver, id: [u8; 16], sent_at_ms: u64, body: &[u8]) -> Packet {
    let key = Kem::sk_to_pk(&receiver.theirs);
    let (enc, mut context) =
        setup_sender::<Cipher, HkdfSha256, Kem, _>(&OpModeS::Base, &key, INFO, &mut OsRng).unwrap();
    let enc = enc.to_bytes();

    let message = Message {
        sender: sender().address(),
        recipient: receiver.address,
        encHash: keccak256(enc),
        id: FixedBytes(id),
        sentAtMs: sent_at_ms,
        bodyHash: keccak256(body),
    };
    let envelope = Value::Array(vec![
        Value::Bytes(message.sender.to_vec()),
        Value::Bytes(id.to_vec()),
        Value::Integer(sent_at_ms.into()),
        Value::Bytes(body.to_vec()),
        Value::Bytes(sign(&message, &domain(), &sender()).to_vec()),
    ]);
    let mut cbor = vec![];
    ciborium::into_writer(&envelope, &mut cbor).unwrap();
    let mut plaintext = u32::try_from(cbor.len()).unwrap().to_be_bytes().to_vec();
    plaintext.extend_from_slice(&cbor);
    plaintext.resize(bucket(plaintext.len()), 0);

    let header = [&[1], receiver.address.as_slice()].concat();
    let ciphertext = context.seal(&plaintext, &header).unwrap();
    Packet::parse([&header, enc.as_slice(), &ciphertext].concat()).unwrap()
}

/// Opens with libsecp256k1, by hand: the envelope's CBOR.
fn open_theirs(receiver: &Receiver, packet: &Packet) -> Result<Vec<u8>, bitcoin_hpke::HpkeError> {
    let (header, rest) = packet.as_bytes().split_at(21);
    let (enc, ciphertext) = rest.split_at(65);
    let enc = Deserializable::from_bytes(enc)?;
    let plaintext =
        single_shot_open::<Cipher, HkdfSha256, Kem>(&OpModeR::Base, &receiver.theirs, &enc, INFO, ciphertext, header)?;
    let (length, rest) = plaintext.split_first_chunk().unwrap();
    let (cbor, zeros) = rest.split_at(u32::from_be_bytes(*length).try_into().unwrap());
    assert!(zeros.iter().all(|byte| *byte == 0));
    assert_eq!(plaintext.len(), bucket(4 + cbor.len()));
    Ok(cbor.to_vec())
}

#[test]
fn a_wallets_sealing_key_is_the_same_in_both() {
    let receiver = Receiver::new([0x33; 32]);
    let theirs = Kem::sk_to_pk(&receiver.theirs).to_bytes();
    assert_eq!(receiver.ours.public().as_bytes().as_slice(), theirs.as_slice());
}

#[test]
fn each_refuses_what_was_changed_in_the_others_packet() {
    let receiver = Receiver::new([0x33; 32]);
    let outgoing = Outgoing { id: [1; 16], sent_at_ms: 2, body: b"hello" };
    let ours = seal(&outgoing, receiver.address, &receiver.ours.public(), &sender(), &domain()).unwrap();
    let theirs = seal_theirs(&receiver, [1; 16], 2, b"hello");
    for index in [1, 20, 22, 85, 86, 200, ours.len() - 1] {
        let changed = |packet: &Packet| {
            let mut bytes = packet.as_bytes().to_vec();
            bytes[index] ^= 1;
            Packet::parse(bytes).unwrap()
        };
        assert!(open_theirs(&receiver, &changed(&ours)).is_err(), "{index}");
        assert_eq!(open(&changed(&theirs), &receiver.ours, &domain()), Err(PacketError::Unopenable), "{index}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn ours_opens_what_theirs_sealed(
        wallet: [u8; 32], id: [u8; 16], sent_at_ms: u64, body in prop::collection::vec(any::<u8>(), 0..3000)
    ) {
        let receiver = Receiver::new(wallet);
        let packet = seal_theirs(&receiver, id, sent_at_ms, &body);
        let opened = open(&packet, &receiver.ours, &domain()).unwrap();
        prop_assert_eq!(opened, Opened { sender: sender().address(), id, sent_at_ms, body });
    }

    #[test]
    fn theirs_opens_what_ours_sealed(
        wallet: [u8; 32], id: [u8; 16], sent_at_ms: u64, body in prop::collection::vec(any::<u8>(), 0..3000)
    ) {
        let receiver = Receiver::new(wallet);
        let outgoing = Outgoing { id, sent_at_ms, body: &body };
        let packet = seal(&outgoing, receiver.address, &receiver.ours.public(), &sender(), &domain()).unwrap();

        let cbor = open_theirs(&receiver, &packet).unwrap();
        let envelope: Value = ciborium::from_reader(cbor.as_slice()).unwrap();
        let Ok([sender_field, id_field, time, body_field, signature]) =
            <[Value; 5]>::try_from(envelope.into_array().unwrap()) else { panic!("five elements") };
        prop_assert_eq!(sender_field.into_bytes().unwrap(), sender().address().to_vec());
        prop_assert_eq!(id_field.into_bytes().unwrap(), id.to_vec());
        prop_assert_eq!(time.into_integer().unwrap(), sent_at_ms.into());
        prop_assert_eq!(body_field.into_bytes().unwrap(), body.clone());

        let message = Message {
            sender: sender().address(),
            recipient: receiver.address,
            encHash: keccak256(&packet.as_bytes()[21..86]),
            id: FixedBytes(id),
            sentAtMs: sent_at_ms,
            bodyHash: keccak256(&body),
        };
        let signature: [u8; 65] = signature.into_bytes().unwrap().try_into().unwrap();
        prop_assert_eq!(recover(&message, &domain(), &signature), Ok(sender().address()));
    }
}
