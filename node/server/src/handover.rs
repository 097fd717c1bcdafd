//! From the outbox to the operator's settler: vouchers, charges, and what was promised to relays. A lost hand-over
//! costs nothing, since totals are cumulative: what is not answered for is sent again, for ever, with back-off.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use alloy::primitives::Address;
use minus_bindings::{Amount, SignedCharge, SignedVoucher};
use serde::{Deserialize, Serialize};
use url::Url;

use crate::{
    chain::view::ViewError,
    node::Node,
    store::{StoreError, charges, promises, vouchers},
};

/// Vouchers or charges in one request: some tens of kilobytes of JSON.
const PER_REQUEST_MAX: u32 = 128;
/// A settler stores before it answers; longer than this it is ill.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(30);
/// Back-off after a failure, doubled up to the second.
const REST_MIN: Duration = Duration::from_millis(500);
const REST_MAX: Duration = Duration::from_secs(60);
/// How often the outbox is looked at without being rung for; and how often the settler is told of promises at most, since
/// relays may ask for as many vouchers as they like.
const LOOK_EVERY: Duration = Duration::from_secs(5);

/// What a request brings: one field, named for what it holds.
#[derive(Serialize)]
#[serde(rename_all = "snake_case")]
enum Given<'a> {
    Vouchers(&'a [SignedVoucher]),
    Charges(&'a [SignedCharge]),
    Debts(&'a [SignedVoucher]),
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
    #[error(transparent)]
    View(#[from] ViewError),
    #[error("the settler could not be reached: {0}")]
    Transport(#[from] reqwest::Error),
    #[error("the settler answered about {0} of {1} that it was given")]
    Miscounted(usize, usize),
    #[error("the settler refused {0} vouchers")]
    Refused(usize),
}

/// The operator's settler.
struct Settler {
    client: reqwest::Client,
    url: Url,
}

/// Runs until the node stops. Without a settler there is nothing to do; the outbox keeps everything.
pub(crate) async fn run(node: Arc<Node>) {
    let Some(url) = node.config.settler_url.clone() else { return };
    let client = reqwest::Client::builder().redirect(reqwest::redirect::Policy::none()).timeout(ANSWER_TIMEOUT).build();
    let Ok(client) = client.inspect_err(|error| tracing::error!(%error, "no HTTP client for the settler")) else {
        return;
    };
    let settler = Settler { client, url };
    let mut rest = REST_MIN;
    let mut told_at: Option<Instant> = None;
    loop {
        // None waits for another (law 5).
        let (vouchers, charges) = (settler.take_vouchers(&node).await, settler.take_charges(&node).await);
        let promises = match told_at {
            Some(at) if at.elapsed() < LOOK_EVERY => Ok(()),
            _ => settler.take_promises(&node).await.inspect(|()| told_at = Some(Instant::now())),
        };
        let pause = match vouchers.and(charges).and(promises) {
            Ok(()) => {
                rest = REST_MIN;
                node.health.settler(None);
                None
            }
            Err(error) => {
                node.metrics.settler_failures.increment(1);
                node.health.settler(Some(error.to_string()));
                tracing::warn!(%error, "the outbox waits for the settler");
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

/// An intake of the settler.
fn intake(mut settler: Url, name: &str) -> Url {
    let path = format!("{}/{name}", settler.path().trim_end_matches('/'));
    settler.set_path(&path);
    settler
}

impl Settler {
    /// Hands over one request's worth and gives what was taken and what was refused: neither holds up the other (law 5).
    async fn give<T: Copy>(
        &self,
        name: &str,
        given: &[T],
        body: &Given<'_>,
    ) -> Result<(Vec<T>, Vec<T>), HandoverError> {
        let response = self.client.post(intake(self.url.clone(), name)).json(body).send().await;
        let taken: Taken = response
            .and_then(reqwest::Response::error_for_status)
            .map_err(reqwest::Error::without_url)?
            .json()
            .await
            .map_err(reqwest::Error::without_url)?;
        if taken.results.len() != given.len() {
            return Err(HandoverError::Miscounted(taken.results.len(), given.len()));
        }
        let (mut held, mut refused) = (Vec::new(), Vec::new());
        for (one, outcome) in given.iter().zip(taken.results) {
            match outcome {
                Outcome::Recorded | Outcome::SameAsBefore => held.push(*one),
                Outcome::Refused { reason } => {
                    refused.push(*one);
                    tracing::warn!(name, reason, "the settler refused one");
                }
            }
        }
        Ok((held, refused))
    }

    /// Goes through the vouchers once. What is refused stays in the outbox: it is money that was promised.
    async fn take_vouchers(&self, node: &Node) -> Result<(), HandoverError> {
        let mut after = (Address::ZERO, Address::ZERO);
        let mut refused = 0;
        loop {
            let batch = vouchers::outbox(node.store.readers(), after, PER_REQUEST_MAX).await?;
            let Some(last) = batch.last() else { break };
            after = (last.payer, last.payee);
            let (held, not_held) = self.give("vouchers", &batch, &Given::Vouchers(&batch)).await?;
            refused += not_held.len();
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

    /// Goes through the charges once. One that is refused is given up: whether there is cause for another is decided anew.
    async fn take_charges(&self, node: &Node) -> Result<(), HandoverError> {
        let mut after = (Address::ZERO, Address::ZERO);
        loop {
            let batch = charges::outbox(node.store.readers(), after, PER_REQUEST_MAX).await?;
            let Some(last) = batch.last() else { return Ok(()) };
            after = (last.payer, last.payee);
            let (held, refused) = self.give("charges", &batch, &Given::Charges(&batch)).await?;
            node.metrics.charges_handed_over.increment(u64::try_from(held.len()).unwrap_or(0));
            node.metrics.charges_refused.increment(u64::try_from(refused.len()).unwrap_or(0));
            node.store
                .writer()
                .write_patiently(move |connection| {
                    Box::pin(async move {
                        for charge in &held {
                            charges::handed_over(connection, charge).await?;
                        }
                        for charge in &refused {
                            charges::give_up(connection, charge).await?;
                        }
                        Ok(())
                    })
                })
                .await?;
        }
    }

    /// Tells what was promised to relays since it last heard of it. What is refused stays in the outbox.
    async fn take_promises(&self, node: &Node) -> Result<(), HandoverError> {
        let mut after = Address::ZERO;
        let mut refused = 0;
        loop {
            let batch = promises::outbox(node.store.readers(), after, PER_REQUEST_MAX).await?;
            let (Some((last, _)), Some(own)) = (batch.last(), node.view.node(node.address())) else { break };
            after = *last;
            // What the operator takes back, nobody can claim soon; and the settler would refuse it.
            if !node.view.may_sign(own.operator, node.address()).await? {
                break;
            }
            let sign = |(relay_operator, total): &(Address, Amount)| {
                SignedVoucher::sign(own.operator, *relay_operator, *total, &node.escrow_domain, &node.key.signer)
            };
            let debts: Vec<SignedVoucher> = batch.iter().map(sign).collect();
            let (held, not_held) = self.give("debts", &debts, &Given::Debts(&debts)).await?;
            refused += not_held.len();
            node.metrics.promises_handed_over.increment(u64::try_from(held.len()).unwrap_or(0));
            node.store
                .writer()
                .write_patiently(move |connection| {
                    Box::pin(async move {
                        for debt in &held {
                            promises::told(connection, debt.payee, debt.cumulative).await?;
                        }
                        Ok(())
                    })
                })
                .await?;
        }
        if refused == 0 { Ok(()) } else { Err(HandoverError::Refused(refused)) }
    }
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
            assert_eq!(intake(Url::parse(given).expect("a URL"), "vouchers").as_str(), expected);
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
