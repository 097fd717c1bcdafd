//! Why each voucher is claimed or waits, with the numbers that decided: the dry run. Pure. The planner itself is asked,
//! so that this can never say one thing and the engine do another.

use std::collections::HashMap;

use alloy::primitives::Address;
use minus_bindings::Amount;
use serde::{Deserialize, Serialize};

use crate::netting::NETTING_GAS;
use crate::plan::{BATCH_GAS, Market, Policy, ROW_GAS_USUAL, gas_value, plan};
use crate::store::{Hold, OpenVoucher, Reason};

/// What a look at the chain would do with a voucher now.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "verdict", content = "why", rename_all = "snake_case")]
pub enum Verdict {
    /// It would be claimed.
    Claim(Reason),
    /// It would be left.
    Hold(Hold),
}

/// One voucher's verdict with its numbers. Amounts are tokens, times unix seconds.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Explanation {
    /// Who pays.
    pub payer: Address,
    /// Who is paid.
    pub payee: Address,
    /// The running total.
    pub cumulative: Amount,
    /// What the chain has paid of it.
    pub paid: Amount,
    /// What a claim would move now.
    pub claimable: Amount,
    /// What we owe its payer and would pay in front of the claim, in the same transaction; 0 if nothing.
    pub netted: Amount,
    /// What is done with it, and why.
    #[serde(flatten)]
    pub verdict: Verdict,
    /// Its share of its batch's gas; alone in one if it is not claimed.
    pub gas: u64,
    /// Wei per gas, decimal.
    pub fee_per_gas_wei: String,
    /// Is that above the operator's cap?
    pub above_cap: bool,
    /// What that gas costs.
    pub gas_cost: Amount,
    /// From this value on it is claimed for its worth, if others share its batch.
    pub threshold: Amount,
    /// Since when it waits.
    pub recorded_at: u64,
    /// When its money may leave or its signer stops to be one.
    pub closes_at: Option<u64>,
    /// When it will be claimed at the latest if nothing changes; none if only more value, or money, would do it.
    pub claim_at: Option<u64>,
}

/// Explains what [`plan`] makes of these vouchers, in their order.
#[must_use]
pub fn explain(open: &[OpenVoucher], policy: &Policy, market: Market, now: u64) -> Vec<Explanation> {
    let plan = plan(open, policy, market, now);
    let mut verdicts: HashMap<i64, (Verdict, u64)> = HashMap::with_capacity(open.len());
    for batch in &plan.batches {
        let rows = u64::try_from(batch.rows.len()).unwrap_or(u64::MAX).max(1);
        let gas = ROW_GAS_USUAL + BATCH_GAS.div_ceil(rows);
        verdicts.extend(batch.rows.iter().map(|row| (row.id, (Verdict::Claim(row.reason), gas))));
    }
    let alone = ROW_GAS_USUAL + BATCH_GAS;
    verdicts.extend(plan.holds.iter().map(|(id, hold)| (*id, (Verdict::Hold(*hold), alone))));

    let case = Case { policy, market, now };
    open.iter()
        .filter_map(|open| verdicts.get(&open.id).map(|(verdict, gas)| case.explain(open, *verdict, *gas)))
        .collect()
}

struct Case<'a> {
    policy: &'a Policy,
    market: Market,
    now: u64,
}

impl Case<'_> {
    fn explain(&self, open: &OpenVoucher, verdict: Verdict, gas: u64) -> Explanation {
        let (policy, view, voucher) = (self.policy, &open.view, &open.voucher);
        let gas = if open.set_off.is_some() { gas + NETTING_GAS } else { gas };
        let cost = |gas| gas_value(gas, self.market.fee_per_gas, policy.native_coin_price);
        let ends = [view.thaw_ends_at, view.open_thaw_ends_at, view.signer_ends_at];
        let closes_at = ends.into_iter().filter(|at| *at != 0).min();
        Explanation {
            payer: voucher.payer,
            payee: voucher.payee,
            cumulative: voucher.cumulative,
            paid: view.paid,
            claimable: open.claimable(),
            netted: open.set_off.as_ref().map_or(Amount::ZERO, |set_off| set_off.pays),
            verdict,
            gas,
            fee_per_gas_wei: self.market.fee_per_gas.to_string(),
            above_cap: self.market.above_cap,
            gas_cost: tokens(cost(gas)),
            threshold: tokens(cost(ROW_GAS_USUAL).saturating_mul(u128::from(policy.value_over_gas))),
            recorded_at: open.recorded_at,
            closes_at,
            claim_at: self.claim_at(open, verdict, closes_at),
        }
    }

    /// The first of the moments that change a verdict by themselves: the margin before its end, or its age.
    fn claim_at(&self, open: &OpenVoucher, verdict: Verdict, closes_at: Option<u64>) -> Option<u64> {
        match verdict {
            Verdict::Claim(_) => return Some(self.now),
            Verdict::Hold(Hold::Failed) => return Some(open.retry_at.max(self.now)),
            Verdict::Hold(Hold::Settled | Hold::Unfunded | Hold::BadSignature) => return None,
            Verdict::Hold(Hold::NotWorthYet) => {}
        }
        let moments = [
            closes_at.map(|at| at.saturating_sub(self.policy.thaw_margin_s)),
            Some(open.recorded_at.saturating_add(self.policy.age_max_s)),
        ];
        // The planner is asked about each: an aged one may still not be worth its gas, nor a notice count any more.
        let mut moments: Vec<u64> = moments.into_iter().flatten().filter(|at| *at > self.now).collect();
        moments.sort_unstable();
        let alone = std::slice::from_ref(open);
        moments.into_iter().find(|at| !plan(alone, self.policy, self.market, *at).batches.is_empty())
    }
}

/// Saturates: no lane holds more than the largest amount.
fn tokens(base_units: u128) -> Amount {
    Amount::from_base_units(base_units).unwrap_or(Amount::MAX)
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests {
    use minus_bindings::SignedVoucher;

    use super::*;
    use crate::store::LaneView;

    const NOW: u64 = 1_000_000;
    /// A row costs 0.015 tokens, a batch 0.06 more.
    const MARKET: Market = Market { fee_per_gas: 1_000_000_000, above_cap: false };

    fn units(units: u128) -> Amount {
        Amount::from_base_units(units).unwrap()
    }

    fn policy() -> Policy {
        Policy {
            value_over_gas: 10,
            native_coin_price: "1000".parse().unwrap(),
            age_max_s: 1_000,
            thaw_margin_s: 100,
            exposure_max: None,
            cover_debts: true,
            rows_max: 100,
        }
    }

    fn voucher(id: i64, cumulative: u128) -> OpenVoucher {
        let payer = Address::left_padding_from(&id.to_be_bytes());
        let payee = Address::repeat_byte(0xaa);
        OpenVoucher {
            id,
            voucher: SignedVoucher { payer, payee, cumulative: units(cumulative), signature: [0; 65] },
            signer: payer,
            recorded_at: NOW - 10,
            retry_at: 0,
            asked: false,
            held: None,
            closing_claimed_at: 0,
            failures: 0,
            exposed: false,
            set_off: None,
            backs: false,
            view: LaneView { deposit: Amount::MAX, ..LaneView::default() },
        }
    }

    fn one(open: OpenVoucher) -> Explanation {
        explain(&[open], &policy(), MARKET, NOW).remove(0)
    }

    #[test]
    fn tells_what_is_missing_until_it_is_worth_its_gas() {
        let waits = one(voucher(1, 100_000));

        assert_eq!(waits.verdict, Verdict::Hold(Hold::NotWorthYet));
        assert_eq!((waits.gas, waits.gas_cost), (75_000, units(75_000)), "alone in its batch");
        assert_eq!(waits.threshold, units(150_000), "ten times 15,000 gas");
        assert_eq!(waits.claim_at, Some(NOW + 990), "its age will do it: it is worth its own gas");
        assert_eq!(one(voucher(1, 14_999)).claim_at, None, "not even that");
    }

    #[test]
    fn a_share_of_the_batch_is_what_it_costs() {
        let open: Vec<_> = (1..=8).map(|id| voucher(id, 225_000)).collect();
        let claims = explain(&open, &policy(), MARKET, NOW);

        assert!(claims.iter().all(|claim| claim.verdict == Verdict::Claim(Reason::Worth)));
        assert!(claims.iter().all(|claim| claim.gas == 15_000 + 7_500 && claim.claim_at == Some(NOW)));
        let payers: Vec<_> = claims.iter().map(|claim| claim.payer).collect();
        assert_eq!(payers, open.iter().map(|open| open.voucher.payer).collect::<Vec<_>>(), "in their order");
    }

    #[test]
    fn a_notice_says_when() {
        let mut open = voucher(1, 1);
        open.view.thaw_ends_at = NOW + 500;
        let waits = one(open.clone());
        assert_eq!((waits.closes_at, waits.claim_at), (Some(NOW + 500), Some(NOW + 400)));

        open.closing_claimed_at = NOW - 1;
        open.view.thaw_ends_at = NOW + 50;
        assert_eq!(one(open).claim_at, None, "dust that was claimed for this notice already");
    }

    #[test]
    fn what_the_chain_would_not_pay_has_no_time() {
        let mut open = voucher(1, 10_000_000);
        open.view.deposit = Amount::ZERO;
        let waits = one(open);
        assert_eq!((waits.verdict, waits.claim_at), (Verdict::Hold(Hold::Unfunded), None));
    }

    #[test]
    fn its_json_reads_for_programs() {
        let json = serde_json::to_value(one(voucher(1, 100_000))).unwrap();
        assert_eq!((json["verdict"].as_str(), json["why"].as_str()), (Some("hold"), Some("not_worth_yet")));
        assert_eq!(serde_json::from_value::<Explanation>(json).unwrap(), one(voucher(1, 100_000)));
    }
}
