//! One connection to a peer. It has no task of its own: whoever sends a request on it polls it, so that a packet passes
//! through this node in one task, with nothing to wake and nothing to hand over.

use std::{
    future::poll_fn,
    io::{self, IoSlice},
    pin::Pin,
    task::{Context, Poll, Waker, ready},
    thread::{self, ThreadId},
    time::Duration,
};

use axum::http::Uri;
use bytes::BytesMut;
use hyper_rustls::{HttpsConnector, MaybeHttpsStream};
use hyper_util::{client::legacy::connect::HttpConnector, rt::TokioIo};
use tokio::{
    io::AsyncWrite,
    net::TcpStream,
    time::{Instant, Sleep, sleep_until, timeout_at},
};
use tokio_util::io::poll_read_buf;
use tower_service::Service;

use super::{
    EgressError,
    head::{self, Head},
    resolver::PublicOnly,
};

/// Resolving, connecting and the TLS handshake together: a node that takes longer is taken for unreachable.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// Read at once when there is no telling how much comes: receipts and statements fit.
const READ_BYTES: usize = 4 << 10;
/// Read at once while that much comes.
const READ_BYTES_MAX: usize = 32 << 10;

/// What connects. Names are resolved, and addresses judged, at each connection.
pub(super) type Connector = HttpsConnector<HttpConnector<PublicOnly>>;

/// Why there is no answer.
#[derive(Debug)]
pub(super) enum Failure {
    /// The connection was dead before a byte of the request had gone: it may go by another.
    Untouched,
    /// The request may have arrived.
    Final(EgressError),
}

impl From<EgressError> for Failure {
    fn from(error: EgressError) -> Self {
        Self::Final(error)
    }
}

/// A connection between requests, or in one.
pub(super) struct Connection {
    /// In a box: TLS makes it large, and a connection is handed about with every packet.
    stream: Box<TokioIo<MaybeHttpsStream<TokioIo<TcpStream>>>>,
    /// Read and not used yet.
    pub(super) read: BytesMut,
    read_bytes: usize,
    /// For all time limits of this connection, because a timer that is only put off costs nothing.
    timer: Pin<Box<Sleep>>,
    /// Whether a request has gone out whole.
    is_sent: bool,
    /// When the last answer ended.
    pub(super) idle_since: Instant,
    /// The thread that opened it and that waits for its events: elsewhere, they have a longer way.
    pub(super) home: ThreadId,
}

impl Connection {
    /// Opens one before the deadline.
    pub(super) async fn open(connector: &Connector, uri: &Uri, deadline: Instant) -> Result<Self, EgressError> {
        let connecting = async {
            let mut connector = connector.clone();
            poll_fn(|context| connector.poll_ready(context)).await?;
            connector.call(uri.clone()).await
        };
        let in_time = deadline.min(Instant::now() + CONNECT_TIMEOUT);
        let stream = match timeout_at(in_time, connecting).await {
            Ok(Ok(stream)) => stream,
            Ok(Err(error)) => return Err(EgressError::of_connecting(error.as_ref())),
            Err(_) if in_time < deadline => return Err(EgressError::ConnectTimeout),
            Err(_) => return Err(EgressError::AnswerTimeout),
        };
        Ok(Self {
            stream: Box::new(TokioIo::new(stream)),
            read: BytesMut::new(),
            read_bytes: READ_BYTES,
            timer: Box::pin(sleep_until(deadline)),
            is_sent: true,
            idle_since: Instant::now(),
            home: thread::current().id(),
        })
    }

    /// Whether the peer has neither closed an idle connection nor said anything on it unasked.
    pub(super) fn is_quiet(&mut self) -> bool {
        let mut context = Context::from_waker(Waker::noop());
        self.read.is_empty() && self.poll_read(&mut context).is_pending()
    }

    /// Whether another request may follow once the answer has ended.
    pub(super) fn is_clean(&self) -> bool {
        self.is_sent && self.read.is_empty()
    }

    /// Sends a request and gives the head of its answer.
    pub(super) async fn exchange(&mut self, head: &[u8], body: &[u8], deadline: Instant) -> Result<Head, Failure> {
        self.timer.as_mut().reset(deadline);
        self.is_sent = false;
        let mut sent = 0;
        let mut is_broken = false;
        poll_fn(|context| {
            if !self.is_sent && !is_broken {
                match self.poll_send(context, head, body, &mut sent) {
                    Poll::Ready(Ok(())) => self.is_sent = true,
                    Poll::Ready(Err(_)) if sent == 0 => return Poll::Ready(Err(Failure::Untouched)),
                    // What the peer had to say about it may have come all the same.
                    Poll::Ready(Err(_)) => is_broken = true,
                    Poll::Pending => {}
                }
            }
            self.poll_head(context).map_err(Failure::Final)
        })
        .await
    }

    fn poll_send(
        &mut self,
        context: &mut Context<'_>,
        head: &[u8],
        body: &[u8],
        sent: &mut usize,
    ) -> Poll<io::Result<()>> {
        while *sent < head.len() + body.len() {
            let left = [&head[head.len().min(*sent)..], &body[sent.saturating_sub(head.len())..]];
            let slices = left.map(IoSlice::new);
            let written = ready!(Pin::new(&mut *self.stream).poll_write_vectored(context, &slices))?;
            if written == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            *sent += written;
        }
        Pin::new(&mut *self.stream).poll_flush(context)
    }

    fn poll_head(&mut self, context: &mut Context<'_>) -> Poll<Result<Head, EgressError>> {
        loop {
            if !self.read.is_empty()
                && let Some(head) = head::take(&mut self.read)?
            {
                return Poll::Ready(Ok(head));
            }
            match self.poll_read(context) {
                Poll::Ready(Ok(0) | Err(_)) => return Poll::Ready(Err(EgressError::BrokeOff)),
                Poll::Ready(Ok(_)) => {}
                Poll::Pending => break,
            }
        }
        self.timer.as_mut().poll(context).map(|()| Err(EgressError::AnswerTimeout))
    }

    /// Reads more; true when there was any before the peer's end. None when it did not come in time.
    pub(super) async fn more_until(&mut self, deadline: Instant) -> Option<io::Result<bool>> {
        self.timer.as_mut().reset(deadline);
        poll_fn(|context| match self.poll_read(context) {
            Poll::Ready(read) => Poll::Ready(Some(read.map(|bytes| bytes > 0))),
            Poll::Pending => self.timer.as_mut().poll(context).map(|()| None),
        })
        .await
    }

    fn poll_read(&mut self, context: &mut Context<'_>) -> Poll<io::Result<usize>> {
        self.read.reserve(self.read_bytes);
        let bytes = ready!(poll_read_buf(Pin::new(&mut *self.stream), context, &mut self.read))?;
        self.read_bytes = if bytes >= self.read_bytes { READ_BYTES_MAX } else { READ_BYTES };
        Poll::Ready(Ok(bytes))
    }
}
