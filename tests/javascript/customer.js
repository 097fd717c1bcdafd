// A customer for the tests, driven by lines of JSON: its wallet's key and the network come with `open`.

import { Chain } from "./src/chain.js";
import { Client, send } from "./src/client.js";
import { fromText, toText } from "./src/content.js";
import { serve } from "./src/json-lines.js";
import { due } from "./src/meter.js";
import { vectors } from "./src/vectors.js";
import { domain } from "./src/typed.js";

let chain;
let client;
let routing;


await serve({
  vectors,

  async open({ secret, agent, access, ...network }) {
    chain = new Chain(network);
    routing = domain(network.chainId, network.routingTable);
    client = new Client({
      secret,
      network: { ...network, agent: await chain.node(agent) },
      access: await chain.node(access),
    });
    return { wallet: client.wallet };
  },

  /** Routes the wallet to the agent, in a transaction that somebody else pays for, and opens the account. */
  async entrust({ carrier, base }) {
    await chain.routeTo(client, carrier);
    await client.entrust(BigInt(base));
  },

  async send({ secret, recipient, texts, via }) {
    const [{ key }, { endpoint }] = [await chain.route(recipient), await chain.node(via)];
    const sent = [];
    for (const text of texts) {
      sent.push(await send({ endpoint, body: fromText(text), recipient, key, secret, domain: routing }));
    }
    return sent;
  },

  /** Receives until so many messages are here and every one of them is signed for. */
  async receive({ messages }) {
    const [received, statements] = [[], []];
    for await (const frame of client.frames()) {
      if (frame.kind === "message") {
        const message = await client.receive(frame);
        if (message !== undefined) received.push({ sender: message.sender, text: toText(message.body) });
      } else if (frame.kind === "statement") {
        const own = client.count(frame.statement);
        const { cumulative } = await client.settle(frame.statement);
        statements.push({ signed: cumulative, counted: own.base + due(own.lines) });
      }
      if (received.length >= messages && client.books.messages.length === 0) break;
    }
    const [line] = client.books.lines;
    return { received, statements, meter: line.meter };
  },

  paid: ({ payer, payee }) => chain.paid(payer, payee),
});
