// Lanes and claims: tables of which the settler gives one page at a time.

import { ask } from "./ask.js";
import { at, choose, copyable, html, state } from "./dom.js";
import { coin, coinExact, count, span, tokensColumn, when } from "./format.js";

// On a phone each line takes the room of five.
const PAGE = matchMedia("(max-width: 859px)").matches ? 8 : 15;

const WAITS = {
  settled: "paid elsewhere, being confirmed",
  unfunded: "no money behind it",
  not_worth_yet: "until worth its gas",
  bad_signature: "signer was revoked",
  failed: "last claim failed, tried again",
};
const CLAIMED = {
  thawing: "lane closes",
  signer_ending: "signer ends",
  asked: "you asked",
  aged: "waited long",
  worth: "worth its gas",
};

const pill = (kind, text) => html("span", { class: `pill ${kind}` }, text);

/** A cell that names its column where the table becomes a list. */
const cell = (label, kind, ...children) => html("td", { "data-label": label, class: kind }, ...children);

/** Seconds left, kept up to date by `tickTimes`. */
const left = (until) => html("time", { "data-until": until, title: when(until) });
const since = (from) => html("time", { "data-since": from, title: when(from) });

/** Writes every shown length of time anew. */
export const tickTimes = (now) => {
  for (const node of document.querySelectorAll("time[data-until]")) {
    const seconds = Number(node.dataset.until) - now;
    node.textContent = seconds > 0 ? span(seconds) : "over";
    node.dataset.near = seconds < 86_400 ? "now" : seconds < 3 * 86_400 ? "soon" : "";
  }
  for (const node of document.querySelectorAll("time[data-since]")) {
    node.textContent = span(Math.max(now - Number(node.dataset.since), 0));
  }
};

const laneState = (lane) => {
  if (lane.state !== "recorded") return pill("going", `${lane.state}${lane.reason ? `: ${CLAIMED[lane.reason] ?? lane.reason}` : ""}`);
  if (!lane.held) return pill("", "to be planned");
  const kind = { unfunded: "bad", bad_signature: "bad", failed: "warn" }[lane.held] ?? "";
  return pill(kind, WAITS[lane.held] ?? lane.held);
};

const laneRow = (lane) => {
  const isShort = BigInt(lane.claimable) < BigInt(lane.exposure);
  return html(
    "tr",
    {},
    html("th", { scope: "row", "data-label": "Payer" }, copyable(lane.payer)),
    cell("Exposure", "number strong", tokensColumn(lane.exposure)),
    cell("Backed", isShort ? "number short" : "number", tokensColumn(lane.claimable)),
    cell("Time left", "number", lane.closes_at ? left(lane.closes_at) : html("span", { class: "muted" }, "open end")),
    cell("Waiting", "number", since(lane.recorded_at)),
    cell("State", "wide", laneState(lane)),
  );
};

const CLAIM_KINDS = { confirmed: "good", planned: "going", submitted: "going", reverted: "bad", lost: "bad", cancelled: "warn" };

const claimRow = (explorer) => (claim) => {
  const hash = claim.hash
    ? explorer
      ? html("a", { class: "mono", href: `${explorer}tx/${claim.hash}`, rel: "noreferrer noopener", target: "_blank", title: claim.hash }, `${claim.hash.slice(0, 8)}…${claim.hash.slice(-6)}`)
      : copyable(claim.hash)
    : "";
  return html(
    "tr",
    {},
    html("th", { scope: "row", "data-label": "Transaction" }, hash),
    cell("State", "wide", pill(CLAIM_KINDS[claim.state] ?? "", claim.attempts > 1 ? `${claim.state}, replaced ${claim.attempts - 1}×` : claim.state)),
    cell("Stored", "number wide", html("time", { title: `${claim.created_at}` }, when(claim.created_at))),
    cell("Vouchers", "number", count(claim.vouchers)),
    cell("Tokens", "number strong", claim.state === "confirmed" ? tokensColumn(claim.paid) : html("span", { class: "muted" }, "–")),
    cell("Gas", "number", claim.gas_used === null ? html("span", { class: "muted" }, "–") : count(claim.gas_used)),
    cell("Gas paid", "number", claim.fee_wei === null ? html("span", { class: "muted" }, "–") : html("span", { title: coinExact(claim.fee_wei) }, coin(claim.fee_wei))),
    cell("Block", "number", claim.block === null ? html("span", { class: "muted" }, "–") : count(claim.block)),
  );
};

const LANE_COLUMNS = ["Payer", "Exposure", "Backed", "Time left", "Waiting", "State"];
const CLAIM_COLUMNS = ["Transaction", "State", "Stored", "Vouchers", "Tokens", "Gas", "Gas paid", "Block"];
const LEFT_ALIGNED = new Set(["Payer", "State", "Transaction"]);

/** A table that is asked for by page and drawn when it has changed. */
class Listing {
  constructor({ place, pager, caption, columns, query, rows, row, empty }) {
    Object.assign(this, { place: at(place), pager: at(pager), caption, columns, query, rows, row, empty });
    this.page = 0;
    this.known = "";
  }

  async refresh() {
    const path = `${this.query()}&limit=${PAGE}&offset=${this.page * PAGE}`;
    const answer = await ask(path);
    const text = `${path} ${JSON.stringify(answer)} ${this.stamp?.() ?? ""}`;
    if (text === this.known) return;
    this.known = text;
    this.draw(answer);
  }

  draw(answer) {
    const rows = answer[this.rows];
    this.place.setAttribute("aria-busy", "false");
    if (rows.length === 0 && this.page > 0) {
      // What was on this page has gone meanwhile.
      this.page = 0;
      this.known = "";
      return this.refresh();
    }
    if (rows.length === 0) {
      this.place.replaceChildren(state(this.empty()));
    } else {
      const head = this.columns.map((name) => html("th", { scope: "col", class: LEFT_ALIGNED.has(name) ? "" : "number", "aria-sort": this.sorted?.(name) }, name));
      this.place.replaceChildren(
        html("table", { class: "rows" }, html("caption", { class: "unseen" }, this.caption), html("thead", {}, html("tr", {}, ...head)), html("tbody", {}, ...rows.map(this.row))),
      );
    }
    this.drawPager(answer.total, rows.length);
    tickTimes(Math.floor(Date.now() / 1000));
  }

  drawPager(total, shown) {
    const first = this.page * PAGE;
    const turn = (to) => () => {
      this.page = to;
      this.refresh().catch((error) => this.fail(error));
    };
    const last = Math.max(Math.ceil(total / PAGE) - 1, 0);
    const button = (label, text, to, isOff) =>
      html("button", { type: "button", class: "quiet", "aria-label": label, disabled: isOff, onclick: turn(to) }, text);
    const focused = this.pager.contains(document.activeElement) ? document.activeElement.getAttribute("aria-label") : null;
    this.pager.replaceChildren(
      html("span", { class: "muted" }, total === 0 ? "none" : `${count(first + 1)}–${count(first + shown)} of ${count(total)}`),
      button("First page", "«", 0, this.page === 0),
      button("Page before", "‹", this.page - 1, this.page === 0),
      button("Next page", "›", this.page + 1, this.page >= last),
      button("Last page", "»", last, this.page >= last),
    );
    if (focused) this.pager.querySelector(`[aria-label="${focused}"]:not(:disabled)`)?.focus();
  }

  fail(error) {
    this.place.setAttribute("aria-busy", "false");
    this.known = "";
    this.place.replaceChildren(state(error.message, "bad"));
  }

  /** Another question: from its first page on. */
  restart() {
    this.page = 0;
    return this.refresh().catch((error) => this.fail(error));
  }
}

const SORTS = { exposure: "Exposure", time_left: "Time left", age: "Waiting" };
const TYPING_MS = 250;

/** Wires the lanes. */
export const startLanes = (settings, changed) => {
  let sort = settings.get("sort") in SORTS ? settings.get("sort") : "exposure";
  const [payer, held] = [at("lane-payer"), at("lane-held")];
  payer.value = settings.get("payer") ?? "";
  held.value = settings.get("held") ?? "";
  const listing = new Listing({
    place: "lanes",
    pager: "lanes-pager",
    caption: "Lanes with vouchers that the chain has not paid",
    columns: LANE_COLUMNS,
    rows: "lanes",
    row: laneRow,
    query: () => `/api/v1/lanes?sort=${sort}&payer=${encodeURIComponent(payer.value.trim())}${held.value ? `&held=${held.value}` : ""}`,
    empty: () => (payer.value || held.value ? "No lane fits this" : "Nothing is outstanding: every voucher is paid"),
  });
  listing.sorted = (name) => (name === SORTS[sort] ? (sort === "exposure" ? "descending" : "ascending") : null);
  choose(at("lane-sorts"), "sort", sort);
  at("lane-sorts").addEventListener("click", ({ target }) => {
    if (!target.dataset.sort) return;
    sort = target.dataset.sort;
    choose(at("lane-sorts"), "sort", sort);
    changed({ sort });
    listing.restart();
  });
  let typing;
  payer.addEventListener("input", () => {
    clearTimeout(typing);
    typing = setTimeout(() => {
      changed({ payer: payer.value.trim() });
      listing.restart();
    }, TYPING_MS);
  });
  held.addEventListener("change", () => {
    changed({ held: held.value });
    listing.restart();
  });
  return listing;
};

/** Wires the claims; `explorer` gives the address of a block explorer, if there is one. */
export const startClaims = (settings, changed, explorer) => {
  const states = at("claim-state");
  states.value = settings.get("state") ?? "";
  const listing = new Listing({
    place: "claims",
    pager: "claims-pager",
    caption: "Claim transactions",
    columns: CLAIM_COLUMNS,
    rows: "claims",
    row: (claim) => claimRow(explorer())(claim),
    query: () => `/api/v1/claims?since=0${states.value ? `&state=${states.value}` : ""}`,
    empty: () => (states.value ? "No claim is in this state" : "Nothing was claimed yet. Vouchers are claimed when they are worth their gas."),
  });
  listing.stamp = () => explorer() ?? "";
  states.addEventListener("change", () => {
    changed({ state: states.value });
    listing.restart();
  });
  return listing;
};
