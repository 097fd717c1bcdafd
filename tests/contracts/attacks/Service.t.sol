// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.35;

import {Vm} from "forge-std/Vm.sol";

import {IPrepaymentEscrow} from "../../../contracts/src/interfaces/IPrepaymentEscrow.sol";
import {IRoutingTable} from "../../../contracts/src/interfaces/IRoutingTable.sol";
import {Signatures} from "../Signatures.sol";

/// @title What went wrong in such services elsewhere, as far as contracts can prevent it; and a service that changes
contract ServiceTest is Signatures {
    Vm.Wallet private node;

    function setUp() public override {
        super.setUp();
        node = vm.createWallet("node");
        register(node, agent); // 10 tokens of bond
    }

    // ------------------------------------------------------------------------------------------------- vouchers

    /// @dev Every second payer's deposit is not there yet; it comes, and the same rows pay the rest.
    function test_unconfirmed_deposits_revert_no_batch_and_burn_no_voucher() public {
        bytes memory rows;
        for (uint256 i = 0; i < 20; ++i) {
            Vm.Wallet memory payer = vm.createWallet(uint256(keccak256(abi.encode("customer", i))));
            if (i % 2 == 0) prepay(payer.addr, agent.addr, 1e6);
            rows = bytes.concat(rows, row(payer, agent.addr, 1e6));
        }
        (uint96 total, bytes memory results) = escrow.claim(agent.addr, rows);
        assertEq(total, 10e6);
        for (uint256 i = 0; i < 20; ++i) {
            assertEq(uint8(results[i]), uint8(i % 2 == 0 ? PAID : UNFUNDED));
            if (i % 2 == 1) {
                prepay(vm.createWallet(uint256(keccak256(abi.encode("customer", i)))).addr, agent.addr, 1e6);
            }
        }
        (total,) = escrow.claim(agent.addr, rows);
        assertEq(total, 10e6);
        assertOpen(agent.addr, 30e6, 0);
    }

    function test_a_voucher_against_an_empty_escrow_is_not_burned() public {
        bytes memory rows = row(alice, relay.addr, 3e6);
        assertClaimsNothing(relay.addr, rows, UNFUNDED);
        assertLane(alice.addr, relay.addr, 0, 0);
        prepay(alice.addr, relay.addr, 5e6);
        (IPrepaymentEscrow.RowResult result, uint96 paid) = claimOne(relay.addr, rows);
        assertResult(result, PAID);
        assertEq(paid, 3e6);
    }

    /// @dev A lane that is closing: what a served notice left there is still anybody's who claims first.
    function test_a_served_notice_does_not_close_a_lane() public {
        prepay(alice.addr, relay.addr, 5e6);
        vm.prank(alice.addr);
        escrow.thaw(relay.addr, 5e6);
        vm.warp(START + 10 * NOTICE);
        (, uint96 paid) = claimOne(relay.addr, row(alice, relay.addr, 2e6));
        assertEq(paid, 2e6);
        vm.prank(alice.addr);
        assertEq(escrow.withdraw(relay.addr, alice.addr), 3e6);
    }

    // ----------------------------------------------------------------------------------------------------- bond

    /// @dev The bond backs the operator's vouchers like any open balance, and thawing it shields it from none.
    function test_claims_go_first_while_a_bond_is_withdrawn() public {
        bytes memory rows = row(agent, relay.addr, 7e6);
        vm.prank(agent.addr);
        escrow.thaw(address(0), 10e6);
        assertOpen(agent.addr, 10e6, 10e6);
        vm.warp(START + NOTICE - 1);
        (, uint96 paid) = claimOne(relay.addr, rows);
        assertEq(paid, 7e6);
        assertOpen(agent.addr, 3e6, 3e6);

        vm.warp(START + NOTICE);
        vm.prank(agent.addr);
        assertEq(escrow.withdraw(address(0), agent.addr), 3e6);
        assertOpen(agent.addr, 0, 0);
        assertOpen(relay.addr, 7e6, 0);
        assertStillListed();
    }

    /// @dev The table looked once, when the node registered: who relies on the bond follows the escrow's notices.
    function test_after_the_bond_is_gone_the_table_says_what_it_said_and_vouchers_wait() public {
        bytes memory rows = row(agent, relay.addr, 7e6);
        vm.prank(agent.addr);
        escrow.thaw(address(0), 10e6);
        vm.warp(START + NOTICE);
        vm.prank(agent.addr);
        escrow.withdraw(address(0), agent.addr);
        assertClaimsNothing(relay.addr, rows, UNFUNDED);
        assertStillListed();

        // No second node without a bond; and what is earned later pays the voucher.
        bytes memory consent_ = consent(session, agent.addr, sealingKey(session), uint64(block.timestamp));
        vm.expectRevert(abi.encodeWithSelector(IRoutingTable.BondTooLow.selector, 0, 10e6));
        vm.prank(agent.addr);
        table.register(
            session.addr, sealingKey(session), "https://new.example", tariff(1, 2, 3), uint64(block.timestamp), consent_
        );
        prepay(alice.addr, agent.addr, 9e6);
        escrow.claim(agent.addr, row(alice, agent.addr, 9e6));
        (, uint96 paid) = claimOne(relay.addr, rows);
        assertEq(paid, 7e6);
    }

    // -------------------------------------------------------------------------------------------------- service

    /// @dev Who dislikes a new price has its money back the second it holds, if it thawed the second it was announced.
    function test_a_tariff_change_during_service_leaves_time_to_leave() public {
        prepay(alice.addr, agent.addr, 10e6);
        vm.prank(alice.addr);
        table.setRoute(node.addr, sealingKey(alice));
        vm.prank(agent.addr);
        table.announceTariff(node.addr, tariff(100, 200, 300));
        vm.prank(alice.addr);
        escrow.thaw(agent.addr, 10e6);

        vm.warp(START + NOTICE - 1);
        (, IRoutingTable.Node memory entry) = table.resolve(alice.addr);
        assertTariff(entry.tariff, tariff(1, 2, 3));
        assertEq(entry.nextFrom, START + NOTICE);
        vm.warp(START + NOTICE);
        (, entry) = table.resolve(alice.addr);
        assertTariff(entry.tariff, tariff(100, 200, 300));
        vm.prank(alice.addr);
        assertEq(escrow.withdraw(agent.addr, alice.addr), 10e6);
    }

    /// @dev Away and back again: the word that once set a route sets it no second time, nor one signed meanwhile.
    function test_an_old_route_is_not_brought_back_by_its_signature() public {
        Vm.Wallet memory other = vm.createWallet("other node");
        register(other, relay);
        IRoutingTable.SealingKey memory key = sealingKey(alice);
        bytes memory first = routeSignature(alice, node.addr, key, 0, START);
        bytes memory never = routeSignature(alice, node.addr, key, 1, START);
        table.setRouteBySignature(alice.addr, node.addr, key, START, first);
        vm.prank(alice.addr);
        table.setRoute(other.addr, key);
        bytes[2] memory words = [first, never];
        for (uint256 i = 0; i < 2; ++i) {
            vm.expectRevert(abi.encodeWithSelector(IRoutingTable.InvalidSignature.selector, alice.addr));
            table.setRouteBySignature(alice.addr, node.addr, key, START, words[i]);
        }
        assertEq(table.route(alice.addr).agent, other.addr);
        assertEq(table.route(alice.addr).nonce, 2);
    }

    function assertStillListed() private view {
        IRoutingTable.Node memory entry = table.node(node.addr);
        assertEq(entry.operator, agent.addr);
        assertEq(entry.retiredAt, 0);
        assertTariff(entry.tariff, tariff(1, 2, 3));
    }
}
