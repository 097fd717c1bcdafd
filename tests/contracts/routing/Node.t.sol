// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.35;

import {Vm} from "forge-std/Vm.sol";

import {IRoutingTable} from "../../../contracts/src/interfaces/IRoutingTable.sol";
import {World} from "../World.sol";

/// @title A node's endpoint, its end, and the list of all
contract NodeTest is World {
    Vm.Wallet private node;

    function setUp() public override {
        super.setUp();
        node = vm.createWallet("node");
        register(node, agent);
    }

    // ----------------------------------------------------------------------------------------------- refusals

    function test_refuses_endpoint_from_anyone_but_the_operator() public {
        vm.expectRevert(abi.encodeWithSelector(IRoutingTable.NotOperator.selector, mallory.addr, agent.addr));
        vm.prank(mallory.addr);
        table.setEndpoint(node.addr, "https://evil.example");
    }

    function test_refuses_endpoint_of_unregistered_and_retired_nodes() public {
        vm.startPrank(agent.addr);
        vm.expectRevert(abi.encodeWithSelector(IRoutingTable.NotRegistered.selector, mallory.addr));
        table.setEndpoint(mallory.addr, "https://new.example");
        table.retire(node.addr);
        vm.expectRevert(abi.encodeWithSelector(IRoutingTable.AlreadyRetired.selector, node.addr));
        table.setEndpoint(node.addr, "https://new.example");
    }

    function test_refuses_empty_endpoint_and_endpoint_above_the_limit() public {
        vm.startPrank(agent.addr);
        vm.expectRevert(abi.encodeWithSelector(IRoutingTable.EndpointLength.selector, 0, 200));
        table.setEndpoint(node.addr, "");
        vm.expectRevert(abi.encodeWithSelector(IRoutingTable.EndpointLength.selector, 201, 200));
        table.setEndpoint(node.addr, string(new bytes(201)));
    }

    function test_refuses_retirement_by_anyone_but_the_operator() public {
        vm.expectRevert(abi.encodeWithSelector(IRoutingTable.NotOperator.selector, node.addr, agent.addr));
        vm.prank(node.addr);
        table.retire(node.addr);
    }

    function test_refuses_retirement_of_unregistered_and_retired_nodes() public {
        vm.startPrank(agent.addr);
        vm.expectRevert(abi.encodeWithSelector(IRoutingTable.NotRegistered.selector, mallory.addr));
        table.retire(mallory.addr);
        table.retire(node.addr);
        warp(1);
        vm.expectRevert(abi.encodeWithSelector(IRoutingTable.AlreadyRetired.selector, node.addr));
        table.retire(node.addr);
        assertEq(table.node(node.addr).retiredAt, START);
    }

    function test_refuses_page_above_the_limit() public {
        vm.expectRevert(abi.encodeWithSelector(IRoutingTable.PageTooLong.selector, 101, 100));
        table.nodes(0, 101);
    }

    // ---------------------------------------------------------------------------------------------- successes

    function test_changes_the_endpoint_at_once() public {
        string memory longest = string(new bytes(200));
        vm.startPrank(agent.addr);
        vm.expectEmit(address(table));
        emit IRoutingTable.EndpointChanged(node.addr, longest);
        table.setEndpoint(node.addr, longest);
        assertEq(table.node(node.addr).endpoint, longest);

        table.setEndpoint(node.addr, "h");
        assertEq(table.node(node.addr).endpoint, "h");
    }

    function test_retires_into_a_tombstone_that_keeps_everything() public {
        IRoutingTable.Node memory before = table.node(node.addr);
        warp(1 days);
        vm.expectEmit(address(table));
        emit IRoutingTable.NodeRetired(node.addr);
        vm.prank(agent.addr);
        table.retire(node.addr);

        before.retiredAt = START + 1 days;
        assertEq(abi.encode(table.node(node.addr)), abi.encode(before));
        assertEq(table.nodeCount(), 1);
    }

    /// @dev The bond is looked at once. Whoever relies on it watches the operator's open balance.
    function test_a_node_outlives_its_bond() public {
        vm.startPrank(agent.addr);
        escrow.thaw(address(0), 10e6);
        warp(NOTICE);
        escrow.withdraw(address(0), agent.addr);
        assertOpen(agent.addr, 0, 0);
        assertEq(table.node(node.addr).retiredAt, 0);
        table.setEndpoint(node.addr, "https://still.here");
    }

    function test_shows_nothing_of_an_unregistered_node() public view {
        IRoutingTable.Node memory nothing;
        assertEq(abi.encode(table.node(mallory.addr)), abi.encode(nothing));
    }

    function test_lists_in_order_of_registration_retired_ones_included() public {
        Vm.Wallet[] memory more = new Vm.Wallet[](4);
        for (uint256 i = 0; i < more.length; ++i) {
            more[i] = vm.createWallet(uint256(keccak256(abi.encode("more", i))));
            register(more[i], agent);
        }
        vm.prank(agent.addr);
        table.retire(more[1].addr);
        assertEq(table.nodeCount(), 5);

        (address[] memory addresses, IRoutingTable.Node[] memory entries) = table.nodes(1, 3);
        assertEq(addresses.length, 3);
        assertEq(entries.length, 3);
        for (uint256 i = 0; i < 3; ++i) {
            assertEq(addresses[i], more[i].addr);
            assertEq(abi.encode(entries[i]), abi.encode(table.node(more[i].addr)));
        }
        assertEq(entries[1].retiredAt, START);

        (addresses,) = table.nodes(3, 100);
        assertEq(addresses.length, 2);
        assertEq(addresses[1], more[3].addr);
    }

    function testFuzz_a_page_is_cut_at_the_end_of_the_list(uint256 offset, uint256 limit) public view {
        limit = bound(limit, 0, 100);
        (address[] memory addresses, IRoutingTable.Node[] memory entries) = table.nodes(offset, limit);
        uint256 expected = offset == 0 && limit != 0 ? 1 : 0;
        assertEq(addresses.length, expected);
        assertEq(entries.length, expected);
    }
}
