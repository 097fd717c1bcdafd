//! Transactions from their signing into the endpoints' hands. The signed bytes are stored before they are sent, so that
//! a crash between any two lines leaves either nothing or something to go on with; what happened, only a receipt tells,
//! see [`crate::follow`].

use alloy::consensus::{SignableTransaction, TxEip1559, TxEnvelope};
use alloy::eips::eip2718::Encodable2718;
use alloy::network::TxSignerSync;
use alloy::primitives::{Address, Bytes, TxKind, U256};
use alloy::signers::local::PrivateKeySigner;

use crate::chain::{Calldata, Chain, ChainError, Head};
use crate::fees::{self, CANCEL_GAS, Complaint, FeePolicy, Fees, Tips, Urgency};
use crate::metrics::Metrics;
use crate::pace::{Inclusions, Pace};
use crate::store::{
    Attempt, Instrument, LiveTransaction, NewTransaction, PlannedRow, Store, StoreError, TransactionState,
};

/// A replacement that is still too cheap is raised again at once, this often; then the next look goes on.
const RAISES_MAX: usize = 3;

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

/// The gas keys with all they need.
#[derive(Debug)]
pub struct Sender {
    /// The chain.
    pub chain: Chain,
    /// The intent log.
    pub store: Store,
    /// The gas keys, each with nonces of its own. They own nothing but gas.
    pub keys: Vec<PrivateKeySigner>,
    /// Counters.
    pub metrics: Metrics,
    /// What to pay.
    pub fees: FeePolicy,
    /// Blocks on a claim, its own included, before it counts.
    pub confirmations: u64,
    /// Blocks after which a transaction is stuck.
    pub replace_after_blocks: u64,
    /// How long the last claims took.
    pub inclusions: Inclusions,
}

/// A gas key during one look.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct KeySight {
    /// Its address.
    pub address: Address,
    /// What it can pay, wei.
    pub balance: u128,
    /// Its transactions that are in blocks.
    pub transaction_count: u64,
}

/// What the chain is like during one look at it.
#[derive(Debug, Clone)]
pub struct Moment {
    /// The operator's last question before the chain was read.
    pub question: i64,
    /// Its last block.
    pub head: Head,
    /// What other people pay builders.
    pub tips: Tips,
    /// How fast it is.
    pub pace: Pace,
    /// The gas keys, in the order of [`Sender::keys`].
    pub keys: Vec<KeySight>,
    /// The time to go by, unix seconds.
    pub now: u64,
    /// How long before a notice ends its lane is claimed, as far as the last look knew, seconds.
    pub thaw_margin_s: u64,
    /// The first look after a start: everything stored is sent again.
    pub first: bool,
}

impl Moment {
    /// The last block so deep that what it says is taken as final: what is forgotten on its word cannot be renewed by
    /// [`Sender::watch`], for there is no transaction of ours.
    #[must_use]
    pub fn final_block(&self, confirmations: u64) -> u64 {
        (self.head.number + 1).saturating_sub(self.pace.watch_blocks().max(confirmations))
    }
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
    /// How much it may cost.
    pub urgency: Urgency,
}

/// Whose nonce a transaction uses.
#[derive(Debug, Clone, Copy)]
pub struct Place {
    /// The key's index in [`Sender::keys`].
    pub key: usize,
    /// The nonce.
    pub nonce: u64,
}

/// What is to be signed.
struct Draft {
    to: Address,
    gas_limit: u64,
    fees: Fees,
    input: Bytes,
    cancels: bool,
}

impl Sender {
    /// Signs a batch, stores it, and only then sends it. None when one of its rows went elsewhere meanwhile.
    ///
    /// # Errors
    /// When the log fails, or the chain does not answer; then the stored bytes are sent later.
    pub async fn claim(&self, order: Order, place: Place, moment: &Moment) -> Result<Option<i64>, SendError> {
        let Order { instrument, payee, rows, gas_limit, urgency } = order;
        let Place { key, nonce } = place;
        let fees = self.fees.offer(moment.head.base_fee, moment.tips, urgency, gas_limit);
        let input = Calldata::new(instrument, payee, &rows).abi_encode();
        let draft = Draft { to: self.chain.deployment().escrow, gas_limit, fees, input, cancels: false };
        let attempt = self.sign(place, draft, moment.head.number)?;
        let sender = self.keys[key].address();
        let new = NewTransaction { sender, nonce, payee, gas_limit, attempt, instrument, rows };

        let Some(id) = self.store.plan(&new, moment.now).await? else { return Ok(None) };
        tracing::info!(id, %sender, nonce, %payee, rows = new.rows.len(), ?instrument, hash = %new.attempt.hash, "claim stored");

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
        self.send(&live, key, urgency, moment).await?;
        Ok(Some(id))
    }

    fn sign(&self, place: Place, draft: Draft, signed_at_block: u64) -> Result<Attempt, SendError> {
        let mut transaction = TxEip1559 {
            chain_id: self.chain.deployment().chain_id,
            nonce: place.nonce,
            gas_limit: draft.gas_limit,
            max_fee_per_gas: draft.fees.max,
            max_priority_fee_per_gas: draft.fees.priority,
            to: TxKind::Call(draft.to),
            value: U256::ZERO,
            access_list: Default::default(),
            input: draft.input,
        };
        let signature = self.keys[place.key].sign_transaction_sync(&mut transaction)?;
        let envelope = TxEnvelope::from(transaction.into_signed(signature));
        Ok(Attempt {
            hash: *envelope.tx_hash(),
            raw: envelope.encoded_2718(),
            max_fee: draft.fees.max,
            priority_fee: draft.fees.priority,
            signed_at_block,
            cancels: draft.cancels,
        })
    }

    /// Sends the newest bytes of a transaction that no block holds. Whatever an endpoint says, the transaction stays
    /// ours until a receipt or a used nonce ends it.
    ///
    /// # Errors
    /// When the log fails, or no endpoint answers.
    pub async fn send(
        &self,
        live: &LiveTransaction,
        key: usize,
        urgency: Urgency,
        moment: &Moment,
    ) -> Result<(), SendError> {
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
                Some((Complaint::Underpriced, message)) => {
                    match self.raise(live, key, &attempt, urgency, moment).await? {
                        Some(raised) => attempt = raised,
                        None => {
                            self.metrics.refused_sends.increment(1);
                            tracing::warn!(nonce = live.nonce, %message, "the fee cap leaves no room to replace");
                            return Ok(());
                        }
                    }
                }
                Some((complaint, message)) => {
                    self.metrics.refused_sends.increment(1);
                    tracing::warn!(nonce = live.nonce, ?complaint, %message, "an endpoint refused a transaction");
                    return Ok(());
                }
            }
        }
        Ok(())
    }

    /// Signs and stores a replacement of the same content, or says that the cap leaves no room for one.
    ///
    /// # Errors
    /// When the log fails.
    pub async fn raise(
        &self,
        live: &LiveTransaction,
        key: usize,
        attempt: &Attempt,
        urgency: Urgency,
        moment: &Moment,
    ) -> Result<Option<Attempt>, SendError> {
        let Some((to, gas_limit, input)) = content(&attempt.raw) else { return Ok(None) };
        let draft = |fees| Draft { to, gas_limit, fees, input, cancels: attempt.cancels };
        self.replace(live, key, attempt, (urgency, gas_limit), moment, draft).await
    }

    /// Signs and stores a replacement that carries nothing, or says that the cap leaves no room for one.
    ///
    /// # Errors
    /// When the log fails.
    pub async fn cancel(
        &self,
        live: &LiveTransaction,
        key: usize,
        attempt: &Attempt,
        urgency: Urgency,
        moment: &Moment,
    ) -> Result<Option<Attempt>, SendError> {
        let to = self.keys[key].address();
        let draft = |fees| Draft { to, gas_limit: CANCEL_GAS, fees, input: Bytes::new(), cancels: true };
        self.replace(live, key, attempt, (urgency, CANCEL_GAS), moment, draft).await
    }

    async fn replace(
        &self,
        live: &LiveTransaction,
        key: usize,
        attempt: &Attempt,
        (urgency, gas_limit): (Urgency, u64),
        moment: &Moment,
        draft: impl FnOnce(Fees) -> Draft,
    ) -> Result<Option<Attempt>, SendError> {
        let previous = Fees { max: attempt.max_fee, priority: attempt.priority_fee };
        let raised = self.fees.raise(previous, moment.head.base_fee, moment.tips, urgency, gas_limit);
        let Some(fees) = raised else { return Ok(None) };
        let raised = self.sign(Place { key, nonce: live.nonce }, draft(fees), moment.head.number)?;
        self.store.add_attempt(live.id, &raised).await?;
        self.metrics.replacements.increment(1);
        tracing::info!(nonce = live.nonce, max_fee = fees.max, cancels = raised.cancels, hash = %raised.hash, "replacement stored");
        Ok(Some(raised))
    }
}

/// A replacement carries the same content as what it replaces: exactly those bytes to that address.
fn content(raw: &[u8]) -> Option<(Address, u64, Bytes)> {
    use alloy::consensus::Transaction;
    use alloy::eips::eip2718::Decodable2718;
    let mut raw = raw;
    let envelope = TxEnvelope::decode_2718(&mut raw).ok()?;
    Some((envelope.to()?, envelope.gas_limit(), envelope.input().clone()))
}
