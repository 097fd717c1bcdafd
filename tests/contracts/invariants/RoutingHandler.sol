// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.35;

import {IRoutingTable} from "../../../contracts/src/interfaces/IRoutingTable.sol";
import {Ghost} from "./Ghost.sol";

/// @title Operators who register, reprice and retire nodes, and wallets that name them
/// @dev Every payer is operator and customer. Strangers try all of it, too.
abstract contract RoutingHandler is Ghost {
    uint256 public constant NODES = 8;
    uint256 internal constant ENDPOINT_LENGTH_MAX = 200;
    uint64 internal constant TARIFF_MAX = 1e12;
    uint256 internal constant BOND = 10e6;

    struct Announcement {
        uint256 time;
        IRoutingTable.Tariff tariff;
    }

    struct ModelNode {
        address operator;
        uint256 registeredAt;
        uint256 retiredAt;
        IRoutingTable.SealingKey key;
        bytes32 endpoint;
        /// @dev The first one is the registration, in effect at once.
        Announcement[] log;
    }

    struct ModelRoute {
        address agent;
        uint256 nonce;
        IRoutingTable.SealingKey key;
    }

    struct Registration {
        IRoutingTable.SealingKey key;
        string endpoint;
        IRoutingTable.Tariff tariff;
        uint64 validUntil;
        bytes consent;
        bool genuine;
    }

    struct RouteWord {
        uint256 from;
        address agent;
        IRoutingTable.SealingKey key;
        uint64 nonce;
        uint64 validUntil;
        bool genuine;
        bytes signature;
    }

    address[NODES] public nodeAddresses;
    uint256[NODES] private nodeKeys;
    IRoutingTable.SealingKey[4] private sealingKeys;

    mapping(uint256 node => ModelNode) internal nodes;
    /// @notice The nodes in the order in which they were registered.
    address[] public registered;
    mapping(uint256 x => ModelRoute) internal routes;
    RouteWord[] private routeWords;

    constructor() {
        for (uint256 n = 0; n < NODES; ++n) {
            nodeKeys[n] = 1 + uint256(keccak256(abi.encode("node", n))) % (CURVE_ORDER - 1);
            nodeAddresses[n] = vm.addr(nodeKeys[n]);
        }
        for (uint256 k = 0; k < sealingKeys.length; ++k) {
            sealingKeys[k] = sealingKey(vm.createWallet(uint256(keccak256(abi.encode("sealing", k)))));
        }
    }

    // ------------------------------------------------------------------------------------------------------- nodes

    /// @dev Signed by the node, for this operator; or for another one, or by another key.
    function register(uint256 seed) external {
        Dice memory dice_ = dice(seed);
        (uint256 n, uint256 x) = (roll(dice_, NODES), roll(dice_, PAYERS));
        Registration memory entry = Registration({
            key: anySealingKey(dice_),
            endpoint: anyEndpoint(dice_),
            tariff: anyTariff(dice_),
            validUntil: to64(block.timestamp - 1 + between(dice_, 0, 16)),
            consent: "",
            genuine: true
        });
        uint256 signer = oneIn(dice_, 8) ? keys[0] : nodeKeys[n];
        uint256 operator = oneIn(dice_, 8) ? roll(dice_, PAYERS) : x;
        (uint8 v, bytes32 r, bytes32 s) = vm.sign(signer, consentOf(n, payer(operator), entry));
        (entry.consent, entry.genuine) = (abi.encodePacked(r, s, v), signer != keys[0] && operator == x);

        if (attempt(payer(x), address(table), registrationOf(n, entry), registrationError(n, x, entry))) {
            ModelNode storage node = nodes[n];
            (node.operator, node.registeredAt, node.key) = (payer(x), block.timestamp, entry.key);
            node.endpoint = keccak256(bytes(entry.endpoint));
            node.log.push(Announcement(block.timestamp, entry.tariff));
            registered.push(nodeAddresses[n]);
            ++done["registered"];
        }
    }

    function registrationOf(uint256 n, Registration memory entry) private view returns (bytes memory) {
        return abi.encodeCall(
            table.register, (nodeAddresses[n], entry.key, entry.endpoint, entry.tariff, entry.validUntil, entry.consent)
        );
    }

    function registrationError(uint256 n, uint256 x, Registration memory entry) private view returns (bytes4) {
        if (block.timestamp > entry.validUntil) return IRoutingTable.SignatureExpired.selector;
        if (nodes[n].operator != address(0)) return IRoutingTable.NodeExists.selector;
        if (!onCurve(entry.key)) return IRoutingTable.NotOnCurve.selector;
        if (badLength(entry.endpoint)) return IRoutingTable.EndpointLength.selector;
        if (tooDear(entry.tariff)) return IRoutingTable.TariffAboveLimit.selector;
        if (!entry.genuine) return IRoutingTable.InvalidSignature.selector;
        uint256 free = lanes[x][0].deposit - min(lanes[x][0].deposit, lanes[x][0].thawing);
        return free < BOND ? IRoutingTable.BondTooLow.selector : bytes4(0);
    }

    function setEndpoint(uint256 seed) external {
        Dice memory dice_ = dice(seed);
        (uint256 n, address caller, bytes4 expected) = anyNode(dice_);
        string memory endpoint = anyEndpoint(dice_);
        if (expected == 0 && badLength(endpoint)) expected = IRoutingTable.EndpointLength.selector;
        bytes memory call_ = abi.encodeCall(table.setEndpoint, (nodeAddresses[n], endpoint));
        if (attempt(caller, address(table), call_, expected)) {
            nodes[n].endpoint = keccak256(bytes(endpoint));
            ++done["endpoint set"];
        }
    }

    function announceTariff(uint256 seed) external {
        Dice memory dice_ = dice(seed);
        (uint256 n, address caller, bytes4 expected) = anyNode(dice_);
        IRoutingTable.Tariff memory tariff_ = anyTariff(dice_);
        if (expected == 0 && tooDear(tariff_)) expected = IRoutingTable.TariffAboveLimit.selector;
        bytes memory call_ = abi.encodeCall(table.announceTariff, (nodeAddresses[n], tariff_));
        if (attempt(caller, address(table), call_, expected)) {
            nodes[n].log.push(Announcement(block.timestamp, tariff_));
            ++done["tariff announced"];
        }
    }

    /// @dev Seldom, or soon no node would be left.
    function retire(uint256 seed) external {
        Dice memory dice_ = dice(seed);
        (uint256 n, address caller, bytes4 expected) = anyNode(dice_);
        if (expected == 0 && !oneIn(dice_, 24)) return;
        if (attempt(caller, address(table), abi.encodeCall(table.retire, (nodeAddresses[n])), expected)) {
            nodes[n].retiredAt = block.timestamp;
            ++done["retired"];
        }
    }

    /// @dev Mostly its operator calls.
    function anyNode(Dice memory dice_) private view returns (uint256 n, address caller, bytes4 expected) {
        n = roll(dice_, NODES);
        caller = nodes[n].operator;
        if (caller == address(0) || oneIn(dice_, 6)) caller = payer(roll(dice_, PAYERS));
        expected = liveError(nodeAddresses[n]);
        if (expected == 0 && caller != nodes[n].operator) expected = IRoutingTable.NotOperator.selector;
    }

    function liveError(address node) private view returns (bytes4) {
        for (uint256 n = 0; n < NODES; ++n) {
            if (nodeAddresses[n] != node || nodes[n].operator == address(0)) continue;
            return nodes[n].retiredAt == 0 ? bytes4(0) : IRoutingTable.AlreadyRetired.selector;
        }
        return IRoutingTable.NotRegistered.selector;
    }

    // ------------------------------------------------------------------------------------------------------ routes

    function setRoute(uint256 seed) external {
        Dice memory dice_ = dice(seed);
        uint256 x = roll(dice_, PAYERS);
        (address agent_, IRoutingTable.SealingKey memory key) = (anyAgent(dice_), anySealingKey(dice_));
        bytes memory call_ = abi.encodeCall(table.setRoute, (agent_, key));
        if (attempt(payer(x), address(table), call_, routeError(agent_, key))) routed(x, agent_, key);
    }

    /// @dev Signed by the wallet or by somebody else, and carried at once or left lying.
    function signRoute(uint256 seed) external {
        Dice memory dice_ = dice(seed);
        RouteWord memory word;
        word.from = roll(dice_, PAYERS);
        (word.agent, word.key) = (anyAgent(dice_), anySealingKey(dice_));
        word.nonce = to64(routes[word.from].nonce);
        word.validUntil = to64(block.timestamp - 1 + between(dice_, 0, 3 days));
        uint256 signer = word.from == WALLET || oneIn(dice_, 6) ? anyKey(dice_) : word.from;
        word.genuine = signer == word.from;
        word.signature = sign(signer, routeDigestOf(word));
        if (oneIn(dice_, 16)) (word.genuine, word.signature) = (false, malleated(word.signature));
        routeWords.push(word);
        if (!oneIn(dice_, 4)) carryRoute(dice_, word);
    }

    function carryRouteAgain(uint256 seed) external {
        Dice memory dice_ = dice(seed);
        if (routeWords.length == 0) return;
        uint256 age = roll(dice_, min(routeWords.length, 8));
        carryRoute(dice_, routeWords[routeWords.length - 1 - age]);
    }

    function carryRoute(Dice memory dice_, RouteWord memory word) private {
        bytes4 expected = 0;
        if (block.timestamp > word.validUntil) {
            expected = IRoutingTable.SignatureExpired.selector;
        } else if (!word.genuine || word.nonce != routes[word.from].nonce) {
            expected = IRoutingTable.InvalidSignature.selector;
        } else {
            expected = routeError(word.agent, word.key);
        }
        bytes memory call_ = abi.encodeCall(
            table.setRouteBySignature, (payer(word.from), word.agent, word.key, word.validUntil, word.signature)
        );
        if (attempt(payer(roll(dice_, PAYERS)), address(table), call_, expected)) {
            routed(word.from, word.agent, word.key);
            ++done["route carried"];
        }
    }

    function routeError(address agent_, IRoutingTable.SealingKey memory key) private view returns (bytes4) {
        if (agent_ == address(0)) return 0;
        bytes4 dead = liveError(agent_);
        if (dead != 0) return dead;
        return onCurve(key) ? bytes4(0) : IRoutingTable.NotOnCurve.selector;
    }

    function routed(uint256 x, address agent_, IRoutingTable.SealingKey memory key) private {
        ModelRoute storage route = routes[x];
        (route.agent, route.key) = (agent_, key);
        if (agent_ == address(0)) route.key = IRoutingTable.SealingKey(0, 0);
        ++route.nonce;
        did(agent_ == address(0), "route cleared", "route set");
    }

    // ------------------------------------------------------------------------------------------------------ chance

    function anyAgent(Dice memory dice_) private view returns (address) {
        uint256 face = roll(dice_, NODES + 2);
        if (face == NODES) return address(0);
        return face < NODES ? nodeAddresses[face] : payer(0);
    }

    /// @dev At times off the curve.
    function anySealingKey(Dice memory dice_) private view returns (IRoutingTable.SealingKey memory key) {
        key = sealingKeys[roll(dice_, sealingKeys.length)];
        uint256 face = roll(dice_, 32);
        if (face == 0) key.y += 1;
        if (face == 1) key = IRoutingTable.SealingKey(0, 0);
        if (face == 2) key.x = FIELD_PRIME;
    }

    /// @dev The four keys are points; what `anySealingKey` makes of them is none.
    function onCurve(IRoutingTable.SealingKey memory key) private view returns (bool) {
        for (uint256 k = 0; k < sealingKeys.length; ++k) {
            if (key.x == sealingKeys[k].x && key.y == sealingKeys[k].y) return true;
        }
        return false;
    }

    function anyEndpoint(Dice memory dice_) private pure returns (string memory) {
        uint256 face = roll(dice_, 16);
        uint256 length = face == 0 ? 0 : face == 1 ? ENDPOINT_LENGTH_MAX + 1 : face == 2 ? ENDPOINT_LENGTH_MAX : 20;
        return string(new bytes(length));
    }

    function badLength(string memory endpoint) private pure returns (bool) {
        return bytes(endpoint).length == 0 || bytes(endpoint).length > ENDPOINT_LENGTH_MAX;
    }

    function anyTariff(Dice memory dice_) private pure returns (IRoutingTable.Tariff memory) {
        uint64 most = oneIn(dice_, 16) ? TARIFF_MAX + 1 : uint64(100);
        return tariff(to64(roll(dice_, 100)), to64(roll(dice_, 100)), most == 100 ? to64(roll(dice_, 100)) : most);
    }

    function tooDear(IRoutingTable.Tariff memory tariff_) private pure returns (bool) {
        return tariff_.storing > TARIFF_MAX;
    }

    function consentOf(uint256 n, address operator, Registration memory entry) private view returns (bytes32) {
        bytes32 hash = keccak256(
            abi.encode(NODE_CONSENT_TYPEHASH, nodeAddresses[n], operator, entry.key.x, entry.key.y, entry.validUntil)
        );
        return digest(address(table), hash);
    }

    function routeDigestOf(RouteWord memory word) private view returns (bytes32) {
        bytes32 hash = keccak256(
            abi.encode(
                ROUTE_TYPEHASH, payer(word.from), word.agent, word.key.x, word.key.y, word.nonce, word.validUntil
            )
        );
        return digest(address(table), hash);
    }

    // ----------------------------------------------------------------------------------------- for the laws to read

    function modelNode(uint256 n) external view returns (ModelNode memory) {
        return nodes[n];
    }

    function modelRoute(uint256 x) external view returns (ModelRoute memory) {
        return routes[x];
    }

    /// @notice By the log alone: an announcement takes effect a notice later, unless another one came before.
    function tariffNow(uint256 n)
        external
        view
        returns (IRoutingTable.Tariff memory now_, uint256 version, IRoutingTable.Tariff memory next, uint256 nextFrom)
    {
        Announcement[] storage log = nodes[n].log;
        (now_, version) = (log[0].tariff, 1);
        for (uint256 i = 1; i < log.length; ++i) {
            uint256 from = log[i].time + NOTICE;
            bool replaced = i + 1 < log.length && log[i + 1].time < from;
            if (replaced) continue;
            if (from <= block.timestamp) (now_, version) = (log[i].tariff, version + 1);
            else (next, nextFrom) = (log[i].tariff, from);
        }
    }
}
