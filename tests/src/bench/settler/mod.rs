//! The settler's benches: what it checks, stores, plans and claims, against what others check and against the chain's own
//! limit.
//!
//! | file | one job |
//! |---|---|
//! | [`options`] | the command line, the report |
//! | [`checking`] | vouchers checked on one processor, against tap_core and tap_aggregator |
//! | [`peers`] | builds and runs those two, which are a workspace of their own |
//! | [`intake`] | durable hand-ins over HTTP |
//! | [`planning`] | what is claimed now, over up to a million lanes |
//! | [`claims`] | a backlog that fills the chain's blocks |
//! | [`ground`] | a chain with many funded lanes, and a settler on it |
//! | [`part`] | what runs in a process of its own, so that its memory or its processor is its own |

pub mod checking;
pub mod claims;
pub mod ground;
pub mod intake;
pub mod options;
pub mod part;
pub mod peers;
pub mod planning;
