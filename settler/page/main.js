// The operator's page: asks the settler every few seconds and shows how old the answer is.

import { ask } from "./ask.js";
import { at, copyable, html, state } from "./dom.js";
import * as earnings from "./earnings.js";
import { coin, coinExact, coinLeft, count, span, tokens } from "./format.js";
import { startClaims, startLanes, tickTimes } from "./tables.js";

const ASK_EVERY_MS = 3_000;
const PROGRESS_EVERY_MS = 500;
const TOAST_MS = 8_000;
/** Older than this, the figures are said to be old. */
const FRESH_S = 15;

let overview;
let answeredAt = 0;
let failure;

const settings = new URLSearchParams(location.hash.slice(1));
const lanes = startLanes(settings, keep);
const claims = startClaims(settings, keep, () => overview?.explorer_url);
earnings.start(settings, (change) => {
  keep(change);
  earnings.refresh().catch(fail);
});

/** The choices stand in the address, so that a reload or a bookmark brings them back. */
function keep(change) {
  for (const [name, value] of Object.entries(change)) value ? settings.set(name, value) : settings.delete(name);
  history.replaceState(null, "", settings.size > 0 ? `#${settings}` : location.pathname);
}

const tile = (label, value, note, kind = "") =>
  html("div", { class: `tile ${kind}` }, html("h2", {}, label), html("p", { class: "value" }, value), html("p", { class: "note" }, note));

const total = (counts, field) => Object.values(counts).reduce((sum, count) => sum + BigInt(field ? count[field] : count), 0n);

/** Only for those who owe: an operator without relays has one tile less. */
function owedToRelays() {
  const { owed_to_relays: owed, uncovered_debts: uncovered } = overview;
  if (BigInt(owed) === 0n) return [];
  const note = BigInt(uncovered) === 0n ? "the escrow covers it" : `${tokens(uncovered)} not covered`;
  return [tile("Owed to relays", tokens(owed), note, BigInt(uncovered) > 0n ? "warn" : "")];
}

function drawTiles() {
  const { summary } = overview;
  const states = summary.vouchers;
  const under_way = states.planned.count + states.submitted.count;
  const gas = overview.gas_keys.reduce((sum, key) => sum + BigInt(key.balance_wei), 0n);
  const keys = overview.gas_keys.length === 1 ? "in the gas key" : `in ${overview.gas_keys.length} gas keys`;
  const poor = overview.alarms.some((alarm) => alarm.kind === "gas_low");
  const fees = BigInt(summary.fees_gwei) * 1_000_000_000n;
  at("tiles").replaceChildren(
    tile("Claimed in all", tokens(total(states, "paid")), `${count(states.confirmed.count)} vouchers`),
    tile("Outstanding", tokens(overview.exposure), `${count(overview.open_lanes)} lanes, ${count(under_way)} being claimed`),
    tile("At risk", count(summary.at_risk), summary.at_risk === 0 ? "every lane is backed" : "lanes without money or signer", summary.at_risk > 0 ? "warn" : ""),
    ...owedToRelays(),
    tile("Gas paid", html("span", { title: coinExact(fees) }, coin(fees)), `${count(summary.gas_used)} gas in ${count(total(summary.transactions))} transactions`),
    tile("Gas left", html("span", { title: coinExact(gas) }, coinLeft(gas)), `coin ${keys}`, poor ? "bad" : ""),
  );
}

function drawAlarms() {
  const list = at("alarm-list");
  at("alarms").setAttribute("aria-busy", "false");
  const text = JSON.stringify([overview.alarms, failure?.message]);
  if (list.dataset.known === text) return;
  list.dataset.known = text;
  const alarms = overview.alarms.map((alarm) =>
    html("div", { class: `notice ${alarm.severity === "critical" ? "bad" : "warn"}`, "data-kind": alarm.kind }, html("b", {}, alarm.text), html("span", {}, alarm.remedy)),
  );
  if (alarms.length === 0) alarms.push(html("div", { class: "notice good" }, html("b", {}, "All is well"), html("span", {}, "Nothing needs you.")));
  list.replaceChildren(...alarms);
}

function drawAbout() {
  const line = (name, ...values) => html("div", {}, html("dt", {}, name), html("dd", {}, ...values));
  at("about").replaceChildren(
    html(
      "dl",
      {},
      line("Escrow", copyable(overview.escrow)),
      line(overview.payees.length === 1 ? "Collects for" : "Collect for", ...overview.payees.map(copyable)),
      line(overview.gas_keys.length === 1 ? "Gas key" : "Gas keys", ...overview.gas_keys.map((key) => copyable(key.address))),
      line(
        overview.endpoints.length === 1 ? "Endpoint" : "Endpoints",
        overview.endpoints.map(({ name, head, lag_blocks: lag }) => `${name} at ${count(head)}${lag > 0 ? `, ${lag} behind` : ""}`).join(" · "),
      ),
      line("Version", overview.version),
    ),
  );
}

function drawLive() {
  const now = Math.floor(Date.now() / 1000);
  const age = now - answeredAt;
  const live = at("live");
  live.dataset.state = failure ? "bad" : age > FRESH_S ? "warn" : "good";
  const place = overview ? `Chain ${overview.chain_id}, block ${count(overview.head)}` : "";
  const shown = answeredAt === 0 ? (failure ? failure.message : "connecting") : failure ? `${failure.message}; shown is ${span(age)} ago` : `${place}, ${age < 2 ? "now" : `${span(age)} ago`}`;
  if (at("live-text").textContent !== shown) at("live-text").textContent = shown;
  tickTimes(now);
}

function fail(error) {
  failure = error;
  drawLive();
}

async function look() {
  overview = await ask("/api/v1/overview");
  at("claim").disabled = overview.open_lanes === 0;
  drawTiles();
  drawAlarms();
  drawAbout();
  await Promise.all([earnings.refresh(), lanes.refresh(), claims.refresh()]);
  failure = undefined;
  answeredAt = Math.floor(Date.now() / 1000);
}

async function lookOn() {
  if (document.visibilityState === "visible") {
    try {
      await look();
      document.body.dataset.ready = "";
    } catch (error) {
      failure = error;
      if (answeredAt === 0) for (const place of ["plot", "lanes", "claims"]) at(place).replaceChildren(state(error.message, "bad"));
    }
    drawLive();
  }
  setTimeout(lookOn, ASK_EVERY_MS);
}

let toastEnds;
function toast(text, stays) {
  clearTimeout(toastEnds);
  const node = at("toast");
  node.textContent = text;
  node.hidden = false;
  if (!stays) toastEnds = setTimeout(() => (node.hidden = true), TOAST_MS);
}

async function claimNow() {
  at("claim").disabled = true;
  try {
    let progress = await ask("/claim-now", "POST");
    while (!progress.done) {
      toast(`Claiming: ${count(progress.confirmed)} of ${count(progress.open + progress.confirmed)} confirmed`, true);
      await new Promise((later) => setTimeout(later, PROGRESS_EVERY_MS));
      progress = await ask(`/claim-now/${progress.request}`);
    }
    const held = progress.held > 0 ? `, ${count(progress.held)} cannot be claimed now` : "";
    toast(`${count(progress.confirmed)} vouchers claimed${held}`);
    await look();
  } catch (error) {
    toast(error.message);
  }
  at("claim").disabled = overview.open_lanes === 0;
}

at("claim").addEventListener("click", () => {
  at("ask-text").textContent = `${count(overview.open_lanes)} open lanes owe ${tokens(overview.exposure)} tokens.`;
  at("ask").showModal();
});
at("ask").addEventListener("close", () => {
  if (at("ask").returnValue === "yes") claimNow();
  at("ask").returnValue = "";
});

at("theme").addEventListener("click", () => {
  const root = document.documentElement;
  const isDark = (root.dataset.theme ?? (matchMedia("(prefers-color-scheme: dark)").matches ? "dark" : "light")) === "dark";
  root.dataset.theme = isDark ? "light" : "dark";
  localStorage.setItem("theme", root.dataset.theme);
});

document.addEventListener("visibilitychange", drawLive);
setInterval(drawLive, 1_000);
lookOn();
