//! One JSON-RPC endpoint. What it answers is bounded in time and in length, whatever it says it will send.

use std::time::Duration;

use alloy::primitives::{Address, B256, Bloom, Bytes, U64};
use alloy::rpc::types::Log;
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use serde_json::{Value, json};
use url::Url;

/// An endpoint that has not answered in full by then is taken for dead.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(10);
/// One that cannot even be connected to is given up earlier.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(3);
/// Bytes of an answer: some 40,000 logs, more than endpoints give at once. A longer one is asked for in parts.
const ANSWER_BYTES_MAX: usize = 32 << 20;
/// Characters of an endpoint's own words that are repeated in logs and on the readiness page.
const REASON_CHARS_MAX: usize = 200;

/// Why one endpoint gave no answer.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum RpcError {
    /// No connection, no HTTP answer, or none in time.
    #[error("no answer: {0}")]
    Unreachable(String),
    /// It says no: a limit of its own, a block it does not have.
    #[error("it refuses: {0}")]
    Refused(String),
    /// More than [`ANSWER_BYTES_MAX`].
    #[error("its answer is longer than {ANSWER_BYTES_MAX} bytes")]
    TooLong,
    /// Not what was asked for.
    #[error("it answered nonsense: {0}")]
    Nonsense(&'static str),
}

impl RpcError {
    /// Whether a smaller question may be answered.
    pub(super) const fn is_too_much(&self) -> bool {
        matches!(self, Self::Refused(_) | Self::TooLong)
    }
}

/// What the node reads of a block.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Header {
    number: U64,
    pub(crate) hash: B256,
    pub(crate) parent_hash: B256,
    pub(crate) logs_bloom: Bloom,
}

impl Header {
    #[cfg(test)]
    pub(super) const fn for_test(number: u64, hash: B256, parent_hash: B256, logs_bloom: Bloom) -> Self {
        Self { number: U64::from_limbs([number]), hash, parent_hash, logs_bloom }
    }

    pub(crate) fn number(&self) -> u64 {
        self.number.to()
    }
}

/// One endpoint.
#[derive(Debug)]
pub(super) struct Rpc {
    client: reqwest::Client,
    url: Url,
}

#[derive(Deserialize)]
#[serde(bound = "T: DeserializeOwned")]
struct Answer<T> {
    #[serde(default = "Option::default")]
    result: Option<T>,
    #[serde(default)]
    error: Option<Fault>,
}

#[derive(Deserialize)]
struct Fault {
    #[serde(default)]
    message: String,
}

/// The HTTP client that endpoints share.
pub(super) fn client() -> Result<reqwest::Client, RpcError> {
    reqwest::Client::builder()
        .timeout(ANSWER_TIMEOUT)
        .connect_timeout(CONNECT_TIMEOUT)
        .redirect(reqwest::redirect::Policy::none())
        .build()
        .map_err(unreachable)
}

/// The address may hold an access key.
fn unreachable(error: reqwest::Error) -> RpcError {
    RpcError::Unreachable(shortened(&error.without_url().to_string()))
}

fn shortened(text: &str) -> String {
    text.chars().take(REASON_CHARS_MAX).collect()
}

impl Rpc {
    pub(super) const fn new(client: reqwest::Client, url: Url) -> Self {
        Self { client, url }
    }

    /// The answer, none where it is `null`.
    async fn ask<T: DeserializeOwned>(
        &self,
        method: &'static str,
        params: impl Serialize,
    ) -> Result<Option<T>, RpcError> {
        let question = json!({ "jsonrpc": "2.0", "id": 1, "method": method, "params": params });
        let mut response = self.client.post(self.url.clone()).json(&question).send().await.map_err(unreachable)?;
        let status = response.status();
        let mut body = Vec::new();
        while let Some(part) = response.chunk().await.map_err(unreachable)? {
            if body.len() + part.len() > ANSWER_BYTES_MAX {
                return Err(RpcError::TooLong);
            }
            body.extend_from_slice(&part);
        }
        // An error may come with any status; so the body is looked at first.
        match serde_json::from_slice::<Answer<T>>(&body) {
            Ok(Answer { error: Some(fault), .. }) => {
                Err(RpcError::Refused(shortened(&fault.message.replace(self.url.as_str(), "the endpoint"))))
            }
            Ok(Answer { result, .. }) if status.is_success() => Ok(result),
            _ if status.is_success() => Err(RpcError::Nonsense("no JSON-RPC answer of the right kind")),
            _ => Err(RpcError::Refused(format!("HTTP status {status}"))),
        }
    }

    pub(super) async fn chain_id(&self) -> Result<u64, RpcError> {
        let id: Option<U64> = self.ask("eth_chainId", json!([])).await?;
        id.map(|id| id.to()).ok_or(RpcError::Nonsense("no chain id"))
    }

    pub(super) async fn block_number(&self) -> Result<u64, RpcError> {
        let number: Option<U64> = self.ask("eth_blockNumber", json!([])).await?;
        number.map(|number| number.to()).ok_or(RpcError::Nonsense("no block number"))
    }

    /// None if it has no block at that height.
    pub(super) async fn header(&self, number: u64) -> Result<Option<Header>, RpcError> {
        let header: Option<Header> = self.ask("eth_getBlockByNumber", (U64::from(number), false)).await?;
        match header {
            Some(header) if header.number() != number => Err(RpcError::Nonsense("another block than asked for")),
            header => Ok(header),
        }
    }

    pub(super) async fn logs(&self, addresses: [Address; 2], from: u64, to: u64) -> Result<Vec<Log>, RpcError> {
        let filter = json!([{ "address": addresses, "fromBlock": U64::from(from), "toBlock": U64::from(to) }]);
        self.ask("eth_getLogs", filter).await?.ok_or(RpcError::Nonsense("no logs, not even none"))
    }

    /// Calls a contract in the state after a block, named by its hash, so that an endpoint that does not have it, or no
    /// longer on its chain, can only refuse.
    pub(super) async fn call(&self, to: Address, data: Vec<u8>, at: B256) -> Result<Bytes, RpcError> {
        let at: Value = json!({ "blockHash": at, "requireCanonical": true });
        let call = json!([{ "to": to, "data": Bytes::from(data) }, at]);
        self.ask("eth_call", call).await?.ok_or(RpcError::Nonsense("no result of a call"))
    }
}
