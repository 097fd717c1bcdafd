//! Everything that a settler needs, looked at one by one before it runs, each with what to do about it. Changes nothing.
//!
//! - [`checkup`]: what a finding is, and the order of looking
//! - [`machine`]: key file, database, ports
//! - [`network`]: endpoints, contracts, fees

pub mod checkup;
pub mod machine;
pub mod network;

pub use checkup::{Finding, Verdict, examine};
