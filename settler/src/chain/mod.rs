//! What is asked of the chain, over several endpoints.
//!
//! - [`client`]: the one that asks: heads, receipts, nonces, balances, fees; and hands transactions to all endpoints
//! - [`quorum`]: what counts as the answer when several endpoints are asked
//! - [`endpoint`]: one endpoint, and what is to be said of it
//! - [`escrow`]: lanes, delegates, mandates, and what a claim would do
//! - [`reader`]: the code that reads or tries many things in one call
//! - [`error`]: why there is no answer

pub mod client;
pub mod endpoint;
pub mod error;
pub mod escrow;
pub mod quorum;
pub mod reader;

pub use client::{Chain, Head, Mined, provider};
pub use endpoint::EndpointLine;
pub use error::ChainError;
pub use escrow::{Calldata, LaneQuestion, MandateView, Trial};
