// Bars over time, drawn as SVG at the size of their place. Heights come from integers; only pixels are floats.

import { html, svg } from "./dom.js";
import { mark, stepName, tick, tokens } from "./format.js";

const TOP = 12;
const BOTTOM = 28;
const LEFT_MIN = 44;
const CHARACTER = 7.2;
const LABEL_GAP = 14;
const MARKS = 4n;

/** The least of 1, 2 and 5 times a power of ten that covers the most in so many marks. */
const niceStep = (most) => {
  const least = (most + MARKS - 1n) / MARKS;
  for (let power = 1n; ; power *= 10n) {
    for (const factor of [1n, 2n, 5n]) if (factor * power >= least) return factor * power;
  }
};

/** A bar with round shoulders. */
const barPath = (x, y, width, height) => {
  const round = Math.min(3, width / 2, height);
  return `M${x} ${y + height}V${y + round}q0 ${-round} ${round} ${-round}h${width - 2 * round}q${round} 0 ${round} ${round}V${y + height}z`;
};

/** What a step holds, in words. */
const told = (step) => {
  const claims = `${step.claims} ${step.claims === 1 ? "claim" : "claims"}`;
  return { amount: `${tokens(step.paid)} tokens`, rest: `${claims}, ${step.vouchers} ${step.vouchers === 1 ? "voucher" : "vouchers"}` };
};

const axes = (picture, { steps, step_s }, { left, width, height, most, step, barWidth }) => {
  for (let value = 0n; value <= most; value += step) {
    const y = TOP + height - Number((value * 10_000n) / most) * (height / 10_000);
    picture.append(
      svg("line", { class: value === 0n ? "axis" : "grid", x1: left, x2: left + width, y1: y, y2: y }),
      svg("text", { class: "tick", x: left - 8, y: y + 4, "text-anchor": "end" }, mark(value, step)),
    );
  }
  let free = left - 1;
  steps.forEach((one, index) => {
    const isWholeDay = one.from % 86_400 === 0;
    if (step_s < 86_400 && step_s > 3_600 && !isWholeDay) return;
    const text = tick(one.from, step_s);
    const half = (text.length * CHARACTER) / 2;
    const middle = left + (index + 0.5) * barWidth;
    const from = Math.max(middle - half, left);
    if (from < free || from + 2 * half > left + width + 4) return;
    free = from + 2 * half + LABEL_GAP;
    picture.append(svg("text", { class: "tick", x: from + half, y: TOP + height + 19, "text-anchor": "middle" }, text));
  });
};

/** Draws the steps into the place, with a tip at the one that is pointed at or has the focus. */
export const drawPlot = (place, earnings) => {
  const { steps, step_s } = earnings;
  const outer = { width: Math.max(place.clientWidth, 260), height: place.clientWidth < 560 ? 200 : 260 };
  const highest = steps.reduce((most, { paid }) => (BigInt(paid) > most ? BigInt(paid) : most), 0n);
  const step = niceStep(highest > 0n ? highest : 4_000_000n);
  const most = ((highest + step - 1n) / step || MARKS) * step;
  const left = Math.max(LEFT_MIN, mark(most, step).length * CHARACTER + 14);
  const [width, height] = [outer.width - left - 2, outer.height - TOP - BOTTOM];
  const barWidth = width / steps.length;
  const gap = Math.min(6, barWidth * 0.25);

  const label = "Earnings by step of time. Arrow keys go from bar to bar.";
  const picture = svg("svg", { width: outer.width, height: outer.height, role: "group", "aria-label": label });
  axes(picture, earnings, { left, width, height, most, step, barWidth });

  const tip = html("div", { class: "tip", hidden: true, "aria-hidden": "true" });
  const show = (index) => {
    const one = steps[index];
    const { amount, rest } = told(one);
    tip.replaceChildren(html("b", {}, amount), html("span", {}, stepName(one.from, step_s)), html("span", {}, rest));
    tip.hidden = false;
    // Beside the bar, so that its neighbours on the other side stay in sight.
    const [before, after] = [left + index * barWidth - tip.offsetWidth - 6, left + (index + 1) * barWidth + 6];
    tip.style.left = `${after + tip.offsetWidth <= outer.width ? after : Math.max(before, 0)}px`;
    for (const bar of picture.querySelectorAll(".step")) bar.classList.toggle("shown", Number(bar.dataset.index) === index);
  };
  const hide = () => {
    tip.hidden = true;
    picture.querySelector(".shown")?.classList.remove("shown");
  };
  let current = steps.length - 1;
  const go = (index) => {
    const bars = picture.querySelectorAll(".step");
    bars[current].setAttribute("tabindex", "-1");
    current = Math.min(Math.max(index, 0), steps.length - 1);
    bars[current].setAttribute("tabindex", "0");
    bars[current].focus();
  };
  const keys = { ArrowRight: () => current + 1, ArrowLeft: () => current - 1, Home: () => 0, End: () => steps.length - 1 };

  steps.forEach((one, index) => {
    const tall = Number((BigInt(one.paid) * 10_000n) / most) * (height / 10_000);
    // What is there is seen, however small beside the rest.
    const drawn = BigInt(one.paid) > 0n ? Math.max(tall, 2) : 0;
    const x = left + index * barWidth;
    const { amount, rest } = told(one);
    const group = svg("g", {
      class: "step",
      "data-index": index,
      tabindex: index === current ? "0" : "-1",
      role: "img",
      "aria-label": `${stepName(one.from, step_s)}: ${amount}, ${rest}`,
      onpointerenter: () => show(index),
      onfocus: () => show(index),
      onblur: hide,
      onkeydown: (event) => {
        if (!(event.key in keys)) return;
        event.preventDefault();
        go(keys[event.key]());
      },
    });
    group.append(svg("rect", { class: "reach", x, y: TOP, width: barWidth, height }));
    if (drawn > 0) {
      group.append(svg("path", { class: "bar-shape", d: barPath(x + gap / 2, TOP + height - drawn, barWidth - gap, drawn) }));
    }
    picture.append(group);
  });
  picture.addEventListener("pointerleave", hide);
  place.replaceChildren(picture, tip);
};
