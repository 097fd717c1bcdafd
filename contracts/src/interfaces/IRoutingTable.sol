// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.35;

/// @title Which node is responsible for which wallet, and what it asks
/// @notice Two tables. *Nodes*: registered by an operator with the node key's own consent; only the operator changes an
/// entry, a price only after notice, and a retired entry stays as a tombstone for good. *Routes*: a wallet names the
/// node that receives for it and the key to seal to; only the wallet can, by transaction or by a signature that anyone
/// may carry. Nothing here expires, and nobody owns, pauses, upgrades or tidies it (law 7).
///
/// Signatures are EIP-712 in the domain (`Layer Minus`, `1`, this chain, this contract), 65 bytes r | s | v, by
/// secp256k1 keys, the lower of the two values of `s` only. Delegates of the escrow sign nothing here.
///
/// Assumes
/// - of the escrow: that `openBalance` tells the truth. It is only read;
/// - of the clock: that block times are off by seconds at most, against a notice of days.
///
/// What each counterparty has to watch
/// - Everyone: an *endpoint* is a stranger's word, any 1 to `ENDPOINT_LENGTH_MAX` bytes, not even surely UTF-8, and
///   changes at once. Resolve it and refuse private addresses before connecting.
/// - Everyone: the *bond* is looked at once, when a node registers. It is one per operator, not per node, backs the
///   operator's vouchers like any open balance, and may be thawed the next minute. Who relies on it reads
///   `openBalance(operator)` and follows its notices.
/// - A *customer*: an agent may retire at any time and at once. `resolve` still returns it, with `retiredAt`; the
///   caller looks and the wallet sets another route. Follow `TariffAnnounced`: a new price holds after its notice
///   whether the customer agrees or not.
/// - A *sender*: the sealing key of a route is on the curve and was set by the wallet; that anybody still knows its
///   secret is not checked. A key change takes effect with its block: seal to what `resolve` says now.
/// - A *node*: a wallet may name it without asking. Being named obliges to nothing.
/// - A node's *consent* names operator, sealing key and a time; not endpoint and tariff, which are the operator's. Its
///   operator cannot be changed: to move a node, retire it and make a new key.
interface IRoutingTable {
    // -------------------------------------------------------------------------------------------------- structs

    /// @notice A secp256k1 point, affine, checked to be on the curve.
    struct SealingKey {
        uint256 x;
        uint256 y;
    }

    /// @notice Prices in token base units: per GiB (2^30 bytes) delivered and relayed, per GiB-day stored. Each is at
    /// most `TARIFF_MAX`; 0 is a price, too.
    struct Tariff {
        uint64 delivery;
        uint64 relay;
        uint64 storing;
    }

    /// @notice A node as it stands now. Versions count from 1; `next` (version + 1) takes effect at `nextFrom`,
    /// which is 0 when no change is announced. `retiredAt` is 0 while the node is live, and final afterwards. All
    /// fields are zero for an address that was never registered.
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

    /// @notice Where a wallet receives. `agent` is zero, and the key (0, 0), when the wallet has no route. `nonce` is
    /// how often it was set, and what the wallet's next signature must carry.
    struct Route {
        address agent;
        uint64 nonce;
        SealingKey sealingKey;
    }

    // --------------------------------------------------------------------------------------------------- events

    /// @notice Followed, in the same transaction, by its `EndpointChanged` and its `TariffAnnounced`.
    event NodeRegistered(address indexed node, address indexed operator);
    event EndpointChanged(address indexed node, string endpoint);
    /// @notice `tariff` holds from `effectiveFrom` on. A later announcement of the same version replaces this one.
    event TariffAnnounced(address indexed node, uint32 version, Tariff tariff, uint64 effectiveFrom);
    event NodeRetired(address indexed node);
    /// @notice The route as it is now; `agent` zero when it was cleared.
    event RouteSet(address indexed wallet, address indexed agent, uint64 nonce, SealingKey sealingKey);

    // --------------------------------------------------------------------------------------------------- errors

    /// @notice `given` is the operator's open balance less what is thawing.
    error BondTooLow(uint256 given, uint256 required);
    /// @notice Registered before, be it retired since.
    error NodeExists(address node);
    error NotRegistered(address node);
    error AlreadyRetired(address node);
    error NotOperator(address caller, address operator);
    /// @notice From 1 to `limit` bytes.
    error EndpointLength(uint256 given, uint256 limit);
    error TariffAboveLimit(uint64 given, uint64 limit);
    error NotOnCurve(uint256 x, uint256 y);
    error NoRoute(address wallet);
    error SignatureExpired(uint64 validUntil, uint256 timestamp);
    /// @notice Not 65 bytes, malleable, or not signed by `expected` over these very fields and its present nonce.
    error InvalidSignature(address expected);
    error PageTooLong(uint256 given, uint256 limit);

    // ------------------------------------------------------------------------------------------------- constants

    /// @notice The escrow whose open balances are the bonds. Fixed for good.
    function escrow() external view returns (address);

    /// @notice What an operator's open balance must hold, beyond what is thawing, to register a node: 10 tokens, which
    /// first back its vouchers. One bond serves for all nodes of an operator; idle entries are deterred by gas.
    function MINIMUM_BOND() external view returns (uint96);

    /// @notice Seconds between announcing a price and its taking effect: 7 days, as long as the escrow's notice, so
    /// that a customer who dislikes it can have its money back by then.
    function TARIFF_NOTICE() external view returns (uint64);

    /// @notice Bytes of an endpoint: 200, several times a usual URL, and a bound to what a page of nodes costs to read.
    function ENDPOINT_LENGTH_MAX() external view returns (uint256);

    /// @notice Base units per GiB or GiB-day: 10^12, a million tokens. Below 2^40, so that a price times any total
    /// below 2^88 (bytes, or byte-seconds: 64 PiB kept for 136 years) fits 128 bits.
    function TARIFF_MAX() external view returns (uint64);

    /// @notice Nodes in a page: 100 take at most some four million gas to read, which every RPC endpoint's `eth_call`
    /// allows.
    function PAGE_LENGTH_MAX() external view returns (uint256);

    // ----------------------------------------------------------------------------------------------------- nodes

    /// @notice Registers `node` under the caller as operator, at tariff version 1, in force at once. `consent` is the
    /// node's signature over
    /// `NodeConsent(address node,address operator,uint256 sealingKeyX,uint256 sealingKeyY,uint64 validUntil)`, good
    /// until `validUntil` inclusive. The caller's open balance holds the bond.
    function register(
        address node,
        SealingKey calldata sealingKey,
        string calldata endpoint,
        Tariff calldata tariff,
        uint64 validUntil,
        bytes calldata consent
    ) external;

    /// @notice Changes the endpoint at once. By the operator of a live node.
    function setEndpoint(address node, string calldata endpoint) external;

    /// @notice Announces a price that takes effect after `TARIFF_NOTICE`. Replaces one that was announced and is not
    /// yet in effect, and starts the notice anew. By the operator of a live node.
    function announceTariff(address node, Tariff calldata tariff) external;

    /// @notice Ends a node for good. Routes that name it stay as they are. By the operator of a live node.
    function retire(address node) external;

    // ---------------------------------------------------------------------------------------------------- routes

    /// @notice Sets the caller's route to a live node. Agent zero clears it, whatever the key.
    function setRoute(address agent, SealingKey calldata sealingKey) external;

    /// @notice Sets `wallet`'s route by its signature over
    /// `Route(address wallet,address agent,uint256 sealingKeyX,uint256 sealingKeyY,uint64 nonce,uint64 validUntil)`
    /// with the wallet's present nonce, good until `validUntil` inclusive. Every set, by transaction or signature,
    /// counts the nonce up and thereby spoils what was signed before.
    function setRouteBySignature(
        address wallet,
        address agent,
        SealingKey calldata sealingKey,
        uint64 validUntil,
        bytes calldata signature
    ) external;

    // ----------------------------------------------------------------------------------------------------- views

    /// @notice All a light client needs to reach `wallet`; reverts with `NoRoute` when it has none. The agent may have
    /// retired since: look at `retiredAt`.
    function resolve(address wallet) external view returns (Route memory, Node memory);

    /// @notice The wallet's route; zeros and a nonce when it has none.
    function route(address wallet) external view returns (Route memory);

    /// @notice The node as it stands now: a change that took effect is its `tariff`.
    function node(address node_) external view returns (Node memory);

    /// @notice How many nodes were ever registered.
    function nodeCount() external view returns (uint256);

    /// @notice Up to `limit` nodes from number `offset` on, in order of registration, retired ones included: a page
    /// once read never shifts.
    function nodes(uint256 offset, uint256 limit) external view returns (address[] memory, Node[] memory);

    /// @notice EIP-712 digest of the `NodeConsent` that `register` takes.
    function consentDigest(address node, address operator, SealingKey calldata sealingKey, uint64 validUntil)
        external
        view
        returns (bytes32);

    /// @notice EIP-712 digest of the `Route` that `setRouteBySignature` takes.
    function routeDigest(address wallet, address agent, SealingKey calldata sealingKey, uint64 nonce, uint64 validUntil)
        external
        view
        returns (bytes32);
}
