//! What is asked of everything that parses a stranger's bytes, as functions of those bytes that panic when it does not hold.
//!
//! Each is a libFuzzer target (`fuzz_targets/`, run by `scripts/test --deep`) and is replayed over its corpus by
//! `tests/tests/fuzz_corpora.rs` in every run. Nothing may panic; what is accepted comes out the same when it is written
//! again; what two parts count, they count alike.

mod input;
mod sealed;

use minus_bindings::row::{parse_payments, parse_results};
use minus_bindings::{Amount, SignedVoucher, escrow_domain, routing_domain};
use minus_protocol::bundle::{join_answers, split, split_answers};
use minus_protocol::{
    Bundle, BundleError, Carriage, Command, Expected, Frame, MESSAGE_HEADER_BYTES, MeterLine, Outgoing,
    PACKET_BYTES_MAX, Packet, RelayCounter, SealingSecret, SessionKey, SseEvent, SseParser, Statement, StreamOpener,
    StreamSealer, Tariff, add_message, check, endpoint, headers, open, open_reply, seal, seal_reply, total,
};

use alloy::primitives::Address;
use alloy::signers::local::PrivateKeySigner;
use input::Input;

/// One target: panics when what it asks of the bytes does not hold.
pub type Target = fn(&[u8]);

/// All targets by name, as `fuzz_targets` and `corpus` name them.
pub const TARGETS: [(&str, Target); 10] = [
    ("packet", packet),
    ("bundle", bundle),
    ("envelope", envelope),
    ("command", command),
    ("reply", reply),
    ("stream", stream),
    ("sse", sse),
    ("rows", rows),
    ("text", text),
    ("statement", statement),
];

const SESSION: [u8; 32] = [0x55; 32];
const SALT: [u8; 32] = [0x66; 32];

// The keys of `node/protocol/tests/wire.txt`, so that its packet opens.
fn recipient() -> SealingSecret {
    SealingSecret::derive(&[0x33; 32])
}

fn domain() -> alloy::sol_types::Eip712Domain {
    routing_domain(31_337, Address::repeat_byte(0x44))
}

/// Bytes as a packet: what parses keeps its bytes, and opens or not without harm. As a body, they come out of a packet
/// as they went in.
pub fn packet(data: &[u8]) {
    if let Ok(packet) = Packet::parse(data.to_vec()) {
        assert_eq!(packet.as_bytes(), data);
        assert_eq!(packet.recipient().as_slice(), &data[1..21]);
        let query = headers::encode_packet_query(&packet);
        assert_eq!(headers::decode_packet_query(&query).as_ref(), Ok(&packet));
        let _ = open(&packet, &recipient(), &domain());
        return;
    }
    let mut input = Input::new(data);
    let outgoing = Outgoing { id: input.array(), sent_at_ms: input.number(), body: input.rest() };
    let signer = PrivateKeySigner::from_slice(&[0x11; 32]).expect("a valid key");
    let Ok(packet) = seal(&outgoing, Address::repeat_byte(0x22), &recipient().public(), &signer, &domain()) else {
        assert!(outgoing.body.len() > minus_protocol::BODY_BYTES_MAX);
        return;
    };
    let opened = open(&packet, &recipient(), &domain()).expect("what was sealed opens");
    assert_eq!((opened.sender, opened.id, opened.sent_at_ms), (signer.address(), outgoing.id, outgoing.sent_at_ms));
    assert_eq!(opened.body, outgoing.body);
}

/// Bytes as a bundle of packets, which holds all its bytes and goes back together the same, and as the answers to one, which
/// have one encoding and are as many as were asked for.
pub fn bundle(data: &[u8]) {
    if let Ok(parts) = split(data) {
        let mut again = Bundle::default();
        let whole = parts.iter().all(|part| Packet::parse(part.to_vec()).is_ok_and(|packet| again.push(&packet)));
        assert!(!whole || again.as_bytes() == data, "a bundle has a second encoding");
    }
    let packets = data.first().map_or(0, |first| usize::from(*first % 70));
    let answers = data.get(1..).unwrap_or_default();
    match split_answers(answers.to_vec().into(), packets) {
        Ok(judgements) => {
            assert_eq!(judgements.len(), packets);
            assert_eq!(join_answers(&judgements), answers, "answers have a second encoding");
        }
        Err(BundleError::Unequal { packets: asked, answers }) => assert!(asked == packets && answers != packets),
        Err(_) => {}
    }
}

/// Bytes as what a stranger sealed into a packet, which is where most of the parsing happens.
pub fn envelope(data: &[u8]) {
    let Some(packet) = sealed::packet(data, &recipient().public()) else { return };
    if let Ok(opened) = open(&packet, &recipient(), &domain()) {
        assert!(opened.body.len() < data.len());
    }
}

/// Bytes as a command, which has one encoding.
pub fn command(data: &[u8]) {
    if let Ok(command) = Command::decode(data) {
        assert_eq!(command.encode(), data);
    }
    let body = Input::new(data).command();
    let encoded = Command { session: SessionKey::from_bytes(SESSION), body: body.clone() }.encode();
    assert_eq!(Command::decode(&encoded).map(|command| command.body), Ok(body));
}

/// Bytes as what a node sealed as its reply.
pub fn reply(data: &[u8]) {
    let session = SessionKey::from_bytes(SESSION);
    let _ = open_reply(&session, data);
    let plaintext = sealed::padded(data, 512);
    let bytes = sealed::reply(&SESSION, &SALT, &plaintext);
    if let Ok(reply) = open_reply(&session, &bytes) {
        let again = seal_reply(&session, &reply);
        assert_eq!(sealed::open_reply(&SESSION, &again), plaintext, "a second encoding of {reply:?}");
        assert_eq!(open_reply(&session, &again), Ok(reply));
    }
}

/// Bytes as the frames of a stream and as the places where the network cuts it: each frame that opens is written again the
/// same, and a relay counts the packets that the customer gets.
pub fn stream(data: &[u8]) {
    let session = SessionKey::from_bytes(SESSION);
    let mut input = Input::new(data);
    let cuts = input.array::<8>();
    let mut sealer = StreamSealer::new(&session, SALT);
    let mut text = sealer.opening_event();
    let mut nonce = 0;
    while !input.is_empty() {
        let (id, plaintext) = input.frame();
        text.push_str(&sealed::event(&SESSION, &SALT, nonce, id, &plaintext));
        nonce += 1;
    }

    let mut opener = StreamOpener::new(&session);
    let (mut delivered, mut counted) = (0, 0);
    let (mut parser, mut counter) = (SseParser::new(), RelayCounter::new());
    let mut written = sealer.opening_event();
    for chunk in chunks(text.as_bytes(), &cuts) {
        counted += counter.push(chunk);
        for event in parser.push(chunk).expect("the events are well-formed") {
            let Ok(frame) = opener.open(&event) else { return };
            if let Some(Frame::Message { packet, .. }) = &frame {
                delivered += u64::try_from(packet.len()).expect("a packet's length");
            }
            written.extend(frame.map(|frame| sealer.seal(&frame)));
        }
    }
    assert_eq!(written, text, "a frame has a second encoding");
    assert_eq!(counted, delivered, "the relay counts otherwise than the customer");
}

/// Bytes as the text of a stream: wherever it is cut, parser and counter say the same, and the counter says what the
/// parser's events add up to.
pub fn sse(data: &[u8]) {
    let (cuts, text) = data.split_at(data.len().min(8));
    let whole = SseParser::new().push(text);
    let mut parser = SseParser::new();
    let cut: Result<Vec<_>, _> = chunks(text, cuts).map(|chunk| parser.push(chunk)).collect();
    let cut = cut.map(|events| events.concat());
    assert_eq!(cut.as_ref().ok(), whole.as_ref().ok(), "a cut changes the events");

    let counted = RelayCounter::new().push(text);
    let mut counter = RelayCounter::new();
    let summed: u64 = chunks(text, cuts).map(|chunk| counter.push(chunk)).sum();
    assert_eq!(summed, counted, "a cut changes the count");
    if let Ok(events) = whole {
        assert_eq!(counted, events.iter().map(packet_len).sum::<u64>(), "the relay counts other events");
    }
}

/// What an event's length says about its packet, told from the whole event.
fn packet_len(event: &SseEvent) -> u64 {
    let data = event.data.as_bytes();
    if event.id.is_none() || data.contains(&b'\n') || !data.len().is_multiple_of(4) {
        return 0;
    }
    let padding = data.iter().rev().take(2).take_while(|byte| **byte == b'=').count();
    let len = (data.len() / 4 * 3).saturating_sub(padding).checked_sub(MESSAGE_HEADER_BYTES + 16);
    len.filter(|len| *len <= PACKET_BYTES_MAX).and_then(|len| u64::try_from(len).ok()).unwrap_or(0)
}

/// Pieces of a text: each cut is so many bytes after the one before, zero among them; what is left follows in one.
fn chunks<'a>(text: &'a [u8], cuts: &'a [u8]) -> impl Iterator<Item = &'a [u8]> {
    let ends = cuts.iter().map(|cut| usize::from(*cut)).chain([usize::MAX]);
    ends.scan(text, |rest, len| {
        let (chunk, after) = rest.split_at(len.min(rest.len()));
        *rest = after;
        Some(chunk)
    })
}

/// Bytes as the rows of a claim, as its answers, and as a voucher's JSON.
pub fn rows(data: &[u8]) {
    let (rows, _) = data.as_chunks::<96>();
    for row in rows {
        let voucher = SignedVoucher::from_row(Address::repeat_byte(0x77), row);
        assert_eq!(voucher.to_row(), *row);
        let _ = voucher.signer(&escrow_domain(31_337, Address::repeat_byte(0xee)));
    }
    if let Ok(results) = parse_results(data) {
        assert!(results.len() == data.len() && data.iter().all(|number| *number < 8));
    }
    match parse_payments(data) {
        Ok(payments) => assert_eq!(payments.len() * 32, data.len()),
        Err(_) => assert!(!data.len().is_multiple_of(32)),
    }
    if let Ok(voucher) = serde_json::from_slice::<SignedVoucher>(data) {
        let json = serde_json::to_string(&voucher).expect("a voucher is JSON");
        assert_eq!(serde_json::from_str::<SignedVoucher>(&json).ok(), Some(voucher));
    }
}

/// Text as a header's token, as a query's packet, as an endpoint, as an amount.
pub fn text(data: &[u8]) {
    let Ok(text) = str::from_utf8(data) else { return };
    if let Some(token) = headers::decode_token(text) {
        assert_eq!(headers::encode_token(&token), text);
    }
    if let Ok(packet) = headers::decode_packet_query(text) {
        assert_eq!(headers::encode_packet_query(&packet), text);
    }
    if let Ok(url) = endpoint::parse(text) {
        assert_eq!(endpoint::parse(url.as_str()).as_ref(), Ok(&url), "an endpoint changes when it is read again");
        if let Some(std::net::IpAddr::V4(address)) = endpoint::literal_address(&url) {
            let disguised = address.to_ipv6_mapped().into();
            assert_eq!(endpoint::is_public(address.into()), endpoint::is_public(disguised));
        }
    }
    if let Ok(amount) = text.parse::<Amount>() {
        assert_eq!(amount.to_string().parse::<Amount>().as_ref(), Ok(&amount));
    }
}

/// Numbers as a customer's count and an agent's statement: what the customer would sign never costs more than its own
/// count does.
pub fn statement(data: &[u8]) {
    let mut input = Input::new(data);
    let tariffs: [Tariff; 3] = std::array::from_fn(|_| input.tariff());
    let base = input.amount();
    let now = input.number();
    let mut own: Vec<MeterLine> = Vec::new();
    for _ in 0..usize::from(input.byte() % 8) {
        let version = u32::from(input.byte() % 3);
        let carriage = Carriage {
            bytes: input.number() >> 44,
            stored_at: now.saturating_sub(input.number() >> 40),
            tariff_version: version,
            relayed_in: input.byte() % 2 == 1,
        };
        let tariff = |version: u32| tariffs.get(usize::try_from(version).ok()?).copied();
        let _ = add_message(&mut own, tariff, &carriage, now, input.byte() % 2 == 1);
    }
    let wallet = Address::repeat_byte(input.byte() % 2);
    let expected = Expected { wallet: Address::ZERO, through: 9, base, lines: own.clone() };
    let mut lines = own;
    let changes = input.byte() % 4;
    for _ in 0..changes {
        input.change(&mut lines);
    }
    let stated = total(base, &lines).unwrap_or(Amount::MAX);
    let total_stated = if input.byte().is_multiple_of(8) { input.amount() } else { stated };
    let statement = Statement {
        number: input.number(),
        wallet,
        through: u64::from(input.byte() % 12),
        at: now.saturating_add(u64::from(input.byte())),
        base,
        lines,
        total: total_stated,
    };
    let agrees = check(&expected, &statement, now).is_ok();
    if agrees {
        assert!(total(base, &expected.lines).is_ok_and(|own| statement.total <= own), "{statement:?}");
    } else {
        let honest = changes == 0
            && total_stated == stated
            && total(base, &expected.lines).is_ok()
            && wallet.is_zero()
            && statement.through <= 9
            && statement.at - now <= minus_protocol::CLOCK_TOLERANCE_S;
        assert!(!honest, "the own count is refused: {statement:?}");
    }
}
