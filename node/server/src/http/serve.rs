//! Accepts connections and deals them out to the cores. Everything a slow or greedy peer could hold on to has a bound
//! here or in `places`.
//!
//! HTTP/1 only. Nobody needs HTTP/2 here: browsers speak it over TLS alone, proxies that end TLS speak HTTP/1 to what is
//! behind them, and relays keep connections open. It would bring floods of its own, and a way to hold a stream for ever that
//! no socket shows.

use std::{
    convert::Infallible,
    future::poll_fn,
    io,
    pin::{Pin, pin},
    sync::{Arc, Mutex, PoisonError},
    task::Poll,
    time::Duration,
};

use axum::body::Body;
use hyper::{
    Request, Response,
    body::Incoming,
    server::conn::http1,
    service::{Service, service_fn},
};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::{
    net::{TcpListener, TcpStream},
    runtime::Handle,
};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use super::{
    places::{Guest, Places},
    sockets::{self, Watched},
    streaming::Streaming,
};
use crate::metrics::{Broken, Metrics};

/// A request's headers have to arrive by then; between requests a connection may be idle as long.
const HEADER_TIMEOUT: Duration = Duration::from_secs(10);
/// Headers of one request: ours have three.
const HEADERS_MAX: usize = 64;
/// Bytes buffered per connection, request line and headers included: a whole subscription's query fits.
const BUFFER_BYTES_MAX: usize = 64 << 10;
/// After a failed accept (no descriptors left), a short rest instead of a busy loop.
const ACCEPT_REST: Duration = Duration::from_millis(50);
/// What a connection is told for which there is no place. It is not read first, so this is all it costs.
const NO_PLACE: &[u8] = b"HTTP/1.1 429 Too Many Requests\r\nconnection: close\r\ncontent-length: 0\r\n\r\n";

/// What a port needs to be served.
pub(crate) struct Door<C> {
    pub(crate) listener: TcpListener,
    /// On which the next connections are served.
    pub(crate) cores: C,
    pub(crate) places: Arc<Places>,
    /// A peer that takes nothing for so long is gone.
    pub(crate) stall_timeout: Duration,
    pub(crate) metrics: Arc<Metrics>,
    pub(crate) stop: CancellationToken,
    /// Connections, until they have ended.
    pub(crate) connections: TaskTracker,
}

/// Serves until `stop`, then lets running requests end. `service` makes what answers on one connection.
pub(crate) async fn serve<C, S, F>(mut door: Door<C>, service: F)
where
    C: Iterator<Item = Handle>,
    F: Fn(Arc<Guest>) -> S,
    S: Service<Request<Incoming>, Response = Response<Body>, Error = Infallible> + Send + 'static,
    S::Future: Send + 'static,
{
    let mut http = http1::Builder::new();
    http.timer(TokioTimer::new())
        .header_read_timeout(HEADER_TIMEOUT)
        .max_headers(HEADERS_MAX)
        .max_buf_size(BUFFER_BYTES_MAX);
    loop {
        let accepted = tokio::select! {
            () = door.stop.cancelled() => return,
            accepted = door.listener.accept() => accepted,
        };
        let Ok((stream, from)) = accepted else {
            tokio::time::sleep(ACCEPT_REST).await;
            continue;
        };
        let Some(guest) = door.places.connection(from.ip()) else {
            let _ = stream.try_write(NO_PLACE);
            continue;
        };
        door.metrics.connections_accepted.increment(1);
        let (Some(core), Ok(stream)) = (door.cores.next(), stream.into_std()) else { continue };
        let guest = Arc::new(guest);
        let service = service(Arc::clone(&guest));
        let (http, metrics, stop) = (http.clone(), Arc::clone(&door.metrics), door.stop.clone());
        let stall_timeout = door.stall_timeout;
        let conversation = async move {
            let _place = guest;
            // Here, so that this core waits for its events and its timers.
            let Ok(stream) = TcpStream::from_std(stream) else { return };
            let stream = sockets::watch(stream, stall_timeout);
            if let Err(broken) = converse(&http, stream, service, stop).await {
                tracing::trace!(?broken, "a connection ended");
                metrics.connections_broken.of(broken).increment(1);
            }
        };
        door.connections.spawn_on(conversation, &core);
    }
}

/// Serves one connection to its end.
async fn converse<S>(http: &http1::Builder, stream: Watched, service: S, stop: CancellationToken) -> Result<(), Broken>
where
    S: Service<Request<Incoming>, Response = Response<Body>, Error = Infallible> + Send + 'static,
    S::Future: Send + 'static,
{
    // In a box, so that nothing of it stays when a stream takes the connection over.
    match Box::pin(talk(http, stream, service, stop)).await? {
        Some((streaming, stream)) => streaming.run(stream).await,
        None => Ok(()),
    }
}

/// Answers requests until the connection ends, or until a stream takes it over. After `stop` the running request ends and no
/// other begins.
async fn talk<S>(
    http: &http1::Builder,
    stream: Watched,
    service: S,
    stop: CancellationToken,
) -> Result<Option<(Streaming, Watched)>, Broken>
where
    S: Service<Request<Incoming>, Response = Response<Body>, Error = Infallible> + Send + 'static,
    S::Future: Send + 'static,
{
    let taken_over: Arc<Mutex<Option<Streaming>>> = Arc::default();
    let slot = Arc::clone(&taken_over);
    let service = service_fn(move |request: Request<Incoming>| {
        let (version, slot) = (request.version(), Arc::clone(&slot));
        let answering = service.call(request);
        async move {
            let mut response = answering.await?;
            match Streaming::of(&mut response, version) {
                None => Ok::<_, Infallible>(response),
                Some(streaming) => {
                    *slot.lock().unwrap_or_else(PoisonError::into_inner) = Some(streaming);
                    // HTTP hears no more of this: whoever polls it looks into the slot next.
                    std::future::pending().await
                }
            }
        }
    });
    let mut connection = http.serve_connection(TokioIo::new(stream), service);
    let mut stopped = pin!(stop.cancelled());
    let mut is_stopping = false;
    let ended = poll_fn(|context| {
        if !is_stopping && stopped.as_mut().poll(context).is_ready() {
            is_stopping = true;
            Pin::new(&mut connection).graceful_shutdown();
        }
        let ended = Pin::new(&mut connection).poll(context);
        match taken_over.lock().unwrap_or_else(PoisonError::into_inner).take() {
            Some(streaming) => Poll::Ready(Ok(Some(streaming))),
            None => ended.map_ok(|()| None),
        }
    });
    match ended.await {
        Ok(Some(streaming)) => Ok(Some((streaming, connection.into_parts().io.into_inner()))),
        Ok(None) => Ok(None),
        Err(error) => Err(Broken::of(&error)),
    }
}

impl Broken {
    fn of(error: &hyper::Error) -> Self {
        match error {
            error if error.is_timeout() => Self::HeaderTimeout,
            error if error.is_parse_too_large() => Self::HeaderTooLarge,
            error if error.is_parse() => Self::NotHttp,
            error if error.is_incomplete_message() || is_gone(error) => Self::Gone,
            _ => Self::Other,
        }
    }
}

/// Whether the connection was lost below HTTP.
fn is_gone(error: &hyper::Error) -> bool {
    let source = std::error::Error::source(error);
    error.is_body_write_aborted() || source.is_some_and(|source| source.is::<io::Error>())
}
