//! What an endpoint may do wrong with one request, and how often it does. Pure.

use std::collections::BTreeMap;

use rand::Rng;
use rand::rngs::StdRng;

/// One misfortune.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Fault {
    /// The request never arrives.
    DropBefore,
    /// The request arrives, its answer does not.
    DropAfter,
    /// The answer takes its time.
    Delay,
    /// The request arrives twice; the second answer is given.
    Duplicate,
    /// The request is overtaken by the next one.
    Reorder,
    /// The answer is that of an older block.
    WrongBlock,
    /// From now on, for some requests, all answers are of one older block.
    Stale,
    /// A transaction is not taken, as known already.
    AlreadyKnown,
    /// A transaction is taken, and said to have too low a nonce.
    NonceTooLow,
    /// A transaction is not taken, as too cheap a replacement.
    Underpriced,
    /// A transaction is accepted and forgotten.
    Forgotten,
    /// A transaction is taken, and the answer comes after the caller has given up.
    TimeoutAfter,
    /// Fees are said to be a hundred times what they are.
    FeeSpike,
    /// Receipts, lanes and balances are made up.
    Lie,
}

impl Fault {
    /// What may happen to a transaction that is sent, in thousandths.
    const OF_SENDS: &'static [(Self, u32)] = &[
        (Self::AlreadyKnown, 50),
        (Self::NonceTooLow, 50),
        (Self::Underpriced, 50),
        (Self::Forgotten, 50),
        (Self::DropBefore, 50),
        (Self::DropAfter, 70),
        (Self::Duplicate, 60),
        (Self::Delay, 60),
        (Self::Reorder, 40),
    ];
    /// What may happen to a question, in thousandths.
    const OF_READS: &'static [(Self, u32)] = &[
        (Self::DropBefore, 8),
        (Self::DropAfter, 8),
        (Self::Delay, 30),
        (Self::Duplicate, 10),
        (Self::Reorder, 15),
        (Self::WrongBlock, 15),
        (Self::Stale, 4),
    ];
    /// Of questions for fees.
    const OF_FEES: &'static [(Self, u32)] = &[(Self::FeeSpike, 100)];

    /// Chooses for one request.
    pub(super) fn choose(random: &mut StdRng, method: &str) -> Option<Self> {
        let fees = matches!(method, "eth_maxPriorityFeePerGas" | "eth_feeHistory" | "eth_getBlockByNumber");
        let chances: Vec<_> = match method {
            "eth_sendRawTransaction" => Self::OF_SENDS.to_vec(),
            _ if fees => [Self::OF_READS, Self::OF_FEES].concat(),
            _ => Self::OF_READS.to_vec(),
        };
        let mut drawn = random.random_range(0..1_000);
        for (fault, chance) in chances {
            if drawn < chance {
                return Some(fault);
            }
            drawn -= chance;
        }
        None
    }
}

/// How often each happened.
pub(super) type Counts = BTreeMap<Fault, u64>;
