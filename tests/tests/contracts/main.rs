//! Every operation of the contracts in the revm harness, by the laws of the design; and that Rust and Solidity mean
//! the same by a digest, a row, an error and a committed file.
//!
//! In the order of the money: [`token`], [`deposits`], [`claims`], [`notice`], [`delegates`]; then [`nodes`],
//! [`tariffs`] and [`routes`]; then what holds the two languages together: [`digests`] and [`generated_files`];
//! then [`sequences`], where an escrow and a [`model`] of it go through the same random lives; last [`gas`].
//! [`calls`] and [`random`] are what they share.

#![expect(clippy::unwrap_used, reason = "tests")]

mod calls;
mod claims;
mod delegates;
mod deposits;
mod digests;
mod gas;
mod generated_files;
mod model;
mod nodes;
mod notice;
mod random;
mod routes;
mod sequences;
mod tariffs;
mod token;
