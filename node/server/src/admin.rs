//! The operator's port: health with reasons, metrics, and the books.

use std::{sync::Arc, time::Duration};

use alloy::primitives::Address;
use axum::{
    Json, Router,
    extract::State,
    http::StatusCode,
    response::{IntoResponse, Response},
    routing::get,
};
use hyper_util::service::TowerToHyperService;
use minus_bindings::Amount;
use minus_protocol::MeterLine;
use serde::Serialize;
use tokio::{net::TcpListener, runtime::Handle};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use crate::{
    clock, health,
    http::{
        forward,
        places::Places,
        serve::{self, Door},
    },
    inspect,
    metrics::Limit,
    node::{Node, REQUESTS_MAX, STREAMS_MAX},
    process::Process,
    relay::{account, peers::FORWARDS_MAX},
    store::{
        QUEUE_LENGTH_MAX, StoreError, customers,
        lines::{self, Book},
        peers,
    },
};

/// How long the last answers may take.
const LAST_ANSWERS: Duration = Duration::from_secs(1);
/// Connections to this port: a scraper, a probe, an operator, and room for what they left behind.
const CONNECTIONS_MAX: usize = 64;

/// Answers until `stop`, which comes after everything else has ended.
pub(crate) async fn serve(
    node: Arc<Node>,
    listener: TcpListener,
    cores: impl Iterator<Item = Handle>,
    stop: CancellationToken,
) {
    let metrics = Arc::clone(&node.metrics);
    let connections = TaskTracker::new();
    let places = Arc::new(Places::new(CONNECTIONS_MAX, CONNECTIONS_MAX, Arc::clone(&metrics)));
    let stall_timeout = node.config.stall_timeout;
    let router = router(node);
    let door = Door { listener, cores, places, stall_timeout, metrics, stop, connections: connections.clone() };
    serve::serve(door, |_| TowerToHyperService::new(router.clone())).await;
    connections.close();
    let _ = tokio::time::timeout(LAST_ANSWERS, connections.wait()).await;
}

fn router(node: Arc<Node>) -> Router {
    Router::new()
        .route("/health/live", get(live))
        .route("/health/ready", get(ready))
        .route("/metrics", get(metrics))
        .route("/meters", get(meters))
        .merge(inspect::router())
        .with_state(node)
}

impl IntoResponse for StoreError {
    fn into_response(self) -> Response {
        (StatusCode::INTERNAL_SERVER_ERROR, self.to_string()).into_response()
    }
}

/// 503 when a restart would help.
async fn live(State(node): State<Arc<Node>>) -> Response {
    let live = health::is_live(&node);
    let status = if live { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    (status, Json(serde_json::json!({ "live": live }))).into_response()
}

async fn ready(State(node): State<Arc<Node>>) -> Response {
    let report = health::look(&node).await;
    let status = if report.ready { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    (status, Json(report)).into_response()
}

#[expect(
    clippy::as_conversions,
    clippy::cast_precision_loss,
    reason = "gauges are floats; nothing is computed from them"
)]
pub(crate) fn gauge(value: u128) -> f64 {
    value as f64
}

fn count(value: usize) -> f64 {
    gauge(u128::try_from(value).unwrap_or(u128::MAX))
}

async fn metrics(State(node): State<Arc<Node>>) -> Result<String, StoreError> {
    let readers = node.store.readers();
    let metrics = &node.metrics;
    // Few: of nodes that are registered only, and each has a bounded number.
    metrics.peer_sessions.set(gauge(peers::sessions(readers).await?.into()));
    let clock = clock::standing();
    let ahead_s = gauge(u128::from(clock.ahead_ms.unsigned_abs()) / 1_000);
    metrics.clock_ahead.set(if clock.ahead_ms < 0 { -ahead_s } else { ahead_s });
    metrics.clock_jumps.set(gauge(clock.jumps.into()));
    metrics.view_fresh.set(gauge(node.view.is_fresh().into()));
    metrics.view_block.set(gauge(node.view.freshness().block.into()));
    metrics.customer_credit.set(gauge(node.config.customer_credit.base_units()));
    metrics.relay_credit.set(gauge(node.config.relay_credit.base_units()));
    observe_limits(&node);
    observe_process(&node);
    metrics.relay_write_off.set(gauge(node.config.relay_write_off_bytes.into()));
    for agent in node.peers.all() {
        let standing = agent.ledger.standing();
        let peer = standing.earned.agent.to_string();
        if let Some(record) = node.view.node(standing.earned.agent) {
            let terms = forward::terms(&node, &record);
            let exposure = account::worth(agent.ledger.exposed_bytes(&terms), &terms).base_units();
            metrics.relay_exposure(peer.clone(), gauge(exposure));
        }
        metrics.relay_in_vain(peer.clone(), gauge(standing.duplicates));
        metrics.relay_disputes(peer.clone(), gauge(standing.disputes.into()));
        metrics.relay_written_off(peer, gauge(standing.earned.outbound_written_off));
    }
    Ok(metrics.render())
}

fn observe_limits(node: &Node) {
    let own = [
        (Limit::Requests, REQUESTS_MAX - node.requests.available_permits(), REQUESTS_MAX),
        (Limit::Forwards, FORWARDS_MAX - node.peers.forwards.available_permits(), FORWARDS_MAX),
        (Limit::Streams, STREAMS_MAX - node.streams.available_permits(), STREAMS_MAX),
        (Limit::WriterQueue, node.store.writer().queued(), QUEUE_LENGTH_MAX),
    ];
    for (limit, used, most) in node.places.used().into_iter().chain(own) {
        node.metrics.limit_used.of(limit).set(count(used));
        node.metrics.limit_max.of(limit).set(count(most));
    }
}

fn observe_process(node: &Node) {
    let metrics = &node.metrics;
    let process = Process::read();
    for (instrument, value) in [
        (&metrics.resident_memory, process.resident_bytes),
        (&metrics.open_files, process.open_files),
        (&metrics.open_files_max, process.open_files_max),
        (&metrics.started_at, process.started_at_s),
    ] {
        instrument.set(gauge(value.unwrap_or_default().into()));
    }
    metrics.cpu_seconds.absolute(process.cpu_s.unwrap_or_default());
    metrics.uptime.set(node.started.elapsed().as_secs_f64());
    metrics.build_info(env!("CARGO_PKG_VERSION").to_owned(), 1.0);
}

#[derive(Serialize)]
struct Meters {
    node: Address,
    operator: Option<Address>,
    customers: Vec<Customer>,
    owed: Vec<Owed>,
    earned: Vec<Earned>,
}

#[derive(Serialize)]
struct Customer {
    payer: Address,
    operator: Option<Address>,
    base: Amount,
    lines: Vec<MeterLine>,
    total: Amount,
    vouchered: Amount,
    reserved: Amount,
    /// Rounded up.
    fronted: Amount,
}

#[derive(Serialize)]
struct Owed {
    relay_operator: Address,
    base: Amount,
    lines: Vec<MeterLine>,
    total: Amount,
    vouchered: Amount,
}

#[derive(Serialize)]
struct Earned {
    agent: Address,
    agent_operator: Address,
    inbound_bytes: u128,
    /// Without what was written off.
    outbound_bytes: u128,
    inbound_confirmed: u128,
    outbound_confirmed: u128,
    outbound_written_off: u128,
    vouchered: Amount,
}

async fn meters(State(node): State<Arc<Node>>) -> Result<Json<Meters>, StoreError> {
    let operator = node.view.node(node.address()).map(|own| own.operator);
    // A store that cannot be written may lack what it let in last.
    let _ = node.store.catch_up().await;
    // One transaction, so that the books are of one moment.
    let mut reading = node.store.readers().begin().await?;
    let mut customers = Vec::new();
    let mut charged = lines::all(&mut reading, Book::Customer).await?;
    for account in customers::accounts(&mut *reading).await? {
        let lines = charged.remove(&account.payer).unwrap_or_default();
        let total = crate::agent::statement::total(account.base, &lines)?;
        let customers::Account { payer, base, vouchered, reserved, fronted, .. } = account;
        let fronted = Amount::from_base_units(fronted.base_units()).unwrap_or(Amount::MAX);
        customers.push(Customer { payer, operator, base, lines, total, vouchered, reserved, fronted });
    }
    let mut owed = Vec::new();
    for relay_operator in peers::owed_operators(&mut *reading).await? {
        if let Some(account) = peers::owed(&mut reading, relay_operator).await? {
            let peers::Owed { relay_operator, base, lines, total, vouchered } = account;
            owed.push(Owed { relay_operator, base, lines, total, vouchered });
        }
    }
    let earned = peers::all_earned(&mut *reading).await?.into_iter().map(|earned| {
        let peers::Earned {
            agent,
            agent_operator,
            inbound_bytes,
            outbound_bytes,
            inbound_confirmed,
            outbound_confirmed,
            outbound_written_off,
            vouchered,
        } = earned;
        Earned {
            agent,
            agent_operator,
            inbound_bytes,
            outbound_bytes: outbound_bytes.saturating_sub(outbound_written_off),
            inbound_confirmed,
            outbound_confirmed,
            outbound_written_off,
            vouchered,
        }
    });
    Ok(Json(Meters { node: node.address(), operator, customers, owed, earned: earned.collect() }))
}
