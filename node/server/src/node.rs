//! What every part of the running node shares.

use std::{sync::Arc, time::Instant};

use alloy::{primitives::Address, sol_types::Eip712Domain};
use minus_bindings::Deployment;
use tokio::sync::{Notify, Semaphore};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use crate::{
    chain::{NodeRecord, view::View},
    config::Config,
    egress::Egress,
    health::Health,
    http::{answer::Refused, places::Places, reason::Reason, subscribe::Subscriptions},
    keys::NodeKey,
    metrics::Metrics,
    relay::{claims::Claims, peers::Peers, sessions::Sessions},
    store::Store,
};

/// Requests in work at a time; each may hold a packet of a mebibyte. The rest are told 429.
pub(crate) const REQUESTS_MAX: usize = 512;
/// Streams open at a time, own and relayed.
pub(crate) const STREAMS_MAX: usize = 8_192;

/// The node.
#[derive(Debug)]
pub(crate) struct Node {
    pub(crate) config: Config,
    pub(crate) key: NodeKey,
    pub(crate) routing_domain: Eip712Domain,
    pub(crate) escrow_domain: Eip712Domain,
    pub(crate) store: Store,
    pub(crate) view: Arc<View>,
    pub(crate) metrics: Arc<Metrics>,
    pub(crate) egress: Egress,
    pub(crate) health: Health,
    /// Of the public surface.
    pub(crate) places: Arc<Places>,
    pub(crate) peers: Peers,
    /// As agent: who brings what a relay brings, and what relays say they took.
    pub(crate) sessions: Sessions,
    pub(crate) claims: Claims,
    pub(crate) subscriptions: Arc<Subscriptions>,
    pub(crate) requests: Arc<Semaphore>,
    pub(crate) streams: Arc<Semaphore>,
    /// Rung when a voucher or a charge was put into the outbox.
    pub(crate) outbox_bell: Notify,
    /// Ended streams' last counts, and whatever else must finish before the store closes.
    pub(crate) tasks: TaskTracker,
    pub(crate) stop: CancellationToken,
    pub(crate) started: Instant,
}

/// What a node is made of before it runs.
pub(crate) struct Parts {
    pub(crate) config: Config,
    pub(crate) deployment: Deployment,
    pub(crate) key: NodeKey,
    pub(crate) store: Store,
    pub(crate) subscriptions: Arc<Subscriptions>,
    pub(crate) view: Arc<View>,
    pub(crate) metrics: Arc<Metrics>,
    pub(crate) egress: Egress,
    pub(crate) peers: Peers,
    pub(crate) stop: CancellationToken,
}

impl Node {
    pub(crate) fn new(parts: Parts) -> Self {
        let Parts { config, deployment, key, store, subscriptions, view, metrics, egress, peers, stop } = parts;
        let connections_max = config.connections_max;
        let places = Places::new(connections_max, config.connections_per_address_max, Arc::clone(&metrics));
        let places = Arc::new(places);
        Self {
            routing_domain: deployment.routing_domain(),
            escrow_domain: deployment.escrow_domain(),
            config,
            key,
            store,
            view,
            metrics,
            egress,
            health: Health::default(),
            places,
            peers,
            sessions: Sessions::default(),
            claims: Claims::default(),
            subscriptions,
            requests: Arc::new(Semaphore::new(REQUESTS_MAX)),
            streams: Arc::new(Semaphore::new(STREAMS_MAX)),
            outbox_bell: Notify::new(),
            tasks: TaskTracker::new(),
            stop,
            started: Instant::now(),
        }
    }

    pub(crate) fn address(&self) -> Address {
        self.key.address()
    }

    /// This node's own record, if the view may be acted on. A retired node still settles what it carried.
    pub(crate) async fn record(&self) -> Result<Arc<NodeRecord>, Refused> {
        if !self.view.is_fresh() {
            return Err(Reason::StaleView.into());
        }
        self.view.node(self.address()).ok_or(Reason::Unregistered.into())
    }

    /// The same, if the node may take on something new.
    pub(crate) async fn in_office(&self) -> Result<Arc<NodeRecord>, Refused> {
        let own = self.record().await?;
        if own.is_live() { Ok(own) } else { Err(Reason::Retired.into()) }
    }
}
