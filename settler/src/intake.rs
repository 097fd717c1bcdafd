//! Where nodes hand in vouchers. Every voucher is judged by itself (law 5); the answer is given only after what was
//! accepted is on disk (law 8). When the chain or the disk cannot be asked, the answer is 503 and the node tries again.

use std::sync::Arc;

use alloy::primitives::Address;
use axum::extract::rejection::JsonRejection;
use axum::extract::{DefaultBodyLimit, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::routing::post;
use axum::{Json, Router};
use futures_util::{StreamExt, stream};
use minus_bindings::SignedVoucher;
use tokio::sync::Semaphore;

use crate::api::{ErrorAnswer, IntakeAnswer, IntakeBody, IntakeResult};
use crate::chain::ChainError;
use crate::check::{Refusal, check_voucher, signer_until};
use crate::clock::now_s;
use crate::engine::Watch;
use crate::sender::{READS_AT_ONCE, Sender};
use crate::store::{CheckedVoucher, Recording, StoreError};

/// Vouchers of one request: a second's worth of signature checks on one core, with room.
pub const VOUCHERS_PER_REQUEST_MAX: usize = 1_024;
/// A voucher is below 400 bytes of JSON.
const BODY_BYTES_MAX: usize = 512 * VOUCHERS_PER_REQUEST_MAX;
/// Requests judged at once; more are told to come back.
const REQUESTS_AT_ONCE: usize = 32;

/// What the intake needs.
#[derive(Debug)]
pub struct Intake {
    /// Chain, log and counters.
    pub sender: Arc<Sender>,
    /// What the loop saw: the chain's time.
    pub watch: Arc<Watch>,
    /// Whose vouchers are taken.
    pub payees: Vec<Address>,
    /// Lanes to keep at most.
    pub lanes_max: u64,
    /// Bounds the work under way.
    pub room: Semaphore,
}

impl Intake {
    /// With room for as many requests as are judged at once.
    #[must_use]
    pub fn new(sender: Arc<Sender>, watch: Arc<Watch>, payees: Vec<Address>, lanes_max: u64) -> Self {
        Self { sender, watch, payees, lanes_max, room: Semaphore::new(REQUESTS_AT_ONCE) }
    }
}

/// Why a request as a whole is not answered. None of it says anything of the inside.
#[derive(Debug, thiserror::Error)]
enum IntakeError {
    #[error("not a list of vouchers")]
    Malformed,
    #[error("more than {VOUCHERS_PER_REQUEST_MAX} vouchers")]
    TooMany,
    #[error("busy, come back later")]
    Busy,
    #[error("the chain cannot be asked now, come back later")]
    Chain(#[from] ChainError),
    #[error("nothing can be stored now, come back later")]
    Store(#[from] StoreError),
}

impl IntoResponse for IntakeError {
    fn into_response(self) -> Response {
        let status = match &self {
            Self::Malformed => StatusCode::BAD_REQUEST,
            Self::TooMany => StatusCode::PAYLOAD_TOO_LARGE,
            Self::Busy => StatusCode::TOO_MANY_REQUESTS,
            Self::Chain(cause) => {
                tracing::warn!(%cause, "vouchers were not taken in");
                StatusCode::SERVICE_UNAVAILABLE
            }
            Self::Store(cause) => {
                tracing::error!(%cause, "vouchers were not taken in");
                StatusCode::SERVICE_UNAVAILABLE
            }
        };
        (status, Json(ErrorAnswer { error: self.to_string() })).into_response()
    }
}

/// The intake's one route.
pub fn router(intake: Arc<Intake>) -> Router {
    Router::new().route("/vouchers", post(take_in)).layer(DefaultBodyLimit::max(BODY_BYTES_MAX)).with_state(intake)
}

async fn take_in(
    State(intake): State<Arc<Intake>>,
    body: Result<Json<IntakeBody>, JsonRejection>,
) -> Result<Json<IntakeAnswer>, Response> {
    // A body above the limit keeps its own status, 413.
    let Json(body) = body.map_err(|rejection| match rejection.status() {
        StatusCode::PAYLOAD_TOO_LARGE => IntakeError::TooMany.into_response(),
        _ => IntakeError::Malformed.into_response(),
    })?;
    if body.vouchers.len() > VOUCHERS_PER_REQUEST_MAX {
        return Err(IntakeError::TooMany.into_response());
    }
    let _room = intake.room.try_acquire().map_err(|_| IntakeError::Busy.into_response())?;
    let results = intake.judge(body.vouchers).await.map_err(IntoResponse::into_response)?;
    intake.sender.metrics.took_in(&results);
    Ok(Json(IntakeAnswer { results }))
}

impl Intake {
    async fn judge(&self, rows: Vec<serde_json::Value>) -> Result<Vec<IntakeResult>, IntakeError> {
        let now = now_s();
        let checked: Vec<Result<CheckedVoucher, Refusal>> = stream::iter(rows)
            .map(|row| self.check(row, now))
            .buffered(READS_AT_ONCE)
            .collect::<Vec<_>>()
            .await
            .into_iter()
            .collect::<Result<_, ChainError>>()?;

        let accepted: Vec<CheckedVoucher> = checked.iter().filter_map(|row| row.as_ref().ok()).cloned().collect();
        let mut recordings = self.sender.store.record(&accepted, self.lanes_max, now).await?.into_iter();
        Ok(checked
            .into_iter()
            .map(|row| match row {
                Err(reason) => IntakeResult::Refused { reason },
                Ok(_) => match recordings.next() {
                    Some(Recording::Recorded) => IntakeResult::Recorded,
                    Some(Recording::NoRoom) => IntakeResult::Refused { reason: Refusal::NoRoom },
                    Some(Recording::SignerEnding) => IntakeResult::Refused { reason: Refusal::SignerEnding },
                    Some(Recording::SameAsBefore) | None => IntakeResult::SameAsBefore,
                },
            })
            .collect())
    }

    /// The pure checks first, then one look at the lane.
    async fn check(&self, row: serde_json::Value, now: u64) -> Result<Result<CheckedVoucher, Refusal>, ChainError> {
        let Ok(voucher) = serde_json::from_value::<SignedVoucher>(row) else { return Ok(Err(Refusal::Malformed)) };
        let chain = &self.sender.chain;
        let signer = match check_voucher(&voucher, &self.payees, &chain.deployment().escrow_domain()) {
            Ok(signer) => signer,
            Err(refusal) => return Ok(Err(refusal)),
        };
        let now = now.max(self.watch.sight().head.timestamp);
        let (view, delegate) = chain.lane_view(voucher.payer, voucher.payee, signer, now).await?;
        if signer_until(voucher.payer, signer, delegate, chain.notice_s(), now).is_none() {
            return Ok(Err(Refusal::NotASigner));
        }
        if view.deposit.is_zero() && view.open.is_zero() && view.paid.is_zero() {
            return Ok(Err(Refusal::Unfunded));
        }
        Ok(Ok(CheckedVoucher { voucher, signer, view }))
    }
}
