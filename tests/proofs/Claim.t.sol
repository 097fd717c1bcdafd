// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.35;

import {Logic, Proof} from "./Proof.sol";

/// @title Laws 1, 2, 3 and 5 of `claim`
/// @notice Batches of one and of two rows. A longer batch is the same loop over the same lanes.
contract ClaimProof is Proof {
    using Logic for bool;

    // ---------------------------------------------------------------------------------------------------- one row

    /// @notice Signed by the payer: pays the lesser of the difference and of what lane and open balance hold, from the
    /// lane first; the running total and the payee's open balance rise by exactly that; the result says which it was.
    /// @dev Bounds: one row; any state, time, total, signature words. Assumes: the three lanes fit 96 bits.
    function check_claim_signed_by_the_payer_pays_the_difference_or_what_is_there(Signed memory signed) external {
        assumeVoucherOf(PAYER, signed);

        claimAndCompare(signed);
    }

    /// @notice Signed by a live delegate: just the same.
    /// @dev Bounds: one row; any state, time, total, signature words, delegate. Assumes: the three lanes fit 96 bits;
    /// delegates are as `Delegate.t.sol` proves.
    function check_claim_signed_by_a_live_delegate_pays_the_same(Signed memory signed) external {
        address signer = signerOf(VOUCHER_TYPEHASH, PAYER, PAYEE, signed);
        assumeDelegates(PAYER, signer);
        assumeSpare(PAYER);
        vm.assume(signer != PAYER);
        vm.assume(isSignedBy(PAYER, signer, signed));

        claimAndCompare(signed);
    }

    /// @notice Signed by anybody else, or malleably, or by nobody: moves nothing, and says so.
    /// @dev Bounds: one row; any state, time, total, signature words, signer. Assumes: delegates are as
    /// `Delegate.t.sol` proves.
    function check_claim_signed_by_neither_moves_nothing(Signed memory signed) external {
        address signer = signerOf(VOUCHER_TYPEHASH, PAYER, PAYEE, signed);
        assumeDelegates(PAYER, signer);
        vm.assume(!isSignedBy(PAYER, signer, signed));
        Funds memory before = fundsOf(PAYER);

        (uint256 total, bytes memory results) = claim(PAYEE, row(PAYER, signed));

        assert((total == 0).and(results.length == 1).and(uint8(results[0]) == 4));
        assert(isMoved(before, fundsOf(PAYER), 0));
    }

    function claimAndCompare(Signed memory signed) private {
        Funds memory before = fundsOf(PAYER);
        assumeFits(before);

        (uint256 total, bytes memory results) = claim(PAYEE, row(PAYER, signed));

        (uint256 amount, uint256 result) = expected(before, signed.cumulative);
        assert((total == amount).and(results.length == 1).and(uint8(results[0]) == result));
        assert(isMoved(before, fundsOf(PAYER), amount));
        assert(wordOf(PAYER) >> 192 == 0);
    }

    /// @notice A lane lies where `Proof.wordOf` looks for it.
    /// @dev Bounds: any state. Assumes: nothing.
    function check_a_lane_lies_where_the_proofs_look() external view {
        Held memory held_ = held(Pair(PAYER, PAYEE));
        uint256 word = wordOf(PAYER);
        assert((held_.deposit == word & type(uint96).max).and(held_.paid == (word >> 96) & type(uint96).max));
    }

    /// @notice A claim touches the payer's lane to the payee and both open balances: of any other lane, and of any
    /// notice, nothing changes.
    /// @dev Bounds: one row; any state, time, total, signature words, signer, other lane. Assumes: nothing.
    function check_claim_touches_no_other_lane_and_no_notice(Signed memory signed, Pair memory any) external {
        Held memory before = held(any);
        vm.prank(SUBMITTER);

        escrow.claim(PAYEE, row(PAYER, signed));

        Held memory now_ = held(any);
        bool isTouched = isLane(any, PAYER, PAYEE).or(isLane(any, PAYER, address(0))).or(isLane(any, PAYEE, address(0)));
        assert(hasSameNotice(before, now_).and(isTouched.or(isSame(before, now_))));
    }

    /// @notice A row whose payer is the zero address or the payee moves nothing anywhere, and says so.
    /// @dev Bounds: one row; any state, time, total, signature words, lane. Assumes: nothing.
    function check_claim_from_nobody_or_from_the_payee_moves_nothing(Signed memory signed, bool nobody, Pair memory any)
        external
    {
        Held memory before = held(any);

        (uint256 total, bytes memory results) = claim(PAYEE, row(nobody ? address(0) : PAYEE, signed));

        assert((total == 0).and(results.length == 1).and(uint8(results[0]) == 5).and(isSame(before, held(any))));
    }

    // --------------------------------------------------------------------------------------------------- two rows

    /// @notice The same row twice in a batch pays what it pays once.
    /// @dev Bounds: two rows, signed by the payer; any state, time, total, signature words. Assumes: the three lanes
    /// fit 96 bits.
    function check_claim_of_the_same_row_twice_pays_once(Signed memory signed) external {
        assumeVoucherOf(PAYER, signed);
        Funds memory before = fundsOf(PAYER);
        assumeFits(before);

        (uint256 total, bytes memory results) = claim(PAYEE, bytes.concat(row(PAYER, signed), row(PAYER, signed)));

        (uint256 amount, uint256 result) = expected(before, signed.cumulative);
        uint256 second = Logic.either((result == 0).or(result == 2), 2, 3);
        assert((total == amount).and(uint8(results[0]) == result).and(uint8(results[1]) == second));
        assert(isMoved(before, fundsOf(PAYER), amount));
    }

    /// @notice A row that its payer did not sign stops no other: the row behind it is paid as if it were alone.
    /// @dev Bounds: two rows of two payers, the second signed by its payer; any state, time, totals, signature words,
    /// signer of the first. Assumes: the three lanes fit 96 bits; delegates are as `Delegate.t.sol` proves.
    function check_claim_of_a_row_is_the_same_behind_an_unsigned_one(Signed memory bad, Signed memory signed) external {
        Funds memory before = meetUnsigned(bad, signed);

        (uint256 total, bytes memory results) = claim(PAYEE, bytes.concat(row(OTHER_PAYER, bad), row(PAYER, signed)));

        assertAlone(before, signed, total, uint8(results[1]), uint8(results[0]));
    }

    function meetUnsigned(Signed memory bad, Signed memory signed) private view returns (Funds memory before) {
        assumeVoucherOf(PAYER, signed);
        address signer = signerOf(VOUCHER_TYPEHASH, OTHER_PAYER, PAYEE, bad);
        assumeDelegates(OTHER_PAYER, signer);
        vm.assume(!isSignedBy(OTHER_PAYER, signer, bad));
        before = fundsOf(PAYER);
        assumeFits(before);
    }

    function assertAlone(Funds memory before, Signed memory signed, uint256 total, uint256 good, uint256 bad)
        private
        view
    {
        (uint256 amount, uint256 result) = expected(before, signed.cumulative);
        assert((total == amount).and(good == result).and(bad == 4));
        assert(isMoved(before, fundsOf(PAYER), amount));
    }

    // -------------------------------------------------------------------------------------------------- two claims

    /// @notice After a claim that its lane paid in full, the same total or an older one pays nothing, at any later
    /// time.
    /// @dev Bounds: two claims of one row each, signed by the payer, the first within its lane; any state, two times,
    /// totals, signature words. Assumes: the three lanes fit 96 bits.
    function check_claim_of_an_older_total_after_a_newer_pays_nothing(Signed memory newer, Signed memory older)
        external
    {
        assumeVoucherOf(PAYER, newer);
        assumeVoucherOf(PAYER, older);
        Funds memory before = fundsOf(PAYER);
        assumeFits(before);
        vm.assume(older.cumulative <= newer.cumulative);
        vm.assume(newer.cumulative > before.paid);
        vm.assume(newer.cumulative <= before.paid + before.lane);

        (uint256 first,) = claim(PAYEE, row(PAYER, newer));
        passTime(block.timestamp);
        (uint256 second, bytes memory results) = claim(PAYEE, row(PAYER, older));

        assert((second == 0).and(uint8(results[0]) == 2).and(first == newer.cumulative - before.paid));
        assert(isMoved(before, fundsOf(PAYER), first));
    }
}
