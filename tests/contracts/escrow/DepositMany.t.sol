// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.35;

import {IERC20} from "@openzeppelin/contracts/token/ERC20/IERC20.sol";
import {IERC20Errors} from "@openzeppelin/contracts/interfaces/draft-IERC6093.sol";

import {PrepaymentEscrow} from "../../../contracts/src/PrepaymentEscrow.sol";
import {IPrepaymentEscrow} from "../../../contracts/src/interfaces/IPrepaymentEscrow.sol";
import {Signatures} from "../Signatures.sol";
import {HostileReserve} from "../mocks/HostileReserve.sol";

/// @title Law 1 of several deposits: one transfer, all or none
contract DepositManyTest is Signatures {
    function setUp() public override {
        super.setUp();
        fund(alice.addr, 100e6);
    }

    // ----------------------------------------------------------------------------------------------- refusals

    function test_refuses_no_deposits() public {
        vm.expectRevert(IPrepaymentEscrow.ZeroAmount.selector);
        escrow.depositMany(new IPrepaymentEscrow.Deposit[](0));
    }

    function test_refuses_all_for_one_of_zero() public {
        expectRefusal(abi.encodeWithSelector(IPrepaymentEscrow.ZeroAmount.selector));
        escrow.depositMany(two(alice.addr, agent.addr, 1e6, carol.addr, agent.addr, 0));
        assertNothingMoved();
    }

    function test_refuses_all_for_one_bad_lane() public {
        expectRefusal(abi.encodeWithSelector(IPrepaymentEscrow.BadLane.selector, address(0), agent.addr));
        escrow.depositMany(two(alice.addr, agent.addr, 1e6, address(0), agent.addr, 1e6));
        expectRefusal(abi.encodeWithSelector(IPrepaymentEscrow.BadLane.selector, carol.addr, carol.addr));
        escrow.depositMany(two(alice.addr, agent.addr, 1e6, carol.addr, carol.addr, 1e6));
        assertNothingMoved();
    }

    function test_refuses_all_when_the_sum_is_not_there() public {
        expectRefusal(
            abi.encodeWithSelector(IERC20Errors.ERC20InsufficientBalance.selector, alice.addr, 100e6, 100e6 + 1)
        );
        escrow.depositMany(two(alice.addr, agent.addr, 100e6, carol.addr, agent.addr, 1));
        assertNothingMoved();
    }

    /// @dev Two amounts that wrap 96 bits between them; the sum is taken in 256.
    function test_refuses_a_sum_beyond_96_bits() public {
        uint96 half = type(uint96).max / 2 + 1;
        fund(carol.addr, uint256(half) * 2);
        vm.expectRevert(
            abi.encodeWithSelector(IPrepaymentEscrow.EscrowFull.selector, uint256(half) * 2, type(uint96).max)
        );
        vm.prank(carol.addr);
        escrow.depositMany(two(carol.addr, agent.addr, half, carol.addr, relay.addr, half));
    }

    function test_refuses_a_token_that_takes_a_fee() public {
        HostileReserve hostile = new HostileReserve(6);
        PrepaymentEscrow escrow_ = new PrepaymentEscrow(address(hostile));
        hostile.mint(alice.addr, 10e6);
        hostile.takeOfRecipient(1);
        vm.startPrank(alice.addr);
        hostile.approve(address(escrow_), 10e6);
        vm.expectRevert(abi.encodeWithSelector(IPrepaymentEscrow.TransferMismatch.selector, 3e6 - 1, 3e6));
        escrow_.depositMany(two(alice.addr, agent.addr, 1e6, carol.addr, agent.addr, 2e6));
    }

    function test_refuses_deposits_inside_deposits() public {
        HostileReserve hostile = new HostileReserve(6);
        PrepaymentEscrow escrow_ = new PrepaymentEscrow(address(hostile));
        hostile.mint(alice.addr, 10e6);
        hostile.mint(address(hostile), 10e6);
        hostile.approveAsSelf(address(hostile), address(escrow_), 10e6);
        IPrepaymentEscrow.Deposit[] memory parts = two(alice.addr, agent.addr, 1e6, carol.addr, agent.addr, 2e6);
        hostile.hook(address(escrow_), abi.encodeCall(escrow_.depositMany, (parts)));
        vm.startPrank(alice.addr);
        hostile.approve(address(escrow_), 10e6);
        escrow_.depositMany(parts);
        assertFalse(hostile.hookSucceeded());
        assertEq(hostile.balanceOf(address(escrow_)), 3e6);
    }

    // ---------------------------------------------------------------------------------------------- successes

    function test_fills_each_lane_with_one_transfer() public {
        IPrepaymentEscrow.Deposit[] memory parts = two(alice.addr, agent.addr, 1e6, carol.addr, address(0), 2e6);
        vm.expectEmit(address(token));
        emit IERC20.Transfer(alice.addr, address(escrow), 3e6);
        vm.expectEmit(address(escrow));
        emit IPrepaymentEscrow.Deposited(alice.addr, agent.addr, alice.addr, 1e6);
        vm.expectEmit(address(escrow));
        emit IPrepaymentEscrow.Deposited(carol.addr, address(0), alice.addr, 2e6);
        vm.recordLogs();
        vm.prank(alice.addr);
        escrow.depositMany(parts);

        assertEq(vm.getRecordedLogs().length, 3);
        assertLane(alice.addr, agent.addr, 1e6, 0);
        assertOpen(carol.addr, 2e6, 0);
        assertEq(token.balanceOf(alice.addr), 97e6);
        assertEq(token.balanceOf(address(escrow)), 3e6);
        assertEq(escrow.nonces(alice.addr), 0);
    }

    function test_the_same_lane_twice_holds_both_and_a_notice_stands() public {
        prepay(alice.addr, agent.addr, 5e6);
        vm.startPrank(alice.addr);
        escrow.thaw(agent.addr, 5e6);
        escrow.depositMany(two(alice.addr, agent.addr, 1e6, alice.addr, agent.addr, 2e6));
        assertLane(alice.addr, agent.addr, 8e6, 0);
        assertThaw(alice.addr, agent.addr, 5e6, START + NOTICE);
    }

    function testFuzz_lanes_hold_what_the_caller_gave(uint96[8] memory amounts) public {
        IPrepaymentEscrow.Deposit[] memory parts = new IPrepaymentEscrow.Deposit[](8);
        uint256 sum = 0;
        for (uint160 i = 0; i < 8; ++i) {
            amounts[i] = uint96(bound(amounts[i], 1, type(uint96).max / 8));
            sum += amounts[i];
            parts[i] = IPrepaymentEscrow.Deposit(address(i + 1), agent.addr, amounts[i]);
        }
        fund(carol.addr, sum);
        vm.prank(carol.addr);
        escrow.depositMany(parts);
        for (uint160 i = 0; i < 8; ++i) {
            assertLane(address(i + 1), agent.addr, amounts[i], 0);
        }
        assertEq(token.balanceOf(address(escrow)), sum);
        assertEq(token.balanceOf(carol.addr), 0);
    }

    // ------------------------------------------------------------------------------------------------ helpers

    function two(address payer, address payee, uint96 amount, address payer2, address payee2, uint96 amount2)
        private
        pure
        returns (IPrepaymentEscrow.Deposit[] memory parts)
    {
        parts = new IPrepaymentEscrow.Deposit[](2);
        parts[0] = IPrepaymentEscrow.Deposit({payer: payer, payee: payee, amount: amount});
        parts[1] = IPrepaymentEscrow.Deposit({payer: payer2, payee: payee2, amount: amount2});
    }

    function expectRefusal(bytes memory refusal) private {
        vm.expectRevert(refusal);
        vm.prank(alice.addr);
    }

    function assertNothingMoved() private view {
        assertLane(alice.addr, agent.addr, 0, 0);
        assertLane(carol.addr, agent.addr, 0, 0);
        assertEq(token.balanceOf(alice.addr), 100e6);
        assertEq(token.balanceOf(address(escrow)), 0);
    }
}
