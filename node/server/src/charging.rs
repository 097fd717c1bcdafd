//! Charges payers that are away, or about to leave, by the standing mandates they gave: looks at all accounts with
//! something stored, now and then, and puts what `agent::mandate` decides into the outbox.

use std::{sync::Arc, time::Duration};

use alloy::primitives::Address;
use minus_bindings::SignedCharge;

use crate::{
    agent::mandate::Silence,
    chain::view::ViewError,
    clock,
    node::Node,
    store::{
        StoreError,
        charges::{self, Occasion},
    },
};

/// Payers read from the store at a time: some kilobytes.
const PAGE: u32 = 256;
/// Between two rounds at most; less when payers are charged oftener.
const ROUND_MAX: Duration = Duration::from_secs(60);
const ROUND_MIN: Duration = Duration::from_millis(200);

/// Why a round ended early. The next one begins anew.
#[derive(Debug, thiserror::Error)]
enum ChargeError {
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error(transparent)]
    View(#[from] ViewError),
}

/// Runs until the node stops.
pub(crate) async fn run(node: Arc<Node>) {
    let round = (node.config.mandate_interval / 10).clamp(ROUND_MIN, ROUND_MAX);
    while node.stop.run_until_cancelled(tokio::time::sleep(round)).await.is_some() {
        // Whoever is not registered, or does not know how the chain stands, charges nobody.
        let Ok(own) = node.record().await else { continue };
        if let Err(error) = look(&node, own.operator).await {
            tracing::warn!(%error, "a round of charges ended early");
        }
    }
}

async fn look(node: &Node, payee: Address) -> Result<(), ChargeError> {
    let mut after = Address::ZERO;
    let mut charged = false;
    loop {
        let page = charges::candidates(node.store.readers(), payee, after, PAGE).await?;
        let Some((last, _)) = page.last() else { break };
        after = *last;
        for (payer, silence) in page {
            charged |= consider(node, payer, payee, silence).await?;
        }
    }
    if charged {
        node.outbox_bell.notify_one();
    }
    Ok(())
}

/// Charges one payer if it is time to, its mandate bears something, and this node may sign for its operator.
async fn consider(node: &Node, payer: Address, payee: Address, silence: Silence) -> Result<bool, ChargeError> {
    let now_s = clock::now_s();
    let lane = node.view.lane(payer, payee).await?;
    if !silence.is_over(&lane, now_s, node.config.mandate_interval.as_secs()) {
        return Ok(false);
    }
    let chargeable = node.view.mandate(payer, payee).await?.chargeable(now_s);
    if chargeable.is_zero() {
        return Ok(false);
    }
    if !node.view.may_sign(payee, node.address()).await? {
        node.metrics.charges_unauthorised.increment(1);
        return Ok(false);
    }
    let occasion = Occasion { payer, payee, lane, chargeable, now_s };
    let (domain, signer) = (node.escrow_domain.clone(), node.key.signer.clone());
    let charged = node
        .store
        .writer()
        .write_patiently(move |connection| {
            Box::pin(async move {
                let sign = |total| SignedCharge::sign(payer, payee, total, &domain, &signer);
                charges::make(connection, &occasion, sign).await
            })
        })
        .await?;
    node.metrics.charges_signed.increment(u64::from(charged));
    Ok(charged)
}
