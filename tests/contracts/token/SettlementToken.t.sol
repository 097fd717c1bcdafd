// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.35;

import {IERC20} from "@openzeppelin/contracts/token/ERC20/IERC20.sol";
import {ERC20Permit} from "@openzeppelin/contracts/token/ERC20/extensions/ERC20Permit.sol";
import {SafeERC20} from "@openzeppelin/contracts/token/ERC20/utils/SafeERC20.sol";
import {IERC20Errors} from "@openzeppelin/contracts/interfaces/draft-IERC6093.sol";

import {SettlementToken} from "../../../contracts/src/SettlementToken.sol";
import {ISettlementToken} from "../../../contracts/src/interfaces/ISettlementToken.sol";
import {World} from "../World.sol";
import {HostileReserve} from "../mocks/HostileReserve.sol";

/// @title Law 6: the supply never exceeds the reserve at par
contract SettlementTokenTest is World {
    HostileReserve private hostile;
    SettlementToken private wrapped;

    function setUp() public override {
        super.setUp();
        hostile = new HostileReserve(6);
        wrapped = new SettlementToken(hostile);
        hostile.mint(alice.addr, 100e6);
        vm.prank(alice.addr);
        hostile.approve(address(wrapped), type(uint256).max);
    }

    // ----------------------------------------------------------------------------------------------- refusals

    function test_refuses_reserve_with_18_decimals() public {
        HostileReserve wrong = new HostileReserve(18);
        vm.expectRevert(abi.encodeWithSelector(ISettlementToken.ReserveDecimals.selector, 18, 6));
        new SettlementToken(wrong);
    }

    function test_refuses_reserve_with_0_decimals() public {
        HostileReserve wrong = new HostileReserve(0);
        vm.expectRevert(abi.encodeWithSelector(ISettlementToken.ReserveDecimals.selector, 0, 6));
        new SettlementToken(wrong);
    }

    function test_refuses_deposit_of_which_a_fee_was_taken() public {
        hostile.takeOfRecipient(1);
        vm.expectRevert(abi.encodeWithSelector(ISettlementToken.TransferMismatch.selector, 10e6 - 1, 10e6));
        vm.prank(alice.addr);
        wrapped.depositFor(alice.addr, 10e6);
        assertBacked(0, 0);
    }

    function test_refuses_deposit_that_delivered_more_than_it_was_told() public {
        hostile.giveToRecipient(1);
        vm.expectRevert(abi.encodeWithSelector(ISettlementToken.TransferMismatch.selector, 10e6 + 1, 10e6));
        vm.prank(alice.addr);
        wrapped.depositFor(alice.addr, 10e6);
        assertBacked(0, 0);
    }

    function test_refuses_deposit_that_moved_nothing() public {
        hostile.moveNothing();
        vm.expectRevert(abi.encodeWithSelector(ISettlementToken.TransferMismatch.selector, 0, 10e6));
        vm.prank(alice.addr);
        wrapped.depositFor(alice.addr, 10e6);
        assertBacked(0, 0);
    }

    function test_refuses_deposit_that_was_answered_false() public {
        hostile.answerFalse();
        vm.expectRevert(abi.encodeWithSelector(SafeERC20.SafeERC20FailedOperation.selector, hostile));
        vm.prank(alice.addr);
        wrapped.depositFor(alice.addr, 10e6);
        assertBacked(0, 0);
    }

    /// @dev Both deposits would see the same ten tokens arrive.
    function test_refuses_deposit_inside_a_deposit() public {
        hostile.mint(address(hostile), 10e6);
        hostile.approveAsSelf(address(hostile), address(wrapped), 10e6);
        hostile.hook(address(wrapped), abi.encodeCall(wrapped.depositFor, (mallory.addr, 10e6)));

        vm.prank(alice.addr);
        wrapped.depositFor(alice.addr, 10e6);

        assertFalse(hostile.hookSucceeded());
        assertEq(wrapped.balanceOf(mallory.addr), 0);
        assertEq(wrapped.balanceOf(alice.addr), 10e6);
        assertBacked(10e6, 10e6);
    }

    function test_refuses_redemption_inside_a_deposit() public {
        vm.startPrank(alice.addr);
        wrapped.depositFor(address(hostile), 10e6);
        vm.stopPrank();
        hostile.hook(address(wrapped), abi.encodeCall(wrapped.withdrawTo, (mallory.addr, 10e6)));

        vm.prank(alice.addr);
        wrapped.depositFor(alice.addr, 10e6);

        assertFalse(hostile.hookSucceeded());
        assertEq(hostile.balanceOf(mallory.addr), 0);
        assertBacked(20e6, 20e6);
    }

    function test_refuses_redemption_that_costs_the_reserve_more() public {
        vm.startPrank(alice.addr);
        wrapped.depositFor(alice.addr, 10e6);
        hostile.takeOfSender(1);
        vm.expectRevert(abi.encodeWithSelector(ISettlementToken.TransferMismatch.selector, 4e6 + 1, 4e6));
        wrapped.withdrawTo(alice.addr, 4e6);
        assertBacked(10e6, 10e6);
    }

    function test_refuses_redemption_that_moves_nothing() public {
        vm.startPrank(alice.addr);
        wrapped.depositFor(alice.addr, 10e6);
        hostile.moveNothing();
        vm.expectRevert(abi.encodeWithSelector(ISettlementToken.TransferMismatch.selector, 0, 4e6));
        wrapped.withdrawTo(alice.addr, 4e6);
        assertBacked(10e6, 10e6);
    }

    function test_refuses_redemption_that_is_answered_false() public {
        vm.startPrank(alice.addr);
        wrapped.depositFor(alice.addr, 10e6);
        hostile.answerFalse();
        vm.expectRevert(abi.encodeWithSelector(SafeERC20.SafeERC20FailedOperation.selector, hostile));
        wrapped.withdrawTo(alice.addr, 4e6);
        assertBacked(10e6, 10e6);
    }

    /// @dev A paused reserve stops minting and redeeming; it does not stop the token.
    function test_refuses_redemption_while_the_reserve_is_paused_and_still_transfers() public {
        vm.startPrank(alice.addr);
        wrapped.depositFor(alice.addr, 10e6);
        hostile.pause();
        vm.expectRevert(HostileReserve.Paused.selector);
        wrapped.withdrawTo(alice.addr, 4e6);

        assertTrue(wrapped.transfer(carol.addr, 4e6));
        assertEq(wrapped.balanceOf(carol.addr), 4e6);
        assertBacked(10e6, 10e6);
    }

    function test_refuses_redemption_above_the_balance() public {
        vm.startPrank(alice.addr);
        wrapped.depositFor(alice.addr, 10e6);
        vm.expectRevert(
            abi.encodeWithSelector(IERC20Errors.ERC20InsufficientBalance.selector, alice.addr, 10e6, 10e6 + 1)
        );
        wrapped.withdrawTo(alice.addr, 10e6 + 1);
    }

    function test_refuses_itself_as_recipient() public {
        vm.startPrank(alice.addr);
        vm.expectRevert(abi.encodeWithSelector(IERC20Errors.ERC20InvalidReceiver.selector, address(wrapped)));
        wrapped.depositFor(address(wrapped), 1);
        vm.expectRevert(abi.encodeWithSelector(IERC20Errors.ERC20InvalidReceiver.selector, address(wrapped)));
        wrapped.withdrawTo(address(wrapped), 0);
    }

    function test_refuses_permit_after_its_deadline_and_permit_of_a_stranger() public {
        (uint8 v, bytes32 r, bytes32 s) = vm.sign(alice, permitDigest(alice.addr, carol.addr, 5e6, 0, START));
        vm.warp(START + 1);
        vm.expectRevert(abi.encodeWithSelector(ERC20Permit.ERC2612ExpiredSignature.selector, START));
        token.permit(alice.addr, carol.addr, 5e6, START, v, r, s);

        bytes32 digest_ = permitDigest(alice.addr, carol.addr, 5e6, 0, START + 1);
        (v, r, s) = vm.sign(mallory, digest_);
        vm.expectRevert(abi.encodeWithSelector(ERC20Permit.ERC2612InvalidSigner.selector, mallory.addr, alice.addr));
        token.permit(alice.addr, carol.addr, 5e6, START + 1, v, r, s);
        assertEq(token.allowance(alice.addr, carol.addr), 0);
    }

    // ---------------------------------------------------------------------------------------------- successes

    function test_names_itself_and_its_reserve() public view {
        assertEq(token.name(), "Layer Minus Dollar");
        assertEq(token.symbol(), "LMD");
        assertEq(token.decimals(), 6);
        assertEq(address(token.underlying()), address(reserve));
        assertEq(token.totalSupply(), 0);
    }

    function test_mints_at_par_for_another() public {
        vm.expectEmit(address(wrapped));
        emit IERC20.Transfer(address(0), carol.addr, 10e6);
        vm.prank(alice.addr);
        assertTrue(wrapped.depositFor(carol.addr, 10e6));

        assertEq(wrapped.balanceOf(carol.addr), 10e6);
        assertEq(wrapped.balanceOf(alice.addr), 0);
        assertEq(hostile.balanceOf(alice.addr), 90e6);
        assertBacked(10e6, 10e6);
    }

    function test_redeems_at_par_to_another() public {
        vm.startPrank(alice.addr);
        wrapped.depositFor(alice.addr, 10e6);
        vm.expectEmit(address(wrapped));
        emit IERC20.Transfer(alice.addr, address(0), 4e6);
        assertTrue(wrapped.withdrawTo(carol.addr, 4e6));

        assertEq(wrapped.balanceOf(alice.addr), 6e6);
        assertEq(hostile.balanceOf(carol.addr), 4e6);
        assertBacked(6e6, 6e6);
    }

    /// @dev Better a loss to the one who redeems than nobody's way out.
    function test_redeems_though_a_fee_is_taken_of_the_recipient() public {
        vm.startPrank(alice.addr);
        wrapped.depositFor(alice.addr, 10e6);
        hostile.takeOfRecipient(1);
        assertTrue(wrapped.withdrawTo(carol.addr, 4e6));

        assertEq(hostile.balanceOf(carol.addr), 4e6 - 1);
        assertBacked(6e6, 6e6);
    }

    function test_a_gift_to_the_reserve_mints_nothing() public {
        hostile.mint(address(wrapped), 3e6);
        assertBacked(0, 3e6);

        vm.prank(alice.addr);
        wrapped.depositFor(alice.addr, 10e6);
        assertBacked(10e6, 13e6);
    }

    function test_permits_by_signature() public {
        (uint8 v, bytes32 r, bytes32 s) = vm.sign(alice, permitDigest(alice.addr, carol.addr, 5e6, 0, START));
        token.permit(alice.addr, carol.addr, 5e6, START, v, r, s);

        assertEq(token.allowance(alice.addr, carol.addr), 5e6);
        assertEq(token.nonces(alice.addr), 1);
    }

    function testFuzz_a_round_trip_ends_where_it_began(uint96 amount, uint96 back) public {
        back = uint96(bound(back, 0, amount));
        hostile.mint(alice.addr, amount);
        uint256 before = hostile.balanceOf(alice.addr);

        vm.startPrank(alice.addr);
        wrapped.depositFor(alice.addr, amount);
        wrapped.withdrawTo(alice.addr, back);
        assertBacked(amount - back, amount - back);
        wrapped.withdrawTo(alice.addr, amount - back);

        assertBacked(0, 0);
        assertEq(hostile.balanceOf(alice.addr), before);
    }

    // ------------------------------------------------------------------------------------------------ helpers

    function assertBacked(uint256 supply, uint256 backing) private view {
        assertEq(wrapped.totalSupply(), supply, "supply");
        assertEq(hostile.balanceOf(address(wrapped)), backing, "reserve");
    }
}
