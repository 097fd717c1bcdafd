//! Watches all parts of Layer Minus.
//!
//! - [`compile`]: the contracts from source; what `bindings/abi` is held to.
//! - [`verification`]: what explorers compile; what `bindings/verification.json` is held to.
//! - [`evm`]: the contracts in an EVM in memory, with named actors and typed calls.
//! - [`world`]: a whole network of real processes on a real chain.
//! - [`bench`]: speed and size against what people would otherwise use, as `scripts/bench` shows.
//! - [`journey`]: the whole road through it, which the demo shows and the end-to-end suites walk.
//! - [`sabotage`]: what must not go unnoticed on that road.
//! - [`packages`]: programs that come as Debian packages.

pub mod bench;
pub mod compile;
pub mod evm;
pub mod journey;
pub mod packages;
pub mod sabotage;
pub mod verification;
pub mod world;
