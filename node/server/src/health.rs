//! What keeps the node from working, in words a machine can act on. Looked at every few seconds, so that each says since
//! when, and whenever somebody asks.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use alloy::primitives::Address;
use serde::Serialize;

use crate::{chain::view::Freshness, clock, node::Node};

/// How often the node looks at itself: the precision of `since`.
const LOOK_EVERY: Duration = Duration::from_secs(2);

/// Something that is wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Ailment {
    /// The node was told to stop; it takes nothing new.
    Draining,
    /// The chain was never read to its head.
    ChainNeverSeen,
    /// The chain was not read to its head for too long, or was reorganised and is being read again.
    ChainStale,
    /// The same, and the endpoint asked last is of another chain: not a matter of waiting.
    WrongChain,
    /// The routing table does not hold this node.
    NotRegistered,
    /// The routing table holds a tombstone for this node.
    Retired,
    /// The store cannot be read.
    StoreUnreadable,
    /// Nothing can be stored for the time being: the disk is full, or the database away.
    StoreNotWritable,
    /// The store takes no more writes; only a restart helps.
    StoreStopped,
    /// The system's clock jumped by more than commands may be off, and is not made good yet.
    ClockOff,
    /// The operator has not authorised this node's key.
    KeyNotAuthorised,
    /// Vouchers wait for the settler.
    SettlerUnreachable,
}

impl Ailment {
    pub(crate) const ALL: [Self; 12] = [
        Self::Draining,
        Self::ChainNeverSeen,
        Self::ChainStale,
        Self::WrongChain,
        Self::NotRegistered,
        Self::Retired,
        Self::StoreUnreadable,
        Self::StoreNotWritable,
        Self::StoreStopped,
        Self::ClockOff,
        Self::KeyNotAuthorised,
        Self::SettlerUnreachable,
    ];

    /// What a view that may not be acted on suffers from.
    const fn of_view(freshness: &Freshness) -> Self {
        match freshness {
            Freshness { wrong_chain: true, .. } => Self::WrongChain,
            Freshness { seen: false, .. } => Self::ChainNeverSeen,
            Freshness { .. } => Self::ChainStale,
        }
    }

    /// Whether requests should go elsewhere while it lasts.
    const fn is_blocking(self) -> bool {
        !matches!(self, Self::KeyNotAuthorised | Self::SettlerUnreachable)
    }
}

/// One ailment as `/health/ready` lists it.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Reason {
    reason: Ailment,
    /// Seconds since 1970, to the precision of the looks.
    since: u64,
    detail: String,
    /// Whether it makes the node unready, or only worse.
    blocking: bool,
}

/// The state that an answer of `/health/ready` shows.
#[derive(Debug, Serialize)]
pub(crate) struct Report {
    pub(crate) ready: bool,
    pub(crate) reasons: Vec<Reason>,
    pub(crate) node: Address,
    pub(crate) operator: Option<Address>,
    pub(crate) block: u64,
}

/// What is remembered between two looks.
#[derive(Debug, Default)]
pub(crate) struct Health {
    since: Mutex<BTreeMap<Ailment, u64>>,
    /// Why the last hand-over failed, until one succeeds.
    settler: Mutex<Option<String>>,
}

impl Health {
    /// The settler took what it was given, or why it did not.
    pub(crate) fn settler(&self, problem: Option<String>) {
        *self.settler.lock().unwrap_or_else(PoisonError::into_inner) = problem;
    }

    /// Since when each has been there; what is gone is forgotten.
    fn remember(&self, present: Vec<(Ailment, String)>, now_s: u64) -> Vec<Reason> {
        let mut since = self.since.lock().unwrap_or_else(PoisonError::into_inner);
        since.retain(|ailment, _| present.iter().any(|(other, _)| other == ailment));
        let reason = |(reason, detail): (Ailment, String)| Reason {
            reason,
            since: *since.entry(reason).or_insert(now_s),
            detail,
            blocking: reason.is_blocking(),
        };
        present.into_iter().map(reason).collect()
    }
}

/// Looks now and then until the node has ended.
pub(crate) async fn watch(node: Arc<Node>) {
    loop {
        look(&node).await;
        tokio::time::sleep(LOOK_EVERY).await;
    }
}

/// Looks at the node now.
pub(crate) async fn look(node: &Node) -> Report {
    let mut present = Vec::new();
    let mut note = |ailment, detail: &str| present.push((ailment, detail.to_owned()));
    if node.stop.is_cancelled() {
        note(Ailment::Draining, "the node is going down");
    }
    let freshness = node.view.freshness();
    if !node.view.is_fresh() {
        note(Ailment::of_view(&freshness), freshness.problem.as_deref().unwrap_or("still catching up"));
    }
    let own = node.view.node(node.address());
    match &own {
        None => note(Ailment::NotRegistered, "this node is not in the routing table"),
        Some(own) if !own.is_live() => note(Ailment::Retired, "this node is retired"),
        Some(own) => {
            if !node.view.may_sign(own.operator, node.address()).await.unwrap_or(true) {
                note(
                    Ailment::KeyNotAuthorised,
                    "the operator has not authorised this node's key: relays cannot be paid",
                );
            }
        }
    }
    if node.store.read_something().await.is_err() {
        note(Ailment::StoreUnreadable, "the store cannot be read");
    }
    if node.store.writer().has_stopped() {
        note(Ailment::StoreStopped, "the store takes no more writes; only a restart helps");
    } else if let Some(problem) = node.store.problem() {
        note(Ailment::StoreNotWritable, &problem);
    }
    let ahead_ms = clock::standing().ahead_ms;
    if ahead_ms.unsigned_abs() > clock::OFF_MAX_MS {
        note(Ailment::ClockOff, &format!("the system's clock is {ahead_ms} ms ahead of the node's time"));
    }
    if let Some(problem) = node.health.settler.lock().unwrap_or_else(PoisonError::into_inner).as_deref() {
        note(Ailment::SettlerUnreachable, problem);
    }
    for ailment in Ailment::ALL {
        let is_present = present.iter().any(|(other, _)| *other == ailment);
        node.metrics.unwell.of(ailment).set(if is_present { 1.0 } else { 0.0 });
    }
    let reasons = node.health.remember(present, clock::now_s());
    let ready = !reasons.iter().any(|reason| reason.blocking);
    node.metrics.ready.set(if ready { 1.0 } else { 0.0 });
    Report { ready, reasons, node: node.address(), operator: own.map(|own| own.operator), block: freshness.block }
}

/// Whether a restart would help: nothing can be written, and nobody asked the node to stop.
pub(crate) fn is_live(node: &Node) -> bool {
    node.stop.is_cancelled() || !node.store.writer().has_stopped()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reorganised_chain_was_seen_and_a_wrong_one_is_called_so() {
        let never = Freshness::default();
        assert_eq!(Ailment::of_view(&never), Ailment::ChainNeverSeen);
        let reorganised = Freshness { seen: true, ..never.clone() };
        assert_eq!(Ailment::of_view(&reorganised), Ailment::ChainStale);
        assert_eq!(Ailment::of_view(&Freshness { wrong_chain: true, ..never }), Ailment::WrongChain);
        assert_eq!(Ailment::of_view(&Freshness { wrong_chain: true, ..reorganised }), Ailment::WrongChain);
    }

    #[test]
    fn a_reason_keeps_its_beginning_and_is_forgotten_with_its_end() {
        let health = Health::default();
        let stale = || (Ailment::ChainStale, "no answer".to_owned());
        let settler = || (Ailment::SettlerUnreachable, "refused".to_owned());
        assert_eq!(health.remember(vec![stale()], 10)[0].since, 10);
        let both = health.remember(vec![stale(), settler()], 20);
        assert_eq!((both[0].since, both[1].since), (10, 20));
        assert!(both[0].blocking && !both[1].blocking);
        assert!(health.remember(Vec::new(), 30).is_empty());
        assert_eq!(health.remember(vec![stale()], 40)[0].since, 40);
    }
}
