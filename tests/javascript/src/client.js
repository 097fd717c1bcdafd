// A customer: sends to any wallet, commands its agent, receives, counts for itself, signs; in Node.js and in a page.
// Its books are in memory: it is a client for tests, which show that they say what the agent's say.

import { randomBytes, toHex, fromHex } from "./bytes.js";
import { decodeReply, encodeCommand } from "./commands.js";
import { addMessage, disagreement } from "./meter.js";
import { open, seal, sealingKey, toAffine } from "./packet.js";
import { openReply } from "./session.js";
import { SseParser, StreamOpener } from "./stream.js";
import { addressOf, domain, sign } from "./typed.js";

// Without a content type, so that a page may post to a node of another origin and ask nobody before.
const post = (endpoint, packet) => fetch(endpoint, { method: "POST", body: packet, redirect: "error" });

const SEEN_WITHIN_MS = 60_000;

const nowSeconds = () => BigInt(Math.floor(Date.now() / 1000));

/** Sends a body to a wallet through the node at `endpoint`; the answer's status and text. */
export const send = async ({ endpoint, ...outgoing }) => {
  const packet = await seal(outgoing);
  const answer = await post(endpoint, packet);
  return { status: answer.status, bytes: packet.length, text: await answer.text() };
};

export class Client {
  #secret;
  #sealing;
  #network;
  #access;
  #seen = new Set();
  #books = { base: 0n, lines: [], messages: [], held: 0n };

  /**
   * `network`: chainId, routingTable, escrow and the agent (address, operator, key of 65 bytes, tariffs by version).
   * `access`: the node to talk to, address and endpoint; the agent itself or a relay.
   */
  constructor({ secret, network, access }) {
    this.#secret = secret;
    this.#sealing = sealingKey(secret);
    this.#network = network;
    this.#access = access;
  }

  get wallet() {
    return addressOf(this.#secret).toLowerCase();
  }

  get routingDomain() {
    return domain(this.#network.chainId, this.#network.routingTable);
  }

  get endpoint() {
    return this.#access.endpoint;
  }

  /** What it counted itself and has not been asked to sign yet, and what it signed. */
  get books() {
    return this.#books;
  }

  /** A command, sealed, and the session key for its answer. */
  async command(name, parameters) {
    const session = randomBytes(32);
    const { address, key } = this.#network.agent;
    const body = encodeCommand(session, name, parameters);
    const packet = await seal({ body, recipient: address, key, secret: this.#secret, domain: this.routingDomain });
    return { packet, session };
  }

  /** Commands, and reads the sealed reply; a refusal is an error by its name. */
  async ask(name, parameters) {
    const { packet, session } = await this.command(name, parameters);
    const answer = await post(this.endpoint, packet);
    const bytes = new Uint8Array(await answer.arrayBuffer());
    let reply;
    try {
      reply = decodeReply(openReply(session, bytes));
    } catch (error) {
      // Whoever answered, it was not the agent.
      throw new Error(`status ${answer.status}: ${error.message}`);
    }
    if (reply.kind === "refused") throw new Error(reply.reason);
    return reply;
  }

  /** Opens the account at the agent, at the running total that this side knows. */
  async entrust(base) {
    const reply = await this.#askUntilSeen("entrust", { payer: this.wallet, base });
    if (reply.base !== base) throw new Error(`the agent says that the account opens at ${reply.base}, not at ${base}`);
    this.#books.base = base;
  }

  /** The agent sees a new route, and what is on the lane, when it next looks at the chain. */
  async #askUntilSeen(name, parameters) {
    const deadline = Date.now() + SEEN_WITHIN_MS;
    for (;;) {
      try {
        return await this.ask(name, parameters);
      } catch (error) {
        if (!["not_entrusted", "unfunded"].includes(error.message) || Date.now() > deadline) throw error;
        await new Promise((resolve) => setTimeout(resolve, 200));
      }
    }
  }

  /** A subscription after all that is held. */
  subscription() {
    return this.command("subscribe", { resumeAfter: this.#books.held });
  }

  /** The frames of one connection, which ends with the loop over them. For programs; a page has `EventSource`. */
  async *frames() {
    const { packet, session } = await this.subscription();
    const answer = await post(this.endpoint, packet);
    if (answer.headers.get("content-type") !== "text/event-stream") throw new Error(`status ${answer.status}`);
    const [parser, opener] = [new SseParser(), new StreamOpener(session)];
    for await (const chunk of answer.body) {
      for (const event of parser.push(chunk)) {
        const frame = opener.open(event);
        if (frame !== undefined) yield frame;
      }
    }
  }

  /** Counts a message; what it says, unless it was said before. */
  async receive(frame) {
    const { seq, storedAt, tariffVersion, relayedIn, packet } = frame;
    if (seq <= this.#books.held) throw new Error(`message ${seq} came after ${this.#books.held}`);
    this.#books.held = seq;
    this.#books.messages.push({ seq, bytes: packet.length, storedAt, tariffVersion, relayedIn });
    const opened = await open(packet, this.#sealing.secret, this.routingDomain);
    const name = `${opened.sender}/${toHex(opened.id)}`;
    if (this.#seen.has(name)) return undefined;
    this.#seen.add(name);
    return { seq, ...opened };
  }

  /** The own count for a statement. */
  count({ through, at }) {
    const isRelayed = this.#access.address !== this.#network.agent.address;
    const covered = this.#books.messages.filter((message) => message.seq <= through);
    const add = (lines, message) =>
      addMessage(lines, message, this.#network.agent.tariffs[message.tariffVersion], at, isRelayed);
    const { base, held, lines } = this.#books;
    return { wallet: this.wallet, through: held, base, lines: covered.reduce(add, lines) };
  }

  /** Signs and hands over a statement's total if the own count allows it. Gives what was signed. */
  async settle(statement) {
    const line = disagreement(this.count(statement), statement, nowSeconds());
    if (line !== undefined) throw new Error(`the statement is not what was counted: ${line}`);
    const voucher = { payer: this.wallet, payee: this.#network.agent.operator, cumulative: statement.total };
    const escrow = domain(this.#network.chainId, this.#network.escrow);
    const signature = await sign("Voucher", voucher, escrow, this.#secret);
    const reply = await this.ask("acknowledge", { statement: statement.number, voucher: { ...voucher, signature } });
    if (reply.total !== statement.total) throw new Error(`the agent acknowledges ${reply.total}`);
    this.#books.lines = statement.lines;
    this.#books.messages = this.#books.messages.filter(({ seq }) => seq > statement.through);
    return voucher;
  }

  /** The route to the agent, signed by the wallet, as `setRouteBySignature` takes it: whoever likes carries it. */
  async route(nonce, validUntil) {
    const [wallet, agent] = [this.wallet, this.#network.agent.address];
    const sealingKey = toAffine(this.#sealing.public);
    const message = { wallet, agent, sealingKeyX: sealingKey.x, sealingKeyY: sealingKey.y, nonce, validUntil };
    const signature = await sign("Route", message, this.routingDomain, this.#secret);
    return [wallet, agent, sealingKey, validUntil, `0x${toHex(signature)}`];
  }
}

/** A network as it travels in JSON (to a page), as `Client` takes it. */
export const networkFromJson = ({ agent, ...network }) => ({
  ...network,
  agent: {
    ...agent,
    key: fromHex(agent.key),
    tariffs: Object.fromEntries(
      Object.entries(agent.tariffs).map(([version, { delivery, relay, storing }]) => [
        version,
        { delivery: BigInt(delivery), relay: BigInt(relay), storing: BigInt(storing) },
      ]),
    ),
  },
});
