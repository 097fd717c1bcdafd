//! Reads a request's body: never more than a packet has, never slower than a line worth serving, and only as many of them
//! and as many bytes at a time as `places` allows.

use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http_body_util::BodyExt;
use hyper::body::Body;
use minus_protocol::PACKET_BYTES_MAX;
use tokio::time::{Instant, timeout_at};

use super::{places::Guest, reason::Reason};

/// A packet has to arrive whole by then: a mebibyte in this time is 280 kbit/s.
const BODY_TIMEOUT: Duration = Duration::from_secs(30);
/// For so long a body may come as slowly as it likes: a line that hiccups, a small packet over a bad one.
const GRACE: Duration = Duration::from_secs(10);
/// After that it has to have come at this pace since the grace ended, so that a trickle is found out before the time is up.
const BYTES_PER_S_MIN: u64 = 16 << 10;

/// When the next byte has to be there at the latest, given how many came.
fn patience(begun: Instant, bytes: usize) -> Instant {
    let bytes = u64::try_from(bytes).unwrap_or(u64::MAX);
    let earned = Duration::from_millis(bytes.saturating_mul(1_000) / BYTES_PER_S_MIN);
    begun + (GRACE + earned).min(BODY_TIMEOUT)
}

/// The whole body. A body that comes in one piece is not copied.
pub(crate) async fn read<B>(mut body: B, guest: &Guest) -> Result<Bytes, Reason>
where
    B: Body<Data = Bytes> + Unpin,
{
    let announced = usize::try_from(body.size_hint().lower()).unwrap_or(usize::MAX);
    if announced > PACKET_BYTES_MAX {
        return Err(Reason::TooLarge);
    }
    let mut place = guest.body()?;
    let begun = Instant::now();
    let mut first = Bytes::new();
    let mut rest = BytesMut::new();
    let mut length = 0_usize;
    loop {
        let frame = match timeout_at(patience(begun, length), body.frame()).await {
            Ok(Some(Ok(frame))) => frame,
            Ok(Some(Err(_))) => return Err(Reason::BodyBrokenOff),
            Ok(None) => break,
            Err(_) => return Err(Reason::BodyTooSlow),
        };
        let Ok(data) = frame.into_data() else { continue }; // trailers say nothing here
        length = length.saturating_add(data.len());
        if length > PACKET_BYTES_MAX {
            return Err(Reason::TooLarge);
        }
        place.grow(data.len())?;
        if first.is_empty() {
            first = data;
            continue;
        }
        if rest.is_empty() {
            // Untouched memory costs nothing, so what is announced may be set aside.
            rest.reserve(announced.max(first.len() + data.len()));
            rest.extend_from_slice(&first);
        }
        rest.extend_from_slice(&data);
    }
    Ok(if rest.is_empty() { first } else { rest.freeze() })
}

#[cfg(test)]
mod tests {
    use std::{convert::Infallible, sync::Arc};

    use futures_util::{Stream, StreamExt, stream};
    use http_body_util::StreamBody;
    use hyper::body::Frame;

    use super::*;
    use crate::{http::places::Places, metrics::Metrics};

    fn guest() -> Guest {
        let places = Arc::new(Places::new(1, 1, Arc::new(Metrics::new())));
        places.connection([192, 0, 2, 1].into()).expect("there is room")
    }

    async fn read_pieces(pieces: impl Stream<Item = Bytes> + Send) -> Result<Bytes, Reason> {
        let frames = Box::pin(pieces.map(|piece| Ok::<_, Infallible>(Frame::data(piece))));
        read(StreamBody::new(frames), &guest()).await
    }

    #[tokio::test]
    async fn pieces_are_put_together_and_one_piece_is_not_copied() {
        let whole = Bytes::from_static(b"in one piece");
        let read_back = read_pieces(stream::iter([whole.clone()])).await.expect("it is short");
        assert_eq!(read_back.as_ptr(), whole.as_ptr());
        let pieces = ["", "in ", "", "several ", "pieces"].map(|piece| Bytes::from_static(piece.as_bytes()));
        assert_eq!(read_pieces(stream::iter(pieces)).await.expect("they are short"), "in several pieces");
        assert_eq!(read_pieces(stream::empty()).await.expect("nothing is short"), "");
    }

    #[tokio::test]
    async fn never_more_than_a_packet() {
        let full = Bytes::from(vec![1; PACKET_BYTES_MAX]);
        assert_eq!(read_pieces(stream::iter([full.clone()])).await.map(|bytes| bytes.len()), Ok(PACKET_BYTES_MAX));
        let over = [full, Bytes::from_static(b"x")];
        assert_eq!(read_pieces(stream::iter(over)).await, Err(Reason::TooLarge));
    }

    #[test]
    fn a_trickle_is_given_up_soon_and_a_slow_line_later() {
        let begun = Instant::now();
        // At a steady pace, when is there nothing more to come in time?
        let given_up_after = |bytes_per_s: usize| {
            (0..).find(|second| {
                patience(begun, bytes_per_s * second)
                    <= begun + Duration::from_secs(1) * u32::try_from(*second).expect("soon")
            })
        };
        assert_eq!(given_up_after(1), Some(10));
        assert_eq!(given_up_after(8 << 10), Some(20));
        assert_eq!(given_up_after(35 << 10), Some(30), "the largest packet has just come by then");
    }

    #[tokio::test]
    async fn a_body_that_breaks_off_is_no_body() {
        let frames = stream::iter([Ok(Frame::data(Bytes::from_static(b"half"))), Err(std::io::Error::other("gone"))]);
        assert_eq!(read(StreamBody::new(frames), &guest()).await, Err(Reason::BodyBrokenOff));
    }
}
