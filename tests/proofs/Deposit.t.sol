// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.35;

import {IPrepaymentEscrow} from "../../contracts/src/interfaces/IPrepaymentEscrow.sol";
import {Logic, Proof} from "./Proof.sol";

/// @title Law 1 of deposits: what arrives is in one lane, and nowhere else
contract DepositProof is Proof {
    using Logic for bool;

    /// @notice A deposit that goes through raises that one lane by exactly what the escrow received, and no other
    /// number of any lane; after it the escrow holds at most 96 bits of tokens.
    /// @dev Bounds: any state, time, caller, lane, amount, other lane. Assumes: the depositor is not the escrow itself.
    function check_deposit_raises_one_lane_by_what_arrived(
        address caller,
        address payer,
        address payee,
        uint96 amount,
        Pair memory any
    ) external {
        compare(caller, abi.encodeCall(escrow.deposit, (payer, payee, amount)), payer, payee, amount, any);
    }

    /// @notice Several deposits with one transfer do the same; here one.
    /// @dev Bounds: one part; else as `deposit`.
    function check_deposit_of_a_list_of_one_raises_one_lane_by_what_arrived(
        address caller,
        address payer,
        address payee,
        uint96 amount,
        Pair memory any
    ) external {
        IPrepaymentEscrow.Deposit[] memory parts = new IPrepaymentEscrow.Deposit[](1);
        parts[0] = IPrepaymentEscrow.Deposit(payer, payee, amount);
        compare(caller, abi.encodeCall(escrow.depositMany, (parts)), payer, payee, amount, any);
    }

    function compare(address caller, bytes memory data, address payer, address payee, uint256 amount, Pair memory any)
        private
    {
        vm.assume(caller != address(escrow));
        Held memory before = held(any);
        uint256 tokens = token.balanceOf(address(escrow));
        vm.prank(caller);

        (bool ok,) = address(escrow).call(data);

        Held memory now_ = held(any);
        unchecked {
            uint256 arrived = Logic.either(ok, amount, 0);
            bool isRaised = now_.deposit == before.deposit + Logic.either(isLane(any, payer, payee), arrived, 0);
            assert(isRaised.and(now_.paid == before.paid).and(hasSameNotice(before, now_)));
            uint256 left = token.balanceOf(address(escrow));
            assert((left == tokens + arrived).and(Logic.implies(ok, left <= type(uint96).max)));
        }
    }
}
