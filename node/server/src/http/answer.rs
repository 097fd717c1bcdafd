//! Answers of the public surface. What a stranger is told is the status; the internal cause stays in the log.

use axum::{
    body::Body,
    http::{HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
};
use minus_protocol::{
    CONTENT_BUNDLE, Receipt, Refusal, Reply, SessionKey, Status, Stored,
    bundle::ACCEPT_POST,
    headers::{CONTENT_PACKET, METERED},
    seal_reply,
};

use super::reason::Reason;
use crate::{chain::view::ViewError, metrics::Metrics, store::StoreError};

/// Why a request was not served. Everything a stranger may learn is its status.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Refused {
    /// A reason that a stranger may know.
    #[error("{}", .0.text())]
    For(Reason),
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The chain could not be read.
    #[error(transparent)]
    View(#[from] ViewError),
}

impl From<Reason> for Refused {
    fn from(reason: Reason) -> Self {
        Self::For(reason)
    }
}

impl Refused {
    /// Why, for the metrics and for the stranger. An internal cause is only named: nothing was stored and nothing
    /// charged, and later it may pass.
    pub(crate) const fn reason(&self) -> Reason {
        match self {
            Self::For(reason) => *reason,
            Self::Store(StoreError::Busy) | Self::View(ViewError::Store(StoreError::Busy)) => Reason::WriterFull,
            Self::View(ViewError::Busy) => Reason::ChainBusy,
            Self::Store(_) | Self::View(ViewError::Store(_)) => Reason::StoreFailed,
            Self::View(_) => Reason::ChainFailed,
        }
    }

    pub(crate) const fn status(&self) -> Status {
        self.reason().status()
    }

    /// The same for a command that could be opened.
    pub(crate) const fn refusal(&self) -> Refusal {
        match self.status() {
            Status::TooMany => Refusal::Busy,
            Status::Misdirected => Refusal::NotEntrusted,
            Status::StaleView if matches!(self, Self::For(_)) => Refusal::StaleView,
            _ => Refusal::Failed,
        }
    }

    /// Says it to the operator, as loudly as it deserves.
    pub(crate) fn log(&self) {
        if self.is_internal() {
            tracing::warn!(error = %self, "a request could not be served");
        } else {
            tracing::debug!(status = self.status().code(), reason = %self, "refused");
        }
    }

    /// Whether the operator should hear of it.
    pub(crate) const fn is_internal(&self) -> bool {
        matches!(self, Self::Store(_) | Self::View(_))
    }
}

impl IntoResponse for Refused {
    fn into_response(self) -> Response {
        self.log();
        (code(self.status()), self.reason().text()).into_response()
    }
}

/// A status of the table as HTTP has it.
pub(crate) fn code(status: Status) -> StatusCode {
    StatusCode::from_u16(status.code()).expect("every status of the table is a valid code")
}

/// The body of a 202.
pub(crate) fn receipt(stored: Stored) -> Vec<u8> {
    serde_json::to_vec(&Receipt { stored }).expect("a receipt is plain JSON")
}

/// 202, and how many bytes were counted for the relay that brought the packet.
pub(crate) fn stored(stored: Stored, metered: Option<u64>) -> Response {
    let mut response = Response::new(Body::from(receipt(stored)));
    *response.status_mut() = code(Status::Stored);
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    if let Some(bytes) = metered {
        response.headers_mut().insert(METERED, HeaderValue::from(bytes));
    }
    response
}

/// A reply under the command's own password.
pub(crate) fn sealed(metrics: &Metrics, session: &SessionKey, reply: &Reply) -> Response {
    let status = match reply {
        Reply::Refused { reason, detail } => {
            metrics.commands_refused.of(*reason).increment(1);
            tracing::debug!(%reason, detail, "a command was refused");
            Status::of_refusal(*reason)
        }
        _ => Status::Answered,
    };
    let mut response = Response::new(Body::from(seal_reply(session, reply)));
    *response.status_mut() = code(status);
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(CONTENT_PACKET));
    if matches!(reply, Reply::PeerSession { .. }) {
        for content in [CONTENT_PACKET, CONTENT_BUNDLE] {
            response.headers_mut().append(ACCEPT_POST, HeaderValue::from_static(content));
        }
    }
    response
}
