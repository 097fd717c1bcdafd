//! Connections that wait for the next packet, by endpoint. Bounded for each endpoint and in all; what is idle for too long
//! is closed, also when nobody asks for it any more.

use std::{
    collections::HashMap,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError, Weak,
        atomic::{AtomicUsize, Ordering},
    },
    thread,
    time::Duration,
};

use axum::http::Uri;
use minus_protocol::{CONTENT_BUNDLE, endpoint::EndpointError, headers::CONTENT_PACKET};
use tokio::time::Instant;
use url::{Position, Url};

use super::connection::Connection;

/// Idle connections kept to one node. As many as there may be requests to it, so that none is opened anew at full load.
const IDLE_PER_ENDPOINT_MAX: usize = 128;
/// Idle connections in all: a quarter of the descriptors that systems commonly give a service.
const IDLE_IN_ALL_MAX: usize = 16_384;
/// An idle connection is closed after this: shorter than the minute after which servers commonly close theirs.
const IDLE_MAX: Duration = Duration::from_secs(30);

/// A place that may be connected to, and the connections to it.
pub(super) struct Place {
    pub(super) uri: Uri,
    /// As requests name it.
    pub(super) path: String,
    pub(super) host: String,
    /// How each POST to it begins, up to the number of bytes: of a packet, and of a bundle.
    pub(super) post_head: String,
    pub(super) bundle_head: String,
    idle: Mutex<Vec<Connection>>,
    idle_in_all: Arc<AtomicUsize>,
}

impl std::fmt::Debug for Place {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Place").field(&self.uri).finish()
    }
}

impl Place {
    fn idle(&self) -> MutexGuard<'_, Vec<Connection>> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The idle connection that was used last and is still there, of this core's own if there is one.
    pub(super) fn take(&self) -> Option<Connection> {
        let here = thread::current().id();
        loop {
            let mut connection = {
                let mut idle = self.idle();
                let own = idle.iter().rposition(|connection| connection.home == here);
                let last = own.or_else(|| idle.len().checked_sub(1))?;
                idle.remove(last)
            };
            self.idle_in_all.fetch_sub(1, Ordering::Relaxed);
            if connection.idle_since.elapsed() < IDLE_MAX && connection.is_quiet() {
                return Some(connection);
            }
        }
    }

    /// Keeps a connection whose answer has ended.
    pub(super) fn give_back(&self, mut connection: Connection) {
        connection.idle_since = Instant::now();
        let mut idle = self.idle();
        if idle.len() < IDLE_PER_ENDPOINT_MAX && self.idle_in_all.load(Ordering::Relaxed) < IDLE_IN_ALL_MAX {
            idle.push(connection);
            self.idle_in_all.fetch_add(1, Ordering::Relaxed);
        }
    }

    fn close_idle(&self) {
        let mut idle = self.idle();
        let before = idle.len();
        idle.retain(|connection| connection.idle_since.elapsed() < IDLE_MAX);
        self.idle_in_all.fetch_sub(before - idle.len(), Ordering::Relaxed);
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let idle = self.idle.get_mut().unwrap_or_else(PoisonError::into_inner).len();
        self.idle_in_all.fetch_sub(idle, Ordering::Relaxed);
    }
}

/// Every place that somebody holds.
#[derive(Default)]
pub(super) struct Pool {
    places: Mutex<HashMap<String, Weak<Place>>>,
    idle_in_all: Arc<AtomicUsize>,
}

impl Pool {
    /// The place of an endpoint, so that whoever names it shares its connections.
    pub(super) fn place(&self, url: &Url) -> Result<Arc<Place>, EndpointError> {
        let mut places = self.places.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(known) = places.get(url.as_str()).and_then(Weak::upgrade) {
            return Ok(known);
        }
        let (path, host) = (url.path().to_owned(), url[Position::BeforeHost..Position::AfterPort].to_owned());
        let head =
            |content| format!("POST {path} HTTP/1.1\r\nhost: {host}\r\ncontent-type: {content}\r\ncontent-length: ");
        let place = Arc::new(Place {
            uri: url.as_str().parse().map_err(|_| EndpointError::NotAUrl)?,
            post_head: head(CONTENT_PACKET),
            bundle_head: head(CONTENT_BUNDLE),
            path,
            host,
            idle: Mutex::default(),
            idle_in_all: Arc::clone(&self.idle_in_all),
        });
        places.insert(url.as_str().to_owned(), Arc::downgrade(&place));
        Ok(place)
    }

    /// Closes what was idle for too long, and forgets places that nobody holds.
    pub(super) fn tidy(&self) {
        let places: Vec<_> = {
            let mut places = self.places.lock().unwrap_or_else(PoisonError::into_inner);
            places.retain(|_, place| place.strong_count() > 0);
            places.values().filter_map(Weak::upgrade).collect()
        };
        for place in places {
            place.close_idle();
        }
    }
}
