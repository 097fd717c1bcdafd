//! The one loop that acts: follows what is under way, refreshes what it knows of the lanes, plans, and sends. All it
//! knows between two looks stands in the log and on the chain, so a start is a look like any other, except that what is
//! stored is sent again.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use alloy::primitives::Address;
use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

use crate::chain::{EndpointLine, Head, LaneQuestion};
use crate::clock::now_s;
use crate::fees::{TIP_BLOCKS, TIP_PERCENTILES, Tips, tips};
use crate::load::Loads;
use crate::pace::{Pace, Road};
use crate::plan::{Market, Policy, ROW_GAS_USUAL};
use crate::sender::{KeySight, Moment, SendError, Sender};
use crate::store::{LaneView, OpenVoucher};

/// Lanes read from the chain in one look, so that a look ends: three dozen calls.
const REFRESH_MAX: u32 = 6_000;
/// Lanes at rest that a start compares with the chain.
const RECONCILE_MAX: u32 = 1_000;
/// The chain's pace is measured over so many blocks,
const MEASURE_BLOCKS: u64 = 128;
/// and anew after so many.
const MEASURE_EVERY_BLOCKS: u64 = 32;
/// The longest pause while the chain or the disk is down.
const PAUSE_MAX: Duration = Duration::from_secs(30);

/// What the last look saw, for the operator.
#[derive(Debug, Clone, Default)]
pub struct Sight {
    /// The last block.
    pub head: Head,
    /// The gas keys.
    pub gas_keys: Vec<KeySight>,
    /// How fast the chain is.
    pub pace: Pace,
    /// What other people pay builders; none before the first look.
    pub tips: Option<Tips>,
    /// How long before a notice ends its lane is claimed: the operator's wish, or more if this chain needs more, seconds.
    pub thaw_margin_s: u64,
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
pub struct Rhythm {
    /// How often to look at the chain.
    pub poll_interval: Duration,
    /// How old the view of a waiting lane may get.
    pub lane_refresh: Duration,
}

/// The loop.
#[derive(Debug)]
pub struct Engine {
    pub(crate) sender: Arc<Sender>,
    watch: Arc<Watch>,
    pub(crate) policy: Policy,
    rhythm: Rhythm,
    /// Rows of one transaction at most.
    pub(crate) rows_max: usize,
    /// What a row used lately.
    pub(crate) row_gas: u64,
    pace: Pace,
    /// The block at which that was measured.
    pace_of: u64,
    first: bool,
    reconciled: bool,
    watched: Head,
}

impl Engine {
    /// Ready to run.
    #[must_use]
    pub fn new(sender: Arc<Sender>, watch: Arc<Watch>, policy: Policy, rhythm: Rhythm) -> Self {
        let rows_max = usize::try_from(policy.rows_max).unwrap_or(usize::MAX).max(1);
        Self {
            sender,
            watch,
            policy,
            rhythm,
            rows_max,
            row_gas: ROW_GAS_USUAL,
            pace: Pace::default(),
            pace_of: 0,
            first: true,
            reconciled: false,
            watched: Head::default(),
        }
    }

    /// Looks at the chain until told to stop. Trouble makes it slower, never stops it.
    pub async fn run(mut self, stop: CancellationToken) {
        let mut pause = self.rhythm.poll_interval;
        loop {
            match self.look().await {
                Ok(()) => {
                    pause = self.rhythm.poll_interval;
                    self.watch.update(|sight| {
                        sight.trouble = None;
                        sight.looked_at = now_s();
                    });
                }
                Err(error) => {
                    tracing::warn!(%error, "a look at the chain failed");
                    self.sender.metrics.failed_looks.increment(1);
                    pause = (pause * 2).min(PAUSE_MAX.max(self.rhythm.poll_interval));
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
        self.refresh_debts(&moment).await?;
        self.claim(&moment).await?;
        self.charge(&moment).await
    }

    async fn moment(&mut self) -> Result<Moment, SendError> {
        let sender = self.sender.clone();
        let question = sender.store.last_question();
        let head = sender.chain.head().await?;
        let mut keys = Vec::with_capacity(sender.keys.len());
        for key in &sender.keys {
            let address = key.address();
            let (balance, transaction_count) =
                tokio::try_join!(sender.chain.balance(address, &head), sender.chain.transaction_count(address, &head))?;
            keys.push(KeySight { address, balance, transaction_count });
        }
        self.measure(&head).await;
        let history = sender.chain.tips(TIP_BLOCKS, &TIP_PERCENTILES).await.unwrap_or_default();
        let tips = tips(&history, sender.fees.tip_cap);
        let endpoints = sender.chain.endpoint_lines();
        sender.metrics.saw(head.number, &keys);
        self.watch.update(|sight| {
            sight.head = head;
            sight.gas_keys = keys.clone();
            sight.pace = self.pace;
            sight.tips = Some(tips);
            sight.endpoints = endpoints;
        });
        // Whichever clock is ahead: to claim a closing lane too early costs nothing.
        let now = now_s().max(head.timestamp);
        let thaw_margin_s = self.watch.sight().thaw_margin_s.max(self.policy.thaw_margin_s);
        Ok(Moment { question, head, tips, pace: self.pace, keys, now, thaw_margin_s, first: self.first })
    }

    /// How fast the chain is, anew now and then. A failure leaves what is known.
    async fn measure(&mut self, head: &Head) {
        if self.pace_of != 0 && head.number.abs_diff(self.pace_of) < MEASURE_EVERY_BLOCKS {
            return;
        }
        let from = head.number.saturating_sub(MEASURE_BLOCKS);
        if let Ok(then) = self.sender.chain.block_time(from).await
            && from > 0
        {
            self.pace = Pace::measured(head.number - from, head.timestamp.saturating_sub(then));
            self.pace_of = head.number;
        }
    }

    async fn follow(&mut self, moment: &Moment) -> Result<(), SendError> {
        let sender = &self.sender;
        let mut is_clear = true;
        if self.was_reorganised(moment).await? {
            let from = self.last_seen(moment).await?.saturating_sub(moment.pace.watch_blocks());
            for key in &moment.keys {
                for ended in sender.store.ended_since(key.address, from).await? {
                    is_clear &= sender.watch(&ended).await?;
                }
            }
        }
        if is_clear {
            self.watched = moment.head;
        }
        for (key, sight) in moment.keys.iter().enumerate() {
            let live = sender.store.live(sight.address).await?;
            let loads = Loads::read(sender, &live, moment).await?;
            let mut follows = FuturesUnordered::new();
            for live in &live {
                follows.push(sender.follow(live, key, &loads, moment));
            }
            while let Some(ended) = follows.next().await {
                ended?;
            }
        }
        Ok(())
    }

    /// Up to which block the ends of transactions were seen as they are now: however long nobody looked, what a
    /// reorganisation undid meanwhile is found. A start knows the last block with an end.
    async fn last_seen(&self, moment: &Moment) -> Result<u64, SendError> {
        let last = match self.watched == Head::default() {
            true => self.sender.store.last_ended_block().await?,
            false => Some(self.watched.number),
        };
        Ok(last.unwrap_or(moment.head.number).min(moment.head.number))
    }

    /// Is the block that was last looked at no longer one of this chain's? After a start nobody knows.
    async fn was_reorganised(&self, moment: &Moment) -> Result<bool, SendError> {
        let Head { number, hash, .. } = self.watched;
        if hash == moment.head.hash {
            return Ok(false);
        }
        if self.watched == Head::default() || number >= moment.head.number {
            return Ok(true);
        }
        Ok(self.sender.chain.block_hash(number).await? != hash)
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
        let stale = sender.store.stale_views(self.seen_before(now), now, REFRESH_MAX).await?;
        if stale.is_empty() {
            return Ok(());
        }
        let views = self.views(stale.iter().map(question).collect(), moment).await?;
        Ok(sender.store.put_views(&views, moment.question, now_s()).await?)
    }

    /// What was seen of a lane before this is old.
    pub(crate) fn seen_before(&self, now: u64) -> u64 {
        now.saturating_sub(self.rhythm.lane_refresh.as_secs())
    }

    /// What lanes are like now.
    pub(crate) async fn views(
        &self,
        questions: Vec<LaneQuestion>,
        moment: &Moment,
    ) -> Result<Vec<(Address, Address, LaneView)>, SendError> {
        let answers = self.sender.chain.lane_views(&moment.head, &questions, moment.now).await?;
        let views = questions.into_iter().zip(answers);
        Ok(views.map(|(question, (view, _))| (question.payer, question.payee, view)).collect())
    }

    /// The policy with the margin that this chain needs now, if that is more than the operator's.
    pub(crate) fn policy_now(&self, waiting: usize, moment: &Moment) -> Policy {
        let rows = u64::try_from(waiting).unwrap_or(u64::MAX);
        let road = Road {
            backlog_blocks: rows.saturating_mul(self.row_gas).div_ceil(moment.head.gas_limit.max(1)),
            confirmations: self.sender.confirmations,
            slowest_inclusion: self.sender.inclusions.slowest(),
            replace_after_blocks: self.sender.replace_after_blocks,
            blind_s: (self.rhythm.lane_refresh + self.rhythm.poll_interval).as_secs(),
        };
        let needed = moment.pace.margin_s(road).min(self.sender.chain.notice_s());
        let thaw_margin_s = self.policy.thaw_margin_s.max(needed);
        self.watch.update(|sight| sight.thaw_margin_s = thaw_margin_s);
        Policy { thaw_margin_s, ..self.policy }
    }

    /// What gas costs now.
    pub(crate) fn market(&self, moment: &Moment) -> Market {
        let fee_per_gas = moment.head.base_fee.saturating_add(moment.tips.usual);
        Market { fee_per_gas, above_cap: fee_per_gas > self.sender.fees.cap }
    }
}

fn question(open: &OpenVoucher) -> LaneQuestion {
    LaneQuestion { payer: open.voucher.payer, payee: open.voucher.payee, signer: open.signer }
}
