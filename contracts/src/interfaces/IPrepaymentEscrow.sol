// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.35;

/// @title Lanes of prepaid tokens, moved by cumulative vouchers
/// @notice A *lane* runs from a payer to a payee. The lane to the zero address is the payer's *open balance*. A payer
/// prepays a lane and signs vouchers, each stating the running total of all it ever owed that payee. Whoever has the
/// latest voucher can `claim`: the escrow pays the difference to what the lane has paid, from the lane first, then from
/// the payer's open balance, and credits the payee's open balance, where it backs at once what the payee owes others.
/// For the time that a payer is away it can sign a *mandate*: it lets the payee state the running total itself, a
/// `charge`, within a daily amount. Money returns to a wallet by one way only: `thaw`, a notice of `NOTICE_PERIOD`,
/// `withdraw`.
///
/// The laws (by their numbers in the design):
/// 1. all deposits of all lanes equal what was deposited less what was withdrawn;
/// 2. a payer's money moves by its signature or its live delegate's, inside a mandate that it signed, or by its own
///    transaction;
/// 3. a voucher or a charge at or below the running total pays nothing;
/// 4. nothing is withdrawn sooner than a notice after it was announced, and claims go first all along the way;
/// 5. a bad row of a batch never stops a good one;
/// 7. nobody owns, pauses or upgrades this.
///
/// Signatures are EIP-712 in the domain (`Layer Minus`, `1`, this chain, this contract) by secp256k1 keys, the lower of
/// the two values of `s` only, or by wallets that are contracts (ERC-1271). A voucher binds payer, payee and total; it
/// has no expiry and no nonce, and needs none: an old one is worth nothing beside a newer one. What else is signed for
/// others to carry (delegations, mandates and their ends, deposit orders) carries the signer's present nonce, one for
/// all of them: each takes effect once, in the order they were made, and what the payer does about delegates and
/// mandates by transaction voids what it signed before.
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
/// - A payee that serves on a *mandate* counts on what `mandate` says is chargeable and on the money behind it, once
///   the mandate is on the chain: nothing accrues before. It charges before `validUntil`, which a revocation brings
///   down to a notice from then; what has accrued is lost to it afterwards.
/// - A payer that gives a mandate trusts the payee with it: whether anything was served for a charge is between them.
///   At worst it loses what has accrued, at most `accrualCap`, and `dailyCap` a day until it ends.
/// - A *payer* trusts its delegates with everything: a live delegate can sign away all lanes and the open balance, to
///   itself if it likes. Revoking takes a notice to bite. Delegates cannot thaw, withdraw, give mandates or name other
///   delegates.
/// - A payer that signs a total too high cannot take it back: the excess is a gift, due as soon as money is there.
/// - A *payee's* earnings sit in its open balance; vouchers that it signs itself, or its delegate, are paid out of it.
///   Its delegates state its charges, too.
/// - Whoever submits *vouchers of contracts* asks strangers' code: it may answer differently tomorrow, and costs up to
///   `CONTRACT_SIGNATURE_GAS` a row. Ask it by `eth_call` first, and hold such a voucher for no longer than one must.
///
/// Not protected: tokens sent here past `deposit` belong to no lane and are lost; a token whose balances shrink leaves
/// the last to withdraw with nothing.
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

    /// @notice Leave to charge: `dailyCap` base units accrue to the payee per day, evenly by the second, up to
    /// `accrualCap`; charges draw on what has accrued, until `validUntil` inclusive. `accrued` is what there was at
    /// `accruedAt`, in base units times 86,400, so that a second's part is a whole number.
    struct Mandate {
        uint96 dailyCap;
        uint96 accrualCap;
        uint64 validUntil;
        uint128 accrued;
        uint64 accruedAt;
    }

    /// @notice One of several deposits: `amount` into the lane from `payer` to `payee`.
    struct Deposit {
        address payer;
        address payee;
        uint96 amount;
    }

    /// @notice What a token holder signs so that anyone may put `amount` of its tokens into a lane.
    struct DepositOrder {
        address from;
        address payer;
        address payee;
        uint96 amount;
        uint64 validUntil;
    }

    /// @notice The holder's EIP-2612 permit that goes with it. All zero when the allowance is there already.
    struct PermitSignature {
        uint8 v;
        bytes32 r;
        bytes32 s;
    }

    /// @notice The rows of one payee, as `claim` takes them.
    struct Batch {
        address payee;
        bytes rows;
    }

    /// @notice A voucher of a wallet that is a contract; `signature` is what the wallet's own rules ask for.
    struct ContractVoucher {
        address payer;
        uint96 cumulative;
        bytes signature;
    }

    /// @notice How one row of a claim or a charge ended. The numbers are part of the interface. A row is checked in the
    /// order payer, signature, running total, mandate, money, and tells what it met first.
    enum RowResult {
        Paid, // 0: the whole difference was paid
        PartlyPaid, // 1: less than the difference was there, or had accrued; that was paid, the rest stays due
        NothingNew, // 2: the running total is not above what was already paid
        Unfunded, // 3: neither lane nor open balance holds anything; all stays due
        BadSignature, // 4: not signed by the payer (of a charge: the payee) or a live delegate of it, or malleable
        BadPayer, // 5: the payer is the zero address or the payee itself
        NoMandate, // 6: the payer has given the payee no mandate, or it is over
        NothingAccrued // 7: the mandate holds less than one base unit at this time
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

    /// @notice `payer` gave `payee` leave to charge, or raised it.
    event MandateSet(
        address indexed payer, address indexed payee, uint96 dailyCap, uint96 accrualCap, uint64 validUntil
    );

    /// @notice `payer` takes its mandate back: it ends with `validUntil`.
    event MandateRevoked(address indexed payer, address indexed payee, uint64 validUntil);

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
    /// @notice No vouchers, or no batches.
    error NoBatch();
    /// @notice A mandate that would be over before it begins.
    error MandateOver(uint64 validUntil, uint256 timestamp);
    /// @notice A mandate in force can be raised at once, but reduced only by revoking it first.
    error MandateReduced(address payer, address payee);
    /// @notice Less gas than each wallet that is asked shall have.
    error NotEnoughGas(uint256 given, uint256 needed);
    /// @notice Not 65 bytes, malleable, or not signed by `expected` over these very fields and its present nonce; nor
    /// accepted by it, if it is a contract.
    error InvalidSignature(address expected);

    // ------------------------------------------------------------------------------------------------- constants

    /// @notice Seconds between announcing and leaving, and between revoking a delegate or a mandate and its end: 7
    /// days, so that a payee that collects once a day misses a notice only by a week of neglect.
    function NOTICE_PERIOD() external view returns (uint64);

    /// @notice What a wallet that is a contract may spend on checking one signature: 375,000, within which the
    /// costliest usual one, P-256 in Solidity, fits; so that 40 rows fit a transaction whatever the wallets do.
    function CONTRACT_SIGNATURE_GAS() external view returns (uint256);

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

    /// @notice Several deposits with one transfer of their sum. All or none. At least one.
    function depositMany(Deposit[] calldata deposits) external;

    /// @notice As `deposit`, with the tokens of whoever signed
    /// `DepositOrder(address from,address payer,address payee,uint96 amount,uint256 nonce,uint64 validUntil)`, carried
    /// by anyone until `validUntil` inclusive: so that a customer needs no gas. `nonce` is `nonces(from)`. A permit
    /// alone would not do, for it does not say which lane.
    /// @param signature 65 bytes r | s | v by `from`, or what its wallet takes (ERC-1271).
    /// @param permit by `from` to the escrow, of `amount`, with `validUntil` as its deadline; used if it still works.
    function depositBySignature(DepositOrder calldata order, bytes calldata signature, PermitSignature calldata permit)
        external;

    // ----------------------------------------------------------------------------------------------------- claim

    /// @notice Pays each row's difference from its payer to `payee`'s open balance. Anyone may submit, and gains
    /// nothing by it. Reverts for `payee` zero and for rows of a wrong length, never because of a row. Underfunded rows
    /// pay what is there; the lane remembers exactly what was paid, and the same voucher pays the rest later. A batch
    /// is settled in its order: where two rows want the same open balance, the first one has it. Says nothing
    /// (no event) when nothing was paid.
    /// @param rows packed 96-byte rows: payer 20 | cumulative 12 | r 32 | vs 32 (EIP-2098).
    /// @return total what was credited. @return results one byte a row, a `RowResult`.
    function claim(address payee, bytes calldata rows) external returns (uint96 total, bytes memory results);

    /// @notice Several claims, one after the other: an agent's customers' first, then the agent's relays', which are
    /// paid out of what the agent has just earned. Reverts as `claim` does, and for no batch at all.
    /// @return totals what each batch credited. @return results one `RowResult` a row, by batch.
    function settle(Batch[] calldata batches) external returns (uint96[] memory totals, bytes[] memory results);

    /// @notice As `claim`, for payers that are contracts: each is asked (ERC-1271) whether it signed the voucher's
    /// digest, with `CONTRACT_SIGNATURE_GAS` and no power to change anything. A wallet that burns its gas, reverts or
    /// answers anything else is `BadSignature` and stops nobody. A contract that authorized a key as its delegate does
    /// better by `claim`. Reverts `NotEnoughGas` rather than ask a wallet with less.
    function claimFromContracts(address payee, ContractVoucher[] calldata vouchers)
        external
        returns (uint96 total, bytes memory results);

    // -------------------------------------------------------------------------------------------------- mandates

    /// @notice Gives `payee` leave to charge the caller `dailyCap` a day until `validUntil` inclusive, with at most
    /// `accrualCap` gathering while it does not. Starts empty, and accrues from now on. While one is in force it can
    /// only be raised, in every respect at least as much as before, and what has accrued stays; to lower it, revoke it
    /// and give another when it is over. Raised while its notice runs, it is no longer revoked.
    function setMandate(address payee, uint96 dailyCap, uint96 accrualCap, uint64 validUntil) external;

    /// @notice The same by the payer's signature over `Mandate(address payer,address payee,uint96 dailyCap,`
    /// `uint96 accrualCap,uint256 nonce,uint64 validUntil)`, carried by anyone. `nonce` is `nonces(payer)`.
    /// @param signature 65 bytes r | s | v by the payer itself, or what its wallet takes (ERC-1271).
    function setMandateBySignature(
        address payer,
        address payee,
        uint96 dailyCap,
        uint96 accrualCap,
        uint64 validUntil,
        bytes calldata signature
    ) external;

    /// @notice Ends the caller's mandate to `payee` a `NOTICE_PERIOD` from now, if it does not end before; until then
    /// it accrues and bears charges as ever. Voids the caller's uncarried signatures in any case.
    function revokeMandate(address payee) external;

    /// @notice The same by the payer's signature over
    /// `MandateRevocation(address payer,address payee,uint256 nonce,uint64 validUntil)`, carried by anyone until
    /// `validUntil` inclusive. `nonce` is `nonces(payer)`.
    function revokeMandateBySignature(address payer, address payee, uint64 validUntil, bytes calldata signature)
        external;

    /// @notice Pays each row's difference from its payer to `payee`'s open balance, as `claim`, where the payer's
    /// standing mandate takes the place of its signature, and the payee signs: no stranger shall bring about a charge
    /// that the payee does not ask for. At most what has accrued is paid; the rest stays due, and the same row pays
    /// more later. The running total is the lane's: what is charged, no voucher pays again, and the next voucher
    /// includes it.
    /// @param rows as in `claim`; signed over `Charge(address payer,address payee,uint96 cumulative)` by the payee or a
    /// live delegate of it.
    function charge(address payee, bytes calldata rows) external returns (uint96 total, bytes memory results);

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

    /// @notice Lets `signer` sign the caller's vouchers from now on, to any payee. What a signer signed in an earlier
    /// authorization is good again with the next.
    function authorize(address signer) external;

    /// @notice Takes that back, with effect after `NOTICE_PERIOD`, so that payees can claim what they hold. Refused of
    /// a signer that is not authorized, hence also a second time: the clock runs from the first. A delegation that was
    /// signed and never carried is taken back by `voidSignatures`.
    function revoke(address signer) external;

    /// @notice As `authorize` or `revoke`, by the payer's signature over
    /// `Delegation(address payer,address signer,bool authorized,uint256 nonce,uint64 validUntil)`, carried by anyone
    /// until `validUntil` inclusive. `nonce` is `nonces(payer)`.
    /// @param signature 65 bytes, r | s | v, by the payer itself, or what its wallet takes (ERC-1271).
    function setDelegateBySignature(
        address payer,
        address signer,
        bool authorized,
        uint64 validUntil,
        bytes calldata signature
    ) external;

    /// @notice Voids whatever the caller has signed for others to carry and nobody has carried yet. Vouchers stay good.
    function voidSignatures() external;

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

    /// @notice The mandate that `payer` gave `payee`, as stored, and what could be charged now if the money is there.
    function mandate(address payer, address payee) external view returns (Mandate memory, uint96 chargeable);

    /// @notice The nonce that the signer's next delegation, mandate, revocation or deposit order must carry.
    function nonces(address signer) external view returns (uint256);

    /// @notice EIP-712 digest of `Voucher(address payer,address payee,uint96 cumulative)`.
    function voucherDigest(address payer, address payee, uint96 cumulative) external view returns (bytes32);

    /// @notice EIP-712 digest of `Charge(address payer,address payee,uint96 cumulative)`.
    function chargeDigest(address payer, address payee, uint96 cumulative) external view returns (bytes32);

    /// @notice EIP-712 digest of
    /// `Delegation(address payer,address signer,bool authorized,uint256 nonce,uint64 validUntil)`.
    function delegationDigest(address payer, address signer, bool authorized, uint256 nonce, uint64 validUntil)
        external
        view
        returns (bytes32);

    /// @notice EIP-712 digest of `Mandate(address payer,address payee,uint96 dailyCap,uint96 accrualCap,`
    /// `uint256 nonce,uint64 validUntil)`.
    function mandateDigest(
        address payer,
        address payee,
        uint96 dailyCap,
        uint96 accrualCap,
        uint256 nonce,
        uint64 validUntil
    ) external view returns (bytes32);

    /// @notice EIP-712 digest of `MandateRevocation(address payer,address payee,uint256 nonce,uint64 validUntil)`.
    function mandateRevocationDigest(address payer, address payee, uint256 nonce, uint64 validUntil)
        external
        view
        returns (bytes32);

    /// @notice EIP-712 digest of
    /// `DepositOrder(address from,address payer,address payee,uint96 amount,uint256 nonce,uint64 validUntil)`.
    function depositOrderDigest(DepositOrder calldata order, uint256 nonce) external view returns (bytes32);
}
