//! What the operator's page reads: `/api/v1`. Everything comes out of the log; nothing here asks the chain.

use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::extract::{Query, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Json, Router};
use serde::Deserialize;
use tokio::sync::Mutex;

use super::{Admin, AdminError};
use crate::alarms::{Facts, alarms};
use crate::api::ErrorAnswer;
use crate::clock::now_s;
use crate::earnings;
use crate::reports::{Earnings, GasKey, Overview, Range};
use crate::store::{ClaimFilter, Hold, LaneFilter, LaneSort, TransactionState};

/// Lines of one page (law 13).
const LIMIT_MAX: u32 = 500;
/// Lines of one page unless told otherwise.
const LIMIT: u32 = 50;
/// How long a look that counts the whole log is good for at least, and, as a multiple of the time it took, at most: many
/// browsers cost no more than one, and one never more than a twentieth of a reader.
const OVERVIEW_FOR_MIN: Duration = Duration::from_secs(1);
const OVERVIEW_FOR_TIMES: u32 = 20;

/// The last overview and until when it is good.
pub(super) type Cached = Mutex<Option<(Instant, Arc<Overview>)>>;

pub(super) fn router() -> Router<Arc<Admin>> {
    Router::new()
        .route("/api/v1/overview", get(overview))
        .route("/api/v1/earnings", get(earnings_of))
        .route("/api/v1/lanes", get(lanes))
        .route("/api/v1/claims", get(claims))
}

impl Admin {
    /// Counts and alarms, not older than a moment.
    pub(super) async fn overview(&self) -> Result<Arc<Overview>, AdminError> {
        // Held while one counts: the others wait for its answer instead of counting, too.
        let mut cached = self.overview.lock().await;
        if let Some((until, overview)) = cached.as_ref()
            && Instant::now() < *until
        {
            return Ok(overview.clone());
        }
        let started = Instant::now();
        let overview = Arc::new(self.count().await?);
        let good_for = (started.elapsed() * OVERVIEW_FOR_TIMES).max(OVERVIEW_FOR_MIN);
        *cached = Some((Instant::now() + good_for, overview.clone()));
        Ok(overview)
    }

    async fn count(&self) -> Result<Overview, AdminError> {
        let now = now_s();
        let (sender, store) = (&self.sender, &self.sender.store);
        let sight = self.watch.sight();
        let deployment = sender.chain.deployment();
        let summary = store.summary().await?;
        let (exposure, open_lanes) = store.exposure().await?;
        let gas_keys: Vec<_> = sight.gas_keys.iter().map(|key| (key.address, key.balance)).collect();
        let endpoints = sender.chain.endpoint_lines();
        let alarms = alarms(&Facts {
            now,
            started_at: self.started_at,
            looked_at: sight.looked_at,
            trouble: sight.trouble.as_deref(),
            gas_keys: &gas_keys,
            endpoints: &endpoints,
            summary: &summary,
            attention: store.attention(now, self.policy.thaw_margin_s).await?,
        });
        Ok(Overview {
            now,
            version: env!("CARGO_PKG_VERSION").to_owned(),
            chain_id: deployment.chain_id,
            escrow: deployment.escrow,
            payees: self.payees.clone(),
            gas_keys: sight.gas_keys.iter().map(GasKey::from).collect(),
            endpoints,
            head: sight.head.number,
            looked_at: sight.looked_at,
            explorer_url: self.explorer_url.clone(),
            alarms,
            exposure,
            open_lanes,
            summary,
        })
    }
}

async fn overview(State(admin): State<Arc<Admin>>) -> Result<Json<Arc<Overview>>, AdminError> {
    Ok(Json(admin.overview().await?))
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
    limit: Option<u32>,
    #[serde(default)]
    offset: u64,
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
    Ok(Json(admin.sender.store.lane_page(&filter, query.sort, limit, query.offset).await?).into_response())
}

#[derive(Deserialize)]
struct ClaimsQuery {
    state: Option<TransactionState>,
    #[serde(default)]
    since: u64,
    limit: Option<u32>,
    #[serde(default)]
    offset: u64,
}

async fn claims(State(admin): State<Arc<Admin>>, Query(query): Query<ClaimsQuery>) -> Result<Response, AdminError> {
    let filter = ClaimFilter { state: query.state, since: query.since };
    let limit = query.limit.unwrap_or(LIMIT).min(LIMIT_MAX);
    Ok(Json(admin.sender.store.claim_page(filter, limit, query.offset).await?).into_response())
}
