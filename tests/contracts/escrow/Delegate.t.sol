// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.35;

import {Vm} from "forge-std/Vm.sol";

import {IPrepaymentEscrow} from "../../../contracts/src/interfaces/IPrepaymentEscrow.sol";
import {World} from "../World.sol";
import {Wallet} from "../mocks/Wallet.sol";

/// @title Law 2: who signs for a payer, and for how long
contract DelegateTest is World {
    uint64 private constant VALID_UNTIL = START + 1 days;

    function setUp() public override {
        super.setUp();
        prepay(alice.addr, agent.addr, 10e6);
        prepay(carol.addr, agent.addr, 10e6);
    }

    // ----------------------------------------------------------------------------------------------- refusals

    function test_refuses_signer_zero() public {
        vm.startPrank(alice.addr);
        vm.expectRevert(abi.encodeWithSelector(IPrepaymentEscrow.BadSigner.selector, address(0)));
        escrow.authorize(address(0));
        vm.expectRevert(abi.encodeWithSelector(IPrepaymentEscrow.BadSigner.selector, address(0)));
        escrow.revoke(address(0));
    }

    function test_refuses_the_payer_as_its_own_delegate() public {
        vm.startPrank(alice.addr);
        vm.expectRevert(abi.encodeWithSelector(IPrepaymentEscrow.BadSigner.selector, alice.addr));
        escrow.authorize(alice.addr);
        vm.expectRevert(abi.encodeWithSelector(IPrepaymentEscrow.BadSigner.selector, alice.addr));
        escrow.revoke(alice.addr);
    }

    function test_refuses_to_revoke_who_was_never_authorized() public {
        vm.expectRevert(abi.encodeWithSelector(IPrepaymentEscrow.NotAuthorized.selector, alice.addr, session.addr));
        vm.prank(alice.addr);
        escrow.revoke(session.addr);
    }

    /// @dev Or the second would move the end of the first one's notice.
    function test_refuses_to_revoke_twice() public {
        authorize(alice);
        revoke(alice);
        warp(1 days);
        vm.expectRevert(abi.encodeWithSelector(IPrepaymentEscrow.NotAuthorized.selector, alice.addr, session.addr));
        vm.prank(alice.addr);
        escrow.revoke(session.addr);
        assertDelegate(alice, START, START, false);
    }

    function test_refuses_expired_signature() public {
        bytes memory signature_ = delegation(alice, alice.addr, true, 0, VALID_UNTIL);
        vm.warp(VALID_UNTIL + 1);
        vm.expectRevert(
            abi.encodeWithSelector(IPrepaymentEscrow.SignatureExpired.selector, VALID_UNTIL, VALID_UNTIL + 1)
        );
        escrow.setDelegateBySignature(alice.addr, session.addr, true, VALID_UNTIL, signature_);
    }

    function test_refuses_signature_of_a_stranger() public {
        expectInvalid(delegation(mallory, alice.addr, true, 0, VALID_UNTIL), true, VALID_UNTIL);
    }

    /// @dev A delegate signs vouchers, not delegates.
    function test_refuses_signature_of_a_delegate() public {
        vm.prank(alice.addr);
        escrow.authorize(mallory.addr);
        expectInvalid(delegation(mallory, alice.addr, true, 0, VALID_UNTIL), true, VALID_UNTIL);
    }

    function test_refuses_signature_over_another_nonce_word_or_time() public {
        expectInvalid(delegation(alice, alice.addr, true, 1, VALID_UNTIL), true, VALID_UNTIL);
        expectInvalid(delegation(alice, alice.addr, false, 0, VALID_UNTIL), true, VALID_UNTIL);
        expectInvalid(delegation(alice, alice.addr, true, 0, VALID_UNTIL), true, VALID_UNTIL + 1);
    }

    function test_refuses_signature_twice() public {
        bytes memory signature_ = delegation(alice, alice.addr, true, 0, VALID_UNTIL);
        escrow.setDelegateBySignature(alice.addr, session.addr, true, VALID_UNTIL, signature_);
        expectInvalid(signature_, true, VALID_UNTIL);
        assertEq(escrow.nonces(alice.addr), 1);
    }

    function test_refuses_malleable_short_and_empty_signature() public {
        bytes memory signature_ = delegation(alice, alice.addr, true, 0, VALID_UNTIL);
        expectInvalid(malleated(signature_), true, VALID_UNTIL);
        expectInvalid(new bytes(65), true, VALID_UNTIL);
        expectInvalid("", true, VALID_UNTIL);
        (bytes32 r, bytes32 vs) = vm.signCompact(alice, delegationDigest(alice.addr, true, 0, VALID_UNTIL));
        expectInvalid(abi.encodePacked(r, vs), true, VALID_UNTIL);
    }

    function test_refuses_payer_zero_whom_a_failed_recovery_seems_to_name() public {
        vm.expectRevert(abi.encodeWithSelector(IPrepaymentEscrow.InvalidSignature.selector, address(0)));
        escrow.setDelegateBySignature(address(0), session.addr, true, VALID_UNTIL, new bytes(65));
    }

    function test_refuses_signature_of_another_chain() public {
        bytes memory signature_ = delegation(alice, alice.addr, true, 0, VALID_UNTIL);
        vm.chainId(block.chainid + 1);
        expectInvalid(signature_, true, VALID_UNTIL);
    }

    function test_refuses_bad_signer_by_signature() public {
        bytes32 structHash = keccak256(abi.encode(DELEGATION_TYPEHASH, alice.addr, alice.addr, true, 0, VALID_UNTIL));
        bytes memory signature_ = signature(alice, digest(address(escrow), structHash));
        vm.expectRevert(abi.encodeWithSelector(IPrepaymentEscrow.BadSigner.selector, alice.addr));
        escrow.setDelegateBySignature(alice.addr, alice.addr, true, VALID_UNTIL, signature_);
        assertEq(escrow.nonces(alice.addr), 0);
    }

    function test_refuses_vouchers_of_another_payers_delegate() public {
        authorize(alice);
        assertVoucher(carol, session, IPrepaymentEscrow.RowResult.BadSignature);
    }

    function test_refuses_vouchers_of_a_revoked_delegate_after_the_notice() public {
        authorize(alice);
        revoke(alice);
        vm.warp(START + NOTICE);
        assertFalse(escrow.isSigner(alice.addr, session.addr));
        assertVoucher(alice, session, IPrepaymentEscrow.RowResult.BadSignature);
    }

    // ---------------------------------------------------------------------------------------------- successes

    function test_the_payer_is_its_own_signer_and_nobody_is_nobodys() public view {
        assertTrue(escrow.isSigner(alice.addr, alice.addr));
        assertFalse(escrow.isSigner(alice.addr, session.addr));
        assertFalse(escrow.isSigner(alice.addr, address(0)));
        assertFalse(escrow.isSigner(address(0), address(0)));
    }

    function test_a_delegates_vouchers_pay_from_the_moment_of_authorization() public {
        vm.expectEmit(address(escrow));
        emit IPrepaymentEscrow.DelegateAuthorized(alice.addr, session.addr);
        authorize(alice);

        assertTrue(escrow.isSigner(alice.addr, session.addr));
        assertDelegate(alice, START, 0, true);
        assertVoucher(alice, session, IPrepaymentEscrow.RowResult.Paid);
        assertLane(alice.addr, agent.addr, 9e6, 1e6);
        assertLane(carol.addr, agent.addr, 10e6, 0);
    }

    function test_authorizing_twice_changes_nothing() public {
        authorize(alice);
        warp(1 days);
        authorize(alice);
        assertDelegate(alice, START, 0, true);
    }

    function test_a_revoked_delegate_is_live_until_the_notice_ends() public {
        authorize(alice);
        warp(1 days);
        vm.expectEmit(address(escrow));
        emit IPrepaymentEscrow.DelegateRevoked(alice.addr, session.addr, START + 1 days + NOTICE);
        revoke(alice);

        assertDelegate(alice, START, START + 1 days, false);
        vm.warp(START + 1 days + NOTICE - 1);
        assertTrue(escrow.isSigner(alice.addr, session.addr));
        assertVoucher(alice, session, IPrepaymentEscrow.RowResult.Paid);
    }

    function test_a_revoked_delegate_can_be_authorized_again() public {
        authorize(alice);
        warp(1);
        revoke(alice);
        warp(NOTICE);
        authorize(alice);

        assertDelegate(alice, START + 1 + NOTICE, START + 1, true);
        assertTrue(escrow.isSigner(alice.addr, session.addr));
        assertVoucher(alice, session, IPrepaymentEscrow.RowResult.Paid);

        warp(1);
        revoke(alice);
        assertDelegate(alice, START + 1 + NOTICE, START + 2 + NOTICE, false);
    }

    function test_a_delegate_of_two_payers_is_revoked_by_each_alone() public {
        authorize(alice);
        authorize(carol);
        revoke(alice);
        vm.warp(START + NOTICE);
        assertVoucher(alice, session, IPrepaymentEscrow.RowResult.BadSignature);
        assertVoucher(carol, session, IPrepaymentEscrow.RowResult.Paid);
    }

    function test_the_payers_own_signature_outlives_every_delegate() public {
        authorize(alice);
        revoke(alice);
        vm.warp(START + NOTICE);
        assertVoucher(alice, alice, IPrepaymentEscrow.RowResult.Paid);
    }

    /// @dev A running total is one per lane, whoever signs.
    function test_payer_and_delegate_share_the_running_total() public {
        authorize(alice);
        claimOne(agent.addr, row(session, alice.addr, agent.addr, 3e6));
        (, uint96 paid) = claimOne(agent.addr, row(alice, agent.addr, 4e6));
        assertEq(paid, 1e6);
    }

    function test_authorizes_and_revokes_by_signature_carried_by_anyone() public {
        bytes memory signature_ = delegation(alice, alice.addr, true, 0, VALID_UNTIL);
        vm.warp(VALID_UNTIL);
        vm.expectEmit(address(escrow));
        emit IPrepaymentEscrow.DelegateAuthorized(alice.addr, session.addr);
        vm.prank(mallory.addr);
        escrow.setDelegateBySignature(alice.addr, session.addr, true, VALID_UNTIL, signature_);
        assertDelegate(alice, VALID_UNTIL, 0, true);
        assertEq(escrow.nonces(alice.addr), 1);

        signature_ = delegation(alice, alice.addr, false, 1, VALID_UNTIL);
        vm.expectEmit(address(escrow));
        emit IPrepaymentEscrow.DelegateRevoked(alice.addr, session.addr, VALID_UNTIL + NOTICE);
        vm.prank(mallory.addr);
        escrow.setDelegateBySignature(alice.addr, session.addr, false, VALID_UNTIL, signature_);
        assertDelegate(alice, VALID_UNTIL, VALID_UNTIL, false);
        assertEq(escrow.nonces(alice.addr), 2);
    }

    /// @dev A contract's delegate is a key, whose vouchers `claim` takes without asking the contract.
    function test_a_wallet_names_a_delegate_by_its_own_rules() public {
        Wallet wallet = new Wallet(alice.addr);
        prepay(address(wallet), agent.addr, 10e6);
        bytes memory signature_ = signature(mallory, delegationDigest(address(wallet), true, 0, VALID_UNTIL));
        vm.expectRevert(abi.encodeWithSelector(IPrepaymentEscrow.InvalidSignature.selector, address(wallet)));
        escrow.setDelegateBySignature(address(wallet), session.addr, true, VALID_UNTIL, signature_);

        signature_ = signature(alice, delegationDigest(address(wallet), true, 0, VALID_UNTIL));
        escrow.setDelegateBySignature(address(wallet), session.addr, true, VALID_UNTIL, signature_);
        assertEq(escrow.nonces(address(wallet)), 1);
        assertEq(escrow.nonces(alice.addr), 0);
        wallet.tell(Wallet.Answer.No);
        (IPrepaymentEscrow.RowResult result,) = claimOne(agent.addr, row(session, address(wallet), agent.addr, 1e6));
        assertResult(result, IPrepaymentEscrow.RowResult.Paid);
        assertLane(address(wallet), agent.addr, 9e6, 1e6);
    }

    function test_nonces_are_each_payers_own() public {
        escrow.setDelegateBySignature(
            alice.addr, session.addr, true, VALID_UNTIL, delegation(alice, alice.addr, true, 0, VALID_UNTIL)
        );
        assertEq(escrow.nonces(alice.addr), 1);
        assertEq(escrow.nonces(carol.addr), 0);
    }

    function testFuzz_a_revoked_delegate_is_live_exactly_for_the_notice(uint32 waited) public {
        authorize(alice);
        revoke(alice);
        vm.warp(START + waited);
        assertEq(escrow.isSigner(alice.addr, session.addr), waited < NOTICE);
    }

    // ------------------------------------------------------------------------------------------------ helpers

    function authorize(Vm.Wallet memory payer) private {
        vm.prank(payer.addr);
        escrow.authorize(session.addr);
    }

    function revoke(Vm.Wallet memory payer) private {
        vm.prank(payer.addr);
        escrow.revoke(session.addr);
    }

    function delegationDigest(address payer, bool authorized, uint64 nonce, uint64 validUntil)
        private
        view
        returns (bytes32)
    {
        return digest(
            address(escrow),
            keccak256(abi.encode(DELEGATION_TYPEHASH, payer, session.addr, authorized, nonce, validUntil))
        );
    }

    function delegation(Vm.Wallet memory by, address payer, bool authorized, uint64 nonce, uint64 validUntil)
        private
        returns (bytes memory)
    {
        return signature(by, delegationDigest(payer, authorized, nonce, validUntil));
    }

    function expectInvalid(bytes memory signature_, bool authorized, uint64 validUntil) private {
        vm.expectRevert(abi.encodeWithSelector(IPrepaymentEscrow.InvalidSignature.selector, alice.addr));
        escrow.setDelegateBySignature(alice.addr, session.addr, authorized, validUntil, signature_);
    }

    function assertVoucher(Vm.Wallet memory payer, Vm.Wallet memory signer, IPrepaymentEscrow.RowResult expected)
        private
    {
        (IPrepaymentEscrow.RowResult result,) = claimOne(agent.addr, row(signer, payer.addr, agent.addr, 1e6));
        assertResult(result, expected);
    }

    function assertDelegate(Vm.Wallet memory payer, uint64 authorizedAt, uint64 revokedAt, bool authorized)
        private
        view
    {
        IPrepaymentEscrow.Delegate memory delegate = escrow.delegate(payer.addr, session.addr);
        assertEq(delegate.authorizedAt, authorizedAt, "authorized at");
        assertEq(delegate.revokedAt, revokedAt, "revoked at");
        assertEq(delegate.authorized, authorized, "authorized");
    }
}
