// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.35;

import {PrepaymentEscrow} from "../../../contracts/src/PrepaymentEscrow.sol";
import {IPrepaymentEscrow} from "../../../contracts/src/interfaces/IPrepaymentEscrow.sol";
import {Signatures} from "../Signatures.sol";

/// @title Laws 2 and 5 of charges: inside the payer's mandate, at the payee's word, each row for itself
contract ChargeTest is Signatures {
    uint64 private constant UNTIL = START + 90 days;

    function setUp() public override {
        super.setUp();
        prepay(alice.addr, agent.addr, 10e6);
        setMandate(alice.addr, agent.addr, 1e6, 5e6, UNTIL);
        warp(3 days);
    }

    // -------------------------------------------------------------------------------- refusals of the whole call

    function test_refuses_payee_zero() public {
        bytes memory rows = chargeRow(agent, alice.addr, address(0), 1e6);
        vm.expectRevert(abi.encodeWithSelector(IPrepaymentEscrow.BadPayee.selector, address(0)));
        escrow.charge(address(0), rows);
    }

    function test_refuses_no_rows_and_rows_of_another_length() public {
        vm.expectRevert(abi.encodeWithSelector(IPrepaymentEscrow.MalformedRows.selector, 0));
        escrow.charge(agent.addr, "");
        bytes memory rows = bytes.concat(chargeRow(alice.addr, agent, 1e6), hex"00");
        vm.expectRevert(abi.encodeWithSelector(IPrepaymentEscrow.MalformedRows.selector, 97));
        escrow.charge(agent.addr, rows);
        vm.expectRevert(abi.encodeWithSelector(IPrepaymentEscrow.MalformedRows.selector, 95));
        escrow.charge(agent.addr, new bytes(95));
    }

    // ---------------------------------------------------------------------------------------- refusals of a row

    function test_refuses_a_charge_that_a_stranger_makes_up() public {
        assertChargesNothing(agent.addr, chargeRow(mallory, alice.addr, agent.addr, 1e6), BAD_SIGNATURE);
    }

    function test_refuses_the_payers_signature_and_its_delegates() public {
        vm.prank(alice.addr);
        escrow.authorize(session.addr);
        assertChargesNothing(agent.addr, chargeRow(alice, alice.addr, agent.addr, 1e6), BAD_SIGNATURE);
        assertChargesNothing(agent.addr, chargeRow(session, alice.addr, agent.addr, 1e6), BAD_SIGNATURE);
    }

    /// @dev The two types differ by their name alone, and that is enough: a payee cannot pass off its own word as a
    /// voucher, nor a payer's as a charge.
    function test_refuses_a_voucher_as_a_charge_and_a_charge_as_a_voucher() public {
        assertChargesNothing(agent.addr, row(alice, agent.addr, 1e6), BAD_SIGNATURE);
        assertChargesNothing(agent.addr, row(agent, alice.addr, agent.addr, 1e6), BAD_SIGNATURE);
        assertClaimsNothing(agent.addr, chargeRow(alice.addr, agent, 1e6), BAD_SIGNATURE);
        assertClaimsNothing(agent.addr, chargeRow(alice, alice.addr, agent.addr, 1e6), BAD_SIGNATURE);
    }

    function test_refuses_another_total_payer_or_payee_than_was_signed() public {
        prepay(carol.addr, agent.addr, 10e6);
        setMandate(carol.addr, agent.addr, 1e6, 5e6, UNTIL);
        setMandate(alice.addr, relay.addr, 1e6, 5e6, UNTIL);
        warp(1 days);
        bytes memory rows = chargeRow(alice.addr, agent, 1e6);
        assertChargesNothing(relay.addr, rows, BAD_SIGNATURE);
        rows[31] = bytes1(uint8(rows[31]) + 1);
        assertChargesNothing(agent.addr, rows, BAD_SIGNATURE);
        rows = chargeRow(alice.addr, agent, 1e6);
        for (uint256 i = 0; i < 20; ++i) {
            rows[i] = bytes20(carol.addr)[i];
        }
        assertChargesNothing(agent.addr, rows, BAD_SIGNATURE);
    }

    function test_refuses_a_charge_of_another_chain_and_of_another_escrow() public {
        bytes memory rows = chargeRow(alice.addr, agent, 1e6);
        vm.chainId(block.chainid + 1);
        assertChargesNothing(agent.addr, rows, BAD_SIGNATURE);

        PrepaymentEscrow home = escrow;
        escrow = new PrepaymentEscrow(address(token));
        rows = chargeRow(alice.addr, agent, 1e6);
        escrow = home;
        assertChargesNothing(agent.addr, rows, BAD_SIGNATURE);
    }

    function test_refuses_zero_signature_and_payer_zero() public {
        bytes memory unsigned = abi.encodePacked(alice.addr, uint96(1e6), bytes32(0), bytes32(0));
        assertChargesNothing(agent.addr, unsigned, BAD_SIGNATURE);
        assertChargesNothing(agent.addr, chargeRow(address(0), agent, 1e6), BAD_PAYER);
    }

    function test_refuses_the_payee_as_its_own_payer() public {
        prepayOpen(agent.addr, 5e6);
        assertChargesNothing(agent.addr, chargeRow(agent.addr, agent, 1e6), BAD_PAYER);
    }

    function test_refuses_an_old_total_and_a_total_of_nothing() public {
        escrow.charge(agent.addr, chargeRow(alice.addr, agent, 1e6));
        assertChargesNothing(agent.addr, chargeRow(alice.addr, agent, 1e6), NOTHING_NEW);
        assertChargesNothing(agent.addr, chargeRow(alice.addr, agent, 1e6 - 1), NOTHING_NEW);
        assertChargesNothing(agent.addr, chargeRow(alice.addr, agent, 0), NOTHING_NEW);
    }

    function test_refuses_a_payer_without_mandate_to_this_payee() public {
        prepay(carol.addr, agent.addr, 10e6);
        assertChargesNothing(agent.addr, chargeRow(carol.addr, agent, 1), NO_MANDATE);
        prepay(alice.addr, relay.addr, 10e6);
        assertChargesNothing(relay.addr, chargeRow(alice.addr, relay, 1), NO_MANDATE);
    }

    function test_refuses_the_second_after_the_mandate() public {
        bytes memory rows = chargeRow(alice.addr, agent, 1e6);
        vm.warp(UNTIL + 1);
        assertChargesNothing(agent.addr, rows, NO_MANDATE);
    }

    function test_refuses_the_second_after_the_notice_of_a_revocation() public {
        bytes memory rows = chargeRow(alice.addr, agent, 1e6);
        revokeMandate(alice.addr, agent.addr);
        vm.warp(START + 3 days + NOTICE + 1);
        assertChargesNothing(agent.addr, rows, NO_MANDATE);
    }

    function test_refuses_before_a_whole_unit_has_accrued() public {
        setMandate(carol.addr, agent.addr, 1, 5, UNTIL);
        prepay(carol.addr, agent.addr, 10e6);
        bytes memory rows = chargeRow(carol.addr, agent, 1e6);
        assertChargesNothing(agent.addr, rows, NOTHING_ACCRUED);
        warp(1 days - 1);
        assertChargesNothing(agent.addr, rows, NOTHING_ACCRUED);
        warp(1);
        (, uint96 paid) = chargeOne(agent.addr, rows);
        assertEq(paid, 1);
    }

    /// @dev And the mandate keeps what it holds.
    function test_refuses_where_there_is_no_money_and_spends_no_mandate() public {
        setMandate(carol.addr, agent.addr, 1e6, 5e6, UNTIL);
        warp(2 days);
        bytes memory rows = chargeRow(carol.addr, agent, 1e6);
        assertChargesNothing(agent.addr, rows, UNFUNDED);
        assertChargesNothing(agent.addr, chargeRow(carol.addr, agent, 10e6), UNFUNDED);
        assertChargeable(carol.addr, agent.addr, 2e6);
        prepay(carol.addr, agent.addr, 1e6);
        (IPrepaymentEscrow.RowResult result,) = chargeOne(agent.addr, rows);
        assertResult(result, PAID);
    }

    function test_what_is_wrong_is_told_in_the_documented_order() public {
        // old, without mandate, without money: the total is told first, and the signature before it
        assertChargesNothing(agent.addr, chargeRow(carol.addr, agent, 0), NOTHING_NEW);
        assertChargesNothing(agent.addr, chargeRow(mallory, carol.addr, agent.addr, 0), BAD_SIGNATURE);
        assertChargesNothing(agent.addr, chargeRow(mallory, address(0), agent.addr, 0), BAD_PAYER);
        // without mandate and money: the mandate; nothing accrued and no money: what has accrued
        assertChargesNothing(agent.addr, chargeRow(carol.addr, agent, 1), NO_MANDATE);
        setMandate(carol.addr, agent.addr, 1e6, 5e6, UNTIL);
        assertChargesNothing(agent.addr, chargeRow(carol.addr, agent, 1), NOTHING_ACCRUED);
    }

    function test_refuses_the_payees_delegate_once_its_notice_has_ended() public {
        vm.startPrank(agent.addr);
        escrow.authorize(session.addr);
        escrow.revoke(session.addr);
        vm.stopPrank();
        bytes memory rows = chargeRow(session, alice.addr, agent.addr, 1e6);
        vm.warp(START + 3 days + NOTICE);
        assertChargesNothing(agent.addr, rows, BAD_SIGNATURE);
    }

    // ----------------------------------------------------------------------------------------------- payments

    function test_pays_inside_the_mandate_and_draws_it_down() public {
        bytes memory rows = chargeRow(alice.addr, agent, 2e6);

        vm.expectEmit(address(escrow));
        emit IPrepaymentEscrow.Claimed(agent.addr, 2e6, payment(alice.addr, 2e6));
        (IPrepaymentEscrow.RowResult result, uint96 total) = chargeOne(agent.addr, rows);

        assertResult(result, PAID);
        assertEq(total, 2e6);
        assertLane(alice.addr, agent.addr, 8e6, 2e6);
        assertOpen(agent.addr, 2e6, 0);
        assertOpen(alice.addr, 0, 0);
        assertOpen(mallory.addr, 0, 0);
        assertMandate(alice.addr, agent.addr, 1e6, 5e6, UNTIL, 1 days * 1e6, START + 3 days);
        assertChargeable(alice.addr, agent.addr, 1e6);
        assertEq(token.balanceOf(address(escrow)), 10e6);
        assertEq(escrow.nonces(alice.addr), 1);
    }

    function test_pays_at_the_last_second_of_the_mandate() public {
        vm.warp(UNTIL);
        (IPrepaymentEscrow.RowResult result, uint96 paid) = chargeOne(agent.addr, chargeRow(alice.addr, agent, 5e6));
        assertResult(result, PAID);
        assertEq(paid, 5e6);
    }

    function test_the_payees_delegate_signs_and_does_so_until_just_before_its_notice_ends() public {
        vm.prank(agent.addr);
        escrow.authorize(session.addr);
        (IPrepaymentEscrow.RowResult result,) = chargeOne(agent.addr, chargeRow(session, alice.addr, agent.addr, 1e6));
        assertResult(result, PAID);

        vm.prank(agent.addr);
        escrow.revoke(session.addr);
        vm.warp(START + 3 days + NOTICE - 1);
        (result,) = chargeOne(agent.addr, chargeRow(session, alice.addr, agent.addr, 2e6));
        assertResult(result, PAID);
    }

    function test_pays_partly_by_the_cap_and_the_rest_as_it_accrues() public {
        bytes memory rows = chargeRow(alice.addr, agent, 4e6);
        vm.expectEmit(address(escrow));
        emit IPrepaymentEscrow.Claimed(agent.addr, 3e6, payment(alice.addr, 3e6));
        assertCharges(rows, PARTLY_PAID, 3e6);
        assertLane(alice.addr, agent.addr, 7e6, 3e6);
        assertMandate(alice.addr, agent.addr, 1e6, 5e6, UNTIL, 0, START + 3 days);

        // The same row in later blocks pays what has accrued since, and no more.
        assertChargesNothing(agent.addr, rows, NOTHING_ACCRUED);
        warp(12 hours);
        assertCharges(rows, PARTLY_PAID, 0.5e6);
        warp(5 days);
        assertCharges(rows, PAID, 0.5e6);
        assertChargesNothing(agent.addr, rows, NOTHING_NEW);
        assertLane(alice.addr, agent.addr, 6e6, 4e6);
        assertOpen(agent.addr, 4e6, 0);
    }

    function test_pays_partly_by_the_money() public {
        setMandate(carol.addr, agent.addr, 10e6, 50e6, UNTIL);
        prepay(carol.addr, agent.addr, 2e6);
        warp(1 days);
        assertCharges(chargeRow(carol.addr, agent, 8e6), PARTLY_PAID, 2e6);
        assertLane(carol.addr, agent.addr, 0, 2e6);
        assertChargeable(carol.addr, agent.addr, 8e6);
    }

    function test_pays_partly_by_both() public {
        setMandate(carol.addr, agent.addr, 10e6, 50e6, UNTIL);
        prepay(carol.addr, agent.addr, 2e6);
        warp(1 days);
        assertCharges(chargeRow(carol.addr, agent, 80e6), PARTLY_PAID, 2e6);
        assertLane(carol.addr, agent.addr, 0, 2e6);
        assertChargeable(carol.addr, agent.addr, 8e6);
    }

    /// @dev All that has accrued is there, but not all that is charged.
    function test_a_row_cut_by_the_cap_is_partly_paid_though_money_was_there() public {
        setMandate(carol.addr, agent.addr, 2e6, 50e6, UNTIL);
        prepay(carol.addr, agent.addr, 2e6);
        warp(1 days);
        assertCharges(chargeRow(carol.addr, agent, 2e6 + 1), PARTLY_PAID, 2e6);
        assertChargeable(carol.addr, agent.addr, 0);
    }

    function test_takes_the_lane_then_the_open_balance() public {
        setMandate(carol.addr, agent.addr, 10e6, 50e6, UNTIL);
        prepay(carol.addr, agent.addr, 2e6);
        prepayOpen(carol.addr, 5e6);
        warp(1 days);
        assertCharges(chargeRow(carol.addr, agent, 6e6), PAID, 6e6);
        assertLane(carol.addr, agent.addr, 0, 6e6);
        assertOpen(carol.addr, 1e6, 0);
        assertOpen(agent.addr, 6e6, 0);
        assertChargeable(carol.addr, agent.addr, 4e6);
    }

    // ------------------------------------------------------------------------------------------------- batches

    /// @dev Law 5, with one row of each of the eight kinds.
    function test_a_bad_row_stops_no_good_one() public {
        prepay(carol.addr, agent.addr, 1e6);
        setMandate(carol.addr, agent.addr, 10e6, 50e6, UNTIL);
        setMandate(relay.addr, agent.addr, 10e6, 50e6, UNTIL);
        setMandate(mallory.addr, agent.addr, 1, 1, UNTIL);
        warp(1 hours);
        bytes memory rows = bytes.concat(
            chargeRow(mallory, alice.addr, agent.addr, 9e6), // a stranger's
            chargeRow(carol.addr, agent, 9e6), // partly paid
            chargeRow(alice.addr, agent, 2e6), // paid
            chargeRow(alice.addr, agent, 2e6), // nothing new
            chargeRow(relay.addr, agent, 1) // unfunded
        );
        rows = bytes.concat(
            rows,
            chargeRow(agent.addr, agent, 1), // its own
            chargeRow(session.addr, agent, 1), // no mandate
            chargeRow(mallory.addr, agent, 1), // nothing accrued
            chargeRow(alice.addr, agent, 3e6) // paid
        );

        vm.expectEmit(address(escrow));
        emit IPrepaymentEscrow.Claimed(
            agent.addr,
            3e6 + 416_666,
            bytes.concat(payment(carol.addr, 416_666), payment(alice.addr, 2e6), payment(alice.addr, 1e6))
        );
        (uint96 total, bytes memory results) = escrow.charge(agent.addr, rows);

        assertEq(total, 3e6 + 416_666);
        assertEq(results, hex"040100020305060700");
        assertLane(alice.addr, agent.addr, 7e6, 3e6);
        assertLane(carol.addr, agent.addr, 1e6 - 416_666, 416_666);
        assertOpen(agent.addr, 3e6 + 416_666, 0);
    }

    function test_rows_twice_in_a_batch_pay_once() public {
        bytes memory whole = chargeRow(alice.addr, agent, 1e6);
        bytes memory cut = chargeRow(alice.addr, agent, 9e6);
        (uint96 total, bytes memory results) = escrow.charge(agent.addr, bytes.concat(whole, whole, cut, cut));
        assertEq(total, 3e6);
        assertEq(results, hex"00020107");
        assertLane(alice.addr, agent.addr, 7e6, 3e6);
    }

    /// @dev Law 5: whatever the bytes, the call returns; laws 1 and 2: nothing moved.
    function testFuzz_arbitrary_rows_never_revert_and_move_nothing(address payee, bytes32[6] calldata noise) public {
        vm.assume(payee != address(0));
        (uint96 total, bytes memory results) = escrow.charge(payee, abi.encodePacked(noise));
        assertEq(total, 0);
        for (uint256 i = 0; i < 2; ++i) {
            assertTrue(uint8(results[i]) == uint8(BAD_SIGNATURE) || uint8(results[i]) == uint8(BAD_PAYER));
        }
        assertLane(alice.addr, agent.addr, 10e6, 0);
        assertOpen(payee, 0, 0);
    }

    // ------------------------------------------------------------------------------------------------ helpers

    function assertCharges(bytes memory rows, IPrepaymentEscrow.RowResult expected, uint96 amount) private {
        (IPrepaymentEscrow.RowResult result, uint96 paid) = chargeOne(agent.addr, rows);
        assertResult(result, expected);
        assertEq(paid, amount, "paid");
    }
}
