// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.35;

import {Logic, Proof} from "./Proof.sol";

/// @title Law 4: what is withdrawn was announced a notice before
contract NoticeProof is Proof {
    using Logic for bool;

    /// @notice A withdrawal that goes through is at or after the end of its notice, pays the lesser of what was
    /// announced and what is there, out of that lane and out of the escrow's tokens alike, and uses up the notice.
    /// @dev Bounds: any state, time, caller, lane, recipient. Assumes: nothing.
    function check_a_withdrawal_was_announced_and_pays_what_is_there(address payer, address payee, address to)
        external
    {
        Pair memory pair = Pair(payer, payee);
        Held memory before = held(pair);
        uint256 tokens = token.balanceOf(address(escrow));
        vm.prank(payer);

        uint256 amount = escrow.withdraw(payee, to);

        Held memory now_ = held(pair);
        assert(isServed(before, amount).and(isTaken(before, now_, amount)));
        unchecked {
            assert(token.balanceOf(address(escrow)) == tokens - amount);
        }
    }

    function isServed(Held memory before, uint256 amount) private view returns (bool) {
        return (before.amount != 0).and(before.endsAt <= block.timestamp)
            .and(amount == Logic.min(before.amount, before.deposit));
    }

    function isTaken(Held memory before, Held memory now_, uint256 amount) private pure returns (bool) {
        unchecked {
            return (now_.deposit == before.deposit - amount).and(now_.paid == before.paid).and(now_.amount == 0)
                .and(now_.endsAt == 0);
        }
    }

    /// @notice A withdrawal touches the caller's lane to that payee alone.
    /// @dev Bounds: any state, time, caller, lane, recipient, other lane. Assumes: nothing.
    function check_a_withdrawal_touches_no_other_lane(address payer, address payee, address to, Pair memory any)
        external
    {
        Held memory before = held(any);
        vm.prank(payer);

        escrow.withdraw(payee, to);

        assert(isLane(any, payer, payee).or(isSame(before, held(any))));
    }

    /// @notice A notice ends exactly one notice period from now, whatever stood before; of amount 0 it takes back what
    /// stood. The lane stays as it is, and whoever announces more than it holds is refused.
    /// @dev Bounds: any state, time, caller, lane, amount. Assumes: times as in `Proof`.
    function check_a_notice_ends_one_period_from_now_whatever_stood(address payer, address payee, uint96 amount)
        external
    {
        Held memory before = held(Pair(payer, payee));
        vm.prank(payer);

        (bool ok,) = address(escrow).call(abi.encodeCall(escrow.thaw, (payee, amount)));

        Held memory now_ = held(Pair(payer, payee));
        unchecked {
            uint256 endsAt = Logic.either(amount == 0, 0, block.timestamp + NOTICE);
            bool isStarted = (now_.amount == amount).and(now_.endsAt == endsAt);
            assert(ok == (amount <= before.deposit));
            assert(Logic.implies(ok, isStarted).and(ok.or(hasSameNotice(before, now_))));
            assert((now_.deposit == before.deposit).and(now_.paid == before.paid));
        }
    }

    /// @notice Of any other lane a notice changes nothing.
    /// @dev Bounds: any state, time, caller, lane, amount, other lane. Assumes: nothing.
    function check_a_notice_touches_no_other_lane(address payer, address payee, uint96 amount, Pair memory any)
        external
    {
        Held memory before = held(any);
        vm.prank(payer);

        escrow.thaw(payee, amount);

        assert(isLane(any, payer, payee).or(isSame(before, held(any))));
    }

    /// @notice Whatever was announced before, after `thaw` nothing can be withdrawn for the length of a notice.
    /// @dev Bounds: any state, two times, caller, lane, amount, recipient. Assumes: times as in `Proof`.
    function check_nothing_leaves_before_the_notice_ends(address payer, address payee, uint96 amount, address to)
        external
    {
        uint256 announcedAt = block.timestamp;
        vm.prank(payer);
        escrow.thaw(payee, amount);
        uint256 time = passTime(announcedAt);
        vm.prank(payer);

        (bool ok,) = address(escrow).call(abi.encodeCall(escrow.withdraw, (payee, to)));

        assert(Logic.implies(ok, (time >= announcedAt + NOTICE).and(amount != 0)));
    }
}
