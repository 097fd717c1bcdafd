//! The operator's port: the page, health, metrics, status, reports, and the wish to claim everything now. It has no
//! authentication, so it listens on the loopback address unless told otherwise; what it can do costs at most gas up to
//! the cap.
//!
//! - `guard`: what other pages may not make a browser do here
//! - `page`: the operator's page
//! - `reports`: what it reads, out of a `snapshot` where that means counting; `export`: the same as files; `dry_run`: what would be claimed now, and why

mod dry_run;
mod export;
mod guard;
mod page;
mod reports;
mod snapshot;

use std::sync::Arc;

use alloy::primitives::Address;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router, middleware};
use tokio::sync::{Mutex, Semaphore};
use url::Url;

use crate::Config;
use crate::alarms::{GAS_BALANCE_MIN_WEI, STALE_AFTER_S};
use crate::api::{ClaimProgress, ErrorAnswer, Health, Status};
use crate::clock::now_s;
use crate::engine::Watch;
use crate::plan::Policy;
use crate::reports::GasKey;
use crate::sender::Sender;
use crate::store::StoreError;

/// Exports that are sent at once (law 13): each reads the whole log.
const EXPORTS_MAX: usize = 4;

/// What the operator's port needs.
#[derive(Debug)]
pub struct Admin {
    sender: Arc<Sender>,
    watch: Arc<Watch>,
    payees: Vec<Address>,
    hosts: Arc<[String]>,
    explorer_url: Option<Url>,
    policy: Policy,
    started_at: u64,
    kept: Mutex<snapshot::Kept>,
    exports: Arc<Semaphore>,
}

impl Admin {
    /// Shows this settler: chain, log and counters, and what the loop saw.
    #[must_use]
    pub fn new(sender: Arc<Sender>, watch: Arc<Watch>, config: &Config, policy: Policy) -> Self {
        Self {
            sender,
            watch,
            payees: config.payees.clone(),
            hosts: config.admin_hosts.clone().into(),
            explorer_url: config.explorer_url.clone(),
            policy,
            started_at: now_s(),
            kept: Mutex::default(),
            exports: Arc::new(Semaphore::new(EXPORTS_MAX)),
        }
    }
}

struct AdminError(StoreError);

impl From<StoreError> for AdminError {
    fn from(error: StoreError) -> Self {
        Self(error)
    }
}

impl IntoResponse for AdminError {
    fn into_response(self) -> Response {
        tracing::error!(error = %self.0, "the log cannot be read");
        let answer = ErrorAnswer { error: "the log cannot be read; the settler's own log says why".into() };
        (StatusCode::INTERNAL_SERVER_ERROR, Json(answer)).into_response()
    }
}

/// The operator's routes.
pub fn router(admin: Arc<Admin>) -> Router {
    let guard = middleware::from_fn_with_state(admin.hosts.clone(), guard::guard);
    Router::new()
        .merge(page::router())
        .merge(reports::router())
        .merge(export::router())
        .merge(dry_run::router())
        .route("/health/live", get(live))
        .route("/health/ready", get(ready))
        .route("/metrics", get(metrics))
        .route("/status", get(status))
        .route("/claim-now", post(claim_now))
        .route("/claim-now/{request}", get(progress))
        .with_state(admin)
        .layer(guard)
}

async fn live() -> Json<Health> {
    Json(Health { ok: true, reasons: Vec::new() })
}

async fn ready(State(admin): State<Arc<Admin>>) -> (StatusCode, Json<Health>) {
    let sight = admin.watch.sight();
    let mut reasons = Vec::new();
    if now_s().saturating_sub(sight.looked_at) > STALE_AFTER_S {
        reasons.push("no look at the chain has succeeded lately".to_owned());
    }
    if let Some(trouble) = sight.trouble {
        reasons.push(trouble);
    }
    for key in sight.gas_keys.iter().filter(|key| key.balance < GAS_BALANCE_MIN_WEI) {
        reasons.push(format!("the gas key {} has only {} wei", key.address, key.balance));
    }
    let ok = reasons.is_empty();
    let code = if ok { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    (code, Json(Health { ok, reasons }))
}

async fn metrics(State(admin): State<Arc<Admin>>) -> Result<String, AdminError> {
    let summary = admin.sender.store.summary().await?;
    Ok(admin.sender.metrics.render(&summary, &admin.snapshot().await?.overview, admin.started_at))
}

async fn status(State(admin): State<Arc<Admin>>) -> Result<Json<Status>, AdminError> {
    let sight = admin.watch.sight();
    let (sender, store) = (&admin.sender, &admin.sender.store);
    let deployment = sender.chain.deployment();
    Ok(Json(Status {
        chain_id: deployment.chain_id,
        escrow: deployment.escrow,
        gas_keys: sight.gas_keys.iter().map(GasKey::from).collect(),
        endpoints: sight.endpoints,
        payees: admin.payees.clone(),
        head: sight.head.number,
        trouble: sight.trouble,
        summary: store.summary().await?,
        lanes: store.lane_lines().await?,
        transactions: store.transaction_lines().await?,
    }))
}

async fn claim_now(State(admin): State<Arc<Admin>>) -> Result<(StatusCode, Json<ClaimProgress>), AdminError> {
    let store = &admin.sender.store;
    let request = store.ask(now_s()).await?;
    admin.watch.wake.notify_one();
    let progress = store.progress(request).await?.ok_or(StoreError::Sql(sqlx::Error::RowNotFound))?;
    Ok((StatusCode::ACCEPTED, Json(progress)))
}

async fn progress(State(admin): State<Arc<Admin>>, Path(request): Path<i64>) -> Result<Response, AdminError> {
    Ok(match admin.sender.store.progress(request).await? {
        Some(progress) => Json(progress).into_response(),
        None => (StatusCode::NOT_FOUND, Json(ErrorAnswer { error: "no such request".into() })).into_response(),
    })
}
