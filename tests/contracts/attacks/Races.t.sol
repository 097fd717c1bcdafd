// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.35;

import {IPrepaymentEscrow} from "../../../contracts/src/interfaces/IPrepaymentEscrow.sol";
import {Signatures} from "../Signatures.sol";

/// @title Who is first at the exact second: charges against notices, revocations and each other
/// @dev The same races between claims and notices stand in `escrow/Thaw.t.sol`.
contract RacesTest is Signatures {
    uint64 private constant UNTIL = START + 90 days;
    uint64 private constant END = START + NOTICE;

    function setUp() public override {
        super.setUp();
        prepay(alice.addr, agent.addr, 10e6);
        setMandate(alice.addr, agent.addr, 2e6, 50e6, UNTIL);
        vm.prank(alice.addr);
        escrow.thaw(agent.addr, 10e6);
    }

    function test_a_charge_goes_first_while_the_notice_runs() public {
        vm.warp(END - 1);
        (, uint96 paid) = chargeOne(agent.addr, chargeRow(alice.addr, agent, 7e6));
        assertEq(paid, 7e6);
        vm.warp(END);
        assertEq(withdraw(), 3e6);
        assertLane(alice.addr, agent.addr, 0, 7e6);
        assertThaw(alice.addr, agent.addr, 0, 0);
    }

    function test_charge_then_withdrawal_at_the_exact_second() public {
        vm.warp(END);
        (, uint96 paid) = chargeOne(agent.addr, chargeRow(alice.addr, agent, 10e6));
        assertEq(paid, 10e6);
        assertEq(withdraw(), 0);
        assertOpen(agent.addr, 10e6, 0);
        assertEq(token.balanceOf(alice.addr), 0);
    }

    function test_withdrawal_then_charge_at_the_exact_second() public {
        vm.warp(END);
        assertEq(withdraw(), 10e6);
        assertChargesNothing(agent.addr, chargeRow(alice.addr, agent, 10e6), UNFUNDED);
        assertEq(token.balanceOf(alice.addr), 10e6);
    }

    function test_thaw_and_claim_and_charge_in_one_second_pay_each_once() public {
        vm.warp(END - 1);
        (, uint96 claimed) = claimOne(agent.addr, row(alice, agent.addr, 4e6));
        (, uint96 charged) = chargeOne(agent.addr, chargeRow(alice.addr, agent, 6e6));
        vm.prank(alice.addr);
        escrow.thaw(agent.addr, 4e6);
        assertEq(claimed, 4e6);
        assertEq(charged, 2e6);
        vm.warp(END - 1 + NOTICE);
        assertEq(withdraw(), 4e6);
        assertEq(token.balanceOf(address(escrow)), 6e6);
    }

    /// @dev Money under notice and a mandate revoked on the same day: the mandate's last second is the notice's first.
    function test_a_mandate_revoked_with_the_notice_can_be_charged_at_its_last_second() public {
        revokeMandate(alice.addr, agent.addr);
        vm.warp(END);
        (IPrepaymentEscrow.RowResult result, uint96 paid) = chargeOne(agent.addr, chargeRow(alice.addr, agent, 10e6));
        assertResult(result, PAID);
        assertEq(paid, 10e6);
        vm.warp(END + 1);
        assertChargesNothing(agent.addr, chargeRow(alice.addr, agent, 11e6), NO_MANDATE);
    }

    function test_revocation_before_or_after_a_charge_in_one_block_makes_no_difference_to_it() public {
        vm.warp(END - 1);
        uint256 snapshot = vm.snapshotState();
        revokeMandate(alice.addr, agent.addr);
        (, uint96 after_) = chargeOne(agent.addr, chargeRow(alice.addr, agent, 9e6));
        assertTrue(vm.revertToState(snapshot));
        (, uint96 before) = chargeOne(agent.addr, chargeRow(alice.addr, agent, 9e6));
        assertEq(after_, 9e6);
        assertEq(before, 9e6);
    }

    /// @dev A voucher by the delegate at the last second of its notice, and one later.
    function test_a_delegates_voucher_races_the_end_of_its_notice() public {
        vm.startPrank(alice.addr);
        escrow.authorize(session.addr);
        escrow.revoke(session.addr);
        vm.stopPrank();
        bytes memory rows = row(session, alice.addr, agent.addr, 1e6);
        vm.warp(END - 1);
        (IPrepaymentEscrow.RowResult result,) = claimOne(agent.addr, rows);
        assertResult(result, PAID);
        rows = row(session, alice.addr, agent.addr, 2e6);
        vm.warp(END);
        assertClaimsNothing(agent.addr, rows, BAD_SIGNATURE);
    }

    /// @dev Two payees after one open balance in one transaction: the first batch has it, the other keeps its due.
    function test_two_payees_race_for_one_open_balance() public {
        prepayOpen(carol.addr, 5e6);
        IPrepaymentEscrow.Batch[] memory batches = new IPrepaymentEscrow.Batch[](2);
        batches[0] = IPrepaymentEscrow.Batch({payee: agent.addr, rows: row(carol, agent.addr, 4e6)});
        batches[1] = IPrepaymentEscrow.Batch({payee: relay.addr, rows: row(carol, relay.addr, 4e6)});
        (uint96[] memory totals, bytes[] memory results) = escrow.settle(batches);
        assertEq(totals[0], 4e6);
        assertEq(totals[1], 1e6);
        assertEq(results[1], hex"01");
        assertOpen(carol.addr, 0, 0);
        prepayOpen(carol.addr, 5e6);
        (, uint96 rest) = claimOne(relay.addr, batches[1].rows);
        assertEq(rest, 3e6);
    }

    function withdraw() private returns (uint96) {
        vm.prank(alice.addr);
        return escrow.withdraw(agent.addr, alice.addr);
    }
}
