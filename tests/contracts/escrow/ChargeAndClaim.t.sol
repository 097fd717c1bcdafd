// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.35;

import {IPrepaymentEscrow} from "../../../contracts/src/interfaces/IPrepaymentEscrow.sol";
import {Signatures} from "../Signatures.sol";

/// @title Law 3 across vouchers and charges: one running total, whoever states it
contract ChargeAndClaimTest is Signatures {
    uint64 private constant UNTIL = START + 90 days;

    function setUp() public override {
        super.setUp();
        prepay(alice.addr, agent.addr, 10e6);
        setMandate(alice.addr, agent.addr, 1e6, 5e6, UNTIL);
        warp(4 days);
    }

    function test_refuses_a_charge_of_what_a_voucher_has_paid() public {
        claimOne(agent.addr, row(alice, agent.addr, 3e6));
        assertChargesNothing(agent.addr, chargeRow(alice.addr, agent, 3e6), NOTHING_NEW);
    }

    function test_refuses_a_voucher_over_what_a_charge_has_paid() public {
        chargeOne(agent.addr, chargeRow(alice.addr, agent, 3e6));
        assertClaimsNothing(agent.addr, row(alice, agent.addr, 3e6), NOTHING_NEW);
    }

    function test_a_charge_after_a_voucher_pays_the_difference_only() public {
        claimOne(agent.addr, row(alice, agent.addr, 3e6));
        (, uint96 paid) = chargeOne(agent.addr, chargeRow(alice.addr, agent, 5e6));
        assertEq(paid, 2e6);
        assertLane(alice.addr, agent.addr, 5e6, 5e6);
        assertChargeable(alice.addr, agent.addr, 2e6);
    }

    function test_a_voucher_after_a_charge_includes_it() public {
        chargeOne(agent.addr, chargeRow(alice.addr, agent, 3e6));
        (IPrepaymentEscrow.RowResult result, uint96 paid) = claimOne(agent.addr, row(alice, agent.addr, 7e6));
        assertResult(result, PAID);
        assertEq(paid, 4e6);
        assertLane(alice.addr, agent.addr, 3e6, 7e6);
    }

    /// @dev A voucher is the payer's own word, and no mandate's business.
    function test_a_voucher_leaves_the_mandate_as_it_was() public {
        claimOne(agent.addr, row(alice, agent.addr, 9e6));
        assertMandate(alice.addr, agent.addr, 1e6, 5e6, UNTIL, 0, START);
        assertChargeable(alice.addr, agent.addr, 4e6);
    }

    /// @dev A cut charge stays due, and a voucher over the same total pays its rest.
    function test_a_voucher_pays_the_rest_of_a_cut_charge() public {
        chargeOne(agent.addr, chargeRow(alice.addr, agent, 6e6));
        (, uint96 paid) = claimOne(agent.addr, row(alice, agent.addr, 6e6));
        assertEq(paid, 2e6);
        assertLane(alice.addr, agent.addr, 4e6, 6e6);
    }

    /// @dev Two payees, each with its own mandate, lane and total, out of one open balance.
    function test_two_payees_mandates_do_not_touch_each_other() public {
        setMandate(alice.addr, relay.addr, 1e6, 5e6, UNTIL);
        warp(1 days);
        prepayOpen(alice.addr, 2e6);
        chargeOne(agent.addr, chargeRow(alice.addr, agent, 5e6));
        (IPrepaymentEscrow.RowResult result, uint96 paid) = chargeOne(relay.addr, chargeRow(alice.addr, relay, 5e6));

        assertResult(result, PARTLY_PAID);
        assertEq(paid, 1e6);
        assertLane(alice.addr, agent.addr, 5e6, 5e6);
        assertLane(alice.addr, relay.addr, 0, 1e6);
        assertOpen(alice.addr, 1e6, 0);
        assertChargeable(alice.addr, agent.addr, 0);
        assertChargeable(alice.addr, relay.addr, 0);
    }

    /// @dev Each total in any order, by voucher or by charge: what is paid is what the highest of them is due, charges
    /// within what has accrued.
    function testFuzz_any_order_of_both_pays_one_running_total(uint96[6] memory totals, uint8 kinds) public {
        uint256 paid = 0;
        uint256 accrued = 4e6;
        for (uint256 i = 0; i < totals.length; ++i) {
            totals[i] = uint96(bound(totals[i], 0, 12e6));
            uint256 due = totals[i] > paid ? totals[i] - paid : 0;
            if (due > 10e6 - paid) due = 10e6 - paid;
            uint96 given;
            if ((kinds >> i) & 1 == 0) {
                (, given) = claimOne(agent.addr, row(alice, agent.addr, totals[i]));
            } else {
                if (due > accrued) due = accrued;
                accrued -= due;
                (, given) = chargeOne(agent.addr, chargeRow(alice.addr, agent, totals[i]));
            }
            assertEq(given, due);
            paid += due;
        }
        assertLane(alice.addr, agent.addr, u96(10e6 - paid), u96(paid));
        assertOpen(agent.addr, u96(paid), 0);
        assertChargeable(alice.addr, agent.addr, u96(accrued));
        assertEq(token.balanceOf(address(escrow)), 10e6);
    }
}
