//! What the operator's page reads: `/api/v1`. Everything comes out of the log; nothing here asks the chain.

use std::sync::Arc;

use axum::extract::{Query, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Json, Router};
use serde::Deserialize;

use super::{Admin, AdminError};
use crate::api::ErrorAnswer;
use crate::clock::now_s;
use crate::debts::owing;
use crate::earnings;
use crate::lane_index::{LaneFilter, LaneSort};
use crate::reports::{DebtPage, DebtRecord, Earnings, LanePage, Overview, Range};
use crate::store::{ClaimFilter, Hold, TransactionState};

/// Lines of one page (law 13).
const LIMIT_MAX: usize = 500;
/// Lines of one page unless told otherwise.
const LIMIT: usize = 50;

pub(super) fn router() -> Router<Arc<Admin>> {
    Router::new()
        .route("/api/v1/overview", get(overview))
        .route("/api/v1/earnings", get(earnings_of))
        .route("/api/v1/lanes", get(lanes))
        .route("/api/v1/claims", get(claims))
        .route("/api/v1/debts", get(debts))
}

async fn overview(State(admin): State<Arc<Admin>>) -> Result<Json<Overview>, AdminError> {
    Ok(Json(admin.snapshot().await?.overview.clone()))
}

#[derive(Deserialize)]
struct EarningsQuery {
    #[serde(default)]
    range: Range,
}

async fn earnings_of(
    State(admin): State<Arc<Admin>>,
    Query(query): Query<EarningsQuery>,
) -> Result<Json<Earnings>, AdminError> {
    Ok(Json(earnings::read(&admin.sender.store, query.range, now_s()).await?))
}

#[derive(Deserialize)]
struct LanesQuery {
    #[serde(default)]
    sort: LaneSort,
    #[serde(default)]
    payer: String,
    held: Option<Hold>,
    limit: Option<usize>,
    #[serde(default)]
    offset: usize,
}

async fn lanes(State(admin): State<Arc<Admin>>, Query(query): Query<LanesQuery>) -> Result<Response, AdminError> {
    let payer = query.payer.trim().to_ascii_lowercase();
    let digits = payer.strip_prefix("0x").unwrap_or(&payer);
    if digits.len() > 40 || !digits.chars().all(|digit| digit.is_ascii_hexdigit()) {
        let answer = ErrorAnswer { error: "payer: the beginning of an address, as in 0x12ab".into() };
        return Ok((StatusCode::BAD_REQUEST, Json(answer)).into_response());
    }
    let payer = if digits.is_empty() { String::new() } else { format!("0x{digits}") };
    let filter = LaneFilter { payer, held: query.held };
    let limit = query.limit.unwrap_or(LIMIT).min(LIMIT_MAX);
    let snapshot = admin.snapshot().await?;
    let (total, vouchers) = snapshot.lanes.page(&filter, query.sort, limit, query.offset);
    let lanes = admin.sender.store.lanes_of(&vouchers).await?;
    Ok(Json(LanePage { total: u64::try_from(total).unwrap_or(u64::MAX), lanes }).into_response())
}

#[derive(Deserialize)]
struct ClaimsQuery {
    state: Option<TransactionState>,
    #[serde(default)]
    since: u64,
    limit: Option<usize>,
    #[serde(default)]
    offset: u64,
}

async fn claims(State(admin): State<Arc<Admin>>, Query(query): Query<ClaimsQuery>) -> Result<Response, AdminError> {
    let filter = ClaimFilter { state: query.state, since: query.since };
    let limit = query.limit.unwrap_or(LIMIT).min(LIMIT_MAX);
    let limit = u32::try_from(limit).unwrap_or(u32::MAX);
    Ok(Json(admin.sender.store.claim_page(filter, limit, query.offset).await?).into_response())
}

#[derive(Deserialize)]
struct DebtsQuery {
    limit: Option<usize>,
    #[serde(default)]
    offset: usize,
}

async fn debts(State(admin): State<Arc<Admin>>, Query(query): Query<DebtsQuery>) -> Result<Json<DebtPage>, AdminError> {
    let mut debts = admin.sender.store.debts().await?;
    let operators = owing(&debts);
    debts.retain(|debt| !debt.due().is_zero());
    debts.sort_by_key(|debt| std::cmp::Reverse(debt.due()));
    let limit = query.limit.unwrap_or(LIMIT).min(LIMIT_MAX);
    Ok(Json(DebtPage {
        operators,
        total: u64::try_from(debts.len()).unwrap_or(u64::MAX),
        debts: debts.iter().skip(query.offset).take(limit).map(DebtRecord::from).collect(),
    }))
}
