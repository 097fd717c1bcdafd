//! Refusals first: what a relay in between can do to a stream, and what only a modified agent sends.
#![expect(clippy::unwrap_used, reason = "tests")]

use alloy::primitives::Address;
use minus_bindings::Amount;
use proptest::prelude::*;

use super::*;
use crate::{
    meter::{LINES_MAX, Meter, MeterLine},
    relay_count::RelayCounter,
    sse::SseParser,
    tariff::Tariff,
};

const SALT: [u8; 32] = [0x5a; 32];

fn session() -> SessionKey {
    SessionKey::from_bytes([0x77; 32])
}

fn message(seq: u64, len: usize) -> Frame {
    Frame::Message {
        seq,
        stored_at: 1_700_000_000,
        tariff_version: 3,
        relayed: seq.is_multiple_of(2),
        packet: vec![9; len].into(),
    }
}

fn statement(lines: usize) -> Frame {
    let line = MeterLine {
        tariff_version: 1,
        tariff: Tariff { delivery: u64::MAX, relay: u64::MAX, storing: u64::MAX },
        meter: Meter { delivered: u128::MAX, relayed: u128::MAX, byte_seconds: u128::MAX },
    };
    Frame::Statement(Statement {
        number: 1,
        wallet: Address::repeat_byte(1),
        through: 5,
        at: 1_700_000_000,
        base: Amount::ZERO,
        lines: vec![line; lines],
        total: Amount::MAX,
    })
}

fn events(frames: &[Frame]) -> Vec<SseEvent> {
    let mut sealer = StreamSealer::new(&session(), SALT);
    let mut text = sealer.opening_event();
    for frame in frames {
        text.push_str(&sealer.seal(frame));
    }
    SseParser::new().push(text.as_bytes()).unwrap()
}

fn open_all(events: &[SseEvent]) -> Result<Vec<Frame>, StreamError> {
    let mut opener = StreamOpener::new(&session());
    let frames: Result<Vec<_>, _> = events.iter().map(|event| opener.open(event)).collect();
    Ok(frames?.into_iter().flatten().collect())
}

/// An event around any plaintext, as the first after the salt.
fn forged(id: Option<u64>, plaintext: &[u8]) -> Result<Vec<Frame>, StreamError> {
    let aad = id.map(|id| id.to_string()).unwrap_or_default();
    let bytes = session().cipher(&SALT, STREAM_INFO).seal(&nonce(0), aad.as_bytes(), plaintext);
    let event = SseEvent { id, event: None, data: STANDARD.encode(bytes) };
    open_all(&[events(&[]), vec![event]].concat())
}

#[test]
fn refuses_a_stream_without_its_salt() {
    let events = events(&[Frame::KeepAlive]);
    assert_eq!(open_all(&events[1..]), Err(StreamError::Salt));
    assert_eq!(open_all(&[events[0].clone(), events[0].clone()]), Err(StreamError::Salt));
    let short = SseEvent { data: STANDARD.encode([0; 31]), ..events[0].clone() };
    assert_eq!(open_all(&[short]), Err(StreamError::Salt));
    let broken = SseEvent { data: "*".into(), ..events[0].clone() };
    assert_eq!(open_all(&[broken]), Err(StreamError::Encoding));
}

#[test]
fn refuses_another_session() {
    let events = events(&[Frame::KeepAlive]);
    let mut opener = StreamOpener::new(&SessionKey::from_bytes([0x78; 32]));
    assert_eq!(opener.open(&events[0]), Ok(None));
    assert_eq!(opener.open(&events[1]), Err(StreamError::Unopenable(0)));
}

#[test]
fn refuses_dropped_repeated_reordered_and_renumbered_events() {
    let frames = [message(1, 400), message(2, 400), statement(1), Frame::KeepAlive];
    let events = events(&frames);
    assert_eq!(open_all(&events).unwrap(), frames);

    for dropped in 1..events.len() - 1 {
        let mut changed = events.clone();
        changed.remove(dropped);
        assert!(matches!(open_all(&changed), Err(StreamError::Unopenable(_))), "{dropped}");
    }
    for repeated in 1..events.len() {
        let mut changed = events.clone();
        changed.insert(repeated, events[repeated].clone());
        assert!(matches!(open_all(&changed), Err(StreamError::Unopenable(_))), "{repeated}");
    }
    let mut swapped = events.clone();
    swapped.swap(1, 2);
    assert_eq!(open_all(&swapped), Err(StreamError::Unopenable(0)));

    for id in [None, Some(0), Some(2), Some(u64::MAX)] {
        let mut renumbered = events.clone();
        renumbered[1].id = id;
        assert_eq!(open_all(&renumbered), Err(StreamError::Unopenable(0)));
    }
    let mut numbered = events.clone();
    numbered[3].id = Some(3);
    assert_eq!(open_all(&numbered), Err(StreamError::Unopenable(2)));
}

#[test]
fn refuses_a_change_of_any_character() {
    let events = events(&[message(1, 60)]);
    for index in 0..events[1].data.len() {
        let mut changed = events.clone();
        let flipped = if changed[1].data.as_bytes()[index] == b'A' { "B" } else { "A" };
        changed[1].data.replace_range(index..=index, flipped);
        assert!(open_all(&changed).is_err(), "{index}");
    }
}

#[test]
fn refuses_frames_of_no_known_form() {
    let header = |kind: u8, seq: u8, flags: u8| {
        let mut bytes = vec![0; MESSAGE_HEADER_BYTES];
        (bytes[0], bytes[8], bytes[21]) = (kind, seq, flags);
        bytes
    };
    assert!(forged(Some(1), &header(1, 1, 1)).is_ok());
    assert_eq!(forged(Some(1), &[]), Err(StreamError::Form));
    assert_eq!(forged(Some(1), &header(0, 1, 0)), Err(StreamError::Form));
    assert_eq!(forged(Some(1), &header(4, 1, 0)), Err(StreamError::Form));
    assert_eq!(forged(Some(1), &header(1, 1, 2)), Err(StreamError::Form));
    assert_eq!(forged(Some(1), &header(1, 1, 0)[..21]), Err(StreamError::Form));
    assert_eq!(forged(Some(2), &header(1, 1, 0)), Err(StreamError::Number { event: Some(2), frame: Some(1) }));
    assert_eq!(forged(None, &header(1, 1, 0)), Err(StreamError::Number { event: None, frame: Some(1) }));

    let small = |kind: u8, content: &[u8]| [&[kind], &padding::pad_to_multiple(content, 1024)[..]].concat();
    assert_eq!(forged(None, &small(3, &[])).unwrap(), [Frame::KeepAlive]);
    assert_eq!(forged(Some(1), &small(3, &[])), Err(StreamError::Number { event: Some(1), frame: None }));
    assert_eq!(forged(None, &small(3, b"x")), Err(StreamError::Form));
    assert_eq!(forged(None, &small(2, b"x")), Err(StreamError::Statement(CborError::Malformed)));
    assert!(matches!(forged(None, &small(3, &[])[..1000]), Err(StreamError::Padding(_))));
    let mut dirty = small(3, &[]);
    dirty[1024] = 1;
    assert_eq!(forged(None, &dirty), Err(StreamError::Padding(PaddingError::NotZero)));
}

#[test]
fn every_frame_comes_back_as_it_was() {
    let frames =
        [message(1, 358), Frame::KeepAlive, statement(0), message(u64::MAX, PACKET_BYTES_MAX), statement(LINES_MAX)];
    assert_eq!(open_all(&events(&frames)).unwrap(), frames);
}

#[test]
fn statements_and_keep_alives_look_alike() {
    let events = events(&[statement(0), Frame::KeepAlive, statement(2)]);
    assert!(events[1..].iter().all(|event| event.data.len() == events[1].data.len() && event.id.is_none()));
}

#[test]
fn the_text_is_what_a_browser_reads() {
    let mut sealer = StreamSealer::new(&session(), SALT);
    assert_eq!(sealer.opening_event(), format!("retry: 4130\nevent: salt\ndata: {}\n\n", STANDARD.encode(SALT)));
    let text = sealer.seal(&message(12, 400));
    assert!(text.starts_with("id: 12\ndata: ") && text.ends_with("\n\n"));
    assert!(sealer.seal(&Frame::KeepAlive).starts_with("data: "));
}

fn any_frame() -> impl Strategy<Value = Frame> {
    prop_oneof![
        4 => (any::<u64>(), any::<u64>(), any::<u32>(), any::<bool>(), prop::collection::vec(any::<u8>(), 0..2000)).prop_map(
            |(seq, stored_at, tariff_version, relayed, packet)| {
                Frame::Message { seq, stored_at, tariff_version, relayed, packet: packet.into() }
            }
        ),
        1 => (0usize..8).prop_map(statement),
        1 => Just(Frame::KeepAlive),
    ]
}

proptest! {
    /// Any frames, in any chunks: the subscriber gets them all, and the relay counts the sum of the packets' lengths.
    #[test]
    fn subscriber_and_relay_agree_whatever_the_chunks(
        frames in prop::collection::vec(any_frame(), 0..12),
        cuts in prop::collection::vec(any::<prop::sample::Index>(), 0..40),
    ) {
        let mut sealer = StreamSealer::new(&session(), SALT);
        let mut text = sealer.opening_event();
        for frame in &frames {
            text.push_str(&sealer.seal(frame));
        }
        let mut cuts: Vec<_> = cuts.iter().map(|cut| cut.index(text.len() + 1)).collect();
        cuts.push(text.len());
        cuts.sort_unstable();

        let (mut parser, mut counter, mut events, mut counted, mut from) =
            (SseParser::new(), RelayCounter::new(), vec![], 0, 0);
        for cut in cuts {
            let chunk = &text.as_bytes()[from..cut];
            events.extend(parser.push(chunk).unwrap());
            counted += counter.push(chunk);
            from = cut;
        }
        let sum: usize = frames
            .iter()
            .map(|frame| if let Frame::Message { packet, .. } = frame { packet.len() } else { 0 })
            .sum();
        prop_assert_eq!(counted, u64::try_from(sum).unwrap());
        prop_assert_eq!(open_all(&events).unwrap(), frames);
    }

    #[test]
    fn any_event_is_answered(id: Option<u64>, event in prop::option::of("[a-z]{0,5}"), data in ".{0,50}") {
        let mut opener = StreamOpener::new(&session());
        let event = SseEvent { id, event, data };
        prop_assert!(opener.open(&event).is_err());
        opener.open(&events(&[])[0]).unwrap();
        prop_assert!(opener.open(&event).is_err());
    }

    #[test]
    fn any_plaintext_is_answered(id: Option<u64>, kind in 0u8..5, rest in prop::collection::vec(any::<u8>(), 0..1200)) {
        let _ = forged(id, &[&[kind], &rest[..]].concat());
    }
}
