//! The view in memory: what the store holds, in maps that are asked for every packet. A route costs its wallet and four
//! bytes: agents are places in the list of nodes.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use alloy::primitives::{
    Address, FixedBytes,
    map::{AddressMap, FbMap, FbSet},
};
use minus_bindings::IPrepaymentEscrow::Mandate;

use super::{
    NodeRecord,
    events::Key,
    record::Announced,
    window::{Block, Window},
};
use crate::agent::lane::Lane;

/// A change of the view, saved in one transaction and then made in memory.
#[derive(Clone, Debug, Default)]
pub(crate) struct Batch {
    /// All that was known is forgotten before anything else.
    pub(crate) start_over: bool,
    /// The blocks above this one are no longer on the chain.
    pub(crate) rewound_to: Option<u64>,
    /// None where the node is not registered any more.
    pub(crate) nodes: Vec<(Address, Option<Arc<NodeRecord>>)>,
    /// In the order they were announced.
    pub(crate) tariffs: Vec<(Address, Announced)>,
    /// Wallet and agent; agent zero where the route was cleared.
    pub(crate) routes: BTreeMap<Address, Address>,
    pub(crate) lanes: Vec<(Address, Address, Lane)>,
    pub(crate) mandates: Vec<(Address, Address, Mandate)>,
    /// Payer, signer, and whether it may sign.
    pub(crate) delegates: Vec<(Address, Address, bool)>,
    /// In order; the last is the new cursor.
    pub(crate) blocks: Vec<Block>,
    /// Put to what is to be read when the head is reached.
    pub(crate) unread: BTreeSet<Key>,
    /// All that was to be read has been read.
    pub(crate) all_read: bool,
}

/// A record as it was read from the chain.
#[derive(Clone, Debug)]
pub(crate) enum Record {
    Node(Address, Option<Arc<NodeRecord>>),
    Route(Address, Address),
    Lane(Address, Address, Lane),
    Mandate(Address, Address, Mandate),
    Delegate(Address, Address, bool),
}

impl Batch {
    pub(crate) fn take(&mut self, record: Record) {
        match record {
            Record::Node(node, record) => self.nodes.push((node, record)),
            Record::Route(wallet, agent) => drop(self.routes.insert(wallet, agent)),
            Record::Lane(payer, payee, lane) => self.lanes.push((payer, payee, lane)),
            Record::Mandate(payer, payee, mandate) => self.mandates.push((payer, payee, mandate)),
            Record::Delegate(payer, signer, may_sign) => self.delegates.push((payer, signer, may_sign)),
        }
    }
}

#[derive(Debug)]
struct NodeEntry {
    address: Address,
    record: Option<Arc<NodeRecord>>,
    tariffs: Vec<Announced>,
}

/// The view. Look-ups neither wait nor fail.
#[derive(Debug, Default)]
pub(crate) struct Tables {
    nodes: Vec<NodeEntry>,
    places: AddressMap<u32>,
    routes: AddressMap<u32>,
    lanes: FbMap<40, Lane>,
    mandates: FbMap<40, Mandate>,
    delegates: FbSet<40>,
    pub(crate) window: Window,
    /// Records that changed in blocks that are applied, and are read when the head is reached.
    pub(crate) unread: BTreeSet<Key>,
}

fn pair(first: Address, second: Address) -> FixedBytes<40> {
    first.concat_const::<20, 40>(*second)
}

impl Tables {
    pub(crate) fn node(&self, node: Address) -> Option<Arc<NodeRecord>> {
        self.entry(node)?.record.clone()
    }

    /// A version of a node's tariff, past and announced ones included.
    pub(crate) fn tariff_version(&self, node: Address, version: u32) -> Option<Announced> {
        self.entry(node)?.tariffs.iter().rev().find(|announced| announced.version == version).copied()
    }

    pub(crate) fn agent_of(&self, wallet: Address) -> Option<Address> {
        let place = usize::try_from(*self.routes.get(&wallet)?).ok()?;
        self.nodes.get(place).map(|entry| entry.address)
    }

    pub(crate) fn lane(&self, payer: Address, payee: Address) -> Option<Lane> {
        self.lanes.get(&pair(payer, payee)).copied()
    }

    pub(crate) fn mandate(&self, payer: Address, payee: Address) -> Option<&Mandate> {
        self.mandates.get(&pair(payer, payee))
    }

    pub(crate) fn may_sign(&self, payer: Address, signer: Address) -> bool {
        self.delegates.contains(&pair(payer, signer))
    }

    /// Whether a change of this record concerns the view. Of lanes and mandates it holds only those that were asked for.
    pub(crate) fn follows(&self, key: &Key) -> bool {
        match *key {
            Key::Lane(payer, payee) => self.lanes.contains_key(&pair(payer, payee)),
            Key::Mandate(payer, payee) => self.mandates.contains_key(&pair(payer, payee)),
            Key::Node(_) | Key::Route(_) | Key::Delegate(..) => true,
        }
    }

    /// Makes room before many are put in.
    pub(crate) fn reserve(&mut self, routes: usize, lanes: usize) {
        self.routes.reserve(routes);
        self.lanes.reserve(lanes);
    }

    /// Makes the change.
    pub(crate) fn apply(&mut self, batch: &Batch) {
        if batch.start_over {
            *self = Self::default();
        }
        if let Some(ancestor) = batch.rewound_to {
            self.window.rewind(ancestor);
            for entry in &mut self.nodes {
                entry.tariffs.retain(|announced| announced.announced_in <= ancestor);
            }
        }
        for (node, record) in &batch.nodes {
            self.entry_mut(*node).record.clone_from(record);
        }
        for (node, announced) in &batch.tariffs {
            let tariffs = &mut self.entry_mut(*node).tariffs;
            let same =
                |known: &Announced| (known.version, known.announced_in) == (announced.version, announced.announced_in);
            tariffs.retain(|known| !same(known));
            tariffs.push(*announced);
        }
        for (wallet, agent) in &batch.routes {
            if agent.is_zero() {
                self.routes.remove(wallet);
            } else {
                let place = self.place(*agent);
                self.routes.insert(*wallet, place);
            }
        }
        for (payer, payee, lane) in &batch.lanes {
            self.lanes.insert(pair(*payer, *payee), *lane);
        }
        for (payer, payee, mandate) in &batch.mandates {
            self.mandates.insert(pair(*payer, *payee), mandate.clone());
        }
        for (payer, signer, may_sign) in &batch.delegates {
            let delegate = pair(*payer, *signer);
            if *may_sign {
                self.delegates.insert(delegate);
            } else {
                self.delegates.remove(&delegate);
            }
        }
        for block in &batch.blocks {
            self.window.push(block);
        }
        if batch.all_read {
            self.unread.clear();
        }
        self.unread.extend(&batch.unread);
    }

    fn entry(&self, node: Address) -> Option<&NodeEntry> {
        self.nodes.get(usize::try_from(*self.places.get(&node)?).ok()?)
    }

    fn entry_mut(&mut self, node: Address) -> &mut NodeEntry {
        let place = usize::try_from(self.place(node)).expect("a list is not longer than memory");
        &mut self.nodes[place]
    }

    /// The place of a node, made if it has none. A route may be read before the node that it names.
    fn place(&mut self, node: Address) -> u32 {
        let next = u32::try_from(self.nodes.len()).expect("each node was paid for with a transaction");
        let place = *self.places.entry(node).or_insert(next);
        if place == next {
            self.nodes.push(NodeEntry { address: node, record: None, tariffs: Vec::new() });
        }
        place
    }
}
