//! Benches: this project's programs against what people would otherwise use, in one run on one machine, under one load
//! generator.
//!
//! | file | one job |
//! |---|---|
//! | [`statistics`] | quantiles of one run, spreads over several |
//! | [`wire`] | as much of HTTP and event streams as the generator needs |
//! | [`side`] | what is measured, as the generator sees it |
//! | [`load`] | publishers and listeners, the same for every side |
//! | [`stage`] | our side: a chain, a registered agent, entrusted wallets |
//! | [`node`] | a node of ours as a side |
//! | [`nginx`] | nginx, nchan and Redis as sides |
//! | [`upstream`] | an agent that does nothing, for relays to forward to |
//! | [`rounds`] | sides in turn, outcomes into rows |
//! | [`report`] | the table and the file |
//! | [`streams`], [`durable`], [`forwarding`], [`idle`], [`growth`] | one comparison each |
//! | [`settler`] | the settler's benches |
//! | [`machine`] | time and memory of processes, and of what machine |

pub mod durable;
pub mod forwarding;
pub mod growth;
pub mod idle;
pub mod load;
pub mod machine;
pub mod nginx;
pub mod node;
pub mod report;
pub mod rounds;
pub mod settler;
pub mod side;
pub mod stage;
pub mod statistics;
pub mod streams;
pub mod upstream;
pub mod wire;
