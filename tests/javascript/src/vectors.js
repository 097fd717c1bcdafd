// What node/protocol/tests/wire.txt holds, made anew by this client from the keys, salts and times that the file's head
// names. What holds fresh randomness is opened and, as far as it can be, sealed again.

import { bigEndian, concat, equal, fromHex, toHex, utf8 } from "./bytes.js";
import * as cbor from "./cbor.js";
import { decodeReply, encodeCommand, encodeRefusal } from "./commands.js";
import { due } from "./meter.js";
import { open, packetId, sealingKey } from "./packet.js";
import { openReply, sealReply } from "./session.js";
import { SseParser, StreamOpener, StreamSealer } from "./stream.js";
import { addressOf, domain, sign } from "./typed.js";

const repeat = (byte, length) => new Uint8Array(length).fill(byte);
const address = (byte) => `0x${toHex(repeat(byte, 20))}`;

const SENDER = `0x${toHex(repeat(0x11, 32))}`;
const RECIPIENT = `0x${toHex(repeat(0x33, 32))}`;
const SESSION = repeat(0x55, 32);
const ROUTING = domain(31337, address(0x44));
const ESCROW = domain(31337, address(0xee));
const STORED_AT = 1_699_913_660n;

const statement = () => {
  const tariff = { delivery: 3_000_000n, relay: 500_000n, storing: 70_000n };
  const bytes = 1n << 29n;
  const meter = { delivered: bytes, relayed: 2n * bytes, byteSeconds: bytes * 86_400n };
  const lines = [{ tariffVersion: 1, tariff, meter }];
  const total = 7n + due(lines);
  return { number: 3n, wallet: address(0x22), through: 12n, at: STORED_AT + 86_400n, base: 7n, lines, total };
};

const commands = async () => {
  const payer = addressOf(SENDER);
  const voucher = { payer, payee: address(0x77), cumulative: 2_035_007n };
  const signature = await sign("Voucher", voucher, ESCROW, SENDER);
  return {
    command_entrust: ["entrust", { payer, base: 7n, consent: repeat(0x88, 65) }],
    command_subscribe: ["subscribe", { resumeAfter: 11n }],
    command_acknowledge: ["acknowledge", { statement: 3n, voucher: { ...voucher, signature } }],
    command_statement: ["statement"],
    command_open_peer_session: ["openPeerSession"],
    command_request_voucher: ["requestVoucher", { inbound: 1n << 80n, outbound: 1_000n }],
  };
};

const stream = (packet, retryMs) => {
  const sealer = new StreamSealer(SESSION, repeat(0x66, 32));
  const frames = [
    { kind: "message", seq: 12n, storedAt: STORED_AT, tariffVersion: 1, relayedIn: true, packet },
    { kind: "keepAlive" },
    { kind: "statement", statement: statement() },
  ];
  return { frames, events: [sealer.openingEvent(retryMs), ...frames.map((frame) => sealer.seal(frame))] };
};

// Of relays and agents only: no client sends a bundle. Its bytes are made all the same.
const bundle = (packets) => concat(...packets.flatMap((packet) => [bigEndian(packet.length, 4), packet]));

const bundleAnswers = (answers) =>
  concat(
    ...answers.flatMap(([status, metered, body]) => [
      bigEndian(status, 2),
      bigEndian(metered, 8),
      bigEndian(body.length, 2),
      utf8(body),
    ]),
  );

const check = (holds, what) => {
  if (!holds) throw new Error(`${what} does not open to what was sealed`);
};

// The CBOR of values that hold bigints and bytes: compared as what it is.
const text = (value) =>
  JSON.stringify(value, (_, part) => {
    if (typeof part === "bigint") return `${part}n`;
    return part instanceof Uint8Array ? toHex(part) : part;
  });

/** All vectors by name; `packet`, `reply_refused` and the time of `retry` as committed, for they are free. */
export const vectors = async (committed) => {
  const [packet, reply] = [fromHex(committed.packet), fromHex(committed.reply_refused)];
  const recipient = sealingKey(RECIPIENT);

  const opened = await open(packet, recipient.secret, ROUTING);
  const [sender, id, sentAtMs] = [addressOf(SENDER).toLowerCase(), repeat(0x1d, 16), 1_700_000_000_123n];
  check(text(opened) === text({ sender, id, sentAtMs, body: utf8("hello") }), "the packet");
  const refused = ["superseded", "statement 4 was issued since"];
  const { reason, detail } = decodeReply(openReply(SESSION, reply));
  check(equal(cbor.encode([reason, detail]), cbor.encode(refused)), "the reply");

  const made = {
    sealing_key: toHex(recipient.public),
    packet: toHex(packet),
    packet_id: toHex(packetId(packet)),
    bundle: toHex(bundle([packet, packet])),
    bundle_answers: toHex(bundleAnswers([[202, packet.length, '{"stored":"new"}'], [402, 0, "spent"], [0, 0, ""]])),
    reply_refused: toHex(sealReply(SESSION, reply.subarray(0, 32), encodeRefusal(...refused))),
  };
  for (const [name, [command, parameters]] of Object.entries(await commands())) {
    made[name] = toHex(encodeCommand(SESSION, command, parameters));
  }
  const [, retryMs] = /^retry: (\d+)\\n/.exec(committed.stream_0_salt);
  const { frames, events } = stream(packet, retryMs);
  const names = ["stream_0_salt", "stream_1_message", "stream_2_keep_alive", "stream_3_statement"];
  events.forEach((event, index) => {
    made[names[index]] = event.replaceAll("\n", "\\n");
  });
  const opener = new StreamOpener(SESSION);
  const read = new SseParser().push(utf8(events.join(""))).map((event) => opener.open(event));
  check(text(read) === text([undefined, ...frames]), "the stream");
  return made;
};
