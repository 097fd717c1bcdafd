// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.35;

import {World} from "../World.sol";

/// @title What the escrow says of itself: its constants, and the domain that everything is signed in
/// @dev That every field of everything signed is in its digest stands in `attacks/Fields.t.sol`.
contract DomainTest is World {
    function test_states_its_constants() public view {
        assertEq(escrow.token(), address(token));
        assertEq(escrow.NOTICE_PERIOD(), 7 days);
        assertEq(escrow.CONTRACT_SIGNATURE_GAS(), 375_000);
    }

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
}
