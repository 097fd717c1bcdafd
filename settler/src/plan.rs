//! Which lanes are claimed now, and why. Pure: vouchers, lanes, fee and time go in, batches come out.
//!
//! A claim costs native coin and brings tokens, so the policy needs a price between the two. Money that is about to
//! leave, and what the operator asks for, is claimed whatever the price says.

use std::cmp::Reverse;
use std::collections::{BTreeMap, HashMap};

use alloy::primitives::Address;
use minus_bindings::Amount;

use crate::store::{Hold, LaneView, OpenVoucher, PlannedRow, Reason};

/// A transaction may use no more gas than this (EIP-7825).
pub const TRANSACTION_GAS_MAX: u64 = 16_777_216;
/// What one row can cost at the very worst: a lane's first write, a cold open balance, a cold delegate, its calldata,
/// with room. A test claims [`ROWS_MAX`] such rows at once.
pub const ROW_GAS_MAX: u64 = 50_000;
/// What a batch costs before its first row: the transaction, the event, the payee's first credit.
pub const BATCH_GAS: u64 = 60_000;
/// What one row usually costs; only for judging what is worth claiming.
pub const ROW_GAS_USUAL: u64 = 15_000;
/// Rows that fit one transaction for certain.
pub const ROWS_MAX: u64 = (TRANSACTION_GAS_MAX - BATCH_GAS) / ROW_GAS_MAX;
/// No voucher is told to wait longer than this after a failure, which is far below any thaw margin. One that is was told
/// so by a clock that was wrong, and does not wait.
pub const RETRY_MAX_S: u64 = 3_600;
/// Batches that one plan makes for one payee at most: more than all gas keys can have under way. What is left is planned when
/// these are, the urgent rows first.
const BATCHES_MAX: usize = 256;
/// Wei of one native coin.
pub const WEI_PER_COIN: u128 = 1_000_000_000_000_000_000;

/// What the operator wants.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Policy {
    /// A claim must be worth this many times its gas.
    pub value_over_gas: u64,
    /// One native coin in tokens.
    pub native_coin_price: Amount,
    /// A voucher that waited this long needs to be worth its gas only once.
    pub age_max_s: u64,
    /// How long before a notice ends its lane is claimed, whatever it is worth.
    pub thaw_margin_s: u64,
    /// When one payer owes more than this, all that it owes is claimed, if that is worth its gas once.
    pub exposure_max: Option<Amount>,
    /// Is income claimed early, each voucher being worth its gas once, when the escrow does not cover what relays are owed?
    pub cover_debts: bool,
    /// Rows of one transaction, at most [`ROWS_MAX`].
    pub rows_max: u64,
}

/// What gas costs now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Market {
    /// Wei per gas that a claim would pay.
    pub fee_per_gas: u128,
    /// Is that above the operator's cap? Then only what cannot wait is planned.
    pub above_cap: bool,
}

/// Rows for one transaction.
#[derive(Debug, Clone)]
pub struct Batch {
    /// Whom it credits.
    pub payee: Address,
    /// Its rows, the urgent ones first.
    pub rows: Vec<PlannedRow>,
}

/// What to do now, and why the rest waits.
#[derive(Debug, Clone, Default)]
pub struct Plan {
    /// To be claimed.
    pub batches: Vec<Batch>,
    /// To be left, by voucher.
    pub holds: Vec<(i64, Hold)>,
    /// Those of them of which the log does not say so yet.
    pub news: Vec<(i64, Hold)>,
    /// Those that the chain has paid already.
    pub settled: Vec<OpenVoucher>,
    /// What those to be claimed would move whose money leaves otherwise, by voucher.
    pub closing: HashMap<i64, Amount>,
}

/// Looks at each waiting voucher. The order in which they come makes no difference.
#[must_use]
pub fn plan<'a>(open: impl IntoIterator<Item = &'a OpenVoucher>, policy: &Policy, market: Market, now: u64) -> Plan {
    let mut plan = Plan::default();
    let mut by_payee: BTreeMap<Address, Candidates<'a>> = BTreeMap::new();
    let own_gas = gas_value(ROW_GAS_USUAL, market.fee_per_gas, policy.native_coin_price);
    for voucher in open {
        match judge(voucher, policy, market, own_gas, now) {
            Judgement::Must(reason) => {
                by_payee.entry(voucher.voucher.payee).or_default().must.push((reason, deadline(voucher), voucher));
            }
            Judgement::May(value) => by_payee.entry(voucher.voucher.payee).or_default().may.push((value, voucher)),
            Judgement::Hold(hold) => plan.hold(voucher, hold),
        }
    }
    for (payee, candidates) in by_payee {
        candidates.into_batches(payee, policy, market, &mut plan);
    }
    plan.holds.sort_unstable_by_key(|(id, _)| *id);
    plan.news.sort_unstable_by_key(|(id, _)| *id);
    plan.settled.sort_unstable_by_key(|open| open.id);
    plan
}

impl Plan {
    fn hold(&mut self, open: &OpenVoucher, hold: Hold) {
        if hold == Hold::Settled {
            self.settled.push(open.clone());
        }
        self.holds.push((open.id, hold));
        if open.held != Some(hold) {
            self.news.push((open.id, hold));
        }
    }
}

enum Judgement {
    Must(Reason),
    /// It would move so much.
    May(u128),
    Hold(Hold),
}

/// The notices that run against a voucher of this total, and when each ends, unix seconds.
fn notices(view: &LaneView, cumulative: Amount) -> impl Iterator<Item = (Reason, u64)> {
    let needs_open_balance = cumulative.saturating_sub(view.paid) > view.deposit;
    let open_ends_at = if needs_open_balance { view.open_thaw_ends_at } else { 0 };
    [(Reason::Thawing, view.thaw_ends_at), (Reason::Thawing, open_ends_at), (Reason::SignerEnding, view.signer_ends_at)]
        .into_iter()
        .filter(|(_, ends_at)| *ends_at != 0)
}

/// Does the money behind a voucher of this total leave within the margin?
#[must_use]
pub fn is_closing(view: &LaneView, cumulative: Amount, margin_s: u64, now: u64) -> bool {
    notices(view, cumulative).any(|(_, ends_at)| now.saturating_add(margin_s) >= ends_at)
}

fn judge(open: &OpenVoucher, policy: &Policy, market: Market, own_gas: u128, now: u64) -> Judgement {
    let view = &open.view;
    let cumulative = open.voucher.cumulative;
    if cumulative <= view.paid {
        return Judgement::Hold(Hold::Settled);
    }
    let claimable = open.claimable();
    if claimable == Amount::ZERO {
        return Judgement::Hold(Hold::Unfunded);
    }
    if now < open.retry_at && open.retry_at - now <= RETRY_MAX_S {
        return Judgement::Hold(open.held.unwrap_or(Hold::Failed));
    }
    if view.signer_ends_at != 0 && now >= view.signer_ends_at {
        return Judgement::Hold(Hold::BadSignature);
    }

    // Once for each notice whatever it is worth, then only what is worth its gas: or a payer under notice could sign
    // one base unit more after every claim, for ever, at our gas.
    let is_worth_it = claimable.base_units() >= own_gas;
    let claimed_at = open.closing_claimed_at;
    let closing = notices(view, cumulative).find(|(_, ends_at)| {
        let is_near = |at: u64| at.saturating_add(policy.thaw_margin_s) >= *ends_at;
        is_near(now) && (is_worth_it || claimed_at == 0 || !is_near(claimed_at))
    });
    if let Some((reason, _)) = closing {
        return Judgement::Must(reason);
    }
    if open.asked {
        return Judgement::Must(Reason::Asked);
    }
    if market.above_cap {
        return Judgement::Hold(Hold::NotWorthYet);
    }
    if open.exposed && claimable.base_units() >= own_gas {
        return Judgement::Must(Reason::Exposed);
    }
    if open.backs && is_worth_it {
        return Judgement::Must(Reason::Backing);
    }
    let aged = now.saturating_sub(open.recorded_at) >= policy.age_max_s;
    if aged && claimable.base_units() >= own_gas {
        return Judgement::Must(Reason::Aged);
    }
    if claimable.base_units() >= own_gas.saturating_mul(u128::from(policy.value_over_gas)) {
        return Judgement::May(claimable.base_units());
    }
    Judgement::Hold(Hold::NotWorthYet)
}

#[derive(Default)]
struct Candidates<'a> {
    /// With the reason and the deadline.
    must: Vec<(Reason, u64, &'a OpenVoucher)>,
    /// With what each would move; its gas is that of any other.
    may: Vec<(u128, &'a OpenVoucher)>,
}

impl Candidates<'_> {
    /// What may be claimed rides along with what must be; alone it has to be worth the batch as well.
    fn into_batches(self, payee: Address, policy: &Policy, market: Market, plan: &mut Plan) {
        let Self { mut must, mut may } = self;
        let count = u64::try_from(may.len()).unwrap_or(u64::MAX);
        let gas = BATCH_GAS.saturating_add(ROW_GAS_USUAL.saturating_mul(count));
        let cost = gas_value(gas, market.fee_per_gas, policy.native_coin_price);
        let value = may.iter().fold(0u128, |sum, (value, _)| sum.saturating_add(*value));
        if must.is_empty() && value < cost.saturating_mul(u128::from(policy.value_over_gas)) {
            for (_, open) in may {
                plan.hold(open, Hold::NotWorthYet);
            }
            return;
        }
        let rows_max = usize::try_from(policy.rows_max.clamp(1, ROWS_MAX)).unwrap_or(1);
        let room = rows_max * BATCHES_MAX;
        first(&mut must, room, |(reason, deadline, open)| (*reason, *deadline, open.id));
        first(&mut may, room - must.len(), |(value, open)| (Reverse(*value), open.id));
        let closing = must.iter().filter(|(reason, ..)| reason.is_closing());
        plan.closing.extend(closing.map(|(.., open)| (open.id, open.claimable())));
        let rows: Vec<PlannedRow> = must
            .into_iter()
            .map(|(reason, _, open)| (open, reason))
            .chain(may.into_iter().map(|(_, open)| (open, Reason::Worth)))
            .map(|(open, reason)| PlannedRow {
                id: open.id,
                voucher: open.voucher,
                signer: open.signer,
                reason,
                failures: open.failures,
                debt: open.set_off.as_ref().map(|set_off| set_off.debt),
            })
            .collect();
        plan.batches.extend(rows.chunks(rows_max).map(|rows| Batch { payee, rows: rows.to_vec() }));
    }
}

/// Keeps the first so many, in order, without sorting what goes.
fn first<T, K: Ord>(rows: &mut Vec<T>, count: usize, key: impl Fn(&T) -> K) {
    if count > 0 && count < rows.len() {
        rows.select_nth_unstable_by_key(count - 1, &key);
    }
    rows.truncate(count);
    rows.sort_unstable_by_key(key);
}

fn deadline(open: &OpenVoucher) -> u64 {
    let view = &open.view;
    let ends = [view.thaw_ends_at, view.open_thaw_ends_at, view.signer_ends_at];
    ends.into_iter().filter(|at| *at != 0).min().unwrap_or(u64::MAX)
}

/// What gas costs in token base units, rounded up.
#[must_use]
pub fn gas_value(gas: u64, fee_per_gas: u128, native_coin_price: Amount) -> u128 {
    u128::from(gas).saturating_mul(fee_per_gas).saturating_mul(native_coin_price.base_units()).div_ceil(WEI_PER_COIN)
}

#[cfg(test)]
#[path = "plan_tests.rs"]
mod tests;
