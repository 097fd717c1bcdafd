// What was earned over a range: the figure, the plot, and the same as a table.

import { ask } from "./ask.js";
import { at, choose, html, state } from "./dom.js";
import { coin, coinExact, count, stepName, tokens, tokensColumn } from "./format.js";
import { drawPlot } from "./plot.js";

const SPANS = { day: "in the last 24 hours", week: "in the last 7 days", month: "in the last 30 days", all: "since the first claim" };

let earnings;
let known = "";
let range = "month";

const sum = (field) => earnings.steps.reduce((total, step) => total + BigInt(step[field]), 0n);

const table = () =>
  html(
    "table",
    {},
    html("caption", { class: "unseen" }, `Earnings ${SPANS[earnings.range]}`),
    html("thead", {}, html("tr", {}, html("th", { scope: "col" }, "When"), ...["Tokens", "Claims", "Vouchers", "Gas paid"].map((name) => html("th", { scope: "col", class: "number" }, name)))),
    html(
      "tbody",
      {},
      earnings.steps
        .filter((step) => step.paid !== "0" || step.fee_wei !== "0")
        .reverse()
        .map((step) =>
          html(
            "tr",
            {},
            html("th", { scope: "row" }, stepName(step.from, earnings.step_s)),
            html("td", { class: "number", "data-label": "Tokens" }, tokensColumn(step.paid)),
            html("td", { class: "number", "data-label": "Claims" }, count(step.claims)),
            html("td", { class: "number", "data-label": "Vouchers" }, count(step.vouchers)),
            html("td", { class: "number", "data-label": "Gas paid", title: coinExact(step.fee_wei) }, coin(step.fee_wei)),
          ),
        ),
    ),
  );

const draw = () => {
  if (!earnings) return;
  at("earned").replaceChildren(html("span", { class: "amount" }, tokens(sum("paid"))), " tokens");
  const claims = sum("claims");
  at("earned-note").textContent = `${SPANS[earnings.range]}, by ${count(claims)} ${claims === 1n ? "claim" : "claims"} for ${coin(sum("fee_wei"))} coin of gas`;
  const place = at("plot");
  const asTable = at("as-table").getAttribute("aria-pressed") === "true";
  place.hidden = asTable;
  at("earnings-table").hidden = !asTable;
  place.setAttribute("aria-busy", "false");
  if (asTable) {
    at("earnings-table").replaceChildren(sum("paid") + sum("fee_wei") > 0n ? table() : state("Nothing in this range"));
  } else {
    // A bar that has the focus keeps it over a redrawing.
    const focused = place.contains(document.activeElement) ? document.activeElement.dataset.index : undefined;
    drawPlot(place, earnings);
    if (sum("paid") === 0n) place.append(html("p", { class: "over" }, "No claim was confirmed in this range"));
    if (focused !== undefined) place.querySelector(`[data-index="${focused}"]`)?.focus();
  }
};

/** Asks again; draws only what is new. */
export const refresh = async () => {
  const answer = await ask(`/api/v1/earnings?range=${range}`);
  const text = JSON.stringify(answer);
  if (text === known) return;
  [earnings, known] = [answer, text];
  draw();
};

/** Wires the controls; `changed` is told when another range is wanted. */
export const start = (settings, changed) => {
  if (settings.get("range") in SPANS) range = settings.get("range");
  choose(at("ranges"), "range", range);
  at("ranges").addEventListener("click", ({ target }) => {
    if (!target.dataset.range) return;
    range = target.dataset.range;
    choose(at("ranges"), "range", range);
    changed({ range });
  });
  at("as-table").addEventListener("click", ({ target }) => {
    target.setAttribute("aria-pressed", String(target.getAttribute("aria-pressed") !== "true"));
    draw();
  });
  let width = 0;
  new ResizeObserver(([{ contentRect }]) => {
    if (Math.round(contentRect.width) === width) return;
    width = Math.round(contentRect.width);
    if (width > 0) draw();
  }).observe(at("plot"));
};
