//! The node as relay: what it holds against agents and how it is paid.
//!
//! - `account` — exposure, and what a voucher confirms (pure)
//! - `peers` — sessions with agents, commands to them
//! - `collector` — asks for vouchers every so many bytes or seconds

pub(crate) mod account;
pub(crate) mod collector;
pub(crate) mod peers;
