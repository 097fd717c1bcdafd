// Bytes, numbers and text: the few conversions that everything else needs.

export const concat = (...parts) => {
  const whole = new Uint8Array(parts.reduce((sum, part) => sum + part.length, 0));
  let at = 0;
  for (const part of parts) {
    whole.set(part, at);
    at += part.length;
  }
  return whole;
};

export const equal = (a, b) => a.length === b.length && a.every((byte, index) => byte === b[index]);

/** An unsigned integer in `size` bytes, big-endian. */
export const bigEndian = (value, size) => {
  const bytes = new Uint8Array(size);
  let rest = BigInt(value);
  for (let at = size - 1; at >= 0; at -= 1) {
    bytes[at] = Number(rest & 0xffn);
    rest >>= 8n;
  }
  if (rest !== 0n) throw new RangeError(`${value} does not fit ${size} bytes`);
  return bytes;
};

export const fromBigEndian = (bytes) => bytes.reduce((sum, byte) => (sum << 8n) | BigInt(byte), 0n);

export const toHex = (bytes) => Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join("");

export const fromHex = (text) => {
  const digits = text.startsWith("0x") ? text.slice(2) : text;
  if (digits.length % 2 !== 0 || /[^0-9a-f]/i.test(digits)) throw new Error("not hexadecimal");
  return Uint8Array.from(digits.match(/../g) ?? [], (pair) => Number.parseInt(pair, 16));
};

export const utf8 = (text) => new TextEncoder().encode(text);

/** Refuses what is not UTF-8, and keeps a byte order mark. */
export const fromUtf8 = (bytes) => new TextDecoder("utf-8", { fatal: true, ignoreBOM: true }).decode(bytes);

// In pieces: a call takes only so many arguments.
const PIECE = 0x8000;

/** Standard alphabet, padded. */
export const toBase64 = (bytes) => {
  let text = "";
  for (let at = 0; at < bytes.length; at += PIECE) {
    text += String.fromCharCode(...bytes.subarray(at, at + PIECE));
  }
  return btoa(text);
};

/** Standard alphabet, padded; the one encoding of its bytes. */
export const fromBase64 = (text) => {
  const bytes = Uint8Array.from(atob(text), (character) => character.charCodeAt(0));
  if (toBase64(bytes) !== text) throw new Error("not the base64 of these bytes");
  return bytes;
};

/** The URL's alphabet, without padding. */
export const toBase64Url = (bytes) =>
  toBase64(bytes).replaceAll("+", "-").replaceAll("/", "_").replace(/=+$/, "");

export const randomBytes = (length) => crypto.getRandomValues(new Uint8Array(length));
