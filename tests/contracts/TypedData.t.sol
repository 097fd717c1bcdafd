// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.35;

import {Test} from "forge-std/Test.sol";

import {PrepaymentEscrow} from "../../contracts/src/PrepaymentEscrow.sol";
import {RoutingTable} from "../../contracts/src/RoutingTable.sol";
import {SettlementToken} from "../../contracts/src/SettlementToken.sol";
import {IPrepaymentEscrow} from "../../contracts/src/interfaces/IPrepaymentEscrow.sol";
import {IRoutingTable} from "../../contracts/src/interfaces/IRoutingTable.sol";
import {TestReserve} from "./mocks/TestReserve.sol";

/// @title The contracts' digests are those that viem makes of the same messages
/// @dev `tests/vectors/typed-data.json` is written by `vectors.mjs` beside it, and holds Rust's alloy, too.
contract TypedDataTest is Test {
    uint256 private constant VECTORS_EACH = 4;

    string private json;
    SettlementToken private token;
    PrepaymentEscrow private escrow;
    RoutingTable private table;

    function setUp() public {
        json = vm.readFile("tests/vectors/typed-data.json");
        TestReserve reserve = new TestReserve();
        token =
            SettlementToken(place("token", abi.encodePacked(type(SettlementToken).creationCode, abi.encode(reserve))));
        escrow =
            PrepaymentEscrow(place("escrow", abi.encodePacked(type(PrepaymentEscrow).creationCode, abi.encode(token))));
        table = RoutingTable(place("routing", abi.encodePacked(type(RoutingTable).creationCode, abi.encode(escrow))));
    }

    /// @dev Runs the constructor where the file says that the contract stands.
    function place(string memory domain, bytes memory creationCode) private returns (address place_) {
        place_ = vm.parseJsonAddress(json, string.concat(".domains.", domain, ".verifyingContract"));
        vm.etch(place_, creationCode);
        (bool created, bytes memory code) = place_.call("");
        assertTrue(created, domain);
        vm.etch(place_, code);
    }

    function test_voucher() public view {
        check("Voucher", voucherDigest);
    }

    function test_charge() public view {
        check("Charge", chargeDigest);
    }

    function test_delegation() public view {
        check("Delegation", delegationDigest);
    }

    function test_mandate() public view {
        check("Mandate", mandateDigest);
    }

    function test_mandate_revocation() public view {
        check("MandateRevocation", mandateRevocationDigest);
    }

    function test_deposit_order() public view {
        check("DepositOrder", depositOrderDigest);
    }

    function test_node_consent() public view {
        check("NodeConsent", consentDigest);
    }

    function test_route() public view {
        check("Route", routeDigest);
    }

    function test_permit() public view {
        check("Permit", permitDigest);
    }

    /// @dev Type hash, struct hash, digest and signer of all messages of one type.
    function check(string memory name, function(bytes memory) view returns (bytes32) digestOf) private view {
        string memory path = structPath(name);
        bytes32 typeHash = vm.parseJsonBytes32(json, string.concat(path, ".typeHash"));
        assertEq(typeHash, keccak256(bytes(vm.parseJsonString(json, string.concat(path, ".type")))), "type hash");
        address signer = vm.parseJsonAddress(json, ".signer");

        for (uint256 i = 0; i < VECTORS_EACH; ++i) {
            string memory vector = string.concat(path, ".vectors[", vm.toString(i), "]");
            bytes memory encoded = vm.parseJsonBytes(json, string.concat(vector, ".encoded"));
            bytes32 digest = digestOf(encoded);

            // forge-lint: disable-next-line(unsafe-typecast) the first word is all that is meant
            assertEq(bytes32(encoded), typeHash, "the type hash in front");
            assertEq(keccak256(encoded), vm.parseJsonBytes32(json, string.concat(vector, ".structHash")), "struct hash");
            assertEq(digest, vm.parseJsonBytes32(json, string.concat(vector, ".digest")), "digest");
            assertEq(signerOf(digest, vm.parseJsonBytes(json, string.concat(vector, ".signature"))), signer, "signer");
        }
    }

    function structPath(string memory name) private view returns (string memory path) {
        for (uint256 i = 0; vm.keyExistsJson(json, string.concat(".structs[", vm.toString(i), "]")); ++i) {
            path = string.concat(".structs[", vm.toString(i), "]");
            string memory found = vm.parseJsonString(json, string.concat(path, ".name"));
            if (keccak256(bytes(found)) == keccak256(bytes(name))) return path;
        }
        revert(string.concat("no vectors of ", name));
    }

    function signerOf(bytes32 digest, bytes memory signature) private pure returns (address) {
        assertEq(signature.length, 65);
        bytes32 r;
        bytes32 s;
        assembly ("memory-safe") {
            r := mload(add(signature, 0x20))
            s := mload(add(signature, 0x40))
        }
        return ecrecover(digest, uint8(signature[64]), r, s);
    }

    // ---------------------------------------------------------- the contracts' own word, from the words of a struct

    function voucherDigest(bytes memory encoded) private view returns (bytes32) {
        (, address payer, address payee, uint96 cumulative) = abi.decode(encoded, (bytes32, address, address, uint96));
        return escrow.voucherDigest(payer, payee, cumulative);
    }

    function chargeDigest(bytes memory encoded) private view returns (bytes32) {
        (, address payer, address payee, uint96 cumulative) = abi.decode(encoded, (bytes32, address, address, uint96));
        return escrow.chargeDigest(payer, payee, cumulative);
    }

    function delegationDigest(bytes memory encoded) private view returns (bytes32) {
        (, address payer, address signer, bool authorized, uint256 nonce, uint64 validUntil) =
            abi.decode(encoded, (bytes32, address, address, bool, uint256, uint64));
        return escrow.delegationDigest(payer, signer, authorized, nonce, validUntil);
    }

    function mandateDigest(bytes memory encoded) private view returns (bytes32) {
        (, address payer, address payee, uint96 dailyCap, uint96 accrualCap, uint256 nonce, uint64 validUntil) =
            abi.decode(encoded, (bytes32, address, address, uint96, uint96, uint256, uint64));
        return escrow.mandateDigest(payer, payee, dailyCap, accrualCap, nonce, validUntil);
    }

    function mandateRevocationDigest(bytes memory encoded) private view returns (bytes32) {
        (, address payer, address payee, uint256 nonce, uint64 validUntil) =
            abi.decode(encoded, (bytes32, address, address, uint256, uint64));
        return escrow.mandateRevocationDigest(payer, payee, nonce, validUntil);
    }

    function depositOrderDigest(bytes memory encoded) private view returns (bytes32) {
        (, address from, address payer, address payee, uint96 amount, uint256 nonce, uint64 validUntil) =
            abi.decode(encoded, (bytes32, address, address, address, uint96, uint256, uint64));
        return escrow.depositOrderDigest(IPrepaymentEscrow.DepositOrder(from, payer, payee, amount, validUntil), nonce);
    }

    function consentDigest(bytes memory encoded) private view returns (bytes32) {
        (, address node, address operator, uint256 x, uint256 y, uint64 validUntil) =
            abi.decode(encoded, (bytes32, address, address, uint256, uint256, uint64));
        return table.consentDigest(node, operator, IRoutingTable.SealingKey(x, y), validUntil);
    }

    function routeDigest(bytes memory encoded) private view returns (bytes32) {
        (, address wallet, address agent, uint256 x, uint256 y, uint64 nonce, uint64 validUntil) =
            abi.decode(encoded, (bytes32, address, address, uint256, uint256, uint64, uint64));
        return table.routeDigest(wallet, agent, IRoutingTable.SealingKey(x, y), nonce, validUntil);
    }

    /// @dev The token shows its domain's separator, but no digest.
    function permitDigest(bytes memory encoded) private view returns (bytes32) {
        return keccak256(abi.encodePacked(hex"1901", token.DOMAIN_SEPARATOR(), keccak256(encoded)));
    }
}
