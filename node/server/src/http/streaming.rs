//! Answers that are streams. A stream lasts for hours and says little, so while it runs, its connection holds as little as
//! can be: the HTTP that read its request gives the connection away, with its buffers of many kilobytes, and what is left
//! is a socket, the next chunk and whoever makes it.

use std::{
    io::{self, Write},
    pin::Pin,
    sync::{Arc, Mutex, PoisonError},
};

use axum::{
    body::Body,
    http::{HeaderMap, HeaderValue, Version, header},
    response::Response,
};
use bytes::{Buf, Bytes};
use futures_util::{Stream, StreamExt};
use minus_protocol::headers::CONTENT_STREAM;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::sockets::Watched;
use crate::metrics::Broken;

/// What a listener may still say, and nobody reads: the line ends that some clients send after a body, and little more.
const UNREAD_BYTES_MAX: usize = 4 << 10;
/// A piece up to this is copied between the marks of its chunk: that is cheaper than to tell the kernel of three places.
const COPIED_BYTES_MAX: usize = 4 << 10;
/// Read at once of that.
const READ_BYTES: usize = 256;

/// Whoever makes it has said why it broke off.
#[derive(Debug)]
pub(crate) struct BrokenOff;

/// What a stream sends, piece by piece.
pub(crate) type Pieces = Pin<Box<dyn Stream<Item = Result<Bytes, BrokenOff>> + Send>>;

/// Rides on an answer to whoever writes it.
#[derive(Clone)]
struct Rider(Arc<Mutex<Option<Pieces>>>);

/// An answer that is a stream of events.
pub(crate) fn answer(pieces: impl Stream<Item = Result<Bytes, BrokenOff>> + Send + 'static) -> Response {
    let mut response = Response::new(Body::empty());
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(CONTENT_STREAM));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response.extensions_mut().insert(Rider(Arc::new(Mutex::new(Some(Box::pin(pieces))))));
    response
}

/// A stream that is about to take a connection over.
pub(super) struct Streaming {
    head: Vec<u8>,
    is_chunked: bool,
    pieces: Pieces,
}

impl Streaming {
    /// The stream in an answer, if it is one, as a client of this version understands it.
    pub(super) fn of(response: &mut Response, version: Version) -> Option<Self> {
        let rider: Rider = response.extensions_mut().remove()?;
        let pieces = rider.0.lock().unwrap_or_else(PoisonError::into_inner).take()?;
        let is_chunked = version == Version::HTTP_11;
        Some(Self { head: head(response.headers(), is_chunked), is_chunked, pieces })
    }

    /// Writes it to its end, or to the listener's.
    pub(super) async fn run(mut self, mut connection: Watched) -> Result<(), Broken> {
        let gone = |_: io::Error| Broken::Gone;
        connection.write_all(&std::mem::take(&mut self.head)).await.map_err(gone)?;
        let mut unread_bytes = 0;
        let mut unread = [0; READ_BYTES];
        loop {
            tokio::select! {
                biased;
                piece = self.pieces.next() => match piece {
                    Some(Ok(piece)) => write(&mut connection, piece, self.is_chunked).await.map_err(gone)?,
                    // Without the last chunk, the other side knows that there was more to come.
                    Some(Err(BrokenOff)) => return Ok(()),
                    None => break,
                },
                read = connection.read(&mut unread) => {
                    let bytes = read.map_err(gone)?;
                    unread_bytes += bytes;
                    // Who closed its side is taken to have left.
                    if bytes == 0 || unread_bytes > UNREAD_BYTES_MAX {
                        return Err(Broken::Gone);
                    }
                }
            }
        }
        if self.is_chunked {
            connection.write_all(b"0\r\n\r\n").await.map_err(gone)?;
        }
        connection.shutdown().await.map_err(gone)
    }
}

async fn write(connection: &mut Watched, piece: Bytes, is_chunked: bool) -> io::Result<()> {
    if piece.is_empty() {
        return Ok(()); // an empty chunk would be the last one
    }
    if !is_chunked {
        return connection.write_all(&piece).await;
    }
    let mut framed = Vec::with_capacity(COPIED_BYTES_MAX);
    write!(framed, "{:x}\r\n", piece.len())?;
    if piece.len() <= COPIED_BYTES_MAX {
        framed.extend_from_slice(&piece);
        framed.extend_from_slice(b"\r\n");
        return connection.write_all(&framed).await;
    }
    let mut framed = Buf::chain(framed.as_slice(), piece).chain(&b"\r\n"[..]);
    connection.write_all_buf(&mut framed).await
}

fn head(headers: &HeaderMap, is_chunked: bool) -> Vec<u8> {
    let mut head = b"HTTP/1.1 200 OK\r\nconnection: close\r\n".to_vec();
    if is_chunked {
        head.extend_from_slice(b"transfer-encoding: chunked\r\n");
    }
    for (name, value) in headers {
        for part in [name.as_str().as_bytes(), b": ", value.as_bytes(), b"\r\n"] {
            head.extend_from_slice(part);
        }
    }
    head.extend_from_slice(b"\r\n");
    head
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use futures_util::stream;
    use tokio::net::{TcpListener, TcpStream};

    use super::*;
    use crate::http::sockets;

    /// Both ends of a connection that a stream has taken over.
    async fn running(
        version: Version,
        pieces: impl Stream<Item = Result<Bytes, BrokenOff>> + Send + 'static,
    ) -> (TcpStream, tokio::task::JoinHandle<Result<(), Broken>>) {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let far = TcpStream::connect(listener.local_addr().expect("its address")).await.expect("a connection");
        let near = sockets::watch(listener.accept().await.expect("a connection").0, Duration::from_secs(60));
        let streaming = Streaming::of(&mut answer(pieces), version).expect("a stream");
        (far, tokio::spawn(streaming.run(near)))
    }

    async fn received(mut far: TcpStream) -> (String, String) {
        let mut text = String::new();
        far.read_to_string(&mut text).await.expect("it ends");
        let (head, body) = text.split_once("\r\n\r\n").expect("a whole head");
        (format!("{head}\r\n"), body.to_owned())
    }

    fn pieces() -> impl Stream<Item = Result<Bytes, BrokenOff>> + Send + 'static {
        stream::iter(["a first", "", "b"]).map(|piece| Ok(Bytes::from_static(piece.as_bytes())))
    }

    #[tokio::test]
    async fn ends_with_the_last_chunk_or_for_old_clients_with_the_connection() {
        let (far, run) = running(Version::HTTP_11, pieces()).await;
        let (head, body) = received(far).await;
        assert!(head.starts_with("HTTP/1.1 200 OK\r\n") && head.contains("content-type: text/event-stream\r\n"));
        assert!(head.contains("transfer-encoding: chunked\r\n") && head.contains("connection: close\r\n"));
        assert_eq!(body, "7\r\na first\r\n1\r\nb\r\n0\r\n\r\n");
        assert_eq!(run.await.expect("no panic"), Ok(()));
        let (far, _) = running(Version::HTTP_10, pieces()).await;
        let (head, body) = received(far).await;
        assert!(!head.contains("chunked"));
        assert_eq!(body, "a firstb");
    }

    #[tokio::test]
    async fn what_broke_off_has_no_last_chunk() {
        let (far, _) = running(Version::HTTP_11, pieces().chain(stream::iter([Err(BrokenOff)]))).await;
        assert_eq!(received(far).await.1, "7\r\na first\r\n1\r\nb\r\n");
    }

    #[tokio::test]
    async fn a_listener_that_left_or_talks_on_is_done_with() {
        let (far, run) = running(Version::HTTP_11, stream::pending()).await;
        drop(far);
        assert_eq!(run.await.expect("no panic"), Err(Broken::Gone));
        let (mut far, run) = running(Version::HTTP_11, stream::pending()).await;
        far.write_all(b"\r\n").await.expect("it is open");
        let _ = far.write_all(&[b'x'; UNREAD_BYTES_MAX]).await;
        assert_eq!(run.await.expect("no panic"), Err(Broken::Gone));
    }

    #[test]
    fn another_answer_is_no_stream() {
        assert!(Streaming::of(&mut Response::new(Body::empty()), Version::HTTP_11).is_none());
    }
}
