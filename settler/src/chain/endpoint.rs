//! One endpoint, and what is to be said of it: whether it answers, how far behind it is, how often it said something
//! else than the others.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use alloy::providers::{DynProvider, Provider, ProviderBuilder};
use alloy::transports::TransportError;
use serde::{Deserialize, Serialize};
use url::Url;

/// An endpoint that takes longer is as good as down.
const CALL_TIMEOUT: Duration = Duration::from_secs(10);

/// One provider that signs nothing, for any of the settler's uses.
#[must_use]
pub fn provider(url: &Url) -> DynProvider {
    // A client without this timeout is as usable as one with it, hence the fallback.
    let client = reqwest::Client::builder().timeout(CALL_TIMEOUT).build().unwrap_or_default();
    ProviderBuilder::new().connect_reqwest(client, url.clone()).erased()
}

/// What is known of an endpoint.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct EndpointLine {
    /// Its host and port. The rest of its URL often holds the operator's access key.
    pub name: String,
    /// The last block that it showed.
    pub head: u64,
    /// How many blocks that was behind what was agreed on.
    pub lag_blocks: u64,
    /// How often it contradicted what enough others agreed on.
    pub disagreements: u64,
    /// How often it gave no answer.
    pub failures: u64,
    /// What its last answer lacked; none when that was in order.
    pub trouble: Option<String>,
}

/// One endpoint.
#[derive(Debug)]
pub(super) struct Endpoint {
    pub(super) provider: DynProvider,
    url: Url,
    line: Mutex<EndpointLine>,
}

impl Endpoint {
    pub(super) fn new(url: &Url) -> Self {
        let host = url.host_str().unwrap_or("endpoint");
        let name = url.port().map_or_else(|| host.to_owned(), |port| format!("{host}:{port}"));
        let line = EndpointLine { name, ..EndpointLine::default() };
        Self { provider: provider(url), url: url.clone(), line: Mutex::new(line) }
    }

    /// An endpoint's URL often holds the operator's access key, and an HTTP client's errors hold the URL: in logs and
    /// on the operator's port, the host has to do.
    pub(super) fn complaint(&self, error: &TransportError) -> String {
        error.to_string().replace(self.url.as_str(), self.url.host_str().unwrap_or("the endpoint"))
    }

    pub(super) fn line(&self) -> EndpointLine {
        self.state().clone()
    }

    /// Did its last answer come?
    pub(super) fn is_up(&self) -> bool {
        self.state().trouble.is_none()
    }

    pub(super) fn answered(&self) {
        self.state().trouble = None;
    }

    pub(super) fn failed(&self, complaint: String) {
        let mut line = self.state();
        line.failures = line.failures.saturating_add(1);
        line.trouble = Some(complaint);
    }

    pub(super) fn disagreed(&self, what: &'static str) {
        let mut line = self.state();
        line.disagreements = line.disagreements.saturating_add(1);
        tracing::warn!(endpoint = %line.name, what, "an endpoint contradicts the others");
    }

    pub(super) fn stands_at(&self, head: u64, agreed: u64) {
        let mut line = self.state();
        line.head = head;
        line.lag_blocks = agreed.saturating_sub(head);
    }

    fn state(&self) -> MutexGuard<'_, EndpointLine> {
        self.line.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
