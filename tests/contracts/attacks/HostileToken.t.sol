// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.35;

import {SafeERC20} from "@openzeppelin/contracts/token/ERC20/utils/SafeERC20.sol";

import {PrepaymentEscrow} from "../../../contracts/src/PrepaymentEscrow.sol";
import {SettlementToken} from "../../../contracts/src/SettlementToken.sol";
import {IPrepaymentEscrow} from "../../../contracts/src/interfaces/IPrepaymentEscrow.sol";
import {Signatures} from "../Signatures.sol";
import {HostileReserve} from "../mocks/HostileReserve.sol";

/// @title An escrow over a token that lies, stops or calls back: law 1 stands, and nobody is paid twice
/// @dev Of the reserve under the settlement token, see `token/SettlementToken.t.sol`.
contract HostileTokenTest is Signatures {
    HostileReserve private hostile;

    function setUp() public override {
        super.setUp();
        hostile = new HostileReserve(6);
        escrow = new PrepaymentEscrow(address(hostile));
        hostile.mint(alice.addr, 100e6);
        vm.startPrank(alice.addr);
        hostile.approve(address(escrow), type(uint256).max);
        escrow.deposit(alice.addr, agent.addr, 10e6);
        escrow.thaw(agent.addr, 10e6);
        vm.stopPrank();
        vm.warp(START + NOTICE);
    }

    function test_refuses_a_deposit_that_was_answered_false() public {
        hostile.answerFalse();
        vm.expectRevert(abi.encodeWithSelector(SafeERC20.SafeERC20FailedOperation.selector, hostile));
        deposit(5e6);
        assertBooks(10e6, 0);
    }

    function test_refuses_a_deposit_that_moved_nothing() public {
        hostile.moveNothing();
        vm.expectRevert(abi.encodeWithSelector(IPrepaymentEscrow.TransferMismatch.selector, 0, 5e6));
        deposit(5e6);
        assertBooks(10e6, 0);
    }

    function test_refuses_a_withdrawal_that_was_answered_false_and_keeps_the_notice() public {
        hostile.answerFalse();
        vm.expectRevert(abi.encodeWithSelector(SafeERC20.SafeERC20FailedOperation.selector, hostile));
        withdraw();
        assertBooks(10e6, 0);
        assertThaw(alice.addr, agent.addr, 10e6, START + NOTICE);
    }

    function test_a_pause_stops_deposits_and_withdrawals_and_no_claim() public {
        hostile.pause();
        vm.expectRevert(HostileReserve.Paused.selector);
        deposit(5e6);
        vm.expectRevert(HostileReserve.Paused.selector);
        withdraw();
        (, uint96 paid) = claimOne(agent.addr, row(alice, agent.addr, 4e6));
        assertEq(paid, 4e6);

        hostile.unpause();
        withdraw();
        assertBooks(0, 4e6);
        assertEq(hostile.balanceOf(alice.addr), 96e6);
    }

    /// @dev Better a loss to the one who leaves than nobody's way out.
    function test_a_fee_on_the_way_out_is_the_recipients_loss() public {
        hostile.takeOfRecipient(1);
        withdraw();
        assertBooks(0, 0);
        assertEq(hostile.balanceOf(alice.addr), 100e6 - 1);
    }

    function test_refuses_a_withdrawal_inside_a_withdrawal() public {
        hostile.mint(address(hostile), 10e6);
        hostile.approveAsSelf(address(hostile), address(escrow), 10e6);
        vm.startPrank(address(hostile));
        escrow.deposit(address(hostile), address(0), 10e6);
        escrow.thaw(address(0), 10e6);
        vm.stopPrank();
        warp(NOTICE);
        hostile.hook(address(escrow), abi.encodeCall(escrow.withdraw, (address(0), mallory.addr)));
        withdraw();
        assertFalse(hostile.hookSucceeded());
        assertEq(hostile.balanceOf(mallory.addr), 0);
        assertEq(hostile.balanceOf(address(escrow)), 10e6);
    }

    function test_refuses_a_deposit_inside_a_withdrawal() public {
        hostile.mint(address(hostile), 10e6);
        hostile.approveAsSelf(address(hostile), address(escrow), 10e6);
        hostile.hook(address(escrow), abi.encodeCall(escrow.deposit, (mallory.addr, address(0), 10e6)));
        withdraw();
        assertFalse(hostile.hookSucceeded());
        assertOpen(mallory.addr, 0, 0);
        assertBooks(0, 0);
    }

    /// @dev Claims are not guarded and need not be: inside a withdrawal the money has left its lane already, inside a
    /// deposit it is not there yet.
    function test_a_claim_inside_a_withdrawal_finds_what_has_not_left() public {
        vm.prank(alice.addr);
        escrow.thaw(agent.addr, 7e6);
        warp(NOTICE);
        hostile.hook(address(escrow), abi.encodeCall(escrow.claim, (agent.addr, row(alice, agent.addr, 10e6))));
        withdraw();
        assertTrue(hostile.hookSucceeded());
        assertBooks(0, 3e6);
        assertOpen(agent.addr, 3e6, 0);
    }

    function test_a_claim_and_a_charge_inside_a_deposit_find_what_was_there_before() public {
        setMandate(alice.addr, agent.addr, 1e6, 50e6, START + 90 days);
        warp(20 days);
        uint256 snapshot = vm.snapshotState();
        bytes[2] memory calls = [
            abi.encodeCall(escrow.claim, (agent.addr, row(alice, agent.addr, 15e6))),
            abi.encodeCall(escrow.charge, (agent.addr, chargeRow(alice.addr, agent, 15e6)))
        ];
        for (uint256 i = 0; i < 2; ++i) {
            hostile.hook(address(escrow), calls[i]);
            deposit(5e6);
            assertTrue(hostile.hookSucceeded());
            assertBooks(5e6, 10e6);
            assertOpen(agent.addr, 10e6, 0);
            assertEq(hostile.balanceOf(address(escrow)), 15e6);
            assertTrue(vm.revertToState(snapshot));
        }
    }

    function test_refuses_minting_inside_a_redemption_of_the_reserve() public {
        SettlementToken wrapped = new SettlementToken(hostile);
        vm.startPrank(alice.addr);
        hostile.approve(address(wrapped), type(uint256).max);
        wrapped.depositFor(alice.addr, 10e6);
        vm.stopPrank();
        hostile.mint(address(hostile), 10e6);
        hostile.approveAsSelf(address(hostile), address(wrapped), 10e6);
        hostile.hook(address(wrapped), abi.encodeCall(wrapped.depositFor, (mallory.addr, 10e6)));
        vm.prank(alice.addr);
        wrapped.withdrawTo(alice.addr, 4e6);
        assertFalse(hostile.hookSucceeded());
        assertEq(wrapped.totalSupply(), 6e6);
        assertEq(hostile.balanceOf(address(wrapped)), 6e6);
    }

    // ------------------------------------------------------------------------------------------------ helpers

    function deposit(uint96 amount) private {
        vm.prank(alice.addr);
        escrow.deposit(alice.addr, agent.addr, amount);
    }

    function withdraw() private {
        vm.prank(alice.addr);
        escrow.withdraw(agent.addr, alice.addr);
    }

    function assertBooks(uint96 laneDeposit, uint96 paid) private view {
        assertLane(alice.addr, agent.addr, laneDeposit, paid);
        assertGe(hostile.balanceOf(address(escrow)), uint256(laneDeposit) + paid, "law 1");
    }
}
