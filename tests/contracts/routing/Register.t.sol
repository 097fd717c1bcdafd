// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.35;

import {Vm} from "forge-std/Vm.sol";

import {RoutingTable} from "../../../contracts/src/RoutingTable.sol";
import {IRoutingTable} from "../../../contracts/src/interfaces/IRoutingTable.sol";
import {World} from "../World.sol";

/// @title A node stands in the table by its own consent and its operator's bond
contract RegisterTest is World {
    string private constant ENDPOINT = "https://agent.example/in";

    Vm.Wallet private node;
    IRoutingTable.SealingKey private key;
    IRoutingTable.Tariff private price;

    function setUp() public override {
        super.setUp();
        node = vm.createWallet("node");
        key = sealingKey(vm.createWallet("node sealing"));
        price = tariff(100, 20, 3);
        prepayOpen(agent.addr, 10e6);
    }

    // ----------------------------------------------------------------------------------------------- refusals

    function test_refuses_expired_consent() public {
        bytes memory consent_ = consent(node, agent.addr, key, START);
        vm.warp(START + 1);
        expectRefusal(abi.encodeWithSelector(IRoutingTable.SignatureExpired.selector, START, START + 1));
        table.register(node.addr, key, ENDPOINT, price, START, consent_);
    }

    function test_refuses_consent_of_another_key() public {
        expectRefusal(abi.encodeWithSelector(IRoutingTable.InvalidSignature.selector, node.addr));
        table.register(node.addr, key, ENDPOINT, price, START, foreignConsent());
    }

    function test_refuses_consent_to_another_operator() public {
        bytes memory consent_ = consent(node, agent.addr, key, START);
        prepayOpen(mallory.addr, 10e6);
        vm.expectRevert(abi.encodeWithSelector(IRoutingTable.InvalidSignature.selector, node.addr));
        vm.prank(mallory.addr);
        table.register(node.addr, key, ENDPOINT, price, START, consent_);
    }

    function test_refuses_consent_to_another_sealing_key_or_time() public {
        bytes memory consent_ = consent(node, agent.addr, key, START);
        expectRefusal(abi.encodeWithSelector(IRoutingTable.InvalidSignature.selector, node.addr));
        table.register(node.addr, sealingKey(mallory), ENDPOINT, price, START, consent_);
        expectRefusal(abi.encodeWithSelector(IRoutingTable.InvalidSignature.selector, node.addr));
        table.register(node.addr, key, ENDPOINT, price, START + 1, consent_);
    }

    function test_refuses_consent_of_another_chain_or_table() public {
        bytes memory consent_ = consent(node, agent.addr, key, START);
        RoutingTable other = new RoutingTable(address(escrow));
        expectRefusal(abi.encodeWithSelector(IRoutingTable.InvalidSignature.selector, node.addr));
        other.register(node.addr, key, ENDPOINT, price, START, consent_);
        vm.chainId(block.chainid + 1);
        expectRefusal(abi.encodeWithSelector(IRoutingTable.InvalidSignature.selector, node.addr));
        table.register(node.addr, key, ENDPOINT, price, START, consent_);
    }

    function test_refuses_malleable_consent() public {
        bytes memory consent_ = malleated(consent(node, agent.addr, key, START));
        expectRefusal(abi.encodeWithSelector(IRoutingTable.InvalidSignature.selector, node.addr));
        table.register(node.addr, key, ENDPOINT, price, START, consent_);
    }

    function test_refuses_node_zero_whom_a_failed_recovery_seems_to_name() public {
        expectRefusal(abi.encodeWithSelector(IRoutingTable.InvalidSignature.selector, address(0)));
        table.register(address(0), key, ENDPOINT, price, START, new bytes(65));
    }

    function test_refuses_a_node_twice() public {
        registerNode();
        bytes memory consent_ = consent(node, agent.addr, key, START);
        expectRefusal(abi.encodeWithSelector(IRoutingTable.NodeExists.selector, node.addr));
        table.register(node.addr, key, ENDPOINT, price, START, consent_);
    }

    function test_refuses_a_retired_node_for_good() public {
        registerNode();
        vm.prank(agent.addr);
        table.retire(node.addr);
        prepayOpen(relay.addr, 10e6);
        bytes memory consent_ = consent(node, relay.addr, key, START);
        vm.expectRevert(abi.encodeWithSelector(IRoutingTable.NodeExists.selector, node.addr));
        vm.prank(relay.addr);
        table.register(node.addr, key, ENDPOINT, price, START, consent_);
    }

    function test_refuses_empty_endpoint_and_endpoint_above_the_limit() public {
        bytes memory consent_ = consent(node, agent.addr, key, START);
        expectRefusal(abi.encodeWithSelector(IRoutingTable.EndpointLength.selector, 0, 200));
        table.register(node.addr, key, "", price, START, consent_);
        expectRefusal(abi.encodeWithSelector(IRoutingTable.EndpointLength.selector, 201, 200));
        table.register(node.addr, key, string(new bytes(201)), price, START, consent_);
    }

    function test_refuses_tariff_above_the_limit_in_each_field() public {
        bytes memory consent_ = consent(node, agent.addr, key, START);
        for (uint256 i = 0; i < 3; ++i) {
            expectRefusal(abi.encodeWithSelector(IRoutingTable.TariffAboveLimit.selector, 1e12 + 1, 1e12));
            table.register(
                node.addr,
                key,
                ENDPOINT,
                tariff(i == 0 ? 1e12 + 1 : 1, i == 1 ? 1e12 + 1 : 1, i == 2 ? 1e12 + 1 : 1),
                START,
                consent_
            );
        }
    }

    function test_refuses_key_off_the_curve() public {
        expectOffCurve(0, 0);
        expectOffCurve(key.x, key.y ^ 1);
        expectOffCurve(key.y, key.x);
        // The same residues once more round the field.
        (uint256 x, uint256 y) = (1, 0x4218f20ae6c646b363db68605822fb14264ca8d2587fdd6fbc750d587e76a7ee);
        expectOffCurve(x + FIELD_PRIME, y);
        expectOffCurve(FIELD_PRIME, 0);
        x = 0x1fe1e5ef3fceb5c135ab7741333ce5a6e80d68167653f6b2b24bcbcfaaaff507;
        expectOffCurve(x, FIELD_PRIME + 1); // (x, 1) is a point
    }

    function test_refuses_missing_bond() public {
        Vm.Wallet memory poor = vm.createWallet("poor");
        bytes memory consent_ = consent(node, poor.addr, key, START);
        vm.expectRevert(abi.encodeWithSelector(IRoutingTable.BondTooLow.selector, 0, 10e6));
        vm.prank(poor.addr);
        table.register(node.addr, key, ENDPOINT, price, START, consent_);
    }

    function test_refuses_bond_that_is_a_unit_short_or_thawing() public {
        vm.prank(agent.addr);
        escrow.thaw(address(0), 1);
        bytes memory consent_ = consent(node, agent.addr, key, START);
        expectRefusal(abi.encodeWithSelector(IRoutingTable.BondTooLow.selector, 10e6 - 1, 10e6));
        table.register(node.addr, key, ENDPOINT, price, START, consent_);
    }

    /// @dev What is thawing may exceed what is there; the difference does not wrap.
    function test_refuses_bond_that_was_claimed_away_under_its_notice() public {
        vm.prank(agent.addr);
        escrow.thaw(address(0), 10e6);
        escrow.claim(relay.addr, row(agent, relay.addr, 6e6));
        bytes memory consent_ = consent(node, agent.addr, key, START);
        expectRefusal(abi.encodeWithSelector(IRoutingTable.BondTooLow.selector, 0, 10e6));
        table.register(node.addr, key, ENDPOINT, price, START, consent_);
    }

    // ---------------------------------------------------------------------------------------------- successes

    function test_states_its_bounds() public view {
        assertEq(table.escrow(), address(escrow));
        assertEq(table.MINIMUM_BOND(), 10e6);
        assertEq(table.TARIFF_NOTICE(), 7 days);
        assertEq(table.ENDPOINT_LENGTH_MAX(), 200);
        assertEq(table.TARIFF_MAX(), 1e12);
        assertEq(table.PAGE_LENGTH_MAX(), 100);
    }

    function test_registers_at_the_last_second_of_the_consent() public {
        vm.expectEmit(address(table));
        emit IRoutingTable.NodeRegistered(node.addr, agent.addr);
        vm.expectEmit(address(table));
        emit IRoutingTable.EndpointChanged(node.addr, ENDPOINT);
        vm.expectEmit(address(table));
        emit IRoutingTable.TariffAnnounced(node.addr, 1, price, START);
        registerNode();

        IRoutingTable.Node memory entry = table.node(node.addr);
        assertEq(entry.operator, agent.addr);
        assertEq(entry.registeredAt, START);
        assertEq(entry.retiredAt, 0);
        assertKey(entry.sealingKey, key);
        assertTariff(entry.tariff, price);
        assertEq(entry.tariffVersion, 1);
        assertTariff(entry.next, tariff(0, 0, 0));
        assertEq(entry.nextFrom, 0);
        assertEq(entry.endpoint, ENDPOINT);
        assertEq(table.nodeCount(), 1);
        assertOpen(agent.addr, 10e6, 0);
    }

    function test_registers_at_the_limits_of_endpoint_and_tariff() public {
        string memory longest = string(new bytes(200));
        bytes memory consent_ = consent(node, agent.addr, key, START);
        vm.prank(agent.addr);
        table.register(node.addr, key, longest, tariff(1e12, 1e12, 1e12), START, consent_);
        assertEq(table.node(node.addr).endpoint, longest);
        assertTariff(table.node(node.addr).tariff, tariff(1e12, 1e12, 1e12));
    }

    /// @dev One bond vouches for all nodes of an operator.
    function test_registers_several_nodes_on_one_bond() public {
        registerNode();
        Vm.Wallet memory second = vm.createWallet("second node");
        bytes memory consent_ = consent(second, agent.addr, key, START);
        vm.prank(agent.addr);
        table.register(second.addr, key, ENDPOINT, price, START, consent_);
        assertEq(table.nodeCount(), 2);
        assertEq(table.node(second.addr).operator, agent.addr);
    }

    /// @dev Every public key is on the curve, and no other `y` belongs to its `x` but the mirror image.
    function testFuzz_takes_public_keys_and_nothing_beside_them(uint256 secret, uint256 y) public {
        IRoutingTable.SealingKey memory point = sealingKey(vm.createWallet(bound(secret, 1, CURVE_ORDER - 1)));
        bytes memory consent_ = consent(node, agent.addr, point, START);
        vm.prank(agent.addr);
        table.register(node.addr, point, ENDPOINT, price, START, consent_);
        assertKey(table.node(node.addr).sealingKey, point);

        vm.assume(y != point.y && y != FIELD_PRIME - point.y);
        expectOffCurve(point.x, y);
    }

    // ------------------------------------------------------------------------------------------------ helpers

    function registerNode() private {
        bytes memory consent_ = consent(node, agent.addr, key, START);
        vm.prank(agent.addr);
        table.register(node.addr, key, ENDPOINT, price, START, consent_);
    }

    function foreignConsent() private returns (bytes memory) {
        bytes32 structHash = keccak256(abi.encode(NODE_CONSENT_TYPEHASH, node.addr, agent.addr, key.x, key.y, START));
        return signature(mallory, digest(address(table), structHash));
    }

    function expectRefusal(bytes memory refusal) private {
        vm.expectRevert(refusal);
        vm.prank(agent.addr);
    }

    function expectOffCurve(uint256 x, uint256 y) private {
        Vm.Wallet memory fresh = vm.createWallet("fresh node");
        IRoutingTable.SealingKey memory point = IRoutingTable.SealingKey({x: x, y: y});
        bytes memory consent_ = consent(fresh, agent.addr, point, START);
        expectRefusal(abi.encodeWithSelector(IRoutingTable.NotOnCurve.selector, x, y));
        table.register(fresh.addr, point, ENDPOINT, price, START, consent_);
    }
}
