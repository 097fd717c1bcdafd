// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.35;

import {ERC20} from "@openzeppelin/contracts/token/ERC20/ERC20.sol";

/// @title A reserve asset that misbehaves as it is told
/// @dev It has a permit that never holds, too, so that the escrow can be given it as its token.
contract HostileReserve is ERC20 {
    uint8 private immutable _decimals;

    /// @notice Base units that a transfer burns of what the recipient should get.
    uint256 public feeOfRecipient;
    /// @notice Base units that a transfer burns of the sender on top.
    uint256 public feeOfSender;
    /// @notice Base units that a transfer prints for the recipient on top.
    uint256 public giftToRecipient;
    /// @notice Transfers move nothing and answer false.
    bool public answersFalse;
    /// @notice Transfers move nothing and answer true.
    bool public movesNothing;
    /// @notice Transfers revert.
    bool public paused;
    /// @notice Called in the middle of a transfer, once.
    address public hookTarget;
    bytes public hookData;
    /// @notice How that call ended.
    bool public hookSucceeded;

    error Paused();

    constructor(uint8 decimals_) ERC20("Hostile Reserve", "HOSTILE") {
        _decimals = decimals_;
    }

    function mint(address account, uint256 amount) external {
        _mint(account, amount);
    }

    function takeOfRecipient(uint256 fee) external {
        feeOfRecipient = fee;
    }

    function takeOfSender(uint256 fee) external {
        feeOfSender = fee;
    }

    function giveToRecipient(uint256 gift) external {
        giftToRecipient = gift;
    }

    function answerFalse() external {
        answersFalse = true;
    }

    function moveNothing() external {
        movesNothing = true;
    }

    function pause() external {
        paused = true;
    }

    function unpause() external {
        paused = false;
    }

    function hook(address target, bytes calldata data) external {
        (hookTarget, hookData) = (target, data);
    }

    /// @notice What a wallet of the reserve asset may do with its own tokens, so that it can reenter as a customer.
    function approveAsSelf(address token, address spender, uint256 amount) external {
        ERC20(token).approve(spender, amount);
    }

    function transfer(address to, uint256 amount) public override returns (bool) {
        callHook();
        if (answersFalse) return false;
        if (movesNothing) return true;
        return super.transfer(to, amount);
    }

    function transferFrom(address from, address to, uint256 amount) public override returns (bool) {
        callHook();
        if (answersFalse) return false;
        if (movesNothing) return true;
        return super.transferFrom(from, to, amount);
    }

    function callHook() private {
        if (hookTarget == address(0)) return;
        address target = hookTarget;
        hookTarget = address(0);
        (hookSucceeded,) = target.call(hookData);
    }

    function decimals() public view override returns (uint8) {
        return _decimals;
    }

    function _update(address from, address to, uint256 amount) internal override {
        require(!paused, Paused());
        super._update(from, to, amount);
        if (from == address(0) || to == address(0)) return;
        if (feeOfRecipient != 0) super._update(to, address(0), feeOfRecipient);
        if (feeOfSender != 0) super._update(from, address(0), feeOfSender);
        if (giftToRecipient != 0) super._update(address(0), to, giftToRecipient);
    }
}
