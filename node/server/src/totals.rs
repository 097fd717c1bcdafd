//! Sums over the store, for people who watch. Nothing is decided by them, so they may be some seconds old: whoever scrapes,
//! however often, reads what was summed before and asks the store for nothing.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use crate::{
    admin::gauge,
    node::Node,
    store::{StoreError, charges, customers, packets, promises, vouchers},
};

/// How old a sum is at least allowed to become.
const SUM_EVERY: Duration = Duration::from_secs(5);
/// Between two times the node rests so much longer than summing took: of a reader's time it takes a fiftieth at most,
/// however many packets and accounts there are.
const REST: u32 = 49;

/// Sums now and then until the node stops.
pub(crate) async fn watch(node: Arc<Node>) {
    let summing = async {
        loop {
            let began = Instant::now();
            if let Err(error) = sum(&node).await {
                tracing::debug!(%error, "the totals could not be read");
            }
            tokio::time::sleep(SUM_EVERY.max(began.elapsed().saturating_mul(REST))).await;
        }
    };
    node.stop.run_until_cancelled(summing).await;
}

async fn sum(node: &Node) -> Result<(), StoreError> {
    let (readers, metrics) = (node.store.readers(), &node.metrics);
    metrics.packets_waiting.set(gauge(packets::count(readers).await?.into()));
    metrics.vouchers_waiting.set(gauge(u128::try_from(vouchers::waiting(readers).await?).unwrap_or(0)));
    metrics.charges_waiting.set(gauge(u128::try_from(charges::waiting(readers).await?).unwrap_or(0)));
    metrics.promises_waiting.set(gauge(u128::try_from(promises::waiting(readers).await?).unwrap_or(0)));
    let (reserved, fronted) = customers::totals(readers).await?;
    metrics.reserved.set(gauge(reserved));
    metrics.fronted.set(gauge(fronted));
    Ok(())
}
