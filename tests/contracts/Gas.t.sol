// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.35;

import {Vm} from "forge-std/Vm.sol";

import {IRoutingTable} from "../../contracts/src/interfaces/IRoutingTable.sol";
import {World} from "./World.sol";

/// @title What one more voucher in a batch costs, and a page of nodes
/// @dev Execution from the difference of two batches of distinct payers whose lanes have paid before, plus calldata at
/// 16 and 4 gas. The lanes are touched in `setUp`, a transaction of its own, hence cold here.
contract GasTest is World {
    uint256 private constant SMALL = 10;
    uint256 private constant LARGE = 100;

    Vm.Wallet[] private payers;

    function setUp() public override {
        super.setUp();
        bytes memory rows;
        for (uint256 i = 0; i <= SMALL + LARGE; ++i) {
            payers.push(vm.createWallet(uint256(keccak256(abi.encode("payer", i)))));
            prepay(payers[i].addr, agent.addr, 10e6);
            rows = bytes.concat(rows, row(payers[i], agent.addr, 1e6));
        }
        escrow.claim(agent.addr, rows);
    }

    function test_one_more_row_costs_at_most_10980() public {
        batch(0, 1); // makes warm what every batch shares
        (uint256 small, uint256 smallCalldata) = batch(1, SMALL);
        (uint256 large, uint256 largeCalldata) = batch(1 + SMALL, LARGE);

        uint256 execution = (large - small) / (LARGE - SMALL);
        uint256 calldata_ = (largeCalldata - smallCalldata) / (LARGE - SMALL);
        emit log_named_uint("execution of one more row", execution);
        emit log_named_uint("calldata of one more row", calldata_);
        emit log_named_uint("one more row", execution + calldata_);
        assertLe(execution + calldata_, 10_980);
    }

    /// @dev The largest page there can be, within what every RPC endpoint's `eth_call` allows.
    function test_a_full_page_of_nodes_can_be_read() public {
        IRoutingTable.SealingKey memory key = sealingKey(alice);
        prepayOpen(agent.addr, table.MINIMUM_BOND());
        for (uint256 i = 0; i < table.PAGE_LENGTH_MAX(); ++i) {
            bytes memory consent_ = consent(payers[i], agent.addr, key, START);
            vm.prank(agent.addr);
            table.register(payers[i].addr, key, string(new bytes(200)), tariff(1, 2, 3), START, consent_);
        }

        vm.cool(address(table));
        table.nodes(0, table.PAGE_LENGTH_MAX());
        uint256 gas = vm.lastCallGas().gasTotalUsed;
        emit log_named_uint("a full page of nodes", gas);
        assertLe(gas, 10_000_000);
    }

    function batch(uint256 from, uint256 count) private returns (uint256 execution, uint256 calldata_) {
        bytes memory rows;
        for (uint256 i = from; i < from + count; ++i) {
            rows = bytes.concat(rows, row(payers[i], agent.addr, 2_345_678));
        }

        (uint96 total,) = escrow.claim(agent.addr, rows);
        execution = vm.lastCallGas().gasTotalUsed;

        assertEq(total, count * 1_345_678);
        for (uint256 i = 0; i < rows.length; ++i) {
            calldata_ += rows[i] == 0 ? 4 : 16;
        }
    }
}
