// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.35;

import {PrepaymentEscrow} from "../../../contracts/src/PrepaymentEscrow.sol";
import {IPrepaymentEscrow} from "../../../contracts/src/interfaces/IPrepaymentEscrow.sol";
import {World} from "../World.sol";
import {HostileReserve} from "../mocks/HostileReserve.sol";

/// @title Law 4: money leaves only after notice, and claims go first all along the way
contract ThawTest is World {
    function setUp() public override {
        super.setUp();
        prepay(alice.addr, agent.addr, 10e6);
    }

    // ----------------------------------------------------------------------------------------------- refusals

    function test_refuses_thaw_above_deposit() public {
        vm.expectRevert(abi.encodeWithSelector(IPrepaymentEscrow.ThawAboveDeposit.selector, 10e6 + 1, 10e6));
        vm.prank(alice.addr);
        escrow.thaw(agent.addr, 10e6 + 1);
    }

    function test_refuses_thaw_of_anothers_lane() public {
        vm.expectRevert(abi.encodeWithSelector(IPrepaymentEscrow.ThawAboveDeposit.selector, 1, 0));
        vm.prank(mallory.addr);
        escrow.thaw(agent.addr, 1);
    }

    /// @dev Not even the payee: what it is owed it claims.
    function test_refuses_thaw_by_the_payee() public {
        vm.expectRevert(abi.encodeWithSelector(IPrepaymentEscrow.ThawAboveDeposit.selector, 1, 0));
        vm.prank(agent.addr);
        escrow.thaw(agent.addr, 1);
    }

    function test_refuses_withdrawal_without_notice() public {
        vm.expectRevert(abi.encodeWithSelector(IPrepaymentEscrow.NothingThawing.selector, alice.addr, agent.addr));
        vm.prank(alice.addr);
        escrow.withdraw(agent.addr, alice.addr);
    }

    function test_refuses_withdrawal_a_second_too_early() public {
        thaw(agent.addr, 10e6);
        vm.warp(START + NOTICE - 1);
        vm.expectRevert(
            abi.encodeWithSelector(IPrepaymentEscrow.NoticeRunning.selector, START + NOTICE, START + NOTICE - 1)
        );
        vm.prank(alice.addr);
        escrow.withdraw(agent.addr, alice.addr);
    }

    function test_refuses_withdrawal_by_another() public {
        thaw(agent.addr, 10e6);
        warp(NOTICE);
        vm.expectRevert(abi.encodeWithSelector(IPrepaymentEscrow.NothingThawing.selector, mallory.addr, agent.addr));
        vm.prank(mallory.addr);
        escrow.withdraw(agent.addr, mallory.addr);
    }

    function test_refuses_withdrawal_of_another_lane_than_thawed() public {
        prepay(alice.addr, relay.addr, 5e6);
        thaw(agent.addr, 10e6);
        warp(NOTICE);
        vm.startPrank(alice.addr);
        vm.expectRevert(abi.encodeWithSelector(IPrepaymentEscrow.NothingThawing.selector, alice.addr, relay.addr));
        escrow.withdraw(relay.addr, alice.addr);
        vm.expectRevert(abi.encodeWithSelector(IPrepaymentEscrow.NothingThawing.selector, alice.addr, address(0)));
        escrow.withdraw(address(0), alice.addr);
    }

    function test_refuses_withdrawal_twice() public {
        thaw(agent.addr, 4e6);
        warp(NOTICE);
        vm.startPrank(alice.addr);
        escrow.withdraw(agent.addr, alice.addr);
        vm.expectRevert(abi.encodeWithSelector(IPrepaymentEscrow.NothingThawing.selector, alice.addr, agent.addr));
        escrow.withdraw(agent.addr, alice.addr);
    }

    function test_refuses_withdrawal_of_what_was_taken_back() public {
        thaw(agent.addr, 10e6);
        warp(NOTICE);
        thaw(agent.addr, 0);
        vm.expectRevert(abi.encodeWithSelector(IPrepaymentEscrow.NothingThawing.selector, alice.addr, agent.addr));
        vm.prank(alice.addr);
        escrow.withdraw(agent.addr, alice.addr);
    }

    function test_refuses_withdrawal_to_nobody_and_to_the_escrow() public {
        thaw(agent.addr, 10e6);
        warp(NOTICE);
        vm.startPrank(alice.addr);
        vm.expectRevert(abi.encodeWithSelector(IPrepaymentEscrow.BadRecipient.selector, address(0)));
        escrow.withdraw(agent.addr, address(0));
        vm.expectRevert(abi.encodeWithSelector(IPrepaymentEscrow.BadRecipient.selector, address(escrow)));
        escrow.withdraw(agent.addr, address(escrow));
        assertLane(alice.addr, agent.addr, 10e6, 0);
        assertThaw(alice.addr, agent.addr, 10e6, START + NOTICE);
    }

    /// @dev A replaced notice starts anew, whatever the old one had served.
    function test_refuses_withdrawal_on_the_clock_of_a_replaced_notice() public {
        thaw(agent.addr, 1);
        vm.warp(START + NOTICE - 1);
        thaw(agent.addr, 10e6);
        vm.warp(START + 2 * NOTICE - 2);
        vm.expectRevert(
            abi.encodeWithSelector(
                IPrepaymentEscrow.NoticeRunning.selector, START + 2 * NOTICE - 1, START + 2 * NOTICE - 2
            )
        );
        vm.prank(alice.addr);
        escrow.withdraw(agent.addr, alice.addr);
    }

    function test_refuses_withdrawal_inside_a_deposit() public {
        HostileReserve hostile = new HostileReserve(6);
        PrepaymentEscrow escrow_ = new PrepaymentEscrow(address(hostile));
        hostile.mint(alice.addr, 20e6);
        vm.startPrank(alice.addr);
        hostile.approve(address(escrow_), 20e6);
        escrow_.deposit(address(hostile), address(0), 10e6);
        vm.stopPrank();
        vm.prank(address(hostile));
        escrow_.thaw(address(0), 10e6);
        warp(NOTICE);
        hostile.hook(address(escrow_), abi.encodeCall(escrow_.withdraw, (address(0), mallory.addr)));

        vm.prank(alice.addr);
        escrow_.deposit(alice.addr, agent.addr, 10e6);

        assertFalse(hostile.hookSucceeded());
        assertEq(hostile.balanceOf(mallory.addr), 0);
        assertEq(hostile.balanceOf(address(escrow_)), 20e6);
    }

    // ------------------------------------------------------------------------------------------------ thawing

    function test_starts_the_notice_and_moves_nothing() public {
        vm.expectEmit(address(escrow));
        emit IPrepaymentEscrow.ThawStarted(alice.addr, agent.addr, 4e6, START + NOTICE);
        thaw(agent.addr, 4e6);

        assertThaw(alice.addr, agent.addr, 4e6, START + NOTICE);
        assertLane(alice.addr, agent.addr, 10e6, 0);
        assertEq(token.balanceOf(address(escrow)), 10e6);
    }

    function test_replaces_a_running_notice() public {
        thaw(agent.addr, 4e6);
        warp(3 days);
        vm.expectEmit(address(escrow));
        emit IPrepaymentEscrow.ThawStarted(alice.addr, agent.addr, 2e6, START + 3 days + NOTICE);
        thaw(agent.addr, 2e6);
        assertThaw(alice.addr, agent.addr, 2e6, START + 3 days + NOTICE);
    }

    function test_takes_a_notice_back() public {
        thaw(agent.addr, 4e6);
        vm.expectEmit(address(escrow));
        emit IPrepaymentEscrow.ThawStarted(alice.addr, agent.addr, 0, 0);
        thaw(agent.addr, 0);
        assertThaw(alice.addr, agent.addr, 0, 0);
        assertLane(alice.addr, agent.addr, 10e6, 0);
    }

    function test_shows_how_much_of_the_open_balance_is_thawing() public {
        prepayOpen(alice.addr, 5e6);
        thaw(address(0), 4e6);
        assertOpen(alice.addr, 5e6, 4e6);

        // A claim takes 3 of the 5; of the 4 that were announced, 2 are left.
        escrow.claim(relay.addr, row(alice, relay.addr, 3e6));
        assertOpen(alice.addr, 2e6, 2e6);
        assertThaw(alice.addr, address(0), 4e6, START + NOTICE);
    }

    // --------------------------------------------------------------------------------------------- withdrawal

    function test_withdraws_at_the_exact_second() public {
        thaw(agent.addr, 4e6);
        vm.warp(START + NOTICE);
        vm.expectEmit(address(escrow));
        emit IPrepaymentEscrow.Withdrawn(alice.addr, agent.addr, carol.addr, 4e6);
        vm.prank(alice.addr);
        assertEq(escrow.withdraw(agent.addr, carol.addr), 4e6);

        assertLane(alice.addr, agent.addr, 6e6, 0);
        assertThaw(alice.addr, agent.addr, 0, 0);
        assertEq(token.balanceOf(carol.addr), 4e6);
        assertEq(token.balanceOf(address(escrow)), 6e6);
    }

    function test_withdraws_earnings_under_the_same_notice() public {
        escrow.claim(agent.addr, row(alice, agent.addr, 6e6));
        vm.prank(agent.addr);
        escrow.thaw(address(0), 6e6);
        vm.warp(START + NOTICE);
        vm.prank(agent.addr);
        assertEq(escrow.withdraw(address(0), agent.addr), 6e6);

        assertOpen(agent.addr, 0, 0);
        assertEq(token.balanceOf(agent.addr), 6e6);
        assertEq(token.balanceOf(address(escrow)), 4e6);
    }

    function test_a_claim_goes_first_while_the_notice_runs() public {
        bytes memory rows = row(alice, agent.addr, 7e6);
        thaw(agent.addr, 10e6);
        vm.warp(START + NOTICE - 1);
        (, uint96 paid) = claimOne(agent.addr, rows);
        assertEq(paid, 7e6);

        vm.warp(START + NOTICE);
        vm.prank(alice.addr);
        assertEq(escrow.withdraw(agent.addr, alice.addr), 3e6);
        assertLane(alice.addr, agent.addr, 0, 7e6);
        assertThaw(alice.addr, agent.addr, 0, 0);
        assertEq(token.balanceOf(alice.addr), 3e6);
        assertOpen(agent.addr, 7e6, 0);
    }

    /// @dev At the exact second the earlier transaction wins: first the claim.
    function test_a_claim_at_the_exact_second_leaves_the_rest() public {
        thaw(agent.addr, 10e6);
        vm.warp(START + NOTICE);
        claimOne(agent.addr, row(alice, agent.addr, 10e6));
        vm.prank(alice.addr);
        assertEq(escrow.withdraw(agent.addr, alice.addr), 0);

        assertLane(alice.addr, agent.addr, 0, 10e6);
        assertThaw(alice.addr, agent.addr, 0, 0);
        assertEq(token.balanceOf(alice.addr), 0);
    }

    /// @dev And here the withdrawal.
    function test_a_withdrawal_at_the_exact_second_leaves_nothing_to_claim() public {
        bytes memory rows = row(alice, agent.addr, 10e6);
        thaw(agent.addr, 10e6);
        vm.warp(START + NOTICE);
        vm.prank(alice.addr);
        escrow.withdraw(agent.addr, alice.addr);

        (IPrepaymentEscrow.RowResult result,) = claimOne(agent.addr, rows);
        assertResult(result, IPrepaymentEscrow.RowResult.Unfunded);
        assertLane(alice.addr, agent.addr, 0, 0);
        assertEq(token.balanceOf(alice.addr), 10e6);
    }

    /// @dev What is not under notice stays claimable for another whole notice.
    function test_what_was_not_announced_stays() public {
        thaw(agent.addr, 4e6);
        vm.warp(START + NOTICE);
        vm.prank(alice.addr);
        escrow.withdraw(agent.addr, alice.addr);
        (, uint96 paid) = claimOne(agent.addr, row(alice, agent.addr, 10e6));
        assertEq(paid, 6e6);
    }

    function test_topping_up_does_not_raise_what_leaves() public {
        thaw(agent.addr, 4e6);
        prepay(alice.addr, agent.addr, 20e6);
        vm.warp(START + NOTICE);
        vm.prank(alice.addr);
        assertEq(escrow.withdraw(agent.addr, alice.addr), 4e6);
        assertLane(alice.addr, agent.addr, 26e6, 0);
    }

    function testFuzz_what_leaves_was_announced_and_is_there(uint96 announced, uint96 claimed, uint32 waited) public {
        announced = uint96(bound(announced, 1, 10e6));
        claimed = uint96(bound(claimed, 0, 12e6));
        thaw(agent.addr, announced);
        claimOne(agent.addr, row(alice, agent.addr, claimed));
        uint96 left = claimed < 10e6 ? 10e6 - claimed : 0;

        vm.warp(START + waited);
        vm.prank(alice.addr);
        if (waited < NOTICE) {
            vm.expectRevert(
                abi.encodeWithSelector(IPrepaymentEscrow.NoticeRunning.selector, START + NOTICE, START + waited)
            );
            escrow.withdraw(agent.addr, alice.addr);
            return;
        }
        uint96 amount = escrow.withdraw(agent.addr, alice.addr);

        assertEq(amount, announced < left ? announced : left);
        assertLane(alice.addr, agent.addr, left - amount, 10e6 - left);
        assertEq(token.balanceOf(alice.addr), amount);
        assertEq(token.balanceOf(address(escrow)), 10e6 - amount);
    }

    // ------------------------------------------------------------------------------------------------ helpers

    function thaw(address payee, uint96 amount) private {
        vm.prank(alice.addr);
        escrow.thaw(payee, amount);
    }
}
