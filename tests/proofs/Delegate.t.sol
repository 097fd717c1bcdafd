// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.35;

import {IPrepaymentEscrow} from "../../contracts/src/interfaces/IPrepaymentEscrow.sol";
import {Logic, Proof} from "./Proof.sol";

/// @title What the other proofs assume of delegates, kept by every call but claims and charges
contract DelegateProof is Proof {
    using Logic for bool;

    /// @notice No call makes a delegate of the zero address, or dates a revocation after now; and none but the payer's
    /// own, or one with its signature, changes what it said of anybody.
    /// @dev Bounds: any state, time, caller, function and arguments; arrays of one, bytes of 65. Assumes: nothing.
    /// Left out: `setDelegateBySignature`, which is the next check; claims and charges.
    /// @custom:halmos --default-array-lengths 1 --default-bytes-lengths 65
    function check_no_call_names_the_zero_address_or_changes_what_another_said(
        address caller,
        address payer,
        address signer
    ) external {
        bytes memory data = svm.createCalldata("PrepaymentEscrow");
        bytes4 selector = selectorOf(data);
        vm.assume(selector != escrow.setDelegateBySignature.selector);
        bool isPayment = (selector == escrow.claim.selector).or(selector == escrow.settle.selector)
            .or(selector == escrow.claimFromContracts.selector).or(selector == escrow.charge.selector);
        vm.assume(!isPayment);
        assumeKept(payer, signer);
        IPrepaymentEscrow.Delegate memory before = escrow.delegate(payer, signer);
        vm.prank(caller);

        (bool ok,) = address(escrow).call(data);

        assertKept(payer, signer);
        IPrepaymentEscrow.Delegate memory now_ = escrow.delegate(payer, signer);
        assert(Logic.implies(ok.and(caller != payer), isSame(before, now_)));
    }

    /// @notice By signature it is the same: what is kept, is kept, and what changes has the payer's signature.
    /// @dev Bounds: any state, time, caller and arguments; the payer is no contract. Assumes: nothing.
    function check_by_signature_a_delegate_changes_by_the_payers_alone(
        address signer,
        bool authorized,
        uint64 validUntil,
        bytes32 r,
        bytes32 s,
        uint8 v
    ) external {
        assumeKept(PAYER, signer);
        IPrepaymentEscrow.Delegate memory before = escrow.delegate(PAYER, signer);
        bytes32 digest = escrow.delegationDigest(PAYER, signer, authorized, escrow.nonces(PAYER), validUntil);
        bool isPayers =
            (ecrecover(digest, v, r, s) == PAYER).and(uint256(s) <= S_MAX).and(block.timestamp <= validUntil);
        vm.prank(SUBMITTER);

        (bool ok,) = address(escrow)
            .call(
                abi.encodeCall(
                    escrow.setDelegateBySignature, (PAYER, signer, authorized, validUntil, abi.encodePacked(r, s, v))
                )
            );

        assertKept(PAYER, signer);
        assert(Logic.implies(ok, isPayers));
        assert(ok.or(isSame(before, escrow.delegate(PAYER, signer))));
    }

    function assumeKept(address payer, address signer) private view {
        vm.assume(isKept(payer, signer));
    }

    function assertKept(address payer, address signer) private view {
        assert(isKept(payer, signer));
    }

    function isKept(address payer, address signer) private view returns (bool) {
        IPrepaymentEscrow.Delegate memory given = escrow.delegate(payer, signer);
        bool isBlank = (given.authorizedAt == 0).and(given.revokedAt == 0).and(!given.authorized);
        return (given.revokedAt <= block.timestamp).and((signer != address(0)).or(isBlank));
    }

    function isSame(IPrepaymentEscrow.Delegate memory a, IPrepaymentEscrow.Delegate memory b)
        private
        pure
        returns (bool)
    {
        return (a.authorizedAt == b.authorizedAt).and(a.revokedAt == b.revokedAt).and(a.authorized == b.authorized);
    }
}
