// The other end of a test's line to a program: a JSON object `{"do": name, …}` on each line in, `{"ok": …}` or
// `{"error": …}` on each line out, one after the other. Big numbers are decimal text, both ways.

import { createInterface } from "node:readline";

const plain = (_, value) => (typeof value === "bigint" ? String(value) : value);

/** Obeys the verbs until the input ends. */
export const serve = async (verbs) => {
  for await (const line of createInterface({ input: process.stdin })) {
    let answer;
    try {
      const { do: verb, ...parameters } = JSON.parse(line);
      answer = { ok: (await verbs[verb](parameters)) ?? null };
    } catch (error) {
      console.error(error);
      answer = { error: error.message };
    }
    process.stdout.write(`${JSON.stringify(answer, plain)}\n`);
  }
};
