//! How fast this chain is, and what follows from it: when a transaction is stuck, how deep to watch, and how long before
//! a notice ends a claim has to start. Pure. Blocks are counted where the chain counts (confirmations), time where
//! networks and people need it: on a chain with four blocks a second, five blocks are no reason to bid more.

use std::collections::VecDeque;
use std::sync::{Mutex, PoisonError};

/// What the chain does until it was measured, milliseconds.
const BLOCK_TIME_UNKNOWN_MS: u64 = 12_000;
/// A transaction needs this long to get around and into a block, whatever the blocks do, milliseconds.
const GOSSIP_MS: u64 = 2_000;
/// So long an endpoint may show a used nonce before the receipt that goes with it, milliseconds.
const LOST_PATIENCE_MS: u64 = 6_000;
/// The same in blocks.
const LOST_PATIENCE_BLOCKS: u64 = 3;
/// So many times longer while an endpoint says otherwise or nothing: one that shows the receipt is more often right than
/// those that deny it, as when one lies and another one lags; but no liar may keep vouchers from being claimed for ever.
const DOUBTS: u64 = 10;
/// How deep a reorganisation is undone: beyond this, only a restart compares the log with the chain.
pub const WATCH_BLOCKS: u64 = 64;
/// The same in time, milliseconds, for chains with faster blocks; and its bound.
const WATCH_MS: u64 = 64_000;
const WATCH_BLOCKS_MAX: u64 = 4_096;
/// Claims whose way into a block is remembered.
const INCLUSIONS_MAX: usize = 64;
/// Raises from an ordinary offer to ten times of it.
const RAISES: u64 = 11;
/// The deepest reorganisation that a claim has to survive and still be in time.
const REORGANISATION_BLOCKS: u64 = 32;
/// Everything may take twice as long as it ever did.
const SAFETY: u64 = 2;

/// How long the last claims took from their signature into a block.
#[derive(Debug, Default)]
pub struct Inclusions(Mutex<VecDeque<u64>>);

impl Inclusions {
    /// Notes one, in blocks.
    pub fn note(&self, blocks: u64) {
        let mut seen = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if seen.len() == INCLUSIONS_MAX {
            seen.pop_front();
        }
        seen.push_back(blocks);
    }

    /// The longest of the last ones; a block when there are none.
    #[must_use]
    pub fn slowest(&self) -> u64 {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).iter().copied().max().unwrap_or(1).max(1)
    }
}

/// How fast the chain makes blocks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Pace {
    /// From one block to the next, milliseconds, never 0.
    pub block_time_ms: u64,
}

impl Default for Pace {
    fn default() -> Self {
        Self { block_time_ms: BLOCK_TIME_UNKNOWN_MS }
    }
}

/// What the time until a claim is safe depends on.
#[derive(Debug, Clone, Copy)]
pub struct Road {
    /// Blocks that the rows before it fill.
    pub backlog_blocks: u64,
    /// Blocks on a claim before it counts.
    pub confirmations: u64,
    /// The longest way into a block that was seen lately, blocks.
    pub slowest_inclusion: u64,
    /// Blocks after which a transaction is stuck.
    pub replace_after_blocks: u64,
    /// How old what is known of a lane may be, and how long until the next look, seconds.
    pub blind_s: u64,
}

impl Pace {
    /// From two blocks: so many apart, so many seconds apart.
    #[must_use]
    pub fn measured(blocks: u64, seconds: u64) -> Self {
        let measured = seconds.saturating_mul(1_000).checked_div(blocks);
        Self { block_time_ms: measured.unwrap_or(BLOCK_TIME_UNKNOWN_MS).max(1) }
    }

    /// How many blocks this time is, rounded up.
    const fn blocks(self, ms: u64) -> u64 {
        ms.div_ceil(self.block_time_ms)
    }

    /// After how many blocks a transaction is stuck.
    #[must_use]
    pub fn stuck_after(self, configured_blocks: u64) -> u64 {
        configured_blocks.max(self.blocks(GOSSIP_MS))
    }

    /// How many blocks a nonce has to be used by a stranger before it is believed: an endpoint that lags shows the same.
    #[must_use]
    pub fn lost_after(self) -> u64 {
        LOST_PATIENCE_BLOCKS.max(self.blocks(LOST_PATIENCE_MS))
    }

    /// The same while not all endpoints say so.
    #[must_use]
    pub fn lost_after_doubts(self) -> u64 {
        self.lost_after().saturating_mul(DOUBTS)
    }

    /// How many blocks back an ended transaction is looked after.
    #[must_use]
    pub fn watch_blocks(self) -> u64 {
        self.blocks(WATCH_MS).clamp(WATCH_BLOCKS, WATCH_BLOCKS_MAX)
    }

    /// How long before a notice ends a claim has to start, seconds, so that it is safe in time even if it is stuck, has
    /// to bid ten times the fee, is thrown out by a reorganisation once, and everything takes twice as long as lately.
    #[must_use]
    pub fn margin_s(self, road: Road) -> u64 {
        let raises = RAISES.saturating_mul(self.stuck_after(road.replace_after_blocks));
        let blocks = [road.backlog_blocks, road.confirmations, road.slowest_inclusion, raises, REORGANISATION_BLOCKS]
            .into_iter()
            .fold(0u64, u64::saturating_add);
        let ms = blocks.saturating_mul(self.block_time_ms).saturating_mul(SAFETY);
        ms.div_ceil(1_000).saturating_add(road.blind_s)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ROAD: Road =
        Road { backlog_blocks: 0, confirmations: 2, slowest_inclusion: 1, replace_after_blocks: 5, blind_s: 32 };

    #[test]
    fn a_slow_chain_is_counted_in_blocks() {
        let pace = Pace::measured(100, 1_200);
        assert_eq!(pace.block_time_ms, 12_000);
        assert_eq!((pace.stuck_after(5), pace.lost_after(), pace.watch_blocks()), (5, 3, 64));
        assert_eq!(pace.lost_after_doubts(), 30);
        assert_eq!(pace.margin_s(ROAD), (2 + 1 + 55 + 32) * 24 + 32, "36 minutes");
    }

    #[test]
    fn a_fast_chain_is_counted_in_time() {
        let pace = Pace::measured(400, 100);
        assert_eq!(pace.block_time_ms, 250);
        assert_eq!((pace.stuck_after(5), pace.lost_after(), pace.watch_blocks()), (8, 24, 256));
        assert_eq!(Pace::measured(1_000_000, 1).watch_blocks(), WATCH_BLOCKS_MAX, "a bound on everything");
    }

    #[test]
    fn a_backlog_and_slow_blocks_need_a_longer_way() {
        let pace = Pace::measured(1, 12);
        let slower = Road { backlog_blocks: 1_000, slowest_inclusion: 40, ..ROAD };
        assert_eq!(pace.margin_s(slower) - pace.margin_s(ROAD), (1_000 + 39) * 24);
        let endless = Road { backlog_blocks: u64::MAX, ..ROAD };
        assert!(pace.margin_s(endless) > 365 * 86_400, "and overflows nothing");
    }

    #[test]
    fn remembers_the_slowest_of_the_last_claims() {
        let seen = Inclusions::default();
        assert_eq!(seen.slowest(), 1);
        seen.note(9);
        (0..INCLUSIONS_MAX - 1).for_each(|_| seen.note(2));
        assert_eq!(seen.slowest(), 9);
        seen.note(2);
        assert_eq!(seen.slowest(), 2, "the slow one is too long ago");
    }

    #[test]
    fn nothing_measured_is_a_slow_chain() {
        assert_eq!(Pace::measured(0, 0), Pace::default());
        assert_eq!(Pace::measured(10, 0).block_time_ms, 1);
    }
}
