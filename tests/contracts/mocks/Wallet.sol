// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.35;

import {IERC1271} from "@openzeppelin/contracts/interfaces/IERC1271.sol";
import {ECDSA} from "@openzeppelin/contracts/utils/cryptography/ECDSA.sol";

/// @title A wallet that is a contract, and answers for signatures as it is told
/// @dev Not declared `is IERC1271`, whose question promises to change nothing: this one tries.
contract Wallet {
    enum Answer {
        OwnersSignature, // yes if its owner signed
        Yes,
        No,
        Nothing, // no data at all
        Short, // the right four bytes, and 27 of the 28 that belong to them
        Dirty, // the right four bytes, and something behind them
        One, // as a contract does that answers every question with true
        Failure,
        AllGas,
        Bomb, // as many bytes as its gas can buy
        YesWithGas, // yes if it was given as much gas as the signature says, or more
        YesWhenRefused, // tries `intrusion` on `target` first; yes if that failed
        FailureThatSaysYes // the right word, as the data of a revert
    }

    address public immutable owner;
    Answer public answer;
    address public target;
    bytes public intrusion;

    constructor(address owner_) {
        owner = owner_;
    }

    function tell(Answer answer_) external {
        answer = answer_;
    }

    function intrude(address target_, bytes calldata intrusion_) external {
        (answer, target, intrusion) = (Answer.YesWhenRefused, target_, intrusion_);
    }

    function isValidSignature(bytes32 digest, bytes calldata signature) external returns (bytes4) {
        uint256 given = gasleft();
        Answer answer_ = answer;

        if (answer_ == Answer.OwnersSignature) return verdict(ECDSA.recoverCalldata(digest, signature) == owner);
        if (answer_ == Answer.YesWithGas) return verdict(given >= abi.decode(signature, (uint256)));
        if (answer_ == Answer.YesWhenRefused) {
            (bool intruded,) = target.call{gas: 200_000}(intrusion);
            return verdict(!intruded);
        }
        require(answer_ != Answer.Failure, "the wallet fails");
        while (answer_ == Answer.AllGas) {}
        bytes32 yes = bytes32(IERC1271.isValidSignature.selector);
        assembly ("memory-safe") {
            let free := mload(0x40)
            mstore(free, yes)
            switch answer_
            case 3 { return(free, 0) }
            case 4 { return(free, 31) }
            case 5 {
                mstore8(add(free, 31), 1)
                return(free, 32)
            }
            case 6 {
                mstore(free, 1)
                return(free, 32)
            }
            case 9 { return(free, 400000) }
            case 12 { revert(free, 32) }
        }
        return verdict(answer_ == Answer.Yes);
    }

    function verdict(bool yes) private pure returns (bytes4) {
        return yes ? IERC1271.isValidSignature.selector : bytes4(0xffffffff);
    }
}
