// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.35;

import {IRoutingTable} from "../../../contracts/src/interfaces/IRoutingTable.sol";
import {World} from "../World.sol";
import {Handler} from "./Handler.sol";
import {RoutingHandler} from "./RoutingHandler.sol";

/// @title What holds of nodes, routes and of what nobody may ever change
abstract contract RoutingLaws is World {
    uint256 internal constant PAYERS = 5;
    uint256 internal constant SIGNERS = 7;
    uint256 private constant NODES = 8;

    Handler public immutable handler;
    address[SIGNERS] internal people;
    address[NODES] private nodeAddresses;
    bytes32 private immutable CONSTANTS_AT_FIRST;

    constructor(uint256 salt) {
        setUp();
        handler = new Handler(reserve, token, escrow, table, salt);
        for (uint256 s = 0; s < SIGNERS; ++s) {
            people[s] = handler.payer(s);
        }
        for (uint256 n = 0; n < NODES; ++n) {
            nodeAddresses[n] = handler.nodeAddresses(n);
        }
        CONSTANTS_AT_FIRST = constants();
    }

    function allOfRouting() internal view {
        law7_code_and_constants_stay();
        law7_nodes_are_their_operators_and_tombstones_stay();
        law7_the_order_of_nodes_stays();
        law7_routes_are_what_their_wallets_said();
        law7_tariffs_hold_until_a_notice_has_run();
        law7_versions_grow_by_one_per_notice_at_most();
        law13_what_operators_write_is_bounded();
    }

    // ---------------------------------------------------------------------------------------------------- no owner

    function law7_code_and_constants_stay() public view {
        assertEq(constants(), CONSTANTS_AT_FIRST, "law 7: constants");
    }

    function constants() private view returns (bytes32) {
        return keccak256(
            abi.encode(
                abi.encode(address(escrow).codehash, address(table).codehash, address(token).codehash),
                abi.encode(escrow.NOTICE_PERIOD(), escrow.CONTRACT_SIGNATURE_GAS(), escrow.token()),
                abi.encode(table.escrow(), table.MINIMUM_BOND(), table.TARIFF_NOTICE(), table.TARIFF_MAX()),
                abi.encode(table.ENDPOINT_LENGTH_MAX(), table.PAGE_LENGTH_MAX()),
                abi.encode(token.name(), token.symbol(), token.decimals(), token.underlying())
            )
        );
    }

    function law7_nodes_are_their_operators_and_tombstones_stay() public view {
        for (uint256 n = 0; n < NODES; ++n) {
            RoutingHandler.ModelNode memory model = handler.modelNode(n);
            IRoutingTable.Node memory node = table.node(nodeAddresses[n]);
            assertEq(node.operator, model.operator, "law 7: operator");
            assertEq(node.registeredAt, model.registeredAt, "law 7: registered at");
            assertEq(node.retiredAt, model.retiredAt, "law 7: retired at");
            assertKey(node.sealingKey, model.key);
            bytes32 endpoint = model.operator == address(0) ? keccak256("") : model.endpoint;
            assertEq(keccak256(bytes(node.endpoint)), endpoint, "law 7: endpoint");
        }
    }

    function law7_the_order_of_nodes_stays() public view {
        (address[] memory page, IRoutingTable.Node[] memory entries) = table.nodes(0, table.PAGE_LENGTH_MAX());
        assertEq(page.length, table.nodeCount(), "law 7: count");
        for (uint256 i = 0; i < page.length; ++i) {
            assertEq(page[i], handler.registered(i), "law 7: order");
            if (i != 0) assertGe(entries[i].registeredAt, entries[i - 1].registeredAt, "law 7: registered later");
        }
    }

    function law7_routes_are_what_their_wallets_said() public view {
        for (uint256 x = 0; x < PAYERS; ++x) {
            RoutingHandler.ModelRoute memory model = handler.modelRoute(x);
            IRoutingTable.Route memory route = table.route(people[x]);
            assertEq(route.agent, model.agent, "law 7: agent");
            assertEq(route.nonce, model.nonce, "law 7: route nonce");
            assertKey(route.sealingKey, model.key);
        }
    }

    function law7_tariffs_hold_until_a_notice_has_run() public view {
        for (uint256 n = 0; n < NODES; ++n) {
            IRoutingTable.Node memory node = table.node(nodeAddresses[n]);
            if (node.registeredAt == 0) continue;
            (IRoutingTable.Tariff memory now_, uint256 version, IRoutingTable.Tariff memory next, uint256 nextFrom) =
                handler.tariffNow(n);
            assertTariff(node.tariff, now_);
            assertEq(node.tariffVersion, version, "law 7: tariff version");
            assertTariff(node.next, next);
            assertEq(node.nextFrom, nextFrom, "law 7: next from");
        }
    }

    function law7_versions_grow_by_one_per_notice_at_most() public view {
        for (uint256 n = 0; n < NODES; ++n) {
            IRoutingTable.Node memory node = table.node(nodeAddresses[n]);
            if (node.registeredAt == 0) continue;
            uint256 notices = (block.timestamp - node.registeredAt) / NOTICE;
            assertLe(node.tariffVersion, 1 + notices, "law 7: versions");
        }
    }

    // ---------------------------------------------------------------------------------------------- limits on everything

    function law13_what_operators_write_is_bounded() public view {
        for (uint256 n = 0; n < NODES; ++n) {
            IRoutingTable.Node memory node = table.node(nodeAddresses[n]);
            if (node.registeredAt == 0) continue;
            assertGt(bytes(node.endpoint).length, 0, "law 13: endpoint");
            assertLe(bytes(node.endpoint).length, 200, "law 13: endpoint");
            assertLe(node.tariff.delivery, 1e12, "law 13: delivery");
            assertLe(node.tariff.relay, 1e12, "law 13: relay");
            assertLe(node.tariff.storing, 1e12, "law 13: storing");
        }
        (bool answered,) = address(table).staticcall(abi.encodeCall(table.nodes, (0, 101)));
        assertFalse(answered, "law 13: page");
    }
}
