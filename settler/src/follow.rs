//! What became of a transaction, and what is due: wait, send again, bid more, cancel, or end it. Receipts and used
//! nonces are what enough endpoints agree on; while they do not, nothing is done.

use std::collections::{BTreeSet, HashMap};

use alloy::primitives::Address;
use alloy::sol_types::SolEvent;
use minus_bindings::{Amount, PrepaymentEscrow, row};

use crate::chain::{ChainError, Mined};
use crate::fees::{Remedy, Stuck, Urgency};
use crate::load::Loads;
use crate::plan::RETRY_MAX_S;
use crate::sender::{Moment, SendError, Sender};
use crate::store::endings::{Failure, Payments, Receipt};
use crate::store::{Attempt, LiveTransaction, TransactionState};

/// How long a voucher waits whose claim was reverted, doubled with each time up to [`RETRY_MAX_S`].
const REVERTED_RETRY_S: u64 = 300;

impl Sender {
    /// Looks what became of a transaction that is not at its end, and does what is due.
    ///
    /// # Errors
    /// When the chain does not answer or the log fails; nothing is lost by it.
    pub async fn follow(
        &self,
        live: &LiveTransaction,
        key: usize,
        loads: &Loads,
        moment: &Moment,
    ) -> Result<(), SendError> {
        match self.receipt_of(live).await {
            Ok(Some(receipt)) => return self.mined(live, &receipt, moment).await,
            Ok(None) => {}
            // A block is on its way from one endpoint to the other, or one lies: the next look tells.
            Err(SendError::Chain(ChainError::NoQuorum { .. })) => return Ok(()),
            Err(error) => return Err(error),
        }
        if live.mined_in.is_some() {
            tracing::warn!(id = live.id, nonce = live.nonce, "a reorganisation threw a claim out");
            self.metrics.reorganisations.increment(1);
            self.store.back_to_planned(live.id).await?;
        }
        let sight = &moment.keys[key];
        if live.nonce < sight.transaction_count {
            return self.nonce_is_used(live, moment).await;
        }
        if live.lost_since.is_some() {
            self.store.suspect_lost(live.id, None).await?;
        }
        let Some(newest) = live.attempts.first() else { return Ok(()) };
        let is_stuck = self.is_stuck(live, moment);
        let cost = newest.max_fee.saturating_mul(u128::from(live.gas_limit));
        let can_pay = sight.balance >= cost;
        if is_stuck && !can_pay && others_can_pay(cost, key, moment) {
            // No node lets such a transaction into a block, so its rows may go elsewhere: would it be mined after all,
            // the chain pays nothing twice.
            tracing::error!(id = live.id, key = %sight.address, "a gas key cannot pay: another one claims its rows");
            return Ok(self.store.failed(live.id, Failure::Cancelled, None, moment.now).await?);
        }
        let unsent = live.state == TransactionState::Planned || live.mined_in.is_some() || moment.first;
        match loads.stuck(live.id) {
            Some(stuck) if is_stuck && can_pay => self.unstick(live, stuck, key, moment).await,
            _ if is_stuck || unsent => self.send(live, key, Urgency::Ordinary, moment).await,
            _ => Ok(()),
        }
    }

    /// Does it wait too long for its last offer?
    pub(crate) fn is_stuck(&self, live: &LiveTransaction, moment: &Moment) -> bool {
        let waited = |newest: &Attempt| moment.head.number.saturating_sub(newest.signed_at_block);
        live.attempts.first().is_some_and(|newest| waited(newest) >= moment.pace.stuck_after(self.replace_after_blocks))
    }

    /// It waits too long: bid more, as far as what it carries or is in the way of is worth it now, or take it back.
    async fn unstick(
        &self,
        live: &LiveTransaction,
        stuck: Stuck,
        key: usize,
        moment: &Moment,
    ) -> Result<(), SendError> {
        let Some(newest) = live.attempts.first() else { return Ok(()) };
        let (replacement, urgency) = match self.fees.remedy(stuck, moment.head.base_fee, moment.tips) {
            Remedy::Raise(urgency) => (self.raise(live, key, newest, urgency, moment).await?, urgency),
            Remedy::Cancel(urgency) => (self.cancel(live, key, newest, urgency, moment).await?, urgency),
        };
        let Some(attempt) = replacement else {
            return self.send(live, key, Urgency::Ordinary, moment).await;
        };
        if attempt.cancels && !newest.cancels {
            tracing::warn!(id = live.id, nonce = live.nonce, ?stuck, "a claim is taken back");
        }
        self.send(&LiveTransaction { attempts: vec![attempt], ..live.clone() }, key, urgency, moment).await
    }

    /// Looks whether a transaction that ended is still where it was. False when the endpoints do not agree on that yet.
    ///
    /// # Errors
    /// When the chain does not answer or the log fails.
    pub async fn watch(&self, ended: &LiveTransaction) -> Result<bool, SendError> {
        let now_in = match self.receipt_of(ended).await {
            Ok(receipt) => receipt.map(|receipt| receipt.block_hash),
            Err(SendError::Chain(ChainError::NoQuorum { .. })) => return Ok(false),
            Err(error) => return Err(error),
        };
        if now_in != ended.mined_in {
            tracing::warn!(id = ended.id, nonce = ended.nonce, "a reorganisation undid a confirmed claim");
            self.metrics.reorganisations.increment(1);
            self.store.back_to_planned(ended.id).await?;
        }
        Ok(true)
    }

    /// Any of the attempts may be the one that was mined.
    async fn receipt_of(&self, live: &LiveTransaction) -> Result<Option<Mined>, SendError> {
        for attempt in &live.attempts {
            if let Some(receipt) = self.chain.receipt(attempt.hash).await? {
                return Ok(Some(receipt));
            }
        }
        Ok(None)
    }

    /// Its nonce is used, and enough endpoints say that no block holds it. This end is the only one that nothing undoes, so
    /// it is believed at once only if all of them say the same.
    async fn nonce_is_used(&self, live: &LiveTransaction, moment: &Moment) -> Result<(), SendError> {
        let Some(since) = live.lost_since else {
            return Ok(self.store.suspect_lost(live.id, Some(moment.head.number)).await?);
        };
        let blocks = moment.head.number.saturating_sub(since);
        if blocks < moment.pace.lost_after() {
            return Ok(());
        }
        let attempts = live.attempts.iter().map(|attempt| attempt.hash);
        if blocks < moment.pace.lost_after_doubts() && !self.chain.all_deny(attempts).await {
            return Ok(());
        }
        tracing::error!(id = live.id, nonce = live.nonce, "somebody else uses the gas key");
        self.metrics.lost.increment(1);
        Ok(self.store.failed(live.id, Failure::Lost, None, moment.now).await?)
    }

    async fn mined(&self, live: &LiveTransaction, receipt: &Mined, moment: &Moment) -> Result<(), SendError> {
        let Mined { hash, block, block_hash, .. } = *receipt;
        let depth = (moment.head.number + 1).saturating_sub(block);
        if depth < self.confirmations {
            if live.mined_in != Some(block_hash) {
                self.store.mined(live.id, hash, block, block_hash).await?;
            }
            return Ok(());
        }
        if let Some(first) = live.attempts.last() {
            self.inclusions.note(block.saturating_sub(first.signed_at_block));
        }
        let ending = Receipt { hash, block, block_hash, gas_used: receipt.gas_used, fee_wei: receipt.fee_wei };
        if live.attempts.iter().any(|attempt| attempt.hash == hash && attempt.cancels) {
            tracing::info!(id = live.id, %hash, "a claim was cancelled");
            self.metrics.cancelled.increment(1);
            return Ok(self.store.failed(live.id, Failure::Cancelled, Some(&ending), moment.now).await?);
        }
        if !receipt.succeeded {
            tracing::error!(id = live.id, %hash, "a claim was reverted");
            self.metrics.reverted.increment(1);
            return self.reverted(live, &ending, moment).await;
        }
        let moved = self.moved(receipt)?;
        self.note_netted(live.id, &moved).await?;
        let payments = self.payments(live, &moved, moment).await?;
        self.store.confirmed(live.id, &ending, &payments, moment.now).await?;
        self.metrics.confirmed.increment(1);
        tracing::info!(id = live.id, %hash, block, rows = payments.len(), "claim confirmed");
        Ok(())
    }

    /// What was reverted together is claimed in parts at once, see [`crate::claiming`]; what was alone waits, longer each
    /// time.
    async fn reverted(&self, live: &LiveTransaction, ending: &Receipt, moment: &Moment) -> Result<(), SendError> {
        let retry_at = match self.store.rows_of(live.id).await?[..] {
            [row] => {
                let doublings = u32::try_from(row.failures.min(16)).unwrap_or(0);
                moment.now.saturating_add((REVERTED_RETRY_S << doublings).min(RETRY_MAX_S))
            }
            _ => moment.now,
        };
        Ok(self.store.failed(live.id, Failure::Reverted, Some(ending), retry_at).await?)
    }

    /// What a transaction moved, from its events, by payee and payer.
    fn moved(&self, receipt: &Mined) -> Result<HashMap<(Address, Address), Amount>, SendError> {
        let escrow = self.chain.deployment().escrow;
        let mut moved: HashMap<(Address, Address), Amount> = HashMap::new();
        for log in receipt.logs.iter().filter(|log| log.address == escrow) {
            let Ok(event) = PrepaymentEscrow::Claimed::decode_log(log) else { continue };
            for (payer, amount) in row::parse_payments(&event.payments)? {
                let sum = moved.entry((event.payee, payer)).or_default();
                *sum = sum.checked_add(amount).unwrap_or(Amount::MAX);
            }
        }
        Ok(moved)
    }

    /// What each row moved, and what its lane has paid now, from the escrow. What a row has left meanwhile, as a charge
    /// does that was confirmed before a reorganisation, it moved all the same.
    async fn payments(
        &self,
        live: &LiveTransaction,
        moved: &HashMap<(Address, Address), Amount>,
        moment: &Moment,
    ) -> Result<Payments, SendError> {
        let rows = self.store.rows_of(live.id).await?.into_iter().map(|row| row.payer);
        let others = moved.keys().filter(|(payee, _)| *payee == live.payee).map(|(_, payer)| *payer);
        let payers: BTreeSet<Address> = rows.chain(others).collect();
        let lanes: Vec<(Address, Address)> = payers.into_iter().map(|payer| (payer, live.payee)).collect();
        let paid = self.chain.lanes_paid(moment.head.id(), &lanes).await?;
        Ok(lanes
            .into_iter()
            .zip(paid)
            .map(|((payer, _), paid)| (payer, (moved.get(&(live.payee, payer)).copied().unwrap_or_default(), paid)))
            .collect())
    }
}

fn others_can_pay(cost: u128, key: usize, moment: &Moment) -> bool {
    moment.keys.iter().enumerate().any(|(index, other)| index != key && other.balance >= cost)
}
