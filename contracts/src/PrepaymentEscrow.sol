// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.35;

import {Claims} from "./escrow/Claims.sol";
import {Deposits} from "./escrow/Deposits.sol";
import {Lanes} from "./escrow/Lanes.sol";
import {Mandates} from "./escrow/Mandates.sol";
import {Notices} from "./escrow/Notices.sol";

/// @title Lanes of prepaid tokens, moved by cumulative vouchers
/// @notice See `IPrepaymentEscrow`, which is the document.
/// @dev `Deposits` (in) ▶ `Lanes` ▶ `Notices` (out); along the lanes `Claims` and `Mandates`, signed for as `Delegates`
/// says. Each part keeps its own storage, and none calls another but downwards.
contract PrepaymentEscrow is Deposits, Claims, Mandates, Notices {
    constructor(address token_) Lanes(token_) {}
}
