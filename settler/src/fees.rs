//! What to offer for a transaction, how to raise it when it is stuck, which nonce it gets, and what an endpoint's
//! complaint means. Pure.

use std::collections::BTreeSet;

/// A replacement must offer at least a tenth more or nodes refuse it; a quarter more gets on faster.
const RAISE_NUMERATOR: u128 = 5;
const RAISE_DENOMINATOR: u128 = 4;
/// Where the cap leaves no room for a quarter, an eighth does, which nodes accept for certain.
const LEAST_RAISE_NUMERATOR: u128 = 9;
const LEAST_RAISE_DENOMINATOR: u128 = 8;
/// The base fee may double before a transaction is priced out: six full blocks in a row.
const BASE_FEE_ROOM: u128 = 2;

/// An EIP-1559 offer, wei per gas.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Fees {
    /// The most to pay in all.
    pub max: u128,
    /// The most to pay the block's builder.
    pub priority: u128,
}

/// The percentiles of other people's tips that are asked for: what gets in when nobody hurries, what is usual, and what
/// gets in before most others.
pub const TIP_PERCENTILES: [f64; 3] = [20.0, 50.0, 90.0];
/// How many blocks to look back on.
pub const TIP_BLOCKS: u64 = 20;
/// When nobody has paid a tip lately: one gwei.
const TIP_UNKNOWN: u128 = 1_000_000_000;
/// A thousandth of a gwei: below it, some builders take nothing.
const TIP_MIN: u128 = 1_000_000;

/// What other people pay builders, wei per gas.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Tips {
    /// Gets in when nobody hurries.
    pub calm: u128,
    /// Gets in as soon as half of the others.
    pub usual: u128,
    /// Gets in before most others.
    pub urgent: u128,
}

/// The median over the blocks of each percentile, within bounds: an endpoint's word, or one block's auction, shall not
/// set what we pay. Empty blocks, which show only zeros, do not count.
#[must_use]
pub fn tips(blocks: &[Vec<u128>], cap: u128) -> Tips {
    let median = |percentile: usize| {
        let mut tips: Vec<u128> = blocks
            .iter()
            .filter(|block| block.iter().any(|tip| *tip != 0))
            .filter_map(|block| block.get(percentile).copied())
            .collect();
        tips.sort_unstable();
        let tip = tips.get(tips.len() / 2).copied().unwrap_or(TIP_UNKNOWN);
        tip.max(TIP_MIN).min(cap)
    };
    Tips { calm: median(0), usual: median(1), urgent: median(2) }
}

/// A first offer. Never above `cap`.
#[must_use]
pub fn offer(base_fee: u128, priority: u128, cap: u128) -> Fees {
    let max = base_fee.saturating_mul(BASE_FEE_ROOM).saturating_add(priority).min(cap);
    Fees { max, priority: priority.min(max) }
}

/// A replacement's offer: a quarter above the previous one and no less than a first offer would be now, or the cap if
/// that is less. None when the cap leaves no room for a raise that nodes would accept.
#[must_use]
pub fn raise(previous: Fees, base_fee: u128, priority: u128, cap: u128) -> Option<Fees> {
    let raised = |fee: u128| fee.saturating_mul(RAISE_NUMERATOR).div_ceil(RAISE_DENOMINATOR).saturating_add(1);
    let least =
        |fee: u128| fee.saturating_mul(LEAST_RAISE_NUMERATOR).div_ceil(LEAST_RAISE_DENOMINATOR).saturating_add(1);
    let fresh = offer(base_fee, priority, cap);
    let max = raised(previous.max).max(fresh.max).min(cap);
    let tip = raised(previous.priority).max(fresh.priority).min(max);
    (max >= least(previous.max) && tip >= least(previous.priority)).then_some(Fees { max, priority: tip })
}

/// The lowest nonce from the chain's own count on that no transaction of ours holds: never a gap, never a second one.
/// Transactions that have ended but that a reorganisation may bring back hold theirs too.
#[must_use]
pub fn next_nonce(chain_count: u64, held: &BTreeSet<u64>) -> u64 {
    let mut nonce = chain_count;
    while held.contains(&nonce) {
        nonce += 1;
    }
    nonce
}

/// What an endpoint's complaint about a sent transaction means, the most telling first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Complaint {
    /// It has these bytes: as good as accepted.
    AlreadyKnown,
    /// The nonce is used: by one of our attempts or by a stranger; the receipts tell.
    NonceTooLow,
    /// Another transaction waits at this nonce and this one offers too little more; or the base fee has outgrown it.
    Underpriced,
    /// The gas key cannot pay.
    OutOfFunds,
    /// Anything else: try again later.
    Other,
}

/// Nodes have no common error codes, only common words.
#[must_use]
pub fn complaint(message: &str) -> Complaint {
    let message = message.to_lowercase();
    let has = |words: &[&str]| words.iter().any(|word| message.contains(word));
    if has(&["already known", "already imported", "known transaction", "alreadyknown", "already in mempool"]) {
        Complaint::AlreadyKnown
    } else if has(&["nonce too low", "nonce is too low", "oldnonce", "nonce has already been used"]) {
        Complaint::NonceTooLow
    } else if has(&["underpriced", "fee too low", "could not replace", "less than block base fee", "feecap"]) {
        Complaint::Underpriced
    } else if has(&["insufficient funds", "insufficientfunds", "not enough funds"]) {
        Complaint::OutOfFunds
    } else {
        Complaint::Other
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_offer_never_exceeds_the_cap() {
        assert_eq!(offer(10, 2, 100), Fees { max: 22, priority: 2 });
        assert_eq!(offer(60, 2, 100), Fees { max: 100, priority: 2 });
        assert_eq!(offer(60, 200, 100), Fees { max: 100, priority: 100 });
    }

    #[test]
    fn a_raise_is_large_enough_to_be_accepted() {
        let previous = Fees { max: 1_000, priority: 8 };
        let raised = raise(previous, 1, 1, u128::MAX);

        assert_eq!(raised, Some(Fees { max: 1_251, priority: 11 }));
        assert_eq!(raise(Fees { max: 0, priority: 0 }, 0, 0, 10), Some(Fees { max: 1, priority: 1 }), "from nothing");
    }

    #[test]
    fn a_raise_follows_the_market() {
        assert_eq!(raise(Fees { max: 10, priority: 1 }, 100, 5, 1_000), Some(Fees { max: 205, priority: 5 }));
    }

    #[test]
    fn refuses_a_raise_above_the_cap() {
        assert_eq!(raise(Fees { max: 90, priority: 1 }, 1, 1, 100), None);
        assert_eq!(raise(Fees { max: 88, priority: 88 }, 1, 1, 99), None);
    }

    #[test]
    fn a_raise_goes_up_to_the_cap_itself() {
        let fees = raise(Fees { max: 85, priority: 1 }, 95, 1, 100);
        assert_eq!(fees, Some(Fees { max: 100, priority: 3 }), "a quarter more would be 107; the market asks for 96");
    }

    #[test]
    fn tips_follow_the_market_within_bounds() {
        let unknown = Tips { calm: TIP_UNKNOWN, usual: TIP_UNKNOWN, urgent: TIP_UNKNOWN };
        assert_eq!(tips(&[], u128::MAX), unknown);
        assert_eq!(tips(&[vec![0, 0, 0]], u128::MAX), unknown, "nobody paid anything");
        let gwei = 1_000_000_000;
        let blocks =
            [vec![0, gwei, 9 * gwei], vec![gwei, 2 * gwei, 700 * gwei], vec![0, 0, 0], vec![1, 3 * gwei, gwei]];
        assert_eq!(
            tips(&blocks, 5 * gwei),
            Tips { calm: TIP_MIN, usual: 2 * gwei, urgent: 5 * gwei },
            "one block's auction is outvoted, the cap holds, nothing is too small to be taken"
        );
    }

    #[test]
    fn fills_a_nonce_gap_first() {
        assert_eq!(next_nonce(5, &BTreeSet::new()), 5);
        assert_eq!(next_nonce(5, &BTreeSet::from([5, 6, 8])), 7);
        assert_eq!(next_nonce(5, &BTreeSet::from([3, 4])), 5, "below the chain's count nothing matters");
    }

    #[test]
    fn understands_the_words_of_several_nodes() {
        assert_eq!(complaint("already known"), Complaint::AlreadyKnown);
        assert_eq!(complaint("transaction already imported"), Complaint::AlreadyKnown);
        assert_eq!(complaint("nonce too low: next nonce 7, tx nonce 6"), Complaint::NonceTooLow);
        assert_eq!(complaint("replacement transaction underpriced"), Complaint::Underpriced);
        assert_eq!(complaint("max fee per gas less than block base fee"), Complaint::Underpriced);
        assert_eq!(complaint("Insufficient funds for gas * price + value"), Complaint::OutOfFunds);
        assert_eq!(complaint("the moon is full"), Complaint::Other);
    }
}
