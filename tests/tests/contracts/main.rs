//! Every operation of the contracts in the revm harness, by the laws of the design; and that Rust and Solidity mean
//! the same by a digest, a row, an error and a committed file.
//!
//! In the order of the money: [`token`], [`deposits`], [`claims`] and [`settle`], [`contract_wallets`], [`mandates`] and
//! [`charges`], [`notice`], [`delegates`], and what is [`carried`] for any of them; then [`nodes`], [`tariffs`] and
//! [`routes`]; then what holds the languages together: [`digests`], [`vectors`], [`generated_files`] and
//! [`verification`]; then [`lives`], where each contract and a model of it go through the same random steps; last
//! [`gas`]. [`calls`] and [`random`] are what they share.

#![expect(clippy::unwrap_used, reason = "tests")]

mod calls;
mod carried;
mod charges;
mod claims;
mod contract_wallets;
mod delegates;
mod deposits;
mod digests;
mod gas;
mod generated_files;
mod lives;
mod mandates;
mod nodes;
mod notice;
mod random;
mod routes;
mod settle;
mod tariffs;
mod token;
mod vectors;
mod verification;
