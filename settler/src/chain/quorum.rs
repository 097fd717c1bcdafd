//! What counts as the answer when several endpoints are asked.
//!
//! What decides about money (the head, receipts, lanes, nonces, what a claim would do) is asked of all of them, at one
//! block, and is believed when enough say the same. One that is alone in what it says is noticed and outvoted; one that
//! lags does not know the block and has no say. The rest (fees, a first look) the first that answers tells. A quorum of
//! one, which is what a single endpoint makes, believes the first that answers in everything.

use std::future::Future;
use std::sync::atomic::Ordering;
use std::time::Duration;

use alloy::providers::DynProvider;
use alloy::transports::TransportError;
use futures_util::stream::FuturesUnordered;
use futures_util::{FutureExt, StreamExt};

use super::client::Chain;
use super::error::ChainError;

/// Once enough have answered, how long the others still have, if they answered before: so that a liar that is a little
/// slower is noticed, and one that is down delays nothing.
const GRACE: Duration = Duration::from_millis(250);

/// What several endpoints said, by answer; and what those complained of that did not answer.
#[derive(Debug)]
pub(super) struct Answers<T> {
    pub(super) groups: Vec<(T, Vec<usize>)>,
    complaints: Complaints,
}

/// The first stated error is the answer if no endpoint has a better one.
#[derive(Debug, Default)]
struct Complaints {
    stated: Option<ChainError>,
    silent: Option<ChainError>,
}

impl Complaints {
    fn into_error(self) -> ChainError {
        let none = || ChainError::Unreachable("no endpoint is configured".into());
        self.stated.or(self.silent).unwrap_or_else(none)
    }
}

impl<T: PartialEq> Answers<T> {
    fn new() -> Self {
        Self { groups: Vec::new(), complaints: Complaints::default() }
    }

    fn add(&mut self, answer: T, endpoint: usize) {
        match self.groups.iter_mut().find(|(known, _)| *known == answer) {
            Some((_, endpoints)) => endpoints.push(endpoint),
            None => self.groups.push((answer, vec![endpoint])),
        }
    }

    pub(super) fn count(&self) -> usize {
        self.groups.iter().map(|(_, endpoints)| endpoints.len()).sum()
    }

    fn agreeing(&self) -> usize {
        self.groups.iter().map(|(_, endpoints)| endpoints.len()).max().unwrap_or(0)
    }

    /// The answer that enough gave, and who said something else.
    pub(super) fn verdict(mut self, what: &'static str, needed: usize) -> Result<(T, Vec<usize>), ChainError> {
        let (agreeing, answered) = (self.agreeing(), self.count());
        if answered == 0 {
            return Err(self.complaints.into_error());
        }
        let Some(index) = self.groups.iter().position(|(_, endpoints)| endpoints.len() >= needed) else {
            return Err(ChainError::NoQuorum { what, agreeing, answered, needed });
        };
        let (answer, _) = self.groups.swap_remove(index);
        Ok((answer, self.groups.into_iter().flat_map(|(_, endpoints)| endpoints).collect()))
    }
}

impl Chain {
    /// Asks all endpoints and gives what enough of them agree on.
    ///
    /// # Errors
    /// When too few do.
    pub(super) async fn decide<T, F, Fut>(&self, what: &'static str, call: F) -> Result<T, ChainError>
    where
        T: PartialEq,
        F: Fn(DynProvider) -> Fut,
        Fut: Future<Output = Result<T, TransportError>>,
    {
        if self.quorum == 1 {
            return self.ask(call).await;
        }
        let (answer, contradicting) = self.ask_all(call).await.verdict(what, self.quorum)?;
        for index in contradicting {
            self.endpoints[index].disagreed(what);
        }
        Ok(answer)
    }

    /// Asks all endpoints at once, until enough agree and the others had their time.
    pub(super) async fn ask_all<T, F, Fut>(&self, call: F) -> Answers<T>
    where
        T: PartialEq,
        F: Fn(DynProvider) -> Fut,
        Fut: Future<Output = Result<T, TransportError>>,
    {
        let mut pending: FuturesUnordered<_> = self
            .endpoints
            .iter()
            .enumerate()
            .map(|(index, endpoint)| call(endpoint.provider.clone()).map(move |answer| (index, answer)))
            .collect();
        let mut answers = Answers::new();
        let mut waited_for: Vec<usize> =
            (0..self.endpoints.len()).filter(|index| self.endpoints[*index].is_up()).collect();
        let mut closes_at = None;
        loop {
            let next = match closes_at {
                None => pending.next().await,
                Some(_) if waited_for.is_empty() => None,
                Some(at) => tokio::time::timeout_at(at, pending.next()).await.ok().flatten(),
            };
            let Some((index, answer)) = next else { return answers };
            waited_for.retain(|waited| *waited != index);
            match answer {
                Ok(answer) => {
                    self.endpoints[index].answered();
                    answers.add(answer, index);
                }
                Err(error) => self.note(index, &error, &mut answers.complaints),
            }
            if closes_at.is_none() && answers.agreeing() >= self.quorum {
                closes_at = Some(tokio::time::Instant::now() + GRACE);
            }
        }
    }

    /// Asks one endpoint after the other, the one that answered last before all others. A contract's refusal is an
    /// answer; any other error, stated or not, makes the next one be asked, for an endpoint may be out of quota, out of
    /// date or pruned.
    pub(super) async fn ask<T, F, Fut>(&self, call: F) -> Result<T, ChainError>
    where
        F: Fn(DynProvider) -> Fut,
        Fut: Future<Output = Result<T, TransportError>>,
    {
        let first = self.preferred.load(Ordering::Relaxed);
        let mut complaints = Complaints::default();
        for offset in 0..self.endpoints.len() {
            let index = (first + offset) % self.endpoints.len();
            match call(self.endpoints[index].provider.clone()).await {
                Ok(answer) => {
                    self.preferred.store(index, Ordering::Relaxed);
                    self.endpoints[index].answered();
                    return Ok(answer);
                }
                Err(error) => {
                    if let Some(payload) = error.as_error_resp()
                        && payload.as_revert_data().is_some()
                    {
                        return Err(ChainError::Answered(payload.to_string()));
                    }
                    self.note(index, &error, &mut complaints);
                }
            }
        }
        Err(complaints.into_error())
    }

    fn note(&self, index: usize, error: &TransportError, complaints: &mut Complaints) {
        let endpoint = &self.endpoints[index];
        let complaint = endpoint.complaint(error);
        match error.as_error_resp() {
            Some(payload) => {
                complaints.stated.get_or_insert(ChainError::Answered(payload.to_string()));
            }
            None if matches!(error, TransportError::LocalUsageError(_)) => {
                complaints.stated.get_or_insert(ChainError::Nonsense(complaint.clone()));
            }
            None => complaints.silent = Some(ChainError::Unreachable(complaint.clone())),
        }
        endpoint.failed(complaint);
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    fn answers(said: &[u64]) -> Answers<u64> {
        let mut answers = Answers::new();
        said.iter().enumerate().for_each(|(endpoint, answer)| answers.add(*answer, endpoint));
        answers
    }

    #[test]
    fn a_liar_is_outvoted_and_named() {
        assert_eq!(answers(&[7, 9, 7]).verdict("a number", 2).unwrap(), (7, vec![1]));
        assert_eq!(answers(&[9, 7, 7]).verdict("a number", 2).unwrap(), (7, vec![0]));
    }

    #[test]
    fn nobody_is_believed_against_the_quorum() {
        for said in [&[7, 9][..], &[7], &[7, 8, 9]] {
            let error = answers(said).verdict("a number", 2).unwrap_err();
            let answered = said.len();
            assert!(matches!(error, ChainError::NoQuorum { agreeing: 1, needed: 2, answered: n, .. } if n == answered));
        }
        assert!(matches!(answers(&[]).verdict("a number", 2), Err(ChainError::Unreachable(_))));
    }
}
