// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.35;

import {IERC20Metadata} from "@openzeppelin/contracts/token/ERC20/extensions/IERC20Metadata.sol";
import {Script} from "forge-std/Script.sol";
import {VmSafe} from "forge-std/Vm.sol";
import {console} from "forge-std/console.sol";

import {PrepaymentEscrow} from "../contracts/src/PrepaymentEscrow.sol";
import {RoutingTable} from "../contracts/src/RoutingTable.sol";
import {SettlementToken} from "../contracts/src/SettlementToken.sol";

/// @title What `settler deploy` does, with forge
/// @notice The same contracts at the same addresses, and the same deployments file. What stands already is compared
/// and kept; what lacks is created through the deterministic deployer, to which forge hands `new` with a salt.
///
///     RESERVE=0x… forge script scripts/Deploy.s.sol --rpc-url URL --account NAME --broadcast
///
/// The file is `SETTLER_DEPLOYMENT`, else deployment.json. It is written when everything stands or is about to be
/// broadcast; should the broadcast fail, the same command goes on from there. Its block is the last one before anything
/// stood; where that is not known, that of the file that is there, else 0 (`settler deploy` finds it).
contract Deploy is Script {
    bytes32 private constant SALT = keccak256("layer-minus/1 deployment");
    uint8 private constant DECIMALS = 6;

    error NoReserve(address reserve);
    error ReserveDecimals(uint8 given, uint8 required);
    error ForeignCode(string name, address where);
    error WrongAddress(address given, address expected);

    function run() external {
        address reserve = vm.envAddress("RESERVE");
        require(reserve.code.length > 0, NoReserve(reserve));
        uint8 decimals = IERC20Metadata(reserve).decimals();
        require(decimals == DECIMALS, ReserveDecimals(decimals, DECIMALS));

        (address token, bool hasToken) =
            _look("SettlementToken", abi.encodePacked(type(SettlementToken).creationCode, abi.encode(reserve)));
        (address escrow, bool hasEscrow) =
            _look("PrepaymentEscrow", abi.encodePacked(type(PrepaymentEscrow).creationCode, abi.encode(token)));
        (address routingTable, bool hasRoutingTable) =
            _look("RoutingTable", abi.encodePacked(type(RoutingTable).creationCode, abi.encode(escrow)));

        vm.startBroadcast();
        if (!hasToken) {
            _requireAt(address(new SettlementToken{salt: SALT}(IERC20Metadata(reserve))), token);
        }
        if (!hasEscrow) {
            _requireAt(address(new PrepaymentEscrow{salt: SALT}(token)), escrow);
        }
        if (!hasRoutingTable) {
            _requireAt(address(new RoutingTable{salt: SALT}(escrow)), routingTable);
        }
        vm.stopBroadcast();

        bool isFresh = !hasToken && !hasEscrow && !hasRoutingTable;
        if ((hasToken && hasEscrow && hasRoutingTable) || !vm.isContext(VmSafe.ForgeContext.ScriptDryRun)) {
            _write(reserve, token, escrow, routingTable, isFresh);
        }
    }

    /// @dev Where the creation code puts its contract, and whether it stands there. Run as if it stood at that address,
    /// the constructor returns the code that it leaves there, immutable values included.
    function _look(string memory name, bytes memory creation) private returns (address where, bool stands) {
        where = vm.computeCreate2Address(SALT, keccak256(creation));
        bytes memory found = where.code;
        stands = found.length > 0;
        console.log("%s %s %s", name, where, stands ? "stands" : "lacks");

        if (stands) {
            uint256 before = vm.snapshotState();
            vm.etch(where, creation);
            (bool created, bytes memory code) = where.call("");
            vm.revertToStateAndDelete(before);
            require(created && keccak256(code) == keccak256(found), ForeignCode(name, where));
        }
    }

    function _requireAt(address given, address expected) private pure {
        require(given == expected, WrongAddress(given, expected));
    }

    /// @dev Byte for byte what `settler deploy` writes.
    function _write(address reserve, address token, address escrow, address routingTable, bool isFresh) private {
        string memory path = vm.envOr("SETTLER_DEPLOYMENT", string("deployment.json"));
        string memory contracts = string.concat(
            _field("chain_id", vm.toString(block.chainid)),
            _field("reserve", _quoted(reserve)),
            _field("token", _quoted(token)),
            _field("escrow", _quoted(escrow)),
            _field("routing_table", _quoted(routingTable))
        );
        uint256 from = isFresh ? block.number : 0;
        if (!isFresh && vm.exists(path) && vm.contains(vm.readFile(path), contracts)) {
            from = vm.parseJsonUint(vm.readFile(path), ".block");
        }
        vm.writeFile(path, string.concat("{", contracts, "\n  \"block\": ", vm.toString(from), "\n}\n"));
        console.log("wrote %s", path);
    }

    function _field(string memory name, string memory value) private pure returns (string memory) {
        return string.concat("\n  \"", name, "\": ", value, ",");
    }

    function _quoted(address value) private pure returns (string memory) {
        return string.concat("\"", vm.toLowercase(vm.toString(value)), "\"");
    }
}
