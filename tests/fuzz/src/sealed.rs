//! Seals any bytes where the protocol would only seal what is well-formed: what a hostile peer, who knows the keys, can do.

use alloy::primitives::Address;
use base64::{Engine, engine::general_purpose::STANDARD};
use hkdf::Hkdf;
use hpke_rs::{Hpke, HpkePublicKey, Mode};
use hpke_rs_crypto::{
    HpkeCrypto,
    types::{AeadAlgorithm, KdfAlgorithm, KemAlgorithm},
};
use hpke_rs_rust_crypto::HpkeRustCrypto;
use minus_protocol::{Packet, SealingKey, packet::PACKET_INFO, padding::bucket};
use sha2::Sha256;

const AEAD: AeadAlgorithm = AeadAlgorithm::ChaCha20Poly1305;

/// `length 4 | content | zeros` to a multiple.
pub(crate) fn padded(content: &[u8], multiple: usize) -> Vec<u8> {
    pad(content, |len| len.next_multiple_of(multiple))
}

fn pad(content: &[u8], size: impl Fn(usize) -> usize) -> Vec<u8> {
    let size = size(content.len() + 4);
    // After this byte, which begins none of our contents, the input brings a length field of its own.
    if let Some((0xff, padded)) = content.split_first() {
        let mut padded = padded.to_vec();
        padded.resize(size, 0);
        return padded;
    }
    let length = u32::try_from(content.len()).expect("an input is small");
    let mut padded = length.to_be_bytes().to_vec();
    padded.extend_from_slice(content);
    padded.resize(size, 0);
    padded
}

/// A packet that opens to these bytes, padded to their bucket.
pub(crate) fn packet(content: &[u8], key: &SealingKey) -> Option<Packet> {
    let mut hpke = Hpke::<HpkeRustCrypto>::try_new(Mode::Base, KemAlgorithm::DhKemK256, KdfAlgorithm::HkdfSha256, AEAD)
        .expect("the suite is known");
    let key = HpkePublicKey::new(key.as_bytes().to_vec());
    let (enc, mut context) = hpke.setup_sender(&key, PACKET_INFO, None, None, None).expect("a valid key");
    let header = [&[1][..], Address::repeat_byte(0x22).as_slice()].concat();
    let ciphertext = context.seal(&header, &pad(content, bucket)).expect("it seals");
    Packet::parse([header, enc, ciphertext].concat()).ok()
}

fn key(session: &[u8; 32], salt: &[u8; 32], info: &[u8]) -> [u8; 32] {
    let mut key = [0; 32];
    Hkdf::<Sha256>::new(Some(salt), session).expand(info, &mut key).expect("32 bytes are few");
    key
}

fn seal(key: &[u8; 32], count: u64, aad: &[u8], plaintext: &[u8]) -> Vec<u8> {
    let mut nonce = [0; 12];
    nonce[4..].copy_from_slice(&count.to_be_bytes());
    HpkeRustCrypto::aead_seal(AEAD, key, &nonce, aad, plaintext).expect("it seals")
}

/// The event of one frame with these plain bytes.
pub(crate) fn event(session: &[u8; 32], salt: &[u8; 32], count: u64, id: Option<u64>, plaintext: &[u8]) -> String {
    let id = id.map(|id| id.to_string()).unwrap_or_default();
    let bytes = seal(&key(session, salt, b"layer-minus/1 stream"), count, id.as_bytes(), plaintext);
    let data = STANDARD.encode(bytes);
    if id.is_empty() { format!("data: {data}\n\n") } else { format!("id: {id}\ndata: {data}\n\n") }
}

/// A reply with these plain bytes.
pub(crate) fn reply(session: &[u8; 32], salt: &[u8; 32], plaintext: &[u8]) -> Vec<u8> {
    [salt.as_slice(), &seal(&key(session, salt, b"layer-minus/1 reply"), 0, &[], plaintext)].concat()
}

/// The plain bytes of a reply.
pub(crate) fn open_reply(session: &[u8; 32], bytes: &[u8]) -> Vec<u8> {
    let (salt, ciphertext) = bytes.split_first_chunk::<32>().expect("a sealed reply has a salt");
    let key = key(session, salt, b"layer-minus/1 reply");
    HpkeRustCrypto::aead_open(AEAD, &key, &[0; 12], &[], ciphertext).expect("what was sealed opens")
}
