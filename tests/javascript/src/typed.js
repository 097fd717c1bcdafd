// EIP-712: what keys of Layer Minus sign, by viem. What `RoutingTable` or nobody checks is signed in the routing
// table's domain, what `PrepaymentEscrow` checks in the escrow's.

import { hashTypedData, recoverAddress } from "viem/utils";
import { privateKeyToAccount } from "viem/accounts";

import { fromBigEndian, fromHex } from "./bytes.js";

const fields = (list) => list.split(",").map((field) => ({ type: field.split(" ")[0], name: field.split(" ")[1] }));

const TYPES = {
  Voucher: fields("address payer,address payee,uint96 cumulative"),
  Route: fields("address wallet,address agent,uint256 sealingKeyX,uint256 sealingKeyY,uint64 nonce,uint64 validUntil"),
  Message: fields("address sender,address recipient,bytes32 encHash,bytes16 id,uint64 sentAtMs,bytes32 bodyHash"),
};

// Half of the order of secp256k1: of two signatures that say the same, the contracts take the one with the lower s.
const S_MAX = 0x7fffffffffffffffffffffffffffffff5d576e7357a4501ddfe92f46681b20a0n;

/** The domain of a contract, which is the escrow or the routing table. */
export const domain = (chainId, verifyingContract) => {
  const [name, version] = ["Layer Minus", "1"];
  return { name, version, chainId, verifyingContract };
};

const typedData = (primaryType, message, domain) => ({ domain, types: TYPES, primaryType, message });

/** The address of a secret key. */
export const addressOf = (secret) => privateKeyToAccount(secret).address;

/** r 32 | s 32 | v 1, v 27 or 28. */
export const sign = async (primaryType, message, domain, secret) =>
  fromHex(await privateKeyToAccount(secret).signTypedData(typedData(primaryType, message, domain)));

/** Who signed; of another message or domain that is some other address. */
export const recover = async (primaryType, message, domain, signature) => {
  if (signature.length !== 65 || (signature[64] !== 27 && signature[64] !== 28)) {
    throw new Error("a signature's v is 27 or 28");
  }
  if (fromBigEndian(signature.subarray(32, 64)) > S_MAX) throw new Error("the signature's s is in the upper half");
  return recoverAddress({ hash: hashTypedData(typedData(primaryType, message, domain)), signature });
};
