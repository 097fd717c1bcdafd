//! From a plan to transactions: rows are cut into batches that fill blocks, simulated, and spread over the gas keys.
//! Lanes that close go first and by themselves, for only they may bid above the cap.

use std::collections::{BTreeSet, HashMap, VecDeque};

use alloy::eips::BlockId;
use alloy::primitives::Address;
use minus_bindings::Amount;

use crate::chain::ChainError;
use crate::charging::{self, Standing};
use crate::chunks;
use crate::engine::Engine;
use crate::exposure;
use crate::fees::{Urgency, next_nonce};
use crate::netting::{self, PAIRS_MAX};
use crate::plan::{Batch, Plan, gas_value, plan};
use crate::sender::{Moment, Order, Place, SendError, Sender};
use crate::simulate::{Simulated, simulate};
use crate::store::{Hold, Instrument, OpenVoucher, PlannedRow};

/// Transactions of one gas key in no block yet: nodes keep no more than sixteen of one account.
const UNDER_WAY_MAX: usize = 16;
/// Charges looked at in one look. More than these wait for the next look.
const CHARGES_MAX: u32 = 256;
/// How long vouchers wait that simulation refused. Far below any thaw margin.
const RETRY_AFTER_S: u64 = 300;
/// How often a batch's size is corrected by what simulation used; then it goes as it is.
const CUTS_MAX: usize = 3;

/// A gas key with room for more.
struct Slot {
    key: usize,
    room: usize,
    funds: u128,
    /// Has it nothing in no block yet?
    is_idle: bool,
    held: BTreeSet<u64>,
}

/// The gas keys during one look.
struct Slots(Vec<Slot>);

impl Slots {
    async fn open(sender: &Sender, moment: &Moment) -> Result<Self, SendError> {
        let from = moment.head.number.saturating_sub(moment.pace.watch_blocks());
        let mut slots = Vec::with_capacity(moment.keys.len());
        for (key, sight) in moment.keys.iter().enumerate() {
            let live = sender.store.live(sight.address).await?;
            let waiting = live.iter().filter(|live| live.mined_in.is_none());
            let spoken_for = waiting.clone().filter_map(|live| {
                let newest = live.attempts.first()?;
                Some(newest.max_fee.saturating_mul(u128::from(live.gas_limit)))
            });
            let funds = sight.balance.saturating_sub(spoken_for.fold(0, u128::saturating_add));
            let waiting = waiting.count();
            let held = sender.store.held_nonces(sight.address, sight.transaction_count, from).await?;
            let room = UNDER_WAY_MAX.saturating_sub(waiting);
            slots.push(Slot { key, room, funds, is_idle: waiting == 0, held });
        }
        Ok(Self(slots))
    }

    fn has_room(&self) -> bool {
        self.0.iter().any(|slot| slot.room > 0)
    }

    /// The place for a transaction that may cost so much: at the key with the most room among those that can pay. If
    /// none of them all can, at one that has nothing else to do: the intent stands in the log when the operator sends it
    /// coins.
    fn take(&mut self, cost: u128, moment: &Moment) -> Option<Place> {
        let anyone_pays = self.0.iter().any(|slot| slot.funds >= cost);
        let fit = |slot: &&mut Slot| slot.room > 0 && (slot.funds >= cost || (!anyone_pays && slot.is_idle));
        let slot = self.0.iter_mut().filter(fit).max_by_key(|slot| slot.room)?;
        let nonce = next_nonce(moment.keys[slot.key].transaction_count, &slot.held);
        slot.held.insert(nonce);
        slot.room -= 1;
        slot.is_idle = false;
        slot.funds = slot.funds.saturating_sub(cost);
        Some(Place { key: slot.key, nonce })
    }
}

/// Rows of one payee that wait to be cut into batches.
struct Queue {
    instrument: Instrument,
    payee: Address,
    rows: VecDeque<PlannedRow>,
    /// How often claims of its rows failed: all of them as often.
    failures: u64,
    /// Is something that we owe paid in front of each of them?
    is_set_off: bool,
    /// Rows of one batch at most.
    rows_max: usize,
    /// What each of them would move, if they close; then they may cost as much.
    values: Option<HashMap<i64, Amount>>,
}

impl Queue {
    fn urgency(&self, rows: &[PlannedRow]) -> Urgency {
        let Some(values) = &self.values else { return Urgency::Ordinary };
        let values = rows.iter().filter_map(|row| values.get(&row.id).copied());
        Urgency::Closing(Amount::checked_sum(values).unwrap_or(Amount::MAX))
    }
}

impl Engine {
    /// Claims vouchers.
    pub(crate) async fn claim(&mut self, moment: &Moment) -> Result<(), SendError> {
        let sender = self.sender.clone();
        let waiting = sender.store.look(|board| board.open().count()).await?;
        if waiting == 0 {
            return Ok(());
        }
        let (policy, market, now) = (self.policy_now(waiting, moment), self.market(moment), moment.now);
        let exposure = match policy.exposure_max {
            Some(limit) => Some((limit, sender.store.under_way().await?)),
            None => None,
        };
        let owed = sender.store.owed().await?;
        let plan = sender
            .store
            .look(move |board| {
                if let Some((limit, under_way)) = exposure {
                    exposure::mark(board.open_mut(), &under_way, limit);
                }
                netting::mark(board.open_mut(), &owed, &policy, market, now);
                plan(board.open(), &policy, market, now)
            })
            .await?;

        self.settle(&plan.settled, moment).await?;
        self.carry_out(Instrument::Voucher, plan, moment).await
    }

    /// Charges by the same policy, in transactions of their own: what a mandate does not bear must not be a reason to
    /// wait with vouchers (law 5). Lanes are read anew each time; there are few, and what is chargeable grows by the second.
    pub(crate) async fn charge(&mut self, moment: &Moment) -> Result<(), SendError> {
        let sender = self.sender.clone();
        sender.metrics.charges.set(u32::try_from(sender.store.charges().await?).unwrap_or(u32::MAX));
        let open = sender.store.open_charges(CHARGES_MAX).await?;
        if open.is_empty() {
            return Ok(());
        }
        let mut charges = Vec::with_capacity(open.len());
        for standing in charging::read(&sender, open, moment).await? {
            match standing {
                Standing::Paid { id, paid } => sender.store.charge_is_paid(id, paid).await?,
                Standing::Open(charge) => charges.push(*charge),
            }
        }
        let plan = plan(&charges, &self.policy_now(charges.len(), moment), self.market(moment), moment.now);
        self.carry_out(Instrument::Charge, plan, moment).await
    }

    /// Sends what a plan claims, as far as the gas keys have room, and notes why the rest waits.
    async fn carry_out(&mut self, instrument: Instrument, plan: Plan, moment: &Moment) -> Result<(), SendError> {
        let sender = self.sender.clone();
        sender.store.hold(instrument, &plan.news, 0).await?;
        let (queues, holds) = self.queues(instrument, plan, moment);
        sender.store.hold(instrument, &holds, 0).await?;
        let mut slots = Slots::open(&sender, moment).await?;
        for mut queue in queues {
            while slots.has_room() && !queue.rows.is_empty() {
                let refused = self.claim_next(&mut queue, &mut slots, moment).await?;
                sender.store.hold(instrument, &refused, moment.now.saturating_add(RETRY_AFTER_S)).await?;
            }
        }
        Ok(())
    }

    /// What the chain has paid without us is at its end once enough blocks say so.
    async fn settle(&self, settled: &[OpenVoucher], moment: &Moment) -> Result<(), SendError> {
        if settled.is_empty() {
            return Ok(());
        }
        let sender = &self.sender;
        let deep = moment.final_block(sender.confirmations);
        let lanes: Vec<_> = settled.iter().map(|open| (open.voucher.payer, open.voucher.payee)).collect();
        let paid = match sender.chain.lanes_paid(BlockId::number(deep), &lanes).await {
            Ok(paid) => paid,
            // Before the escrow's first block, or nodes that keep no old state: the next look shows it.
            Err(ChainError::Answered(_) | ChainError::Nonsense(_) | ChainError::NoQuorum { .. }) => return Ok(()),
            Err(error) => return Err(error.into()),
        };
        for (open, paid) in settled.iter().zip(paid) {
            if paid >= open.voucher.cumulative {
                sender.store.settled_elsewhere(open.id).await?;
            }
        }
        Ok(())
    }

    /// A plan's rows by payee; those that close before all others and by themselves. While gas is above the cap, of
    /// these only the ones that are worth it now: the others are left.
    fn queues(&self, instrument: Instrument, plan: Plan, moment: &Moment) -> (Vec<Queue>, Vec<(i64, Hold)>) {
        let market = self.market(moment);
        let row_cost = gas_value(self.row_gas, market.fee_per_gas, self.policy.native_coin_price);
        let (mut closing, mut others, mut holds) = (Vec::<Queue>::new(), Vec::<Queue>::new(), Vec::new());
        let values = plan.closing;
        for batch in plan.batches {
            for row in batch.rows {
                let queues = if row.reason.is_closing() { &mut closing } else { &mut others };
                // What failed goes by itself, so that what made it fail keeps nobody else waiting.
                let is_set_off = row.debt.is_some();
                let belongs = |queue: &&mut Queue| {
                    queue.payee == batch.payee && queue.failures == row.failures && queue.is_set_off == is_set_off
                };
                match queues.iter_mut().rev().find(belongs) {
                    Some(queue) => queue.rows.push_back(row),
                    None => {
                        let (payee, failures) = (batch.payee, row.failures);
                        let (rows, rows_max) = (VecDeque::from([row]), self.rows_max);
                        queues.push(Queue { instrument, payee, rows, failures, is_set_off, rows_max, values: None });
                    }
                }
            }
        }
        for queue in &mut closing {
            let worth = |row: &PlannedRow| values.get(&row.id).is_some_and(|value| value.base_units() >= row_cost);
            if market.above_cap {
                holds.extend(queue.rows.iter().filter(|row| !worth(row)).map(|row| (row.id, Hold::NotWorthYet)));
                queue.rows.retain(worth);
            }
            queue.values = Some(values.clone());
        }
        closing.append(&mut others);
        for queue in &mut closing {
            let most = if queue.is_set_off { PAIRS_MAX.min(self.rows_max) } else { self.rows_max };
            queue.rows_max = part_of(queue.rows.len(), queue.failures).min(most);
        }
        (closing, holds)
    }

    /// Cuts, simulates and sends the next batch of a queue. Gives what was left out of it, and why.
    async fn claim_next(
        &mut self,
        queue: &mut Queue,
        slots: &mut Slots,
        moment: &Moment,
    ) -> Result<Vec<(i64, Hold)>, SendError> {
        let mut refused = Vec::new();
        let Simulated { rows, gas_limit, .. } = match queue.is_set_off {
            true => {
                let next = queue.rows.drain(..queue.rows_max.min(queue.rows.len())).collect();
                self.cut_pairs(queue.payee, next, &mut refused, moment).await?
            }
            false => self.cut(queue, &mut refused, moment).await?,
        };
        if rows.is_empty() {
            return Ok(refused);
        }
        let urgency = queue.urgency(&rows);
        let fees = self.sender.fees.offer(moment.head.base_fee, moment.tips, urgency, gas_limit);
        let Some(place) = slots.take(fees.max.saturating_mul(u128::from(gas_limit)), moment) else {
            // Those that could pay are busy: not now.
            queue.rows.clear();
            return Ok(refused);
        };
        let order = Order { instrument: queue.instrument, payee: queue.payee, rows, gas_limit, urgency };
        self.sender.claim(order, place, moment).await?;
        Ok(refused)
    }

    /// Takes as many rows as fill their part of a block.
    async fn cut(
        &mut self,
        queue: &mut Queue,
        refused: &mut Vec<(i64, Hold)>,
        moment: &Moment,
    ) -> Result<Simulated, ChainError> {
        let chunk = chunks::chunk_gas(moment.head.gas_limit);
        let mut kept = VecDeque::new();
        for attempt in 1..=CUTS_MAX {
            kept.append(&mut queue.rows);
            queue.rows = kept;
            let count = self.rows_of_a_batch(chunk).min(queue.rows_max).min(queue.rows.len());
            let rest = queue.rows.split_off(count);
            let batch = Batch { payee: queue.payee, rows: std::mem::replace(&mut queue.rows, rest).into() };
            let simulated = simulate(&self.sender.chain, &moment.head, queue.instrument, &batch).await?;
            refused.extend(&simulated.holds);
            let paying = u64::try_from(simulated.rows.len()).unwrap_or(u64::MAX);
            if paying > 0 {
                self.row_gas = chunks::row_gas(simulated.gas, paying);
            }
            let is_all = queue.rows.is_empty() || count >= queue.rows_max;
            let fits = chunks::fills(simulated.gas, chunk) || (is_all && simulated.gas <= chunk);
            if fits || attempt == CUTS_MAX || paying == 0 {
                return Ok(simulated);
            }
            kept = simulated.rows.into();
        }
        Ok(Simulated::default())
    }

    fn rows_of_a_batch(&self, chunk: u64) -> usize {
        let rows = chunks::rows_for(chunk - chunk / 128, self.row_gas);
        usize::try_from(rows).unwrap_or(usize::MAX)
    }
}

/// Of rows that failed so often, how many go together: all, a half, a quarter… The good parts are paid and gone, so this
/// ends with the bad row alone, however many bad ones there are and whichever batches they were in.
fn part_of(rows: usize, failures: u64) -> usize {
    let parts = 1usize.checked_shl(u32::try_from(failures).unwrap_or(u32::MAX)).unwrap_or(usize::MAX);
    rows.div_ceil(parts).max(1)
}

#[cfg(test)]
mod tests {
    use super::part_of;

    #[test]
    fn a_bad_row_ends_alone_and_the_good_ones_are_paid() {
        for bad in [vec![3], vec![0, 99], vec![10, 11, 60], (0..100).collect()] {
            let mut waiting: Vec<usize> = (0..100).collect();
            let mut failures = 0;
            while waiting.len() > bad.len() || part_of(waiting.len(), failures) > 1 {
                let part = part_of(waiting.len(), failures);
                let is_bad = |rows: &&[usize]| rows.iter().any(|row| bad.contains(row));
                waiting = waiting.chunks(part).filter(is_bad).flatten().copied().collect();
                failures += 1;
                assert!(failures <= 8, "{bad:?}: {waiting:?}");
            }
            assert_eq!(waiting, bad);
        }
        assert_eq!(part_of(700, 0), 700);
        assert_eq!(part_of(700, u64::MAX), 1);
    }
}
