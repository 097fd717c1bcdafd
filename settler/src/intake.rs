//! Where nodes hand in vouchers and charges, and what they owe relays (`debts`). Every one is judged by itself (law 5); the
//! answer is given only after what was accepted is on disk (law 8). When the chain or the disk cannot be asked, the answer is
//! 503 and the node tries again.

mod debts;
mod views;

use std::sync::Arc;
use std::time::Duration;

use alloy::primitives::Address;
use axum::body::Bytes;
use axum::extract::rejection::{BytesRejection, JsonRejection};
use axum::extract::{DefaultBodyLimit, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::routing::post;
use axum::{Json, Router};
use minus_bindings::{Amount, SignedCharge, SignedVoucher};
use serde::Deserialize;
use tokio::sync::{Semaphore, SemaphorePermit};

use crate::api::{ChargesBody, ErrorAnswer, IntakeAnswer, IntakeBody, IntakeResult};
use crate::chain::{ChainError, LaneQuestion, MandateView};
use crate::check::{Checker, DelegateView, Domain, Refusal, Signed, signer_until};
use crate::clock::now_s;
use crate::sender::Sender;
use crate::store::{CheckedCharge, CheckedVoucher, Recording, StoreError};
use views::{Seen, Views};

/// Vouchers of one request: a second's worth of signature checks on one core, with room.
pub const VOUCHERS_PER_REQUEST_MAX: usize = 1_024;
/// A voucher is below 400 bytes of JSON.
const BODY_BYTES_MAX: usize = 512 * VOUCHERS_PER_REQUEST_MAX;
/// Rows that are worth another core: some milliseconds of signature checks.
const SHARE_MIN: usize = 64;
/// Requests judged at once; more are told to come back.
const REQUESTS_AT_ONCE: usize = 32;

/// What the intake needs.
#[derive(Debug)]
pub struct Intake {
    /// Chain, log and counters.
    pub sender: Arc<Sender>,
    /// Lanes to keep at most.
    pub lanes_max: u64,
    /// Checks what is handed in.
    pub checker: Arc<Checker>,
    /// What the chain showed lately.
    views: Views,
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
    /// With room for as many requests as are judged at once. A lane that was read within `lane_refresh`, and a minute, is not
    /// read again.
    #[must_use]
    pub fn new(sender: Arc<Sender>, payees: Vec<Address>, lanes_max: u64, lane_refresh: Duration) -> Self {
        let domain = Domain::new(&sender.chain.deployment().escrow_domain());
        let checker = Arc::new(Checker::new(payees, domain));
        Self {
            sender,
            lanes_max,
            checker,
            views: Views::new(lane_refresh.as_secs()),
            room: Semaphore::new(REQUESTS_AT_ONCE),
        }
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
            Self::Busy | Self::Store(StoreError::Busy) => StatusCode::TOO_MANY_REQUESTS,
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
        .route("/debts", post(debts::take_in))
        .layer(DefaultBodyLimit::max(BODY_BYTES_MAX))
        .with_state(intake)
}

async fn take_in(
    State(intake): State<Arc<Intake>>,
    body: Result<Bytes, BytesRejection>,
) -> Result<Json<IntakeAnswer>, Response> {
    let body = body.map_err(|rejection| unreadable(rejection.status()))?;
    let _room = intake.admit().map_err(IntoResponse::into_response)?;
    let results = intake.judge(body).await.map_err(IntoResponse::into_response)?;
    intake.sender.metrics.took_in(&results);
    Ok(Json(IntakeAnswer { results }))
}

async fn take_in_charges(
    State(intake): State<Arc<Intake>>,
    body: Result<Json<ChargesBody>, JsonRejection>,
) -> Result<Json<IntakeAnswer>, Response> {
    let Json(body) = body.map_err(|rejection| unreadable(rejection.status()))?;
    let _room = intake.admit().map_err(IntoResponse::into_response)?;
    let results = intake.judge_charges(body.charges).await.map_err(IntoResponse::into_response)?;
    intake.sender.metrics.took_in(&results);
    Ok(Json(IntakeAnswer { results }))
}

/// A body above the limit keeps its own status, 413.
fn unreadable(status: StatusCode) -> Response {
    match status {
        StatusCode::PAYLOAD_TOO_LARGE => IntakeError::TooMany.into_response(),
        _ => IntakeError::Malformed.into_response(),
    }
}

/// Checks rows where it holds nobody up, a share of them on each core. In their order.
async fn on_all_cores<R: Send + 'static, T: Send + 'static>(
    rows: Vec<R>,
    check: impl Fn(Vec<R>) -> Vec<Result<T, Refusal>> + Clone + Send + 'static,
) -> Result<Vec<Result<T, Refusal>>, IntakeError> {
    if rows.len() > VOUCHERS_PER_REQUEST_MAX {
        return Err(IntakeError::TooMany);
    }
    let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    let share = rows.len().div_ceil(cores).max(SHARE_MIN);
    let mut checked = Vec::with_capacity(rows.len());
    let mut rows = rows.into_iter();
    let mut shares = Vec::with_capacity(cores);
    while rows.len() > 0 {
        let (share, check): (Vec<_>, _) = (rows.by_ref().take(share).collect(), check.clone());
        shares.push(tokio::task::spawn_blocking(move || check(share)));
    }
    for share in shares {
        checked.extend(share.await.map_err(|_| IntakeError::Busy)?);
    }
    Ok(checked)
}

/// A body all of whose rows are vouchers.
#[derive(Deserialize)]
struct Vouchers {
    vouchers: Vec<SignedVoucher>,
}

/// Reads a body at one go, and row by row only if that fails, so that a malformed row stops no other (law 5).
fn read(body: &[u8]) -> Result<Vec<Result<SignedVoucher, Refusal>>, IntakeError> {
    if let Ok(Vouchers { vouchers }) = serde_json::from_slice(body) {
        return Ok(vouchers.into_iter().map(Ok).collect());
    }
    let IntakeBody { vouchers } = serde_json::from_slice(body).map_err(|_| IntakeError::Malformed)?;
    Ok(vouchers.into_iter().map(|row| serde_json::from_value(row).map_err(|_| Refusal::Malformed)).collect())
}

fn check_vouchers(
    rows: Vec<Result<SignedVoucher, Refusal>>,
    checker: &Checker,
) -> Vec<Result<(SignedVoucher, Signed), Refusal>> {
    let vouchers: Vec<SignedVoucher> = rows.iter().filter_map(|row| row.as_ref().ok().copied()).collect();
    let mut checks = checker.vouchers(&vouchers).into_iter();
    let mut check = |voucher| checks.next().unwrap_or(Err(Refusal::Malformed)).map(|signed| (voucher, signed));
    rows.into_iter().map(|row| row.and_then(&mut check)).collect()
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
    fn admit(&self) -> Result<SemaphorePermit<'_>, IntakeError> {
        self.room.try_acquire().map_err(|_| IntakeError::Busy)
    }

    async fn judge_charges(&self, rows: Vec<serde_json::Value>) -> Result<Vec<IntakeResult>, IntakeError> {
        let checker = Arc::clone(&self.checker);
        let check = move |row| {
            let charge = serde_json::from_value::<SignedCharge>(row).map_err(|_| Refusal::Malformed)?;
            let signer = checker.charge(&charge)?;
            Ok(CheckedCharge { charge, signer })
        };
        let parsed = on_all_cores(rows, move |rows| rows.into_iter().map(&check).collect()).await?;
        let good: Vec<&CheckedCharge> = parsed.iter().filter_map(|row| row.as_ref().ok()).collect();
        let (now, checks) = self.check_charges(&good).await?;
        let taken: Vec<CheckedCharge> = checks.iter().filter_map(ChargeCheck::taken).cloned().collect();
        let mut recordings = self.sender.store.record_charges(&taken, self.lanes_max, now).await?.into_iter();
        let mut checks = checks.into_iter();
        let mut result = |row: Result<CheckedCharge, Refusal>| match row.map(|_| checks.next()) {
            Err(reason) | Ok(Some(ChargeCheck::Refused(reason))) => IntakeResult::Refused { reason },
            Ok(Some(ChargeCheck::Taken(_))) => recordings.next().map_or(IntakeResult::SameAsBefore, answer),
            Ok(Some(ChargeCheck::Paid) | None) => IntakeResult::SameAsBefore,
        };
        Ok(parsed.into_iter().map(&mut result).collect())
    }

    /// After the pure checks: the payee's delegate, the mandate and the lane.
    async fn check_charges(&self, charges: &[&CheckedCharge]) -> Result<(u64, Vec<ChargeCheck>), ChainError> {
        let chain = &self.sender.chain;
        let head = chain.head().await?;
        let now = now_s().max(head.timestamp);
        let signers: Vec<_> = charges.iter().map(|checked| (checked.charge.payee, checked.signer)).collect();
        let lanes: Vec<_> = charges.iter().map(|checked| (checked.charge.payer, checked.charge.payee)).collect();
        let delegates = chain.delegates(&head, &signers).await?;
        let paid = chain.lanes_paid(head.id(), &lanes).await?;
        let mandates = chain.mandates(&head, &lanes).await?;
        let checks = charges.iter().zip(delegates).zip(paid.into_iter().zip(mandates));
        let check =
            |((checked, delegate), (paid, mandate)): ((&&CheckedCharge, DelegateView), (Amount, MandateView))| {
                let CheckedCharge { charge, signer } = **checked;
                if signer_until(charge.payee, signer, delegate, chain.notice_s(), now).is_none() {
                    return ChargeCheck::Refused(Refusal::NotASigner);
                }
                if paid >= charge.cumulative {
                    return ChargeCheck::Paid;
                }
                if mandate.valid_until < now {
                    return ChargeCheck::Refused(Refusal::NoMandate);
                }
                ChargeCheck::Taken(CheckedCharge { charge, signer })
            };
        Ok((now, checks.map(check).collect()))
    }

    async fn judge(&self, body: Bytes) -> Result<Vec<IntakeResult>, IntakeError> {
        let rows = tokio::task::spawn_blocking(move || read(&body)).await.map_err(|_| IntakeError::Busy)??;
        let checker = Arc::clone(&self.checker);
        let parsed = on_all_cores(rows, move |rows| check_vouchers(rows, &checker)).await?;
        let good: Vec<(SignedVoucher, Signed)> = parsed.iter().filter_map(|row| row.as_ref().ok().copied()).collect();
        let mut checks = self.check(&good).await?.into_iter();
        let checked: Vec<Result<CheckedVoucher, Refusal>> =
            parsed.into_iter().map(|row| row.and_then(|_| checks.next().unwrap_or(Err(Refusal::Malformed)))).collect();

        let accepted: Vec<CheckedVoucher> = checked.iter().filter_map(|row| row.as_ref().ok()).cloned().collect();
        let mut recordings = self.sender.store.record(&accepted, self.lanes_max, now_s()).await?.into_iter();
        Ok(checked
            .into_iter()
            .map(|row| match row {
                Err(reason) => IntakeResult::Refused { reason },
                Ok(_) => recordings.next().map_or(IntakeResult::SameAsBefore, answer),
            })
            .collect())
    }

    /// After the pure checks: one look at all the lanes that were not read lately, at one block.
    async fn check(
        &self,
        vouchers: &[(SignedVoucher, Signed)],
    ) -> Result<Vec<Result<CheckedVoucher, Refusal>>, ChainError> {
        let chain = &self.sender.chain;
        let head = chain.head().await?;
        let now = now_s().max(head.timestamp);
        let question = |(voucher, signed): &(SignedVoucher, Signed)| LaneQuestion {
            payer: voucher.payer,
            payee: voucher.payee,
            signer: signed.signer,
        };
        let lanes: Vec<LaneQuestion> = vouchers.iter().map(question).collect();
        let known = self.views.of(&lanes, now);
        let unknown: Vec<LaneQuestion> =
            lanes.iter().zip(&known).filter(|(_, seen)| seen.is_none()).map(|(lane, _)| *lane).collect();
        let mut read = chain.lane_views(&head, &unknown, now).await?.into_iter();
        let mut checked = Vec::with_capacity(vouchers.len());
        let (mut seen_now, mut live) = (Vec::new(), Vec::new());
        for (((voucher, signed), lane), known) in vouchers.iter().zip(&lanes).zip(known) {
            let is_fresh = known.is_none();
            let fresh = || read.next().map(|(view, delegate)| Seen { view, delegate, at: now });
            let Some(seen) = known.or_else(fresh) else { return Err(ChainError::Nonsense("too few lanes".into())) };
            let verdict = self.verdict(voucher, signed.signer, &seen, now);
            if verdict.is_ok() {
                live.push((voucher.payer, signed));
                if is_fresh {
                    seen_now.push((*lane, seen));
                }
            }
            let taken = CheckedVoucher { voucher: *voucher, signer: signed.signer, view: seen.view, is_fresh };
            checked.push(verdict.map(|()| taken));
        }
        // Only of payers with money: else a stranger could make the others be forgotten.
        self.views.keep(seen_now.into_iter());
        self.checker.learn(live);
        Ok(checked)
    }

    fn verdict(&self, voucher: &SignedVoucher, signer: Address, seen: &Seen, now: u64) -> Result<(), Refusal> {
        let notice_s = self.sender.chain.notice_s();
        if signer_until(voucher.payer, signer, seen.delegate, notice_s, now).is_none() {
            return Err(Refusal::NotASigner);
        }
        if seen.view.deposit.is_zero() && seen.view.open.is_zero() && seen.view.paid.is_zero() {
            return Err(Refusal::Unfunded);
        }
        Ok(())
    }
}
