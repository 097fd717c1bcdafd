// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.35;

import {SafeCast} from "@openzeppelin/contracts/utils/math/SafeCast.sol";
import {Vm} from "forge-std/Vm.sol";

import {IPrepaymentEscrow} from "../../contracts/src/interfaces/IPrepaymentEscrow.sol";
import {World} from "./World.sol";

/// @title The world, and all else that can be signed in it: charges, mandates, their ends, delegations, deposit orders
/// @dev Digests from the text of the standard, as in `World`.
abstract contract Signatures is World {
    bytes32 internal constant CHARGE_TYPEHASH = keccak256("Charge(address payer,address payee,uint96 cumulative)");
    bytes32 internal constant MANDATE_TYPEHASH = keccak256(
        "Mandate(address payer,address payee,uint96 dailyCap,uint96 accrualCap,uint256 nonce,uint64 validUntil)"
    );
    bytes32 internal constant MANDATE_REVOCATION_TYPEHASH =
        keccak256("MandateRevocation(address payer,address payee,uint256 nonce,uint64 validUntil)");
    bytes32 internal constant DEPOSIT_ORDER_TYPEHASH = keccak256(
        "DepositOrder(address from,address payer,address payee,uint96 amount,uint256 nonce,uint64 validUntil)"
    );

    IPrepaymentEscrow.RowResult internal constant PAID = IPrepaymentEscrow.RowResult.Paid;
    IPrepaymentEscrow.RowResult internal constant PARTLY_PAID = IPrepaymentEscrow.RowResult.PartlyPaid;
    IPrepaymentEscrow.RowResult internal constant NOTHING_NEW = IPrepaymentEscrow.RowResult.NothingNew;
    IPrepaymentEscrow.RowResult internal constant UNFUNDED = IPrepaymentEscrow.RowResult.Unfunded;
    IPrepaymentEscrow.RowResult internal constant BAD_SIGNATURE = IPrepaymentEscrow.RowResult.BadSignature;
    IPrepaymentEscrow.RowResult internal constant BAD_PAYER = IPrepaymentEscrow.RowResult.BadPayer;
    IPrepaymentEscrow.RowResult internal constant NO_MANDATE = IPrepaymentEscrow.RowResult.NoMandate;
    IPrepaymentEscrow.RowResult internal constant NOTHING_ACCRUED = IPrepaymentEscrow.RowResult.NothingAccrued;

    /// @dev No permit: the allowance is there already.
    IPrepaymentEscrow.PermitSignature internal noPermit;

    // ------------------------------------------------------------------------------------------------- charges

    function chargeDigest(address payer, address payee, uint96 cumulative) internal view returns (bytes32) {
        return digest(address(escrow), keccak256(abi.encode(CHARGE_TYPEHASH, payer, payee, cumulative)));
    }

    function chargeRow(Vm.Wallet memory signer, address payer, address payee, uint96 cumulative)
        internal
        returns (bytes memory)
    {
        (bytes32 r, bytes32 vs) = vm.signCompact(signer, chargeDigest(payer, payee, cumulative));
        return abi.encodePacked(payer, cumulative, r, vs);
    }

    function chargeRow(address payer, Vm.Wallet memory payee, uint96 cumulative) internal returns (bytes memory) {
        return chargeRow(payee, payer, payee.addr, cumulative);
    }

    /// @dev A charge of one row by a stranger; how it ended and what it paid.
    function chargeOne(address payee, bytes memory rows) internal returns (IPrepaymentEscrow.RowResult, uint96) {
        vm.prank(mallory.addr);
        (uint96 total, bytes memory results) = escrow.charge(payee, rows);
        assertEq(results.length, 1, "one row, one result");
        return (IPrepaymentEscrow.RowResult(uint8(results[0])), total);
    }

    // ------------------------------------------------------------------------------------------------ mandates

    function setMandate(address payer, address payee, uint96 dailyCap, uint96 accrualCap, uint64 validUntil) internal {
        vm.prank(payer);
        escrow.setMandate(payee, dailyCap, accrualCap, validUntil);
    }

    function revokeMandate(address payer, address payee) internal {
        vm.prank(payer);
        escrow.revokeMandate(payee);
    }

    function mandateDigest(
        address payer,
        address payee,
        uint96 dailyCap,
        uint96 accrualCap,
        uint256 nonce,
        uint64 validUntil
    ) internal view returns (bytes32) {
        return digest(
            address(escrow),
            keccak256(abi.encode(MANDATE_TYPEHASH, payer, payee, dailyCap, accrualCap, nonce, validUntil))
        );
    }

    function revocationDigest(address payer, address payee, uint256 nonce, uint64 validUntil)
        internal
        view
        returns (bytes32)
    {
        return digest(
            address(escrow), keccak256(abi.encode(MANDATE_REVOCATION_TYPEHASH, payer, payee, nonce, validUntil))
        );
    }

    // ------------------------------------------------------------------------------- delegations, deposit orders

    function delegationDigest(address payer, address signer, bool authorized, uint256 nonce, uint64 validUntil)
        internal
        view
        returns (bytes32)
    {
        return digest(
            address(escrow), keccak256(abi.encode(DELEGATION_TYPEHASH, payer, signer, authorized, nonce, validUntil))
        );
    }

    function orderDigest(IPrepaymentEscrow.DepositOrder memory order, uint256 nonce) internal view returns (bytes32) {
        bytes memory fields = abi.encode(order.from, order.payer, order.payee, order.amount, nonce, order.validUntil);
        return digest(address(escrow), keccak256(bytes.concat(DEPOSIT_ORDER_TYPEHASH, fields)));
    }

    /// @dev From `from`, into the lane of its own to the agent, good for a day.
    function orderOf(address from, uint96 amount) internal view returns (IPrepaymentEscrow.DepositOrder memory) {
        return IPrepaymentEscrow.DepositOrder({
            from: from, payer: from, payee: agent.addr, amount: amount, validUntil: uint64(block.timestamp) + 1 days
        });
    }

    // ----------------------------------------------------------------------------------------------- contracts

    function contractVoucher(address payer, uint96 cumulative, bytes memory signature_)
        internal
        pure
        returns (IPrepaymentEscrow.ContractVoucher[] memory vouchers)
    {
        vouchers = new IPrepaymentEscrow.ContractVoucher[](1);
        vouchers[0] = IPrepaymentEscrow.ContractVoucher({payer: payer, cumulative: cumulative, signature: signature_});
    }

    // ------------------------------------------------------------------------------------------------- witness

    /// @dev The mandate as stored. `accrued` in base units times 86,400.
    function assertMandate(
        address payer,
        address payee,
        uint96 dailyCap,
        uint96 accrualCap,
        uint64 validUntil,
        uint256 accrued,
        uint64 accruedAt
    ) internal view {
        (IPrepaymentEscrow.Mandate memory mandate,) = escrow.mandate(payer, payee);
        assertEq(mandate.dailyCap, dailyCap, "daily cap");
        assertEq(mandate.accrualCap, accrualCap, "accrual cap");
        assertEq(mandate.validUntil, validUntil, "valid until");
        assertEq(mandate.accrued, accrued, "accrued");
        assertEq(mandate.accruedAt, accruedAt, "accrued at");
    }

    function assertChargeable(address payer, address payee, uint96 expected) internal view {
        (, uint96 chargeable) = escrow.mandate(payer, payee);
        assertEq(chargeable, expected, "chargeable");
    }

    /// @dev The one row ends as `expected`, and nothing moves or is said.
    function assertClaimsNothing(address payee, bytes memory rows, IPrepaymentEscrow.RowResult expected) internal {
        assertPaysNothing(payee, rows, expected, claimOne);
    }

    /// @dev The same of a charge.
    function assertChargesNothing(address payee, bytes memory rows, IPrepaymentEscrow.RowResult expected) internal {
        assertPaysNothing(payee, rows, expected, chargeOne);
    }

    function assertPaysNothing(
        address payee,
        bytes memory rows,
        IPrepaymentEscrow.RowResult expected,
        function(address, bytes memory) internal returns (IPrepaymentEscrow.RowResult, uint96) submit
    ) private {
        // forge-lint: disable-next-line(unsafe-typecast) a row begins with its payer
        address payer = address(bytes20(rows));
        bytes memory before = numbers(payer, payee);

        vm.recordLogs();
        (IPrepaymentEscrow.RowResult result, uint96 total) = submit(payee, rows);

        assertResult(result, expected);
        assertEq(total, 0, "total");
        assertEq(vm.getRecordedLogs().length, 0, "silent");
        assertEq(numbers(payer, payee), before, "nothing moved");
    }

    /// @dev All that the escrow has stored between two people.
    function numbers(address payer, address payee) internal view returns (bytes memory) {
        (IPrepaymentEscrow.Lane memory lane, IPrepaymentEscrow.Thaw memory thaw) = escrow.lane(payer, payee);
        (IPrepaymentEscrow.Mandate memory mandate,) = escrow.mandate(payer, payee);
        (uint96 payerOpen,) = escrow.openBalance(payer);
        (uint96 payeeOpen,) = escrow.openBalance(payee);
        uint256 balance = token.balanceOf(address(escrow));
        return bytes.concat(abi.encode(lane, thaw, mandate), abi.encode(payerOpen, payeeOpen, balance));
    }

    // ---------------------------------------------------------------------------------------------- arithmetic

    function u96(uint256 a) internal pure returns (uint96) {
        return SafeCast.toUint96(a);
    }

    function min(uint256 a, uint256 b) internal pure returns (uint256) {
        return a < b ? a : b;
    }
}
