//! What a look at the chain would do now, and why: the dry run of `settler simulate`. It asks the chain for its fees and
//! changes nothing.

use std::sync::Arc;

use alloy::primitives::Address;
use axum::extract::{Query, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Json, Router};
use serde::Deserialize;

use super::{Admin, AdminError};
use crate::api::ErrorAnswer;
use crate::clock::now_s;
use crate::explain::{Verdict, explain};
use crate::exposure;
use crate::fees::{TIP_BLOCKS, TIP_PERCENTILES, tips};
use crate::netting;
use crate::plan::{Market, Policy};
use crate::reports::DryRun;

/// Vouchers judged in one dry run, the urgent ones first: each takes some hundred bytes of memory (law 13).
const VOUCHERS_MAX: u32 = 50_000;
/// Explanations in one answer unless told otherwise, and at most.
const LIMIT: usize = 50;
const LIMIT_MAX: usize = 500;

pub(super) fn router() -> Router<Arc<Admin>> {
    Router::new().route("/api/v1/dry-run", get(dry_run))
}

#[derive(Deserialize)]
struct DryRunQuery {
    payer: Option<Address>,
    limit: Option<usize>,
    #[serde(default)]
    offset: usize,
}

async fn dry_run(State(admin): State<Arc<Admin>>, Query(query): Query<DryRunQuery>) -> Result<Response, AdminError> {
    let problem = |code: StatusCode, text: String| (code, Json(ErrorAnswer { error: text })).into_response();
    let Ok(_permit) = admin.exports.try_acquire() else {
        return Ok(problem(StatusCode::TOO_MANY_REQUESTS, "others read the whole log; come back".into()));
    };
    let sender = &admin.sender;
    let head = match sender.chain.head().await {
        Ok(head) => head,
        Err(error) => return Ok(problem(StatusCode::SERVICE_UNAVAILABLE, error.to_string())),
    };
    // As the engine does it: without a history, what is usual is assumed.
    let history = sender.chain.tips(TIP_BLOCKS, &TIP_PERCENTILES).await.unwrap_or_default();
    let fee_per_gas = head.base_fee.saturating_add(tips(&history, sender.fees.tip_cap).usual);
    let market = Market { fee_per_gas, above_cap: fee_per_gas > sender.fees.cap };
    let now = now_s().max(head.timestamp);
    let mut open = sender.store.open_vouchers(VOUCHERS_MAX).await?;
    if let Some(limit) = admin.policy.exposure_max {
        exposure::mark(&mut open, &sender.store.under_way().await?, limit);
    }
    let thaw_margin_s = admin.watch.sight().thaw_margin_s.max(admin.policy.thaw_margin_s);
    let owed = sender.store.owed().await?;
    netting::mark(&mut open, &owed, &admin.policy, market, now);
    let mut explanations = explain(&open, &Policy { thaw_margin_s, ..admin.policy }, market, now);
    drop(open);
    if let Some(payer) = query.payer {
        explanations.retain(|explanation| explanation.payer == payer);
    }
    let claims = explanations.iter().filter(|explanation| matches!(explanation.verdict, Verdict::Claim(_))).count();
    let total = explanations.len();
    let limit = query.limit.unwrap_or(LIMIT).min(LIMIT_MAX);
    // What would be claimed comes first.
    explanations.sort_by_key(|explanation| !matches!(explanation.verdict, Verdict::Claim(_)));
    Ok(Json(DryRun {
        now,
        head: head.number,
        fee_per_gas_wei: fee_per_gas.to_string(),
        fee_cap_wei: sender.fees.cap.to_string(),
        above_cap: market.above_cap,
        total: u64::try_from(total).unwrap_or(u64::MAX),
        claims: u64::try_from(claims).unwrap_or(u64::MAX),
        explanations: explanations.into_iter().skip(query.offset).take(limit).collect(),
    })
    .into_response())
}
