// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.35;

/// @title Lanes of prepaid tokens, moved by cumulative vouchers
/// @notice A lane runs from a payer to a payee. The lane to the zero address is the payer's open balance.
interface IPrepaymentEscrow {
    /// @notice One lane. `deposit` is what is there and unclaimed; `paid` is the running total ever claimed.
    struct Lane {
        uint96 deposit;
        uint96 paid;
    }

    /// @notice A payer's notice that `amount` of a lane is to leave at `endsAt` or later.
    struct Thaw {
        uint96 amount;
        uint64 endsAt;
    }

    /// @notice What a payer said of another signer. Live while `authorized`, or until `revokedAt + NOTICE_PERIOD`.
    struct Delegate {
        uint64 authorizedAt;
        uint64 revokedAt;
        bool authorized;
    }

    /// @notice How one row of a claim ended. The numbers are part of the interface.
    enum RowResult {
        Paid, // 0: the whole difference was paid
        PartlyPaid, // 1: less than the difference was there; what was there was paid
        NothingNew, // 2: the running total is not above what was already paid
        Unfunded, // 3: neither lane nor open balance holds anything
        BadSignature, // 4: not signed by the payer or a live delegate, or malleable
        BadPayer // 5: the payer is the zero address or the payee itself
    }

    /// @notice `amount` was added to the lane from `payer` to `payee` by `from`.
    event Deposited(address indexed payer, address indexed payee, address indexed from, uint96 amount);

    /// @notice `payee`'s open balance grew by `total`. `payments` packs 32 bytes for each row that paid:
    /// payer (20 bytes), amount paid by this row (12 bytes).
    event Claimed(address indexed payee, uint96 total, bytes payments);

    /// @notice A notice was started, replaced, or (with amount 0) taken back.
    event ThawStarted(address indexed payer, address indexed payee, uint96 amount, uint64 endsAt);

    /// @notice `amount` left the lane for `to`.
    event Withdrawn(address indexed payer, address indexed payee, address indexed to, uint96 amount);

    /// @notice `payer` let `signer` sign its vouchers.
    event DelegateAuthorized(address indexed payer, address indexed signer);

    /// @notice `payer` took that back; the signer stays live until `liveUntil`.
    event DelegateRevoked(address indexed payer, address indexed signer, uint64 liveUntil);

    error ZeroAmount();
    error BadLane(address payer, address payee);
    error TransferMismatch(uint256 received, uint256 expected);
    error EscrowFull(uint256 balance, uint256 limit);
    error MalformedRows(uint256 length);
    error BadPayee(address payee);
    error ThawAboveDeposit(uint96 amount, uint96 deposit);
    error NothingThawing(address payer, address payee);
    error NoticeRunning(uint64 endsAt, uint256 timestamp);
    error BadRecipient(address to);
    error BadSigner(address signer);
    error NotAuthorized(address payer, address signer);
    error SignatureExpired(uint64 validUntil, uint256 timestamp);
    error InvalidSignature(address expected);

    function NOTICE_PERIOD() external view returns (uint64);
    function token() external view returns (address);

    function deposit(address payer, address payee, uint96 amount) external;
    function depositWithPermit(
        address payer,
        address payee,
        uint96 amount,
        uint256 deadline,
        uint8 v,
        bytes32 r,
        bytes32 s
    ) external;

    /// @notice Pays each row's difference from its payer to `payee`'s open balance. Anyone may submit.
    /// @param rows packed 96-byte rows: payer 20 | cumulative 12 | r 32 | vs 32 (EIP-2098).
    /// @return total what was credited. @return results one byte a row, a `RowResult`.
    function claim(address payee, bytes calldata rows) external returns (uint96 total, bytes memory results);

    function thaw(address payee, uint96 amount) external;
    function withdraw(address payee, address to) external returns (uint96 amount);

    function authorize(address signer) external;
    function revoke(address signer) external;
    /// @notice As `authorize` or `revoke`, by the payer's signature over
    /// `Delegation(address payer,address signer,bool authorized,uint64 nonce,uint64 validUntil)`.
    function setDelegateBySignature(
        address payer,
        address signer,
        bool authorized,
        uint64 validUntil,
        bytes calldata signature
    ) external;

    function lane(address payer, address payee) external view returns (Lane memory, Thaw memory);
    /// @notice The payer's lane to the zero address: (what is there, how much of it is thawing).
    function openBalance(address payer) external view returns (uint96 amount, uint96 thawing);
    function delegate(address payer, address signer) external view returns (Delegate memory);
    /// @notice True for the payer itself and for its live delegates.
    function isSigner(address payer, address signer) external view returns (bool);
    function delegationNonce(address payer) external view returns (uint64);
    /// @notice EIP-712 digest of `Voucher(address payer,address payee,uint96 cumulative)`.
    function voucherDigest(address payer, address payee, uint96 cumulative) external view returns (bytes32);
    function delegationDigest(address payer, address signer, bool authorized, uint64 nonce, uint64 validUntil)
        external
        view
        returns (bytes32);
}
