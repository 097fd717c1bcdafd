//! A peer's answer. The body of one that is no stream is read whole within a time and a length, because the request that
//! waits for it holds one of the node's places; a stream may last, but not in silence.

use std::{sync::Arc, time::Duration};

use axum::http::StatusCode;
use bytes::{Bytes, BytesMut};
use minus_protocol::reply::REPLY_BYTES_MAX;
use tokio::time::Instant;

use super::{
    EgressError,
    connection::Connection,
    framing::{Framing, Taken},
    head::{Content, Head},
    pool::Place,
};

/// Silence after which a stream is taken for dead. Streams say something every `keep_alive`.
const SILENCE_MAX: Duration = Duration::from_secs(90);

/// The head is here, the body may still come.
pub(crate) struct Answer {
    head: Head,
    /// Until the body has ended.
    connection: Option<Connection>,
    place: Arc<Place>,
}

impl std::fmt::Debug for Answer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Answer").field("head", &self.head).finish_non_exhaustive()
    }
}

impl Answer {
    pub(super) const fn new(head: Head, connection: Connection, place: Arc<Place>) -> Self {
        Self { head, connection: Some(connection), place }
    }

    pub(crate) const fn status(&self) -> StatusCode {
        self.head.status
    }

    /// What the body is said to be.
    pub(crate) const fn content(&self) -> Content {
        self.head.content
    }

    /// Packet bytes that the agent says it counted.
    pub(crate) const fn metered(&self) -> Option<u64> {
        self.head.metered
    }

    /// Whether the agent says that it takes bundles.
    pub(crate) const fn takes_bundles(&self) -> bool {
        self.head.takes_bundles
    }

    /// The body of an answer that is no stream: never more of it than the longest reply.
    pub(crate) async fn read(mut self, time: Duration) -> Result<Bytes, EgressError> {
        if usize::try_from(self.head.framing.announced()).map_or(true, |announced| announced > REPLY_BYTES_MAX) {
            return Err(EgressError::BodyTooLong);
        }
        let deadline = Instant::now() + time;
        let mut whole = Bytes::new();
        while let Some(chunk) = self.chunk(deadline, EgressError::BodyTimeout).await? {
            if whole.len().saturating_add(chunk.len()) > REPLY_BYTES_MAX {
                return Err(EgressError::BodyTooLong);
            }
            // Nearly every reply is one chunk, which is then not copied.
            whole = if whole.is_empty() { chunk } else { joined(whole, &chunk) };
        }
        Ok(whole)
    }

    /// The next bytes of a stream; none at its end.
    pub(crate) async fn stream(&mut self) -> Result<Option<Bytes>, EgressError> {
        self.chunk(Instant::now() + SILENCE_MAX, EgressError::Silent).await
    }

    async fn chunk(&mut self, deadline: Instant, too_late: EgressError) -> Result<Option<Bytes>, EgressError> {
        loop {
            let Some(connection) = self.connection.as_mut() else { return Ok(None) };
            match self.head.framing.take(&mut connection.read)? {
                Taken::Data(data) => return Ok(Some(data)),
                Taken::End => {
                    let ended = self.connection.take();
                    if let Some(clean) = ended.filter(|connection| self.head.is_kept && connection.is_clean()) {
                        self.place.give_back(clean);
                    }
                    return Ok(None);
                }
                Taken::Nothing => {}
            }
            match connection.more_until(deadline).await {
                Some(Ok(true)) => {}
                Some(Ok(false)) if self.head.framing == Framing::ToTheEnd => self.connection = None,
                Some(Ok(false) | Err(_)) => return Err(EgressError::BrokeOff),
                None => return Err(too_late),
            }
        }
    }
}

fn joined(one: Bytes, other: &[u8]) -> Bytes {
    let mut both = one.try_into_mut().unwrap_or_else(|shared| BytesMut::from(&shared[..]));
    both.extend_from_slice(other);
    both.freeze()
}
