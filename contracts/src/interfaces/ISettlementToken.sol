// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.35;

import {IERC20Metadata} from "@openzeppelin/contracts/token/ERC20/extensions/IERC20Metadata.sol";
import {IERC20Permit} from "@openzeppelin/contracts/token/ERC20/extensions/IERC20Permit.sol";

/// @title A stable token that is minted by depositing a reserve asset at par and burned by redeeming it
interface ISettlementToken is IERC20Metadata, IERC20Permit {
    error ReserveDecimals(uint8 given, uint8 required);
    error TransferMismatch(uint256 received, uint256 expected);

    /// @notice Takes `amount` of the reserve asset from the caller and mints as much to `account`.
    function depositFor(address account, uint256 amount) external returns (bool);
    /// @notice Burns `amount` of the caller's and sends as much of the reserve asset to `account`.
    function withdrawTo(address account, uint256 amount) external returns (bool);
}
