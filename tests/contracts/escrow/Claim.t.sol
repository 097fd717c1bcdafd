// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.35;

import {SafeCast} from "@openzeppelin/contracts/utils/math/SafeCast.sol";

import {PrepaymentEscrow} from "../../../contracts/src/PrepaymentEscrow.sol";
import {IPrepaymentEscrow} from "../../../contracts/src/interfaces/IPrepaymentEscrow.sol";
import {World} from "../World.sol";

/// @title Laws 2, 3 and 5: by the payer's signature, cumulative, each row for itself
contract ClaimTest is World {
    IPrepaymentEscrow.RowResult private constant PAID = IPrepaymentEscrow.RowResult.Paid;
    IPrepaymentEscrow.RowResult private constant PARTLY_PAID = IPrepaymentEscrow.RowResult.PartlyPaid;
    IPrepaymentEscrow.RowResult private constant NOTHING_NEW = IPrepaymentEscrow.RowResult.NothingNew;
    IPrepaymentEscrow.RowResult private constant UNFUNDED = IPrepaymentEscrow.RowResult.Unfunded;
    IPrepaymentEscrow.RowResult private constant BAD_SIGNATURE = IPrepaymentEscrow.RowResult.BadSignature;
    IPrepaymentEscrow.RowResult private constant BAD_PAYER = IPrepaymentEscrow.RowResult.BadPayer;

    function setUp() public override {
        super.setUp();
        prepay(alice.addr, agent.addr, 10e6);
    }

    // -------------------------------------------------------------------------------- refusals of the whole call

    function test_refuses_payee_zero() public {
        bytes memory rows = row(alice, address(0), 1e6);
        vm.expectRevert(abi.encodeWithSelector(IPrepaymentEscrow.BadPayee.selector, address(0)));
        escrow.claim(address(0), rows);
    }

    function test_refuses_no_rows() public {
        vm.expectRevert(abi.encodeWithSelector(IPrepaymentEscrow.MalformedRows.selector, 0));
        escrow.claim(agent.addr, "");
    }

    function test_refuses_rows_of_another_length() public {
        bytes memory rows = row(alice, agent.addr, 1e6);
        vm.expectRevert(abi.encodeWithSelector(IPrepaymentEscrow.MalformedRows.selector, 97));
        escrow.claim(agent.addr, bytes.concat(rows, hex"00"));
        vm.expectRevert(abi.encodeWithSelector(IPrepaymentEscrow.MalformedRows.selector, 95));
        escrow.claim(agent.addr, new bytes(95));
    }

    // ---------------------------------------------------------------------------------------- refusals of a row

    function test_refuses_signature_of_a_stranger() public {
        assertPaysNothing(agent.addr, row(mallory, alice.addr, agent.addr, 1e6), BAD_SIGNATURE);
    }

    function test_refuses_signature_of_the_payee() public {
        assertPaysNothing(agent.addr, row(agent, alice.addr, agent.addr, 1e6), BAD_SIGNATURE);
    }

    function test_refuses_voucher_to_another_payee() public {
        prepay(alice.addr, relay.addr, 10e6);
        assertPaysNothing(relay.addr, row(alice, agent.addr, 1e6), BAD_SIGNATURE);
        assertLane(alice.addr, relay.addr, 10e6, 0);
    }

    function test_refuses_another_total_than_was_signed() public {
        bytes memory rows = row(alice, agent.addr, 1e6);
        rows[31] = bytes1(uint8(rows[31]) + 1);
        assertPaysNothing(agent.addr, rows, BAD_SIGNATURE);
    }

    function test_refuses_another_payer_than_signed() public {
        prepay(carol.addr, agent.addr, 10e6);
        bytes memory rows = row(alice, carol.addr, agent.addr, 1e6);
        assertPaysNothing(agent.addr, rows, BAD_SIGNATURE);
        assertLane(carol.addr, agent.addr, 10e6, 0);
    }

    function test_refuses_voucher_of_another_chain() public {
        bytes memory rows = row(alice, agent.addr, 1e6);
        vm.chainId(block.chainid + 1);
        assertPaysNothing(agent.addr, rows, BAD_SIGNATURE);
    }

    function test_refuses_voucher_of_another_escrow() public {
        PrepaymentEscrow home = escrow;
        escrow = new PrepaymentEscrow(address(token));
        bytes memory rows = row(alice, agent.addr, 1e6);
        escrow = home;
        assertPaysNothing(agent.addr, rows, BAD_SIGNATURE);
    }

    /// @dev Few high values of `s` fit the 255 bits of the compact form, and no key is known to sign with one. But any
    /// signature is somebody's: that somebody alice makes her delegate.
    function test_refuses_the_other_signature_that_says_the_same() public {
        bytes32 r = bytes32(alice.publicKeyX);
        uint256 high = CURVE_ORDER / 2 + 1;
        uint256 low = CURVE_ORDER - high;
        address somebody = ecrecover(voucherDigest(alice.addr, agent.addr, 1e6), 27, r, bytes32(high));
        assertNotEq(somebody, address(0));
        vm.prank(alice.addr);
        escrow.authorize(somebody);

        assertPaysNothing(agent.addr, abi.encodePacked(alice.addr, uint96(1e6), r, high), BAD_SIGNATURE);

        (IPrepaymentEscrow.RowResult result,) =
            claimOne(agent.addr, abi.encodePacked(alice.addr, uint96(1e6), r, low | 1 << 255));
        assertResult(result, PAID);
    }

    /// @dev The memory that recovery answers into has held the payer of the row before.
    function test_refuses_a_failed_recovery_after_a_good_row_of_the_same_payer() public {
        bytes memory unsigned = abi.encodePacked(alice.addr, uint96(2e6), bytes32(0), bytes32(0));
        (uint96 total, bytes memory results) =
            escrow.claim(agent.addr, bytes.concat(row(alice, agent.addr, 1e6), unsigned, unsigned));
        assertEq(total, 1e6);
        assertEq(results, hex"000404");
        assertLane(alice.addr, agent.addr, 9e6, 1e6);
    }

    function test_refuses_zero_signature() public {
        assertPaysNothing(agent.addr, abi.encodePacked(alice.addr, uint96(1e6), bytes32(0), bytes32(0)), BAD_SIGNATURE);
    }

    function test_refuses_payer_zero_whom_a_failed_recovery_seems_to_name() public {
        prepayOpen(carol.addr, 1e6);
        assertPaysNothing(agent.addr, abi.encodePacked(address(0), uint96(1e6), bytes32(0), bytes32(0)), BAD_PAYER);
    }

    function test_refuses_payer_that_is_the_payee() public {
        prepayOpen(agent.addr, 10e6);
        assertPaysNothing(agent.addr, row(agent, agent.addr, 1e6), BAD_PAYER);
    }

    function test_refuses_lane_and_open_balance_without_money() public {
        assertPaysNothing(agent.addr, row(carol, agent.addr, 1e6), UNFUNDED);
        assertLane(carol.addr, agent.addr, 0, 0);
    }

    function test_refuses_the_same_voucher_again() public {
        bytes memory rows = row(alice, agent.addr, 1e6);
        escrow.claim(agent.addr, rows);
        assertPaysNothing(agent.addr, rows, NOTHING_NEW);
    }

    function test_refuses_an_older_voucher() public {
        bytes memory older = row(alice, agent.addr, 1e6 - 1);
        escrow.claim(agent.addr, row(alice, agent.addr, 1e6));
        assertPaysNothing(agent.addr, older, NOTHING_NEW);
    }

    function test_refuses_a_voucher_over_nothing() public {
        assertPaysNothing(agent.addr, row(alice, agent.addr, 0), NOTHING_NEW);
    }

    /// @dev What is wrong with a voucher is told before what is wrong with the lane.
    function test_a_bad_signature_is_told_before_an_old_total() public {
        escrow.claim(agent.addr, row(alice, agent.addr, 1e6));
        assertPaysNothing(agent.addr, row(mallory, alice.addr, agent.addr, 1e6), BAD_SIGNATURE);
    }

    // ------------------------------------------------------------------------------------------- the difference

    function test_claims_the_total_of_a_first_voucher() public {
        bytes memory rows = row(alice, agent.addr, 3e6);

        vm.expectEmit(address(escrow));
        emit IPrepaymentEscrow.Claimed(agent.addr, 3e6, payment(alice.addr, 3e6));
        (IPrepaymentEscrow.RowResult result, uint96 total) = claimOne(agent.addr, rows);

        assertResult(result, PAID);
        assertEq(total, 3e6);
        assertLane(alice.addr, agent.addr, 7e6, 3e6);
        assertOpen(agent.addr, 3e6, 0);
        assertOpen(alice.addr, 0, 0);
        assertEq(token.balanceOf(address(escrow)), 10e6);
        assertEq(token.balanceOf(agent.addr), 0);
    }

    function test_claims_the_difference() public {
        escrow.claim(agent.addr, row(alice, agent.addr, 3e6));
        bytes memory rows = row(alice, agent.addr, 3e6 + 1);

        vm.expectEmit(address(escrow));
        emit IPrepaymentEscrow.Claimed(agent.addr, 1, payment(alice.addr, 1));
        (IPrepaymentEscrow.RowResult result, uint96 total) = claimOne(agent.addr, rows);

        assertResult(result, PAID);
        assertEq(total, 1);
        assertLane(alice.addr, agent.addr, 7e6 - 1, 3e6 + 1);
        assertOpen(agent.addr, 3e6 + 1, 0);
    }

    function test_claims_the_lane_to_its_last_unit() public {
        (IPrepaymentEscrow.RowResult result, uint96 total) = claimOne(agent.addr, row(alice, agent.addr, 10e6));
        assertResult(result, PAID);
        assertEq(total, 10e6);
        assertLane(alice.addr, agent.addr, 0, 10e6);
        assertOpen(agent.addr, 10e6, 0);
    }

    // --------------------------------------------------------------------------------- lane, then open balance

    function test_takes_the_lane_before_the_open_balance() public {
        prepayOpen(alice.addr, 5e6);
        escrow.claim(agent.addr, row(alice, agent.addr, 10e6));
        assertLane(alice.addr, agent.addr, 0, 10e6);
        assertOpen(alice.addr, 5e6, 0);
        assertOpen(agent.addr, 10e6, 0);
    }

    function test_takes_the_rest_from_the_open_balance() public {
        prepayOpen(alice.addr, 5e6);
        bytes memory rows = row(alice, agent.addr, 12e6);

        vm.expectEmit(address(escrow));
        emit IPrepaymentEscrow.Claimed(agent.addr, 12e6, payment(alice.addr, 12e6));
        (IPrepaymentEscrow.RowResult result, uint96 total) = claimOne(agent.addr, rows);

        assertResult(result, PAID);
        assertEq(total, 12e6);
        assertLane(alice.addr, agent.addr, 0, 12e6);
        assertOpen(alice.addr, 3e6, 0);
        assertLane(alice.addr, address(0), 3e6, 0);
        assertOpen(agent.addr, 12e6, 0);
    }

    function test_takes_all_from_the_open_balance_when_there_is_no_lane() public {
        prepayOpen(carol.addr, 5e6);
        (IPrepaymentEscrow.RowResult result,) = claimOne(agent.addr, row(carol, agent.addr, 5e6));
        assertResult(result, PAID);
        assertLane(carol.addr, agent.addr, 0, 5e6);
        assertOpen(carol.addr, 0, 0);
        assertOpen(agent.addr, 5e6, 0);
    }

    /// @dev Earnings back, at once and with no transfer, what the agent owes its relays.
    function test_earnings_pay_the_next_in_line() public {
        escrow.claim(agent.addr, row(alice, agent.addr, 10e6));
        (IPrepaymentEscrow.RowResult result,) = claimOne(relay.addr, row(agent, relay.addr, 4e6));

        assertResult(result, PAID);
        assertOpen(agent.addr, 6e6, 0);
        assertOpen(relay.addr, 4e6, 0);
        assertLane(agent.addr, relay.addr, 0, 4e6);
        assertEq(token.balanceOf(address(escrow)), 10e6);
    }

    function test_leaves_the_payers_other_lanes_alone() public {
        prepay(alice.addr, relay.addr, 10e6);
        (IPrepaymentEscrow.RowResult result,) = claimOne(agent.addr, row(alice, agent.addr, 15e6));
        assertResult(result, PARTLY_PAID);
        assertLane(alice.addr, relay.addr, 10e6, 0);
    }

    // ---------------------------------------------------------------------------------------------- underfunded

    function test_pays_what_is_there_and_remembers_exactly_that() public {
        prepayOpen(alice.addr, 5e6);
        bytes memory rows = row(alice, agent.addr, 20e6);

        vm.expectEmit(address(escrow));
        emit IPrepaymentEscrow.Claimed(agent.addr, 15e6, payment(alice.addr, 15e6));
        (IPrepaymentEscrow.RowResult result, uint96 total) = claimOne(agent.addr, rows);

        assertResult(result, PARTLY_PAID);
        assertEq(total, 15e6);
        assertLane(alice.addr, agent.addr, 0, 15e6);
        assertOpen(alice.addr, 0, 0);
        assertOpen(agent.addr, 15e6, 0);
    }

    function test_burns_no_entitlement() public {
        bytes memory rows = row(alice, agent.addr, 20e6);
        escrow.claim(agent.addr, rows);
        assertPaysNothing(agent.addr, rows, UNFUNDED);

        prepay(alice.addr, agent.addr, 30e6);
        (IPrepaymentEscrow.RowResult result, uint96 total) = claimOne(agent.addr, rows);

        assertResult(result, PAID);
        assertEq(total, 10e6);
        assertLane(alice.addr, agent.addr, 20e6, 20e6);
        assertOpen(agent.addr, 20e6, 0);
    }

    function test_dust_burns_no_entitlement() public {
        for (uint96 cumulative = 1; cumulative <= 20; ++cumulative) {
            (, uint96 paid) = claimOne(agent.addr, row(alice, agent.addr, cumulative));
            assertEq(paid, 1);
        }
        assertLane(alice.addr, agent.addr, 10e6 - 20, 20);
        assertOpen(agent.addr, 20, 0);
    }

    // -------------------------------------------------------------------------------------------------- batches

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

    // -------------------------------------------------------------------------------------------------- helpers

    /// @dev The one row ends as `expected`, and nothing moves or is said.
    function assertPaysNothing(address payee, bytes memory rows, IPrepaymentEscrow.RowResult expected) private {
        // forge-lint: disable-next-line(unsafe-typecast) a row begins with its payer
        address payer = address(bytes20(rows));
        (IPrepaymentEscrow.Lane memory laneBefore,) = escrow.lane(payer, payee);
        (uint96 payerOpen,) = escrow.openBalance(payer);
        (uint96 payeeOpen,) = escrow.openBalance(payee);
        uint256 balance = token.balanceOf(address(escrow));

        vm.recordLogs();
        (IPrepaymentEscrow.RowResult result, uint96 total) = claimOne(payee, rows);

        assertResult(result, expected);
        assertEq(total, 0);
        assertEq(vm.getRecordedLogs().length, 0, "silent");
        assertLane(payer, payee, laneBefore.deposit, laneBefore.paid);
        assertOpen(payer, payerOpen, 0);
        assertOpen(payee, payeeOpen, 0);
        assertEq(token.balanceOf(address(escrow)), balance);
    }

    function u96(uint256 a) private pure returns (uint96) {
        return SafeCast.toUint96(a);
    }

    function min(uint256 a, uint256 b) private pure returns (uint256) {
        return a < b ? a : b;
    }
}
