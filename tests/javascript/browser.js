// A customer in headless Chromium, driven by lines of JSON: the page runs the same modules as the customer in Node.js.

import { chromium } from "playwright-core";

import { toHex } from "./src/bytes.js";
import { Chain } from "./src/chain.js";
import { Client } from "./src/client.js";
import { serve } from "./src/json-lines.js";
import { serveSite } from "./src/site.js";

// As root, and with no network but this machine's.
const FLAGS = [
  "--no-sandbox",
  "--disable-gpu",
  "--disable-quic",
  "--no-first-run",
  "--disable-background-networking",
  "--disable-component-update",
  "--disable-sync",
];

let browser;
let page;
let site;

// Playwright's arguments are JSON without big numbers.
const plain = (value) =>
  JSON.parse(JSON.stringify(value, (_, part) => (typeof part === "bigint" ? String(part) : part)));

const inPage = (verb, parameters) =>
  page.evaluate(([verb, parameters]) => globalThis.customer[verb](parameters), [verb, parameters]);

await serve({
  /** Routes the wallet, opens the page, entrusts and subscribes; `endpoint` may lie in front of the access node. */
  async open({ program, profile, secret, carrier, agent, access, endpoint, ...network }) {
    const chain = new Chain(network);
    const [atAgent, atAccess] = [await chain.node(agent), await chain.node(access)];
    const reached = { address: atAccess.address, endpoint: endpoint ?? atAccess.endpoint };
    const client = new Client({ secret, network: { ...network, agent: atAgent }, access: reached });
    await chain.routeTo(client, carrier);

    site = await serveSite("page.js");
    browser = await chromium.launchPersistentContext(profile, { executablePath: program, headless: true, args: FLAGS });
    page = await browser.newPage();
    page.on("console", (message) => console.error(message.text()));
    page.on("pageerror", (error) => console.error(error));
    await page.goto(site.url);
    await page.waitForFunction(() => globalThis.customer !== undefined);
    const known = plain({ ...network, agent: { ...atAgent, key: toHex(atAgent.key) } });
    await inPage("open", { secret, network: known, access: reached });
  },

  state: () => inPage("state"),
  settle: () => inPage("settle"),

  async close() {
    await browser.close();
    site.close();
  },
});
