//! From the outbox to the operator's settler. A lost hand-over costs nothing, since totals are cumulative: what is not
//! answered for is sent again, for ever, with back-off.

use std::{sync::Arc, time::Duration};

use alloy::primitives::Address;
use minus_bindings::SignedVoucher;
use serde::{Deserialize, Serialize};
use url::Url;

use crate::{
    node::Node,
    store::{StoreError, vouchers},
};

/// Vouchers in one request: some tens of kilobytes of JSON.
const VOUCHERS_PER_REQUEST_MAX: u32 = 128;
/// A settler stores before it answers; longer than this it is ill.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(30);
/// Back-off after a failure, doubled up to the second.
const REST_MIN: Duration = Duration::from_millis(500);
const REST_MAX: Duration = Duration::from_secs(60);
/// How often the outbox is looked at without being rung for.
const LOOK_EVERY: Duration = Duration::from_secs(5);

#[derive(Serialize)]
struct Given<'a> {
    vouchers: &'a [SignedVoucher],
}

#[derive(Deserialize)]
struct Taken {
    results: Vec<Outcome>,
}

#[derive(Deserialize)]
#[serde(tag = "result", rename_all = "snake_case")]
enum Outcome {
    Recorded,
    SameAsBefore,
    Refused {
        #[serde(default)]
        reason: Option<String>,
    },
}

#[derive(Debug, thiserror::Error)]
enum HandoverError {
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error("the settler could not be reached: {0}")]
    Transport(#[from] reqwest::Error),
    #[error("the settler answered about {0} vouchers instead of {1}")]
    Miscounted(usize, usize),
    #[error("the settler refused {0} vouchers")]
    Refused(usize),
}

/// Runs until the node stops. Without a settler there is nothing to do; the outbox keeps everything.
pub(crate) async fn run(node: Arc<Node>) {
    let Some(settler) = node.config.settler_url.clone().map(intake) else { return };
    let client = reqwest::Client::builder().redirect(reqwest::redirect::Policy::none()).timeout(ANSWER_TIMEOUT).build();
    let Ok(client) = client.inspect_err(|error| tracing::error!(%error, "no HTTP client for the settler")) else {
        return;
    };
    let mut rest = REST_MIN;
    loop {
        let pause = match empty(&node, &client, &settler).await {
            Ok(()) => {
                rest = REST_MIN;
                node.health.settler(None);
                None
            }
            Err(error) => {
                node.metrics.settler_failures.increment(1);
                node.health.settler(Some(error.to_string()));
                tracing::warn!(%error, "vouchers wait for the settler");
                let pause = rest;
                rest = (rest * 2).min(REST_MAX);
                Some(pause)
            }
        };
        let wait = async {
            match pause {
                Some(pause) => tokio::time::sleep(pause).await,
                None => tokio::select! {
                    () = node.outbox_bell.notified() => {}
                    () = tokio::time::sleep(LOOK_EVERY) => {}
                },
            }
        };
        tokio::select! {
            () = node.stop.cancelled() => return,
            () = wait => {}
        }
    }
}

fn intake(mut settler: Url) -> Url {
    let path = format!("{}/vouchers", settler.path().trim_end_matches('/'));
    settler.set_path(&path);
    settler
}

/// Goes through the outbox once. A voucher the settler refuses does not hold up the others (law 5).
async fn empty(node: &Node, client: &reqwest::Client, settler: &Url) -> Result<(), HandoverError> {
    let mut after = (Address::ZERO, Address::ZERO);
    let mut refused = 0;
    loop {
        let batch = vouchers::outbox(node.store.readers(), after, VOUCHERS_PER_REQUEST_MAX).await?;
        let Some(last) = batch.last() else { break };
        after = (last.payer, last.payee);
        let response = client.post(settler.clone()).json(&Given { vouchers: &batch }).send().await;
        let taken: Taken = response
            .and_then(reqwest::Response::error_for_status)
            .map_err(reqwest::Error::without_url)?
            .json()
            .await
            .map_err(reqwest::Error::without_url)?;
        if taken.results.len() != batch.len() {
            return Err(HandoverError::Miscounted(taken.results.len(), batch.len()));
        }
        let mut held = Vec::new();
        for (voucher, outcome) in batch.into_iter().zip(taken.results) {
            match outcome {
                Outcome::Recorded | Outcome::SameAsBefore => held.push(voucher),
                Outcome::Refused { reason } => {
                    refused += 1;
                    tracing::warn!(payee = %voucher.payee, reason, "the settler refused a voucher");
                }
            }
        }
        node.metrics.vouchers_handed_over.increment(u64::try_from(held.len()).unwrap_or(0));
        node.store
            .writer()
            .write_patiently(move |connection| {
                Box::pin(async move {
                    for voucher in &held {
                        vouchers::handed_over(connection, voucher).await?;
                    }
                    Ok(())
                })
            })
            .await?;
    }
    if refused == 0 { Ok(()) } else { Err(HandoverError::Refused(refused)) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_intake_is_below_whatever_path_the_settler_has() {
        for (given, expected) in [
            ("http://settler:8404", "http://settler:8404/vouchers"),
            ("http://settler:8404/", "http://settler:8404/vouchers"),
            ("https://host/one/", "https://host/one/vouchers"),
        ] {
            assert_eq!(intake(Url::parse(given).expect("a URL")).as_str(), expected);
        }
    }

    #[test]
    fn reads_what_settlers_answer() {
        let text =
            r#"{"results":[{"result":"recorded"},{"result":"same_as_before"},{"result":"refused","reason":"x"}]}"#;
        let taken: Taken = serde_json::from_str(text).expect("reads");
        assert!(matches!(
            taken.results.as_slice(),
            [Outcome::Recorded, Outcome::SameAsBefore, Outcome::Refused { reason: Some(_) }]
        ));
    }
}
