// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.35;

import {Logic, Proof} from "./Proof.sol";

/// @title Laws 2 and 4: whose call can take what from whom
contract CustodyProof is Proof {
    using Logic for bool;

    /// @notice No call but a withdrawal, a claim or a charge takes anything from any lane, whoever makes it, the payer
    /// itself included.
    /// @dev Bounds: any state, time, lane, caller, function and arguments; arrays of one, bytes of 65. Assumes: nothing.
    /// @custom:halmos --default-array-lengths 1 --default-bytes-lengths 65
    function check_no_call_but_withdrawal_claim_and_charge_takes_from_a_lane(address caller, Pair memory any) external {
        bytes memory data = svm.createCalldata("PrepaymentEscrow");
        vm.assume(!isPayment(selectorOf(data)));
        vm.assume(selectorOf(data) != escrow.withdraw.selector);
        Held memory before = held(any);
        vm.prank(caller);

        (bool ok,) = address(escrow).call(data);
        ok;

        Held memory now_ = held(any);
        assert((now_.deposit >= before.deposit).and(now_.paid == before.paid));
    }

    /// @notice No call of anybody else changes a notice of a payer, and none but a withdrawal lowers the tokens that
    /// the escrow holds. Of claims, the next checks; charges and `claimFromContracts` are left out.
    /// @dev Bounds: any state, time, lane, caller, function and arguments; arrays of one, bytes of 65. Assumes: the
    /// escrow does not call itself.
    /// @custom:halmos --default-array-lengths 1 --default-bytes-lengths 65
    function check_no_call_of_another_changes_a_notice_and_only_withdrawal_lowers_the_tokens(
        address caller,
        Pair memory any
    ) external {
        bytes memory data = svm.createCalldata("PrepaymentEscrow");
        vm.assume(!isPayment(selectorOf(data)));
        compare(caller, any, data, selectorOf(data) == escrow.withdraw.selector);
    }

    /// @notice Nor does a claim.
    /// @dev Bounds: one row; any state, time, lane, caller, payee and row. Assumes: the escrow does not call itself.
    function check_claim_changes_no_notice_and_no_tokens(
        address caller,
        Pair memory any,
        address payer,
        address payee,
        Signed memory signed
    ) external {
        compare(caller, any, abi.encodeCall(escrow.claim, (payee, row(payer, signed))), false);
    }

    /// @notice Nor does `settle`.
    /// @dev Bounds: one batch of one row; any state, time, lane, caller, payee and row. Assumes: the escrow does not
    /// call itself.
    function check_settle_changes_no_notice_and_no_tokens(
        address caller,
        Pair memory any,
        address payer,
        address payee,
        Signed memory signed
    ) external {
        Batch[] memory batches = new Batch[](1);
        batches[0] = Batch(payee, row(payer, signed));
        compare(caller, any, abi.encodeWithSelector(escrow.settle.selector, batches), false);
    }

    function compare(address caller, Pair memory any, bytes memory data, bool isWithdrawal) private {
        vm.assume(caller != address(escrow));
        Held memory before = held(any);
        uint256 tokens = token.balanceOf(address(escrow));
        vm.prank(caller);

        (bool ok,) = address(escrow).call(data);
        ok;

        assert((caller == any.payer).or(hasSameNotice(before, held(any))));
        assert(isWithdrawal.or(token.balanceOf(address(escrow)) >= tokens));
    }

    function isPayment(bytes4 selector) private view returns (bool) {
        return (selector == escrow.claim.selector).or(selector == escrow.settle.selector)
            .or(selector == escrow.claimFromContracts.selector).or(selector == escrow.charge.selector);
    }

    /// @notice A withdrawal takes from the caller alone.
    /// @dev Bounds: any state, time, lane, caller and arguments. Assumes: nothing.
    function check_a_withdrawal_takes_from_its_caller_alone(address caller, address payee, address to, Pair memory any)
        external
    {
        vm.assume(caller != any.payer);
        Held memory before = held(any);
        vm.prank(caller);

        escrow.withdraw(payee, to);

        assert(isSame(before, held(any)));
    }

    /// @notice Whatever row is claimed for whatever payee by whomever: the payer's money is touched only if the row
    /// names the payer, and the payer or a live delegate signed it. By `settle` likewise.
    /// @dev Bounds: one row; any state, time, caller, payee, row, lane of the payer (its open balance among them).
    /// Assumes: delegates are as `Delegate.t.sol` proves.
    function check_a_claim_takes_from_the_payer_by_its_signature_alone(
        address caller,
        address payer,
        address payee,
        Signed memory signed,
        address any,
        bool settling
    ) external {
        address signer = signerOf(VOUCHER_TYPEHASH, payer, payee, signed);
        assumeDelegates(PAYER, signer);
        vm.assume(!(payer == PAYER).and(isSignedBy(PAYER, signer, signed)));
        uint256 before = deposited(PAYER, any);
        vm.prank(caller);

        if (settling) {
            Batch[] memory batches = new Batch[](1);
            batches[0] = Batch(payee, row(payer, signed));
            (bool ok,) = address(escrow).call(abi.encodeWithSelector(escrow.settle.selector, batches));
            ok;
        } else {
            (bool ok,) = address(escrow).call(abi.encodeCall(escrow.claim, (payee, row(payer, signed))));
            ok;
        }

        assert(deposited(PAYER, any) >= before);
    }

    /// @dev As `IPrepaymentEscrow.Batch`.
    struct Batch {
        address payee;
        bytes rows;
    }
}
