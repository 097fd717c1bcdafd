//! The commands of the binary, one file each.
//!
//! - [`arguments`]: what the command line looks like
//! - [`outcome`]: exit codes, and printing for people and for programs
//! - [`run`](mod@run), [`status`], [`claim`]: the service and what is asked of it
//! - [`lanes`], [`debts`], [`claims`], [`export`], [`simulate`]: what it reports; `table`: tables for people
//! - [`doctor`]: what is wrong before it runs
//! - [`register_node`], [`retire_node`], [`bond`], [`deploy`]: what an operator signs, over [`operator`]
//! - [`new_key`]: making a key file; [`backup`]: copying the log
//! - [`admin_client`]: speaking to a running settler

pub mod admin_client;
pub mod arguments;
pub mod backup;
pub mod bond;
pub mod claim;
pub mod claims;
pub mod debts;
pub mod deploy;
pub mod doctor;
pub mod export;
pub mod lanes;
pub mod new_key;
pub mod operator;
pub mod outcome;
pub mod register_node;
pub mod retire_node;
pub mod run;
pub mod simulate;
pub mod status;
mod table;

pub use arguments::{Arguments, Command};
pub use outcome::run;
