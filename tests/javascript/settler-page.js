// The settler's page in headless Chromium, driven by lines of JSON: what it shows, what it asks for, what it complains of.
// No name is resolved and no host but the settler's is reached.

import { readFile, writeFile } from "node:fs/promises";
import { chromium } from "playwright-core";

import { serve } from "./src/json-lines.js";
import { smallPng } from "./src/small-png.js";

const FLAGS = [
  "--no-sandbox",
  "--disable-gpu",
  "--no-first-run",
  "--disable-background-networking",
  "--disable-component-update",
  "--disable-sync",
  "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1",
];

let browser;
let page;
const asked = [];
const complaints = [];

/** What a person would read off the page. */
const read = () => {
  const text = (selector) => document.querySelector(selector)?.innerText.replaceAll("\u202f", " ").trim() ?? null;
  const texts = (selector) => [...document.querySelectorAll(selector)].map((node) => node.textContent.replaceAll("\u202f", " "));
  const rows = (place) =>
    [...document.querySelectorAll(`#${place} tbody tr`)].map((row) =>
      Object.fromEntries([...row.children].map((cell) => [cell.dataset.label ?? "", cell.innerText.replaceAll("\u202f", " ").trim()])),
    );
  return {
    ready: "ready" in document.body.dataset,
    live: { state: document.getElementById("live").dataset.state ?? null, text: text("#live-text") },
    tiles: Object.fromEntries([...document.querySelectorAll(".tile")].map((tile) => [tile.querySelector("h2").innerText, tile.querySelector(".value").innerText.replaceAll("\u202f", " ")])),
    alarms: [...document.querySelectorAll(".notice[data-kind]")].map((notice) => notice.dataset.kind),
    earned: text("#earned .amount"),
    bars: document.querySelectorAll(".plot .bar-shape").length,
    steps: document.querySelectorAll(".plot .step").length,
    marks: texts(".plot .tick"),
    tip: document.querySelector(".tip:not([hidden])")?.innerText.replaceAll("\u202f", " ") ?? null,
    earningsRows: document.querySelectorAll("#earnings-table tbody tr").length,
    lanes: rows("lanes"),
    payers: [...document.querySelectorAll("#lanes .copy")].map((button) => button.title),
    lanesPager: text("#lanes-pager span"),
    lanesState: text("#lanes .state"),
    claims: rows("claims"),
    claimLinks: [...document.querySelectorAll("#claims a")].map((link) => link.href),
    claimsPager: text("#claims-pager span"),
    toast: text("#toast"),
    ground: getComputedStyle(document.body).backgroundColor,
    focus: document.activeElement?.id || document.activeElement?.getAttribute("class") || document.activeElement?.tagName,
    wider: document.documentElement.scrollWidth - document.documentElement.clientWidth,
    small: [...document.querySelectorAll("button, a, input, select")].filter((node) => {
      const box = node.getBoundingClientRect();
      return box.width > 0 && (box.right > innerWidth + 1 || box.left < -1) && !node.classList.contains("skip");
    }).length,
  };
};

await serve({
  async open({ program, profile, url, downloads }) {
    browser = await chromium.launchPersistentContext(profile, {
      executablePath: program,
      headless: true,
      args: FLAGS,
      downloadsPath: downloads,
      viewport: { width: 1280, height: 900 },
      colorScheme: "light",
      reducedMotion: "reduce",
      locale: "en-GB",
      timezoneId: "UTC",
    });
    page = await browser.newPage();
    page.on("request", (request) => asked.push(request.url()));
    page.on("console", (message) => message.type() === "error" && complaints.push(message.text()));
    page.on("pageerror", (error) => complaints.push(String(error)));
    await page.addInitScript(() => {
      addEventListener("securitypolicyviolation", (event) => console.error(`CSP: ${event.violatedDirective} ${event.blockedURI}`));
    });
    await page.goto(url);
  },

  see: () => page.evaluate(read),
  asked: () => asked,
  complaints: () => complaints,
  press: ({ selector }) => page.click(selector),
  hover: ({ selector }) => page.hover(selector),
  key: ({ key }) => page.keyboard.press(key),
  focus: ({ selector }) => page.focus(selector),
  type: ({ selector, text }) => page.fill(selector, text),
  select: ({ selector, value }) => page.selectOption(selector, value).then(() => undefined),
  size: ({ width, height }) => page.setViewportSize({ width, height }),
  scheme: ({ scheme }) => page.emulateMedia({ colorScheme: scheme, reducedMotion: "reduce" }),
  reload: () => page.reload().then(() => undefined),

  async download({ selector }) {
    const [download] = await Promise.all([page.waitForEvent("download"), page.click(selector)]);
    return { name: download.suggestedFilename(), text: await readFile(await download.path(), "utf8") };
  },

  /** A picture of what is seen, few enough colours to be small. */
  async shot({ file }) {
    await page.evaluate(() => scrollTo(0, 0));
    const png = await page.screenshot();
    await writeFile(file, await smallPng(browser, png));
  },

  close: () => browser.close(),
});
