//! Where the operators' own nodes say what they have promised relays. Anybody may say it: what counts is that one of our
//! operators, or its delegate, signed it.

use std::sync::Arc;

use alloy::primitives::Address;
use axum::Json;
use axum::extract::State;
use axum::extract::rejection::JsonRejection;
use axum::response::{IntoResponse, Response};
use minus_bindings::SignedVoucher;

use super::{Intake, IntakeError, answer, on_all_cores, unreadable};
use crate::api::{DebtsBody, IntakeAnswer, IntakeResult};
use crate::chain::{ChainError, LaneQuestion};
use crate::check::{Refusal, signer_until};
use crate::clock::now_s;
use crate::store::CheckedVoucher;

/// Lanes of debts to keep at most: as many relays as a node keeps in mind. Only our own nodes can make new ones.
const DEBTS_MAX: u64 = 16_384;

pub(super) async fn take_in(
    State(intake): State<Arc<Intake>>,
    body: Result<Json<DebtsBody>, JsonRejection>,
) -> Result<Json<IntakeAnswer>, Response> {
    let Json(body) = body.map_err(|rejection| unreadable(rejection.status()))?;
    let _room = intake.admit().map_err(IntoResponse::into_response)?;
    let results = intake.judge_debts(body.debts).await.map_err(IntoResponse::into_response)?;
    intake.sender.metrics.took_in(&results);
    Ok(Json(IntakeAnswer { results }))
}

impl Intake {
    async fn judge_debts(&self, rows: Vec<serde_json::Value>) -> Result<Vec<IntakeResult>, IntakeError> {
        let checker = Arc::clone(&self.checker);
        let check = move |row| {
            let voucher = serde_json::from_value::<SignedVoucher>(row).map_err(|_| Refusal::Malformed)?;
            Ok((voucher, checker.debt(&voucher)?))
        };
        let parsed = on_all_cores(rows, move |rows| rows.into_iter().map(&check).collect()).await?;
        let good: Vec<(SignedVoucher, Address)> = parsed.iter().filter_map(|row| row.as_ref().ok().copied()).collect();
        let checks = self.look_at_debts(&good).await?;
        let taken: Vec<CheckedVoucher> = checks.iter().filter_map(|check| check.as_ref().ok()).cloned().collect();
        let recordings = self.sender.store.record_debts(&taken, DEBTS_MAX, now_s()).await?;
        let (mut checks, mut recordings) = (checks.into_iter(), recordings.into_iter());
        let mut result =
            |row: Result<_, Refusal>| match row.and_then(|_| checks.next().unwrap_or(Err(Refusal::Malformed))) {
                Err(reason) => IntakeResult::Refused { reason },
                Ok(_) => recordings.next().map_or(IntakeResult::SameAsBefore, answer),
            };
        Ok(parsed.into_iter().map(&mut result).collect())
    }

    /// After the pure checks: who may sign, and the lanes, at one block.
    async fn look_at_debts(
        &self,
        debts: &[(SignedVoucher, Address)],
    ) -> Result<Vec<Result<CheckedVoucher, Refusal>>, ChainError> {
        let chain = &self.sender.chain;
        let head = chain.head().await?;
        let now = now_s().max(head.timestamp);
        let question = |(debt, signer): &(SignedVoucher, Address)| LaneQuestion {
            payer: debt.payer,
            payee: debt.payee,
            signer: *signer,
        };
        let questions: Vec<LaneQuestion> = debts.iter().map(question).collect();
        let views = chain.lane_views(&head, &questions, now).await?;
        let check = |(&(voucher, signer), (view, delegate)): (&(SignedVoucher, Address), _)| match signer_until(
            voucher.payer,
            signer,
            delegate,
            chain.notice_s(),
            now,
        ) {
            None => Err(Refusal::NotASigner),
            Some(_) => Ok(CheckedVoucher { voucher, signer, view, is_fresh: true }),
        };
        Ok(debts.iter().zip(views).map(check).collect())
    }
}
