// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.35;

import {Vm} from "forge-std/Vm.sol";

import {RoutingTable} from "../../../contracts/src/RoutingTable.sol";
import {IRoutingTable} from "../../../contracts/src/interfaces/IRoutingTable.sol";
import {World} from "../World.sol";

/// @title A wallet's route is set by the wallet alone: no squatting, no hijack
contract RouteTest is World {
    uint64 private constant VALID_UNTIL = START + 1 days;

    Vm.Wallet private node;
    IRoutingTable.SealingKey private key;
    IRoutingTable.SealingKey private noKey;

    function setUp() public override {
        super.setUp();
        node = vm.createWallet("node");
        key = sealingKey(vm.createWallet("alice sealing"));
        register(node, agent);
    }

    // ----------------------------------------------------------------------------------------------- refusals

    function test_refuses_agent_that_is_no_node() public {
        vm.expectRevert(abi.encodeWithSelector(IRoutingTable.NotRegistered.selector, mallory.addr));
        vm.prank(alice.addr);
        table.setRoute(mallory.addr, key);
    }

    function test_refuses_retired_agent() public {
        vm.prank(agent.addr);
        table.retire(node.addr);
        vm.expectRevert(abi.encodeWithSelector(IRoutingTable.AlreadyRetired.selector, node.addr));
        vm.prank(alice.addr);
        table.setRoute(node.addr, key);
    }

    function test_refuses_key_off_the_curve() public {
        vm.startPrank(alice.addr);
        vm.expectRevert(abi.encodeWithSelector(IRoutingTable.NotOnCurve.selector, 0, 0));
        table.setRoute(node.addr, noKey);
        IRoutingTable.SealingKey memory off = IRoutingTable.SealingKey({x: key.x, y: key.y ^ 1});
        vm.expectRevert(abi.encodeWithSelector(IRoutingTable.NotOnCurve.selector, off.x, off.y));
        table.setRoute(node.addr, off);
    }

    function test_refuses_expired_signature() public {
        bytes memory signature_ = routeSignature(alice, node.addr, key, 0, VALID_UNTIL);
        vm.warp(VALID_UNTIL + 1);
        vm.expectRevert(abi.encodeWithSelector(IRoutingTable.SignatureExpired.selector, VALID_UNTIL, VALID_UNTIL + 1));
        table.setRouteBySignature(alice.addr, node.addr, key, VALID_UNTIL, signature_);
    }

    function test_refuses_signature_of_a_stranger() public {
        bytes32 digest_ = table.routeDigest(alice.addr, node.addr, key, 0, VALID_UNTIL);
        expectInvalid(node.addr, key, VALID_UNTIL, signature(mallory, digest_));
    }

    /// @dev Whom the wallet lets sign its vouchers cannot move the wallet.
    function test_refuses_signature_of_an_escrow_delegate() public {
        vm.prank(alice.addr);
        escrow.authorize(session.addr);
        bytes32 digest_ = table.routeDigest(alice.addr, node.addr, key, 0, VALID_UNTIL);
        expectInvalid(node.addr, key, VALID_UNTIL, signature(session, digest_));
    }

    function test_refuses_signature_over_another_agent_key_nonce_or_time() public {
        expectInvalid(node.addr, key, VALID_UNTIL, routeSignature(alice, mallory.addr, key, 0, VALID_UNTIL));
        expectInvalid(node.addr, key, VALID_UNTIL, routeSignature(alice, node.addr, sealingKey(alice), 0, VALID_UNTIL));
        expectInvalid(node.addr, key, VALID_UNTIL, routeSignature(alice, node.addr, key, 1, VALID_UNTIL));
        expectInvalid(node.addr, key, VALID_UNTIL + 1, routeSignature(alice, node.addr, key, 0, VALID_UNTIL));
    }

    function test_refuses_signature_twice() public {
        bytes memory signature_ = routeSignature(alice, node.addr, key, 0, VALID_UNTIL);
        table.setRouteBySignature(alice.addr, node.addr, key, VALID_UNTIL, signature_);
        expectInvalid(node.addr, key, VALID_UNTIL, signature_);
    }

    /// @dev A transaction of the wallet's own makes worthless what it had signed before.
    function test_refuses_signature_from_before_a_transaction() public {
        bytes memory signature_ = routeSignature(alice, node.addr, key, 0, VALID_UNTIL);
        vm.prank(alice.addr);
        table.setRoute(address(0), noKey);
        expectInvalid(node.addr, key, VALID_UNTIL, signature_);
    }

    function test_refuses_malleable_zero_and_empty_signature() public {
        bytes memory signature_ = routeSignature(alice, node.addr, key, 0, VALID_UNTIL);
        expectInvalid(node.addr, key, VALID_UNTIL, malleated(signature_));
        expectInvalid(node.addr, key, VALID_UNTIL, new bytes(65));
        expectInvalid(node.addr, key, VALID_UNTIL, "");
    }

    function test_refuses_wallet_zero_whom_a_failed_recovery_seems_to_name() public {
        vm.expectRevert(abi.encodeWithSelector(IRoutingTable.InvalidSignature.selector, address(0)));
        table.setRouteBySignature(address(0), node.addr, key, VALID_UNTIL, new bytes(65));
    }

    function test_refuses_signature_of_another_chain_or_table() public {
        bytes memory signature_ = routeSignature(alice, node.addr, key, 0, VALID_UNTIL);
        RoutingTable other = new RoutingTable(address(escrow));
        vm.expectRevert(abi.encodeWithSelector(IRoutingTable.InvalidSignature.selector, alice.addr));
        other.setRouteBySignature(alice.addr, node.addr, key, VALID_UNTIL, signature_);
        vm.chainId(block.chainid + 1);
        expectInvalid(node.addr, key, VALID_UNTIL, signature_);
    }

    function test_refuses_bad_agent_and_key_by_signature() public {
        bytes memory signature_ = routeSignature(alice, mallory.addr, key, 0, VALID_UNTIL);
        vm.expectRevert(abi.encodeWithSelector(IRoutingTable.NotRegistered.selector, mallory.addr));
        table.setRouteBySignature(alice.addr, mallory.addr, key, VALID_UNTIL, signature_);
        signature_ = routeSignature(alice, node.addr, noKey, 0, VALID_UNTIL);
        vm.expectRevert(abi.encodeWithSelector(IRoutingTable.NotOnCurve.selector, 0, 0));
        table.setRouteBySignature(alice.addr, node.addr, noKey, VALID_UNTIL, signature_);
    }

    function test_refuses_to_resolve_a_wallet_without_route() public {
        vm.expectRevert(abi.encodeWithSelector(IRoutingTable.NoRoute.selector, alice.addr));
        table.resolve(alice.addr);
        assertRoute(address(0), 0, noKey);
    }

    // ---------------------------------------------------------------------------------------------- successes

    function test_sets_the_callers_route() public {
        vm.expectEmit(address(table));
        emit IRoutingTable.RouteSet(alice.addr, node.addr, 1, key);
        vm.prank(alice.addr);
        table.setRoute(node.addr, key);

        assertRoute(node.addr, 1, key);
        (IRoutingTable.Route memory route, IRoutingTable.Node memory entry) = table.resolve(alice.addr);
        assertEq(abi.encode(route), abi.encode(table.route(alice.addr)));
        assertEq(abi.encode(entry), abi.encode(table.node(node.addr)));
        vm.expectRevert(abi.encodeWithSelector(IRoutingTable.NoRoute.selector, carol.addr));
        table.resolve(carol.addr);
    }

    function test_sets_a_route_by_signature_carried_by_anyone() public {
        bytes memory signature_ = routeSignature(alice, node.addr, key, 0, VALID_UNTIL);
        vm.warp(VALID_UNTIL);
        vm.expectEmit(address(table));
        emit IRoutingTable.RouteSet(alice.addr, node.addr, 1, key);
        vm.prank(mallory.addr);
        table.setRouteBySignature(alice.addr, node.addr, key, VALID_UNTIL, signature_);

        assertRoute(node.addr, 1, key);
        assertEq(table.route(mallory.addr).agent, address(0));
    }

    function test_clears_a_route_and_its_key_whatever_key_is_given() public {
        vm.startPrank(alice.addr);
        table.setRoute(node.addr, key);
        vm.expectEmit(address(table));
        emit IRoutingTable.RouteSet(alice.addr, address(0), 2, noKey);
        table.setRoute(address(0), key);
        vm.stopPrank();

        assertRoute(address(0), 2, noKey);
        vm.expectRevert(abi.encodeWithSelector(IRoutingTable.NoRoute.selector, alice.addr));
        table.resolve(alice.addr);
    }

    function test_clears_a_route_by_signature() public {
        vm.prank(alice.addr);
        table.setRoute(node.addr, key);
        table.setRouteBySignature(
            alice.addr, address(0), noKey, VALID_UNTIL, routeSignature(alice, address(0), noKey, 1, VALID_UNTIL)
        );
        assertRoute(address(0), 2, noKey);
    }

    function test_moves_to_another_agent_and_counts_every_time() public {
        Vm.Wallet memory other = vm.createWallet("other node");
        register(other, relay);
        vm.startPrank(alice.addr);
        table.setRoute(node.addr, key);
        table.setRoute(other.addr, sealingKey(alice));
        assertRoute(other.addr, 2, sealingKey(alice));
        table.setRoute(other.addr, sealingKey(alice));
        assertRoute(other.addr, 3, sealingKey(alice));
    }

    /// @dev The caller looks at `retiredAt`.
    function test_resolves_to_a_retired_agent_and_says_so() public {
        vm.prank(alice.addr);
        table.setRoute(node.addr, key);
        warp(1 days);
        vm.prank(agent.addr);
        table.retire(node.addr);

        (IRoutingTable.Route memory route, IRoutingTable.Node memory entry) = table.resolve(alice.addr);
        assertEq(route.agent, node.addr);
        assertEq(entry.retiredAt, START + 1 days);
    }

    // ------------------------------------------------------------------------------------------------ helpers

    function expectInvalid(
        address agent_,
        IRoutingTable.SealingKey memory key_,
        uint64 validUntil,
        bytes memory signature_
    ) private {
        vm.expectRevert(abi.encodeWithSelector(IRoutingTable.InvalidSignature.selector, alice.addr));
        table.setRouteBySignature(alice.addr, agent_, key_, validUntil, signature_);
    }

    function assertRoute(address agent_, uint64 nonce, IRoutingTable.SealingKey memory key_) private view {
        IRoutingTable.Route memory route = table.route(alice.addr);
        assertEq(route.agent, agent_, "agent");
        assertEq(route.nonce, nonce, "nonce");
        assertKey(route.sealingKey, key_);
    }
}
