//! The node against a real chain (anvil), real HTTP and real SQLite files: one world per test, named actors, no
//! sleeping for a state. The suites of several processes are in `tests/`.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on should say so at once")]

mod crash;
mod customer;
mod flow;
mod hostile;
mod lanes;
mod peer;
mod peers_that_lie;
mod relaying;
mod settler;
mod streams;
mod upstream;
mod view;
mod world;
