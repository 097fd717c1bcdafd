// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.35;

/// @title Lanes of prepaid tokens, moved by cumulative vouchers
/// @notice A *lane* runs from a payer to a payee. The lane to the zero address is the payer's *open balance*. A payer
/// prepays a lane and signs vouchers, each stating the running total of all it ever owed that payee. Whoever has the
/// latest voucher can `claim`: the escrow pays the difference to what the lane has paid, from the lane first, then from
/// the payer's open balance, and credits the payee's open balance, where it backs at once what the payee owes others.
/// Money returns to a wallet by one way only: `thaw`, a notice of `NOTICE_PERIOD`, `withdraw`.
///
/// The laws (by their numbers in the design):
/// 1. all deposits of all lanes equal what was deposited less what was withdrawn;
/// 2. a payer's money moves by its signature or its live delegate's, or by its own transaction;
/// 3. a voucher at or below the running total pays nothing;
/// 4. nothing is withdrawn sooner than a notice after it was announced, and claims go first all along the way;
/// 5. a bad row of a batch never stops a good one;
/// 7. nobody owns, pauses or upgrades this.
///
/// Signatures are EIP-712 in the domain (`Layer Minus`, `1`, this chain, this contract) by secp256k1 keys, the lower of
/// the two values of `s` only. A voucher binds payer, payee and total; it has no expiry and no nonce, and needs none:
/// an old one is worth nothing beside a newer one.
///
/// Assumes
/// - of the token: a transfer moves exactly what it says, or reverts (checked on the way in); balances here fall by
///   nothing but `withdraw`. It may call back; nothing can be deposited or withdrawn inside such a call;
/// - of the clock: that block times are off by seconds at most, against periods of days;
/// - of payers: that their keys are theirs alone. They may collude with payees and with each other.
///
/// Liveness: there is none to rely on but the chain's. A payee that cannot get a transaction in within the notice
/// period loses what is withdrawn meanwhile.
///
/// What each counterparty has to watch
/// - A *payee* counts on `deposit` less what is thawing, and on nothing else. A notice has no end: once served, its
///   amount may leave at any moment, months later. So follow `ThawStarted`, and claim before the notice ends.
/// - A payee that relies on an *open balance* shares it with every other payee, and with whoever the payer invents: by
///   a voucher to a second key of its own the payer can move all of it out of reach in one transaction and without
///   notice. A lane is reserved for its payee, an open balance for nobody. Extend credit against it accordingly, and
///   claim often.
/// - A payee that holds vouchers signed by a *delegate* claims them within a notice of `DelegateRevoked`.
/// - A *payer* trusts its delegates with everything: a live delegate can sign away all lanes and the open balance, to
///   itself if it likes. Revoking takes a notice to bite. Delegates cannot thaw, withdraw or name other delegates.
/// - A payer that signs a total too high cannot take it back: the excess is a gift, due as soon as money is there.
/// - A *payee's* earnings sit in its open balance; vouchers that it signs itself, or its delegate, are paid out of it.
///
/// Not protected: tokens sent here past `deposit` belong to no lane and are lost; a token whose balances shrink leaves
/// the last to withdraw with nothing; a wallet that is a contract cannot sign here yet.
interface IPrepaymentEscrow {
    // -------------------------------------------------------------------------------------------------- structs

    /// @notice One lane. `deposit` is what is there and unclaimed; `paid` is the running total ever claimed, which
    /// nothing ever lowers. In an open balance `paid` stays 0.
    struct Lane {
        uint96 deposit;
        uint96 paid;
    }

    /// @notice A payer's notice that `amount` of a lane is to leave at `endsAt` or later. Both are 0 when there is
    /// none. `amount` may exceed what claims have left of the deposit; then less will leave.
    struct Thaw {
        uint96 amount;
        uint64 endsAt;
    }

    /// @notice What a payer said of another signer, in seconds since 1970. Live while `authorized`, or until
    /// `revokedAt + NOTICE_PERIOD`. `authorizedAt` is when the present, or else the last, authorisation began;
    /// `revokedAt` is the last revocation, and stays readable after another authorisation.
    struct Delegate {
        uint64 authorizedAt;
        uint64 revokedAt;
        bool authorized;
    }

    /// @notice How one row of a claim ended. The numbers are part of the interface. A row is checked in the order
    /// payer, signature, running total, money, and tells what it met first.
    enum RowResult {
        Paid, // 0: the whole difference was paid
        PartlyPaid, // 1: less than the difference was there; what was there was paid, the rest stays due
        NothingNew, // 2: the running total is not above what was already paid
        Unfunded, // 3: neither lane nor open balance holds anything; all stays due
        BadSignature, // 4: not signed by the payer or a live delegate, or malleable
        BadPayer // 5: the payer is the zero address or the payee itself
    }

    // --------------------------------------------------------------------------------------------------- events

    /// @notice `amount` was added to the lane from `payer` to `payee` by `from`.
    event Deposited(address indexed payer, address indexed payee, address indexed from, uint96 amount);

    /// @notice `payee`'s open balance grew by `total`. `payments` packs 32 bytes for each row that paid, in the order
    /// of the rows: payer (20 bytes), amount paid by this row (12 bytes). They sum up to `total`. How much of a payment
    /// came out of the payer's open balance is not said; read the two lanes.
    event Claimed(address indexed payee, uint96 total, bytes payments);

    /// @notice A notice was started or replaced; or taken back, then `amount` and `endsAt` are 0.
    event ThawStarted(address indexed payer, address indexed payee, uint96 amount, uint64 endsAt);

    /// @notice `amount` left the lane for `to`, and the notice is used up. 0 if claims had taken all.
    event Withdrawn(address indexed payer, address indexed payee, address indexed to, uint96 amount);

    /// @notice `payer` let `signer` sign its vouchers. Said again of a live one, it changes nothing.
    event DelegateAuthorized(address indexed payer, address indexed signer);

    /// @notice `payer` took that back; the signer stays live until just before `liveUntil`.
    event DelegateRevoked(address indexed payer, address indexed signer, uint64 liveUntil);

    // --------------------------------------------------------------------------------------------------- errors

    error ZeroAmount();
    /// @notice The payer of a lane is neither the zero address nor the payee.
    error BadLane(address payer, address payee);
    /// @notice The token moved another amount than it was told to.
    error TransferMismatch(uint256 received, uint256 expected);
    /// @notice More than 96 bits of tokens here: no lane's arithmetic shall ever overflow.
    error EscrowFull(uint256 balance, uint256 limit);
    /// @notice Rows are 96 bytes each, and at least one.
    error MalformedRows(uint256 length);
    error BadPayee(address payee);
    error ThawAboveDeposit(uint96 amount, uint96 deposit);
    error NothingThawing(address payer, address payee);
    error NoticeRunning(uint64 endsAt, uint256 timestamp);
    /// @notice Tokens withdrawn to the zero address or to the escrow itself would be lost.
    error BadRecipient(address to);
    /// @notice A delegate is neither the zero address nor the payer.
    error BadSigner(address signer);
    error NotAuthorized(address payer, address signer);
    error SignatureExpired(uint64 validUntil, uint256 timestamp);
    /// @notice Not 65 bytes, malleable, or not signed by `expected` over these very fields and its present nonce.
    error InvalidSignature(address expected);

    // ------------------------------------------------------------------------------------------------- constants

    /// @notice Seconds between announcing and leaving, and between revoking a delegate and its end: 7 days, so that a
    /// payee that collects once a day misses a notice only by a week of neglect.
    function NOTICE_PERIOD() external view returns (uint64);

    /// @notice The ERC-20 that all amounts are in, as base units. Fixed for good.
    function token() external view returns (address);

    // --------------------------------------------------------------------------------------------------- deposit

    /// @notice Adds `amount` of the caller's tokens to the lane from `payer` to `payee`; `payee` zero is the payer's
    /// open balance. By anyone for anyone, contracts included. The money is the payer's from then on: a depositor has
    /// no claim to its return. The caller has approved the escrow. Leaves a running notice alone.
    function deposit(address payer, address payee, uint96 amount) external;

    /// @notice As `deposit`, with the caller's EIP-2612 permit of `amount` to the escrow. A permit that somebody else
    /// has already carried to the token does no harm: whether the allowance is there, the transfer decides.
    function depositWithPermit(
        address payer,
        address payee,
        uint96 amount,
        uint256 deadline,
        uint8 v,
        bytes32 r,
        bytes32 s
    ) external;

    // ----------------------------------------------------------------------------------------------------- claim

    /// @notice Pays each row's difference from its payer to `payee`'s open balance. Anyone may submit, and gains
    /// nothing by it. Reverts for `payee` zero and for rows of a wrong length, never because of a row. Underfunded rows
    /// pay what is there; the lane remembers exactly what was paid, and the same voucher pays the rest later. A batch
    /// is settled in its order: where two rows want the same open balance, the first one has it. Says nothing
    /// (no event) when nothing was paid.
    /// @param rows packed 96-byte rows: payer 20 | cumulative 12 | r 32 | vs 32 (EIP-2098).
    /// @return total what was credited. @return results one byte a row, a `RowResult`.
    function claim(address payee, bytes calldata rows) external returns (uint96 total, bytes memory results);

    // ------------------------------------------------------------------------------------------ thaw and withdraw

    /// @notice Announces that `amount` of the caller's lane to `payee` is to leave; it may after `NOTICE_PERIOD`.
    /// Moves nothing, and shields nothing: claims take from the announced money, too. Replaces a running notice and
    /// starts the clock anew; `amount` 0 takes it back. At most the lane's present deposit can be announced. `payee`
    /// zero is the open balance, earnings included.
    function thaw(address payee, uint96 amount) external;

    /// @notice Sends what was announced, or what claims have left of it, to `to`, at `endsAt` or any time later, and
    /// uses up the notice, even if nothing was left. Only the payer itself can call.
    function withdraw(address payee, address to) external returns (uint96 amount);

    // ------------------------------------------------------------------------------------------------- delegates

    /// @notice Lets `signer` sign the caller's vouchers from now on, to any payee.
    function authorize(address signer) external;

    /// @notice Takes that back, with effect after `NOTICE_PERIOD`, so that payees can claim what they hold. Refused of
    /// a signer that is not authorized, hence also a second time: the clock runs from the first.
    function revoke(address signer) external;

    /// @notice As `authorize` or `revoke`, by the payer's signature over
    /// `Delegation(address payer,address signer,bool authorized,uint64 nonce,uint64 validUntil)`, carried by anyone
    /// until `validUntil` inclusive. `nonce` is the payer's present `delegationNonce`, one for all its signers, so that
    /// signatures take effect in the order they were made; transactions do not count it up.
    /// @param signature 65 bytes, r | s | v, by the payer itself.
    function setDelegateBySignature(
        address payer,
        address signer,
        bool authorized,
        uint64 validUntil,
        bytes calldata signature
    ) external;

    // ----------------------------------------------------------------------------------------------------- views

    /// @notice The lane from `payer` to `payee` and its notice, as stored.
    function lane(address payer, address payee) external view returns (Lane memory, Thaw memory);

    /// @notice The payer's lane to the zero address: (what is there, how much of it is thawing). `thawing` is at most
    /// `amount`, whatever was announced.
    function openBalance(address payer) external view returns (uint96 amount, uint96 thawing);

    /// @notice What `payer` said of `signer`, as stored.
    function delegate(address payer, address signer) external view returns (Delegate memory);

    /// @notice True for the payer itself and for its live delegates. Never for the zero address.
    function isSigner(address payer, address signer) external view returns (bool);

    /// @notice The nonce that the payer's next `Delegation` must carry.
    function delegationNonce(address payer) external view returns (uint64);

    /// @notice EIP-712 digest of `Voucher(address payer,address payee,uint96 cumulative)`.
    function voucherDigest(address payer, address payee, uint96 cumulative) external view returns (bytes32);

    /// @notice EIP-712 digest of
    /// `Delegation(address payer,address signer,bool authorized,uint64 nonce,uint64 validUntil)`.
    function delegationDigest(address payer, address signer, bool authorized, uint64 nonce, uint64 validUntil)
        external
        view
        returns (bytes32);
}
