// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.35;

import {Vm} from "forge-std/Vm.sol";

import {IPrepaymentEscrow} from "../../../contracts/src/interfaces/IPrepaymentEscrow.sol";
import {Signatures} from "../Signatures.sol";

/// @title One nonce for all that a person signs for others to carry: each takes effect once, in the order it was signed
contract NoncesTest is Signatures {
    enum Kind {
        Authorization,
        Revocation,
        Mandate,
        MandateRevocation,
        Order
    }

    uint256 private constant KINDS = 5;
    uint64 private constant UNTIL = START + 1 days;

    function setUp() public override {
        super.setUp();
        fund(alice.addr, 100e6);
        prepay(alice.addr, agent.addr, 10e6);
        // So that all five can take effect: somebody to revoke. Her nonce is 1 from here on.
        vm.prank(alice.addr);
        escrow.authorize(relay.addr);
    }

    // ----------------------------------------------------------------------------------------------- refusals

    /// @dev The old hole: a delegation was signed and never carried, then everything was revoked by transaction.
    function test_a_delegation_never_carried_does_not_come_back_after_a_revocation_by_transaction() public {
        bytes memory delegation = signed(Kind.Authorization, 1);
        vm.prank(alice.addr);
        escrow.revoke(relay.addr);
        warp(NOTICE / 8);
        expectInvalid(Kind.Authorization, delegation);
        assertFalse(escrow.isSigner(alice.addr, session.addr));
    }

    function test_a_mandate_never_carried_does_not_come_back_after_a_revocation_by_transaction() public {
        bytes memory mandate = signed(Kind.Mandate, 1);
        revokeMandate(alice.addr, agent.addr);
        expectInvalid(Kind.Mandate, mandate);
        assertMandate(alice.addr, agent.addr, 0, 0, 0, 0, 0);
    }

    /// @dev Five words over the same nonce: whichever is carried first is the only one.
    function test_whichever_word_is_carried_first_voids_the_others() public {
        for (uint256 first = 0; first < KINDS; ++first) {
            uint256 snapshot = vm.snapshotState();
            bytes[] memory words = new bytes[](KINDS);
            for (uint256 i = 0; i < KINDS; ++i) {
                words[i] = signed(Kind(i), 1);
            }
            carry(Kind(first), words[first]);
            assertEq(escrow.nonces(alice.addr), 2);
            for (uint256 i = 0; i < KINDS; ++i) {
                expectInvalid(Kind(i), words[i]);
            }
            assertTrue(vm.revertToState(snapshot));
        }
    }

    /// @dev What a payer does about delegates and mandates itself voids all that it signed before.
    function test_a_transaction_voids_every_word_not_carried() public {
        bytes[5] memory transactions = [
            abi.encodeCall(escrow.authorize, (carol.addr)),
            abi.encodeCall(escrow.revoke, (relay.addr)),
            abi.encodeCall(escrow.setMandate, (agent.addr, 1, 1, UNTIL)),
            abi.encodeCall(escrow.revokeMandate, (agent.addr)),
            abi.encodeCall(escrow.voidSignatures, ())
        ];
        for (uint256 t = 0; t < transactions.length; ++t) {
            uint256 snapshot = vm.snapshotState();
            transact(transactions[t]);
            assertEq(escrow.nonces(alice.addr), 2);
            for (uint256 i = 0; i < KINDS; ++i) {
                expectInvalid(Kind(i), signed(Kind(i), 1));
            }
            carry(Kind.Mandate, signed(Kind.Mandate, 2));
            assertTrue(vm.revertToState(snapshot));
        }
    }

    function test_a_word_for_a_later_nonce_waits_for_the_one_before() public {
        bytes memory second = signed(Kind.Mandate, 2);
        expectInvalid(Kind.Mandate, second);
        carry(Kind.Authorization, signed(Kind.Authorization, 1));
        carry(Kind.Mandate, second);
        assertEq(escrow.nonces(alice.addr), 3);
    }

    function test_a_refused_transaction_voids_nothing() public {
        bytes memory word = signed(Kind.Order, 1);
        vm.startPrank(alice.addr);
        vm.expectRevert(abi.encodeWithSelector(IPrepaymentEscrow.NotAuthorized.selector, alice.addr, carol.addr));
        escrow.revoke(carol.addr);
        vm.expectRevert(abi.encodeWithSelector(IPrepaymentEscrow.BadSigner.selector, address(0)));
        escrow.authorize(address(0));
        vm.expectRevert(IPrepaymentEscrow.ZeroAmount.selector);
        escrow.setMandate(agent.addr, 0, 1, UNTIL);
        vm.stopPrank();
        carry(Kind.Order, word);
        assertEq(escrow.nonces(alice.addr), 2);
    }

    // ---------------------------------------------------------------------------------------------- successes

    function test_each_kind_takes_effect_and_counts_one() public {
        carry(Kind.Authorization, signed(Kind.Authorization, 1));
        assertTrue(escrow.isSigner(alice.addr, session.addr));
        carry(Kind.Revocation, signed(Kind.Revocation, 2));
        assertFalse(escrow.delegate(alice.addr, relay.addr).authorized);
        carry(Kind.Mandate, signed(Kind.Mandate, 3));
        assertMandate(alice.addr, agent.addr, 1e6, 5e6, UNTIL, 0, START);
        carry(Kind.MandateRevocation, signed(Kind.MandateRevocation, 4));
        carry(Kind.Order, signed(Kind.Order, 5));
        assertLane(alice.addr, agent.addr, 17e6, 0);
        assertEq(escrow.nonces(alice.addr), 6);
    }

    function test_voiding_counts_one_and_moves_nothing() public {
        bytes memory before = numbers(alice.addr, agent.addr);
        vm.recordLogs();
        transact(abi.encodeCall(escrow.voidSignatures, ()));
        assertEq(vm.getRecordedLogs().length, 0);
        assertEq(escrow.nonces(alice.addr), 2);
        assertEq(escrow.nonces(carol.addr), 0);
        assertEq(numbers(alice.addr, agent.addr), before);
    }

    function test_vouchers_and_delegates_outlive_voided_signatures() public {
        bytes memory rows = bytes.concat(row(alice, agent.addr, 1e6), row(relay, alice.addr, agent.addr, 2e6));
        transact(abi.encodeCall(escrow.voidSignatures, ()));
        (, bytes memory results) = escrow.claim(agent.addr, rows);
        assertEq(results, hex"0000");
    }

    /// @dev Money's own verbs void nothing: a word signed before them is still good.
    function test_deposits_notices_claims_and_charges_void_nothing() public {
        bytes memory word = signed(Kind.Authorization, 1);
        transact(abi.encodeCall(escrow.deposit, (alice.addr, agent.addr, 1e6)));
        transact(abi.encodeCall(escrow.thaw, (agent.addr, 1e6)));
        escrow.claim(agent.addr, row(alice, agent.addr, 1e6));
        escrow.charge(agent.addr, chargeRow(alice.addr, agent, 2e6));
        assertEq(escrow.nonces(alice.addr), 1);
        carry(Kind.Authorization, word);
    }

    function test_nonces_are_each_ones_own() public {
        vm.prank(carol.addr);
        escrow.voidSignatures();
        carry(Kind.Mandate, signed(Kind.Mandate, 1));
        assertEq(escrow.nonces(carol.addr), 1);
        assertEq(escrow.nonces(agent.addr), 0);
    }

    // ------------------------------------------------------------------------------------------------ helpers

    function signed(Kind kind, uint256 nonce) private returns (bytes memory) {
        address a = alice.addr;
        bytes32 digest_;
        if (kind == Kind.Authorization) digest_ = delegationDigest(a, session.addr, true, nonce, UNTIL);
        else if (kind == Kind.Revocation) digest_ = delegationDigest(a, relay.addr, false, nonce, UNTIL);
        else if (kind == Kind.Mandate) digest_ = mandateDigest(a, agent.addr, 1e6, 5e6, nonce, UNTIL);
        else if (kind == Kind.MandateRevocation) digest_ = revocationDigest(a, agent.addr, nonce, UNTIL);
        else digest_ = orderDigest(order(), nonce);
        return signature(alice, digest_);
    }

    function order() private view returns (IPrepaymentEscrow.DepositOrder memory order_) {
        order_ = orderOf(alice.addr, 7e6);
        order_.validUntil = UNTIL;
    }

    function carry(Kind kind, bytes memory word) private {
        address a = alice.addr;
        if (kind == Kind.Authorization) escrow.setDelegateBySignature(a, session.addr, true, UNTIL, word);
        else if (kind == Kind.Revocation) escrow.setDelegateBySignature(a, relay.addr, false, UNTIL, word);
        else if (kind == Kind.Mandate) escrow.setMandateBySignature(a, agent.addr, 1e6, 5e6, UNTIL, word);
        else if (kind == Kind.MandateRevocation) escrow.revokeMandateBySignature(a, agent.addr, UNTIL, word);
        else escrow.depositBySignature(order(), word, noPermit);
    }

    function expectInvalid(Kind kind, bytes memory word) private {
        vm.expectRevert(abi.encodeWithSelector(IPrepaymentEscrow.InvalidSignature.selector, alice.addr));
        carry(kind, word);
    }

    function transact(bytes memory call_) private {
        vm.prank(alice.addr);
        (bool done,) = address(escrow).call(call_);
        assertTrue(done);
    }
}
