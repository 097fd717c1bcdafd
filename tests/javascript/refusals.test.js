// What this client refuses; `node --test`, which `cargo test -p minus-tests --test javascript` runs.

import assert from "node:assert/strict";
import { test } from "node:test";

import { concat, fromHex, toHex, utf8 } from "./src/bytes.js";
import * as cbor from "./src/cbor.js";
import { decodeReply } from "./src/commands.js";
import { suite } from "./src/hpke.js";
import { addMessage, disagreement, due } from "./src/meter.js";
import { open, parse, seal, sealingKey } from "./src/packet.js";
import { bucket, pad, unpad } from "./src/padding.js";
import { SseParser, StreamOpener, StreamSealer } from "./src/stream.js";
import { domain, recover } from "./src/typed.js";

const secret = (byte) => `0x${byte.repeat(32)}`;
const address = (byte) => `0x${byte.repeat(20)}`;
const routing = domain(31337, address("44"));
const recipient = sealingKey(secret("33"));

const sealed = () =>
  seal({ body: utf8("hello"), recipient: address("22"), key: recipient.public, secret: secret("11"), domain: routing });

test("a second encoding of a CBOR value", () => {
  const bad = ["1817", "190017", "5f4101ff", "9f01ff", "c24101", "a1016178", "a2616101616102", "f7", "616100"];
  for (const bytes of bad) assert.throws(() => cbor.decode(fromHex(bytes)), bytes);
  assert.throws(() => cbor.decode(fromHex("81".repeat(20))));
  assert.throws(() => cbor.decode(fromHex("9b00ffffffffffffff")));
});

test("a reply in another order or form", () => {
  assert.throws(() => decodeReply(cbor.encode({ refused: { detail: "no", reason: "busy" } })));
  assert.throws(() => decodeReply(cbor.encode({ entrusted: { base: "007" } })));
  assert.throws(() => decodeReply(cbor.encode({ entrusted: { base: 7 } })));
});

test("a packet that was changed, cut, or is for another", async () => {
  const packet = await sealed();
  assert.equal(toHex((await open(packet, recipient.secret, routing)).body), toHex(utf8("hello")));
  for (const place of [1, 40, packet.length - 1]) {
    const changed = packet.slice();
    changed[place] ^= 1;
    await assert.rejects(open(changed, recipient.secret, routing));
  }
  assert.throws(() => parse(packet.subarray(0, packet.length - 1)));
  await assert.rejects(open(packet, sealingKey(secret("34")).secret, routing));
  await assert.rejects(open(packet, recipient.secret, domain(1, address("44"))));
});

test("a key in its short form", async () => {
  const short = concat(Uint8Array.of(2 + (recipient.public[64] & 1)), recipient.public.subarray(1, 33));
  await assert.rejects(suite.kem.deserializePublicKey(short));
});

test("padding of another size or with something in it", () => {
  const padded = pad(utf8("x"), bucket);
  assert.equal(padded.length, 256);
  assert.throws(() => unpad(concat(padded, new Uint8Array(32)), bucket));
  padded[100] = 1;
  assert.throws(() => unpad(padded, bucket));
});

test("a signature with s in the upper half or another v", async () => {
  const message = { payer: address("01"), payee: address("02"), cumulative: 1n };
  for (const [s, v] of [["ff", 27], ["01", 26], ["01", 0]]) {
    const signature = concat(fromHex("01".repeat(32)), fromHex(s.repeat(32)), Uint8Array.of(v));
    await assert.rejects(recover("Voucher", message, routing, signature));
  }
});

test("events dropped, repeated, renumbered, or before the salt", () => {
  const session = new Uint8Array(32);
  const sealer = new StreamSealer(session, new Uint8Array(32).fill(9));
  const stored = { storedAt: 1n, tariffVersion: 1, relayedIn: false };
  const message = (seq) => ({ kind: "message", seq, ...stored, packet: utf8("x") });
  const text = [sealer.openingEvent(1000), sealer.seal(message(1n)), sealer.seal(message(2n))].join("");
  const [salt, first, second] = new SseParser().push(utf8(text));
  const opens = (...events) => {
    const opener = new StreamOpener(session);
    return events.map((event) => opener.open(event)).length;
  };
  assert.equal(opens(salt, first, second), 3);
  const bad = [[first], [salt, second], [salt, first, first], [salt, { ...first, id: "2" }], [salt, first, salt]];
  for (const events of bad) assert.throws(() => opens(...events));
});

test("each line of a statement above the own count, by its name", () => {
  const tariff = { delivery: 1n << 40n, relay: 1n << 40n, storing: 1n << 40n };
  const message = { seq: 1n, bytes: 1024, storedAt: 100n, tariffVersion: 3, relayedIn: true };
  const lines = addMessage([], message, tariff, 200n, true);
  const own = { wallet: address("22"), through: 1n, base: 7n, lines };
  const honest = { number: 1n, wallet: own.wallet, through: 1n, at: 200n, base: 7n, lines, total: 7n + due(lines) };
  const line = (change) => [{ ...lines[0], ...change }];
  const meter = (change) => line({ meter: { ...lines[0].meter, ...change } });
  assert.equal(disagreement(own, honest, 200n), undefined);
  const dishonest = {
    wallet: { wallet: address("23") },
    through: { through: 2n },
    clock: { at: 321n },
    base: { base: 8n },
    tariff: { lines: line({ tariff: { ...tariff, relay: 1n } }) },
    delivered: { lines: meter({ delivered: 1025n }) },
    relayed: { lines: meter({ relayed: 2049n }) },
    "byte-seconds": { lines: meter({ byteSeconds: 102_401n }) },
    total: { total: honest.total + 1n },
  };
  for (const [name, change] of Object.entries(dishonest)) {
    assert.equal(disagreement(own, { ...honest, ...change }, 200n), name);
  }
  assert.equal(disagreement(own, { ...honest, lines: [...lines, ...lines] }, 200n), "tariff");
});
