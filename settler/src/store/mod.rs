//! The durable intent log: a voucher, a signed transaction and its end are stored here before anybody is told of
//! them (law 8). SQLite in WAL mode with full synchronisation; the meaning of each row stands in `migrations/`.
//!
//! - [`open`]: opening the database and bringing its tables up to date
//! - [`state`]: the words of the state machine
//! - [`codec`]: how amounts, addresses and bytes look in a column
//! - [`intake`]: recording vouchers
//! - [`charges`]: what is asked for out of standing mandates
//! - [`lanes`]: what the planner reads, and the chain's view of each lane
//! - [`transactions`]: storing signed transactions and what became of them
//! - [`endings`]: what the end of a transaction does to its vouchers
//! - [`requests`]: the operator's "claim now"
//! - [`report`]: what `status` and the metrics show; [`report_lanes`], [`report_claims`]: what the page lists

pub mod charges;
pub mod codec;
pub mod endings;
pub mod intake;
pub mod lanes;
pub mod open;
pub mod report;
pub mod report_claims;
pub mod report_lanes;
pub mod requests;
pub mod state;
pub mod transactions;

pub use charges::{CheckedCharge, OpenCharge};
pub use intake::{CheckedVoucher, Recording};
pub use lanes::{LaneView, OpenVoucher};
pub use open::{Store, StoreError};
pub use report_claims::{ClaimFilter, Earning};
pub use report_lanes::{Attention, LaneFilter, LaneSort};
pub use state::{Hold, Reason, TransactionState, VoucherState};
pub use transactions::{Attempt, Instrument, LiveTransaction, NewTransaction, PlannedRow};
