//! Forgets what is long over, a little at a time, beside everything else.

use std::time::Duration;

use tokio_util::sync::CancellationToken;

use crate::clock::now_s;
use crate::store::{Store, StoreError, Sweep};

/// How long finished history is kept if the operator says nothing: two years and a bit, so that the books of a year can
/// be made, and asked about, from the log.
pub const RETENTION_DEFAULT: Duration = Duration::from_secs(800 * 86_400);
/// The least: the page and the exports show a month of single claims.
pub const RETENTION_MIN: Duration = Duration::from_secs(31 * 86_400);
/// From one sweep to the next. What is a few hours older than it need be costs little.
const SWEEP_EVERY: Duration = Duration::from_secs(6 * 3_600);
/// After each step, for whoever waits for the log: a million rows take some minutes.
const STEP_PAUSE: Duration = Duration::from_millis(50);

/// Sweeps through the log until told to stop. Trouble ends a sweep; the next one begins anew.
pub async fn run(store: Store, retention: Duration, stop: CancellationToken) {
    loop {
        tokio::select! {
            () = stop.cancelled() => return,
            swept = sweep(&store, retention) => match swept {
                Ok(0) => {}
                Ok(rows) => tracing::info!(rows, "finished history was removed from the log"),
                Err(error) => tracing::warn!(%error, "finished history could not be removed from the log"),
            },
        }
        tokio::select! {
            () = stop.cancelled() => return,
            () = tokio::time::sleep(SWEEP_EVERY) => {}
        }
    }
}

async fn sweep(store: &Store, retention: Duration) -> Result<u64, StoreError> {
    let before = now_s().saturating_sub(retention.as_secs());
    let (mut sweep, mut rows) = (Sweep::START, 0);
    while sweep != Sweep::Done {
        let (next, removed) = store.prune(sweep, before).await?;
        (sweep, rows) = (next, rows + removed);
        tokio::time::sleep(STEP_PAUSE).await;
    }
    Ok(rows)
}
