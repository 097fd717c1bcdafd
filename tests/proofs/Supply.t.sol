// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.35;

import {IERC20Metadata} from "@openzeppelin/contracts/token/ERC20/extensions/IERC20Metadata.sol";

import {SettlementToken} from "../../contracts/src/SettlementToken.sol";
import {Logic, Svm, Vm} from "./Proof.sol";

/// @title Law 6: the settlement token's supply never exceeds its reserve
contract SupplyProof {
    using Logic for bool;

    Vm internal constant vm = Vm(0x7109709ECfa91a80626fF3989D68f67F5b1DD12D);
    Svm internal constant svm = Svm(0xF3993A62377BCd56AE39D773740A5390411E8BC9);

    Reserve internal reserve;
    SettlementToken internal token;

    function setUp() external {
        reserve = new Reserve();
        token = new SettlementToken(IERC20Metadata(address(reserve)));
        svm.enableSymbolicStorage(address(reserve));
        svm.enableSymbolicStorage(address(token));
    }

    /// @notice No call of anything by anyone makes a backed token one that is not.
    /// @dev Bounds: any state, caller, function and arguments. Assumes: the reserve moves what it is told to; neither
    /// reserve nor token calls; no holder has more than the supply.
    function check_no_call_makes_supply_exceed_the_reserve(address caller) external {
        reserve.behave();
        vm.assume(caller != address(token));
        vm.assume(token.totalSupply() <= reserve.balanceOf(address(token)));
        vm.assume(token.balanceOf(caller) <= token.totalSupply());
        bytes memory data = svm.createCalldata("SettlementToken");
        vm.prank(caller);

        (bool ok,) = address(token).call(data);

        assert(Logic.implies(ok, token.totalSupply() <= reserve.balanceOf(address(token))));
    }

    /// @notice A reserve that delivers anything else than it was told to mints nothing: what was minted has arrived.
    /// @dev Bounds: any state, caller, recipient, amount, and any amount that the reserve moves instead.
    function check_what_is_minted_has_arrived(address caller, address account, uint256 amount) external {
        vm.assume(caller != address(token));
        uint256 supply = token.totalSupply();
        uint256 held = reserve.balanceOf(address(token));
        vm.prank(caller);

        token.depositFor(account, amount);

        unchecked {
            assert(
                (token.totalSupply() == supply + amount).and(reserve.balanceOf(address(token)) == held + amount)
                    .and(supply <= token.totalSupply())
            );
        }
    }
}

/// @dev Moves what it is told to, or, unless it behaves, any amount at all: a fee, a bonus, nothing.
contract Reserve {
    mapping(address account => uint256) public balanceOf;
    uint256 public difference;
    uint8 public constant decimals = 6;

    function behave() external {
        difference = 0;
    }

    function transfer(address to, uint256 amount) external returns (bool) {
        return _move(msg.sender, to, amount);
    }

    function transferFrom(address from, address to, uint256 amount) external returns (bool) {
        return _move(from, to, amount);
    }

    function _move(address from, address to, uint256 amount) private returns (bool) {
        unchecked {
            amount += difference;
        }
        balanceOf[from] -= amount;
        balanceOf[to] += amount;
        return true;
    }
}
