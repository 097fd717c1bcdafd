//! The JSON that goes over the settler's two ports, shared by the server and the command line. Amounts are strings
//! of token base units, addresses and hashes 0x-hex, times unix seconds.

use std::collections::BTreeMap;

use alloy::primitives::{Address, B256};
use minus_bindings::Amount;
use serde::{Deserialize, Serialize};

use crate::chain::EndpointLine;
use crate::check::Refusal;
use crate::reports::GasKey;
use crate::store::{Hold, Reason, TransactionState, VoucherState};

/// Body of `POST /vouchers`. Rows are parsed one by one, so that a malformed one stops no other (law 5).
#[derive(Debug, Serialize, Deserialize)]
pub struct IntakeBody {
    /// Each a `SignedVoucher`.
    pub vouchers: Vec<serde_json::Value>,
}

/// Body of `POST /charges`. Rows are parsed one by one here, too.
#[derive(Debug, Serialize, Deserialize)]
pub struct ChargesBody {
    /// Each a `SignedCharge`.
    pub charges: Vec<serde_json::Value>,
}

/// Body of `POST /debts`. Rows are parsed one by one here, too.
#[derive(Debug, Serialize, Deserialize)]
pub struct DebtsBody {
    /// Each a `SignedVoucher` whose payer is ours.
    pub debts: Vec<serde_json::Value>,
}

/// Answer to `POST /vouchers`, `POST /charges` and `POST /debts`: one result per row, in order.
#[derive(Debug, Serialize, Deserialize)]
pub struct IntakeAnswer {
    /// In the order of the body.
    pub results: Vec<IntakeResult>,
}

/// What became of one voucher, charge or debt.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "result", rename_all = "snake_case")]
pub enum IntakeResult {
    /// Durable, and the best of its lane.
    Recorded,
    /// Nothing new, nothing to do.
    SameAsBefore,
    /// Not taken; the reason says whether handing it in again may change that.
    Refused {
        /// Why.
        reason: Refusal,
    },
}

/// Answer to anything that did not work.
#[derive(Debug, Serialize, Deserialize)]
pub struct ErrorAnswer {
    /// For a person; says nothing of the inside.
    pub error: String,
}

/// Answer to `POST /claim-now` and `GET /claim-now/{request}`.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct ClaimProgress {
    /// The request's number.
    pub request: i64,
    /// Vouchers on their way.
    pub open: u64,
    /// Vouchers at their end.
    pub confirmed: u64,
    /// Vouchers that cannot be claimed now; each line says why.
    pub held: u64,
    /// Is nothing on its way any more?
    pub done: bool,
    /// The vouchers.
    pub claims: Vec<ClaimLine>,
}

/// One voucher of a request.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct ClaimLine {
    /// Who pays.
    pub payer: Address,
    /// Who is paid.
    pub payee: Address,
    /// The running total.
    pub cumulative: Amount,
    /// Where it stands.
    pub state: VoucherState,
    /// Why it is not claimed.
    pub held: Option<Hold>,
    /// What this claim moved, once confirmed.
    pub paid: Option<Amount>,
    /// The transaction that holds it.
    pub transaction: Option<B256>,
    /// The block that holds that.
    pub block: Option<u64>,
}

/// Vouchers in one state.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct VoucherCount {
    /// How many.
    pub count: u64,
    /// What their claims moved.
    pub paid: Amount,
}

/// Counts and sums of the log.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct LogSummary {
    /// By state.
    pub vouchers: BTreeMap<VoucherState, VoucherCount>,
    /// By state.
    pub transactions: BTreeMap<TransactionState, u64>,
    /// Vouchers that wait, by why.
    pub held: BTreeMap<Hold, u64>,
    /// Of those, the ones whose money is in danger.
    pub at_risk: u64,
    /// Gas of all transactions.
    pub gas_used: u64,
    /// What that cost, 10^-9 of the native coin.
    pub fees_gwei: u64,
}

/// Answer to `GET /status`.
#[derive(Debug, Serialize, Deserialize)]
pub struct Status {
    /// Which chain.
    pub chain_id: u64,
    /// Which escrow.
    pub escrow: Address,
    /// The gas keys.
    pub gas_keys: Vec<GasKey>,
    /// The chain's endpoints.
    pub endpoints: Vec<EndpointLine>,
    /// Whose vouchers are taken.
    pub payees: Vec<Address>,
    /// The last block seen; 0 before the first.
    pub head: u64,
    /// What the last look at the chain complained of.
    pub trouble: Option<String>,
    /// Counts and sums.
    pub summary: LogSummary,
    /// Vouchers that are not confirmed, the oldest first, at most 1,000.
    pub lanes: Vec<LaneLine>,
    /// Transactions, the latest first, at most 1,000.
    pub transactions: Vec<TransactionLine>,
}

/// One voucher that is not confirmed.
#[derive(Debug, Serialize, Deserialize)]
pub struct LaneLine {
    /// Who pays.
    pub payer: Address,
    /// Who is paid.
    pub payee: Address,
    /// The running total.
    pub cumulative: Amount,
    /// What the lane has paid, when last read.
    pub paid: Amount,
    /// What a claim would move.
    pub claimable: Amount,
    /// Where it stands.
    pub state: VoucherState,
    /// Why it waits.
    pub held: Option<Hold>,
    /// Why it is claimed.
    pub reason: Option<Reason>,
    /// Since when it waits.
    pub recorded_at: u64,
    /// When its money may leave or its signature stops to count.
    pub closes_at: Option<u64>,
}

/// One transaction.
#[derive(Debug, Serialize, Deserialize)]
pub struct TransactionLine {
    /// Its number here.
    pub id: i64,
    /// Its nonce.
    pub nonce: u64,
    /// Where it stands.
    pub state: TransactionState,
    /// When it was stored.
    pub created_at: u64,
    /// The attempt that was mined, else the latest one.
    pub hash: Option<B256>,
    /// The block that holds it.
    pub block: Option<u64>,
    /// Gas it used.
    pub gas_used: Option<u64>,
    /// What that cost, wei, decimal.
    pub fee_wei: Option<String>,
    /// How many vouchers.
    pub rows: u64,
    /// What they moved.
    pub paid: Amount,
}

/// Answer to `GET /health/live` and `GET /health/ready`.
#[derive(Debug, Serialize, Deserialize)]
pub struct Health {
    /// Is everything well?
    pub ok: bool,
    /// If not, what is not.
    pub reasons: Vec<String>,
}
