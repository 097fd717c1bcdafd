//! The JSON of `/api/v1` and of the exports, shared by the server, the page and the command line. Amounts are strings of
//! token base units and wei, addresses and hashes 0x-hex, times unix seconds.

use alloy::primitives::{Address, B256};
use minus_bindings::Amount;
use serde::{Deserialize, Serialize};
use url::Url;

use crate::alarms::Alarm;
use crate::api::LogSummary;
use crate::chain::EndpointLine;
use crate::debts::Owing;
use crate::explain::Explanation;
use crate::sender::KeySight;
use crate::store::{Debt, Hold, Reason, TransactionState, VoucherState};

/// Answer to `GET /api/v1/overview`.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct Overview {
    /// When this was put together.
    pub now: u64,
    /// The program's version.
    pub version: String,
    /// Which chain.
    pub chain_id: u64,
    /// Which escrow.
    pub escrow: Address,
    /// Whose vouchers are taken.
    pub payees: Vec<Address>,
    /// The keys that pay for gas.
    pub gas_keys: Vec<GasKey>,
    /// The chain's endpoints.
    pub endpoints: Vec<EndpointLine>,
    /// The last block seen; 0 before the first.
    pub head: u64,
    /// When a look at the chain last succeeded; 0 when none has.
    pub looked_at: u64,
    /// Where a person can look a transaction up: this and `/tx/{hash}`.
    pub explorer_url: Option<Url>,
    /// What needs the operator, the worst first.
    pub alarms: Vec<Alarm>,
    /// What the lanes owe that the chain has not paid.
    pub exposure: Amount,
    /// How many lanes that are.
    pub open_lanes: u64,
    /// What the operators have promised relays and the chain has not paid.
    pub owed_to_relays: Amount,
    /// What of that their escrow does not cover, money under notice not counted.
    pub uncovered_debts: Amount,
    /// Counts and sums.
    pub summary: LogSummary,
}

/// A key that pays for gas.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct GasKey {
    /// Its address.
    pub address: Address,
    /// What it has, wei, decimal.
    pub balance_wei: String,
}

impl From<&KeySight> for GasKey {
    fn from(sight: &KeySight) -> Self {
        Self { address: sight.address, balance_wei: sight.balance.to_string() }
    }
}

/// Answer to `GET /api/v1/earnings`.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Earnings {
    /// Which stretch of time.
    pub range: Range,
    /// Where the first step begins.
    pub from: u64,
    /// The length of a step.
    pub step_s: u64,
    /// Every step until now, those without a claim, too.
    pub steps: Vec<EarningsStep>,
}

/// What one step of time brought.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct EarningsStep {
    /// Where it begins.
    pub from: u64,
    /// What claims moved.
    pub paid: Amount,
    /// Transactions.
    pub claims: u64,
    /// Vouchers in them.
    pub vouchers: u64,
    /// Gas they used.
    pub gas_used: u64,
    /// What that cost, wei, decimal.
    #[serde(with = "decimal")]
    pub fee_wei: u128,
}

/// A stretch of time that ends now.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Range {
    /// Twenty-four hours, in hours.
    Day,
    /// Seven days, in quarters of a day.
    Week,
    /// Thirty days, in days.
    #[default]
    Month,
    /// From the first claim on, in days or longer.
    All,
}

/// Answer to `GET /api/v1/lanes`.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct LanePage {
    /// How many lanes fit the question.
    pub total: u64,
    /// This page of them.
    pub lanes: Vec<LaneRecord>,
}

/// One lane with a voucher that the chain has not paid.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct LaneRecord {
    /// Of its best voucher.
    #[serde(skip)]
    pub id: i64,
    /// Who pays.
    pub payer: Address,
    /// Who is paid.
    pub payee: Address,
    /// The running total of the best voucher.
    pub cumulative: Amount,
    /// What the chain has paid of it, when last read.
    pub paid: Amount,
    /// The difference.
    pub exposure: Amount,
    /// What a claim would move of that: the rest has no money behind it.
    pub claimable: Amount,
    /// Unclaimed in the lane.
    pub deposit: Amount,
    /// The payer's open balance, which other lanes may take from, too.
    pub open_balance: Amount,
    /// Where the voucher stands.
    pub state: VoucherState,
    /// Why it waits.
    pub held: Option<Hold>,
    /// Why it is claimed.
    pub reason: Option<Reason>,
    /// Since when it waits.
    pub recorded_at: u64,
    /// When its money may leave or its signature stops to count.
    pub closes_at: Option<u64>,
    /// When the chain was last asked.
    pub seen_at: u64,
}

/// Answer to `GET /api/v1/debts`.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct DebtPage {
    /// The operators that ever promised a relay anything, by address.
    pub operators: Vec<Owing>,
    /// On how many lanes something is due.
    pub total: u64,
    /// This page of them, the largest first.
    pub debts: Vec<DebtRecord>,
}

/// One lane on which an operator owes a relay's operator.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct DebtRecord {
    /// The operator.
    pub payer: Address,
    /// The relay's operator.
    pub payee: Address,
    /// The highest running total that was promised.
    pub cumulative: Amount,
    /// What the chain has paid of it, when last read.
    pub paid: Amount,
    /// The difference.
    pub due: Amount,
    /// Unclaimed in the lane, money under notice included.
    pub deposit: Amount,
    /// How much of that is under notice.
    pub thawing: Amount,
    /// The operator's open balance, which all its relays may take from.
    pub open_balance: Amount,
    /// When money of lane or open balance may leave.
    pub thaw_ends_at: Option<u64>,
    /// What the relay's operator has signed to the operator in turn, and the chain has not paid.
    pub counterclaim: Amount,
    /// Since when something is due.
    pub recorded_at: u64,
    /// When the chain was last asked.
    pub seen_at: u64,
}

impl From<&Debt> for DebtRecord {
    fn from(debt: &Debt) -> Self {
        let Debt { voucher, view, .. } = debt;
        Self {
            payer: voucher.payer,
            payee: voucher.payee,
            cumulative: voucher.cumulative,
            paid: view.paid,
            due: debt.due(),
            deposit: view.deposit,
            thawing: view.thawing,
            open_balance: view.open,
            thaw_ends_at: [view.thaw_ends_at, view.open_thaw_ends_at].into_iter().filter(|at| *at != 0).min(),
            counterclaim: debt.counterclaim,
            recorded_at: debt.recorded_at,
            seen_at: debt.seen_at,
        }
    }
}

/// Answer to `GET /api/v1/claims`.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct ClaimPage {
    /// How many transactions fit the question.
    pub total: u64,
    /// This page of them, the latest first.
    pub claims: Vec<ClaimRecord>,
}

/// One transaction that claims.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct ClaimRecord {
    /// Its number here.
    pub id: i64,
    /// The gas key that signed it.
    pub sender: Address,
    /// Its nonce.
    pub nonce: u64,
    /// Whom it credits.
    pub payee: Address,
    /// Where it stands.
    pub state: TransactionState,
    /// When it was stored.
    pub created_at: u64,
    /// The attempt that was mined, else the latest one.
    pub hash: Option<B256>,
    /// The block that holds it.
    pub block: Option<u64>,
    /// How many vouchers.
    pub vouchers: u64,
    /// What they moved.
    pub paid: Amount,
    /// Gas it used.
    pub gas_used: Option<u64>,
    /// What that cost, wei, decimal.
    pub fee_wei: Option<String>,
    /// How often it was signed: more than once when it was replaced.
    pub attempts: u64,
    /// Debts to those whose vouchers it claims, paid in front of them.
    pub netted: u64,
    /// What these moved.
    pub debts_paid: Amount,
}

/// Answer to `GET /api/v1/dry-run`.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct DryRun {
    /// As of when.
    pub now: u64,
    /// As of which block.
    pub head: u64,
    /// What a claim would pay, wei per gas, decimal.
    pub fee_per_gas_wei: String,
    /// What it may pay at most.
    pub fee_cap_wei: String,
    /// Is it more?
    pub above_cap: bool,
    /// Vouchers that wait, as far as one look goes.
    pub total: u64,
    /// Of those, the ones that would be claimed now.
    pub claims: u64,
    /// This page of them, those that would be claimed first.
    pub explanations: Vec<Explanation>,
}

/// Whole numbers that a JSON reader might round.
mod decimal {
    use serde::de::Error as _;
    use serde::{Deserialize, Deserializer, Serializer};

    pub(super) fn serialize<S: Serializer>(number: &u128, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(number)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<u128, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(D::Error::custom)
    }
}
