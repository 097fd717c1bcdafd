// The page: a customer in a browser. What it received stands in `state`, for the test to look at.

import { Client, networkFromJson } from "./src/client.js";
import { toText } from "./src/content.js";
import { Follower } from "./src/follower.js";
import { due } from "./src/meter.js";

const state = { received: [], sources: 0, connections: 0, errors: [], signed: [] };
let client;
let settles = false;
let statement;

const settle = async () => {
  const own = client.count(statement);
  const { through } = statement;
  try {
    const { cumulative } = await client.settle(statement);
    const counted = own.base + due(own.lines);
    state.signed.push({ through: Number(through), signed: String(cumulative), counted: String(counted) });
  } catch (error) {
    // Then a newer statement is on its way.
    if (error.message !== "superseded") throw error;
  }
};

const take = async (frame) => {
  if (frame.kind === "message") {
    const message = await client.receive(frame);
    if (message === undefined) throw new Error(`message ${frame.seq} was said before`);
    state.received.push({ seq: Number(frame.seq), sender: message.sender, text: toText(message.body) });
  } else if (frame.kind === "statement") {
    statement = frame.statement;
    if (settles) await settle();
  }
};

const report = (what, error) => {
  if (what === "source") state.sources += 1;
  if (what === "connection") state.connections += 1;
  if (what === "error") state.errors.push(error.message);
};

globalThis.customer = {
  state: () => state,

  async open({ secret, network, access }) {
    client = new Client({ secret, network: networkFromJson(network), access });
    await client.entrust(0n);
    await new Follower(client, { take, report }).start();
  },

  /** Signs each statement from now on; the one that is open first. */
  async settle() {
    settles = true;
    await settle();
  },
};
