//! The settler against a real chain (anvil) and real databases. Each test has a world of its own.
#![expect(clippy::unwrap_used, reason = "tests")]

mod anvil;
mod blocks;
mod cancelling;
mod charges;
mod claims;
mod commands;
mod databases;
mod debts;
mod deploy;
mod deploy_with_forge;
mod disk_full;
mod endpoints;
mod faults;
mod intake;
mod keys;
mod log;
mod model;
mod netting;
mod packaging;
mod postgres;
mod reporting;
mod reports;
mod seeded;
mod strangers;
mod world;
