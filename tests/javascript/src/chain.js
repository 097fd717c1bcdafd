// The chain by viem: who the nodes are, where a wallet is reached, and what a lane paid. ABIs are the committed ones.

import { readFileSync } from "node:fs";
import { createPublicClient, createWalletClient, http } from "viem";
import { privateKeyToAccount } from "viem/accounts";

import { fromAffine } from "./packet.js";

const abi = (contract) =>
  JSON.parse(readFileSync(new URL(`../../../bindings/abi/${contract}.json`, import.meta.url), "utf8")).abi;

// How long a route's signature may be carried.
const ROUTE_VALID_S = 3600n;

const lower = (address) => address.toLowerCase();

export class Chain {
  #client;
  #rpcUrl;
  #routing;
  #escrow;

  constructor({ rpcUrl, routingTable, escrow }) {
    this.#rpcUrl = rpcUrl;
    this.#client = createPublicClient({ transport: http(rpcUrl), pollingInterval: 100 });
    this.#routing = { address: routingTable, abi: abi("RoutingTable") };
    this.#escrow = { address: escrow, abi: abi("PrepaymentEscrow") };
  }

  /** A node: its operator, key, endpoint and the tariff in force. */
  async node(address) {
    const node = await this.#client.readContract({ ...this.#routing, functionName: "node", args: [address] });
    return {
      address: lower(address),
      operator: lower(node.operator),
      endpoint: node.endpoint,
      key: fromAffine(node.sealingKey),
      tariffs: { [node.tariffVersion]: node.tariff },
    };
  }

  /** The key that a wallet's packets are sealed to, and its route's nonce. */
  async route(wallet) {
    const route = await this.#client.readContract({ ...this.#routing, functionName: "route", args: [wallet] });
    return { agent: lower(route.agent), nonce: route.nonce, key: fromAffine(route.sealingKey) };
  }

  /** What a lane ever paid. */
  async paid(payer, payee) {
    const [lane] = await this.#client.readContract({ ...this.#escrow, functionName: "lane", args: [payer, payee] });
    return lane.paid;
  }

  /** Routes a wallet as it signs it; `carrier` pays the gas. */
  async routeTo(client, carrier) {
    const [{ nonce }, { timestamp }] = await Promise.all([this.route(client.wallet), this.#client.getBlock()]);
    const args = await client.route(nonce, timestamp + ROUTE_VALID_S);
    const account = privateKeyToAccount(carrier);
    const wallet = createWalletClient({ account, chain: null, transport: http(this.#rpcUrl) });
    const hash = await wallet.writeContract({ ...this.#routing, functionName: "setRouteBySignature", args });
    const { status } = await this.#client.waitForTransactionReceipt({ hash });
    if (status !== "success") throw new Error("the route was not set");
  }
}
