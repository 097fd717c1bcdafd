// CBOR as the wire has it: unsigned integers in their shortest form (above 64 bits as a bignum), byte and text strings,
// arrays, maps with text keys in a fixed order, booleans and null; nothing indefinite, no other tag. What does not come
// out the same when written again is refused; the order of fields is for whoever knows the shape (`fields`).
//
// In JavaScript: bigint (or a safe number, to write), Uint8Array, string, array, plain object, boolean, null.

import { bigEndian, concat, equal, fromBigEndian, fromUtf8, utf8 } from "./bytes.js";

const UNSIGNED = 0;
const BYTES = 2;
const TEXT = 3;
const ARRAY = 4;
const MAP = 5;
const TAG = 6;
const SIMPLE = 7;
const BIGNUM = 2n;
const DEPTH_MAX = 16;

/** The bytes of a value. */
export const encode = (value) => {
  if (value === null) return Uint8Array.of(0xf6);
  if (typeof value === "boolean") return Uint8Array.of(value ? 0xf5 : 0xf4);
  if (typeof value === "bigint" || Number.isSafeInteger(value)) return encodeInteger(BigInt(value));
  if (value instanceof Uint8Array) return concat(head(BYTES, value.length), value);
  if (typeof value === "string") {
    const bytes = utf8(value);
    return concat(head(TEXT, bytes.length), bytes);
  }
  if (Array.isArray(value)) return concat(head(ARRAY, value.length), ...value.map(encode));
  if (typeof value === "object") {
    const entries = Object.entries(value);
    return concat(head(MAP, entries.length), ...entries.flat().map(encode));
  }
  throw new TypeError(`no CBOR for ${typeof value}`);
};

/** The value of bytes that are its one encoding. */
export const decode = (bytes) => {
  const reader = { bytes, at: 0 };
  const value = read(reader, DEPTH_MAX);
  if (reader.at !== bytes.length) throw new Error(`${bytes.length - reader.at} bytes follow the CBOR value`);
  if (!equal(encode(value), bytes)) throw new Error("the CBOR is not in its one valid encoding");
  return value;
};

/** The values of a map that has exactly these fields, in this order. */
export const fields = (map, ...names) => {
  if (map === null || typeof map !== "object" || Object.keys(map).join() !== names.join()) {
    throw new Error(`expected a map of ${names.join()}`);
  }
  return Object.values(map);
};

const head = (major, argument) => {
  const value = BigInt(argument);
  if (value < 24n) return Uint8Array.of((major << 5) | Number(value));
  const power = [0, 1, 2, 3].find((power) => value < 1n << BigInt(8 << power));
  return concat(Uint8Array.of((major << 5) | (24 + power)), bigEndian(value, 1 << power));
};

const encodeInteger = (value) => {
  if (value < 0n) throw new RangeError("nothing on the wire is negative");
  if (value < 1n << 64n) return head(UNSIGNED, value);
  const digits = value.toString(16);
  const bytes = bigEndian(value, Math.ceil(digits.length / 2));
  return concat(head(TAG, BIGNUM), head(BYTES, bytes.length), bytes);
};

const take = (reader, length) => {
  if (length > reader.bytes.length - reader.at) throw new Error("the CBOR is cut short");
  reader.at += length;
  return reader.bytes.subarray(reader.at - length, reader.at);
};

const read = (reader, depth) => {
  if (depth === 0) throw new Error("the CBOR is nested too deeply");
  const [first] = take(reader, 1);
  const [major, info] = [first >> 5, first & 31];
  if (major === SIMPLE) {
    if (info === 20 || info === 21) return info === 21;
    if (info === 22) return null;
    throw new Error("a CBOR value that the wire does not have");
  }
  if (info > 27) throw new Error("a CBOR length that the wire does not have");
  const argument = info < 24 ? BigInt(info) : fromBigEndian(take(reader, 1 << (info - 24)));
  const length = Number(argument);
  switch (major) {
    case UNSIGNED:
      return argument;
    case BYTES:
      return take(reader, length).slice();
    case TEXT:
      return fromUtf8(take(reader, length));
    case ARRAY:
      return repeat(reader, length, () => read(reader, depth - 1));
    case MAP:
      return Object.fromEntries(repeat(reader, length, () => entry(reader, depth - 1)));
    case TAG:
      if (argument !== BIGNUM) throw new Error("a CBOR tag that the wire does not have");
      return bignum(read(reader, depth - 1));
    default:
      throw new Error("a CBOR value that the wire does not have");
  }
};

// A length that the bytes only claim ends at the first element that is not there.
const repeat = (reader, length, element) => {
  const elements = [];
  while (elements.length < length) elements.push(element());
  return elements;
};

const entry = (reader, depth) => {
  const key = read(reader, depth);
  if (typeof key !== "string") throw new Error("a CBOR map's key is not text");
  return [key, read(reader, depth)];
};

const bignum = (bytes) => {
  if (!(bytes instanceof Uint8Array)) throw new Error("a CBOR bignum without bytes");
  return fromBigEndian(bytes);
};
