// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.35;

import {IPrepaymentEscrow} from "../interfaces/IPrepaymentEscrow.sol";

/// @dev One row of a batch as it lies in calldata.
struct Row {
    bytes32 payerAndCumulative; // 20 | 12
    bytes32 r;
    bytes32 vs;
}

/// @dev A voucher or a charge as EIP-712 hashes it: first the four words of the struct, then, from the last two bytes
/// of `prefix` on, what is signed.
struct Preimage {
    bytes32 typehash;
    address payer;
    address payee;
    uint256 cumulative;
    uint256 prefix; // 0x1901
    bytes32 domainSeparator;
    bytes32 structHash;
}

/// @title The layout of what goes into a batch and of what comes out of it
/// @dev Bounds are the caller's to keep: it counts the rows once and never asks beyond.
library Rows {
    uint256 private constant ROW_LENGTH = 96;
    /// @dev payer 20 | paid by this row 12.
    uint256 private constant PAYMENT_LENGTH = 32;

    /// @dev How many rows these bytes are.
    function count(bytes calldata rows) internal pure returns (uint256) {
        require(rows.length != 0 && rows.length % ROW_LENGTH == 0, IPrepaymentEscrow.MalformedRows(rows.length));
        return rows.length / ROW_LENGTH;
    }

    /// @dev Row `i`.
    function rowAt(bytes calldata rows, uint256 i) internal pure returns (Row calldata row) {
        assembly ("memory-safe") {
            row := add(rows.offset, mul(i, ROW_LENGTH))
        }
    }

    function payer(Row calldata row) internal pure returns (address) {
        return address(bytes20(row.payerAndCumulative));
    }

    function cumulative(Row calldata row) internal pure returns (uint256) {
        return uint256(row.payerAndCumulative) & type(uint96).max;
    }

    /// @dev Without the bounds check, for the loop's own bound is the same: 47 gas a row.
    function set(bytes memory results, uint256 i, IPrepaymentEscrow.RowResult result) internal pure {
        assembly ("memory-safe") {
            mstore8(add(add(results, 0x20), i), result)
        }
    }

    /// @dev Bytes of length zero, with room for `capacity` payments to be appended.
    function emptyPayments(uint256 capacity) internal pure returns (bytes memory payments) {
        payments = new bytes(capacity * PAYMENT_LENGTH);
        assembly ("memory-safe") {
            mstore(payments, 0)
        }
    }

    /// @dev Writes payer 20 | paid 12 behind what is there.
    function append(bytes memory payments, bytes32 payerAndAnything, uint256 paid) internal pure {
        assembly ("memory-safe") {
            let length := mload(payments)
            mstore(add(add(payments, 0x20), length), or(shl(96, shr(96, payerAndAnything)), paid))
            mstore(payments, add(length, PAYMENT_LENGTH))
        }
    }

    /// @dev What a payee's vouchers, or its charges, have in common, laid out once per batch: `abi.encode` would take
    /// new memory for every row, and the price of memory grows with its square.
    function preimage(bytes32 typehash, address payee, bytes32 domainSeparator)
        internal
        pure
        returns (Preimage memory)
    {
        return Preimage({
            typehash: typehash,
            payer: address(0),
            payee: payee,
            cumulative: 0,
            prefix: 0x1901,
            domainSeparator: domainSeparator,
            structHash: 0
        });
    }

    /// @dev The EIP-712 digest of one row of the batch.
    function digest(Preimage memory preimage_, address payer_, uint256 cumulative_)
        internal
        pure
        returns (bytes32 digest_)
    {
        assembly ("memory-safe") {
            mstore(add(preimage_, 0x20), payer_)
            mstore(add(preimage_, 0x60), cumulative_)
            mstore(add(preimage_, 0xc0), keccak256(preimage_, 0x80))
            digest_ := keccak256(add(preimage_, 0x9e), 0x42)
        }
    }
}
