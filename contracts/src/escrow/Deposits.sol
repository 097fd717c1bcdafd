// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.35;

import {IERC20} from "@openzeppelin/contracts/token/ERC20/IERC20.sol";
import {IERC20Permit} from "@openzeppelin/contracts/token/ERC20/extensions/IERC20Permit.sol";
import {SafeERC20} from "@openzeppelin/contracts/token/ERC20/utils/SafeERC20.sol";
import {ReentrancyGuardTransient} from "@openzeppelin/contracts/utils/ReentrancyGuardTransient.sol";

import {IPrepaymentEscrow} from "../interfaces/IPrepaymentEscrow.sol";
import {Lanes} from "./Lanes.sol";

/// @title The ways in: every token that any lane ever holds came through here
abstract contract Deposits is Lanes, ReentrancyGuardTransient {
    using SafeERC20 for IERC20;

    bytes32 private constant DEPOSIT_ORDER_TYPEHASH = keccak256(
        "DepositOrder(address from,address payer,address payee,uint96 amount,uint256 nonce,uint64 validUntil)"
    );

    /// @inheritdoc IPrepaymentEscrow
    function deposit(address payer, address payee, uint96 amount) external nonReentrant {
        _deposit(msg.sender, payer, payee, amount);
    }

    /// @inheritdoc IPrepaymentEscrow
    function depositWithPermit(
        address payer,
        address payee,
        uint96 amount,
        uint256 deadline,
        uint8 v,
        bytes32 r,
        bytes32 s
    ) external nonReentrant {
        _permit(msg.sender, amount, deadline, v, r, s);

        _deposit(msg.sender, payer, payee, amount);
    }

    /// @inheritdoc IPrepaymentEscrow
    function depositMany(Deposit[] calldata deposits) external nonReentrant {
        require(deposits.length != 0, ZeroAmount());
        uint256 sum = 0;
        for (uint256 i = 0; i < deposits.length; ++i) {
            Deposit calldata part = deposits[i];
            _requireLane(part.payer, part.payee, part.amount);
            sum += part.amount;
        }

        _receive(msg.sender, sum);

        for (uint256 i = 0; i < deposits.length; ++i) {
            _fill(msg.sender, deposits[i].payer, deposits[i].payee, deposits[i].amount);
        }
    }

    /// @inheritdoc IPrepaymentEscrow
    function depositBySignature(DepositOrder calldata order, bytes calldata signature, PermitSignature calldata permit)
        external
        nonReentrant
    {
        bytes32 digest = depositOrderDigest(order, nonces(order.from));
        _requireSignature(order.from, digest, order.validUntil, signature);
        _useNonce(order.from);
        _permit(order.from, order.amount, order.validUntil, permit.v, permit.r, permit.s);

        _deposit(order.from, order.payer, order.payee, order.amount);
    }

    /// @dev A permit that someone else carried first has done its work; whether the allowance is there, the transfer
    /// decides.
    function _permit(address from, uint256 amount, uint256 deadline, uint8 v, bytes32 r, bytes32 s) private {
        try IERC20Permit(token).permit(from, address(this), amount, deadline, v, r, s) {} catch {}
    }

    function _deposit(address from, address payer, address payee, uint96 amount) private {
        _requireLane(payer, payee, amount);
        _receive(from, amount);
        _fill(from, payer, payee, amount);
    }

    function _requireLane(address payer, address payee, uint96 amount) private pure {
        require(amount != 0, ZeroAmount());
        require(payer != address(0) && payer != payee, BadLane(payer, payee));
    }

    /// @dev The callers are guarded: a balance difference means what it says only while no second deposit runs inside
    /// the first. `from` is the caller, or signed for it.
    function _receive(address from, uint256 amount) private {
        uint256 balanceBefore = IERC20(token).balanceOf(address(this));
        IERC20(token).safeTransferFrom(from, address(this), amount);
        uint256 balanceAfter = IERC20(token).balanceOf(address(this));
        require(balanceAfter - balanceBefore == amount, TransferMismatch(balanceAfter - balanceBefore, amount));
        require(balanceAfter <= type(uint96).max, EscrowFull(balanceAfter, type(uint96).max));
    }

    /// @dev Into the lane what has been received.
    function _fill(address from, address payer, address payee, uint96 amount) private {
        _lanes[payee][payer].deposit += amount;

        emit Deposited(payer, payee, from, amount);
    }

    /// @inheritdoc IPrepaymentEscrow
    function depositOrderDigest(DepositOrder calldata order, uint256 nonce) public view returns (bytes32) {
        return _hashTypedDataV4(
            keccak256(
                abi.encode(
                    DEPOSIT_ORDER_TYPEHASH, order.from, order.payer, order.payee, order.amount, nonce, order.validUntil
                )
            )
        );
    }
}
