// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.35;

import {IERC20Errors} from "@openzeppelin/contracts/interfaces/draft-IERC6093.sol";

import {IPrepaymentEscrow} from "../../../contracts/src/interfaces/IPrepaymentEscrow.sol";
import {IRoutingTable} from "../../../contracts/src/interfaces/IRoutingTable.sol";
import {Campaign} from "./Campaign.sol";

/// @title That the handler gets where the laws could break
/// @dev One long walk, the same in every profile: every end of a row, every deed and every refusal is met.
contract WalkTest is Campaign {
    uint256 private constant STEPS = 4000;

    bytes32[] private deeds;
    bytes4[] private refusals;

    function setUp() external {
        begin(1);
    }

    function test_a_long_walk_meets_every_outcome() external {
        walk(STEPS);

        for (uint256 result = 0; result < 8; ++result) {
            assertGt(handler.outcomes(result), 0, string.concat("row result ", vm.toString(result)));
            emit log_named_uint(string.concat("row result ", vm.toString(result)), handler.outcomes(result));
        }
        expectDeeds();
        for (uint256 i = 0; i < deeds.length; ++i) {
            string memory deed = string(abi.encodePacked(deeds[i]));
            emit log_named_uint(deed, handler.done(deeds[i]));
            assertGt(handler.done(deeds[i]), 0, deed);
        }
        expectRefusals();
        for (uint256 i = 0; i < refusals.length; ++i) {
            assertGt(handler.refused(refusals[i]), 0, vm.toString(abi.encodePacked(refusals[i])));
        }
    }

    function walk(uint256 steps) private {
        bytes4[] memory verbs = handler.verbs();
        for (uint256 i = 0; i < steps; ++i) {
            uint256 seed = uint256(keccak256(abi.encode("walk", i)));
            bytes4 verb = verbs[seed % verbs.length];
            bytes memory call_ = abi.encodeWithSelector(verb, seed);
            if (verb == handler.claimNoise.selector) call_ = abi.encodePacked(call_, new bytes(192));
            if (verb == handler.claimMalformed.selector) call_ = abi.encodeWithSelector(verb, seed, hex"00");
            (bool good, bytes memory answer) = address(handler).call(call_);
            if (!good) {
                assembly ("memory-safe") {
                    revert(add(answer, 0x20), mload(answer))
                }
            }
        }
    }

    function expectDeeds() private {
        deeds.push("redeemed");
        deeds.push("donated");
        deeds.push("deposited many");
        deeds.push("permit");
        deeds.push("permit overtaken");
        deeds.push("deposited by order");
        deeds.push("withdrew all");
        deeds.push("withdrew after claims");
        deeds.push("paid from lane and open");
        deeds.push("presented again");
        deeds.push("settled");
        deeds.push("a contract paid");
        deeds.push("delegate paid");
        deeds.push("delegate charged");
        deeds.push("delegate authorized");
        deeds.push("delegate revoked");
        deeds.push("charged");
        deeds.push("charged a full mandate");
        deeds.push("charged too late");
        deeds.push("mandate given");
        deeds.push("mandate given anew");
        deeds.push("mandate raised");
        deeds.push("mandate shortened");
        deeds.push("voided");
        deeds.push("carried");
        deeds.push("passed to an end");
        deeds.push("registered");
        deeds.push("endpoint set");
        deeds.push("tariff announced");
        deeds.push("retired");
        deeds.push("route set");
        deeds.push("route cleared");
        deeds.push("route carried");
    }

    function expectRefusals() private {
        refusals = [
            IERC20Errors.ERC20InsufficientAllowance.selector,
            IERC20Errors.ERC20InsufficientBalance.selector,
            IPrepaymentEscrow.ZeroAmount.selector,
            IPrepaymentEscrow.BadLane.selector,
            IPrepaymentEscrow.EscrowFull.selector,
            IPrepaymentEscrow.MalformedRows.selector,
            IPrepaymentEscrow.BadPayee.selector,
            IPrepaymentEscrow.ThawAboveDeposit.selector,
            IPrepaymentEscrow.NothingThawing.selector,
            IPrepaymentEscrow.NoticeRunning.selector,
            IPrepaymentEscrow.BadRecipient.selector,
            IPrepaymentEscrow.BadSigner.selector,
            IPrepaymentEscrow.NotAuthorized.selector,
            IPrepaymentEscrow.SignatureExpired.selector,
            IPrepaymentEscrow.InvalidSignature.selector,
            IPrepaymentEscrow.MandateOver.selector,
            IPrepaymentEscrow.MandateReduced.selector,
            IRoutingTable.BondTooLow.selector,
            IRoutingTable.NodeExists.selector,
            IRoutingTable.NotRegistered.selector,
            IRoutingTable.AlreadyRetired.selector,
            IRoutingTable.NotOperator.selector,
            IRoutingTable.EndpointLength.selector,
            IRoutingTable.TariffAboveLimit.selector,
            IRoutingTable.NotOnCurve.selector
        ];
    }
}
