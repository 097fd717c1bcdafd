// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.35;

import {IERC20Metadata} from "@openzeppelin/contracts/token/ERC20/extensions/IERC20Metadata.sol";
import {IERC20Permit} from "@openzeppelin/contracts/token/ERC20/extensions/IERC20Permit.sol";

/// @title A stable token that is minted by depositing a reserve asset at par and burned by redeeming it
/// @notice An ordinary ERC-20 of 6 decimals with EIP-2612 permit. Nobody can mint without bringing the reserve, stop
/// it, or seize it (laws 6 and 7). It adds to the reserve asset what may be missing there: permit, and the certainty
/// that a transfer delivers what it says.
///
/// `underlying()`, the reserve asset, is OpenZeppelin's `ERC20Wrapper`'s, which an interface cannot redeclare.
///
/// Assumes of the reserve asset
/// - that it has 6 decimals and never changes them (checked when this token is made);
/// - that `balanceOf` tells the truth and falls by nothing but a transfer out: one that rebases downwards, or is seized
///   at this address, leaves the last to redeem with nothing;
/// - that it keeps its own promise. At par means one base unit for one base unit, not one dollar.
///
/// Not protected: a reserve asset that is paused or frozen for this address stops minting and redeeming for as long;
/// this token still transfers. What is sent to this address past `depositFor` is nobody's and stays as surplus.
interface ISettlementToken is IERC20Metadata, IERC20Permit {
    /// @notice At par needs the same decimals on both sides.
    error ReserveDecimals(uint8 given, uint8 required);
    /// @notice The reserve moved another amount than it was told to.
    error TransferMismatch(uint256 received, uint256 expected);

    /// @notice Takes `amount` of the reserve asset from the caller, who has approved it, and mints as much to
    /// `account`. Reverts unless exactly `amount` arrived. Always true.
    function depositFor(address account, uint256 amount) external returns (bool);

    /// @notice Burns `amount` of the caller's and sends as much of the reserve asset to `account`. Reverts unless
    /// exactly `amount` left. If the reserve asset takes a fee of the recipient, that is the recipient's loss. Always
    /// true.
    function withdrawTo(address account, uint256 amount) external returns (bool);
}
