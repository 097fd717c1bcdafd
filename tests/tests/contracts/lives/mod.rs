//! Random lives of the contracts: contract and model take the same steps, and after each one everything that can be
//! asked is compared.
//!
//! - The escrow: [`escrow_model`], the lanes as a person would keep them in a notebook, with the pages
//!   [`mandate_model`] and [`carried_model`]; [`escrow_steps`], what can happen; [`escrow`], both side by side, taking
//!   [`escrow_moves`], [`escrow_batches`] and [`escrow_errands`].
//! - The routing table: [`routing_model`] and [`routing`]. The settlement token: [`token`].
//! - [`outcome`]: when two outcomes are one.
//!
//! A model shares no line with the contract or with `minus-bindings`, so that an error in one is not an error in both.

mod carried_model;
mod escrow;
mod escrow_batches;
mod escrow_errands;
mod escrow_model;
mod escrow_moves;
mod escrow_steps;
mod mandate_model;
mod outcome;
mod routing;
mod routing_model;
mod token;
