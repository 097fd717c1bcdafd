//! What the node believes of the chain.
//!
//! - `record` — a node of the routing table, and the tariff in force at a time
//! - `events` — which records a batch of logs touches (pure)
//! - `reader` — JSON-RPC with several endpoints
//! - `view` — the persisted view with on-demand refresh: what everything else asks
//! - `follower` — keeps the view up to date

pub(crate) mod events;
pub(crate) mod follower;
pub(crate) mod reader;
mod record;
pub(crate) mod view;

pub(crate) use record::NodeRecord;
