//! One transaction from its signing to its end. The signed bytes are stored before they are sent, so that a crash
//! between any two lines leaves either nothing or something to go on with; what happened, only a receipt tells.

use alloy::consensus::{SignableTransaction, TxEip1559, TxEnvelope};
use alloy::eips::eip2718::Encodable2718;
use alloy::network::TxSignerSync;
use alloy::primitives::{Address, Bytes, TxKind, U256};
use alloy::signers::local::PrivateKeySigner;
use alloy::sol_types::SolEvent;
use minus_bindings::{Amount, PrepaymentEscrow, row};

use crate::chain::{Calldata, Chain, ChainError, Head, Mined};
use crate::fees::{self, Complaint, Fees, Tips};
use crate::metrics::Metrics;
use crate::store::endings::{Failure, Payments, Receipt};
use crate::store::{
    Attempt, Instrument, LiveTransaction, NewTransaction, PlannedRow, Store, StoreError, TransactionState,
};

/// A replacement that is still too cheap is raised again at once, this often; then the next look goes on.
const RAISES_MAX: usize = 3;
/// How many blocks a nonce has to be used by a stranger before it is believed: an endpoint that lags shows the same.
const LOST_PATIENCE_BLOCKS: u64 = 3;
/// How long vouchers of a failed claim wait. Far below any thaw margin.
const RETRY_AFTER_S: u64 = 300;

/// What stops a look at the chain. All of it is tried again.
#[derive(Debug, thiserror::Error)]
pub enum SendError {
    /// The chain gave no answer.
    #[error("chain: {0}")]
    Chain(#[from] ChainError),
    /// The log failed.
    #[error("log: {0}")]
    Store(#[from] StoreError),
    /// The key could not sign.
    #[error("signature: {0}")]
    Sign(#[from] alloy::signers::Error),
    /// An event of the escrow does not read.
    #[error("claimed event: {0}")]
    Event(#[from] minus_bindings::RowError),
}

/// The gas key with all it needs.
#[derive(Debug)]
pub struct Sender {
    /// The chain.
    pub chain: Chain,
    /// The intent log.
    pub store: Store,
    /// The gas key. It owns nothing but gas.
    pub key: PrivateKeySigner,
    /// Counters.
    pub metrics: Metrics,
    /// The most to pay, wei per gas.
    pub fee_cap: u128,
    /// The most to pay a block's builder, wei per gas.
    pub tip_cap: u128,
    /// Blocks on a claim, its own included, before it counts.
    pub confirmations: u64,
    /// Blocks after which a transaction is stuck.
    pub replace_after_blocks: u64,
}

/// What the chain is like during one look at it.
#[derive(Debug, Clone, Copy)]
pub struct Moment {
    /// Its last block.
    pub head: Head,
    /// What other people pay builders.
    pub tips: Tips,
    /// Transactions of the gas key that are in blocks.
    pub transaction_count: u64,
    /// The time to go by, unix seconds.
    pub now: u64,
    /// The first look after a start: everything stored is sent again.
    pub first: bool,
}

/// A batch that simulation found worth its gas.
#[derive(Debug)]
pub struct Order {
    /// What its rows are.
    pub instrument: Instrument,
    /// Whom it credits.
    pub payee: Address,
    /// Its rows.
    pub rows: Vec<PlannedRow>,
    /// Its gas limit.
    pub gas_limit: u64,
}

impl Sender {
    /// Signs a batch, stores it, and only then sends it. None when one of its rows went elsewhere meanwhile.
    ///
    /// # Errors
    /// When the log fails, or the chain does not answer; then the stored bytes are sent later.
    pub async fn claim(&self, order: Order, nonce: u64, moment: &Moment) -> Result<Option<i64>, SendError> {
        let Order { instrument, payee, rows, gas_limit } = order;
        let fees = fees::offer(moment.head.base_fee, moment.tips.usual, self.fee_cap);
        let input = Calldata::new(instrument, payee, &rows).abi_encode();
        let attempt = self.sign(nonce, gas_limit, fees, input, moment.head.number)?;
        let new = NewTransaction { sender: self.key.address(), nonce, payee, gas_limit, attempt, instrument, rows };

        let Some(id) = self.store.plan(&new, moment.now).await? else { return Ok(None) };
        tracing::info!(id, nonce, %payee, rows = new.rows.len(), ?instrument, hash = %new.attempt.hash, "claim stored");

        let live = LiveTransaction {
            id,
            nonce,
            payee,
            gas_limit,
            state: TransactionState::Planned,
            lost_since: None,
            mined_in: None,
            attempts: vec![new.attempt],
        };
        self.send(&live, moment).await?;
        Ok(Some(id))
    }

    fn sign(
        &self,
        nonce: u64,
        gas_limit: u64,
        fees: Fees,
        input: Bytes,
        signed_at_block: u64,
    ) -> Result<Attempt, SendError> {
        let deployment = self.chain.deployment();
        let mut transaction = TxEip1559 {
            chain_id: deployment.chain_id,
            nonce,
            gas_limit,
            max_fee_per_gas: fees.max,
            max_priority_fee_per_gas: fees.priority,
            to: TxKind::Call(deployment.escrow),
            value: U256::ZERO,
            access_list: Default::default(),
            input,
        };
        let signature = self.key.sign_transaction_sync(&mut transaction)?;
        let envelope = TxEnvelope::from(transaction.into_signed(signature));
        Ok(Attempt {
            hash: *envelope.tx_hash(),
            raw: envelope.encoded_2718(),
            max_fee: fees.max,
            priority_fee: fees.priority,
            signed_at_block,
            cancels: false,
        })
    }

    /// Sends the newest bytes of a transaction that no block holds. Whatever an endpoint says, the transaction stays
    /// ours until a receipt or a used nonce ends it.
    async fn send(&self, live: &LiveTransaction, moment: &Moment) -> Result<(), SendError> {
        let Some(mut attempt) = live.attempts.first().cloned() else { return Ok(()) };
        for _ in 0..RAISES_MAX {
            let complaint = match self.chain.send(&attempt.raw).await {
                Ok(()) => None,
                Err(ChainError::Answered(message)) => Some((fees::complaint(&message), message)),
                Err(error) => return Err(error.into()),
            };
            match complaint {
                None | Some((Complaint::AlreadyKnown, _)) => {
                    self.store.submitted(live.id).await?;
                    return Ok(());
                }
                // It or another of its attempts is in a block: the next look finds the receipt.
                Some((Complaint::NonceTooLow, _)) => return Ok(()),
                Some((Complaint::Underpriced, message)) => match self.raise(live, &attempt, moment).await? {
                    Some(raised) => attempt = raised,
                    None => {
                        self.metrics.refused_sends.increment(1);
                        tracing::warn!(nonce = live.nonce, %message, "the fee cap leaves no room to replace");
                        return Ok(());
                    }
                },
                Some((complaint, message)) => {
                    self.metrics.refused_sends.increment(1);
                    tracing::warn!(nonce = live.nonce, ?complaint, %message, "an endpoint refused a transaction");
                    return Ok(());
                }
            }
        }
        Ok(())
    }

    /// Signs and stores a replacement, or says that the cap leaves no room for one.
    async fn raise(
        &self,
        live: &LiveTransaction,
        attempt: &Attempt,
        moment: &Moment,
    ) -> Result<Option<Attempt>, SendError> {
        let previous = Fees { max: attempt.max_fee, priority: attempt.priority_fee };
        let Some(fees) = fees::raise(previous, moment.head.base_fee, moment.tips.usual, self.fee_cap) else {
            return Ok(None);
        };
        let Some(input) = calldata(&attempt.raw) else { return Ok(None) };
        let raised = self.sign(live.nonce, live.gas_limit, fees, input, moment.head.number)?;
        self.store.add_attempt(live.id, &raised).await?;
        self.metrics.replacements.increment(1);
        tracing::info!(nonce = live.nonce, max_fee = fees.max, hash = %raised.hash, "replacement stored");
        Ok(Some(raised))
    }

    /// Looks what became of a transaction that is not at its end, and does what is due.
    ///
    /// # Errors
    /// When the chain does not answer or the log fails; nothing is lost by it.
    pub async fn follow(&self, live: &LiveTransaction, moment: &Moment) -> Result<(), SendError> {
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
        if live.nonce < moment.transaction_count {
            return self.nonce_is_used(live, moment).await;
        }
        if live.lost_since.is_some() {
            self.store.suspect_lost(live.id, None).await?;
        }
        let unsent = live.state == TransactionState::Planned || live.mined_in.is_some() || moment.first;
        let newest = live.attempts.first();
        let waited = newest.map_or(0, |attempt| moment.head.number.saturating_sub(attempt.signed_at_block));
        if !unsent && waited >= self.replace_after_blocks {
            if let Some(attempt) = newest
                && let Some(raised) = self.raise(live, attempt, moment).await?
            {
                let attempts = vec![raised];
                return self.send(&LiveTransaction { attempts, ..live.clone() }, moment).await;
            }
            return self.send(live, moment).await;
        }
        if unsent { self.send(live, moment).await } else { Ok(()) }
    }

    /// Looks whether a transaction that ended is still where it was.
    ///
    /// # Errors
    /// When the chain does not answer or the log fails.
    pub async fn watch(&self, ended: &LiveTransaction) -> Result<(), SendError> {
        let now_in = match self.receipt_of(ended).await {
            Ok(receipt) => receipt.map(|receipt| receipt.block_hash),
            Err(SendError::Chain(ChainError::NoQuorum { .. })) => return Ok(()),
            Err(error) => return Err(error),
        };
        if now_in != ended.mined_in {
            tracing::warn!(id = ended.id, nonce = ended.nonce, "a reorganisation undid a confirmed claim");
            self.metrics.reorganisations.increment(1);
            self.store.back_to_planned(ended.id).await?;
        }
        Ok(())
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

    async fn nonce_is_used(&self, live: &LiveTransaction, moment: &Moment) -> Result<(), SendError> {
        match live.lost_since {
            None => self.store.suspect_lost(live.id, Some(moment.head.number)).await?,
            Some(since) if moment.head.number >= since.saturating_add(LOST_PATIENCE_BLOCKS) => {
                tracing::error!(id = live.id, nonce = live.nonce, "somebody else uses the gas key");
                self.metrics.lost.increment(1);
                self.store.failed(live.id, Failure::Lost, None, moment.now).await?;
            }
            Some(_) => {}
        }
        Ok(())
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
        let ending = Receipt { hash, block, block_hash, gas_used: receipt.gas_used, fee_wei: receipt.fee_wei };
        if !receipt.succeeded {
            tracing::error!(id = live.id, hash = %ending.hash, "a claim was reverted");
            self.metrics.reverted.increment(1);
            let retry_at = moment.now.saturating_add(RETRY_AFTER_S);
            return Ok(self.store.failed(live.id, Failure::Reverted, Some(&ending), retry_at).await?);
        }
        let payments = self.payments(live, receipt, moment).await?;
        self.store.confirmed(live.id, &ending, &payments, moment.now).await?;
        self.metrics.confirmed.increment(1);
        tracing::info!(id = live.id, hash = %ending.hash, block, rows = payments.len(), "claim confirmed");
        Ok(())
    }

    /// What each row moved, from the event, and what its lane has paid now, from the escrow.
    async fn payments(&self, live: &LiveTransaction, receipt: &Mined, moment: &Moment) -> Result<Payments, SendError> {
        let escrow = self.chain.deployment().escrow;
        let mut moved: std::collections::HashMap<Address, Amount> = std::collections::HashMap::new();
        for log in receipt.logs.iter().filter(|log| log.address == escrow) {
            let Ok(event) = PrepaymentEscrow::Claimed::decode_log(log) else { continue };
            for (payer, amount) in row::parse_payments(&event.payments)? {
                let sum = moved.entry(payer).or_default();
                *sum = sum.checked_add(amount).unwrap_or(Amount::MAX);
            }
        }
        let lanes: Vec<(Address, Address)> =
            self.store.rows_of(live.id).await?.into_iter().map(|(payer, _)| (payer, live.payee)).collect();
        let paid = self.chain.lanes_paid(moment.head.id(), &lanes).await?;
        Ok(lanes
            .into_iter()
            .zip(paid)
            .map(|((payer, _), paid)| (payer, (moved.get(&payer).copied().unwrap_or_default(), paid)))
            .collect())
    }
}

/// A replacement carries the same rows as what it replaces: exactly those bytes.
fn calldata(raw: &[u8]) -> Option<Bytes> {
    use alloy::consensus::Transaction;
    use alloy::eips::eip2718::Decodable2718;
    let mut raw = raw;
    TxEnvelope::decode_2718(&mut raw).ok().map(|envelope| envelope.input().clone())
}
