// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.35;

import {Test} from "forge-std/Test.sol";
import {Vm} from "forge-std/Vm.sol";

import {PrepaymentEscrow} from "../../contracts/src/PrepaymentEscrow.sol";
import {RoutingTable} from "../../contracts/src/RoutingTable.sol";
import {SettlementToken} from "../../contracts/src/SettlementToken.sol";
import {IPrepaymentEscrow} from "../../contracts/src/interfaces/IPrepaymentEscrow.sol";
import {IRoutingTable} from "../../contracts/src/interfaces/IRoutingTable.sol";
import {TestReserve} from "./mocks/TestReserve.sol";

/// @title A chain with the three contracts, some people, and verbs for what they do
/// @dev Digests are computed here a second time, from the text of the standard, so that the contracts are not held
/// against themselves.
abstract contract World is Test {
    bytes32 internal constant DOMAIN_TYPEHASH =
        keccak256("EIP712Domain(string name,string version,uint256 chainId,address verifyingContract)");
    bytes32 internal constant VOUCHER_TYPEHASH = keccak256("Voucher(address payer,address payee,uint96 cumulative)");
    bytes32 internal constant DELEGATION_TYPEHASH =
        keccak256("Delegation(address payer,address signer,bool authorized,uint256 nonce,uint64 validUntil)");
    bytes32 internal constant NODE_CONSENT_TYPEHASH = keccak256(
        "NodeConsent(address node,address operator,uint256 sealingKeyX,uint256 sealingKeyY,uint64 validUntil)"
    );
    bytes32 internal constant ROUTE_TYPEHASH = keccak256(
        "Route(address wallet,address agent,uint256 sealingKeyX,uint256 sealingKeyY,uint64 nonce,uint64 validUntil)"
    );
    bytes32 internal constant PERMIT_TYPEHASH =
        keccak256("Permit(address owner,address spender,uint256 value,uint256 nonce,uint256 deadline)");

    uint64 internal constant NOTICE = 7 days;
    uint64 internal constant START = 1_800_000_000;
    /// @dev The order of secp256k1.
    uint256 internal constant CURVE_ORDER = 0xfffffffffffffffffffffffffffffffebaaedce6af48a03bbfd25e8cd0364141;
    uint256 internal constant FIELD_PRIME = 0xfffffffffffffffffffffffffffffffffffffffffffffffffffffffefffffc2f;

    TestReserve internal reserve;
    SettlementToken internal token;
    PrepaymentEscrow internal escrow;
    RoutingTable internal table;

    /// @dev Customers.
    Vm.Wallet internal alice;
    Vm.Wallet internal carol;
    /// @dev Operators: of the agent, and of the relay that the agent pays.
    Vm.Wallet internal agent;
    Vm.Wallet internal relay;
    /// @dev A key that others entrust with signing.
    Vm.Wallet internal session;
    /// @dev Nobody in particular, with bad intentions.
    Vm.Wallet internal mallory;

    function setUp() public virtual {
        vm.warp(START);
        reserve = new TestReserve();
        token = new SettlementToken(reserve);
        escrow = new PrepaymentEscrow(address(token));
        table = new RoutingTable(address(escrow));

        alice = vm.createWallet("alice");
        carol = vm.createWallet("carol");
        agent = vm.createWallet("agent");
        relay = vm.createWallet("relay");
        session = vm.createWallet("session");
        mallory = vm.createWallet("mallory");
    }

    // -------------------------------------------------------------------------------------------------- money

    /// @dev Gives `who` freshly minted tokens and lets the escrow take them.
    function fund(address who, uint256 amount) internal {
        reserve.mint(who, amount);
        vm.startPrank(who);
        reserve.approve(address(token), amount);
        token.depositFor(who, amount);
        token.approve(address(escrow), type(uint256).max);
        vm.stopPrank();
    }

    function prepay(address payer, address payee, uint96 amount) internal {
        fund(payer, amount);
        vm.prank(payer);
        escrow.deposit(payer, payee, amount);
    }

    function prepayOpen(address payer, uint96 amount) internal {
        prepay(payer, address(0), amount);
    }

    // ----------------------------------------------------------------------------------------------- vouchers

    function voucherDigest(address payer, address payee, uint96 cumulative) internal view returns (bytes32) {
        return digest(address(escrow), keccak256(abi.encode(VOUCHER_TYPEHASH, payer, payee, cumulative)));
    }

    function row(Vm.Wallet memory signer, address payer, address payee, uint96 cumulative)
        internal
        returns (bytes memory)
    {
        (bytes32 r, bytes32 vs) = vm.signCompact(signer, voucherDigest(payer, payee, cumulative));
        return abi.encodePacked(payer, cumulative, r, vs);
    }

    function row(Vm.Wallet memory payer, address payee, uint96 cumulative) internal returns (bytes memory) {
        return row(payer, payer.addr, payee, cumulative);
    }

    /// @dev A claim of one row by a stranger; how it ended and what it paid.
    function claimOne(address payee, bytes memory rows) internal returns (IPrepaymentEscrow.RowResult, uint96) {
        vm.prank(mallory.addr);
        (uint96 total, bytes memory results) = escrow.claim(payee, rows);
        assertEq(results.length, 1, "one row, one result");
        return (IPrepaymentEscrow.RowResult(uint8(results[0])), total);
    }

    function payment(address payer, uint96 paid) internal pure returns (bytes memory) {
        return abi.encodePacked(payer, paid);
    }

    // ------------------------------------------------------------------------------------------------- EIP-712

    function digest(address verifyingContract, bytes32 structHash) internal view returns (bytes32) {
        bytes32 domain = keccak256(
            abi.encode(DOMAIN_TYPEHASH, keccak256("Layer Minus"), keccak256("1"), block.chainid, verifyingContract)
        );
        return keccak256(abi.encodePacked(hex"1901", domain, structHash));
    }

    function signature(Vm.Wallet memory signer, bytes32 digest_) internal returns (bytes memory) {
        (uint8 v, bytes32 r, bytes32 s) = vm.sign(signer, digest_);
        return abi.encodePacked(r, s, v);
    }

    /// @dev The other signature that says the same.
    function malleated(bytes memory signature_) internal pure returns (bytes memory) {
        bytes32 r;
        uint256 s;
        assembly ("memory-safe") {
            r := mload(add(signature_, 0x20))
            s := mload(add(signature_, 0x40))
        }
        return abi.encodePacked(r, CURVE_ORDER - s, signature_[64] == 0x1b ? uint8(28) : uint8(27));
    }

    function permitDigest(address owner, address spender, uint256 value, uint256 nonce, uint256 deadline)
        internal
        view
        returns (bytes32)
    {
        bytes32 domain = keccak256(
            abi.encode(DOMAIN_TYPEHASH, keccak256("Layer Minus Dollar"), keccak256("1"), block.chainid, address(token))
        );
        bytes32 structHash = keccak256(abi.encode(PERMIT_TYPEHASH, owner, spender, value, nonce, deadline));
        return keccak256(abi.encodePacked(hex"1901", domain, structHash));
    }

    // -------------------------------------------------------------------------------------------------- nodes

    function sealingKey(Vm.Wallet memory wallet) internal pure returns (IRoutingTable.SealingKey memory) {
        return IRoutingTable.SealingKey({x: wallet.publicKeyX, y: wallet.publicKeyY});
    }

    function tariff(uint64 delivery, uint64 relay_, uint64 storing)
        internal
        pure
        returns (IRoutingTable.Tariff memory)
    {
        return IRoutingTable.Tariff({delivery: delivery, relay: relay_, storing: storing});
    }

    function consent(Vm.Wallet memory node, address operator, IRoutingTable.SealingKey memory key, uint64 validUntil)
        internal
        returns (bytes memory)
    {
        bytes32 structHash = keccak256(abi.encode(NODE_CONSENT_TYPEHASH, node.addr, operator, key.x, key.y, validUntil));
        return signature(node, digest(address(table), structHash));
    }

    /// @dev Bonds `operator` and registers `node` under it, at 1, 2 and 3 base units, as a well-behaved operator does.
    function register(Vm.Wallet memory node, Vm.Wallet memory operator) internal {
        prepayOpen(operator.addr, table.MINIMUM_BOND());
        IRoutingTable.SealingKey memory key = sealingKey(node);
        uint64 validUntil = uint64(block.timestamp);
        bytes memory consent_ = consent(node, operator.addr, key, validUntil);
        vm.prank(operator.addr);
        table.register(node.addr, key, "https://node.example", tariff(1, 2, 3), validUntil, consent_);
    }

    function routeSignature(
        Vm.Wallet memory wallet,
        address agent_,
        IRoutingTable.SealingKey memory key,
        uint64 nonce,
        uint64 validUntil
    ) internal returns (bytes memory) {
        bytes32 structHash = keccak256(abi.encode(ROUTE_TYPEHASH, wallet.addr, agent_, key.x, key.y, nonce, validUntil));
        return signature(wallet, digest(address(table), structHash));
    }

    // --------------------------------------------------------------------------------------------------- time

    function warp(uint256 forward) internal {
        vm.warp(block.timestamp + forward);
    }

    // ------------------------------------------------------------------------------------------------- witness

    function assertLane(address payer, address payee, uint96 deposit, uint96 paid) internal view {
        (IPrepaymentEscrow.Lane memory lane,) = escrow.lane(payer, payee);
        assertEq(lane.deposit, deposit, "deposit");
        assertEq(lane.paid, paid, "paid");
    }

    function assertThaw(address payer, address payee, uint96 amount, uint64 endsAt) internal view {
        (, IPrepaymentEscrow.Thaw memory thaw) = escrow.lane(payer, payee);
        assertEq(thaw.amount, amount, "thawing");
        assertEq(thaw.endsAt, endsAt, "ends at");
    }

    function assertOpen(address payer, uint96 amount, uint96 thawing) internal view {
        (uint96 amount_, uint96 thawing_) = escrow.openBalance(payer);
        assertEq(amount_, amount, "open balance");
        assertEq(thawing_, thawing, "thawing of it");
    }

    function assertResult(IPrepaymentEscrow.RowResult given, IPrepaymentEscrow.RowResult expected) internal pure {
        assertEq(uint8(given), uint8(expected), "row result");
    }

    function assertKey(IRoutingTable.SealingKey memory given, IRoutingTable.SealingKey memory expected) internal pure {
        assertEq(given.x, expected.x, "key x");
        assertEq(given.y, expected.y, "key y");
    }

    function assertTariff(IRoutingTable.Tariff memory given, IRoutingTable.Tariff memory expected) internal pure {
        assertEq(given.delivery, expected.delivery, "delivery");
        assertEq(given.relay, expected.relay, "relay");
        assertEq(given.storing, expected.storing, "storing");
    }
}
