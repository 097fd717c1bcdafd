//! Deploying a network, so that it can be repeated after whatever happened and by whoever else does the same.
//!
//! - [`site`]: what stands on the chain and what belongs there; refuses what cannot become a deployment
//! - [`create`]: creates one contract, once, whoever else tries
//! - [`check`]: asks the contracts that stand for what makes them one network
//! - [`first_block`]: finds the block to read events from
//! - [`files`]: the deployments file, and what explorers want to know
//! - [`error`]: why it is refused

pub mod check;
pub mod create;
pub mod error;
pub mod files;
pub mod first_block;
pub mod site;

pub use error::DeployError;
