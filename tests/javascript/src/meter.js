// The customer's own count, and whether a statement may be signed: no line above it, the base the same, the sum right,
// the date not in the future.

const GIB_BITS = 30n;
const DAY_SECONDS = 86_400n;
const CLOCK_TOLERANCE_S = 120n;

const max = (a, b) => (a > b ? a : b);

/** What is due for lines, in base units: a floor for each service of each tariff version, of running totals. */
export const due = (lines) =>
  lines.reduce(
    (sum, { tariff, meter }) =>
      sum +
      ((meter.delivered * tariff.delivery) >> GIB_BITS) +
      ((meter.relayed * tariff.relay) >> GIB_BITS) +
      (meter.byteSeconds * tariff.storing) / (DAY_SECONDS << GIB_BITS),
    0n,
  );

/** Lines with one more message counted as delivered at `at`; `relayedOut` if it came through a relay. */
export const addMessage = (lines, message, tariff, at, relayedOut) => {
  const bytes = BigInt(message.bytes);
  const legs = BigInt(message.relayedIn) + BigInt(relayedOut);
  const line = lines.find((line) => line.tariffVersion === message.tariffVersion) ?? {
    tariffVersion: message.tariffVersion,
    tariff,
    meter: { delivered: 0n, relayed: 0n, byteSeconds: 0n },
  };
  const meter = {
    delivered: line.meter.delivered + bytes,
    relayed: line.meter.relayed + bytes * legs,
    byteSeconds: line.meter.byteSeconds + bytes * max(at - message.storedAt, 0n),
  };
  const others = lines.filter((other) => other !== line);
  return [...others, { ...line, meter }].sort((a, b) => a.tariffVersion - b.tariffVersion);
};

/** The name of the first line of a statement that the own count `{wallet, through, base, lines}` does not allow. */
export const disagreement = (own, statement, now) => {
  if (statement.wallet !== own.wallet) return "wallet";
  if (statement.through > own.through) return "through";
  if (statement.at > now + CLOCK_TOLERANCE_S) return "clock";
  if (statement.base !== own.base) return "base";
  let last = -1;
  for (const stated of statement.lines) {
    const counted = own.lines.find((line) => line.tariffVersion === stated.tariffVersion);
    const isPrice = (price) => counted?.tariff[price] === stated.tariff[price];
    if (stated.tariffVersion <= last || !["delivery", "relay", "storing"].every(isPrice)) return "tariff";
    last = stated.tariffVersion;
    if (stated.meter.delivered > counted.meter.delivered) return "delivered";
    if (stated.meter.relayed > counted.meter.relayed) return "relayed";
    if (stated.meter.byteSeconds > counted.meter.byteSeconds) return "byte-seconds";
  }
  return statement.total === statement.base + due(statement.lines) ? undefined : "total";
};
