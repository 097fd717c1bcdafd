// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.35;

import {Vm} from "forge-std/Vm.sol";

import {IPrepaymentEscrow} from "../../../contracts/src/interfaces/IPrepaymentEscrow.sol";
import {Signatures} from "../Signatures.sol";

/// @title A key that several people trust, one after the other or at once, is each one's only while that one says so
contract DelegatesTest is Signatures {
    function setUp() public override {
        super.setUp();
        prepay(alice.addr, agent.addr, 10e6);
        prepay(carol.addr, agent.addr, 10e6);
    }

    function test_a_delegate_of_two_payers_signs_for_each_only_what_names_it() public {
        authorize(alice);
        authorize(carol);
        bytes memory rows = row(session, alice.addr, agent.addr, 4e6);
        for (uint256 i = 0; i < 20; ++i) {
            rows[i] = bytes20(carol.addr)[i];
        }
        assertClaimsNothing(agent.addr, rows, BAD_SIGNATURE);
        (, bytes memory results) = escrow.claim(
            agent.addr,
            bytes.concat(row(session, alice.addr, agent.addr, 4e6), row(session, carol.addr, agent.addr, 3e6))
        );
        assertEq(results, hex"0000");
        assertLane(alice.addr, agent.addr, 6e6, 4e6);
        assertLane(carol.addr, agent.addr, 7e6, 3e6);
    }

    /// @dev The key goes from one payer's service into another's: neither pays for the other's time.
    function test_a_signer_moved_between_payers_signs_for_the_first_until_its_notice_ends() public {
        authorize(alice);
        revoke(alice);
        authorize(carol);
        bytes memory first = row(session, alice.addr, agent.addr, 1e6);
        bytes memory later = row(session, alice.addr, agent.addr, 2e6);
        vm.warp(START + NOTICE - 1);
        (IPrepaymentEscrow.RowResult result,) = claimOne(agent.addr, first);
        assertResult(result, PAID);
        vm.warp(START + NOTICE);
        assertClaimsNothing(agent.addr, later, BAD_SIGNATURE);
        (result,) = claimOne(agent.addr, row(session, carol.addr, agent.addr, 1e6));
        assertResult(result, PAID);
    }

    /// @dev Authorized again, it is trusted with all it ever signed: the revocation has left no mark on old vouchers,
    /// only in what can be read of it.
    function test_authorized_again_its_old_vouchers_are_good_again() public {
        authorize(alice);
        bytes memory old = row(session, alice.addr, agent.addr, 1e6);
        revoke(alice);
        vm.warp(START + NOTICE);
        assertClaimsNothing(agent.addr, old, BAD_SIGNATURE);
        authorize(alice);
        (IPrepaymentEscrow.RowResult result,) = claimOne(agent.addr, old);
        assertResult(result, PAID);
        IPrepaymentEscrow.Delegate memory delegate = escrow.delegate(alice.addr, session.addr);
        assertEq(delegate.revokedAt, START);
        assertEq(delegate.authorizedAt, START + NOTICE);
    }

    /// @dev Authorized and revoked again within the notice: the second notice is a whole one.
    function test_authorized_again_within_its_notice_it_has_a_whole_notice_again() public {
        authorize(alice);
        revoke(alice);
        warp(1 days);
        authorize(alice);
        warp(1 days);
        revoke(alice);
        vm.warp(START + 2 days + NOTICE - 1);
        assertTrue(escrow.isSigner(alice.addr, session.addr));
        vm.warp(START + 2 days + NOTICE);
        assertFalse(escrow.isSigner(alice.addr, session.addr));
    }

    /// @dev A delegate signs vouchers and, of a payee, charges; it does nothing in its own name.
    function test_a_delegate_cannot_thaw_withdraw_name_others_or_give_mandates() public {
        authorize(alice);
        vm.startPrank(session.addr);
        vm.expectRevert(abi.encodeWithSelector(IPrepaymentEscrow.ThawAboveDeposit.selector, 1, 0));
        escrow.thaw(agent.addr, 1);
        vm.expectRevert(abi.encodeWithSelector(IPrepaymentEscrow.NothingThawing.selector, session.addr, agent.addr));
        escrow.withdraw(agent.addr, session.addr);
        escrow.authorize(mallory.addr);
        escrow.setMandate(agent.addr, 1e6, 1e6, START + 1 days);
        vm.stopPrank();
        assertFalse(escrow.isSigner(alice.addr, mallory.addr));
        assertMandate(alice.addr, agent.addr, 0, 0, 0, 0, 0);
    }

    /// @dev Trust does not pass on: the delegate's delegate is nobody.
    function test_a_delegates_delegate_signs_nothing() public {
        authorize(alice);
        vm.prank(session.addr);
        escrow.authorize(mallory.addr);
        assertClaimsNothing(agent.addr, row(mallory, alice.addr, agent.addr, 1e6), BAD_SIGNATURE);
    }

    /// @dev A payee that is the payer's delegate can pay itself: the payer trusted it with that. Not the other way.
    function test_a_payer_that_is_the_payees_delegate_charges_itself_only() public {
        vm.prank(agent.addr);
        escrow.authorize(alice.addr);
        setMandate(alice.addr, agent.addr, 1e6, 1e6, START + 30 days);
        warp(1 days);
        assertChargesNothing(agent.addr, chargeRow(alice, carol.addr, agent.addr, 1e6), NO_MANDATE);
        (, uint96 paid) = chargeOne(agent.addr, chargeRow(alice, alice.addr, agent.addr, 1e6));
        assertEq(paid, 1e6);
    }

    function authorize(Vm.Wallet memory payer) private {
        vm.prank(payer.addr);
        escrow.authorize(session.addr);
    }

    function revoke(Vm.Wallet memory payer) private {
        vm.prank(payer.addr);
        escrow.revoke(session.addr);
    }
}
