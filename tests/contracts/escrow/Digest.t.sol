// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.35;

import {World} from "../World.sol";

/// @title The digests are those of EIP-712, field by field
/// @dev Against the standard's text in `World`, and against the implementation inside forge, which reads the type
/// from its name.
contract DigestTest is World {
    string private constant VOUCHER = "Voucher(address payer,address payee,uint96 cumulative)";
    string private constant DELEGATION =
        "Delegation(address payer,address signer,bool authorized,uint64 nonce,uint64 validUntil)";

    function test_describes_its_domain() public view {
        (bytes1 fields, string memory name, string memory version, uint256 chainId, address contract_,,) =
            escrow.eip712Domain();
        assertEq(fields, hex"0f");
        assertEq(name, "Layer Minus");
        assertEq(version, "1");
        assertEq(chainId, block.chainid);
        assertEq(contract_, address(escrow));
    }

    function test_the_digest_follows_the_chain_through_a_fork() public {
        bytes32 before = escrow.voucherDigest(alice.addr, agent.addr, 1);
        vm.chainId(block.chainid + 1);
        assertNotEq(escrow.voucherDigest(alice.addr, agent.addr, 1), before);
        assertEq(escrow.voucherDigest(alice.addr, agent.addr, 1), voucherDigest(alice.addr, agent.addr, 1));
    }

    function testFuzz_voucher(address payer, address payee, uint96 cumulative) public view {
        bytes32 given = escrow.voucherDigest(payer, payee, cumulative);
        assertEq(given, voucherDigest(payer, payee, cumulative));
        bytes32 structHash = vm.eip712HashStruct(VOUCHER, abi.encode(payer, payee, cumulative));
        assertEq(given, digest(address(escrow), structHash));
    }

    function testFuzz_delegation(address payer, address signer, bool authorized, uint64 nonce, uint64 validUntil)
        public
        view
    {
        bytes32 given = escrow.delegationDigest(payer, signer, authorized, nonce, validUntil);
        bytes32 structHash = keccak256(abi.encode(DELEGATION_TYPEHASH, payer, signer, authorized, nonce, validUntil));
        assertEq(given, digest(address(escrow), structHash));
        structHash = vm.eip712HashStruct(DELEGATION, abi.encode(payer, signer, authorized, nonce, validUntil));
        assertEq(given, digest(address(escrow), structHash));
    }
}
