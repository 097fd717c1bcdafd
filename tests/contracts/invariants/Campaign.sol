// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.35;

import {Test} from "forge-std/Test.sol";

import {Handler} from "./Handler.sol";
import {Laws} from "./Laws.sol";

/// @title Random sequences of all verbs, against the laws
abstract contract Campaign is Test {
    Laws internal laws;
    Handler internal handler;

    /// @param salt what tells one campaign's sequences from another's: all have the same seed.
    function begin(uint256 salt) internal {
        laws = new Laws(salt);
        handler = laws.handler();
        targetContract(address(handler));
        targetSelector(FuzzSelector({addr: address(handler), selectors: handler.verbs()}));
    }
}
