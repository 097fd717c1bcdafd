//! What the engine does about debts to relays: it keeps an eye on the money behind them, and sets them off against what it
//! claims from those that are owed. What somebody else claimed, the lanes tell at the next reading, whoever it was.

use std::collections::HashMap;

use alloy::primitives::Address;
use minus_bindings::{Amount, RowResult};

use crate::chain::{Calldata, ChainError, LaneQuestion};
use crate::chunks::gas_limit;
use crate::clock::now_s;
use crate::engine::Engine;
use crate::plan::Batch;
use crate::sender::{Moment, SendError, Sender};
use crate::simulate::{Simulated, simulate, verdict};
use crate::store::{Debt, Hold, Instrument, Netted, PlannedRow};

/// Debts read from the chain in one look: one call in ten of those for vouchers.
const REFRESH_MAX: u32 = 600;

impl Engine {
    /// Reads the lanes of debts anew whose view has become old.
    pub(crate) async fn refresh_debts(&self, moment: &Moment) -> Result<(), SendError> {
        let sender = &self.sender;
        let now = now_s();
        let stale = sender.store.stale_debts(self.seen_before(now), now, REFRESH_MAX).await?;
        if stale.is_empty() {
            return Ok(());
        }
        let views = self.views(stale.iter().map(question).collect(), moment).await?;
        Ok(sender.store.put_debt_views(&views, now_s()).await?)
    }

    /// Takes the next pairs of debt and claim that the chain would pay now, both of them. Pairs that fail as a whole are
    /// bisected, and the last one is claimed without its debt, so that no debt keeps a claim waiting (law 5).
    pub(crate) async fn cut_pairs(
        &self,
        payee: Address,
        rows: Vec<PlannedRow>,
        refused: &mut Vec<(i64, Hold)>,
        moment: &Moment,
    ) -> Result<Simulated, SendError> {
        let sender = &self.sender;
        let mut parts = vec![rows];
        while let Some(mut rows) = parts.pop() {
            let calldata = Calldata::new(Instrument::Voucher, payee, &rows);
            let trial = match sender.chain.simulate(&moment.head, &calldata).await {
                Ok(trial) => trial,
                Err(ChainError::Answered(reason)) => {
                    tracing::warn!(pairs = rows.len(), %reason, "pairs of debt and claim failed as a whole");
                    let rest = rows.split_off(rows.len().div_ceil(2));
                    if !rest.is_empty() {
                        parts.extend([rest, rows]);
                        continue;
                    }
                    rows.iter_mut().for_each(|row| row.debt = None);
                    let alone = Batch { payee, rows };
                    let alone = simulate(&sender.chain, &moment.head, Instrument::Voucher, &alone).await?;
                    refused.extend(&alone.holds);
                    if alone.rows.is_empty() {
                        continue;
                    }
                    return Ok(alone);
                }
                Err(error) => return Err(error.into()),
            };
            let count = rows.len();
            let rows = self.paying(rows, &trial.results, refused).await?;
            if rows.len() == count {
                // Each of its lanes may be emptied in front of it, and is then as dear as a lane can be.
                let risky = u64::try_from(2 * rows.len()).unwrap_or(u64::MAX);
                let gas_limit = gas_limit(trial.gas, risky);
                return Ok(Simulated { rows, holds: Vec::new(), gas: trial.gas, gas_limit });
            }
            if !rows.is_empty() {
                parts.push(rows);
            }
        }
        Ok(Simulated::default())
    }

    /// The pairs in which both would be paid. What the log has of the other debts is not what the chain has.
    async fn paying(
        &self,
        rows: Vec<PlannedRow>,
        results: &[RowResult],
        refused: &mut Vec<(i64, Hold)>,
    ) -> Result<Vec<PlannedRow>, SendError> {
        let (mut paying, mut stale) = (Vec::with_capacity(rows.len()), Vec::new());
        for (row, results) in rows.into_iter().zip(results.chunks(2)) {
            if results.iter().all(|result| result.is_paid()) {
                paying.push(row);
                continue;
            }
            stale.extend(row.debt.map(|debt| (debt.payer, debt.payee)));
            refused.extend(results.last().and_then(|own| verdict(*own)).map(|hold| (row.id, hold)));
        }
        self.sender.store.forget_debt_views(&stale).await?;
        Ok(paying)
    }
}

impl Sender {
    /// What the debts in a transaction would bring into the open balances of those that are paid, now.
    pub(crate) async fn paid_first(&self, id: i64, moment: &Moment) -> Result<HashMap<Address, Amount>, SendError> {
        let debts = self.store.netted_of(id).await?;
        let own = |(payer, payee, _): &Netted| LaneQuestion { payer: *payer, payee: *payee, signer: *payer };
        let questions: Vec<LaneQuestion> = debts.iter().map(own).collect();
        let views = self.chain.lane_views(&moment.head, &questions, moment.now).await?;
        Ok(debts.iter().zip(views).map(|((_, payee, total), (view, _))| (*payee, view.claimable(*total))).collect())
    }

    /// Notes what the debts of a mined transaction moved. `moved` is by payee and payer.
    pub(crate) async fn note_netted(
        &self,
        id: i64,
        moved: &HashMap<(Address, Address), Amount>,
    ) -> Result<(), SendError> {
        let debts = self.store.netted_of(id).await?;
        if debts.is_empty() {
            return Ok(());
        }
        let paid = |(payer, payee, _): Netted| (payer, payee, moved.get(&(payee, payer)).copied().unwrap_or_default());
        let paid: Vec<Netted> = debts.into_iter().map(paid).collect();
        tracing::info!(id, debts = paid.len(), "a claim was netted with what we owe");
        Ok(self.store.netted_paid(id, &paid).await?)
    }
}

fn question(debt: &Debt) -> LaneQuestion {
    LaneQuestion { payer: debt.voucher.payer, payee: debt.voucher.payee, signer: debt.signer }
}
