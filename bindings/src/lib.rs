//! The law of Layer Minus in Rust: what the contracts in `contracts/` say, for every program that obeys them.
//! Nothing here does I/O or reads a clock.
//!
//! - [`contracts`]: the three contracts as `sol!` types and instances, from the committed files in `abi/`.
//! - [`revert`]: what a contract answered when it refused, by type.
//! - [`amount`]: money, counted in base units of the settlement token.
//! - [`typed`]: the EIP-712 messages with digest, sign and recover.
//! - [`voucher`]: the message that moves money, with its signature; [`charge`]: what moves it while the payer is away,
//!   within a [`mandate`]; [`row`]: either as the escrow takes it.
//! - [`deployment`]: where the contracts stand, in a file that scripts write and programs read; [`create2`]: where they
//!   will stand, from the reserve's address alone.
//! - [`verification`]: the compiler's input from which explorers get the very same code.

pub mod amount;
pub mod charge;
pub mod contracts;
pub mod create2;
pub mod deployment;
pub mod mandate;
pub mod revert;
pub mod row;
pub mod typed;
pub mod verification;
pub mod voucher;

pub use amount::{Amount, AmountError};
pub use charge::SignedCharge;
pub use contracts::{IPrepaymentEscrow, IRoutingTable, PrepaymentEscrow, RoutingTable, SettlementToken};
pub use deployment::{Deployment, DeploymentError};
pub use revert::ContractRevert;
pub use row::{ROW_BYTES, RowError, RowResult};
pub use typed::{
    Charge, Delegation, DepositOrder, Entrustment, Mandate, MandateRevocation, Message, NodeConsent, Permit, Route,
    SIGNATURE_BYTES, SignatureError, Voucher, digest, escrow_domain, recover, routing_domain, sign, signature_parts,
    token_domain,
};
pub use voucher::SignedVoucher;
