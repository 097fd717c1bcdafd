// HPKE with secp256k1 and ChaCha20Poly1305, which @hpke/core leaves to others: the KEM by @noble/curves as an adapter
// to its DHKEM, the AEAD by @noble/ciphers. The suite is 0x0016 / 0x0001 / 0x0003 of RFC 9180's registry.

import { Dhkem, HkdfSha256Native, XCryptoKey } from "@hpke/common";
import { CipherSuite, HkdfSha256 } from "@hpke/core";
import { chacha20poly1305 } from "@noble/ciphers/chacha";
import { secp256k1 } from "@noble/curves/secp256k1";

const KEM_ID = 0x0016;
const AEAD_ID = 0x0003;
const NAME = "secp256k1";
const SECRET_BYTES = 32;
export const PUBLIC_BYTES = 65;

const publicKey = (bytes) => new XCryptoKey(NAME, bytes, "public");
const privateKey = (bytes) => new XCryptoKey(NAME, bytes, "private", ["deriveBits"]);
const buffer = (bytes) => new Uint8Array(bytes).buffer;

// What base mode asks of a Diffie-Hellman group. Keys are never derived from other material here: wallets bring theirs.
const group = {
  async serializePublicKey(key) {
    return buffer(key.key);
  },
  async deserializePublicKey(bytes) {
    const key = new Uint8Array(bytes);
    // The 33-byte form is the same point and another key: HPKE hashes the bytes.
    if (key.length !== PUBLIC_BYTES || key[0] !== 4) throw new Error("a public key has 65 uncompressed bytes");
    secp256k1.ProjectivePoint.fromHex(key).assertValidity();
    return publicKey(key);
  },
  async deserializePrivateKey(bytes) {
    const key = new Uint8Array(bytes);
    if (!secp256k1.utils.isValidPrivateKey(key)) throw new Error("not a private key");
    return privateKey(key);
  },
  async derivePublicKey(key) {
    return publicKey(secp256k1.getPublicKey(key.key, false));
  },
  async generateKeyPair() {
    const secret = privateKey(secp256k1.utils.randomPrivateKey());
    return { privateKey: secret, publicKey: await this.derivePublicKey(secret) };
  },
  /** The shared point's x coordinate. */
  async dh(secret, other) {
    return buffer(secp256k1.getSharedSecret(secret.key, other.key, true).subarray(1));
  },
};

class DhkemSecp256k1HkdfSha256 extends Dhkem {
  constructor() {
    super(KEM_ID, group, new HkdfSha256Native());
    this.secretSize = SECRET_BYTES;
    this.encSize = PUBLIC_BYTES;
    this.publicKeySize = PUBLIC_BYTES;
    this.privateKeySize = SECRET_BYTES;
  }
}

const chacha20Poly1305 = {
  id: AEAD_ID,
  keySize: 32,
  nonceSize: 12,
  tagSize: 16,
  createEncryptionContext(key) {
    const cipher = (nonce, aad) => chacha20poly1305(new Uint8Array(key), new Uint8Array(nonce), new Uint8Array(aad));
    return {
      seal: async (nonce, plaintext, aad) => buffer(cipher(nonce, aad).encrypt(new Uint8Array(plaintext))),
      open: async (nonce, ciphertext, aad) => buffer(cipher(nonce, aad).decrypt(new Uint8Array(ciphertext))),
    };
  },
};

export const suite = new CipherSuite({
  kem: new DhkemSecp256k1HkdfSha256(),
  kdf: new HkdfSha256(),
  aead: chacha20Poly1305,
});
