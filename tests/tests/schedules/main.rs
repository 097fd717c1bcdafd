//! The books under random schedules and under a change of tariff: whatever senders, customers, relays and crashes do, at
//! the end the customers' books, the agent's, the relays' and the chain are equal to the base unit (laws 9 and 11).
//!
//! - [`people`]: payers, wallets and senders as libraries in this process, around nodes and settlers that can be killed
//! - [`books`]: what each of them and the chain must agree on at the end
//! - `random`: seeded schedules of everything at once
//! - `tariff`: a tariff that takes effect while a stream runs

mod books;
mod people;
mod random;
mod tariff;
