//! For the operator: what this node believes of an address or a lane, to be held against the chain.

use std::sync::Arc;

use alloy::primitives::Address;
use axum::{
    Json, Router,
    extract::{Path, State},
    http::StatusCode,
    routing::get,
};
use minus_bindings::Amount;
use minus_protocol::Tariff;
use serde::Serialize;

use crate::{chain::view::ViewError, node::Node};

pub(crate) fn router() -> Router<Arc<Node>> {
    Router::new().route("/view/{address}", get(address)).route("/view/{payer}/{payee}", get(lane))
}

#[derive(Serialize)]
struct Known {
    /// Of the wallet at this address.
    agent: Option<Address>,
    /// The node at this address.
    node: Option<KnownNode>,
}

#[derive(Serialize)]
struct KnownNode {
    operator: Address,
    retired_at: u64,
    endpoint: String,
    tariff_version: u32,
    /// Past ones, the one in force and the one that is announced.
    tariffs: Vec<KnownTariff>,
}

#[derive(Serialize)]
struct KnownTariff {
    version: u32,
    tariff: Tariff,
    from: u64,
}

async fn address(State(node): State<Arc<Node>>, Path(address): Path<Address>) -> Json<Known> {
    let known = node.view.node(address).map(|record| KnownNode {
        operator: record.operator,
        retired_at: record.retired_at,
        endpoint: record.endpoint.clone(),
        tariff_version: record.tariff_version,
        tariffs: (1..=record.tariff_version.saturating_add(1))
            .filter_map(|version| node.view.tariff_version(address, version))
            .map(|announced| KnownTariff { version: announced.version, tariff: announced.tariff, from: announced.from })
            .collect(),
    });
    Json(Known { agent: node.view.agent_of(address), node: known })
}

#[derive(Serialize)]
struct KnownLane {
    deposit: Amount,
    paid: Amount,
    thawing: Amount,
    /// What the mandate of the payer bears from now on: its terms as they were last changed.
    daily_cap: Amount,
    accrual_cap: Amount,
    valid_until: u64,
    /// Whether the payer authorises the other as its signer.
    may_sign: bool,
}

async fn lane(
    State(node): State<Arc<Node>>,
    Path((payer, payee)): Path<(Address, Address)>,
) -> Result<Json<KnownLane>, (StatusCode, String)> {
    let unknown = |error: ViewError| (StatusCode::SERVICE_UNAVAILABLE, error.to_string());
    let lane = node.view.lane(payer, payee).await.map_err(unknown)?;
    let mandate = node.view.mandate(payer, payee).await.map_err(unknown)?;
    Ok(Json(KnownLane {
        deposit: lane.deposit,
        paid: lane.paid,
        thawing: lane.thawing,
        daily_cap: mandate.dailyCap.into(),
        accrual_cap: mandate.accrualCap.into(),
        valid_until: mandate.validUntil,
        may_sign: node.view.may_sign(payer, payee).await.map_err(unknown)?,
    }))
}
