// One Solidity compiler that stays: a line of standard JSON in, a line of standard JSON out. Loaded and warm, it needs
// a second for a contract where a new process needs three. Its folder is the tree that imports are read from.
const fs = require("node:fs");
const path = require("node:path");
const solc = require(path.resolve("contracts/node_modules/solc"));

const readImport = (name) => {
  try {
    return { contents: fs.readFileSync(name, "utf8") };
  } catch {
    return { error: `${name}: not found` };
  }
};

require("node:readline")
  .createInterface({ input: process.stdin })
  .on("line", (line) => process.stdout.write(solc.compile(line, { import: readImport }) + "\n"));
