// What `minus` puts into a packet's body for a text.

import * as cbor from "./cbor.js";

export const fromText = (text) => cbor.encode({ text: { text } });

export const toText = (body) => {
  const [content] = cbor.fields(cbor.decode(body), "text");
  return cbor.fields(content, "text")[0];
};
