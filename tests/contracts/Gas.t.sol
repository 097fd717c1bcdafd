// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.35;

import {Vm} from "forge-std/Vm.sol";

import {IRoutingTable} from "../../contracts/src/interfaces/IRoutingTable.sol";
import {World} from "./World.sol";

/// @title What it takes to read a page of nodes
/// @dev What functions that change anything cost stands in `tests/snapshots/gas.txt`.
contract GasTest is World {
    /// @dev The largest page there can be, within what every RPC endpoint's `eth_call` allows.
    function test_a_full_page_of_nodes_can_be_read() public {
        IRoutingTable.SealingKey memory key = sealingKey(alice);
        prepayOpen(agent.addr, table.MINIMUM_BOND());
        for (uint256 i = 0; i < table.PAGE_LENGTH_MAX(); ++i) {
            Vm.Wallet memory node = vm.createWallet(uint256(keccak256(abi.encode("node", i))));
            bytes memory consent_ = consent(node, agent.addr, key, START);
            vm.prank(agent.addr);
            table.register(node.addr, key, string(new bytes(200)), tariff(1, 2, 3), START, consent_);
        }

        vm.cool(address(table));
        table.nodes(0, table.PAGE_LENGTH_MAX());
        uint256 gas = vm.lastCallGas().gasTotalUsed;
        emit log_named_uint("a full page of nodes", gas);
        assertLe(gas, 10_000_000);
    }
}
