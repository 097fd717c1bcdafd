// Padding: length 4 | content | zeros, to one valid size.

import { bigEndian, concat, fromBigEndian } from "./bytes.js";

const LENGTH_BYTES = 4;
export const BUCKET_BYTES_MIN = 256;

/** Padmé: of the size's binary digits only as many as its exponent has may be other than zero. */
export const bucket = (length) => {
  if (length <= BUCKET_BYTES_MIN) return BUCKET_BYTES_MIN;
  const exponent = 31 - Math.clz32(length);
  const kept = 31 - Math.clz32(exponent) + 1;
  const unit = 2 ** (exponent - kept);
  return Math.ceil(length / unit) * unit;
};

/** The next multiple. */
export const multipleOf = (unit) => (length) => Math.ceil(length / unit) * unit;

/** Pads to the size that `size` gives for length field and content. */
export const pad = (content, size) => {
  const padded = new Uint8Array(size(LENGTH_BYTES + content.length));
  padded.set(concat(bigEndian(content.length, LENGTH_BYTES), content));
  return padded;
};

/** The content, if it is padded to its one size with nothing but zeros. */
export const unpad = (padded, size) => {
  if (padded.length < LENGTH_BYTES) throw new Error("the padding has no length");
  const end = LENGTH_BYTES + Number(fromBigEndian(padded.subarray(0, LENGTH_BYTES)));
  if (end > padded.length) throw new Error("the padded content's length points past its end");
  if (padded.length !== size(end)) throw new Error("the padding has another size than the content's");
  if (padded.subarray(end).some((byte) => byte !== 0)) throw new Error("the padding holds something");
  return padded.subarray(LENGTH_BYTES, end);
};
