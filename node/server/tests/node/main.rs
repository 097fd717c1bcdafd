//! The node against a real chain (anvil), real HTTP and real SQLite files: one world per test, named actors, no
//! sleeping for a state. The suites of several processes are in `tests/`.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on should say so at once")]

mod bundles;
mod crash;
mod customer;
mod drain;
mod endpoints;
mod flow;
mod hostile;
mod intrusion;
mod lanes;
mod logs;
mod mandates;
mod metrics;
mod peer;
mod peers_that_lie;
mod program;
mod proxy;
mod ready;
mod relaying;
mod settler;
mod stalls;
mod streams;
mod upstream;
mod view;
mod view_model;
mod world;
