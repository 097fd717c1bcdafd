//! Whether an endpoint's headers and logs fit together (pure). None of this proves that it tells the truth; it finds
//! endpoints that lag, forget logs or mix two branches, which happens far more often than lies.

use alloy::{
    primitives::{Address, B256, Bloom, BloomInput},
    rpc::types::Log,
    sol_types::SolEvent,
};
use minus_bindings::{PrepaymentEscrow as Escrow, RoutingTable as Table};

use super::{rpc::Header, window::Cursor};

/// With at most this many of its 2,048 bits set, a bloom that names both the contract and one of its events does so by
/// chance once in 1,300,000 blocks: six bits have to fit, each at 1/16, for any of 13 events.
const TELLING_BITS_MAX: usize = 128;

/// What does not fit.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Misfit {
    /// The chain moved while it was read, or several machines answer for one endpoint.
    #[error("block {0} does not continue the one before")]
    Unlinked(u64),
    /// A log outside the range or contracts asked for, taken back, or of another branch.
    #[error("a log that does not belong to block {0}")]
    StrayLog(u64),
    /// The header promises logs that did not come.
    #[error("the logs of block {0} are missing")]
    Withheld(u64),
}

/// What was read of one range of blocks.
#[derive(Clone, Copy, Debug)]
pub(super) struct Range<'a> {
    pub(super) from: u64,
    pub(super) to: u64,
    /// The block below, if it is known.
    pub(super) below: Option<Cursor>,
    /// Of its newest blocks, in order and without gaps.
    pub(super) headers: &'a [Header],
    pub(super) logs: &'a [Log],
}

impl Range<'_> {
    /// Finds what does not fit, and returns the blocks that may have logs which did not come: ask somebody else.
    pub(super) fn check(&self, escrow: Address, routing_table: Address) -> Result<Vec<u64>, Misfit> {
        self.check_links()?;
        for log in self.logs {
            self.check_log(log, escrow, routing_table)?;
        }
        let mut doubtful = Vec::new();
        for header in self.headers {
            let number = header.number();
            let promised = promises(&header.logs_bloom, escrow, routing_table);
            if !promised || self.logs.iter().any(|log| log.block_number == Some(number)) {
                continue;
            }
            if set_bits(&header.logs_bloom) <= TELLING_BITS_MAX {
                return Err(Misfit::Withheld(number));
            }
            doubtful.push(number);
        }
        Ok(doubtful)
    }

    fn check_links(&self) -> Result<(), Misfit> {
        let mut below = self.below.map(|cursor| (cursor.block, cursor.hash));
        for header in self.headers {
            let number = header.number();
            if below.is_some_and(|(block, hash)| block + 1 == number && hash != header.parent_hash) {
                return Err(Misfit::Unlinked(number));
            }
            below = Some((number, header.hash));
        }
        Ok(())
    }

    fn check_log(&self, log: &Log, escrow: Address, routing_table: Address) -> Result<(), Misfit> {
        let number = log.block_number.unwrap_or_default();
        let ours = [escrow, routing_table].contains(&log.address());
        let placed = log.log_index.is_some() && (self.from..=self.to).contains(&number);
        let of_this_branch = self.header(number).is_none_or(|header| {
            log.block_hash == Some(header.hash) && header.logs_bloom.contains_raw_log(log.address(), log.topics())
        });
        if ours && placed && of_this_branch && !log.removed { Ok(()) } else { Err(Misfit::StrayLog(number)) }
    }

    fn header(&self, number: u64) -> Option<&Header> {
        let first = self.headers.first()?.number();
        self.headers.get(usize::try_from(number.checked_sub(first)?).ok()?)
    }
}

fn set_bits(bloom: &Bloom) -> usize {
    bloom.iter().map(|byte| usize::try_from(byte.count_ones()).unwrap_or_default()).sum()
}

/// Whether a block with this bloom may hold an event of the two contracts that the view follows.
fn promises(bloom: &Bloom, escrow: Address, routing_table: Address) -> bool {
    let holds = |address: Address, events: &[B256]| {
        bloom.contains_input(BloomInput::Raw(address.as_slice()))
            && events.iter().any(|event| bloom.contains_input(BloomInput::Raw(event.as_slice())))
    };
    holds(
        escrow,
        &[
            Escrow::Deposited::SIGNATURE_HASH,
            Escrow::Claimed::SIGNATURE_HASH,
            Escrow::ThawStarted::SIGNATURE_HASH,
            Escrow::Withdrawn::SIGNATURE_HASH,
            Escrow::DelegateAuthorized::SIGNATURE_HASH,
            Escrow::DelegateRevoked::SIGNATURE_HASH,
            Escrow::MandateSet::SIGNATURE_HASH,
            Escrow::MandateRevoked::SIGNATURE_HASH,
        ],
    ) || holds(
        routing_table,
        &[
            Table::NodeRegistered::SIGNATURE_HASH,
            Table::EndpointChanged::SIGNATURE_HASH,
            Table::TariffAnnounced::SIGNATURE_HASH,
            Table::NodeRetired::SIGNATURE_HASH,
            Table::RouteSet::SIGNATURE_HASH,
        ],
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    const ESCROW: Address = Address::repeat_byte(0xee);
    const TABLE: Address = Address::repeat_byte(0x77);

    fn hash(number: u64) -> B256 {
        B256::left_padding_from(&number.to_be_bytes())
    }

    fn log(number: u64) -> Log {
        let event = Table::NodeRetired { node: ESCROW };
        Log {
            inner: alloy::primitives::Log { address: TABLE, data: event.encode_log_data() },
            block_hash: Some(hash(number)),
            block_number: Some(number),
            log_index: Some(0),
            ..Log::default()
        }
    }

    /// Three blocks; the second holds a log.
    fn headers() -> Vec<Header> {
        let mut bloom = Bloom::ZERO;
        bloom.accrue_log(&log(2).inner);
        [(1, Bloom::ZERO), (2, bloom), (3, Bloom::ZERO)]
            .map(|(number, bloom)| Header::for_test(number, hash(number), hash(number - 1), bloom))
            .into()
    }

    fn check(headers: &[Header], logs: &[Log], below: B256) -> Result<Vec<u64>, Misfit> {
        let below = Some(Cursor { block: 0, hash: below });
        Range { from: 1, to: 3, below, headers, logs }.check(ESCROW, TABLE)
    }

    #[test]
    fn notices_a_log_that_did_not_come() {
        assert_eq!(check(&headers(), &[], hash(0)), Err(Misfit::Withheld(2)));
    }

    #[test]
    fn doubts_a_full_bloom_without_condemning_it() {
        let mut headers = headers();
        headers[2].logs_bloom = Bloom::repeat_byte(0xff);
        assert_eq!(check(&headers, &[log(2)], hash(0)), Ok(vec![3]));
    }

    #[test]
    fn refuses_a_branch_that_does_not_continue_ours() {
        assert_eq!(check(&headers(), &[log(2)], hash(9)), Err(Misfit::Unlinked(1)));
        let mut torn = headers();
        torn[2].parent_hash = hash(9);
        assert_eq!(check(&torn, &[log(2)], hash(0)), Err(Misfit::Unlinked(3)));
    }

    #[test]
    fn refuses_logs_of_elsewhere() {
        let stray = |change: &dyn Fn(&mut Log)| {
            let mut log = log(2);
            change(&mut log);
            check(&headers(), &[log], hash(0))
        };
        assert_eq!(stray(&|_| ()), Ok(vec![]));
        assert_eq!(stray(&|log| log.block_hash = Some(hash(9))), Err(Misfit::StrayLog(2)));
        assert_eq!(stray(&|log| log.block_number = Some(4)), Err(Misfit::StrayLog(4)));
        assert_eq!(stray(&|log| log.block_number = None), Err(Misfit::StrayLog(0)));
        assert_eq!(stray(&|log| log.removed = true), Err(Misfit::StrayLog(2)));
        assert_eq!(stray(&|log| log.inner.address = Address::ZERO), Err(Misfit::StrayLog(2)));
        let invented = |log: &mut Log| (log.block_number, log.block_hash) = (Some(3), Some(hash(3)));
        assert_eq!(stray(&invented), Err(Misfit::StrayLog(3)), "not in the bloom of its block");
    }
}
