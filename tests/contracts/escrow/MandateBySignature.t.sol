// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.35;

import {Vm} from "forge-std/Vm.sol";

import {IPrepaymentEscrow} from "../../../contracts/src/interfaces/IPrepaymentEscrow.sol";
import {Signatures} from "../Signatures.sol";
import {Wallet} from "../mocks/Wallet.sol";

/// @title A mandate given and taken back by the payer's word, which anyone may carry
contract MandateBySignatureTest is Signatures {
    uint64 private constant UNTIL = START + 90 days;

    // ----------------------------------------------------------------------------------------------- refusals

    function test_refuses_expired_signatures() public {
        bytes memory mandate = mandateOf(alice, 0);
        bytes memory end = revocationOf(alice, 0);
        vm.warp(UNTIL + 1);
        vm.expectRevert(abi.encodeWithSelector(IPrepaymentEscrow.SignatureExpired.selector, UNTIL, UNTIL + 1));
        set(alice.addr, mandate);
        vm.expectRevert(abi.encodeWithSelector(IPrepaymentEscrow.SignatureExpired.selector, UNTIL, UNTIL + 1));
        escrow.revokeMandateBySignature(alice.addr, agent.addr, UNTIL, end);
    }

    function test_refuses_signatures_of_a_stranger_the_payee_and_a_delegate() public {
        vm.prank(alice.addr);
        escrow.authorize(session.addr);
        expectInvalid(signature(mallory, grant(alice.addr, 1)), signature(mallory, end_(alice.addr, 1)));
        expectInvalid(signature(agent, grant(alice.addr, 1)), signature(agent, end_(alice.addr, 1)));
        expectInvalid(signature(session, grant(alice.addr, 1)), signature(session, end_(alice.addr, 1)));
    }

    function test_refuses_any_field_other_than_signed() public {
        address a = alice.addr;
        bytes32[7] memory others = [
            mandateDigest(carol.addr, agent.addr, 1e6, 5e6, 0, UNTIL),
            mandateDigest(a, relay.addr, 1e6, 5e6, 0, UNTIL),
            mandateDigest(a, agent.addr, 1e6 + 1, 5e6, 0, UNTIL),
            mandateDigest(a, agent.addr, 1e6, 5e6 + 1, 0, UNTIL),
            mandateDigest(a, agent.addr, 1e6, 5e6, 1, UNTIL),
            mandateDigest(a, agent.addr, 1e6, 5e6, 0, UNTIL + 1),
            revocationDigest(a, agent.addr, 0, UNTIL)
        ];
        bytes32[5] memory otherEnds = [
            revocationDigest(carol.addr, agent.addr, 0, UNTIL),
            revocationDigest(a, relay.addr, 0, UNTIL),
            revocationDigest(a, agent.addr, 1, UNTIL),
            revocationDigest(a, agent.addr, 0, UNTIL + 1),
            mandateDigest(a, agent.addr, 1e6, 5e6, 0, UNTIL)
        ];
        for (uint256 i = 0; i < others.length; ++i) {
            expectInvalid(signature(alice, others[i]), signature(alice, otherEnds[i % otherEnds.length]));
        }
    }

    function test_refuses_signatures_twice() public {
        bytes memory mandate = mandateOf(alice, 0);
        set(alice.addr, mandate);
        bytes memory end = revocationOf(alice, 1);
        escrow.revokeMandateBySignature(alice.addr, agent.addr, UNTIL, end);
        expectInvalid(mandate, end);
        assertEq(escrow.nonces(alice.addr), 2);
    }

    function test_refuses_malleable_zero_short_and_empty_signatures() public {
        bytes memory mandate = mandateOf(alice, 0);
        bytes memory end = revocationOf(alice, 0);
        expectInvalid(malleated(mandate), malleated(end));
        expectInvalid(new bytes(65), new bytes(65));
        expectInvalid("", "");
        (bytes32 r, bytes32 vs) = vm.signCompact(alice, grant(alice.addr, 0));
        (bytes32 r2, bytes32 vs2) = vm.signCompact(alice, end_(alice.addr, 0));
        expectInvalid(abi.encodePacked(r, vs), abi.encodePacked(r2, vs2));
    }

    function test_refuses_payer_zero_whom_a_failed_recovery_seems_to_name() public {
        vm.expectRevert(abi.encodeWithSelector(IPrepaymentEscrow.InvalidSignature.selector, address(0)));
        set(address(0), new bytes(65));
        vm.expectRevert(abi.encodeWithSelector(IPrepaymentEscrow.InvalidSignature.selector, address(0)));
        escrow.revokeMandateBySignature(address(0), agent.addr, UNTIL, new bytes(65));
    }

    /// @dev What is refused by transaction is refused by signature, and the word is not used up.
    function test_refuses_what_is_refused_by_transaction() public {
        bytes memory signature_ = signature(alice, mandateDigest(alice.addr, alice.addr, 1e6, 5e6, 0, UNTIL));
        vm.expectRevert(abi.encodeWithSelector(IPrepaymentEscrow.BadLane.selector, alice.addr, alice.addr));
        escrow.setMandateBySignature(alice.addr, alice.addr, 1e6, 5e6, UNTIL, signature_);
        signature_ = signature(alice, mandateDigest(alice.addr, agent.addr, 0, 5e6, 0, UNTIL));
        vm.expectRevert(IPrepaymentEscrow.ZeroAmount.selector);
        escrow.setMandateBySignature(alice.addr, agent.addr, 0, 5e6, UNTIL, signature_);
        assertEq(escrow.nonces(alice.addr), 0);

        set(alice.addr, mandateOf(alice, 0));
        signature_ = signature(alice, mandateDigest(alice.addr, agent.addr, 1e6 - 1, 5e6, 1, UNTIL));
        vm.expectRevert(abi.encodeWithSelector(IPrepaymentEscrow.MandateReduced.selector, alice.addr, agent.addr));
        escrow.setMandateBySignature(alice.addr, agent.addr, 1e6 - 1, 5e6, UNTIL, signature_);
        assertEq(escrow.nonces(alice.addr), 1);
    }

    function test_refuses_a_wallet_that_does_not_say_yes() public {
        Wallet wallet = new Wallet(alice.addr);
        Wallet.Answer[6] memory answers = [
            Wallet.Answer.No,
            Wallet.Answer.Nothing,
            Wallet.Answer.Short,
            Wallet.Answer.Dirty,
            Wallet.Answer.One,
            Wallet.Answer.Failure
        ];
        for (uint256 i = 0; i < answers.length; ++i) {
            wallet.tell(answers[i]);
            vm.expectRevert(abi.encodeWithSelector(IPrepaymentEscrow.InvalidSignature.selector, address(wallet)));
            set(address(wallet), "");
            vm.expectRevert(abi.encodeWithSelector(IPrepaymentEscrow.InvalidSignature.selector, address(wallet)));
            escrow.revokeMandateBySignature(address(wallet), agent.addr, UNTIL, "");
        }
        assertEq(escrow.nonces(address(wallet)), 0);
    }

    // ---------------------------------------------------------------------------------------------- successes

    function test_is_set_until_the_last_second_by_anyone() public {
        bytes memory signature_ = mandateOf(alice, 0);
        vm.warp(UNTIL);
        vm.expectEmit(address(escrow));
        emit IPrepaymentEscrow.MandateSet(alice.addr, agent.addr, 1e6, 5e6, UNTIL);
        vm.prank(mallory.addr);
        set(alice.addr, signature_);

        assertMandate(alice.addr, agent.addr, 1e6, 5e6, UNTIL, 0, UNTIL);
        assertMandate(mallory.addr, agent.addr, 0, 0, 0, 0, 0);
        assertEq(escrow.nonces(alice.addr), 1);
        assertEq(escrow.nonces(mallory.addr), 0);
    }

    function test_is_revoked_until_the_last_second_by_anyone() public {
        setMandate(alice.addr, agent.addr, 1e6, 5e6, UNTIL + 90 days);
        bytes memory signature_ = revocationOf(alice, 1);
        vm.warp(UNTIL);
        vm.expectEmit(address(escrow));
        emit IPrepaymentEscrow.MandateRevoked(alice.addr, agent.addr, UNTIL + NOTICE);
        vm.prank(mallory.addr);
        escrow.revokeMandateBySignature(alice.addr, agent.addr, UNTIL, signature_);

        assertMandate(alice.addr, agent.addr, 1e6, 5e6, UNTIL + NOTICE, 0, START);
        assertEq(escrow.nonces(alice.addr), 2);
    }

    function test_is_raised_by_signature_and_keeps_what_accrued() public {
        setMandate(alice.addr, agent.addr, 1e6, 5e6, START + 30 days);
        warp(1 days);
        set(alice.addr, mandateOf(alice, 1));
        assertMandate(alice.addr, agent.addr, 1e6, 5e6, UNTIL, 1 days * 1e6, START + 1 days);
    }

    function test_a_wallet_gives_and_revokes_by_its_own_rules() public {
        Wallet wallet = new Wallet(alice.addr);
        set(address(wallet), signature(alice, grant(address(wallet), 0)));
        assertMandate(address(wallet), agent.addr, 1e6, 5e6, UNTIL, 0, START);

        wallet.tell(Wallet.Answer.Yes);
        escrow.revokeMandateBySignature(address(wallet), agent.addr, UNTIL, "any");
        assertMandate(address(wallet), agent.addr, 1e6, 5e6, START + NOTICE, 0, START);
        assertEq(escrow.nonces(address(wallet)), 2);
        assertEq(escrow.nonces(alice.addr), 0);
    }

    /// @dev EIP-7702: the key keeps its word beside its code's, whatever that answers.
    function test_a_delegating_key_gives_by_key_and_by_code() public {
        vm.etch(alice.addr, abi.encodePacked(hex"ef0100", address(new Wallet(carol.addr))));
        Wallet(alice.addr).tell(Wallet.Answer.Failure);
        set(alice.addr, mandateOf(alice, 0));
        Wallet(alice.addr).tell(Wallet.Answer.OwnersSignature);
        escrow.revokeMandateBySignature(alice.addr, agent.addr, UNTIL, signature(carol, end_(alice.addr, 1)));
        assertMandate(alice.addr, agent.addr, 1e6, 5e6, START + NOTICE, 0, START);
    }

    // ------------------------------------------------------------------------------------------------ helpers

    function grant(address payer, uint256 nonce) private view returns (bytes32) {
        return mandateDigest(payer, agent.addr, 1e6, 5e6, nonce, UNTIL);
    }

    function end_(address payer, uint256 nonce) private view returns (bytes32) {
        return revocationDigest(payer, agent.addr, nonce, UNTIL);
    }

    function mandateOf(Vm.Wallet memory payer, uint256 nonce) private returns (bytes memory) {
        return signature(payer, grant(payer.addr, nonce));
    }

    function revocationOf(Vm.Wallet memory payer, uint256 nonce) private returns (bytes memory) {
        return signature(payer, end_(payer.addr, nonce));
    }

    function set(address payer, bytes memory signature_) private {
        escrow.setMandateBySignature(payer, agent.addr, 1e6, 5e6, UNTIL, signature_);
    }

    function expectInvalid(bytes memory mandate, bytes memory end) private {
        vm.expectRevert(abi.encodeWithSelector(IPrepaymentEscrow.InvalidSignature.selector, alice.addr));
        set(alice.addr, mandate);
        vm.expectRevert(abi.encodeWithSelector(IPrepaymentEscrow.InvalidSignature.selector, alice.addr));
        escrow.revokeMandateBySignature(alice.addr, agent.addr, UNTIL, end);
    }
}
