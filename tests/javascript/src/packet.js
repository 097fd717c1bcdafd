// The packet: sealed by whoever has something to say, opened by the one it is for.
//
//   version 1 | recipient 20 | enc 65 | ciphertext | tag 16
//   inside, padded: CBOR [sender 20, id 16, sent_at_ms, body, signature 65]

import { hkdf } from "@noble/hashes/hkdf";
import { sha256 } from "@noble/hashes/sha2";
import { secp256k1 } from "@noble/curves/secp256k1";
import { keccak256 } from "viem/utils";

import { bigEndian, concat, fromBigEndian, fromHex, randomBytes, toHex, utf8 } from "./bytes.js";
import * as cbor from "./cbor.js";
import { PUBLIC_BYTES, suite } from "./hpke.js";
import { bucket, BUCKET_BYTES_MIN, pad, unpad } from "./padding.js";
import { addressOf, recover, sign } from "./typed.js";

const VERSION = 1;
const HEADER_BYTES = 21;
const OVERHEAD_BYTES = HEADER_BYTES + PUBLIC_BYTES + 16;
const PACKET_BYTES_MIN = OVERHEAD_BYTES + BUCKET_BYTES_MIN;
const PACKET_BYTES_MAX = 1 << 20;
const INFO = utf8("layer-minus/1 packet");

/** The secret that opens what is sealed to a wallet, and the key that others seal to. */
export const sealingKey = (walletSecret) => {
  for (let counter = 0; counter < 256; counter += 1) {
    const info = concat(utf8("layer-minus/1 sealing"), Uint8Array.of(counter));
    const secret = hkdf(sha256, fromHex(walletSecret), undefined, info, 32);
    if (secp256k1.utils.isValidPrivateKey(secret)) {
      return { secret, public: secp256k1.getPublicKey(secret, false) };
    }
  }
  throw new Error("no candidate is a valid scalar");
};

/** Affine coordinates, as the routing table has them, from the 65 bytes; and back. */
export const toAffine = (key) => ({ x: fromBigEndian(key.subarray(1, 33)), y: fromBigEndian(key.subarray(33)) });
export const fromAffine = ({ x, y }) => concat(Uint8Array.of(4), bigEndian(x, 32), bigEndian(y, 32));

/** What a store knows a packet by. */
export const packetId = (packet) => fromHex(keccak256(packet));

const message = (sender, recipient, enc, id, sentAtMs, body) => ({
  sender,
  recipient,
  encHash: keccak256(enc),
  id: `0x${toHex(id)}`,
  sentAtMs,
  bodyHash: keccak256(body),
});

/** Seals a body to the recipient's 65-byte key, signed with the sender's secret in the routing table's domain. */
export const seal = async ({ body, recipient, key, secret, domain, id = randomBytes(16), sentAtMs = Date.now() }) => {
  const context = await suite.createSenderContext({
    recipientPublicKey: await suite.kem.deserializePublicKey(key),
    info: INFO,
  });
  const enc = new Uint8Array(context.enc);
  const sender = addressOf(secret);
  const signature = await sign("Message", message(sender, recipient, enc, id, BigInt(sentAtMs), body), domain, secret);
  const envelope = cbor.encode([fromHex(sender), id, sentAtMs, body, signature]);
  const header = concat(Uint8Array.of(VERSION), fromHex(recipient));
  const ciphertext = await context.seal(pad(envelope, bucket), header);
  const packet = concat(header, enc, new Uint8Array(ciphertext));
  if (packet.length > PACKET_BYTES_MAX) throw new RangeError("the body is too long for a packet");
  return packet;
};

/** What everybody can check of a packet. */
export const parse = (packet) => {
  const padded = packet.length - OVERHEAD_BYTES;
  if (packet.length < PACKET_BYTES_MIN || packet.length > PACKET_BYTES_MAX || bucket(padded) !== padded) {
    throw new Error(`no packet has ${packet.length} bytes`);
  }
  if (packet[0] !== VERSION || packet[HEADER_BYTES] !== 4) throw new Error("not a packet of this version");
  return {
    header: packet.subarray(0, HEADER_BYTES),
    recipient: `0x${toHex(packet.subarray(1, HEADER_BYTES))}`,
    enc: packet.subarray(HEADER_BYTES, HEADER_BYTES + PUBLIC_BYTES),
    ciphertext: packet.subarray(HEADER_BYTES + PUBLIC_BYTES),
  };
};

/** What a packet says to the holder of the sealing secret; the sender is proven. */
export const open = async (packet, sealingSecret, domain) => {
  const { header, recipient, enc, ciphertext } = parse(packet);
  const context = await suite.createRecipientContext({
    recipientKey: await suite.kem.deserializePrivateKey(sealingSecret),
    enc,
    info: INFO,
  });
  const plaintext = new Uint8Array(await context.open(ciphertext, header));
  const envelope = cbor.decode(unpad(plaintext, bucket));
  const [sender, id, sentAtMs, body, signature] = envelope;
  const areBytes = [sender, id, body, signature].every((part) => part instanceof Uint8Array);
  if (envelope.length !== 5 || !areBytes || sender.length !== 20 || id.length !== 16 || typeof sentAtMs !== "bigint") {
    throw new Error("not an envelope");
  }
  const stated = `0x${toHex(sender)}`;
  const signer = await recover("Message", message(stated, recipient, enc, id, sentAtMs, body), domain, signature);
  if (signer.toLowerCase() !== stated) throw new Error("the packet is not signed by its sender");
  return { sender: stated, id, sentAtMs, body };
};
