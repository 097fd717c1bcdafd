//! The node as relay: what it holds against agents and how it is paid. And as agent: who its relays are.
//!
//! - `account` — what counts as carried, exposure, and what a voucher confirms (pure)
//! - `ledger` — the account in memory, with what is in flight; `flusher` — writes it down
//! - `line` — packets that are ready for one agent at the same moment, until they go out together
//! - `seen` — which duplicates a relay can explain
//! - `peers` — sessions with agents, commands to them
//! - `collector` — asks for vouchers every so many bytes or seconds
//! - `sessions` — as agent: the open sessions of relays; `claims` — what relays say they took away

pub(crate) mod account;
pub(crate) mod claims;
pub(crate) mod collector;
pub(crate) mod flusher;
pub(crate) mod ledger;
pub(crate) mod line;
pub(crate) mod peers;
pub(crate) mod seen;
pub(crate) mod sessions;
