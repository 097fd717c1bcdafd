//! As agent: the open sessions of relays, kept in memory beside the store, because each packet that a relay brings asks
//! for one. Whatever a relay opens anew is read anew, so that the session it displaces ends everywhere.

use std::{
    collections::HashMap,
    sync::{Mutex, PoisonError},
};

use alloy::primitives::{Address, B256};

use crate::store::{
    StoreError,
    packets::Relay,
    peers::{self, OpenSession},
};

/// Sessions kept. Four of each of a thousand relays; with more, the store is asked more often.
const SESSIONS_MAX: usize = 4_096;

#[derive(Debug, Default)]
struct Known {
    sessions: HashMap<B256, OpenSession>,
    /// Counts what was forgotten: what was read before that is not kept.
    era: u64,
}

/// The sessions that were asked for lately.
#[derive(Debug, Default)]
pub(crate) struct Sessions(Mutex<Known>);

impl Sessions {
    fn with<T>(&self, change: impl FnOnce(&mut Known) -> T) -> T {
        change(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// The relay that a session belongs to, if it is open.
    pub(crate) async fn relay(
        &self,
        store: &crate::store::Store,
        token_hash: B256,
        now_s: u64,
    ) -> Result<Option<Relay>, StoreError> {
        let (known, era) = self.with(|known| (known.sessions.get(&token_hash).copied(), known.era));
        if let Some(open) = known {
            return Ok((open.expires_at > now_s).then_some(open.relay));
        }
        let read = peers::session(store.readers(), token_hash, now_s).await?;
        if let Some(open) = read {
            self.keep(token_hash, open, era, now_s);
        }
        Ok(read.map(|open| open.relay))
    }

    fn keep(&self, token_hash: B256, open: OpenSession, era: u64, now_s: u64) {
        self.with(|known| {
            if known.era != era {
                return;
            }
            if known.sessions.len() >= SESSIONS_MAX {
                known.sessions.retain(|_, open| open.expires_at > now_s);
            }
            if known.sessions.len() < SESSIONS_MAX {
                known.sessions.insert(token_hash, open);
            }
        });
    }

    /// A relay has opened another session, which may have ended an older one.
    pub(crate) fn forget(&self, relay: Address) {
        self.with(|known| {
            known.era = known.era.wrapping_add(1);
            known.sessions.retain(|_, open| open.relay.node != relay);
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const RELAY: Relay = Relay { node: Address::repeat_byte(1), operator: Address::repeat_byte(2) };

    fn hash(byte: u8) -> B256 {
        B256::repeat_byte(byte)
    }

    fn knows(sessions: &Sessions, hash: B256) -> bool {
        sessions.with(|known| known.sessions.contains_key(&hash))
    }

    #[test]
    fn what_was_read_before_something_was_forgotten_is_not_kept() {
        let sessions = Sessions::default();
        let open = OpenSession { relay: RELAY, expires_at: 100 };
        let era = sessions.with(|known| known.era);
        sessions.keep(hash(1), open, era, 0);
        assert!(knows(&sessions, hash(1)));
        sessions.forget(RELAY.node);
        assert!(!knows(&sessions, hash(1)));
        sessions.keep(hash(1), open, era, 0);
        assert!(!knows(&sessions, hash(1)));
    }

    #[test]
    fn a_full_house_lets_go_of_what_is_over() {
        let sessions = Sessions::default();
        for number in 0..SESSIONS_MAX + 1 {
            let hash = alloy::primitives::keccak256(number.to_be_bytes());
            sessions.keep(hash, OpenSession { relay: RELAY, expires_at: 100 }, 0, 0);
        }
        assert_eq!(sessions.with(|known| known.sessions.len()), SESSIONS_MAX);
        sessions.keep(hash(1), OpenSession { relay: RELAY, expires_at: 300 }, 0, 200);
        assert_eq!(sessions.with(|known| known.sessions.len()), 1);
    }
}
