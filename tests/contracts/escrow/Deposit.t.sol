// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.35;

import {IERC20Errors} from "@openzeppelin/contracts/interfaces/draft-IERC6093.sol";

import {PrepaymentEscrow} from "../../../contracts/src/PrepaymentEscrow.sol";
import {IPrepaymentEscrow} from "../../../contracts/src/interfaces/IPrepaymentEscrow.sol";
import {World} from "../World.sol";
import {HostileReserve} from "../mocks/HostileReserve.sol";

/// @title Law 1: what a lane gains, the escrow was given
contract DepositTest is World {
    function setUp() public override {
        super.setUp();
        fund(alice.addr, 100e6);
    }

    // ----------------------------------------------------------------------------------------------- refusals

    function test_refuses_zero_amount() public {
        vm.expectRevert(IPrepaymentEscrow.ZeroAmount.selector);
        vm.prank(alice.addr);
        escrow.deposit(alice.addr, agent.addr, 0);
    }

    function test_refuses_payer_zero() public {
        vm.expectRevert(abi.encodeWithSelector(IPrepaymentEscrow.BadLane.selector, address(0), agent.addr));
        vm.prank(alice.addr);
        escrow.deposit(address(0), agent.addr, 1);
    }

    function test_refuses_lane_to_the_payer_itself() public {
        vm.expectRevert(abi.encodeWithSelector(IPrepaymentEscrow.BadLane.selector, carol.addr, carol.addr));
        vm.prank(alice.addr);
        escrow.deposit(carol.addr, carol.addr, 1);
    }

    function test_refuses_what_was_not_allowed() public {
        vm.startPrank(alice.addr);
        token.approve(address(escrow), 1);
        vm.expectRevert(abi.encodeWithSelector(IERC20Errors.ERC20InsufficientAllowance.selector, address(escrow), 1, 2));
        escrow.deposit(alice.addr, agent.addr, 2);
        assertLane(alice.addr, agent.addr, 0, 0);
    }

    function test_refuses_token_that_takes_a_fee() public {
        (PrepaymentEscrow escrow_, HostileReserve hostile) = hostileEscrow();
        hostile.takeOfRecipient(1);
        vm.expectRevert(abi.encodeWithSelector(IPrepaymentEscrow.TransferMismatch.selector, 10e6 - 1, 10e6));
        vm.prank(alice.addr);
        escrow_.deposit(alice.addr, agent.addr, 10e6);
    }

    /// @dev With money there before, so that what arrived and what is there are two numbers.
    function test_refuses_token_that_delivers_more_than_it_was_told() public {
        (PrepaymentEscrow escrow_, HostileReserve hostile) = hostileEscrow();
        hostile.mint(address(escrow_), 5e6);
        hostile.giveToRecipient(1);
        vm.expectRevert(abi.encodeWithSelector(IPrepaymentEscrow.TransferMismatch.selector, 10e6 + 1, 10e6));
        vm.prank(alice.addr);
        escrow_.deposit(alice.addr, agent.addr, 10e6);
    }

    /// @dev Both deposits would see the same ten tokens arrive.
    function test_refuses_deposit_inside_a_deposit() public {
        (PrepaymentEscrow escrow_, HostileReserve hostile) = hostileEscrow();
        hostile.mint(address(hostile), 10e6);
        hostile.approveAsSelf(address(hostile), address(escrow_), 10e6);
        hostile.hook(address(escrow_), abi.encodeCall(escrow_.deposit, (mallory.addr, address(0), 10e6)));

        vm.prank(alice.addr);
        escrow_.deposit(alice.addr, agent.addr, 10e6);

        assertFalse(hostile.hookSucceeded());
        (uint96 open,) = escrow_.openBalance(mallory.addr);
        assertEq(open, 0);
        assertEq(hostile.balanceOf(address(escrow_)), 10e6);
    }

    function test_refuses_what_no_longer_fits_96_bits() public {
        PrepaymentEscrow escrow_;
        HostileReserve hostile;
        (escrow_, hostile) = hostileEscrow();
        hostile.mint(address(escrow_), type(uint96).max);
        vm.expectRevert(
            abi.encodeWithSelector(
                IPrepaymentEscrow.EscrowFull.selector, uint256(type(uint96).max) + 1, type(uint96).max
            )
        );
        vm.prank(alice.addr);
        escrow_.deposit(alice.addr, agent.addr, 1);
    }

    function test_refuses_permit_that_does_not_hold() public {
        vm.startPrank(alice.addr);
        token.approve(address(escrow), 0);
        (uint8 v, bytes32 r, bytes32 s) = vm.sign(mallory, permitDigest(alice.addr, address(escrow), 1e6, 0, START));
        vm.expectRevert(
            abi.encodeWithSelector(IERC20Errors.ERC20InsufficientAllowance.selector, address(escrow), 0, 1e6)
        );
        escrow.depositWithPermit(alice.addr, agent.addr, 1e6, START, v, r, s);
        assertEq(token.nonces(alice.addr), 0);
    }

    function test_refuses_zero_amount_with_permit() public {
        (uint8 v, bytes32 r, bytes32 s) = vm.sign(alice, permitDigest(alice.addr, address(escrow), 0, 0, START));
        vm.expectRevert(IPrepaymentEscrow.ZeroAmount.selector);
        vm.prank(alice.addr);
        escrow.depositWithPermit(alice.addr, agent.addr, 0, START, v, r, s);
    }

    // ---------------------------------------------------------------------------------------------- successes

    function test_deposits_into_the_payers_own_lane() public {
        vm.expectEmit(address(escrow));
        emit IPrepaymentEscrow.Deposited(alice.addr, agent.addr, alice.addr, 10e6);
        vm.prank(alice.addr);
        escrow.deposit(alice.addr, agent.addr, 10e6);

        assertLane(alice.addr, agent.addr, 10e6, 0);
        assertOpen(alice.addr, 0, 0);
        assertOpen(agent.addr, 0, 0);
        assertEq(token.balanceOf(alice.addr), 90e6);
        assertEq(token.balanceOf(address(escrow)), 10e6);
    }

    function test_deposits_by_anyone_for_anyone() public {
        vm.expectEmit(address(escrow));
        emit IPrepaymentEscrow.Deposited(carol.addr, agent.addr, alice.addr, 10e6);
        vm.prank(alice.addr);
        escrow.deposit(carol.addr, agent.addr, 10e6);

        assertLane(carol.addr, agent.addr, 10e6, 0);
        assertLane(alice.addr, agent.addr, 0, 0);
        assertEq(token.balanceOf(alice.addr), 90e6);
        assertEq(token.balanceOf(address(escrow)), 10e6);
    }

    function test_deposits_into_the_open_balance() public {
        vm.expectEmit(address(escrow));
        emit IPrepaymentEscrow.Deposited(alice.addr, address(0), alice.addr, 10e6);
        vm.prank(alice.addr);
        escrow.deposit(alice.addr, address(0), 10e6);

        assertOpen(alice.addr, 10e6, 0);
        assertLane(alice.addr, address(0), 10e6, 0);
    }

    function test_adds_to_what_is_there_and_leaves_a_notice_alone() public {
        vm.startPrank(alice.addr);
        escrow.deposit(alice.addr, agent.addr, 10e6);
        escrow.thaw(agent.addr, 4e6);
        escrow.deposit(alice.addr, agent.addr, 5e6);

        assertLane(alice.addr, agent.addr, 15e6, 0);
        assertThaw(alice.addr, agent.addr, 4e6, START + NOTICE);
        assertEq(token.balanceOf(address(escrow)), 15e6);
    }

    function test_deposits_with_permit() public {
        vm.startPrank(alice.addr);
        token.approve(address(escrow), 0);
        (uint8 v, bytes32 r, bytes32 s) = vm.sign(alice, permitDigest(alice.addr, address(escrow), 7e6, 0, START));
        vm.expectEmit(address(escrow));
        emit IPrepaymentEscrow.Deposited(carol.addr, agent.addr, alice.addr, 7e6);
        escrow.depositWithPermit(carol.addr, agent.addr, 7e6, START, v, r, s);

        assertLane(carol.addr, agent.addr, 7e6, 0);
        assertEq(token.balanceOf(alice.addr), 93e6);
        assertEq(token.balanceOf(address(escrow)), 7e6);
        assertEq(token.allowance(alice.addr, address(escrow)), 0);
        assertEq(token.nonces(alice.addr), 1);
    }

    function test_deposits_with_permit_that_someone_carried_first() public {
        vm.prank(alice.addr);
        token.approve(address(escrow), 0);
        (uint8 v, bytes32 r, bytes32 s) = vm.sign(alice, permitDigest(alice.addr, address(escrow), 7e6, 0, START));
        vm.prank(mallory.addr);
        token.permit(alice.addr, address(escrow), 7e6, START, v, r, s);

        vm.prank(alice.addr);
        escrow.depositWithPermit(alice.addr, agent.addr, 7e6, START, v, r, s);

        assertLane(alice.addr, agent.addr, 7e6, 0);
        assertEq(token.nonces(alice.addr), 1);
    }

    /// @dev The permit names the escrow, and the escrow spends it only for the one who signed and calls.
    function test_a_strangers_permit_moves_nothing_of_its_signers() public {
        vm.prank(alice.addr);
        token.approve(address(escrow), 0);
        (uint8 v, bytes32 r, bytes32 s) = vm.sign(alice, permitDigest(alice.addr, address(escrow), 7e6, 0, START));
        vm.expectRevert(
            abi.encodeWithSelector(IERC20Errors.ERC20InsufficientAllowance.selector, address(escrow), 0, 7e6)
        );
        vm.prank(mallory.addr);
        escrow.depositWithPermit(mallory.addr, agent.addr, 7e6, START, v, r, s);
        assertEq(token.balanceOf(alice.addr), 100e6);
    }

    function test_a_transfer_past_deposit_belongs_to_no_lane() public {
        vm.startPrank(alice.addr);
        assertTrue(token.transfer(address(escrow), 3e6));
        escrow.deposit(alice.addr, agent.addr, 10e6);

        assertLane(alice.addr, agent.addr, 10e6, 0);
        assertEq(token.balanceOf(address(escrow)), 13e6);
    }

    function testFuzz_a_lane_holds_the_sum_of_its_deposits(uint96 first, uint96 second) public {
        first = uint96(bound(first, 1, type(uint96).max - 1));
        second = uint96(bound(second, 1, type(uint96).max - first));
        prepay(carol.addr, agent.addr, first);
        prepay(carol.addr, agent.addr, second);

        assertLane(carol.addr, agent.addr, first + second, 0);
        assertEq(token.balanceOf(address(escrow)), uint256(first) + second);
    }

    // ------------------------------------------------------------------------------------------------ helpers

    function hostileEscrow() private returns (PrepaymentEscrow escrow_, HostileReserve hostile) {
        hostile = new HostileReserve(6);
        escrow_ = new PrepaymentEscrow(address(hostile));
        hostile.mint(alice.addr, 100e6);
        vm.prank(alice.addr);
        hostile.approve(address(escrow_), type(uint256).max);
    }
}
