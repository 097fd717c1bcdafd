// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.35;

import {ECDSA} from "@openzeppelin/contracts/utils/cryptography/ECDSA.sol";
import {EIP712} from "@openzeppelin/contracts/utils/cryptography/EIP712.sol";

import {IPrepaymentEscrow} from "./interfaces/IPrepaymentEscrow.sol";
import {IRoutingTable} from "./interfaces/IRoutingTable.sol";

/// @title Which node is responsible for which wallet, and what it asks
/// @notice See `IRoutingTable`, which is the document.
/// @dev Calls nobody but the escrow, and that only to read, hence needs no reentrancy guard.
contract RoutingTable is IRoutingTable, EIP712 {
    /// @inheritdoc IRoutingTable
    uint96 public constant MINIMUM_BOND = 10e6;
    /// @inheritdoc IRoutingTable
    uint64 public constant TARIFF_NOTICE = 7 days;
    /// @inheritdoc IRoutingTable
    uint256 public constant ENDPOINT_LENGTH_MAX = 200;
    /// @inheritdoc IRoutingTable
    uint64 public constant TARIFF_MAX = 1e12;
    /// @inheritdoc IRoutingTable
    uint256 public constant PAGE_LENGTH_MAX = 100;

    bytes32 private constant NODE_CONSENT_TYPEHASH = keccak256(
        "NodeConsent(address node,address operator,uint256 sealingKeyX,uint256 sealingKeyY,uint64 validUntil)"
    );
    bytes32 private constant ROUTE_TYPEHASH = keccak256(
        "Route(address wallet,address agent,uint256 sealingKeyX,uint256 sealingKeyY,uint64 nonce,uint64 validUntil)"
    );

    /// @dev The field of secp256k1, whose curve is y^2 = x^3 + 7.
    uint256 private constant FIELD_PRIME = 0xfffffffffffffffffffffffffffffffffffffffffffffffffffffffefffffc2f;

    /// @inheritdoc IRoutingTable
    address public immutable escrow;

    /// @dev Kept as the interface shows it, except that a `next` which took effect stays there until the next
    /// announcement; `_asOfNow` turns the page for readers.
    /// slot 0: operator 160 | registeredAt 64
    /// slot 1: retiredAt 64
    /// slot 2, 3: sealingKey
    /// slot 4: tariff 3 * 64, each at most `TARIFF_MAX`
    /// slot 5: tariffVersion 32, which grows by at most one per `TARIFF_NOTICE`
    /// slot 6: next 3 * 64
    /// slot 7: nextFrom 64
    /// slot 8: endpoint
    mapping(address node => Node) private _nodes;

    /// @dev In order of registration, retired ones included, so that a page once read stays where it was.
    address[] private _nodeList;

    /// @dev slot 0: agent 160 | nonce 64; slot 1, 2: sealingKey. Nobody sets a route 2^64 times.
    mapping(address wallet => Route) private _routes;

    constructor(address escrow_) EIP712("Layer Minus", "1") {
        escrow = escrow_;
    }

    // -------------------------------------------------------------------------------------------------- nodes

    /// @inheritdoc IRoutingTable
    function register(
        address node_,
        SealingKey calldata sealingKey,
        string calldata endpoint,
        Tariff calldata tariff,
        uint64 validUntil,
        bytes calldata consent
    ) external {
        require(block.timestamp <= validUntil, SignatureExpired(validUntil, block.timestamp));
        require(_nodes[node_].operator == address(0), NodeExists(node_));
        _requireOnCurve(sealingKey);
        _requireEndpoint(endpoint);
        _requireTariff(tariff);
        _requireSignature(node_, consentDigest(node_, msg.sender, sealingKey, validUntil), consent);
        (uint96 balance, uint96 thawing) = IPrepaymentEscrow(escrow).openBalance(msg.sender);
        require(balance - thawing >= MINIMUM_BOND, BondTooLow(balance - thawing, MINIMUM_BOND));

        Node storage entry = _nodes[node_];
        (entry.operator, entry.registeredAt) = (msg.sender, uint64(block.timestamp));
        entry.sealingKey = sealingKey;
        (entry.tariff, entry.tariffVersion) = (tariff, 1);
        entry.endpoint = endpoint;
        _nodeList.push(node_);

        emit NodeRegistered(node_, msg.sender);
        emit EndpointChanged(node_, endpoint);
        emit TariffAnnounced(node_, 1, tariff, uint64(block.timestamp));
    }

    /// @inheritdoc IRoutingTable
    function setEndpoint(address node_, string calldata endpoint) external {
        Node storage entry = _ownLiveNode(node_);
        _requireEndpoint(endpoint);

        entry.endpoint = endpoint;

        emit EndpointChanged(node_, endpoint);
    }

    /// @inheritdoc IRoutingTable
    function announceTariff(address node_, Tariff calldata tariff) external {
        Node storage entry = _ownLiveNode(node_);
        _requireTariff(tariff);

        if (_tookEffect(entry.nextFrom)) {
            entry.tariff = entry.next;
            ++entry.tariffVersion;
        }
        uint64 effectiveFrom = uint64(block.timestamp) + TARIFF_NOTICE;
        (entry.next, entry.nextFrom) = (tariff, effectiveFrom);

        emit TariffAnnounced(node_, entry.tariffVersion + 1, tariff, effectiveFrom);
    }

    /// @inheritdoc IRoutingTable
    function retire(address node_) external {
        Node storage entry = _ownLiveNode(node_);

        entry.retiredAt = uint64(block.timestamp);

        emit NodeRetired(node_);
    }

    // ------------------------------------------------------------------------------------------------- routes

    /// @inheritdoc IRoutingTable
    function setRoute(address agent, SealingKey calldata sealingKey) external {
        _setRoute(msg.sender, agent, sealingKey);
    }

    /// @inheritdoc IRoutingTable
    function setRouteBySignature(
        address wallet,
        address agent,
        SealingKey calldata sealingKey,
        uint64 validUntil,
        bytes calldata signature
    ) external {
        require(block.timestamp <= validUntil, SignatureExpired(validUntil, block.timestamp));
        bytes32 digest = routeDigest(wallet, agent, sealingKey, _routes[wallet].nonce, validUntil);
        _requireSignature(wallet, digest, signature);

        _setRoute(wallet, agent, sealingKey);
    }

    function _setRoute(address wallet, address agent, SealingKey calldata sealingKey) private {
        Route storage entry = _routes[wallet];
        if (agent == address(0)) {
            delete entry.sealingKey;
        } else {
            _requireLive(agent);
            _requireOnCurve(sealingKey);
            entry.sealingKey = sealingKey;
        }
        entry.agent = agent;
        uint64 nonce = ++entry.nonce;

        emit RouteSet(wallet, agent, nonce, entry.sealingKey);
    }

    // ------------------------------------------------------------------------------------------------- checks

    /// @dev The caller's own node, still live.
    function _ownLiveNode(address node_) private view returns (Node storage entry) {
        entry = _requireLive(node_);
        require(entry.operator == msg.sender, NotOperator(msg.sender, entry.operator));
    }

    function _requireLive(address node_) private view returns (Node storage entry) {
        entry = _nodes[node_];
        require(entry.operator != address(0), NotRegistered(node_));
        require(entry.retiredAt == 0, AlreadyRetired(node_));
    }

    /// @dev The zero address signs nothing: recovery reports a failure as zero.
    function _requireSignature(address expected, bytes32 digest, bytes calldata signature) private pure {
        (address recovered,,) = ECDSA.tryRecoverCalldata(digest, signature);
        require(recovered == expected && expected != address(0), InvalidSignature(expected));
    }

    function _requireEndpoint(string calldata endpoint) private pure {
        uint256 length = bytes(endpoint).length;
        require(length != 0 && length <= ENDPOINT_LENGTH_MAX, EndpointLength(length, ENDPOINT_LENGTH_MAX));
    }

    function _requireTariff(Tariff calldata tariff) private pure {
        require(tariff.delivery <= TARIFF_MAX, TariffAboveLimit(tariff.delivery, TARIFF_MAX));
        require(tariff.relay <= TARIFF_MAX, TariffAboveLimit(tariff.relay, TARIFF_MAX));
        require(tariff.storing <= TARIFF_MAX, TariffAboveLimit(tariff.storing, TARIFF_MAX));
    }

    /// @dev The point at infinity has no affine form, and (0, 0) is not on the curve.
    function _requireOnCurve(SealingKey calldata key) private pure {
        (uint256 x, uint256 y) = (key.x, key.y);
        uint256 cube = mulmod(mulmod(x, x, FIELD_PRIME), x, FIELD_PRIME);
        bool onCurve = mulmod(y, y, FIELD_PRIME) == addmod(cube, 7, FIELD_PRIME);
        require(x < FIELD_PRIME && y < FIELD_PRIME && onCurve, NotOnCurve(x, y));
    }

    // -------------------------------------------------------------------------------------------------- views

    /// @inheritdoc IRoutingTable
    function resolve(address wallet) external view returns (Route memory, Node memory) {
        Route memory entry = _routes[wallet];
        require(entry.agent != address(0), NoRoute(wallet));

        return (entry, _asOfNow(entry.agent));
    }

    /// @inheritdoc IRoutingTable
    function route(address wallet) external view returns (Route memory) {
        return _routes[wallet];
    }

    /// @inheritdoc IRoutingTable
    function node(address node_) external view returns (Node memory) {
        return _asOfNow(node_);
    }

    /// @inheritdoc IRoutingTable
    function nodeCount() external view returns (uint256) {
        return _nodeList.length;
    }

    /// @inheritdoc IRoutingTable
    function nodes(uint256 offset, uint256 limit)
        external
        view
        returns (address[] memory addresses, Node[] memory entries)
    {
        require(limit <= PAGE_LENGTH_MAX, PageTooLong(limit, PAGE_LENGTH_MAX));
        uint256 left = offset < _nodeList.length ? _nodeList.length - offset : 0;
        uint256 length = limit < left ? limit : left;

        addresses = new address[](length);
        entries = new Node[](length);
        for (uint256 i = 0; i < length; ++i) {
            addresses[i] = _nodeList[offset + i];
            entries[i] = _asOfNow(addresses[i]);
        }
    }

    /// @inheritdoc IRoutingTable
    function consentDigest(address node_, address operator, SealingKey calldata sealingKey, uint64 validUntil)
        public
        view
        returns (bytes32)
    {
        return _hashTypedDataV4(
            keccak256(abi.encode(NODE_CONSENT_TYPEHASH, node_, operator, sealingKey.x, sealingKey.y, validUntil))
        );
    }

    /// @inheritdoc IRoutingTable
    function routeDigest(address wallet, address agent, SealingKey calldata sealingKey, uint64 nonce, uint64 validUntil)
        public
        view
        returns (bytes32)
    {
        return _hashTypedDataV4(
            keccak256(abi.encode(ROUTE_TYPEHASH, wallet, agent, sealingKey.x, sealingKey.y, nonce, validUntil))
        );
    }

    /// @dev A node with its announced tariff in force if its time has come; all zero when it was never registered.
    function _asOfNow(address node_) private view returns (Node memory entry) {
        entry = _nodes[node_];
        if (_tookEffect(entry.nextFrom)) {
            entry.tariff = entry.next;
            ++entry.tariffVersion;
            entry.next = Tariff(0, 0, 0);
            entry.nextFrom = 0;
        }
    }

    function _tookEffect(uint64 nextFrom) private view returns (bool) {
        return nextFrom != 0 && block.timestamp >= nextFrom;
    }
}
