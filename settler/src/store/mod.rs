//! The durable intent log: a voucher, a signed transaction and its end are stored here before anybody is told of
//! them (law 8). SQLite or PostgreSQL, one set of SQL; the meaning of each row stands in `migrations/`.
//!
//! - `database`: the two databases, their settings, and the one connection that writes
//! - [`open`]: opening the log and bringing its tables up to date
//! - [`state`]: the words of the state machine
//! - [`codec`]: how amounts, addresses and bytes look in a column
//! - [`intake`]: recording vouchers; `recorder`: many at once, in one commit; `rows`: statements over many rows
//! - [`board`]: what may be planned, in memory
//! - [`charges`]: what is asked for out of standing mandates
//! - [`debts`]: what our operators owe relays; [`netted`]: what of it transactions carry
//! - [`lanes`]: what the planner reads, and the chain's view of each lane; `holds`: why what waits does so
//! - `plans`: storing signed transactions before they are sent; [`transactions`]: how far each has come
//! - [`endings`]: what the end of a transaction does to its vouchers
//! - [`earnings`]: what was earned and what it cost, by day
//! - [`prune`]: forgetting what is long over
//! - [`requests`]: the operator's "claim now"
//! - [`report`]: what `status` and the metrics show; [`report_lanes`], [`report_claims`]: what the page lists

pub mod board;
pub mod charges;
pub mod codec;
mod database;
pub mod debts;
pub mod earnings;
pub mod endings;
mod holds;
pub mod intake;
pub mod lanes;
pub mod netted;
pub mod open;
mod plans;
pub mod prune;
mod recorder;
pub mod report;
pub mod report_claims;
pub mod report_lanes;
pub mod requests;
mod rows;
pub mod state;
pub mod transactions;

pub use board::Board;
pub use charges::{CheckedCharge, OpenCharge};
pub use debts::Debt;
pub use earnings::Earnings;
pub use intake::{CheckedVoucher, Recording};
pub use lanes::{LaneView, OpenVoucher};
pub use netted::Netted;
pub use open::{Store, StoreError};
pub use prune::Sweep;
pub use report_claims::{ClaimFilter, Earning};
pub use report_lanes::Best;
pub use state::{Hold, Reason, TransactionState, VoucherState};
pub use transactions::{Attempt, ClaimedRow, Instrument, LiveTransaction, NewTransaction, PlannedRow};
