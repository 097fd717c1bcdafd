//! Who may come in: bounds on connections and on bodies under way, in all and per remote address.
//!
//! One address may well bring many connections: a relay holds one for each stream it pipes, and behind a reverse proxy
//! everybody has the proxy's address. So the bound per address is high: it only keeps one from taking everything, and an
//! operator behind a proxy raises it to the whole. Of IPv6, an address is the 64 bits that one subscriber is given.

use std::{
    collections::HashMap,
    net::{IpAddr, Ipv6Addr},
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
};

use minus_protocol::PACKET_BYTES_MAX;

use super::reason::Reason;
use crate::metrics::{Limit, Metrics};

/// Bodies under way at a time: while one is slow it costs its buffer and nothing else, so there may be more than requests
/// in work.
pub(crate) const BODIES_MAX: usize = 1_024;
/// The same from one address: a relay forwards 128 at a time to one agent, and a proxy passes on what it has whole.
pub(crate) const BODIES_PER_ADDRESS_MAX: usize = 256;
/// Bytes of bodies under way, in all: 256 of the largest packets, a quarter of what a small machine has.
pub(crate) const BODY_BYTES_MAX: usize = 256 * PACKET_BYTES_MAX;

/// What is taken and what may be.
#[derive(Debug)]
pub(crate) struct Places {
    pub(crate) connections_max: usize,
    pub(crate) connections_per_address_max: usize,
    visitors: Mutex<HashMap<IpAddr, Arc<Visitor>>>,
    connections: AtomicUsize,
    bodies: AtomicUsize,
    body_bytes: AtomicUsize,
    metrics: Arc<Metrics>,
}

/// One remote address with at least one connection.
#[derive(Debug, Default)]
pub(crate) struct Visitor {
    connections: AtomicUsize,
    bodies: AtomicUsize,
}

/// Takes one more of something, if the bound allows it.
fn take(counter: &AtomicUsize, amount: usize, most: usize) -> bool {
    let more = |taken: usize| taken.checked_add(amount).filter(|sum| *sum <= most);
    counter.fetch_update(Ordering::AcqRel, Ordering::Acquire, more).is_ok()
}

fn give_back(counter: &AtomicUsize, amount: usize) {
    counter.fetch_sub(amount, Ordering::AcqRel);
}

/// What counts as one address.
fn subscriber(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(address) => Ipv6Addr::from_bits(address.to_bits() >> 64 << 64).into(),
        v4 @ IpAddr::V4(_) => v4,
    }
}

impl Places {
    pub(crate) fn new(connections_max: usize, connections_per_address_max: usize, metrics: Arc<Metrics>) -> Self {
        Self {
            connections_max,
            connections_per_address_max,
            visitors: Mutex::default(),
            connections: AtomicUsize::new(0),
            bodies: AtomicUsize::new(0),
            body_bytes: AtomicUsize::new(0),
            metrics,
        }
    }

    /// A place for a connection from there, until it is dropped.
    pub(crate) fn connection(self: &Arc<Self>, from: IpAddr) -> Option<Guest> {
        let refused = |limit| {
            self.metrics.limit_reached.of(limit).increment(1);
            None
        };
        if !take(&self.connections, 1, self.connections_max) {
            return refused(Limit::Connections);
        }
        let address = subscriber(from);
        let visitor = {
            // Under the lock, so that nobody removes the visitor in between.
            let mut visitors = self.visitors.lock().unwrap_or_else(PoisonError::into_inner);
            let visitor = visitors.entry(address).or_default();
            take(&visitor.connections, 1, self.connections_per_address_max).then(|| Arc::clone(visitor))
        };
        let Some(visitor) = visitor else {
            give_back(&self.connections, 1);
            return refused(Limit::ConnectionsPerAddress);
        };
        Some(Guest { places: Arc::clone(self), address, visitor })
    }

    /// What is used of each bound, for the metrics.
    pub(crate) fn used(&self) -> [(Limit, usize, usize); 5] {
        let visitors = self.visitors.lock().unwrap_or_else(PoisonError::into_inner);
        let most = |of: fn(&Visitor) -> &AtomicUsize| {
            visitors.values().map(|visitor| of(visitor).load(Ordering::Relaxed)).max().unwrap_or(0)
        };
        [
            (Limit::Connections, self.connections.load(Ordering::Relaxed), self.connections_max),
            (Limit::ConnectionsPerAddress, most(|visitor| &visitor.connections), self.connections_per_address_max),
            (Limit::Bodies, self.bodies.load(Ordering::Relaxed), BODIES_MAX),
            (Limit::BodiesPerAddress, most(|visitor| &visitor.bodies), BODIES_PER_ADDRESS_MAX),
            (Limit::BodyBytes, self.body_bytes.load(Ordering::Relaxed), BODY_BYTES_MAX),
        ]
    }
}

/// A connection that has its place.
#[derive(Debug)]
pub(crate) struct Guest {
    places: Arc<Places>,
    address: IpAddr,
    visitor: Arc<Visitor>,
}

impl Guest {
    /// A place for a body that is about to come.
    pub(crate) fn body(&self) -> Result<BodyPlace<'_>, Reason> {
        let refused = |limit| {
            self.places.metrics.limit_reached.of(limit).increment(1);
            Reason::BodiesFull
        };
        if !take(&self.visitor.bodies, 1, BODIES_PER_ADDRESS_MAX) {
            return Err(refused(Limit::BodiesPerAddress));
        }
        if !take(&self.places.bodies, 1, BODIES_MAX) {
            give_back(&self.visitor.bodies, 1);
            return Err(refused(Limit::Bodies));
        }
        Ok(BodyPlace { guest: self, bytes: 0 })
    }
}

impl Drop for Guest {
    fn drop(&mut self) {
        give_back(&self.places.connections, 1);
        let mut visitors = self.places.visitors.lock().unwrap_or_else(PoisonError::into_inner);
        if self.visitor.connections.fetch_sub(1, Ordering::AcqRel) == 1 {
            visitors.remove(&self.address);
        }
    }
}

/// A body under way, and what has come of it.
#[derive(Debug)]
pub(crate) struct BodyPlace<'a> {
    guest: &'a Guest,
    bytes: usize,
}

impl BodyPlace<'_> {
    /// Makes room for bytes that have come.
    pub(crate) fn grow(&mut self, bytes: usize) -> Result<(), Reason> {
        let places = &self.guest.places;
        if !take(&places.body_bytes, bytes, BODY_BYTES_MAX) {
            places.metrics.limit_reached.of(Limit::BodyBytes).increment(1);
            return Err(Reason::BodyBytesFull);
        }
        self.bytes += bytes;
        Ok(())
    }
}

impl Drop for BodyPlace<'_> {
    fn drop(&mut self) {
        give_back(&self.guest.places.body_bytes, self.bytes);
        give_back(&self.guest.places.bodies, 1);
        give_back(&self.guest.visitor.bodies, 1);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn places(connections_max: usize, per_address: usize) -> Arc<Places> {
        Arc::new(Places::new(connections_max, per_address, Arc::new(Metrics::new())))
    }

    fn address(last: u8) -> IpAddr {
        [192, 0, 2, last].into()
    }

    #[test]
    fn one_address_does_not_take_every_connection() {
        let places = places(3, 2);
        let first = places.connection(address(1)).expect("there is room");
        let _second = places.connection(address(1)).expect("there is room");
        assert!(places.connection(address(1)).is_none(), "its own bound");
        let third = places.connection(address(2)).expect("another has room");
        assert!(places.connection(address(3)).is_none(), "the bound of all");
        drop(third);
        drop(first);
        assert!(places.connection(address(1)).is_some(), "a place left is a place free");
        assert_eq!(places.used()[0], (Limit::Connections, 1, 3));
    }

    #[test]
    fn who_has_left_is_forgotten() {
        let places = places(2, 2);
        let guests = (places.connection(address(1)), places.connection(address(2)));
        drop(guests);
        assert!(places.visitors.lock().expect("not poisoned").is_empty());
        assert!(places.used().iter().all(|(_, used, _)| *used == 0));
    }

    #[test]
    fn the_addresses_of_one_subscriber_are_one() {
        let places = places(9, 1);
        let _guest = places.connection("2001:db8::1".parse().expect("an address"));
        assert!(places.connection("2001:db8::ffff".parse().expect("an address")).is_none());
        assert!(places.connection("2001:db8:0:1::1".parse().expect("an address")).is_some());
        let _guest = places.connection(address(1));
        assert!(places.connection("::ffff:192.0.2.1".parse().expect("an address")).is_none(), "the same, mapped");
    }

    #[test]
    fn bodies_are_bounded_by_number_and_by_bytes() {
        let places = places(9, 9);
        let (one, other) = (places.connection(address(1)).expect("room"), places.connection(address(2)).expect("room"));
        let held: Vec<_> = (0..BODIES_PER_ADDRESS_MAX).map(|_| one.body().expect("room")).collect();
        assert_eq!(one.body().expect_err("full"), Reason::BodiesFull);
        let mut body = other.body().expect("another address has room");
        body.grow(BODY_BYTES_MAX).expect("room");
        assert_eq!(body.grow(1).expect_err("full"), Reason::BodyBytesFull);
        drop(held);
        drop(body);
        assert!(places.used()[2..].iter().all(|(_, used, _)| *used == 0));
    }
}
