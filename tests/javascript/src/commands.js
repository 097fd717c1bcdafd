// Commands and replies: their CBOR, by the CDDL of node/protocol/README.md. Addresses are 0x-text here and 20 bytes on
// the wire, amounts are bigints here and decimal text on the wire.

import { fromHex, toHex } from "./bytes.js";
import * as cbor from "./cbor.js";

const DECIMAL = /^(0|[1-9][0-9]*)$/;

const amount = (text) => {
  if (typeof text !== "string" || !DECIMAL.test(text)) throw new Error("not an amount");
  return BigInt(text);
};

const address = (bytes) => {
  if (!(bytes instanceof Uint8Array) || bytes.length !== 20) throw new Error("not an address");
  return `0x${toHex(bytes)}`;
};

const voucherOut = ({ payer, payee, cumulative, signature }) => ({
  payer: fromHex(payer),
  payee: fromHex(payee),
  cumulative: String(cumulative),
  signature,
});

const BODIES = {
  entrust: ({ payer, base, consent = null }) => ({ entrust: { payer: fromHex(payer), base: String(base), consent } }),
  subscribe: ({ resumeAfter }) => ({ subscribe: { resume_after: resumeAfter } }),
  acknowledge: ({ statement, voucher }) => ({ acknowledge: { statement, voucher: voucherOut(voucher) } }),
  statement: () => "statement",
  openPeerSession: () => "open_peer_session",
  requestVoucher: ({ inbound, outbound }) => ({
    request_voucher: { inbound_bytes: inbound, outbound_bytes: outbound },
  }),
};

/** The body of a packet to a node: what is asked, and the session key for the answer. */
export const encodeCommand = (session, name, parameters = {}) =>
  cbor.encode({ session, body: BODIES[name](parameters) });

const meterLine = (map) => {
  const [tariffVersion, tariff, meter] = cbor.fields(map, "tariff_version", "tariff", "meter");
  const [delivery, relay, storing] = cbor.fields(tariff, "delivery", "relay", "storing");
  const [delivered, relayed, byteSeconds] = cbor.fields(meter, "delivered", "relayed", "byte_seconds");
  const prices = { delivery, relay, storing };
  return { tariffVersion: Number(tariffVersion), tariff: prices, meter: { delivered, relayed, byteSeconds } };
};

const meterLineOut = ({ tariffVersion, tariff, meter }) => ({
  tariff_version: tariffVersion,
  tariff: { delivery: tariff.delivery, relay: tariff.relay, storing: tariff.storing },
  meter: { delivered: meter.delivered, relayed: meter.relayed, byte_seconds: meter.byteSeconds },
});

/** A statement of its CBOR map. */
export const statementIn = (map) => {
  const [number, wallet, through, at, base, lines, total] =
    cbor.fields(map, "number", "wallet", "through", "at", "base", "lines", "total");
  const account = { base: amount(base), lines: lines.map(meterLine), total: amount(total) };
  return { number, wallet: address(wallet), through, at, ...account };
};

/** The CBOR map of a statement. */
export const statementOut = ({ number, wallet, through, at, base, lines, total }) => ({
  number,
  wallet: fromHex(wallet),
  through,
  at,
  base: String(base),
  lines: lines.map(meterLineOut),
  total: String(total),
});

const REPLIES = {
  entrusted: (map) => ({ base: amount(cbor.fields(map, "base")[0]) }),
  acknowledged: (map) => ({ total: amount(cbor.fields(map, "total")[0]) }),
  statement: (map) => ({ statement: statementIn(map) }),
  refused: (map) => {
    const [reason, detail] = cbor.fields(map, "reason", "detail");
    return { reason, detail };
  },
};

/** The reply of its CBOR, with its name as `kind`. Those for relays have no reader here. */
export const decodeReply = (bytes) => {
  const reply = cbor.decode(bytes);
  const [kind] = Object.keys(reply);
  if (Object.keys(reply).length !== 1 || !(kind in REPLIES)) throw new Error("not a reply to a customer");
  return { kind, ...REPLIES[kind](reply[kind]) };
};

/** The CBOR of a refusal. */
export const encodeRefusal = (reason, detail) => cbor.encode({ refused: { reason, detail } });
