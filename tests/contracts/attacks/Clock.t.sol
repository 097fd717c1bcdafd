// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.35;

import {Vm} from "forge-std/Vm.sol";

import {IPrepaymentEscrow} from "../../../contracts/src/interfaces/IPrepaymentEscrow.sol";
import {IRoutingTable} from "../../../contracts/src/interfaces/IRoutingTable.sol";
import {Signatures} from "../Signatures.sol";

/// @title Chains whose clock stands where nobody looked: younger than a notice, and past 32 bits
contract ClockTest is Signatures {
    uint64 private constant LATE = 2 ** 32 + 12_345; // in the year 2106

    /// @dev Never revoked is not revoked at zero.
    function test_on_a_chain_younger_than_a_notice_nobody_is_a_delegate_by_default() public {
        vm.warp(1 days);
        prepay(alice.addr, agent.addr, 10e6);
        assertFalse(escrow.isSigner(alice.addr, session.addr));
        bytes memory rows = row(session, alice.addr, agent.addr, 1e6);
        (IPrepaymentEscrow.RowResult result,) = claimOne(agent.addr, rows);
        assertResult(result, BAD_SIGNATURE);
    }

    /// @dev What has passed is more than the whole age of the chain when the mandate began.
    function test_accrues_for_longer_than_the_chain_was_old() public {
        vm.warp(100);
        setMandate(alice.addr, agent.addr, 86_400, type(uint96).max, type(uint64).max);
        vm.warp(100 + 1_000_037);
        (, uint96 chargeable) = escrow.mandate(alice.addr, agent.addr);
        assertEq(chargeable, 1_000_037);
    }

    /// @dev More than 64 bits of base units times seconds per day are left after a charge.
    function test_a_large_mandate_keeps_what_a_charge_leaves() public {
        uint96 much = 10 ** 27; // base units a day
        prepay(alice.addr, agent.addr, much);
        setMandate(alice.addr, agent.addr, much, much, type(uint64).max);
        warp(1 days);
        (IPrepaymentEscrow.RowResult result, uint96 paid) = chargeOne(agent.addr, chargeRow(alice.addr, agent, 1));
        assertResult(result, PAID);
        assertEq(paid, 1);
        (, uint96 chargeable) = escrow.mandate(alice.addr, agent.addr);
        assertEq(chargeable, much - 1);
    }

    function test_the_table_keeps_times_past_32_bits() public {
        vm.warp(LATE);
        Vm.Wallet memory node = vm.createWallet("node");
        prepayOpen(agent.addr, table.MINIMUM_BOND());
        IRoutingTable.SealingKey memory key = sealingKey(node);
        bytes memory consent_ = consent(node, agent.addr, key, LATE);
        vm.expectEmit();
        emit IRoutingTable.TariffAnnounced(node.addr, 1, tariff(1, 2, 3), LATE);
        vm.prank(agent.addr);
        table.register(node.addr, key, "https://node.example", tariff(1, 2, 3), LATE, consent_);
        assertEq(table.node(node.addr).registeredAt, LATE);

        vm.expectEmit();
        emit IRoutingTable.TariffAnnounced(node.addr, 2, tariff(4, 5, 6), LATE + NOTICE);
        vm.startPrank(agent.addr);
        table.announceTariff(node.addr, tariff(4, 5, 6));
        assertEq(table.node(node.addr).nextFrom, LATE + NOTICE);
        table.retire(node.addr);
        vm.stopPrank();
        assertEq(table.node(node.addr).retiredAt, LATE);
    }

    function test_the_escrow_keeps_times_past_32_bits() public {
        vm.warp(LATE);
        prepay(alice.addr, agent.addr, 10e6);
        setMandate(alice.addr, agent.addr, 86_400, 10e6, type(uint64).max);
        vm.startPrank(alice.addr);
        escrow.thaw(agent.addr, 1e6);
        assertThaw(alice.addr, agent.addr, 1e6, LATE + NOTICE);
        escrow.authorize(session.addr);
        warp(10);
        escrow.revoke(session.addr);
        vm.stopPrank();
        IPrepaymentEscrow.Delegate memory delegate = escrow.delegate(alice.addr, session.addr);
        assertEq(delegate.authorizedAt, LATE);
        assertEq(delegate.revokedAt, LATE + 10);

        (, uint96 paid) = chargeOne(agent.addr, chargeRow(alice.addr, agent, 4));
        assertEq(paid, 4);
        (IPrepaymentEscrow.Mandate memory mandate, uint96 chargeable) = escrow.mandate(alice.addr, agent.addr);
        assertEq(mandate.accruedAt, LATE + 10);
        assertEq(chargeable, 6);
        revokeMandate(alice.addr, agent.addr);
        (mandate,) = escrow.mandate(alice.addr, agent.addr);
        assertEq(mandate.validUntil, LATE + 10 + NOTICE);
    }
}
