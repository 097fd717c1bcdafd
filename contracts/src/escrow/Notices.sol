// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.35;

import {IERC20} from "@openzeppelin/contracts/token/ERC20/IERC20.sol";
import {SafeERC20} from "@openzeppelin/contracts/token/ERC20/utils/SafeERC20.sol";
import {ReentrancyGuardTransient} from "@openzeppelin/contracts/utils/ReentrancyGuardTransient.sol";

import {IPrepaymentEscrow} from "../interfaces/IPrepaymentEscrow.sol";
import {Lanes} from "./Lanes.sol";

/// @title The way out: a notice, then a withdrawal of what claims have left (law 4)
abstract contract Notices is Lanes, ReentrancyGuardTransient {
    using SafeERC20 for IERC20;

    /// @dev slot 0: amount 96 | endsAt 64. Apart from the lane, because a claim does not look at it.
    mapping(address payer => mapping(address payee => Thaw)) private _thaws;

    /// @inheritdoc IPrepaymentEscrow
    function thaw(address payee, uint96 amount) external {
        uint96 deposit_ = _lanes[payee][msg.sender].deposit;
        require(amount <= deposit_, ThawAboveDeposit(amount, deposit_));

        uint64 endsAt = amount == 0 ? 0 : uint64(block.timestamp) + NOTICE_PERIOD;
        _thaws[msg.sender][payee] = Thaw({amount: amount, endsAt: endsAt});

        emit ThawStarted(msg.sender, payee, amount, endsAt);
    }

    /// @inheritdoc IPrepaymentEscrow
    function withdraw(address payee, address to) external nonReentrant returns (uint96 amount) {
        require(to != address(0) && to != address(this), BadRecipient(to));
        Thaw memory thaw_ = _thaws[msg.sender][payee];
        require(thaw_.amount != 0, NothingThawing(msg.sender, payee));
        require(block.timestamp >= thaw_.endsAt, NoticeRunning(thaw_.endsAt, block.timestamp));

        Lane storage lane_ = _lanes[payee][msg.sender];
        uint96 deposit_ = lane_.deposit;
        amount = thaw_.amount < deposit_ ? thaw_.amount : deposit_;
        lane_.deposit = deposit_ - amount;
        delete _thaws[msg.sender][payee];

        emit Withdrawn(msg.sender, payee, to, amount);

        IERC20(token).safeTransfer(to, amount);
    }

    /// @inheritdoc IPrepaymentEscrow
    function lane(address payer, address payee) external view returns (Lane memory, Thaw memory) {
        return (_lanes[payee][payer], _thaws[payer][payee]);
    }

    /// @inheritdoc IPrepaymentEscrow
    function openBalance(address payer) external view returns (uint96 amount, uint96 thawing) {
        amount = _lanes[address(0)][payer].deposit;
        uint96 announced = _thaws[payer][address(0)].amount;
        thawing = announced < amount ? announced : amount;
    }
}
