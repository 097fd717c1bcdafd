//! Seeded runs: vouchers and charges keep coming, blocks come, go and come back, endpoints drop, delay, repeat, mix up and
//! misreport, and the settler is killed between any two lines. In the end, and by the log's own account:
//!
//! - law 8, nothing acknowledged is lost: each lane has paid at least the largest voucher that was acknowledged, as far as
//!   its money goes;
//! - law 3, nothing is paid twice or from nowhere: what a lane has paid is one of the totals that were handed in, or all
//!   of its money;
//! - law 4, no notice is missed: lanes under notice have paid before it ends, dust and all;
//! - the log says what the chain says: every claim that is in a block is confirmed there with just that amount, and none
//!   that is not;
//! - gas is not burned: transactions that moved nothing stay below a bound that misfortunes set.
//!
//! | file | one job |
//! |---|---|
//! | [`fault`] | what an endpoint may do wrong, and how often |
//! | [`proxy`] | an endpoint in front of the chain that does it, and traps that tell when to kill |
//! | [`view`] | answers as an endpoint gives them that is behind, or that lies |
//! | [`ground`] | one chain for several runs, with its weather |
//! | [`life`] | one life of a settler: a process or a handle, until it is killed |
//! | [`purse`] | the payers of one run, and what was handed in and acknowledged |
//! | [`run`] | one run from seed to end |
//! | [`verdict`] | what must hold at the end |
//! | [`tests`] | fifty runs, a thousand, or one again |

mod fault;
mod ground;
mod life;
mod proxy;
mod purse;
mod run;
mod tests;
mod verdict;
mod view;
