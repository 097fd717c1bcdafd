//! What the node believes of the chain.
//!
//! - `record` — a node of the routing table, and the tariff in force at a time
//! - `events` — what a range of logs says (pure)
//! - `check` — whether an endpoint's headers and logs fit together (pure)
//! - `window` — the newest blocks and what each touched, for reorganisations (pure)
//! - `tables` — the view in memory (pure)
//! - `rpc` — one JSON-RPC endpoint; `reader` — records from several of them
//! - `limiter` — bounds the reads that others bring about
//! - `rounds` — lets many wait for one look at the chain
//! - `view` — what everything else asks
//! - `follower` — keeps the view up to date

mod check;
pub(crate) mod events;
pub(crate) mod follower;
mod limiter;
pub(crate) mod reader;
pub(crate) mod record;
mod rounds;
mod rpc;
pub(crate) mod tables;
pub(crate) mod view;
pub(crate) mod window;

pub(crate) use record::NodeRecord;
