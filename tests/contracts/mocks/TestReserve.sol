// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.35;

import {ERC20} from "@openzeppelin/contracts/token/ERC20/ERC20.sol";

/// @title A reserve asset that anyone may print. For anvil and for tests only.
contract TestReserve is ERC20 {
    constructor() ERC20("Test Reserve", "TEST") {}

    function mint(address account, uint256 amount) external {
        _mint(account, amount);
    }

    function decimals() public pure override returns (uint8) {
        return 6;
    }
}
