// Money and time as text. Money is BigInt of base units from end to end: a float would round it.

const TOKEN_DECIMALS = 6;
const COIN_DECIMALS = 18;

const grouped = (digits) => digits.replace(/\B(?=(\d{3})+$)/g, "\u202f");

const decimal = (units, decimals, shown) => {
  const text = units.toString().padStart(decimals + 1, "0");
  const fraction = text.slice(-decimals).replace(/0+$/, "");
  return `${grouped(text.slice(0, -decimals))}.${fraction.padEnd(shown, "0")}`;
};

/** Tokens, exact: two decimals or as many as there are. */
export const tokens = (units) => decimal(BigInt(units), TOKEN_DECIMALS, 2);

/** Tokens for a column: all decimals, so that they stand below each other. */
export const tokensColumn = (units) => decimal(BigInt(units), TOKEN_DECIMALS, TOKEN_DECIMALS);

/** Tokens for an axis: no more decimals than the step between two marks needs. */
export const mark = (units, step) => {
  const decimals = step % 1_000_000n === 0n ? 0 : decimal(step, TOKEN_DECIMALS, 2).split(".")[1].length;
  const [whole, fraction = ""] = decimal(units, TOKEN_DECIMALS, decimals).split(".");
  return decimals === 0 ? whole : `${whole}.${fraction.padEnd(decimals, "0")}`;
};

/** Native coin, exact. */
export const coinExact = (wei) => decimal(BigInt(wei), COIN_DECIMALS, 1);

/** Native coin to six decimals, rounded up, for what is paid; the exact amount belongs in the title. */
export const coin = (wei) => {
  const unit = 10n ** BigInt(COIN_DECIMALS - 6);
  return decimal((BigInt(wei) + unit - 1n) / unit, 6, 2);
};

/** Native coin to four decimals, rounded down, for what one has. */
export const coinLeft = (wei) => decimal(BigInt(wei) / 10n ** BigInt(COIN_DECIMALS - 4), 4, 2);

/** A count. */
export const count = (number) => grouped(String(number));

const UNITS = [
  [86_400 * 365, "y"],
  [86_400, "d"],
  [3_600, "h"],
  [60, "min"],
  [1, "s"],
];

/** A length of time in its two largest units. */
export const span = (seconds) => {
  const first = UNITS.findIndex(([length]) => seconds >= length);
  if (first === -1) return "0 s";
  const [length, unit] = UNITS[first];
  const whole = Math.floor(seconds / length);
  const next = UNITS[first + 1];
  const rest = next && whole < 10 ? Math.floor((seconds % length) / next[0]) : 0;
  return rest > 0 ? `${whole} ${unit} ${rest} ${next[1]}` : `${whole} ${unit}`;
};

const instant = new Intl.DateTimeFormat(undefined, { dateStyle: "medium", timeStyle: "short" });

/** A time of the settler, in the reader's zone. */
export const when = (seconds) => instant.format(new Date(seconds * 1000));

const utc = (options) => new Intl.DateTimeFormat("en", { ...options, timeZone: "UTC" });
const hour = utc({ hour: "2-digit", minute: "2-digit", hourCycle: "h23" });
const day = utc({ month: "short", day: "numeric" });
const year = utc({ month: "short", day: "numeric", year: "numeric" });

/** Where a step of the plot begins, for its axis. Steps begin at whole hours and days of UTC. */
export const tick = (seconds, step) => {
  const time = new Date(seconds * 1000);
  return step < 86_400 && seconds % 86_400 !== 0 ? hour.format(time) : day.format(time);
};

/** A step of the plot, in full. */
export const stepName = (seconds, step) => {
  const from = new Date(seconds * 1000);
  const to = new Date((seconds + step) * 1000);
  if (step < 86_400) return `${day.format(from)}, ${hour.format(from)} to ${hour.format(to)} UTC`;
  if (step === 86_400) return `${year.format(from)} UTC`;
  return `${year.format(from)} to ${year.format(new Date(to.getTime() - 1))} UTC`;
};
