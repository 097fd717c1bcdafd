//! What the escrow knows of lanes, delegates and mandates, many at once, and what a claim would do. All of it is
//! decided by quorum: a liar that could hide a notice, or make a good claim look bad, would cost money.

use alloy::eips::BlockId;
use alloy::primitives::{Address, Bytes};
use alloy::providers::{DynProvider, Provider};
use alloy::rpc::types::TransactionRequest;
use alloy::rpc::types::state::StateOverridesBuilder;
use alloy::sol_types::SolCall;
use futures_util::{StreamExt, TryStreamExt, stream};
use minus_bindings::contracts::IPrepaymentEscrow::{self, Batch};
use minus_bindings::{Amount, PrepaymentEscrow, ROW_BYTES, RowResult, SignedVoucher, row};

use super::client::{Chain, Head};
use super::error::ChainError;
use super::reader::{self, ANSWER_BYTES, QUESTION_BYTES, QUESTIONS_MAX, READER, SCRATCH, TRIER};
use crate::check::{DelegateView, signer_until};
use crate::plan::TRANSACTION_GAS_MAX;
use crate::store::{Instrument, LaneView, PlannedRow};

/// Calls under way at once, each of up to [`QUESTIONS_MAX`] questions: an endpoint that limits rates should not be
/// provoked.
const CALLS_AT_ONCE: usize = 4;

/// A lane to look at, and who signed its voucher.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct LaneQuestion {
    /// Who pays.
    pub payer: Address,
    /// Who is paid.
    pub payee: Address,
    /// Whose signature counts.
    pub signer: Address,
}

/// What a payer's mandate bears.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct MandateView {
    /// It bears charges until then, inclusive, unix seconds; 0 when it was never given.
    pub valid_until: u64,
    /// What could be charged now if the money is there.
    pub chargeable: Amount,
}

/// A batch as one of the escrow's entry points takes it.
#[derive(Debug, Clone)]
pub struct Calldata {
    /// Which entry point.
    pub instrument: Instrument,
    /// Whom it credits.
    pub payee: Address,
    /// The packed rows.
    pub rows: Bytes,
    /// Debts of the payee, each paid in front of the row in its place: then it is `settle`.
    pub debts: Option<Vec<SignedVoucher>>,
}

impl Calldata {
    /// Packs rows.
    #[must_use]
    pub fn new(instrument: Instrument, payee: Address, rows: &[PlannedRow]) -> Self {
        let vouchers: Vec<_> = rows.iter().map(|row| row.voucher).collect();
        let debts = rows.iter().map(|row| row.debt).collect();
        Self { instrument, payee, rows: row::pack(&vouchers), debts }
    }

    /// The input of its transaction.
    #[must_use]
    pub fn abi_encode(&self) -> Bytes {
        let (payee, rows) = (self.payee, self.rows.clone());
        if let Some(debts) = &self.debts {
            let own = rows.chunks(ROW_BYTES).map(|row| Batch { payee, rows: Bytes::copy_from_slice(row) });
            let owed = debts.iter().map(|debt| Batch { payee: debt.payee, rows: row::pack(&[*debt]) });
            let batches = owed.zip(own).flat_map(|(owed, own)| [owed, own]).collect();
            return PrepaymentEscrow::settleCall { batches }.abi_encode().into();
        }
        match self.instrument {
            Instrument::Voucher => PrepaymentEscrow::claimCall { payee, rows }.abi_encode().into(),
            Instrument::Charge => PrepaymentEscrow::chargeCall { payee, rows }.abi_encode().into(),
        }
    }

    /// One for each row; with debts, the debt's before the row's.
    fn results(&self, output: &[u8]) -> Result<Bytes, alloy::sol_types::Error> {
        if self.debts.is_some() {
            let batches = PrepaymentEscrow::settleCall::abi_decode_returns(output)?.results;
            return Ok(batches.iter().flat_map(|results| results.to_vec()).collect());
        }
        Ok(match self.instrument {
            Instrument::Voucher => PrepaymentEscrow::claimCall::abi_decode_returns(output)?.results,
            Instrument::Charge => PrepaymentEscrow::chargeCall::abi_decode_returns(output)?.results,
        })
    }
}

/// What a batch would do.
#[derive(Debug, Clone)]
pub struct Trial {
    /// Row by row.
    pub results: Vec<RowResult>,
    /// The gas of the whole transaction, as Ethereum counts it.
    pub gas: u64,
}

impl Chain {
    /// Everything a decision about these lanes rests on, at one block, in their order.
    ///
    /// # Errors
    /// When too few endpoints agree, or something other than the escrow answered.
    pub async fn lane_views(
        &self,
        head: &Head,
        lanes: &[LaneQuestion],
        now: u64,
    ) -> Result<Vec<(LaneView, DelegateView)>, ChainError> {
        let questions: Vec<Question> = lanes
            .iter()
            .flat_map(|lane| {
                let LaneQuestion { payer, payee, signer } = *lane;
                [lane_question(payer, payee), lane_question(payer, Address::ZERO), delegate_question(payer, signer)]
            })
            .collect();
        let answers = self.read(head.id(), &questions).await?;
        lanes
            .iter()
            .zip(answers.chunks(3))
            .map(|(lane, answers)| {
                let [own, open, delegate] = answers else { return Err(nonsense("answers")) };
                let delegate =
                    if lane.signer == lane.payer { DelegateView::default() } else { parse_delegate(delegate)? };
                let (own, open) = (parse_lane(own)?, parse_lane(open)?);
                let view = LaneView {
                    deposit: own._0.deposit.into(),
                    paid: own._0.paid.into(),
                    thawing: own._1.amount.into(),
                    thaw_ends_at: ends_at(&own._1),
                    open: open._0.deposit.into(),
                    open_thawing: open._1.amount.into(),
                    open_thaw_ends_at: ends_at(&open._1),
                    // A signer that is none ends in the past, so that the planner leaves its voucher alone.
                    signer_ends_at: signer_until(lane.payer, lane.signer, delegate, self.notice_s(), now).unwrap_or(1),
                };
                Ok((view, delegate))
            })
            .collect()
    }

    /// What these lanes, payer to payee, had paid at a block, in their order.
    ///
    /// # Errors
    /// When too few endpoints agree, or they do not know that block.
    pub async fn lanes_paid(&self, at: BlockId, lanes: &[(Address, Address)]) -> Result<Vec<Amount>, ChainError> {
        let questions: Vec<Question> = lanes.iter().map(|(payer, payee)| lane_question(*payer, *payee)).collect();
        let answers = self.read(at, &questions).await?;
        answers.iter().map(|answer| Ok(parse_lane(answer)?._0.paid.into())).collect()
    }

    /// What the owners of lanes or mandates said of other signers, in their order.
    ///
    /// # Errors
    /// When too few endpoints agree.
    pub async fn delegates(&self, head: &Head, pairs: &[(Address, Address)]) -> Result<Vec<DelegateView>, ChainError> {
        let questions: Vec<Question> = pairs.iter().map(|(owner, signer)| delegate_question(*owner, *signer)).collect();
        self.read(head.id(), &questions).await?.iter().map(parse_delegate).collect()
    }

    /// What mandates, payer to payee, bear at a block, in their order.
    ///
    /// # Errors
    /// When too few endpoints agree.
    pub async fn mandates(&self, head: &Head, lanes: &[(Address, Address)]) -> Result<Vec<MandateView>, ChainError> {
        let questions: Vec<Question> = lanes
            .iter()
            .map(|(payer, payee)| question(&PrepaymentEscrow::mandateCall { payer: *payer, payee: *payee }))
            .collect();
        let parse = |answer: &[u8; ANSWER_BYTES]| {
            let said = PrepaymentEscrow::mandateCall::abi_decode_returns(answer).map_err(|_| nonsense("mandate"))?;
            Ok(MandateView { valid_until: said._0.validUntil, chargeable: said.chargeable.into() })
        };
        self.read(head.id(), &questions).await?.iter().map(parse).collect()
    }

    /// What a batch would do on top of a block, and its gas.
    ///
    /// # Errors
    /// [`ChainError::Answered`] when the whole of it would fail.
    pub async fn simulate(&self, head: &Head, batch: &Calldata) -> Result<Trial, ChainError> {
        let input = batch.abi_encode();
        let call = reader::input(self.deployment().escrow, [&input[..]]);
        let output = self.run("a simulation", TRIER, head.id(), call).await?;
        let tried = reader::tried(&output).ok_or_else(|| nonsense("simulation"))?;
        if !tried.succeeded {
            return Err(ChainError::Answered(format!("the escrow reverts: {}", tried.output)));
        }
        let results = batch.results(&tried.output).map_err(|error| ChainError::Nonsense(error.to_string()))?;
        let results = row::parse_results(&results).map_err(|error| ChainError::Nonsense(error.to_string()))?;
        let count = batch.rows.len() / ROW_BYTES + batch.debts.as_ref().map_or(0, Vec::len);
        if results.len() != count {
            return Err(ChainError::Nonsense(format!("{} results for {} bytes", results.len(), batch.rows.len())));
        }
        Ok(Trial { results, gas: reader::transaction_gas(&input, tried.gas) })
    }

    /// The escrow's answers to many questions at one block.
    async fn read(&self, at: BlockId, questions: &[Question]) -> Result<Vec<[u8; ANSWER_BYTES]>, ChainError> {
        let escrow = self.deployment().escrow;
        let input =
            |chunk: &[Question]| (reader::input(escrow, chunk.iter().map(|question| &question[..])), chunk.len());
        let calls: Vec<(Bytes, usize)> = questions.chunks(QUESTIONS_MAX).map(input).collect();
        let answers: Vec<Vec<[u8; ANSWER_BYTES]>> = stream::iter(calls)
            .map(|(input, count)| async move {
                let output = self.run("lanes", READER, at, input).await?;
                reader::answers(&output, count).ok_or_else(|| nonsense("number of answers"))
            })
            .buffered(CALLS_AT_ONCE)
            .try_collect()
            .await?;
        Ok(answers.into_iter().flatten().collect())
    }

    async fn run(
        &self,
        what: &'static str,
        code: &'static [u8],
        at: BlockId,
        input: Bytes,
    ) -> Result<Bytes, ChainError> {
        let request = TransactionRequest::default().to(SCRATCH).gas_limit(TRANSACTION_GAS_MAX).input(input.into());
        let run = |provider: DynProvider| {
            let overrides = StateOverridesBuilder::default().with_code(SCRATCH, Bytes::from_static(code)).build();
            let call = provider.call(request.clone()).block(at).overrides(overrides);
            async move { call.await }
        };
        self.decide(what, run).await
    }
}

type Question = [u8; QUESTION_BYTES];

fn question(call: &impl SolCall) -> Question {
    let mut question = [0; QUESTION_BYTES];
    let encoded = call.abi_encode();
    debug_assert_eq!(encoded.len(), QUESTION_BYTES);
    question.iter_mut().zip(encoded).for_each(|(to, from)| *to = from);
    question
}

fn lane_question(payer: Address, payee: Address) -> Question {
    question(&PrepaymentEscrow::laneCall { payer, payee })
}

fn delegate_question(payer: Address, signer: Address) -> Question {
    question(&PrepaymentEscrow::delegateCall { payer, signer })
}

fn parse_lane(answer: &[u8; ANSWER_BYTES]) -> Result<PrepaymentEscrow::laneReturn, ChainError> {
    PrepaymentEscrow::laneCall::abi_decode_returns(answer).map_err(|_| nonsense("lane"))
}

fn parse_delegate(answer: &[u8; ANSWER_BYTES]) -> Result<DelegateView, ChainError> {
    let said = PrepaymentEscrow::delegateCall::abi_decode_returns(answer).map_err(|_| nonsense("delegate"))?;
    Ok(DelegateView { authorized: said.authorized, revoked_at: said.revokedAt })
}

fn nonsense(what: &str) -> ChainError {
    ChainError::Nonsense(format!("the escrow cannot have given this {what}"))
}

fn ends_at(thaw: &IPrepaymentEscrow::Thaw) -> u64 {
    if thaw.amount.is_zero() { 0 } else { thaw.endsAt }
}
