//! What to offer for a transaction, how to raise it when it is stuck, which nonce it gets, and what an endpoint's
//! complaint means. Pure.

use std::collections::BTreeSet;

use minus_bindings::Amount;

use crate::plan::WEI_PER_COIN;

/// What a transfer of nothing takes.
pub const CANCEL_GAS: u64 = 21_000;

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

/// What the operator allows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FeePolicy {
    /// The most to pay, wei per gas, for whatever can wait.
    pub cap: u128,
    /// Of that, the most for a block's builder.
    pub tip_cap: u128,
    /// One native coin in tokens.
    pub native_coin_price: Amount,
}

/// How much a transaction may cost.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Urgency {
    /// Up to the cap.
    Ordinary,
    /// So much is lost if it comes too late: up to that, above the cap if it has to be; up to the cap in any case.
    Closing(Amount),
}

/// What a transaction that waits too long carries.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Carries {
    /// Nothing: it is there to use up its nonce.
    Nothing,
    /// Rows that would move nothing any more.
    Settled,
    /// Rows that can wait, and what they would move.
    Worth(Amount),
    /// Rows of which none can wait, and what they would move.
    Closing(Amount),
    /// Rows of which some cannot wait, and what these would move.
    Mixed(Amount),
    /// Rows that somebody asked for, whatever they are worth.
    Wanted,
}

/// A transaction that waits too long.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stuck {
    /// What it carries.
    pub carries: Carries,
    /// What leaves if it, or one of those that wait behind its nonce, comes too late.
    pub at_stake: Amount,
    /// Its gas limit.
    pub gas_limit: u64,
}

/// What to do about it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Remedy {
    /// Bid more.
    Raise(Urgency),
    /// Use up its nonce with a transfer of nothing, which is cheaper; at so much.
    Cancel(Urgency),
}

impl FeePolicy {
    /// What so many tokens are in wei, rounded down.
    #[must_use]
    pub fn in_wei(&self, value: Amount) -> u128 {
        let price = self.native_coin_price.base_units();
        value.base_units().saturating_mul(WEI_PER_COIN).checked_div(price).unwrap_or(u128::MAX)
    }

    fn limits(&self, tips: Tips, urgency: Urgency, gas_limit: u64) -> (u128, u128) {
        match urgency {
            Urgency::Ordinary => (self.cap, tips.usual),
            Urgency::Closing(value) => (self.cap.max(self.in_wei(value) / u128::from(gas_limit.max(1))), tips.urgent),
        }
    }

    /// A first offer for a transaction of this gas limit.
    #[must_use]
    pub fn offer(&self, base_fee: u128, tips: Tips, urgency: Urgency, gas_limit: u64) -> Fees {
        let (cap, tip) = self.limits(tips, urgency, gas_limit);
        offer(base_fee, tip, cap)
    }

    /// A replacement's offer, if the cap leaves room for one.
    #[must_use]
    pub fn raise(&self, previous: Fees, base_fee: u128, tips: Tips, urgency: Urgency, gas_limit: u64) -> Option<Fees> {
        let (cap, tip) = self.limits(tips, urgency, gas_limit);
        raise(previous, base_fee, tip, cap)
    }

    /// What to do about a transaction that waits too long. While an ordinary bid gets in, each goes its way. Above that,
    /// what is at stake pays: for the transaction itself if what closes in it bears all of its gas, or else for taking it
    /// out of the way, so that what closes is claimed by itself.
    #[must_use]
    pub fn remedy(&self, stuck: Stuck, base_fee: u128, tips: Tips) -> Remedy {
        let Stuck { carries, at_stake, gas_limit } = stuck;
        let bears = |value: Amount, tip: u128, gas: u64| {
            self.in_wei(value) >= base_fee.saturating_add(tip).saturating_mul(u128::from(gas))
        };
        let is_above_cap = base_fee.saturating_add(tips.usual) > self.cap;
        let is_in_the_way = is_above_cap && bears(at_stake, tips.urgent, CANCEL_GAS);
        let hurry = if is_in_the_way { Urgency::Closing(at_stake) } else { Urgency::Ordinary };
        match carries {
            Carries::Nothing => Remedy::Raise(hurry),
            Carries::Settled => Remedy::Cancel(hurry),
            Carries::Closing(value) | Carries::Mixed(value)
                if !is_in_the_way || bears(value, tips.urgent, gas_limit) =>
            {
                Remedy::Raise(Urgency::Closing(value))
            }
            // By themselves its rows would be no better off: only for those behind it.
            Carries::Closing(value) if !bears(at_stake.saturating_sub(value), tips.urgent, CANCEL_GAS) => {
                Remedy::Raise(Urgency::Closing(value))
            }
            Carries::Worth(value) if !bears(value, tips.usual, gas_limit) => Remedy::Cancel(hurry),
            Carries::Worth(_) | Carries::Wanted if !is_in_the_way => Remedy::Raise(Urgency::Ordinary),
            Carries::Closing(_) | Carries::Mixed(_) | Carries::Worth(_) | Carries::Wanted => Remedy::Cancel(hurry),
        }
    }
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
#[expect(clippy::unwrap_used, reason = "tests")]
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
    fn a_lane_that_closes_bids_up_to_its_value_and_never_above() {
        let gwei = 1_000_000_000;
        let policy = FeePolicy { cap: 10 * gwei, tip_cap: gwei, native_coin_price: "2000".parse().unwrap() };
        let tips = Tips { calm: 1, usual: 2, urgent: 3 };
        // 10 tokens are 5 million gwei; over 100,000 gas, 50 gwei each.
        let closing = Urgency::Closing("10".parse().unwrap());
        let of = |base_fee, urgency| policy.offer(base_fee, tips, urgency, 100_000);

        assert_eq!(of(20 * gwei, Urgency::Ordinary), Fees { max: 10 * gwei, priority: 2 });
        assert_eq!(of(20 * gwei, closing), Fees { max: 40 * gwei + 3, priority: 3 });
        assert_eq!(of(40 * gwei, closing).max, 50 * gwei, "never above the value");
        let dust = Urgency::Closing("0.000001".parse().unwrap());
        assert_eq!(of(20 * gwei, dust).max, 10 * gwei, "within the cap a notice is worth any loss");
        let bid = Fees { max: 45 * gwei, priority: 3 };
        let raised = |urgency| policy.raise(bid, 60 * gwei, tips, urgency, 100_000);
        assert_eq!(raised(closing), None, "an eighth more would be above the value");
        assert_eq!(raised(Urgency::Closing("20".parse().unwrap())).unwrap().max, 100 * gwei);
        assert_eq!(raised(Urgency::Ordinary), None);
    }

    const GWEI: u128 = 1_000_000_000;

    fn remedy(carries: Carries, at_stake: &str, base_fee: u128) -> Remedy {
        let policy = FeePolicy { cap: 100 * GWEI, tip_cap: GWEI, native_coin_price: "2000".parse().unwrap() };
        let stuck = Stuck { carries, at_stake: at_stake.parse().unwrap(), gas_limit: 100_000 };
        policy.remedy(stuck, base_fee, Tips { calm: 0, usual: 0, urgent: 0 })
    }

    fn tokens(text: &str) -> Amount {
        text.parse().unwrap()
    }

    #[test]
    fn what_is_not_worth_it_any_more_is_cancelled() {
        let remedy = |carries| remedy(carries, "0", 20 * GWEI);
        let ordinary = Urgency::Ordinary;

        assert_eq!(remedy(Carries::Worth(tokens("4"))), Remedy::Raise(ordinary), "2 million gwei of gas");
        assert_eq!(remedy(Carries::Worth(tokens("3.999999"))), Remedy::Cancel(ordinary));
        assert_eq!(remedy(Carries::Settled), Remedy::Cancel(ordinary));
        assert_eq!(remedy(Carries::Wanted), Remedy::Raise(ordinary), "whatever it is worth");
        assert_eq!(remedy(Carries::Nothing), Remedy::Raise(ordinary));
        let closing = tokens("0.000001");
        assert_eq!(remedy(Carries::Closing(closing)), Remedy::Raise(Urgency::Closing(closing)));
    }

    #[test]
    fn what_closes_pays_for_the_way_that_others_are_in() {
        let above = 200 * GWEI;
        // 21,000 gas are 4.2 million gwei, 8.4 tokens; 100,000 are 40 tokens.
        let hurry = |at_stake| Urgency::Closing(tokens(at_stake));
        for carries in [Carries::Worth(tokens("90")), Carries::Wanted] {
            assert_eq!(remedy(carries, "8.4", above), Remedy::Cancel(hurry("8.4")));
            assert_eq!(remedy(carries, "8.399999", above), Remedy::Raise(Urgency::Ordinary), "not worth even that");
            assert_eq!(
                remedy(carries, "1000", 90 * GWEI),
                Remedy::Raise(Urgency::Ordinary),
                "below the cap it gets in"
            );
        }
        assert_eq!(remedy(Carries::Settled, "8.4", above), Remedy::Cancel(hurry("8.4")));
        assert_eq!(remedy(Carries::Nothing, "8.4", above), Remedy::Raise(hurry("8.4")));
        assert_eq!(remedy(Carries::Closing(tokens("40")), "50", above), Remedy::Raise(hurry("40")), "it bears its gas");
        assert_eq!(remedy(Carries::Mixed(tokens("40")), "40", above), Remedy::Raise(hurry("40")), "so does this");
        assert_eq!(remedy(Carries::Mixed(tokens("39")), "39", above), Remedy::Cancel(hurry("39")), "it goes by itself");
        assert_eq!(remedy(Carries::Closing(tokens("39")), "47.4", above), Remedy::Cancel(hurry("47.4")), "in the way");
        assert_eq!(remedy(Carries::Closing(tokens("39")), "47.399999", above), Remedy::Raise(hurry("39")));
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
