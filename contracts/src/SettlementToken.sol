// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.35;

import {ERC20} from "@openzeppelin/contracts/token/ERC20/ERC20.sol";
import {ERC20Permit} from "@openzeppelin/contracts/token/ERC20/extensions/ERC20Permit.sol";
import {ERC20Wrapper} from "@openzeppelin/contracts/token/ERC20/extensions/ERC20Wrapper.sol";
import {IERC20Metadata} from "@openzeppelin/contracts/token/ERC20/extensions/IERC20Metadata.sol";
import {IERC20Permit} from "@openzeppelin/contracts/token/ERC20/extensions/IERC20Permit.sol";
import {ReentrancyGuardTransient} from "@openzeppelin/contracts/utils/ReentrancyGuardTransient.sol";

import {ISettlementToken} from "./interfaces/ISettlementToken.sol";

/// @title Layer Minus Dollar
/// @notice See `ISettlementToken`, which is the document.
contract SettlementToken is ISettlementToken, ERC20Wrapper, ERC20Permit, ReentrancyGuardTransient {
    /// @dev Also the decimals demanded of the reserve: at par, one base unit is one base unit.
    uint8 private constant DECIMALS = 6;

    constructor(IERC20Metadata reserve)
        ERC20("Layer Minus Dollar", "LMD")
        ERC20Permit("Layer Minus Dollar")
        ERC20Wrapper(reserve)
    {
        uint8 given = reserve.decimals();
        require(given == DECIMALS, ReserveDecimals(given, DECIMALS));
    }

    /// @inheritdoc ISettlementToken
    /// @dev Guarded, because a balance difference means what it says only while no second deposit runs inside the
    /// first.
    function depositFor(address account, uint256 amount)
        public
        override(ISettlementToken, ERC20Wrapper)
        nonReentrant
        returns (bool)
    {
        uint256 balanceBefore = underlying().balanceOf(address(this));

        super.depositFor(account, amount);

        uint256 received = underlying().balanceOf(address(this)) - balanceBefore;
        require(received == amount, TransferMismatch(received, amount));

        return true;
    }

    /// @inheritdoc ISettlementToken
    /// @dev What is checked is what leaves the reserve, not what arrives: a reserve that starts to take a fee from
    /// the recipient must not lock everybody in.
    function withdrawTo(address account, uint256 amount)
        public
        override(ISettlementToken, ERC20Wrapper)
        nonReentrant
        returns (bool)
    {
        uint256 balanceBefore = underlying().balanceOf(address(this));

        super.withdrawTo(account, amount);

        uint256 sent = balanceBefore - underlying().balanceOf(address(this));
        require(sent == amount, TransferMismatch(sent, amount));

        return true;
    }

    /// @inheritdoc IERC20Metadata
    function decimals() public pure override(IERC20Metadata, ERC20, ERC20Wrapper) returns (uint8) {
        return DECIMALS;
    }

    /// @inheritdoc IERC20Permit
    function nonces(address owner) public view override(IERC20Permit, ERC20Permit) returns (uint256) {
        return super.nonces(owner);
    }
}
