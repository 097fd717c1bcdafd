// The stream: events of text on the outside, frames inside. One opener for one connection.

import { bigEndian, concat, fromBase64, fromBigEndian, fromUtf8, toBase64, utf8 } from "./bytes.js";
import * as cbor from "./cbor.js";
import { statementIn, statementOut } from "./commands.js";
import { multipleOf, pad, unpad } from "./padding.js";
import { sessionCipher } from "./session.js";

const INFO = "layer-minus/1 stream";
const MESSAGE = 1;
const STATEMENT = 2;
const KEEP_ALIVE = 3;
const HEADER_BYTES = 22;
const PADDING = multipleOf(1024);
const DECIMAL = /^(0|[1-9][0-9]*)$/;

const aad = (id) => utf8(id ?? "");

/** The plain bytes of a frame. */
const plaintext = (frame) => {
  const small = (kind, content) => concat(Uint8Array.of(kind), pad(content, PADDING));
  switch (frame.kind) {
    case "message":
      return concat(
        Uint8Array.of(MESSAGE),
        bigEndian(frame.seq, 8),
        bigEndian(frame.storedAt, 8),
        bigEndian(frame.tariffVersion, 4),
        Uint8Array.of(frame.relayedIn ? 1 : 0),
        frame.packet,
      );
    case "statement":
      return small(STATEMENT, cbor.encode(statementOut(frame.statement)));
    default:
      return small(KEEP_ALIVE, new Uint8Array(0));
  }
};

const message = (bytes, id) => {
  if (bytes.length < HEADER_BYTES || bytes[21] > 1) throw new Error("not a message's frame");
  const seq = fromBigEndian(bytes.subarray(1, 9));
  if (String(seq) !== id) throw new Error(`the event has id ${id}, its frame ${seq}`);
  return {
    kind: "message",
    seq,
    storedAt: fromBigEndian(bytes.subarray(9, 17)),
    tariffVersion: Number(fromBigEndian(bytes.subarray(17, 21))),
    relayedIn: bytes[21] === 1,
    packet: bytes.slice(HEADER_BYTES),
  };
};

const frame = (bytes, id) => {
  if (bytes[0] === MESSAGE) return message(bytes, id);
  if (id !== undefined) throw new Error("only a message has an id");
  const content = unpad(bytes.subarray(1), PADDING);
  if (bytes[0] === STATEMENT) return { kind: "statement", statement: statementIn(cbor.decode(content)) };
  if (bytes[0] !== KEEP_ALIVE || content.length > 0) throw new Error("a frame of no known form");
  return { kind: "keepAlive" };
};

/** Writes the events of one connection: what a node does, here to be held to the committed bytes. */
export class StreamSealer {
  #cipher;
  #salt;
  #sealed = 0;

  constructor(session, salt) {
    this.#cipher = sessionCipher(session, salt, INFO);
    this.#salt = salt;
  }

  /** `retryMs`, when a browser is to come back, is the node's choice. */
  openingEvent(retryMs) {
    return `retry: ${retryMs}\nevent: salt\ndata: ${toBase64(this.#salt)}\n\n`;
  }

  seal(frame) {
    const id = frame.kind === "message" ? String(frame.seq) : undefined;
    const bytes = this.#cipher.seal(this.#sealed, aad(id), plaintext(frame));
    this.#sealed += 1;
    return `${id === undefined ? "" : `id: ${id}\n`}data: ${toBase64(bytes)}\n\n`;
  }
}

/** Opens the events of one connection, in order. */
export class StreamOpener {
  #session;
  #cipher;
  #opened = 0;

  constructor(session) {
    this.#session = session;
  }

  /** The frame of an event `{id, event, data}`; undefined for the salt, which comes first. */
  open({ id, event, data }) {
    const isSalt = event === "salt";
    if (isSalt === (this.#cipher !== undefined)) throw new Error("the salt has to be the first event and the only one");
    const bytes = fromBase64(data);
    if (isSalt) {
      if (bytes.length !== 32) throw new Error("the salt has 32 bytes");
      this.#cipher = sessionCipher(this.#session, bytes, INFO);
      return undefined;
    }
    const opened = this.#cipher.open(this.#opened, aad(id), bytes);
    this.#opened += 1;
    return frame(opened, id);
  }
}

/** Cuts chunks of bytes into events, for a program; a browser has its own `EventSource`. */
export class SseParser {
  #rest = new Uint8Array(0);
  #event = {};

  push(chunk) {
    const bytes = concat(this.#rest, chunk);
    const events = [];
    let from = 0;
    for (let end = bytes.indexOf(10); end !== -1; end = bytes.indexOf(10, from)) {
      this.#line(fromUtf8(bytes.subarray(from, end)).replace(/\r$/, ""), events);
      from = end + 1;
    }
    this.#rest = bytes.slice(from);
    return events;
  }

  #line(line, events) {
    if (line === "") {
      if (this.#event.data !== undefined) events.push(this.#event);
      this.#event = {};
      return;
    }
    const [, name, value] = /^([^:]*):? ?(.*)$/.exec(line);
    if (name === "id" && !DECIMAL.test(value)) throw new Error("an event's id is not a number");
    if (name === "id" || name === "event") this.#event[name] = value;
    if (name === "data") this.#event.data = this.#event.data === undefined ? value : `${this.#event.data}\n${value}`;
  }
}
