// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.35;

import {Vm} from "forge-std/Vm.sol";
import {IERC20Errors} from "@openzeppelin/contracts/interfaces/draft-IERC6093.sol";

import {PrepaymentEscrow} from "../../../contracts/src/PrepaymentEscrow.sol";
import {IPrepaymentEscrow} from "../../../contracts/src/interfaces/IPrepaymentEscrow.sol";
import {Signatures} from "../Signatures.sol";
import {HostileReserve} from "../mocks/HostileReserve.sol";
import {Wallet} from "../mocks/Wallet.sol";

/// @title A token holder's word puts its tokens into the lane it named, and into no other
contract DepositBySignatureTest is Signatures {
    IPrepaymentEscrow.DepositOrder private order;

    function setUp() public override {
        super.setUp();
        fund(alice.addr, 100e6);
        order = orderOf(alice.addr, 7e6);
    }

    // ----------------------------------------------------------------------------------------------- refusals

    function test_refuses_expired_order() public {
        bytes memory signature_ = signed(alice, 0);
        vm.warp(order.validUntil + 1);
        vm.expectRevert(
            abi.encodeWithSelector(IPrepaymentEscrow.SignatureExpired.selector, order.validUntil, order.validUntil + 1)
        );
        escrow.depositBySignature(order, signature_, noPermit);
    }

    function test_refuses_signatures_of_a_stranger_the_payer_and_a_delegate() public {
        order.payer = carol.addr;
        vm.prank(alice.addr);
        escrow.authorize(session.addr);
        expectInvalid(signed(mallory, 1));
        expectInvalid(signed(carol, 1));
        expectInvalid(signed(session, 1));
    }

    /// @dev The wrong lane above all: it is what the permit does not say.
    function test_refuses_any_field_other_than_signed() public {
        bytes memory signature_ = signed(alice, 0);
        IPrepaymentEscrow.DepositOrder memory good = order;

        order.payer = mallory.addr;
        expectInvalid(signature_);
        order = good;
        order.payee = mallory.addr;
        expectInvalid(signature_);
        order = good;
        order.amount += 1;
        expectInvalid(signature_);
        order = good;
        order.validUntil += 1;
        expectInvalid(signature_);
        order = good;
        order.from = carol.addr;
        expectInvalid(signature_);
        order = good;
        expectInvalid(signed(alice, 1));
    }

    function test_refuses_an_order_twice() public {
        bytes memory signature_ = signed(alice, 0);
        escrow.depositBySignature(order, signature_, noPermit);
        expectInvalid(signature_);
        assertLane(alice.addr, agent.addr, 7e6, 0);
        assertEq(escrow.nonces(alice.addr), 1);
    }

    function test_refuses_an_order_whose_nonce_was_voided() public {
        bytes memory signature_ = signed(alice, 0);
        vm.prank(alice.addr);
        escrow.voidSignatures();
        expectInvalid(signature_);
    }

    function test_refuses_malleable_zero_and_empty_signatures_and_holder_zero() public {
        expectInvalid(malleated(signed(alice, 0)));
        expectInvalid(new bytes(65));
        expectInvalid("");
        order.from = address(0);
        expectInvalid(new bytes(65));
    }

    function test_refuses_zero_amount_and_bad_lanes_and_uses_nothing_up() public {
        order.amount = 0;
        bytes memory signature_ = signed(alice, 0);
        vm.expectRevert(IPrepaymentEscrow.ZeroAmount.selector);
        escrow.depositBySignature(order, signature_, noPermit);
        order = orderOf(alice.addr, 7e6);
        order.payee = alice.addr;
        signature_ = signed(alice, 0);
        vm.expectRevert(abi.encodeWithSelector(IPrepaymentEscrow.BadLane.selector, alice.addr, alice.addr));
        escrow.depositBySignature(order, signature_, noPermit);
        assertEq(escrow.nonces(alice.addr), 0);
    }

    function test_refuses_an_order_without_allowance_or_permit_and_uses_nothing_up() public {
        vm.prank(alice.addr);
        token.approve(address(escrow), 7e6 - 1);
        bytes memory signature_ = signed(alice, 0);
        vm.expectRevert(
            abi.encodeWithSelector(IERC20Errors.ERC20InsufficientAllowance.selector, address(escrow), 7e6 - 1, 7e6)
        );
        escrow.depositBySignature(order, signature_, noPermit);
        assertEq(escrow.nonces(alice.addr), 0);
    }

    /// @dev A permit with another deadline than the order's, or of another.
    function test_refuses_a_permit_that_does_not_go_with_the_order() public {
        vm.prank(alice.addr);
        token.approve(address(escrow), 0);
        bytes memory signature_ = signed(alice, 0);
        IPrepaymentEscrow.PermitSignature[2] memory permits =
            [permit(alice, order.validUntil + 1), permit(mallory, order.validUntil)];
        for (uint256 i = 0; i < 2; ++i) {
            vm.expectRevert(
                abi.encodeWithSelector(IERC20Errors.ERC20InsufficientAllowance.selector, address(escrow), 0, 7e6)
            );
            escrow.depositBySignature(order, signature_, permits[i]);
        }
        assertEq(token.nonces(alice.addr), 0);
    }

    function test_refuses_a_wallet_that_does_not_say_yes() public {
        Wallet wallet = new Wallet(alice.addr);
        fund(address(wallet), 10e6);
        order = orderOf(address(wallet), 7e6);
        expectInvalid(signed(mallory, 0));
        wallet.tell(Wallet.Answer.Dirty);
        expectInvalid("");
        wallet.tell(Wallet.Answer.Failure);
        expectInvalid("");
    }

    function test_refuses_an_order_inside_a_deposit() public {
        HostileReserve hostile = new HostileReserve(6);
        PrepaymentEscrow home = escrow;
        escrow = new PrepaymentEscrow(address(hostile));
        hostile.mint(alice.addr, 20e6);
        vm.prank(alice.addr);
        hostile.approve(address(escrow), 20e6);
        bytes memory signature_ = signed(alice, 0);
        hostile.hook(address(escrow), abi.encodeCall(escrow.depositBySignature, (order, signature_, noPermit)));
        vm.prank(alice.addr);
        escrow.deposit(alice.addr, agent.addr, 5e6);
        assertFalse(hostile.hookSucceeded());
        assertLane(alice.addr, agent.addr, 5e6, 0);
        assertEq(hostile.balanceOf(address(escrow)), 5e6);
        assertEq(escrow.nonces(alice.addr), 0);
        escrow = home;
    }

    // ---------------------------------------------------------------------------------------------- successes

    function test_moves_the_signers_tokens_with_the_allowance_that_is_there() public {
        order.payer = carol.addr;
        bytes memory signature_ = signed(alice, 0);
        vm.warp(order.validUntil);
        vm.expectEmit(address(escrow));
        emit IPrepaymentEscrow.Deposited(carol.addr, agent.addr, alice.addr, 7e6);
        vm.prank(mallory.addr);
        escrow.depositBySignature(order, signature_, noPermit);

        assertLane(carol.addr, agent.addr, 7e6, 0);
        assertLane(alice.addr, agent.addr, 0, 0);
        assertEq(token.balanceOf(alice.addr), 93e6);
        assertEq(token.balanceOf(mallory.addr), 0);
        assertEq(token.balanceOf(address(escrow)), 7e6);
        assertEq(escrow.nonces(alice.addr), 1);
        assertEq(escrow.nonces(carol.addr), 0);
        assertEq(escrow.nonces(mallory.addr), 0);
    }

    function test_moves_them_with_the_permit_that_comes_along() public {
        vm.prank(alice.addr);
        token.approve(address(escrow), 0);
        bytes memory signature_ = signed(alice, 0);
        IPrepaymentEscrow.PermitSignature memory permit_ = permit(alice, order.validUntil);
        vm.prank(mallory.addr);
        escrow.depositBySignature(order, signature_, permit_);

        assertLane(alice.addr, agent.addr, 7e6, 0);
        assertEq(token.allowance(alice.addr, address(escrow)), 0);
        assertEq(token.nonces(alice.addr), 1);
        assertEq(token.balanceOf(alice.addr), 93e6);
    }

    function test_moves_them_with_a_permit_that_someone_carried_first() public {
        vm.prank(alice.addr);
        token.approve(address(escrow), 0);
        bytes memory signature_ = signed(alice, 0);
        IPrepaymentEscrow.PermitSignature memory permit_ = permit(alice, order.validUntil);
        vm.prank(mallory.addr);
        token.permit(alice.addr, address(escrow), 7e6, order.validUntil, permit_.v, permit_.r, permit_.s);

        escrow.depositBySignature(order, signature_, permit_);
        assertLane(alice.addr, agent.addr, 7e6, 0);
        assertEq(token.nonces(alice.addr), 1);
    }

    function test_fills_an_open_balance() public {
        order.payee = address(0);
        escrow.depositBySignature(order, signed(alice, 0), noPermit);
        assertOpen(alice.addr, 7e6, 0);
    }

    function test_moves_a_wallets_tokens_by_its_own_rules() public {
        Wallet wallet = new Wallet(alice.addr);
        fund(address(wallet), 10e6);
        order = orderOf(address(wallet), 7e6);
        bytes memory signature_ = signed(alice, 0);
        vm.expectEmit(address(escrow));
        emit IPrepaymentEscrow.Deposited(address(wallet), agent.addr, address(wallet), 7e6);
        escrow.depositBySignature(order, signature_, noPermit);

        assertLane(address(wallet), agent.addr, 7e6, 0);
        assertEq(token.balanceOf(address(wallet)), 3e6);
        assertEq(token.balanceOf(alice.addr), 100e6);
        assertEq(escrow.nonces(address(wallet)), 1);
        assertEq(escrow.nonces(alice.addr), 0);
    }

    // ------------------------------------------------------------------------------------------------ helpers

    function signed(Vm.Wallet memory by, uint256 nonce) private returns (bytes memory) {
        return signature(by, orderDigest(order, nonce));
    }

    function permit(Vm.Wallet memory by, uint256 deadline)
        private
        returns (IPrepaymentEscrow.PermitSignature memory permit_)
    {
        (permit_.v, permit_.r, permit_.s) =
            vm.sign(by, permitDigest(alice.addr, address(escrow), order.amount, 0, deadline));
    }

    function expectInvalid(bytes memory signature_) private {
        vm.expectRevert(abi.encodeWithSelector(IPrepaymentEscrow.InvalidSignature.selector, order.from));
        escrow.depositBySignature(order, signature_, noPermit);
    }
}
