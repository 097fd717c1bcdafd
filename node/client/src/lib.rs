//! The customer of Layer Minus: prepays, entrusts wallets to agents, sends, receives, checks what it is charged, and
//! signs for it. The command line `minus` is a thin shell around this library.
//!
//! In the order of a customer's life:
//! - [`config`], [`keystore`]: settings and wallets
//! - [`client`]: [`Client`], everything below in one value
//! - [`money`]: prepay, withdraw, balance
//! - [`mandate`]: what may be charged while nobody is there to sign
//! - [`entrust`]: route on chain, account at the agent
//! - [`send`]: files and texts to any wallet (`parcel`, [`content`], [`access`])
//! - [`listen`]: receive durably, check, sign, acknowledge ([`meter`], [`assemble`], [`file_name`])
//! - [`account`]: both sides of the account, side by side
//!
//! Underneath: [`chain`] (the chain by `eth_call`), [`transport`] behind its [`guard`], [`command`]s to the agent, the
//! [`store`] that a power cut cannot hurt. [`events`] is what a caller hears meanwhile, [`error`] what it gets instead.

pub mod access;
pub mod account;
pub mod assemble;
mod backoff;
pub mod chain;
pub mod cli;
pub mod client;
mod clock;
pub mod command;
pub mod config;
pub mod content;
pub mod entrust;
pub mod error;
pub mod events;
pub mod file_name;
pub mod guard;
pub mod keystore;
pub mod listen;
pub mod mandate;
pub mod meter;
pub mod money;
mod parcel;
pub mod send;
pub mod store;
pub mod transport;

pub use client::{Client, Identity};
pub use config::{Config, Overrides};
pub use entrust::{EntrustOptions, EntrustReport};
pub use error::{Error, ExitCode};
pub use events::{ListenEvent, ListenSink, Progress, ProgressSink, silent};
pub use keystore::{Keystore, WalletEntry};
pub use listen::{ListenOptions, ListenSummary, Stop};
pub use mandate::{MandateOptions, MandateReport};
pub use money::{BalanceReport, PrepayOptions, PrepayReport, WithdrawOptions, WithdrawReport};
pub use parcel::Item;
pub use send::{SendOptions, SendReport, SentItem};
