// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.35;

import {Campaign} from "./Campaign.sol";

/// @title All laws at once: the long campaign, a million calls in two halves, since forge runs contracts side by side
contract AllLawsTest is Campaign {
    function setUp() external {
        begin(0);
    }

    /// forge-config: default.invariant.check_interval = 8
    /// forge-config: deep.invariant.runs = 2000
    /// forge-config: deep.invariant.depth = 250
    /// forge-config: deep.invariant.check_interval = 125
    function invariant_all_laws_hold() external {
        laws.all();
    }
}

/// @dev The other half, with other sequences.
contract AllLawsAgainTest is Campaign {
    function setUp() external {
        begin(100);
    }

    /// forge-config: default.invariant.check_interval = 8
    /// forge-config: deep.invariant.runs = 2000
    /// forge-config: deep.invariant.depth = 250
    /// forge-config: deep.invariant.check_interval = 125
    function invariant_all_laws_hold() external {
        laws.all();
    }
}
