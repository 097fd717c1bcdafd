// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.35;

import {PrepaymentEscrow} from "../../../contracts/src/PrepaymentEscrow.sol";
import {IPrepaymentEscrow} from "../../../contracts/src/interfaces/IPrepaymentEscrow.sol";
import {Signatures} from "../Signatures.sol";

/// @title Laws 2, 3 and 5: by the payer's signature, cumulative, each row for itself
contract ClaimTest is Signatures {
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
        assertClaimsNothing(agent.addr, row(mallory, alice.addr, agent.addr, 1e6), BAD_SIGNATURE);
    }

    function test_refuses_signature_of_the_payee() public {
        assertClaimsNothing(agent.addr, row(agent, alice.addr, agent.addr, 1e6), BAD_SIGNATURE);
    }

    function test_refuses_voucher_to_another_payee() public {
        prepay(alice.addr, relay.addr, 10e6);
        assertClaimsNothing(relay.addr, row(alice, agent.addr, 1e6), BAD_SIGNATURE);
        assertLane(alice.addr, relay.addr, 10e6, 0);
    }

    function test_refuses_another_total_than_was_signed() public {
        bytes memory rows = row(alice, agent.addr, 1e6);
        rows[31] = bytes1(uint8(rows[31]) + 1);
        assertClaimsNothing(agent.addr, rows, BAD_SIGNATURE);
    }

    function test_refuses_another_payer_than_signed() public {
        prepay(carol.addr, agent.addr, 10e6);
        bytes memory rows = row(alice, carol.addr, agent.addr, 1e6);
        assertClaimsNothing(agent.addr, rows, BAD_SIGNATURE);
        assertLane(carol.addr, agent.addr, 10e6, 0);
    }

    function test_refuses_voucher_of_another_chain() public {
        bytes memory rows = row(alice, agent.addr, 1e6);
        vm.chainId(block.chainid + 1);
        assertClaimsNothing(agent.addr, rows, BAD_SIGNATURE);
    }

    function test_refuses_voucher_of_another_escrow() public {
        PrepaymentEscrow home = escrow;
        escrow = new PrepaymentEscrow(address(token));
        bytes memory rows = row(alice, agent.addr, 1e6);
        escrow = home;
        assertClaimsNothing(agent.addr, rows, BAD_SIGNATURE);
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

        assertClaimsNothing(agent.addr, abi.encodePacked(alice.addr, uint96(1e6), r, high), BAD_SIGNATURE);

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
        assertClaimsNothing(
            agent.addr, abi.encodePacked(alice.addr, uint96(1e6), bytes32(0), bytes32(0)), BAD_SIGNATURE
        );
    }

    function test_refuses_payer_zero_whom_a_failed_recovery_seems_to_name() public {
        prepayOpen(carol.addr, 1e6);
        assertClaimsNothing(agent.addr, abi.encodePacked(address(0), uint96(1e6), bytes32(0), bytes32(0)), BAD_PAYER);
    }

    function test_refuses_payer_that_is_the_payee() public {
        prepayOpen(agent.addr, 10e6);
        assertClaimsNothing(agent.addr, row(agent, agent.addr, 1e6), BAD_PAYER);
    }

    function test_refuses_lane_and_open_balance_without_money() public {
        assertClaimsNothing(agent.addr, row(carol, agent.addr, 1e6), UNFUNDED);
        assertLane(carol.addr, agent.addr, 0, 0);
    }

    function test_refuses_the_same_voucher_again() public {
        bytes memory rows = row(alice, agent.addr, 1e6);
        escrow.claim(agent.addr, rows);
        assertClaimsNothing(agent.addr, rows, NOTHING_NEW);
    }

    function test_refuses_an_older_voucher() public {
        bytes memory older = row(alice, agent.addr, 1e6 - 1);
        escrow.claim(agent.addr, row(alice, agent.addr, 1e6));
        assertClaimsNothing(agent.addr, older, NOTHING_NEW);
    }

    function test_refuses_a_voucher_over_nothing() public {
        assertClaimsNothing(agent.addr, row(alice, agent.addr, 0), NOTHING_NEW);
    }

    /// @dev What is wrong with a voucher is told before what is wrong with the lane.
    function test_a_bad_signature_is_told_before_an_old_total() public {
        escrow.claim(agent.addr, row(alice, agent.addr, 1e6));
        assertClaimsNothing(agent.addr, row(mallory, alice.addr, agent.addr, 1e6), BAD_SIGNATURE);
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
        assertClaimsNothing(agent.addr, rows, UNFUNDED);

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
}
