// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.35;

/// @title Which node is responsible for which wallet, and what it asks
interface IRoutingTable {
    /// @notice A secp256k1 point, affine, checked to be on the curve.
    struct SealingKey {
        uint256 x;
        uint256 y;
    }

    /// @notice Prices in token base units: per GiB (2^30 bytes) delivered and relayed, per GiB-day stored.
    struct Tariff {
        uint64 delivery;
        uint64 relay;
        uint64 storing;
    }

    /// @notice A node as it stands now. Versions count from 1; `next` (version + 1) takes effect at `nextFrom`,
    /// which is 0 when no change is announced. `retiredAt` is 0 while the node is live, and final afterwards.
    struct Node {
        address operator;
        uint64 registeredAt;
        uint64 retiredAt;
        SealingKey sealingKey;
        Tariff tariff;
        uint32 tariffVersion;
        Tariff next;
        uint64 nextFrom;
        string endpoint;
    }

    /// @notice Where a wallet receives. `agent` is zero when the wallet has no route.
    struct Route {
        address agent;
        uint64 nonce;
        SealingKey sealingKey;
    }

    event NodeRegistered(address indexed node, address indexed operator);
    event EndpointChanged(address indexed node, string endpoint);
    event TariffAnnounced(address indexed node, uint32 version, Tariff tariff, uint64 effectiveFrom);
    event NodeRetired(address indexed node);
    event RouteSet(address indexed wallet, address indexed agent, uint64 nonce, SealingKey sealingKey);

    error BondTooLow(uint256 given, uint256 required);
    error NodeExists(address node);
    error NotRegistered(address node);
    error AlreadyRetired(address node);
    error NotOperator(address caller, address operator);
    error EndpointLength(uint256 given, uint256 limit);
    error TariffAboveLimit(uint64 given, uint64 limit);
    error NotOnCurve(uint256 x, uint256 y);
    error NoRoute(address wallet);
    error SignatureExpired(uint64 validUntil, uint256 timestamp);
    error InvalidSignature(address expected);
    error PageTooLong(uint256 given, uint256 limit);

    function escrow() external view returns (address);
    function MINIMUM_BOND() external view returns (uint96);
    function TARIFF_NOTICE() external view returns (uint64);
    function ENDPOINT_LENGTH_MAX() external view returns (uint256);
    function TARIFF_MAX() external view returns (uint64);
    function PAGE_LENGTH_MAX() external view returns (uint256);

    /// @notice Registers `node` under the caller as operator. `consent` is the node's signature over
    /// `NodeConsent(address node,address operator,uint256 sealingKeyX,uint256 sealingKeyY,uint64 validUntil)`.
    function register(
        address node,
        SealingKey calldata sealingKey,
        string calldata endpoint,
        Tariff calldata tariff,
        uint64 validUntil,
        bytes calldata consent
    ) external;
    function setEndpoint(address node, string calldata endpoint) external;
    function announceTariff(address node, Tariff calldata tariff) external;
    function retire(address node) external;

    /// @notice Sets the caller's route. Agent zero clears it.
    function setRoute(address agent, SealingKey calldata sealingKey) external;
    /// @notice Sets `wallet`'s route by its signature over `Route(address wallet,address agent,uint256 sealingKeyX,
    /// uint256 sealingKeyY,uint64 nonce,uint64 validUntil)`, with the wallet's present nonce.
    function setRouteBySignature(
        address wallet,
        address agent,
        SealingKey calldata sealingKey,
        uint64 validUntil,
        bytes calldata signature
    ) external;

    /// @notice All a light client needs to reach `wallet`; reverts with `NoRoute` when it has none.
    function resolve(address wallet) external view returns (Route memory, Node memory);
    function route(address wallet) external view returns (Route memory);
    function node(address node_) external view returns (Node memory);
    function nodeCount() external view returns (uint256);
    function nodes(uint256 offset, uint256 limit) external view returns (address[] memory, Node[] memory);
    function consentDigest(address node, address operator, SealingKey calldata sealingKey, uint64 validUntil)
        external
        view
        returns (bytes32);
    function routeDigest(address wallet, address agent, SealingKey calldata sealingKey, uint64 nonce, uint64 validUntil)
        external
        view
        returns (bytes32);
}
