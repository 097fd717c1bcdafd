//! The one loop that acts: follows what is under way, refreshes what it knows of the lanes, plans, and sends. All it
//! knows between two looks stands in the log and on the chain, so a start is a look like any other, except that what is
//! stored is sent again.

use std::collections::{BTreeSet, HashMap};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use alloy::eips::BlockId;
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

use crate::chain::{ChainError, EndpointLine, Head, LaneQuestion};
use crate::charging::{self, Standing};
use crate::clock::now_s;
use crate::fees::{TIP_BLOCKS, TIP_PERCENTILES, tips};
use crate::plan::{Batch, Market, Policy, plan};
use crate::sender::{Moment, Order, SendError, Sender};
use crate::simulate::{Simulated, simulate};
use crate::store::{Hold, Instrument, LaneView, OpenVoucher};

/// How deep a reorganisation is undone: beyond this, only a restart compares the log with the chain.
pub const WATCH_BLOCKS: u64 = 64;
/// Transactions of the gas key under way at once: nodes keep no more than about sixteen of one account.
const UNDER_WAY_MAX: usize = 8;
/// Waiting vouchers looked at in one plan. More than these wait for the next, the urgent ones first.
const PLAN_MAX: u32 = 50_000;
/// Lanes read from the chain in one look, so that a look ends: three dozen calls.
const REFRESH_MAX: u32 = 6_000;
/// Lanes at rest that a start compares with the chain.
const RECONCILE_MAX: u32 = 1_000;
/// Charges looked at in one look, which reads three records of each. More than these wait for the next look.
const CHARGES_MAX: u32 = 256;
/// How long vouchers wait that simulation refused. Far below any thaw margin.
const RETRY_AFTER_S: u64 = 300;
/// The longest pause while the chain or the disk is down.
const PAUSE_MAX: Duration = Duration::from_secs(30);

/// What the last look saw, for the operator.
#[derive(Debug, Clone, Default)]
pub struct Sight {
    /// The last block.
    pub head: Head,
    /// What the gas key can pay, wei.
    pub gas_balance: u128,
    /// What is to be said of each endpoint.
    pub endpoints: Vec<EndpointLine>,
    /// When a look last succeeded, unix seconds; 0 when none has.
    pub looked_at: u64,
    /// What the last look complained of.
    pub trouble: Option<String>,
}

/// Wakes the loop and shows what it saw.
#[derive(Debug, Default)]
pub struct Watch {
    /// The operator asked for something.
    pub wake: Notify,
    sight: Mutex<Sight>,
}

impl Watch {
    /// What the last look saw.
    #[must_use]
    pub fn sight(&self) -> Sight {
        self.sight.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn update(&self, change: impl FnOnce(&mut Sight)) {
        change(&mut self.sight.lock().unwrap_or_else(PoisonError::into_inner));
    }
}

/// How the loop goes about it.
#[derive(Debug, Clone, Copy)]
pub struct Pace {
    /// How often to look at the chain.
    pub poll_interval: Duration,
    /// How old the view of a waiting lane may get.
    pub lane_refresh: Duration,
}

/// The loop.
#[derive(Debug)]
pub struct Engine {
    sender: Arc<Sender>,
    watch: Arc<Watch>,
    policy: Policy,
    pace: Pace,
    first: bool,
    reconciled: bool,
    watched: Head,
}

impl Engine {
    /// Ready to run.
    #[must_use]
    pub fn new(sender: Arc<Sender>, watch: Arc<Watch>, policy: Policy, pace: Pace) -> Self {
        Self { sender, watch, policy, pace, first: true, reconciled: false, watched: Head::default() }
    }

    /// Looks at the chain until told to stop. Trouble makes it slower, never stops it.
    pub async fn run(mut self, stop: CancellationToken) {
        let mut pause = self.pace.poll_interval;
        loop {
            match self.look().await {
                Ok(()) => {
                    pause = self.pace.poll_interval;
                    self.watch.update(|sight| {
                        sight.trouble = None;
                        sight.looked_at = now_s();
                    });
                }
                Err(error) => {
                    tracing::warn!(%error, "a look at the chain failed");
                    self.sender.metrics.failed_looks.increment(1);
                    pause = (pause * 2).min(PAUSE_MAX.max(self.pace.poll_interval));
                    self.watch.update(|sight| sight.trouble = Some(error.to_string()));
                }
            }
            tokio::select! {
                () = stop.cancelled() => return,
                () = tokio::time::sleep(pause) => {}
                () = self.watch.wake.notified() => {}
            }
        }
    }

    async fn look(&mut self) -> Result<(), SendError> {
        let moment = self.moment().await?;
        self.follow(&moment).await?;
        self.first = false;
        if !self.reconciled {
            self.reconcile(&moment).await?;
            self.reconciled = true;
        }
        self.refresh(&moment).await?;
        self.claim(&moment).await?;
        self.charge(&moment).await
    }

    async fn moment(&self) -> Result<Moment, SendError> {
        let sender = &self.sender;
        let account = sender.key.address();
        let head = sender.chain.head().await?;
        let gas_balance = sender.chain.balance(account, &head).await?;
        self.watch.update(|sight| {
            sight.head = head;
            sight.gas_balance = gas_balance;
        });
        let history = sender.chain.tips(TIP_BLOCKS, &TIP_PERCENTILES).await.unwrap_or_default();
        sender.metrics.saw(head.number, gas_balance);
        Ok(Moment {
            head,
            tips: tips(&history, sender.tip_cap),
            transaction_count: sender.chain.transaction_count(account, &head).await?,
            // Whichever clock is ahead: to claim a closing lane too early costs nothing.
            now: now_s().max(head.timestamp),
            first: self.first,
        })
    }

    async fn follow(&mut self, moment: &Moment) -> Result<(), SendError> {
        let sender = &self.sender;
        if moment.head.hash != self.watched.hash {
            let from = moment.head.number.saturating_sub(WATCH_BLOCKS);
            for ended in sender.store.ended_since(sender.key.address(), from).await? {
                sender.watch(&ended).await?;
            }
            self.watched = moment.head;
        }
        for live in sender.store.live(sender.key.address()).await? {
            sender.follow(&live, moment).await?;
        }
        Ok(())
    }

    /// Compares lanes at rest with the chain: after a restored backup or a very deep reorganisation it may have paid
    /// less than the log says.
    async fn reconcile(&self, moment: &Moment) -> Result<(), SendError> {
        let sender = &self.sender;
        let resting = sender.store.lanes_at_rest(RECONCILE_MAX).await?;
        let lanes: Vec<_> = resting.iter().map(|(payer, payee, ..)| (*payer, *payee)).collect();
        let paid = sender.chain.lanes_paid(moment.head.id(), &lanes).await?;
        for ((payer, payee, cumulative, voucher), paid) in resting.into_iter().zip(paid) {
            if paid < cumulative {
                tracing::warn!(%payer, %payee, "the chain has paid less than the log says: recorded again");
                sender.store.record_again(voucher).await?;
            }
        }
        Ok(())
    }

    async fn refresh(&self, moment: &Moment) -> Result<(), SendError> {
        let sender = &self.sender;
        let now = now_s();
        let seen_before = now.saturating_sub(self.pace.lane_refresh.as_secs());
        let stale = sender.store.stale_views(seen_before, now, REFRESH_MAX).await?;
        if stale.is_empty() {
            return Ok(());
        }
        let questions: Vec<LaneQuestion> = stale.iter().map(question).collect();
        let answers = sender.chain.lane_views(&moment.head, &questions, moment.now).await?;
        let views: Vec<(_, _, LaneView)> = questions
            .into_iter()
            .zip(answers)
            .map(|(question, (view, _))| (question.payer, question.payee, view))
            .collect();
        Ok(sender.store.put_views(&views, now_s()).await?)
    }

    async fn claim(&self, moment: &Moment) -> Result<(), SendError> {
        let sender = &self.sender;
        let open = sender.store.open_vouchers(PLAN_MAX).await?;
        if open.is_empty() {
            return Ok(());
        }
        let fee_per_gas = moment.head.base_fee.saturating_add(moment.tips.usual);
        let market = Market { fee_per_gas, above_cap: fee_per_gas > sender.fee_cap };
        let plan = plan(&open, &self.policy, market, moment.now);

        self.settle(&open, &plan.holds, moment).await?;
        sender.store.hold(&changed(&open, &plan.holds), 0).await?;
        for batch in &plan.batches {
            match self.claim_batch(Instrument::Voucher, batch, moment).await? {
                Some(refused) => sender.store.hold(&refused, moment.now.saturating_add(RETRY_AFTER_S)).await?,
                None => break,
            }
        }
        Ok(())
    }

    /// Charges by the same policy, in transactions of their own: what a mandate does not bear must not be a reason to
    /// wait with vouchers (law 5). Lanes are read anew each time; there are few, and what is chargeable grows by the second.
    async fn charge(&self, moment: &Moment) -> Result<(), SendError> {
        let sender = &self.sender;
        sender.metrics.charges.set(u32::try_from(sender.store.charges().await?).unwrap_or(u32::MAX));
        let open = sender.store.open_charges(CHARGES_MAX).await?;
        if open.is_empty() {
            return Ok(());
        }
        let mut charges = Vec::with_capacity(open.len());
        for standing in charging::read(sender, open, moment).await? {
            match standing {
                Standing::Paid { id, paid } => sender.store.charge_is_paid(id, paid).await?,
                Standing::Open(charge) => charges.push(*charge),
            }
        }
        let open = charges;
        let fee_per_gas = moment.head.base_fee.saturating_add(moment.tips.usual);
        let plan =
            plan(&open, &self.policy, Market { fee_per_gas, above_cap: fee_per_gas > sender.fee_cap }, moment.now);
        sender.store.hold_charges(&changed(&open, &plan.holds), 0).await?;
        for batch in &plan.batches {
            match self.claim_batch(Instrument::Charge, batch, moment).await? {
                Some(refused) => sender.store.hold_charges(&refused, moment.now.saturating_add(RETRY_AFTER_S)).await?,
                None => break,
            }
        }
        Ok(())
    }

    /// What the chain has paid without us is at its end once enough blocks say so.
    async fn settle(&self, open: &[OpenVoucher], holds: &[(i64, Hold)], moment: &Moment) -> Result<(), SendError> {
        let sender = &self.sender;
        let settled: BTreeSet<i64> =
            holds.iter().filter(|(_, hold)| *hold == Hold::Settled).map(|(id, _)| *id).collect();
        let deep = (moment.head.number + 1).saturating_sub(sender.confirmations);
        let settled: Vec<&OpenVoucher> = open.iter().filter(|open| settled.contains(&open.id)).collect();
        let lanes: Vec<_> = settled.iter().map(|open| (open.voucher.payer, open.voucher.payee)).collect();
        let paid = match sender.chain.lanes_paid(BlockId::number(deep), &lanes).await {
            Ok(paid) => paid,
            // Before the escrow's first block, or nodes that keep no old state: the next look shows it.
            Err(ChainError::Answered(_) | ChainError::Nonsense(_) | ChainError::NoQuorum { .. }) => return Ok(()),
            Err(error) => return Err(error.into()),
        };
        for (open, paid) in settled.into_iter().zip(paid) {
            if paid >= open.voucher.cumulative {
                sender.store.settled_elsewhere(open.id).await?;
            }
        }
        Ok(())
    }

    /// Sends what is worth its gas, and gives what is not. None when no more transactions may be under way.
    async fn claim_batch(
        &self,
        instrument: Instrument,
        batch: &Batch,
        moment: &Moment,
    ) -> Result<Option<Vec<(i64, Hold)>>, SendError> {
        let sender = &self.sender;
        let account = sender.key.address();
        let live = sender.store.live(account).await?;
        if live.len() >= UNDER_WAY_MAX {
            return Ok(None);
        }
        let Simulated { rows, holds, gas_limit, .. } = simulate(&sender.chain, &moment.head, instrument, batch).await?;
        if rows.is_empty() {
            return Ok(Some(holds));
        }
        let from = moment.head.number.saturating_sub(WATCH_BLOCKS);
        let held: BTreeSet<u64> = live
            .iter()
            .chain(&sender.store.ended_since(account, from).await?)
            .map(|transaction| transaction.nonce)
            .collect();
        let nonce = crate::fees::next_nonce(moment.transaction_count, &held);
        sender.claim(Order { instrument, payee: batch.payee, rows, gas_limit }, nonce, moment).await?;
        Ok(Some(holds))
    }
}

fn question(open: &OpenVoucher) -> LaneQuestion {
    LaneQuestion { payer: open.voucher.payer, payee: open.voucher.payee, signer: open.signer }
}

/// The holds that the log does not know yet.
fn changed(open: &[OpenVoucher], holds: &[(i64, Hold)]) -> Vec<(i64, Hold)> {
    let before: HashMap<i64, Option<Hold>> = open.iter().map(|open| (open.id, open.held)).collect();
    holds.iter().filter(|(id, hold)| before.get(id) != Some(&Some(*hold))).copied().collect()
}
