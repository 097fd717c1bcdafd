//! Where nodes hand in vouchers and charges. Every one is judged by itself (law 5); the answer is given only after what was
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
use minus_bindings::{SignedCharge, SignedVoucher};
use tokio::sync::{Semaphore, SemaphorePermit};

use crate::api::{ChargesBody, ErrorAnswer, IntakeAnswer, IntakeBody, IntakeResult};
use crate::chain::ChainError;
use crate::check::{DelegateView, Refusal, check_charge, check_voucher, signer_until};
use crate::clock::now_s;
use crate::engine::Watch;
use crate::sender::{READS_AT_ONCE, Sender};
use crate::store::{CheckedCharge, CheckedVoucher, Recording, StoreError};

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

/// What is to be done with one charge.
enum ChargeCheck {
    Refused(Refusal),
    /// The chain has paid it already.
    Paid,
    Taken(CheckedCharge),
}

impl ChargeCheck {
    const fn taken(&self) -> Option<&CheckedCharge> {
        match self {
            Self::Taken(charge) => Some(charge),
            Self::Refused(_) | Self::Paid => None,
        }
    }
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

/// The intake's routes.
pub fn router(intake: Arc<Intake>) -> Router {
    Router::new()
        .route("/vouchers", post(take_in))
        .route("/charges", post(take_in_charges))
        .layer(DefaultBodyLimit::max(BODY_BYTES_MAX))
        .with_state(intake)
}

async fn take_in(
    State(intake): State<Arc<Intake>>,
    body: Result<Json<IntakeBody>, JsonRejection>,
) -> Result<Json<IntakeAnswer>, Response> {
    let Json(body) = body.map_err(unreadable)?;
    let _room = intake.admit(&body.vouchers).map_err(IntoResponse::into_response)?;
    let results = intake.judge(body.vouchers).await.map_err(IntoResponse::into_response)?;
    intake.sender.metrics.took_in(&results);
    Ok(Json(IntakeAnswer { results }))
}

async fn take_in_charges(
    State(intake): State<Arc<Intake>>,
    body: Result<Json<ChargesBody>, JsonRejection>,
) -> Result<Json<IntakeAnswer>, Response> {
    let Json(body) = body.map_err(unreadable)?;
    let _room = intake.admit(&body.charges).map_err(IntoResponse::into_response)?;
    let results = intake.judge_charges(body.charges).await.map_err(IntoResponse::into_response)?;
    intake.sender.metrics.took_in(&results);
    Ok(Json(IntakeAnswer { results }))
}

/// A body above the limit keeps its own status, 413.
fn unreadable(rejection: JsonRejection) -> Response {
    match rejection.status() {
        StatusCode::PAYLOAD_TOO_LARGE => IntakeError::TooMany.into_response(),
        _ => IntakeError::Malformed.into_response(),
    }
}

fn answer(recording: Recording) -> IntakeResult {
    match recording {
        Recording::Recorded => IntakeResult::Recorded,
        Recording::SameAsBefore => IntakeResult::SameAsBefore,
        Recording::NoRoom => IntakeResult::Refused { reason: Refusal::NoRoom },
        Recording::SignerEnding => IntakeResult::Refused { reason: Refusal::SignerEnding },
    }
}

impl Intake {
    fn admit(&self, rows: &[serde_json::Value]) -> Result<SemaphorePermit<'_>, IntakeError> {
        if rows.len() > VOUCHERS_PER_REQUEST_MAX {
            return Err(IntakeError::TooMany);
        }
        self.room.try_acquire().map_err(|_| IntakeError::Busy)
    }

    async fn judge_charges(&self, rows: Vec<serde_json::Value>) -> Result<Vec<IntakeResult>, IntakeError> {
        let now = now_s().max(self.watch.sight().head.timestamp);
        let checked: Vec<ChargeCheck> = stream::iter(rows)
            .map(|row| self.check_charge(row, now))
            .buffered(READS_AT_ONCE)
            .collect::<Vec<_>>()
            .await
            .into_iter()
            .collect::<Result<_, ChainError>>()?;

        let taken: Vec<CheckedCharge> = checked.iter().filter_map(ChargeCheck::taken).cloned().collect();
        let mut recordings = self.sender.store.record_charges(&taken, self.lanes_max, now).await?.into_iter();
        Ok(checked
            .into_iter()
            .map(|check| match check {
                ChargeCheck::Refused(reason) => IntakeResult::Refused { reason },
                ChargeCheck::Paid => IntakeResult::SameAsBefore,
                ChargeCheck::Taken(_) => recordings.next().map_or(IntakeResult::SameAsBefore, answer),
            })
            .collect())
    }

    /// The pure checks first, then the payee's delegate, the mandate and the lane.
    async fn check_charge(&self, row: serde_json::Value, now: u64) -> Result<ChargeCheck, ChainError> {
        let refused = |reason| Ok(ChargeCheck::Refused(reason));
        let Ok(charge) = serde_json::from_value::<SignedCharge>(row) else { return refused(Refusal::Malformed) };
        let chain = &self.sender.chain;
        let signer = match check_charge(&charge, &self.payees, &chain.deployment().escrow_domain()) {
            Ok(signer) => signer,
            Err(reason) => return refused(reason),
        };
        let delegate = match signer == charge.payee {
            true => DelegateView::default(),
            false => chain.delegate(charge.payee, signer).await?,
        };
        if signer_until(charge.payee, signer, delegate, chain.notice_s(), now).is_none() {
            return refused(Refusal::NotASigner);
        }
        if chain.lane_paid(charge.payer, charge.payee, None).await? >= charge.cumulative {
            return Ok(ChargeCheck::Paid);
        }
        if chain.mandate(charge.payer, charge.payee).await?.valid_until < now {
            return refused(Refusal::NoMandate);
        }
        Ok(ChargeCheck::Taken(CheckedCharge { charge, signer }))
    }

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
                Ok(_) => recordings.next().map_or(IntakeResult::SameAsBefore, answer),
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
