//! Several packets that a relay has for one agent at the same moment, in one request, and the agent's answer to each. What
//! HTTP, the sockets and the kernel cost is then shared among them; what is judged, counted and paid stays each packet's own.
//!
//! ```text
//! request   n × ( length 4 | packet )                         n from 2 to 64, no more than 128 KiB in all
//! answer    n × ( status 2 | metered 8 | length 2 | body )    in the packets' order; numbers big-endian
//! ```
//!
//! An agent that takes bundles says so in the answer that opens a peer session, with `accept-post`; one that does not is
//! brought one packet a request. A bundle comes under a peer session and holds packets for wallets only. Status 0, nothing
//! metered and no body: nothing was done about this packet, because it may take longer than the others should wait; it is to
//! be brought again by itself.

use bytes::{Buf, Bytes};

use crate::{packet::Packet, reply::REPLY_BYTES_MAX, status::Status};

/// The content type of a bundle and of the answer to one.
pub const CONTENT_BUNDLE: &str = "application/vnd.layer-minus.bundle";

/// Response header of the answer that opens a peer session: the content types that may be posted under it.
pub const ACCEPT_POST: &str = "accept-post";

/// Fewer travel alone, so that there is one way to bring a packet by itself.
pub const BUNDLE_PACKETS_MIN: usize = 2;

/// Packets of a bundle. With so many, what the request costs is a hundredth of what the packets do, and those that wait for
/// the slowest of them are not many; it is half of what a relay has under way to one agent.
pub const BUNDLE_PACKETS_MAX: usize = 64;

/// Bytes of a bundle: so many packets of 2 KiB. What is much larger gains nothing by company. It is also less than one packet
/// may have, so whatever bounds the bodies of requests bounds bundles too.
pub const BUNDLE_BYTES_MAX: usize = 128 << 10;

/// Bytes of one answer's body: a receipt has under thirty, a refusal a line.
pub const ANSWER_BODY_BYTES_MAX: usize = 256;

/// Before each packet.
const LENGTH_BYTES: usize = 4;

/// Before each answer's body: status, metered, length.
const ANSWER_HEAD_BYTES: usize = 2 + 8 + 2;

/// What an answer has in place of a status when nothing was done.
const NOTHING_DONE: u16 = 0;

const _: () = {
    assert!(BUNDLE_BYTES_MAX <= crate::packet::PACKET_BYTES_MAX);
    assert!(BUNDLE_PACKETS_MAX * (ANSWER_HEAD_BYTES + ANSWER_BODY_BYTES_MAX) <= REPLY_BYTES_MAX);
};

/// Why bytes are no bundle, or no answer to one. Final.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BundleError {
    /// Longer than [`BUNDLE_BYTES_MAX`].
    #[error("a bundle has at most {BUNDLE_BYTES_MAX} bytes, not {0}")]
    TooLong(usize),
    /// Cut short, or longer than what it says it holds.
    #[error("what it says it holds ends elsewhere than its bytes")]
    Broken,
    /// Fewer than [`BUNDLE_PACKETS_MIN`] or more than [`BUNDLE_PACKETS_MAX`].
    #[error("a bundle has {BUNDLE_PACKETS_MIN} to {BUNDLE_PACKETS_MAX} packets")]
    Number,
    /// Another number of answers than packets.
    #[error("{answers} answers to {packets} packets")]
    Unequal {
        /// Packets sent.
        packets: usize,
        /// Answers that came.
        answers: usize,
    },
    /// A status that is none of ours, or 200, which is no answer to a packet for a wallet; or something said of a packet that
    /// nothing was done about.
    #[error("an answer is none to a packet for a wallet")]
    NoAnswer,
}

/// A bundle being put together.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Bundle {
    bytes: Vec<u8>,
    packets: usize,
}

impl Bundle {
    /// Adds a packet. False when there is no room for it; the bundle is then as it was.
    #[must_use]
    pub fn push(&mut self, packet: &Packet) -> bool {
        let grown = self.bytes.len() + LENGTH_BYTES + packet.len();
        if self.packets == BUNDLE_PACKETS_MAX || grown > BUNDLE_BYTES_MAX {
            return false;
        }
        let length = u32::try_from(packet.len()).expect("a packet's length fits 32 bits");
        self.bytes.extend_from_slice(&length.to_be_bytes());
        self.bytes.extend_from_slice(packet.as_bytes());
        self.packets += 1;
        true
    }

    /// Packets in it.
    #[must_use]
    pub const fn packets(&self) -> usize {
        self.packets
    }

    /// The body of the request.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        &self.bytes
    }
}

/// What a bundle's body holds, in its order, each to be parsed by itself: one that is no packet does not spoil the others.
///
/// # Errors
/// [`BundleError::TooLong`], [`BundleError::Broken`], [`BundleError::Number`].
pub fn split(body: &[u8]) -> Result<Vec<&[u8]>, BundleError> {
    if body.len() > BUNDLE_BYTES_MAX {
        return Err(BundleError::TooLong(body.len()));
    }
    let mut packets = Vec::new();
    let mut rest = body;
    while !rest.is_empty() {
        let (length, after) = rest.split_first_chunk::<LENGTH_BYTES>().ok_or(BundleError::Broken)?;
        let length = usize::try_from(u32::from_be_bytes(*length)).map_err(|_| BundleError::Broken)?;
        let (packet, after) = after.split_at_checked(length).ok_or(BundleError::Broken)?;
        if packets.len() == BUNDLE_PACKETS_MAX {
            return Err(BundleError::Number);
        }
        packets.push(packet);
        rest = after;
    }
    if packets.len() < BUNDLE_PACKETS_MIN { Err(BundleError::Number) } else { Ok(packets) }
}

/// What an agent says of one packet of a bundle.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Judgement {
    /// As it would have answered the packet by itself.
    Answered {
        /// Any but [`Status::Answered`].
        status: Status,
        /// Packet bytes counted for the relay, as in [`crate::headers::METERED`].
        metered: u64,
        /// A receipt or a refusal's words, at most [`ANSWER_BODY_BYTES_MAX`] bytes.
        body: Bytes,
    },
    /// Nothing was done: bring it again by itself.
    Alone,
}

/// The body of the answer to a bundle. A longer text than may be is cut.
///
/// # Panics
/// When a packet for a wallet is answered 200, which no node does.
#[must_use]
pub fn join_answers(judgements: &[Judgement]) -> Vec<u8> {
    let mut bytes = Vec::new();
    for judgement in judgements {
        let (status, metered, body) = match judgement {
            Judgement::Alone => (NOTHING_DONE, 0, &[][..]),
            Judgement::Answered { status, metered, body } => {
                assert!(*status != Status::Answered, "200 is no answer to a packet for a wallet");
                (status.code(), *metered, &body[..body.len().min(ANSWER_BODY_BYTES_MAX)])
            }
        };
        let length = u16::try_from(body.len()).expect("it was cut to what fits");
        bytes.extend_from_slice(&status.to_be_bytes());
        bytes.extend_from_slice(&metered.to_be_bytes());
        bytes.extend_from_slice(&length.to_be_bytes());
        bytes.extend_from_slice(body);
    }
    bytes
}

/// The answers to a bundle of so many packets, in their order.
///
/// # Errors
/// [`BundleError::Broken`], [`BundleError::Unequal`], [`BundleError::NoAnswer`].
pub fn split_answers(mut body: Bytes, packets: usize) -> Result<Vec<Judgement>, BundleError> {
    let mut judgements = Vec::with_capacity(packets.min(BUNDLE_PACKETS_MAX));
    while body.has_remaining() {
        if judgements.len() == packets {
            return Err(BundleError::Unequal { packets, answers: packets + 1 });
        }
        let (Ok(status), Ok(metered), Ok(length)) = (body.try_get_u16(), body.try_get_u64(), body.try_get_u16()) else {
            return Err(BundleError::Broken);
        };
        let length = usize::from(length);
        if length > ANSWER_BODY_BYTES_MAX || length > body.len() {
            return Err(BundleError::Broken);
        }
        let text = body.split_to(length);
        judgements.push(match Status::from_code(status) {
            None if status == NOTHING_DONE && metered == 0 && text.is_empty() => Judgement::Alone,
            None | Some(Status::Answered) => return Err(BundleError::NoAnswer),
            Some(status) => Judgement::Answered { status, metered, body: text },
        });
    }
    if judgements.len() == packets {
        Ok(judgements)
    } else {
        Err(BundleError::Unequal { packets, answers: judgements.len() })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::packet::{PACKET_BYTES_MAX, PACKET_BYTES_MIN, PACKET_OVERHEAD_BYTES, PACKET_VERSION};

    fn packet(bytes: usize, fill: u8) -> Packet {
        let mut packet = vec![fill; bytes];
        (packet[0], packet[21]) = (PACKET_VERSION, 4);
        Packet::parse(packet).expect("well-formed")
    }

    fn small(fill: u8) -> Packet {
        packet(PACKET_BYTES_MIN, fill)
    }

    fn answered(status: Status, metered: u64, body: &'static [u8]) -> Judgement {
        Judgement::Answered { status, metered, body: Bytes::from_static(body) }
    }

    fn bundle(packets: &[Packet]) -> Bundle {
        let mut bundle = Bundle::default();
        assert!(packets.iter().all(|packet| bundle.push(packet)));
        bundle
    }

    #[test]
    fn refuses_one_packet_and_none() {
        assert_eq!(split(b""), Err(BundleError::Number));
        assert_eq!(split(bundle(&[small(1)]).as_bytes()), Err(BundleError::Number));
    }

    #[test]
    fn refuses_more_packets_and_bytes_than_the_bounds() {
        let mut bundle = Bundle::default();
        for _ in 0..BUNDLE_PACKETS_MAX {
            assert!(bundle.push(&small(1)));
        }
        assert!(!bundle.push(&small(1)), "full by number");
        assert_eq!(split(bundle.as_bytes()).map(|packets| packets.len()), Ok(BUNDLE_PACKETS_MAX));
        let more = [bundle.as_bytes(), &[0; LENGTH_BYTES]].concat();
        assert_eq!(split(&more), Err(BundleError::Number));

        let large = packet(PACKET_OVERHEAD_BYTES + (60 << 10), 1);
        let mut bundle = Bundle::default();
        assert!(bundle.push(&large) && bundle.push(&large));
        let before = bundle.clone();
        assert!(!bundle.push(&large), "full by bytes");
        assert_eq!(bundle, before);
        assert!(!Bundle::default().push(&packet(PACKET_OVERHEAD_BYTES + (256 << 10), 1)), "larger than any bundle");
        let long = vec![0; BUNDLE_BYTES_MAX + 1];
        assert_eq!(split(&long), Err(BundleError::TooLong(long.len())));
    }

    #[test]
    fn refuses_what_ends_elsewhere_than_it_says() {
        let two = bundle(&[small(1), small(2)]);
        let whole = two.as_bytes();
        let one = LENGTH_BYTES + PACKET_BYTES_MIN;
        for cut in (1..whole.len()).filter(|cut| *cut != one) {
            assert_eq!(split(&whole[..cut]), Err(BundleError::Broken), "{cut}");
        }
        assert_eq!(split(&[whole, &[0]].concat()), Err(BundleError::Broken));
        let mut far = whole.to_vec();
        far[one..one + LENGTH_BYTES].fill(0xff);
        assert_eq!(split(&far), Err(BundleError::Broken));
    }

    #[test]
    fn refuses_answers_of_another_number() {
        let answers = [answered(Status::Stored, 9, b"{}"), answered(Status::Spent, 0, b""), Judgement::Alone];
        let body = Bytes::from(join_answers(&answers));
        assert_eq!(split_answers(body.clone(), 3), Ok(answers.to_vec()));
        assert_eq!(split_answers(body.clone(), 4), Err(BundleError::Unequal { packets: 4, answers: 3 }));
        assert_eq!(split_answers(body.clone(), 2), Err(BundleError::Unequal { packets: 2, answers: 3 }));
        assert_eq!(split_answers(Bytes::new(), 2), Err(BundleError::Unequal { packets: 2, answers: 0 }));
        for cut in 1..body.len() {
            assert!(split_answers(body.slice(..cut), 3).is_err(), "{cut}");
        }
    }

    #[test]
    fn refuses_statuses_that_are_no_answer_to_a_wallets_packet() {
        let row = |status: u16, metered: u64, body: &[u8]| {
            let length = u16::try_from(body.len()).expect("short");
            Bytes::from([&status.to_be_bytes()[..], &metered.to_be_bytes(), &length.to_be_bytes(), body].concat())
        };
        for status in [200, 201, 301, 500, 999] {
            assert_eq!(split_answers(row(status, 0, b""), 1), Err(BundleError::NoAnswer), "{status}");
        }
        assert_eq!(split_answers(row(NOTHING_DONE, 1, b""), 1), Err(BundleError::NoAnswer));
        assert_eq!(split_answers(row(NOTHING_DONE, 0, b"x"), 1), Err(BundleError::NoAnswer));
        let long = row(202, 0, &[b'x'; ANSWER_BODY_BYTES_MAX + 1]);
        assert_eq!(split_answers(long, 1), Err(BundleError::Broken));
    }

    #[test]
    fn a_text_that_is_too_long_is_cut() {
        let body = Bytes::from(vec![b'x'; ANSWER_BODY_BYTES_MAX + 9]);
        let long = Judgement::Answered { status: Status::Stored, metered: 1, body: body.clone() };
        let cut = Judgement::Answered { status: Status::Stored, metered: 1, body: body.slice(..ANSWER_BODY_BYTES_MAX) };
        assert_eq!(split_answers(join_answers(&[long]).into(), 1), Ok(vec![cut]));
    }

    #[test]
    fn a_bundle_is_told_from_a_packet_by_its_first_byte_too() {
        // Whoever takes it for a packet refuses it: no length is as large as a version in its highest byte.
        const { assert!(PACKET_BYTES_MAX < 1 << 24) };
        let two = bundle(&[small(1), small(2)]);
        assert!(Packet::parse(two.as_bytes().to_vec()).is_err());
    }

    fn judgements() -> impl Strategy<Value = Vec<Judgement>> {
        let statuses: Vec<_> = Status::ALL.into_iter().filter(|status| *status != Status::Answered).collect();
        let body = prop::collection::vec(any::<u8>(), 0..=ANSWER_BODY_BYTES_MAX);
        let answered = (prop::sample::select(statuses), any::<u64>(), body)
            .prop_map(|(status, metered, body)| Judgement::Answered { status, metered, body: body.into() });
        prop::collection::vec(prop_oneof![4 => answered, 1 => Just(Judgement::Alone)], 0..=BUNDLE_PACKETS_MAX)
    }

    proptest! {
        #[test]
        fn what_is_put_in_comes_out_in_its_order(fills in prop::collection::vec(any::<u8>(), 2..=BUNDLE_PACKETS_MAX)) {
            let packets: Vec<_> = fills.iter().map(|fill| small(*fill)).collect();
            let bundle = bundle(&packets);
            prop_assert_eq!(bundle.packets(), packets.len());
            let expected: Vec<_> = packets.iter().map(Packet::as_bytes).collect();
            prop_assert_eq!(split(bundle.as_bytes()), Ok(expected));
        }

        #[test]
        fn answers_come_out_as_they_went_in(judgements in judgements()) {
            let body = join_answers(&judgements);
            prop_assert!(body.len() <= REPLY_BYTES_MAX);
            prop_assert_eq!(split_answers(body.into(), judgements.len()), Ok(judgements));
        }

        /// Whatever is accepted has one encoding.
        #[test]
        fn any_bytes_are_answered(bytes in prop::collection::vec(any::<u8>(), 0..300), packets in 0_usize..8) {
            if let Ok(parts) = split(&bytes) {
                prop_assert_eq!(parts.iter().map(|part| LENGTH_BYTES + part.len()).sum::<usize>(), bytes.len());
            }
            if let Ok(judgements) = split_answers(bytes.clone().into(), packets) {
                prop_assert_eq!(judgements.len(), packets);
                prop_assert_eq!(join_answers(&judgements), bytes);
            }
        }
    }
}
