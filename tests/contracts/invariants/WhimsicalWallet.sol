// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.35;

import {IERC1271} from "@openzeppelin/contracts/interfaces/IERC1271.sol";

/// @title A wallet that is a contract and says what it likes about its signature
contract WhimsicalWallet is IERC1271 {
    enum Mood {
        Yes,
        YesAtLength, // and ten thousand bytes behind it
        No,
        Short, // the right four bytes, and nothing behind them
        Failing,
        Burning // all the gas it was given, if that was a bounded amount
    }

    Mood public mood;

    function feel(Mood mood_) external {
        mood = mood_;
    }

    /// @inheritdoc IERC1271
    function isValidSignature(bytes32, bytes calldata) external view returns (bytes4) {
        Mood now_ = mood;
        uint256 length = 0;
        if (now_ == Mood.Yes) return IERC1271.isValidSignature.selector;
        if (now_ == Mood.YesAtLength) length = 10_000;
        if (now_ == Mood.Short) length = 4;
        if (length != 0) {
            bytes32 word = bytes32(IERC1271.isValidSignature.selector);
            assembly ("memory-safe") {
                let free := mload(0x40)
                mstore(free, word)
                return(free, length)
            }
        }
        require(now_ != Mood.Failing, "not today");
        while (now_ == Mood.Burning && gasleft() < 1_000_000) {}
        return 0;
    }
}
