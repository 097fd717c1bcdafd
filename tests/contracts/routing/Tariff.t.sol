// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.35;

import {Vm} from "forge-std/Vm.sol";

import {IRoutingTable} from "../../../contracts/src/interfaces/IRoutingTable.sol";
import {World} from "../World.sol";

/// @title A price is announced a notice before it holds
contract TariffTest is World {
    Vm.Wallet private node;

    function setUp() public override {
        super.setUp();
        node = vm.createWallet("node");
        register(node, agent);
    }

    // ----------------------------------------------------------------------------------------------- refusals

    function test_refuses_anyone_but_the_operator() public {
        expectNotOperator(mallory.addr);
        table.announceTariff(node.addr, tariff(4, 5, 6));
        // The node itself has consented; it does not set prices.
        expectNotOperator(node.addr);
        table.announceTariff(node.addr, tariff(4, 5, 6));
    }

    function test_refuses_unregistered_and_retired_nodes() public {
        vm.startPrank(agent.addr);
        vm.expectRevert(abi.encodeWithSelector(IRoutingTable.NotRegistered.selector, mallory.addr));
        table.announceTariff(mallory.addr, tariff(4, 5, 6));
        table.retire(node.addr);
        vm.expectRevert(abi.encodeWithSelector(IRoutingTable.AlreadyRetired.selector, node.addr));
        table.announceTariff(node.addr, tariff(4, 5, 6));
    }

    function test_refuses_tariff_above_the_limit() public {
        vm.startPrank(agent.addr);
        vm.expectRevert(abi.encodeWithSelector(IRoutingTable.TariffAboveLimit.selector, 1e12 + 1, 1e12));
        table.announceTariff(node.addr, tariff(1e12 + 1, 0, 0));
        vm.expectRevert(abi.encodeWithSelector(IRoutingTable.TariffAboveLimit.selector, 1e12 + 2, 1e12));
        table.announceTariff(node.addr, tariff(0, 1e12 + 2, 0));
        vm.expectRevert(abi.encodeWithSelector(IRoutingTable.TariffAboveLimit.selector, 1e12 + 3, 1e12));
        table.announceTariff(node.addr, tariff(0, 0, 1e12 + 3));
    }

    // ---------------------------------------------------------------------------------------------- successes

    function test_announces_without_changing_the_price() public {
        vm.expectEmit(address(table));
        emit IRoutingTable.TariffAnnounced(node.addr, 2, tariff(4, 5, 6), START + NOTICE);
        announce(tariff(4, 5, 6));

        assertSchedule(tariff(1, 2, 3), 1, tariff(4, 5, 6), START + NOTICE);
        vm.warp(START + NOTICE - 1);
        assertSchedule(tariff(1, 2, 3), 1, tariff(4, 5, 6), START + NOTICE);
    }

    function test_the_price_changes_at_the_exact_second() public {
        announce(tariff(4, 5, 6));
        vm.warp(START + NOTICE);
        assertSchedule(tariff(4, 5, 6), 2, tariff(0, 0, 0), 0);
    }

    function test_replaces_what_was_announced_and_starts_the_notice_anew() public {
        announce(tariff(4, 5, 6));
        vm.warp(START + NOTICE - 1);
        vm.expectEmit(address(table));
        emit IRoutingTable.TariffAnnounced(node.addr, 2, tariff(7, 8, 9), START + 2 * NOTICE - 1);
        announce(tariff(7, 8, 9));

        vm.warp(START + NOTICE);
        assertSchedule(tariff(1, 2, 3), 1, tariff(7, 8, 9), START + 2 * NOTICE - 1);
        vm.warp(START + 2 * NOTICE - 1);
        assertSchedule(tariff(7, 8, 9), 2, tariff(0, 0, 0), 0);
    }

    function test_rolls_what_took_effect_before_the_next() public {
        announce(tariff(4, 5, 6));
        vm.warp(START + NOTICE);
        vm.expectEmit(address(table));
        emit IRoutingTable.TariffAnnounced(node.addr, 3, tariff(7, 8, 9), START + 2 * NOTICE);
        announce(tariff(7, 8, 9));

        assertSchedule(tariff(4, 5, 6), 2, tariff(7, 8, 9), START + 2 * NOTICE);
        vm.warp(START + 2 * NOTICE);
        assertSchedule(tariff(7, 8, 9), 3, tariff(0, 0, 0), 0);
    }

    function test_a_change_announced_before_retirement_still_shows() public {
        announce(tariff(4, 5, 6));
        vm.prank(agent.addr);
        table.retire(node.addr);
        vm.warp(START + NOTICE);
        assertSchedule(tariff(4, 5, 6), 2, tariff(0, 0, 0), 0);
    }

    /// @dev No sequence of announcements brings a price into force sooner than a notice after it was announced.
    function testFuzz_no_price_holds_before_its_notice(uint32[8] memory waits) public {
        uint64 inForce = 1;
        uint64 pending = 0;
        uint256 from = 0;
        uint32 version = 1;
        for (uint64 i = 0; i < waits.length; ++i) {
            warp(bound(waits[i], 0, 10 days));
            if (from != 0 && block.timestamp >= from) (inForce, pending, from, version) = (pending, 0, 0, version + 1);
            IRoutingTable.Node memory entry = table.node(node.addr);
            assertEq(entry.tariff.delivery, inForce);
            assertEq(entry.tariffVersion, version);
            assertEq(entry.next.delivery, pending);
            assertEq(entry.nextFrom, from);

            (pending, from) = (100 + i, block.timestamp + NOTICE);
            announce(tariff(pending, 0, 0));
        }
    }

    // ------------------------------------------------------------------------------------------------ helpers

    function announce(IRoutingTable.Tariff memory next) private {
        vm.prank(agent.addr);
        table.announceTariff(node.addr, next);
    }

    function expectNotOperator(address caller) private {
        vm.expectRevert(abi.encodeWithSelector(IRoutingTable.NotOperator.selector, caller, agent.addr));
        vm.prank(caller);
    }

    /// @dev The same in all three views.
    function assertSchedule(
        IRoutingTable.Tariff memory now_,
        uint32 version,
        IRoutingTable.Tariff memory next,
        uint64 nextFrom
    ) private {
        (, IRoutingTable.Node[] memory page) = table.nodes(0, 1);
        assertEq(abi.encode(page[0]), abi.encode(table.node(node.addr)), "page");
        assertTariff(page[0].tariff, now_);
        assertEq(page[0].tariffVersion, version, "version");
        assertTariff(page[0].next, next);
        assertEq(page[0].nextFrom, nextFrom, "from");

        if (page[0].retiredAt != 0) return;
        vm.prank(alice.addr);
        table.setRoute(node.addr, sealingKey(alice));
        (, IRoutingTable.Node memory resolved) = table.resolve(alice.addr);
        assertEq(abi.encode(resolved), abi.encode(page[0]), "resolved");
    }
}
