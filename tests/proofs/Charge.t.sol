// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.35;

import {IPrepaymentEscrow} from "../../contracts/src/interfaces/IPrepaymentEscrow.sol";
import {Logic, Proof} from "./Proof.sol";

/// @title Law 2 of `charge`: by the payee's word, inside a mandate
/// @notice How much accrues is not proved here: the product of two unknowns is out of the solver's reach.
contract ChargeProof is Proof {
    using Logic for bool;

    /// @notice Without a mandate, or with one that is over, a charge moves nothing.
    /// @dev Bounds: one row; any state, time, total, signature words, signer. Assumes: delegates as proved.
    function check_charge_without_a_mandate_in_force_moves_nothing(Signed memory signed) external {
        assumeDelegates(PAYEE, signerOf(CHARGE_TYPEHASH, PAYER, PAYEE, signed));
        vm.assume(block.timestamp > mandate().validUntil);
        Funds memory before = fundsOf(PAYER);

        (uint256 total, bytes memory results) = charge(signed);

        uint256 result = uint8(results[0]);
        assert((total == 0).and((result == 6).or(result == 4).or(result == 2)));
        assert(isMoved(before, fundsOf(PAYER), 0));
    }

    /// @notice Not signed by the payee or a live delegate of it, a charge moves nothing: the payer's own word is none.
    /// @dev Bounds: one row; any state, time, total, signature words, signer, mandate. Assumes: delegates as proved.
    function check_charge_not_signed_by_the_payee_moves_nothing(Signed memory signed) external {
        address signer = signerOf(CHARGE_TYPEHASH, PAYER, PAYEE, signed);
        assumeDelegates(PAYEE, signer);
        vm.assume(!isSignedBy(PAYEE, signer, signed));
        Funds memory before = fundsOf(PAYER);

        (uint256 total, bytes memory results) = charge(signed);

        assert((total == 0).and(uint8(results[0]) == 4).and(isMoved(before, fundsOf(PAYER), 0)));
    }

    /// @notice A total at or below what was already paid, charged or claimed, moves nothing.
    /// @dev Bounds: one row, signed by the payee; any state, time, total, signature words, mandate. Assumes: nothing.
    function check_charge_of_what_was_paid_moves_nothing(Signed memory signed) external {
        assumeChargeOf(PAYEE, signed);
        Funds memory before = fundsOf(PAYER);
        vm.assume(signed.cumulative <= before.paid);

        (uint256 total, bytes memory results) = charge(signed);

        assert((total == 0).and(uint8(results[0]) == 2).and(isMoved(before, fundsOf(PAYER), 0)));
    }

    /// @dev As stored: read at a time when it is over, for then the view computes nothing.
    function mandate() private returns (IPrepaymentEscrow.Mandate memory given) {
        uint256 time = block.timestamp;
        vm.warp(2 ** 64);
        (given,) = escrow.mandate(PAYER, PAYEE);
        vm.warp(time);
    }

    function assumeChargeOf(address payee, Signed memory signed) private view {
        vm.assume(signerOf(CHARGE_TYPEHASH, PAYER, payee, signed) == payee);
        vm.assume(sOf(signed) <= S_MAX);
    }

    /// @dev Charges, and asserts that it does not revert.
    function charge(Signed memory signed) private returns (uint256 total, bytes memory results) {
        vm.prank(SUBMITTER);
        (bool ok, bytes memory answer) =
            address(escrow).call(abi.encodeCall(escrow.charge, (PAYEE, row(PAYER, signed))));
        assert(ok);
        return abi.decode(answer, (uint256, bytes));
    }
}
