// What comes back on a command is sealed under the session key that the command carried, made new by a salt.

import { chacha20poly1305 } from "@noble/ciphers/chacha";
import { hkdf } from "@noble/hashes/hkdf";
import { sha256 } from "@noble/hashes/sha2";

import { bigEndian, concat, utf8 } from "./bytes.js";
import { multipleOf, pad, unpad } from "./padding.js";

const SALT_BYTES = 32;
const REPLY_PADDING = multipleOf(512);

/** Seals and opens by the count of what was sealed before. */
export const sessionCipher = (session, salt, info) => {
  const key = hkdf(sha256, session, salt, utf8(info), 32);
  const at = (count, aad) => chacha20poly1305(key, bigEndian(count, 12), aad);
  return {
    seal: (count, aad, plaintext) => at(count, aad).encrypt(plaintext),
    open: (count, aad, ciphertext) => at(count, aad).decrypt(ciphertext),
  };
};

const replyCipher = (session, salt) => sessionCipher(session, salt, "layer-minus/1 reply");
const NOTHING = new Uint8Array(0);

/** Seals the CBOR of a reply. */
export const sealReply = (session, salt, reply) =>
  concat(salt, replyCipher(session, salt).seal(0, NOTHING, pad(reply, REPLY_PADDING)));

/** The CBOR of a sealed reply. */
export const openReply = (session, bytes) => {
  const [salt, ciphertext] = [bytes.subarray(0, SALT_BYTES), bytes.subarray(SALT_BYTES)];
  return unpad(replyCipher(session, salt).open(0, NOTHING, ciphertext), REPLY_PADDING);
};
