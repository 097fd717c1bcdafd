// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.35;

import {PrepaymentEscrow} from "../../../contracts/src/PrepaymentEscrow.sol";
import {RoutingTable} from "../../../contracts/src/RoutingTable.sol";
import {SettlementToken} from "../../../contracts/src/SettlementToken.sol";
import {TestReserve} from "../mocks/TestReserve.sol";
import {ClaimHandler} from "./ClaimHandler.sol";
import {Ghost} from "./Ghost.sol";
import {RoutingHandler} from "./RoutingHandler.sol";
import {WordHandler} from "./WordHandler.sol";

/// @title Everything that anyone does, and the time that passes meanwhile
contract Handler is WordHandler, ClaimHandler, RoutingHandler {
    constructor(
        TestReserve reserve_,
        SettlementToken token_,
        PrepaymentEscrow escrow_,
        RoutingTable table_,
        uint256 salt
    ) Ghost(reserve_, token_, escrow_, table_, salt) {}

    function pass(uint256 seed) external {
        Dice memory dice_ = dice(seed);
        warp(oneIn(dice_, 4) ? between(dice_, 1, 60) : between(dice_, 1, 4 days));
    }

    /// @dev To the very second at which something ends that is running, or to the one before or after.
    function passToAnEnd(uint256 seed) external {
        Dice memory dice_ = dice(seed);
        (uint256 x, uint256 y) = anyLane(dice_);
        uint256 n = roll(dice_, NODES);
        uint256 announcements = nodes[n].log.length;
        uint256[4] memory ends = [
            lanes[x][y].announcedAt + NOTICE,
            mandates[x][y].validUntil,
            delegates[x][anyKey(dice_)].revokedAt + NOTICE,
            announcements == 0 ? 0 : nodes[n].log[announcements - 1].time + NOTICE
        ];
        uint256 past = ends[roll(dice_, 4)] + roll(dice_, 3);
        if (past > block.timestamp + 1 && past < block.timestamp + 10 days) {
            vm.warp(past - 1);
            ++done["passed to an end"];
        }
    }

    /// @notice The verbs, those that move money along lanes more often than others.
    function verbs() external pure returns (bytes4[] memory) {
        bytes4[32] memory all = [
            this.wrap.selector,
            this.redeem.selector,
            this.donate.selector,
            this.deposit.selector,
            this.deposit.selector,
            this.depositMany.selector,
            this.depositWithPermit.selector,
            this.thaw.selector,
            this.thaw.selector,
            this.withdraw.selector,
            this.withdraw.selector,
            this.claim.selector,
            this.claim.selector,
            this.charge.selector,
            this.charge.selector,
            this.settle.selector,
            this.claimFromContracts.selector,
            this.claimNoise.selector,
            this.claimMalformed.selector,
            this.feel.selector,
            this.authorize.selector,
            this.revoke.selector,
            this.setMandate.selector,
            this.setMandate.selector,
            this.revokeMandate.selector,
            this.voidSignatures.selector,
            this.signWord.selector,
            this.signWord.selector,
            this.carryAgain.selector,
            this.pass.selector,
            this.pass.selector,
            this.passToAnEnd.selector
        ];
        bytes4[8] memory routing = [
            this.register.selector,
            this.setEndpoint.selector,
            this.announceTariff.selector,
            this.announceTariff.selector,
            this.retire.selector,
            this.setRoute.selector,
            this.signRoute.selector,
            this.carryRouteAgain.selector
        ];
        bytes4[] memory both = new bytes4[](all.length + routing.length);
        for (uint256 i = 0; i < both.length; ++i) {
            both[i] = i < all.length ? all[i] : routing[i - all.length];
        }
        return both;
    }
}
