// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.35;

import {IPrepaymentEscrow} from "../../../contracts/src/interfaces/IPrepaymentEscrow.sol";
import {Signatures} from "../Signatures.sol";

/// @title What a mandate accrues, to the base unit and the second (law 11)
/// @dev chargeable(t) = min(accrued + (t - accruedAt) * dailyCap, accrualCap * 86,400) / 86,400, rounded down once.
contract AccrualTest is Signatures {
    uint64 private constant UNTIL = START + 10_000 days;

    function test_accrues_by_the_second_and_rounds_down() public {
        set(86_400, 1e6);
        for (uint96 second = 0; second < 5; ++second) {
            vm.warp(START + second);
            assertChargeable(alice.addr, agent.addr, second);
        }

        setMandate(carol.addr, agent.addr, 1, 5, UNTIL);
        uint256 start = block.timestamp;
        vm.warp(start + 1 days - 1);
        assertChargeable(carol.addr, agent.addr, 0);
        vm.warp(start + 1 days);
        assertChargeable(carol.addr, agent.addr, 1);
        vm.warp(start + 2 days - 1);
        assertChargeable(carol.addr, agent.addr, 1);
    }

    function test_stops_at_the_accrual_cap() public {
        set(1e6, 5e6);
        vm.warp(START + 5 days - 1);
        assertChargeable(alice.addr, agent.addr, 5e6 - 12); // 1e6 / 86,400 = 11.57
        vm.warp(START + 5 days);
        assertChargeable(alice.addr, agent.addr, 5e6);
        vm.warp(START + 5 days + 1);
        assertChargeable(alice.addr, agent.addr, 5e6);
        vm.warp(UNTIL);
        assertChargeable(alice.addr, agent.addr, 5e6);
    }

    function test_ends_the_second_after_valid_until() public {
        setMandate(alice.addr, agent.addr, 1e6, 50e6, START + 3 days);
        vm.warp(START + 3 days);
        assertChargeable(alice.addr, agent.addr, 3e6);
        vm.warp(START + 3 days + 1);
        assertChargeable(alice.addr, agent.addr, 0);
        assertMandate(alice.addr, agent.addr, 1e6, 50e6, START + 3 days, 0, START);
    }

    function test_the_greatest_mandate_for_the_longest_time_overflows_nothing() public {
        setMandate(alice.addr, agent.addr, type(uint96).max, type(uint96).max, type(uint64).max);
        vm.warp(START + 1 days - 1);
        assertChargeable(alice.addr, agent.addr, u96(uint256(type(uint96).max) * (1 days - 1) / 1 days));
        vm.warp(type(uint64).max - NOTICE);
        assertChargeable(alice.addr, agent.addr, type(uint96).max);
        prepay(alice.addr, agent.addr, type(uint96).max);
        (IPrepaymentEscrow.RowResult result, uint96 paid) =
            chargeOne(agent.addr, chargeRow(alice.addr, agent, type(uint96).max));
        assertResult(result, PAID);
        assertEq(paid, type(uint96).max);
        assertMandate(
            alice.addr, agent.addr, type(uint96).max, type(uint96).max, type(uint64).max, 0, type(uint64).max - NOTICE
        );
    }

    /// @dev A charge takes whole units and leaves the fraction where it was.
    function test_a_charge_leaves_the_fraction_of_a_unit() public {
        prepay(alice.addr, agent.addr, 10e6);
        set(1e6, 5e6);
        warp(1);
        chargeOne(agent.addr, chargeRow(alice.addr, agent, 10e6));
        assertMandate(alice.addr, agent.addr, 1e6, 5e6, UNTIL, 1e6 - 11 * 86_400, START + 1);
        assertLane(alice.addr, agent.addr, 10e6 - 11, 11);
    }

    /// @dev What is charged makes room under the cap, from that second on.
    function test_a_charge_makes_room_under_the_cap() public {
        prepay(alice.addr, agent.addr, 10e6);
        set(1e6, 2e6);
        warp(10 days);
        chargeOne(agent.addr, chargeRow(alice.addr, agent, 1.5e6));
        assertChargeable(alice.addr, agent.addr, 0.5e6);
        warp(1 days);
        assertChargeable(alice.addr, agent.addr, 1.5e6);
        warp(1 days);
        assertChargeable(alice.addr, agent.addr, 2e6);
    }

    /// @dev However many charges the time is cut into, they sum to what one at the end would have paid.
    function testFuzz_many_small_charges_pay_what_one_would(uint96 dailyCap, uint32[24] memory waits) public {
        dailyCap = uint96(bound(dailyCap, 1, 1e12));
        prepay(alice.addr, agent.addr, type(uint96).max / 2);
        set(dailyCap, type(uint96).max);
        bytes memory everything = chargeRow(alice.addr, agent, type(uint96).max / 2);
        uint256 sum = 0;

        for (uint256 i = 0; i < waits.length; ++i) {
            warp(bound(waits[i], 0, i % 3 == 0 ? 3 : 2 days));
            (, uint96 paid) = chargeOne(agent.addr, everything);
            sum += paid;
            assertEq(sum, (block.timestamp - START) * dailyCap / 1 days, "to the unit");
        }
        assertOpen(agent.addr, u96(sum), 0);
    }

    /// @dev With the cap in force and charges of any size, against the formula in the title.
    function testFuzz_accrues_as_the_formula_says(
        uint96 dailyCap,
        uint96 accrualCap,
        uint32[12] memory waits,
        uint96[12] memory wants
    ) public {
        (dailyCap, accrualCap) = (uint96(bound(dailyCap, 1, 1e12)), uint96(bound(accrualCap, 1, 1e13)));
        prepay(alice.addr, agent.addr, type(uint96).max / 2);
        set(dailyCap, accrualCap);
        uint256 accrued = 0;
        uint256 total = 0;

        for (uint256 i = 0; i < waits.length; ++i) {
            uint256 wait = bound(waits[i], 0, 30 days);
            warp(wait);
            accrued = min(accrued + wait * dailyCap, uint256(accrualCap) * 1 days);
            assertChargeable(alice.addr, agent.addr, u96(accrued / 1 days));

            uint256 wanted = bound(wants[i], 1, 2e12);
            uint256 expected = min(wanted, accrued / 1 days);
            (IPrepaymentEscrow.RowResult result, uint96 paid) =
                chargeOne(agent.addr, chargeRow(alice.addr, agent, u96(total + wanted)));
            assertEq(paid, expected);
            assertResult(result, paid == 0 ? NOTHING_ACCRUED : paid == wanted ? PAID : PARTLY_PAID);
            accrued -= expected * 1 days;
            total += expected;
        }
        assertLane(alice.addr, agent.addr, u96(type(uint96).max / 2 - total), u96(total));
    }

    /// @dev Never more than the daily cap over the time, nor than a full cap and the daily cap in any window.
    function testFuzz_no_window_pays_more_than_a_cap_and_its_days(uint32 idle, uint32 window) public {
        prepay(alice.addr, agent.addr, type(uint96).max / 2);
        set(7e6, 20e6);
        warp(bound(idle, 0, 100 days));
        uint256 length = bound(window, 0, 30 days);
        bytes memory everything = chargeRow(alice.addr, agent, type(uint96).max / 2);
        uint256 sum = 0;
        for (uint256 i = 0; i < 10; ++i) {
            (, uint96 paid) = chargeOne(agent.addr, everything);
            sum += paid;
            warp(length / 10);
        }
        assertLe(sum, 20e6 + length * 7e6 / 1 days);
        assertLe(sum, (block.timestamp - START) * 7e6 / 1 days);
    }

    // ------------------------------------------------------------------------------------------------ helpers

    function set(uint96 dailyCap, uint96 accrualCap) private {
        setMandate(alice.addr, agent.addr, dailyCap, accrualCap, UNTIL);
    }
}
