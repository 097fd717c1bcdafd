// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.35;

import {IPrepaymentEscrow} from "../../../contracts/src/interfaces/IPrepaymentEscrow.sol";
import {Signatures} from "../Signatures.sol";

/// @title In one transaction an agent claims its customers' vouchers and pays its relays out of the fresh credit
contract SettleTest is Signatures {
    function setUp() public override {
        super.setUp();
        prepay(alice.addr, agent.addr, 10e6);
        prepay(carol.addr, agent.addr, 5e6);
    }

    // ----------------------------------------------------------------------------------------------- refusals

    function test_refuses_no_batch() public {
        vm.expectRevert(IPrepaymentEscrow.NoBatch.selector);
        escrow.settle(new IPrepaymentEscrow.Batch[](0));
    }

    /// @dev As a whole: what came before it is undone.
    function test_refuses_payee_zero_and_malformed_rows_in_any_batch() public {
        bytes memory customers = row(alice, agent.addr, 4e6);
        IPrepaymentEscrow.Batch[] memory batches = two(agent.addr, customers, address(0), customers);
        vm.expectRevert(abi.encodeWithSelector(IPrepaymentEscrow.BadPayee.selector, address(0)));
        escrow.settle(batches);
        batches = two(agent.addr, customers, relay.addr, new bytes(95));
        vm.expectRevert(abi.encodeWithSelector(IPrepaymentEscrow.MalformedRows.selector, 95));
        escrow.settle(batches);
        batches = two(agent.addr, customers, relay.addr, "");
        vm.expectRevert(abi.encodeWithSelector(IPrepaymentEscrow.MalformedRows.selector, 0));
        escrow.settle(batches);
        assertLane(alice.addr, agent.addr, 10e6, 0);
        assertOpen(agent.addr, 0, 0);
    }

    /// @dev A row belongs to its batch's payee, whatever else is in the transaction.
    function test_refuses_rows_of_another_batches_payee() public {
        IPrepaymentEscrow.Batch[] memory batches =
            two(relay.addr, row(alice, agent.addr, 4e6), agent.addr, row(agent, relay.addr, 4e6));
        vm.recordLogs();
        (uint96[] memory totals, bytes[] memory results) = escrow.settle(batches);
        assertEq(totals[0], 0);
        assertEq(totals[1], 0);
        assertEq(results[0], hex"04");
        assertEq(results[1], hex"05");
        assertEq(vm.getRecordedLogs().length, 0);
        assertLane(alice.addr, agent.addr, 10e6, 0);
    }

    /// @dev The relay first, and there is nothing yet to pay it from.
    function test_the_order_of_batches_matters() public {
        bytes memory customers = row(alice, agent.addr, 4e6);
        bytes memory relays = row(agent, relay.addr, 3e6);
        (uint96[] memory totals, bytes[] memory results) = escrow.settle(two(relay.addr, relays, agent.addr, customers));
        assertEq(totals[0], 0);
        assertEq(results[0], hex"03");
        assertEq(totals[1], 4e6);
        assertEq(results[1], hex"00");
        assertOpen(agent.addr, 4e6, 0);
        assertOpen(relay.addr, 0, 0);
    }

    // ---------------------------------------------------------------------------------------------- successes

    function test_pays_the_relays_out_of_what_the_customers_paid() public {
        bytes memory customers = bytes.concat(row(alice, agent.addr, 4e6), row(carol, agent.addr, 2e6));
        IPrepaymentEscrow.Batch[] memory batches = two(agent.addr, customers, relay.addr, row(agent, relay.addr, 5e6));

        vm.expectEmit(address(escrow));
        emit IPrepaymentEscrow.Claimed(
            agent.addr, 6e6, bytes.concat(payment(alice.addr, 4e6), payment(carol.addr, 2e6))
        );
        vm.expectEmit(address(escrow));
        emit IPrepaymentEscrow.Claimed(relay.addr, 5e6, payment(agent.addr, 5e6));
        vm.prank(mallory.addr);
        (uint96[] memory totals, bytes[] memory results) = escrow.settle(batches);

        assertEq(totals.length, 2);
        assertEq(totals[0], 6e6);
        assertEq(totals[1], 5e6);
        assertEq(results.length, 2);
        assertEq(results[0], hex"0000");
        assertEq(results[1], hex"00");
        assertLane(alice.addr, agent.addr, 6e6, 4e6);
        assertLane(carol.addr, agent.addr, 3e6, 2e6);
        assertLane(agent.addr, relay.addr, 0, 5e6);
        assertOpen(agent.addr, 1e6, 0);
        assertOpen(relay.addr, 5e6, 0);
        assertEq(token.balanceOf(address(escrow)), 15e6);
    }

    function test_bad_rows_of_one_batch_stop_no_row_of_another() public {
        bytes memory customers = bytes.concat(row(mallory, alice.addr, agent.addr, 4e6), row(carol, agent.addr, 2e6));
        bytes memory relays = bytes.concat(new bytes(96), row(agent, relay.addr, 5e6));
        (uint96[] memory totals, bytes[] memory results) = escrow.settle(two(agent.addr, customers, relay.addr, relays));
        assertEq(results[0], hex"0400");
        assertEq(results[1], hex"0501");
        assertEq(totals[0], 2e6);
        assertEq(totals[1], 2e6);
        assertOpen(agent.addr, 0, 0);
        assertOpen(relay.addr, 2e6, 0);
    }

    function test_one_batch_twice_pays_once() public {
        bytes memory customers = row(alice, agent.addr, 4e6);
        (uint96[] memory totals, bytes[] memory results) =
            escrow.settle(two(agent.addr, customers, agent.addr, customers));
        assertEq(totals[0], 4e6);
        assertEq(totals[1], 0);
        assertEq(results[1], hex"02");
        assertOpen(agent.addr, 4e6, 0);
    }

    /// @dev It is `claim` after `claim`: results, events, lanes and balances.
    function testFuzz_does_what_separate_claims_do(uint96[4] memory totals_, uint8 order) public {
        for (uint256 i = 0; i < 4; ++i) {
            totals_[i] = uint96(bound(totals_[i], 0, 16e6));
        }
        bytes memory customers = bytes.concat(row(alice, agent.addr, totals_[0]), row(carol, agent.addr, totals_[1]));
        bytes memory relays = bytes.concat(row(agent, relay.addr, totals_[2]), row(agent, relay.addr, totals_[3]));
        IPrepaymentEscrow.Batch[] memory batches = order % 2 == 0
            ? two(agent.addr, customers, relay.addr, relays)
            : two(relay.addr, relays, agent.addr, customers);

        uint256 snapshot = vm.snapshotState();
        (uint96[] memory totals, bytes[] memory results) = escrow.settle(batches);
        bytes memory after_ = everything();
        assertTrue(vm.revertToState(snapshot));

        for (uint256 i = 0; i < 2; ++i) {
            (uint96 total, bytes memory result) = escrow.claim(batches[i].payee, batches[i].rows);
            assertEq(total, totals[i], "total");
            assertEq(result, results[i], "results");
        }
        assertEq(everything(), after_, "numbers");
    }

    // ------------------------------------------------------------------------------------------------ helpers

    function everything() private view returns (bytes memory) {
        return
            bytes.concat(
                numbers(alice.addr, agent.addr), numbers(carol.addr, agent.addr), numbers(agent.addr, relay.addr)
            );
    }

    function two(address payee, bytes memory rows, address payee2, bytes memory rows2)
        private
        pure
        returns (IPrepaymentEscrow.Batch[] memory batches)
    {
        batches = new IPrepaymentEscrow.Batch[](2);
        batches[0] = IPrepaymentEscrow.Batch({payee: payee, rows: rows});
        batches[1] = IPrepaymentEscrow.Batch({payee: payee2, rows: rows2});
    }
}
