//! The newest blocks that the view contains: their hashes, to notice that the chain says something else now, and the
//! records that each touched, to read those again and no others.

use std::collections::{BTreeMap, BTreeSet};

use alloy::primitives::B256;

use super::events::Key;

/// How deep a reorganisation may be without everything being read anew. Two epochs, after which a healthy proof-of-stake
/// chain is final, are 64 blocks, three are 96; and endpoints that keep no archive have the states of 128.
pub(crate) const WINDOW_BLOCKS: u64 = 128;

/// A block as the view remembers it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Block {
    pub(crate) number: u64,
    pub(crate) hash: B256,
    pub(crate) touched: BTreeSet<Key>,
}

/// The last block whose events the view contains.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Cursor {
    pub(crate) block: u64,
    pub(crate) hash: B256,
}

/// The blocks up to the cursor, [`WINDOW_BLOCKS`] at most. Gaps are old blocks that were caught up with in one go.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Window {
    blocks: BTreeMap<u64, (B256, BTreeSet<Key>)>,
}

/// The first block that is kept when the newest is `cursor`.
pub(crate) const fn window_start(cursor: u64) -> u64 {
    (cursor + 1).saturating_sub(WINDOW_BLOCKS)
}

impl Window {
    pub(crate) fn cursor(&self) -> Option<Cursor> {
        self.blocks.last_key_value().map(|(block, (hash, _))| Cursor { block: *block, hash: *hash })
    }

    /// Puts a block on top, or more records to one that is there.
    pub(crate) fn push(&mut self, block: &Block) {
        let entry = self.blocks.entry(block.number).or_insert_with(|| (block.hash, BTreeSet::new()));
        entry.0 = block.hash;
        entry.1.extend(&block.touched);
        let newest = self.cursor().map_or(block.number, |cursor| cursor.block);
        self.blocks = self.blocks.split_off(&window_start(newest));
    }

    /// Forgets the blocks above `ancestor`.
    pub(crate) fn rewind(&mut self, ancestor: u64) {
        self.blocks.split_off(&(ancestor + 1));
    }

    /// What the blocks above `ancestor` touched.
    pub(crate) fn touched_above(&self, ancestor: u64) -> BTreeSet<Key> {
        self.blocks.range(ancestor + 1..).flat_map(|(_, (_, touched))| touched).copied().collect()
    }

    /// Numbers and hashes, oldest first.
    pub(crate) fn hashes(&self) -> Vec<(u64, B256)> {
        self.blocks.iter().map(|(number, (hash, _))| (*number, *hash)).collect()
    }
}

#[cfg(test)]
mod tests {
    use alloy::primitives::Address;

    use super::*;

    fn block(number: u64, byte: u8) -> Block {
        let touched = BTreeSet::from([Key::Node(Address::repeat_byte(byte))]);
        Block { number, hash: B256::repeat_byte(byte), touched }
    }

    #[test]
    fn keeps_so_many_blocks_and_no_more() {
        let mut window = Window::default();
        for number in 0..WINDOW_BLOCKS + 10 {
            window.push(&block(number, 1));
        }
        let hashes = window.hashes();
        assert_eq!((hashes.len(), hashes[0].0), (128, 10));
        window.push(&block(10_000, 2));
        assert_eq!(window.hashes(), [(10_000, B256::repeat_byte(2))]);
    }

    #[test]
    fn rewinding_leaves_the_ancestor_on_top() {
        let mut window = Window::default();
        for number in 1..=5_u8 {
            window.push(&block(number.into(), number));
        }
        let above: Vec<_> = window.touched_above(3).into_iter().collect();
        assert_eq!(above, [4, 5].map(|byte| Key::Node(Address::repeat_byte(byte))));
        window.rewind(3);
        assert_eq!(window.cursor(), Some(Cursor { block: 3, hash: B256::repeat_byte(3) }));
        assert!(window.touched_above(3).is_empty());
    }

    #[test]
    fn a_block_gathers_what_was_read_at_it_later() {
        let mut window = Window::default();
        window.push(&block(1, 1));
        window.push(&Block { touched: BTreeSet::from([Key::Route(Address::ZERO)]), ..block(1, 1) });
        assert_eq!(window.touched_above(0).len(), 2);
    }
}
