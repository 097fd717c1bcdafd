//! A peer's answer. The body of one that is no stream is read whole within a time and a length, because the request that
//! waits for it holds one of the node's places; a stream may last, but not in silence.

use std::time::Duration;

use axum::http::{HeaderMap, HeaderName, Response, StatusCode, header};
use bytes::{Bytes, BytesMut};
use http_body_util::BodyExt;
use hyper::body::{Body, Incoming};
use minus_protocol::reply::REPLY_BYTES_MAX;

use super::EgressError;

/// Silence after which a stream is taken for dead. Streams say something every `keep_alive`.
const SILENCE_MAX: Duration = Duration::from_secs(90);

/// The head is here, the body may still come.
#[derive(Debug)]
pub(crate) struct Answer {
    status: StatusCode,
    headers: HeaderMap,
    body: Incoming,
}

impl Answer {
    pub(super) fn new(response: Response<Incoming>) -> Self {
        let (parts, body) = response.into_parts();
        Self { status: parts.status, headers: parts.headers, body }
    }

    pub(crate) const fn status(&self) -> StatusCode {
        self.status
    }

    /// A header's text; empty if there is none.
    pub(crate) fn text(&self, name: HeaderName) -> &str {
        self.headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or("")
    }

    /// Same, by the name of one of our own headers.
    pub(crate) fn own_header(&self, name: &'static str) -> Option<&str> {
        self.headers.get(name)?.to_str().ok()
    }

    pub(crate) fn content_type(&self) -> &str {
        self.text(header::CONTENT_TYPE)
    }

    /// The body of an answer that is no stream: never more of it than the longest reply.
    pub(crate) async fn read(mut self, time: Duration) -> Result<Bytes, EgressError> {
        let announced = self.body.size_hint().lower();
        if usize::try_from(announced).map_or(true, |announced| announced > REPLY_BYTES_MAX) {
            return Err(EgressError::BodyTooLong);
        }
        tokio::time::timeout(time, self.read_to_end()).await.map_err(|_| EgressError::BodyTimeout)?
    }

    async fn read_to_end(&mut self) -> Result<Bytes, EgressError> {
        let mut whole = Bytes::new();
        while let Some(chunk) = self.chunk().await? {
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
        tokio::time::timeout(SILENCE_MAX, self.chunk()).await.map_err(|_| EgressError::Silent)?
    }

    async fn chunk(&mut self) -> Result<Option<Bytes>, EgressError> {
        while let Some(frame) = self.body.frame().await {
            let frame = frame.map_err(|error| EgressError::of_http(&error))?;
            // Trailers say nothing to us.
            if let Ok(data) = frame.into_data() {
                return Ok(Some(data));
            }
        }
        Ok(None)
    }
}

fn joined(one: Bytes, other: &[u8]) -> Bytes {
    let mut both = one.try_into_mut().unwrap_or_else(|shared| BytesMut::from(&shared[..]));
    both.extend_from_slice(other);
    both.freeze()
}
