// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.35;

import {IPrepaymentEscrow} from "../../../contracts/src/interfaces/IPrepaymentEscrow.sol";
import {Signatures} from "../Signatures.sol";

/// @title A mandate is given and raised at once, and taken back with notice
contract MandateTest is Signatures {
    uint64 private constant UNTIL = START + 90 days;

    // ----------------------------------------------------------------------------------------------- refusals

    function test_refuses_payee_zero_and_the_payer_itself() public {
        expectRefusal(abi.encodeWithSelector(IPrepaymentEscrow.BadLane.selector, alice.addr, address(0)));
        escrow.setMandate(address(0), 1e6, 5e6, UNTIL);
        expectRefusal(abi.encodeWithSelector(IPrepaymentEscrow.BadLane.selector, alice.addr, alice.addr));
        escrow.setMandate(alice.addr, 1e6, 5e6, UNTIL);
    }

    function test_refuses_a_cap_of_zero() public {
        expectRefusal(abi.encodeWithSelector(IPrepaymentEscrow.ZeroAmount.selector));
        escrow.setMandate(agent.addr, 0, 5e6, UNTIL);
        expectRefusal(abi.encodeWithSelector(IPrepaymentEscrow.ZeroAmount.selector));
        escrow.setMandate(agent.addr, 1e6, 0, UNTIL);
    }

    function test_refuses_a_mandate_that_would_be_over() public {
        expectRefusal(abi.encodeWithSelector(IPrepaymentEscrow.MandateOver.selector, START - 1, START));
        escrow.setMandate(agent.addr, 1e6, 5e6, START - 1);
        assertMandate(alice.addr, agent.addr, 0, 0, 0, 0, 0);
        assertEq(escrow.nonces(alice.addr), 0);
    }

    /// @dev One of the three a little less, the others as much more as you like.
    function test_refuses_to_reduce_a_mandate_in_force_in_any_respect() public {
        set(1e6, 5e6, UNTIL);
        vm.warp(UNTIL - 1 days);
        expectReduced(1e6 - 1, 50e6, UNTIL + 1);
        expectReduced(10e6, 5e6 - 1, UNTIL + 1);
        expectReduced(10e6, 50e6, UNTIL - 1);
        assertMandate(alice.addr, agent.addr, 1e6, 5e6, UNTIL, 0, START);
        assertEq(escrow.nonces(alice.addr), 1);
    }

    function test_refuses_to_reduce_at_the_last_second_and_while_the_notice_runs() public {
        set(1e6, 5e6, UNTIL);
        revokeMandate(alice.addr, agent.addr);
        vm.warp(START + NOTICE);
        expectReduced(1e6 - 1, 5e6, UNTIL);
    }

    // ------------------------------------------------------------------------------------------ set and raised

    function test_starts_empty_and_says_what_was_given() public {
        vm.expectEmit(address(escrow));
        emit IPrepaymentEscrow.MandateSet(alice.addr, agent.addr, 1e6, 5e6, UNTIL);
        set(1e6, 5e6, UNTIL);

        assertMandate(alice.addr, agent.addr, 1e6, 5e6, UNTIL, 0, START);
        assertChargeable(alice.addr, agent.addr, 0);
        assertEq(escrow.nonces(alice.addr), 1);
        assertLane(alice.addr, agent.addr, 0, 0);
        assertMandate(agent.addr, alice.addr, 0, 0, 0, 0, 0);
        assertMandate(alice.addr, relay.addr, 0, 0, 0, 0, 0);
    }

    function test_can_be_given_until_this_very_second() public {
        set(1e6, 5e6, START);
        assertMandate(alice.addr, agent.addr, 1e6, 5e6, START, 0, START);
    }

    function test_raising_keeps_what_has_accrued_at_the_old_rate() public {
        set(1e6, 5e6, UNTIL);
        warp(2 days + 1);
        vm.expectEmit(address(escrow));
        emit IPrepaymentEscrow.MandateSet(alice.addr, agent.addr, 3e6, 6e6, UNTIL + 1 days);
        set(3e6, 6e6, UNTIL + 1 days);

        uint256 accrued = (2 days + 1) * 1e6;
        assertMandate(alice.addr, agent.addr, 3e6, 6e6, UNTIL + 1 days, accrued, START + 2 days + 1);
        assertChargeable(alice.addr, agent.addr, 2e6 + 11);
        warp(1 days);
        assertChargeable(alice.addr, agent.addr, 5e6 + 11);
        assertEq(escrow.nonces(alice.addr), 2);
    }

    /// @dev What did not fit the old cap does not come back with the new one.
    function test_raising_the_accrual_cap_brings_nothing_back() public {
        set(1e6, 5e6, UNTIL);
        warp(30 days);
        set(1e6, 50e6, UNTIL);
        assertChargeable(alice.addr, agent.addr, 5e6);
        warp(1 days);
        assertChargeable(alice.addr, agent.addr, 6e6);
    }

    function test_the_same_again_changes_nothing_but_the_reckoning() public {
        set(1e6, 5e6, UNTIL);
        warp(1);
        set(1e6, 5e6, UNTIL);
        assertMandate(alice.addr, agent.addr, 1e6, 5e6, UNTIL, 1e6, START + 1);
    }

    function test_each_lane_has_its_own() public {
        set(1e6, 5e6, UNTIL);
        setMandate(alice.addr, relay.addr, 2e6, 2e6, START + 1 days);
        setMandate(carol.addr, agent.addr, 3e6, 9e6, START + 2 days);
        warp(1 days);
        revokeMandate(alice.addr, relay.addr);
        assertMandate(alice.addr, agent.addr, 1e6, 5e6, UNTIL, 0, START);
        assertMandate(alice.addr, relay.addr, 2e6, 2e6, START + 1 days, 0, START);
        assertMandate(carol.addr, agent.addr, 3e6, 9e6, START + 2 days, 0, START);
        assertChargeable(alice.addr, agent.addr, 1e6);
        assertChargeable(alice.addr, relay.addr, 2e6);
        assertChargeable(carol.addr, agent.addr, 3e6);
    }

    // ------------------------------------------------------------------------------------------------ revoked

    function test_a_revoked_mandate_accrues_until_exactly_the_notices_end() public {
        set(1e6, 50e6, UNTIL);
        warp(1 days);
        uint64 end = START + 1 days + NOTICE;
        vm.expectEmit(address(escrow));
        emit IPrepaymentEscrow.MandateRevoked(alice.addr, agent.addr, end);
        revokeMandate(alice.addr, agent.addr);

        assertMandate(alice.addr, agent.addr, 1e6, 50e6, end, 0, START);
        vm.warp(end);
        assertChargeable(alice.addr, agent.addr, 8e6);
        vm.warp(end + 1);
        assertChargeable(alice.addr, agent.addr, 0);
    }

    function test_revoking_twice_leaves_the_first_end() public {
        set(1e6, 5e6, UNTIL);
        revokeMandate(alice.addr, agent.addr);
        warp(1 days);
        vm.expectEmit(address(escrow));
        emit IPrepaymentEscrow.MandateRevoked(alice.addr, agent.addr, START + NOTICE);
        revokeMandate(alice.addr, agent.addr);
        assertMandate(alice.addr, agent.addr, 1e6, 5e6, START + NOTICE, 0, START);
        assertEq(escrow.nonces(alice.addr), 3);
    }

    function test_revoking_lengthens_nothing() public {
        set(1e6, 5e6, START + 1 days);
        revokeMandate(alice.addr, agent.addr);
        assertMandate(alice.addr, agent.addr, 1e6, 5e6, START + 1 days, 0, START);
        vm.warp(START + 1 days + 1);
        revokeMandate(alice.addr, agent.addr);
        assertMandate(alice.addr, agent.addr, 1e6, 5e6, START + 1 days, 0, START);
    }

    function test_revoking_nothing_says_so_and_voids_what_was_signed() public {
        vm.expectEmit(address(escrow));
        emit IPrepaymentEscrow.MandateRevoked(alice.addr, agent.addr, 0);
        revokeMandate(alice.addr, agent.addr);
        assertMandate(alice.addr, agent.addr, 0, 0, 0, 0, 0);
        assertEq(escrow.nonces(alice.addr), 1);
    }

    function test_nobody_revokes_for_another() public {
        set(1e6, 5e6, UNTIL);
        revokeMandate(agent.addr, alice.addr);
        revokeMandate(mallory.addr, agent.addr);
        assertMandate(alice.addr, agent.addr, 1e6, 5e6, UNTIL, 0, START);
    }

    /// @dev A raise while the notice runs takes the revocation back, and loses nothing to the payee.
    function test_raising_within_the_notice_takes_the_revocation_back() public {
        set(1e6, 50e6, UNTIL);
        revokeMandate(alice.addr, agent.addr);
        warp(2 days);
        set(1e6, 50e6, UNTIL);
        assertMandate(alice.addr, agent.addr, 1e6, 50e6, UNTIL, 2 days * 1e6, START + 2 days);
        vm.warp(START + NOTICE + 1);
        assertChargeable(alice.addr, agent.addr, 7e6 + 11);
    }

    function test_anew_after_its_end_it_starts_empty_and_may_be_less() public {
        set(1e6, 5e6, START + 10 days);
        vm.warp(START + 10 days + 1);
        set(1, 2, START + 10 days + 1);
        assertMandate(alice.addr, agent.addr, 1, 2, START + 10 days + 1, 0, START + 10 days + 1);
        assertChargeable(alice.addr, agent.addr, 0);
    }

    // ------------------------------------------------------------------------------------------------ helpers

    function set(uint96 dailyCap, uint96 accrualCap, uint64 validUntil) private {
        setMandate(alice.addr, agent.addr, dailyCap, accrualCap, validUntil);
    }

    function expectRefusal(bytes memory refusal) private {
        vm.expectRevert(refusal);
        vm.prank(alice.addr);
    }

    function expectReduced(uint96 dailyCap, uint96 accrualCap, uint64 validUntil) private {
        expectRefusal(abi.encodeWithSelector(IPrepaymentEscrow.MandateReduced.selector, alice.addr, agent.addr));
        escrow.setMandate(agent.addr, dailyCap, accrualCap, validUntil);
    }
}
