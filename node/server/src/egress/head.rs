//! The head of a peer's answer, as far as it says anything to us. Everything in it is a stranger's word.

use axum::http::StatusCode;
use bytes::BytesMut;
use httparse::{Header, Response, Status};
use minus_protocol::{
    bundle::{ACCEPT_POST, CONTENT_BUNDLE},
    headers::{CONTENT_PACKET, CONTENT_STREAM, METERED},
};

use super::{EgressError, framing::Framing};

/// Bytes of an answer's head.
const HEAD_BYTES_MAX: usize = 32 << 10;
/// Header lines of an answer.
const HEADERS_MAX: usize = 64;

/// What the body is said to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Content {
    /// A receipt.
    Json,
    /// A sealed reply.
    Packet,
    /// The answers to a bundle's packets.
    Bundle,
    /// Server-sent events.
    Stream,
    /// Anything else, which is passed on as text.
    Text,
}

/// What a head came to.
#[derive(Debug)]
pub(super) struct Head {
    pub(super) status: StatusCode,
    pub(super) content: Content,
    /// Packet bytes that the agent says it counted.
    pub(super) metered: Option<u64>,
    /// Whether it says that bundles may be posted.
    pub(super) takes_bundles: bool,
    pub(super) framing: Framing,
    /// Whether another request may follow on the connection.
    pub(super) is_kept: bool,
}

/// Takes a whole head off the front of what was read; none while it is incomplete. Interim answers are passed over.
pub(super) fn take(read: &mut BytesMut) -> Result<Option<Head>, EgressError> {
    loop {
        let mut headers = [httparse::EMPTY_HEADER; HEADERS_MAX];
        let mut response = Response::new(&mut headers);
        let length = match response.parse(read) {
            Ok(Status::Complete(length)) if length <= HEAD_BYTES_MAX => length,
            Ok(Status::Partial) if read.len() < HEAD_BYTES_MAX => return Ok(None),
            Ok(_) | Err(httparse::Error::TooManyHeaders) => return Err(EgressError::HeadTooLong),
            Err(_) => return Err(EgressError::Garbled),
        };
        let status = response.code.and_then(|code| StatusCode::from_u16(code).ok()).ok_or(EgressError::Garbled)?;
        if status == StatusCode::SWITCHING_PROTOCOLS {
            return Err(EgressError::Garbled);
        }
        let head = if status.is_informational() { None } else { Some(understood(&response, status)?) };
        let _ = read.split_to(length);
        if head.is_some() {
            return Ok(head);
        }
    }
}

fn understood(response: &Response<'_, '_>, status: StatusCode) -> Result<Head, EgressError> {
    let mut content = Content::Text;
    let mut metered = None;
    let mut takes_bundles = false;
    let mut length = None;
    let mut is_chunked = false;
    let mut is_coded = false;
    let mut is_kept = response.version == Some(1);
    for Header { name, value } in response.headers.iter() {
        let is = |known: &str| name.eq_ignore_ascii_case(known);
        if is("content-length") {
            let said = number(value).ok_or(EgressError::Garbled)?;
            if length.is_some_and(|before| before != said) {
                return Err(EgressError::Garbled);
            }
            length = Some(said);
        } else if is("transfer-encoding") {
            is_coded = true;
            is_chunked = last_of_list(value).eq_ignore_ascii_case(b"chunked");
        } else if is("connection") {
            is_kept &= !value.split(|byte| *byte == b',').any(|word| word.trim_ascii().eq_ignore_ascii_case(b"close"));
        } else if is("content-type") {
            content = kind(value);
        } else if is(METERED) {
            metered = number(value);
        } else if is(ACCEPT_POST) {
            takes_bundles |= value.split(|byte| *byte == b',').any(|content| kind(content) == Content::Bundle);
        }
    }
    let framing = match (is_coded, length) {
        _ if matches!(status, StatusCode::NO_CONTENT | StatusCode::NOT_MODIFIED) => Framing::Length(0),
        (true, _) if is_chunked => Framing::chunked(),
        (true, _) | (false, None) => Framing::ToTheEnd,
        (false, Some(length)) => Framing::Length(length),
    };
    // Two lengths are one too many: what follows may be anything.
    is_kept &= !(is_coded && length.is_some());
    Ok(Head { status, content, metered, takes_bundles, framing, is_kept })
}

fn kind(value: &[u8]) -> Content {
    let essence = value.split(|byte| *byte == b';').next().unwrap_or_default().trim_ascii();
    if essence.eq_ignore_ascii_case(b"application/json") {
        Content::Json
    } else if essence.eq_ignore_ascii_case(CONTENT_PACKET.as_bytes()) {
        Content::Packet
    } else if essence.eq_ignore_ascii_case(CONTENT_BUNDLE.as_bytes()) {
        Content::Bundle
    } else if essence.eq_ignore_ascii_case(CONTENT_STREAM.as_bytes()) {
        Content::Stream
    } else {
        Content::Text
    }
}

fn last_of_list(value: &[u8]) -> &[u8] {
    value.rsplit(|byte| *byte == b',').next().unwrap_or_default().trim_ascii()
}

/// Digits and nothing else.
fn number(value: &[u8]) -> Option<u64> {
    let digits = value.trim_ascii();
    let is_number = !digits.is_empty() && digits.iter().all(u8::is_ascii_digit);
    std::str::from_utf8(digits).ok().filter(|_| is_number)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn head(text: &str) -> Result<Option<Head>, EgressError> {
        take(&mut BytesMut::from(text.as_bytes()))
    }

    fn whole(text: &str) -> Head {
        head(text).expect("well-formed").expect("whole")
    }

    #[test]
    fn says_status_content_and_count() {
        let text = "HTTP/1.1 202 Accepted\r\nContent-Type: application/json; charset=utf-8\r\nMinus-Metered: 12\r\n\
                    content-length: 2\r\n\r\n{}";
        let mut read = BytesMut::from(text);
        let head = take(&mut read).expect("well-formed").expect("whole");
        assert_eq!((head.status.as_u16(), head.content, head.metered), (202, Content::Json, Some(12)));
        assert!(head.is_kept && head.framing == Framing::Length(2));
        assert_eq!(&read[..], b"{}");
        for cut in 0..text.len() - 2 {
            assert!(super::take(&mut BytesMut::from(&text[..cut])).expect("so far well").is_none(), "{cut}");
        }
        for (text, content) in [
            ("text/event-stream", Content::Stream),
            ("application/octet-stream", Content::Packet),
            ("application/vnd.layer-minus.bundle", Content::Bundle),
            ("application/jsonp", Content::Text),
            ("", Content::Text),
        ] {
            assert_eq!(whole(&format!("HTTP/1.1 200 OK\r\ncontent-type: {text}\r\n\r\n")).content, content, "{text}");
        }
    }

    #[test]
    fn says_whether_bundles_may_be_posted() {
        for (headers, takes) in [
            ("", false),
            ("accept-post: application/octet-stream\r\n", false),
            ("accept-post: application/vnd.layer-minus.bundle\r\n", true),
            ("accept-post: application/octet-stream, Application/vnd.layer-minus.bundle;q=1\r\n", true),
            ("accept-post: application/vnd.layer-minus.bundle\r\nAccept-Post: text/plain\r\n", true),
            ("accept-post: application/vnd.layer-minus.bundles\r\n", false),
            ("content-type: application/vnd.layer-minus.bundle\r\n", false),
        ] {
            assert_eq!(whole(&format!("HTTP/1.1 200 OK\r\n{headers}\r\n")).takes_bundles, takes, "{headers}");
        }
    }

    #[test]
    fn a_body_has_one_length() {
        for (headers, framing, is_kept) in [
            ("content-length: 5\r\n", Framing::Length(5), true),
            ("content-length: 5\r\ncontent-length: 5\r\n", Framing::Length(5), true),
            ("transfer-encoding: chunked\r\n", Framing::chunked(), true),
            ("transfer-encoding: gzip, Chunked\r\n", Framing::chunked(), true),
            ("transfer-encoding: chunked\r\ncontent-length: 5\r\n", Framing::chunked(), false),
            ("transfer-encoding: gzip\r\n", Framing::ToTheEnd, true),
            ("", Framing::ToTheEnd, true),
            ("content-length: 5\r\nconnection: Close\r\n", Framing::Length(5), false),
            ("content-length: 5\r\nconnection: x, close\r\n", Framing::Length(5), false),
        ] {
            let head = whole(&format!("HTTP/1.1 200 OK\r\n{headers}\r\n"));
            assert_eq!((head.framing, head.is_kept), (framing, is_kept), "{headers}");
        }
        assert!(!whole("HTTP/1.0 200 OK\r\ncontent-length: 0\r\n\r\n").is_kept);
        assert_eq!(whole("HTTP/1.1 204 No Content\r\ncontent-length: 9\r\n\r\n").framing, Framing::Length(0));
    }

    #[test]
    fn refuses_what_is_no_head() {
        for text in [
            "SSH-2.0-OpenSSH_9.2\r\n\r\n",
            "HTTP/2 200\r\n\r\n",
            "HTTP/1.1 101 Switching Protocols\r\n\r\n",
            "HTTP/1.1 200 OK\r\ncontent-length: 5\r\ncontent-length: 6\r\n\r\n",
            "HTTP/1.1 200 OK\r\ncontent-length: +5\r\n\r\n",
            "HTTP/1.1 200 OK\r\ncontent-length: 99999999999999999999\r\n\r\n",
            "HTTP/1.1 200 OK\r\nno colon\r\n\r\n",
        ] {
            assert!(matches!(head(text), Err(EgressError::Garbled)), "{text}");
        }
        let flood: String = (0..=HEADERS_MAX).map(|number| format!("header-{number}: x\r\n")).collect();
        let long = format!("x: {}\r\n", "y".repeat(HEAD_BYTES_MAX));
        for headers in [flood, long.clone(), long + "\r\n"] {
            let text = format!("HTTP/1.1 200 OK\r\n{headers}");
            assert!(matches!(head(&text), Err(EgressError::HeadTooLong)), "{}", text.len());
        }
    }

    #[test]
    fn interim_answers_are_none() {
        let text =
            "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nlink: x\r\n\r\nHTTP/1.1 404 Not Found\r\n\r\n";
        assert_eq!(whole(text).status, StatusCode::NOT_FOUND);
    }
}
