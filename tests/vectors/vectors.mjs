// Writes typed-data.json: every message that Layer Minus signs, as viem hashes and signs it. Solidity and alloy are held
// to the same file, so that three implementations by different people agree on each type hash, digest and signature.
//   node tests/vectors/vectors.mjs           writes the file
//   node tests/vectors/vectors.mjs --check   fails when the committed one differs
import { existsSync, readFileSync, writeFileSync } from "node:fs";
import { createRequire } from "node:module";
import { fileURLToPath, pathToFileURL } from "node:url";

// From contracts/node_modules, where the pinned toolchain is.
const modules = createRequire(new URL("../../contracts/package.json", import.meta.url));
const load = (name) => import(pathToFileURL(modules.resolve(name)));
const { encodeAbiParameters, hashDomain, hashStruct, hashTypedData, keccak256, toHex } = await load("viem");
const { privateKeyToAccount } = await load("viem/accounts");

// A test key that everybody knows. Never put money behind it.
const PRIVATE_KEY = keccak256(toHex("a key of Layer Minus's test vectors"));
const account = privateKeyToAccount(PRIVATE_KEY);

// Where the revm harness puts the contracts, and forge's tests after it.
const CHAIN_ID = 31337;
const domain = (name, verifyingContract) => ({ name, version: "1", chainId: CHAIN_ID, verifyingContract });
const DOMAINS = {
  escrow: domain("Layer Minus", "0x4bc0f685f10afe829e11be93da03329eb49c3611"),
  routing: domain("Layer Minus", "0x64746fed23ffcb16f008089f1b6c636cc8388772"),
  token: domain("Layer Minus Dollar", "0xd299c15190d76f03b6c92ae77f219f60e665d996"),
};

// [domain, fields]; in the order of the design.
const STRUCTS = {
  Voucher: ["escrow", "address payer,address payee,uint96 cumulative"],
  Charge: ["escrow", "address payer,address payee,uint96 cumulative"],
  Delegation: ["escrow", "address payer,address signer,bool authorized,uint256 nonce,uint64 validUntil"],
  Mandate: [
    "escrow",
    "address payer,address payee,uint96 dailyCap,uint96 accrualCap,uint256 nonce,uint64 validUntil",
  ],
  MandateRevocation: ["escrow", "address payer,address payee,uint256 nonce,uint64 validUntil"],
  DepositOrder: [
    "escrow",
    "address from,address payer,address payee,uint96 amount,uint256 nonce,uint64 validUntil",
  ],
  NodeConsent: [
    "routing",
    "address node,address operator,uint256 sealingKeyX,uint256 sealingKeyY,uint64 validUntil",
  ],
  Route: [
    "routing",
    "address wallet,address agent,uint256 sealingKeyX,uint256 sealingKeyY,uint64 nonce,uint64 validUntil",
  ],
  Message: [
    "routing",
    "address sender,address recipient,bytes32 encHash,bytes16 id,uint64 sentAtMs,bytes32 bodyHash",
  ],
  Entrustment: ["routing", "address wallet,address payer,address agent,uint96 base,uint64 sentAtMs"],
  Permit: ["token", "address owner,address spender,uint256 value,uint256 nonce,uint256 deadline"],
};

// The width of a type in bits: of uint96, bytes16, address, bool.
function bits(type) {
  if (type === "address") return 160;
  if (type === "bool") return 1;
  const number = Number(type.replace(/\D+/, ""));
  return type.startsWith("bytes") ? number * 8 : number;
}

// A number as a value of a type, in the way that viem takes it.
function value(type, number) {
  const inRange = number % (1n << BigInt(bits(type)));
  if (type === "bool") return inRange === 1n;
  if (type.startsWith("uint")) return inRange;
  return `0x${inRange.toString(16).padStart(bits(type) / 4, "0")}`;
}

// Four messages of each: all zero, all at the end of the range, all one, and numbers without a pattern, in which every
// field of every message is another one.
const patterns = [
  () => 0n,
  (_, type) => (1n << BigInt(bits(type))) - 1n,
  () => 1n,
  (path) => BigInt(keccak256(toHex(path))),
];

async function vector(name, domainName, type, fields, pattern, index) {
  const message = Object.fromEntries(
    fields.map(({ name: field, type }) => [field, value(type, pattern(`${name}.${field}.${index}`, type))]),
  );
  const typed = { domain: DOMAINS[domainName], types: { [name]: fields }, primaryType: name, message };
  // The struct's words as they are hashed, the type hash in front: for readers that know no JSON of its kind.
  const words = [keccak256(toHex(type)), ...fields.map((field) => message[field.name])];
  const encoded = encodeAbiParameters([{ type: "bytes32" }, ...fields], words);
  const structHash = hashStruct({ data: message, primaryType: name, types: typed.types });
  if (keccak256(encoded) !== structHash) throw new Error(`viem reads the type of ${name} in another way`);
  return { message, encoded, structHash, digest: hashTypedData(typed), signature: await account.signTypedData(typed) };
}

async function struct([name, [domainName, text]]) {
  const type = `${name}(${text})`;
  const fields = text.split(",").map((field) => {
    const [type, fieldName] = field.split(" ");
    return { type, name: fieldName };
  });
  const vectors = await Promise.all(
    patterns.map((pattern, index) => vector(name, domainName, type, fields, pattern, index)),
  );
  return { name, domain: domainName, type, typeHash: keccak256(toHex(type)), vectors };
}

const domains = Object.entries(DOMAINS).map(([name, fields]) => {
  const types = {
    EIP712Domain: [
      { name: "name", type: "string" },
      { name: "version", type: "string" },
      { name: "chainId", type: "uint256" },
      { name: "verifyingContract", type: "address" },
    ],
  };
  return [name, { ...fields, separator: hashDomain({ domain: fields, types }) }];
});
const structs = await Promise.all(Object.entries(STRUCTS).map(struct));

const file = fileURLToPath(new URL("typed-data.json", import.meta.url));
const data = {
  privateKey: PRIVATE_KEY,
  signer: account.address,
  domains: Object.fromEntries(domains),
  structs,
};
const numbers = (_, entry) => (typeof entry === "bigint" ? entry.toString() : entry);
const text = `${JSON.stringify(data, numbers, 2)}\n`;
if (process.argv.includes("--check")) {
  if (!existsSync(file) || readFileSync(file, "utf8") !== text) {
    console.error("tests/vectors/typed-data.json is not what viem makes; node tests/vectors/vectors.mjs writes it");
    process.exit(1);
  }
} else {
  writeFileSync(file, text);
  console.log(`wrote ${structs.length} structs of ${patterns.length} messages each`);
}
