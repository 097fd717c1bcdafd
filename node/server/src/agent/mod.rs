//! What an agent decides, as functions of values. I/O is elsewhere: `store` calls these inside its transactions.
//!
//! - `lane` — what a payer's lane can still pay, and whether one more packet fits
//! - `statement` — assembles the bill of a wallet
//! - `front` — what the agent pays relays in advance, and how far
//! - `mandate` — what is charged while a payer is away
//! - `acknowledge` — judges a voucher against the statement it answers

pub(crate) mod acknowledge;
pub(crate) mod front;
pub(crate) mod lane;
pub(crate) mod mandate;
pub(crate) mod statement;
