//! Accepts connections. Everything a slow or greedy peer could hold on to has a bound here.

use std::{sync::Arc, time::Duration};

use axum::Router;
use hyper_util::{
    rt::{TokioExecutor, TokioIo, TokioTimer},
    server::conn::auto::Builder,
    service::TowerToHyperService,
};
use tokio::{
    net::{TcpListener, TcpStream},
    sync::Semaphore,
};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

/// Connections at a time: each costs a descriptor and some tens of kilobytes.
const CONNECTIONS_MAX: usize = 16_384;
/// A request's headers have to arrive by then.
const HEADER_TIMEOUT: Duration = Duration::from_secs(10);
/// Headers of one request: ours have three.
const HEADERS_MAX: usize = 64;
/// Bytes buffered per connection, request line and headers included.
const BUFFER_BYTES_MAX: usize = 64 << 10;
/// HTTP/2 streams per connection: a relay multiplexes the packets of many senders.
const H2_STREAMS_MAX: u32 = 256;
/// HTTP/2 header list.
const H2_HEADER_BYTES_MAX: u32 = 16 << 10;
/// How often an HTTP/2 peer is asked for a sign of life.
const H2_PING_INTERVAL: Duration = Duration::from_secs(20);
/// How HTTP/2 begins.
const H2_PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
/// Between two looks at a connection that began like HTTP/2 and went silent.
const LOOK_AGAIN: Duration = Duration::from_millis(50);
/// After a failed accept (no descriptors left), a short rest instead of a busy loop.
const ACCEPT_REST: Duration = Duration::from_millis(50);

/// Serves until `stop`, then lets running requests end. Connections are tracked in `tasks`.
pub(crate) async fn serve(listener: TcpListener, router: Router, stop: CancellationToken, tasks: TaskTracker) {
    let mut builder = Builder::new(TokioExecutor::new());
    builder
        .http1()
        .timer(TokioTimer::new())
        .header_read_timeout(HEADER_TIMEOUT)
        .max_headers(HEADERS_MAX)
        .max_buf_size(BUFFER_BYTES_MAX);
    builder
        .http2()
        .timer(TokioTimer::new())
        .max_concurrent_streams(H2_STREAMS_MAX)
        .max_header_list_size(H2_HEADER_BYTES_MAX)
        .keep_alive_interval(H2_PING_INTERVAL);
    let builder = Arc::new(builder);
    let places = Arc::new(Semaphore::new(CONNECTIONS_MAX));
    loop {
        let place = tokio::select! {
            () = stop.cancelled() => return,
            place = Arc::clone(&places).acquire_owned() => place.expect("the semaphore is never closed"),
        };
        let accepted = tokio::select! {
            () = stop.cancelled() => return,
            accepted = listener.accept() => accepted,
        };
        let Ok((stream, _)) = accepted else {
            tokio::time::sleep(ACCEPT_REST).await;
            continue;
        };
        // Events are small and late is worse than often.
        let _ = stream.set_nodelay(true);
        let service = TowerToHyperService::new(router.clone());
        let builder = Arc::clone(&builder);
        let stop = stop.clone();
        tasks.spawn(async move {
            let _place = place;
            let spoke = tokio::select! {
                spoke = speaks_within(&stream, HEADER_TIMEOUT) => spoke,
                () = stop.cancelled() => false,
            };
            if !spoke {
                return;
            }
            let connection = builder.serve_connection(TokioIo::new(stream), service);
            tokio::pin!(connection);
            let ended = tokio::select! {
                ended = connection.as_mut() => ended,
                () = stop.cancelled() => {
                    connection.as_mut().graceful_shutdown();
                    connection.await
                }
            };
            if let Err(error) = ended {
                tracing::trace!(%error, "a connection ended");
            }
        });
    }
}

/// Whether enough comes in time to tell HTTP/1 from HTTP/2. hyper waits for that without end; only then its timers run.
async fn speaks_within(stream: &TcpStream, time: Duration) -> bool {
    let mut first = [0; H2_PREFACE.len()];
    let spoke = async {
        loop {
            match stream.peek(&mut first).await {
                Ok(0) | Err(_) => return false,
                Ok(seen) if seen < H2_PREFACE.len() && H2_PREFACE.starts_with(&first[..seen]) => {
                    tokio::time::sleep(LOOK_AGAIN).await;
                }
                Ok(_) => return true,
            }
        }
    };
    tokio::time::timeout(time, spoke).await.unwrap_or(false)
}

#[cfg(test)]
mod tests {
    use tokio::io::AsyncWriteExt;

    use super::*;

    #[tokio::test]
    async fn a_silent_connection_is_not_waited_for() {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("its address");
        for (said, waited_for) in [
            (&b""[..], false),
            (b"P", false),
            (&H2_PREFACE[..23], false),
            (H2_PREFACE, true),
            (b"POST / HTTP/1.1", true),
        ] {
            let mut peer = TcpStream::connect(address).await.expect("connects");
            let (stream, _) = listener.accept().await.expect("accepts");
            peer.write_all(said).await.expect("writes");
            assert_eq!(speaks_within(&stream, Duration::from_millis(300)).await, waited_for, "{said:?}");
        }
    }
}
