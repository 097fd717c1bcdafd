// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.35;

import {IPrepaymentEscrow} from "../../../contracts/src/interfaces/IPrepaymentEscrow.sol";
import {IRoutingTable} from "../../../contracts/src/interfaces/IRoutingTable.sol";
import {Signatures} from "../Signatures.sol";

/// @title A field that is not hashed, and a type hash that does not match: of all that can be signed, each field counts
/// @dev Each digest is compared with what forge computes from the type's text; then each field is changed alone.
contract FieldsTest is Signatures {
    function testFuzz_every_field_of_a_voucher_is_signed(uint256[6] memory values, uint256 change) public view {
        check(
            "Voucher(address payer,address payee,uint96 cumulative)",
            [uint16(160), 160, 96, 0, 0, 0],
            values,
            change,
            voucher
        );
    }

    function testFuzz_every_field_of_a_charge_is_signed(uint256[6] memory values, uint256 change) public view {
        check(
            "Charge(address payer,address payee,uint96 cumulative)",
            [uint16(160), 160, 96, 0, 0, 0],
            values,
            change,
            charge
        );
    }

    function testFuzz_every_field_of_a_delegation_is_signed(uint256[6] memory values, uint256 change) public view {
        check(
            "Delegation(address payer,address signer,bool authorized,uint256 nonce,uint64 validUntil)",
            [uint16(160), 160, 1, 256, 64, 0],
            values,
            change,
            delegation
        );
    }

    function testFuzz_every_field_of_a_mandate_is_signed(uint256[6] memory values, uint256 change) public view {
        check(
            "Mandate(address payer,address payee,uint96 dailyCap,uint96 accrualCap,uint256 nonce,uint64 validUntil)",
            [uint16(160), 160, 96, 96, 256, 64],
            values,
            change,
            mandate
        );
    }

    function testFuzz_every_field_of_a_mandates_end_is_signed(uint256[6] memory values, uint256 change) public view {
        check(
            "MandateRevocation(address payer,address payee,uint256 nonce,uint64 validUntil)",
            [uint16(160), 160, 256, 64, 0, 0],
            values,
            change,
            revocation
        );
    }

    function testFuzz_every_field_of_a_deposit_order_is_signed(uint256[6] memory values, uint256 change) public view {
        check(
            "DepositOrder(address from,address payer,address payee,uint96 amount,uint256 nonce,uint64 validUntil)",
            [uint16(160), 160, 160, 96, 256, 64],
            values,
            change,
            order
        );
    }

    function testFuzz_every_field_of_a_nodes_consent_is_signed(uint256[6] memory values, uint256 change) public view {
        check(
            "NodeConsent(address node,address operator,uint256 sealingKeyX,uint256 sealingKeyY,uint64 validUntil)",
            [uint16(160), 160, 256, 256, 64, 0],
            values,
            change,
            consent_
        );
    }

    function testFuzz_every_field_of_a_route_is_signed(uint256[6] memory values, uint256 change) public view {
        check(
            "Route(address wallet,address agent,uint256 sealingKeyX,uint256 sealingKeyY,uint64 nonce,uint64 validUntil)",
            [uint16(160), 160, 256, 256, 64, 64],
            values,
            change,
            route
        );
    }

    // ------------------------------------------------------------------------------------------------ helpers

    /// @param widths_ bits of each field; 0 behind the last.
    function check(
        string memory type_,
        uint16[6] memory widths_,
        uint256[6] memory values,
        uint256 change,
        function(uint256[6] memory) internal view returns (bytes32, address) digestOf
    ) private view {
        bytes memory encoded;
        for (uint256 i = 0; i < 6 && widths_[i] != 0; ++i) {
            values[i] &= type(uint256).max >> (256 - widths_[i]);
            encoded = bytes.concat(encoded, bytes32(values[i]));
        }
        (bytes32 before, address contract_) = digestOf(values);
        assertEq(before, digest(contract_, vm.eip712HashStruct(type_, encoded)), "the type's own digest");

        for (uint256 i = 0; i < 6 && widths_[i] != 0; ++i) {
            uint256 kept = values[i];
            values[i] ^= 2 ** (change % widths_[i]);
            (bytes32 given,) = digestOf(values);
            assertNotEq(given, before, "a field that is not hashed");
            values[i] = kept;
        }
    }

    function voucher(uint256[6] memory v) private view returns (bytes32, address) {
        return (escrow.voucherDigest(a(v[0]), a(v[1]), uint96(v[2])), address(escrow));
    }

    function charge(uint256[6] memory v) private view returns (bytes32, address) {
        return (escrow.chargeDigest(a(v[0]), a(v[1]), uint96(v[2])), address(escrow));
    }

    function delegation(uint256[6] memory v) private view returns (bytes32, address) {
        return (escrow.delegationDigest(a(v[0]), a(v[1]), v[2] != 0, v[3], uint64(v[4])), address(escrow));
    }

    function mandate(uint256[6] memory v) private view returns (bytes32, address) {
        return (escrow.mandateDigest(a(v[0]), a(v[1]), uint96(v[2]), uint96(v[3]), v[4], uint64(v[5])), address(escrow));
    }

    function revocation(uint256[6] memory v) private view returns (bytes32, address) {
        return (escrow.mandateRevocationDigest(a(v[0]), a(v[1]), v[2], uint64(v[3])), address(escrow));
    }

    function order(uint256[6] memory v) private view returns (bytes32, address) {
        IPrepaymentEscrow.DepositOrder memory order_ = IPrepaymentEscrow.DepositOrder({
            from: a(v[0]), payer: a(v[1]), payee: a(v[2]), amount: uint96(v[3]), validUntil: uint64(v[5])
        });
        return (escrow.depositOrderDigest(order_, v[4]), address(escrow));
    }

    function consent_(uint256[6] memory v) private view returns (bytes32, address) {
        IRoutingTable.SealingKey memory key = IRoutingTable.SealingKey({x: v[2], y: v[3]});
        return (table.consentDigest(a(v[0]), a(v[1]), key, uint64(v[4])), address(table));
    }

    function route(uint256[6] memory v) private view returns (bytes32, address) {
        IRoutingTable.SealingKey memory key = IRoutingTable.SealingKey({x: v[2], y: v[3]});
        return (table.routeDigest(a(v[0]), a(v[1]), key, uint64(v[4]), uint64(v[5])), address(table));
    }

    function a(uint256 value) private pure returns (address) {
        // forge-lint: disable-next-line(unsafe-typecast) `check` has cut it to 160 bits
        return address(uint160(value));
    }
}
