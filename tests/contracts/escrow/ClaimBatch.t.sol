// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.35;

import {IPrepaymentEscrow} from "../../../contracts/src/interfaces/IPrepaymentEscrow.sol";
import {Signatures} from "../Signatures.sol";

/// @title Law 5: each row of a claim for itself
contract ClaimBatchTest is Signatures {
    function setUp() public override {
        super.setUp();
        prepay(alice.addr, agent.addr, 10e6);
    }

    /// @dev Law 5, with one row of each kind and a good one at either end.
    function test_a_bad_row_stops_no_good_one() public {
        prepay(carol.addr, agent.addr, 2e6);
        prepay(session.addr, agent.addr, 5e6);
        escrow.claim(agent.addr, row(session, agent.addr, 1e6));
        bytes memory rows = bytes.concat(
            row(alice, agent.addr, 4e6), // paid
            row(mallory, carol.addr, agent.addr, 2e6), // a stranger's
            row(agent, agent.addr, 1e6), // its own
            row(session, agent.addr, 1e6), // nothing new
            row(relay, agent.addr, 1e6) // unfunded
        );
        rows = bytes.concat(
            rows,
            new bytes(96), // payer zero
            row(carol, agent.addr, 3e6), // partly paid
            row(session, agent.addr, 2e6) // paid
        );

        vm.expectEmit(address(escrow));
        emit IPrepaymentEscrow.Claimed(
            agent.addr,
            7e6,
            bytes.concat(payment(alice.addr, 4e6), payment(carol.addr, 2e6), payment(session.addr, 1e6))
        );
        (uint96 total, bytes memory results) = escrow.claim(agent.addr, rows);

        assertEq(total, 7e6);
        assertEq(results, hex"0004050203050100");
        assertLane(alice.addr, agent.addr, 6e6, 4e6);
        assertLane(carol.addr, agent.addr, 0, 2e6);
        assertLane(session.addr, agent.addr, 3e6, 2e6);
        assertLane(relay.addr, agent.addr, 0, 0);
        assertOpen(agent.addr, 8e6, 0);
        assertEq(token.balanceOf(address(escrow)), 17e6);
    }

    function test_a_row_twice_in_a_batch_pays_once() public {
        bytes memory voucher = row(alice, agent.addr, 4e6);
        (uint96 total, bytes memory results) = escrow.claim(agent.addr, bytes.concat(voucher, voucher));
        assertEq(total, 4e6);
        assertEq(results, hex"0002");
        assertLane(alice.addr, agent.addr, 6e6, 4e6);
        assertOpen(agent.addr, 4e6, 0);
    }

    function test_rising_totals_of_one_payer_pay_each_difference() public {
        bytes memory rows =
            bytes.concat(row(alice, agent.addr, 1e6), row(alice, agent.addr, 4e6), row(alice, agent.addr, 3e6));

        vm.expectEmit(address(escrow));
        emit IPrepaymentEscrow.Claimed(
            agent.addr, 4e6, bytes.concat(payment(alice.addr, 1e6), payment(alice.addr, 3e6))
        );
        (uint96 total, bytes memory results) = escrow.claim(agent.addr, rows);

        assertEq(total, 4e6);
        assertEq(results, hex"000002");
        assertLane(alice.addr, agent.addr, 6e6, 4e6);
    }

    function test_says_nothing_when_nothing_was_paid() public {
        bytes memory rows = bytes.concat(new bytes(96), row(carol, agent.addr, 1e6));
        vm.recordLogs();
        (uint96 total, bytes memory results) = escrow.claim(agent.addr, rows);
        assertEq(total, 0);
        assertEq(results, hex"0503");
        assertEq(vm.getRecordedLogs().length, 0);
    }

    function test_says_one_thing_for_a_batch() public {
        prepay(carol.addr, agent.addr, 2e6);
        bytes memory rows = bytes.concat(row(alice, agent.addr, 1e6), row(carol, agent.addr, 1e6));
        vm.recordLogs();
        escrow.claim(agent.addr, rows);
        assertEq(vm.getRecordedLogs().length, 1);
    }

    function test_anyone_may_submit_and_nobody_gains_by_it() public {
        bytes memory rows = row(alice, agent.addr, 1e6);
        vm.prank(mallory.addr);
        escrow.claim(agent.addr, rows);
        assertOpen(agent.addr, 1e6, 0);
        assertOpen(mallory.addr, 0, 0);
        assertEq(token.balanceOf(mallory.addr), 0);
    }

    // ----------------------------------------------------------------------------------------------------- fuzz

    /// @dev The arithmetic of two claims, against sums in 256 bits.
    function testFuzz_pays_the_lesser_of_what_is_due_and_what_is_there(
        uint96 laneDeposit,
        uint96 openDeposit,
        uint96 first,
        uint96 second
    ) public {
        laneDeposit = uint96(bound(laneDeposit, 0, type(uint96).max - 10e6));
        openDeposit = uint96(bound(openDeposit, 0, type(uint96).max - 10e6 - laneDeposit));
        if (laneDeposit != 0) prepay(carol.addr, agent.addr, laneDeposit);
        if (openDeposit != 0) prepayOpen(carol.addr, openDeposit);
        uint256 there = uint256(laneDeposit) + openDeposit;

        (, uint96 paid) = claimOne(agent.addr, row(carol, agent.addr, first));
        uint256 expected = min(first, there);
        assertEq(paid, expected, "first");

        (, paid) = claimOne(agent.addr, row(carol, agent.addr, second));
        uint256 rest = second > expected ? min(second - expected, there - expected) : 0;
        assertEq(paid, rest, "second");

        uint256 both = expected + rest;
        uint256 fromLane = min(both, laneDeposit);
        assertLane(carol.addr, agent.addr, u96(laneDeposit - fromLane), u96(both));
        assertOpen(carol.addr, u96(openDeposit - (both - fromLane)), 0);
        assertOpen(agent.addr, u96(both), 0);
        assertEq(token.balanceOf(address(escrow)), there + 10e6);
    }

    /// @dev Law 5: whatever the bytes, the call returns; laws 1 and 2: nothing moved.
    function testFuzz_arbitrary_rows_never_revert_and_move_nothing(address payee, bytes calldata noise, uint8 count)
        public
    {
        vm.assume(payee != address(0) && payee != alice.addr);
        bytes memory rows = new bytes(uint256(bound(count, 1, 8)) * 96);
        for (uint256 i = 0; i < rows.length && i < noise.length; ++i) {
            rows[i] = noise[i];
        }

        (uint96 total, bytes memory results) = escrow.claim(payee, rows);

        assertEq(total, 0);
        assertEq(results.length, rows.length / 96);
        for (uint256 i = 0; i < results.length; ++i) {
            assertGe(uint8(results[i]), uint8(BAD_SIGNATURE));
        }
        assertLane(alice.addr, agent.addr, 10e6, 0);
        assertOpen(payee, 0, 0);
    }

    /// @dev A good voucher of a funded payer, with one byte of it changed.
    function testFuzz_one_changed_byte_spoils_a_row_and_no_other(uint256 position, uint8 change) public {
        position = bound(position, 0, 95);
        change = uint8(bound(change, 1, 255));
        prepay(carol.addr, agent.addr, 10e6);
        bytes memory spoilt = row(alice, agent.addr, 1e6);
        spoilt[position] = bytes1(uint8(spoilt[position]) ^ change);

        (uint96 total, bytes memory results) =
            escrow.claim(agent.addr, bytes.concat(spoilt, row(carol, agent.addr, 2e6)));

        assertEq(total, 2e6);
        assertEq(results, hex"0400");
        assertLane(alice.addr, agent.addr, 10e6, 0);
        assertLane(carol.addr, agent.addr, 8e6, 2e6);
    }

    /// @dev A batch of rows with totals in any order ends as if only the highest had been there.
    function testFuzz_the_order_of_rows_does_not_matter(uint96[6] memory totals) public {
        uint96 highest = 0;
        bytes memory rows;
        for (uint256 i = 0; i < totals.length; ++i) {
            totals[i] = uint96(bound(totals[i], 0, 20e6));
            if (totals[i] > highest) highest = totals[i];
            rows = bytes.concat(rows, row(alice, agent.addr, totals[i]));
        }

        (uint96 total,) = escrow.claim(agent.addr, rows);

        uint96 expected = highest < 10e6 ? highest : 10e6;
        assertEq(total, expected);
        assertLane(alice.addr, agent.addr, 10e6 - expected, expected);
        assertOpen(agent.addr, expected, 0);
    }

    /// @dev What lies behind the rows in calldata is good enough to be paid, and none of them.
    function test_nothing_behind_the_rows_is_read() public {
        prepay(carol.addr, agent.addr, 10e6);
        setMandate(carol.addr, agent.addr, 10e6, 10e6, type(uint64).max);
        setMandate(alice.addr, agent.addr, 10e6, 10e6, type(uint64).max);
        warp(1 days);

        bytes memory call = abi.encodeCall(escrow.claim, (agent.addr, row(alice, agent.addr, 1e6)));
        (bool done, bytes memory answer) = address(escrow).call(bytes.concat(call, row(carol, agent.addr, 1e6)));
        assertTrue(done);
        assertOneRow(answer);

        call = abi.encodeCall(escrow.charge, (agent.addr, chargeRow(alice.addr, agent, 2e6)));
        (done, answer) = address(escrow).call(bytes.concat(call, chargeRow(carol.addr, agent, 2e6)));
        assertTrue(done);
        assertOneRow(answer);

        assertLane(alice.addr, agent.addr, 8e6, 2e6);
        assertLane(carol.addr, agent.addr, 10e6, 0);
    }

    function assertOneRow(bytes memory answer) private pure {
        (uint96 total, bytes memory results) = abi.decode(answer, (uint96, bytes));
        assertEq(total, 1e6);
        assertEq(results, hex"00");
    }
}
