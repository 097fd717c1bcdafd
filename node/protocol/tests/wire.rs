//! The wire's bytes, held to the committed `wire.txt`: a change of any of them is a change of the protocol.
//!
//! Everything that is made of known keys, salts and times is written again and compared; what holds fresh randomness (the
//! packet, the reply) has to open to the known content. `MINUS_WRITE_VECTORS=1 cargo test -p minus-protocol --test wire
//! the_wire` writes the file anew; the diff is then for review.
#![expect(clippy::unwrap_used, reason = "tests")]

use std::{collections::BTreeMap, env, fs};

use alloy::{primitives::Address, signers::local::PrivateKeySigner};
use minus_bindings::{Amount, SignedVoucher, escrow_domain, routing_domain};
use minus_protocol::{
    Bundle, Carriage, Command, CommandBody, Frame, Judgement, Opened, Outgoing, Packet, Refusal, RelayCounter, Reply,
    SealingSecret, SessionKey, SseParser, Statement, Status, StreamOpener, StreamSealer, Tariff, add_message,
    bundle::{join_answers, split, split_answers},
    open, open_reply, seal, seal_reply, total,
};

const FILE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/wire.txt");
const HEAD: &str = "\
# Bytes on the wire of Layer Minus, for whoever writes another implementation. Hex unless it is text; \\n is a line feed.
# Keys: the sender's wallet secret is 32 bytes 11, the recipient's 32 bytes 33, the session key 32 bytes 55, the stream's
# salt 32 bytes 66. EIP-712: chain 31337, routing table 20 bytes 44, escrow 20 bytes ee. The recipient's address is 20
# bytes 22, the id 16 bytes 1d, the time 1700000000123 ms, the body `hello`. Contents: tests/wire.rs.
";

const SENT_AT_MS: u64 = 1_700_000_000_123;
const NOW: u64 = 1_700_000_060;

fn sender() -> PrivateKeySigner {
    PrivateKeySigner::from_slice(&[0x11; 32]).unwrap()
}

fn secret() -> SealingSecret {
    SealingSecret::derive(&[0x33; 32])
}

fn recipient() -> Address {
    Address::repeat_byte(0x22)
}

fn session() -> SessionKey {
    SessionKey::from_bytes([0x55; 32])
}

fn fresh_packet() -> Packet {
    let outgoing = Outgoing { id: [0x1d; 16], sent_at_ms: SENT_AT_MS, body: b"hello" };
    let domain = routing_domain(31337, Address::repeat_byte(0x44));
    seal(&outgoing, recipient(), &secret().public(), &sender(), &domain).unwrap()
}

fn reply() -> Reply {
    Reply::refused(Refusal::Superseded, "statement 4 was issued since")
}

fn statement() -> Statement {
    let tariff = Tariff { delivery: 3_000_000, relay: 500_000, storing: 70_000 };
    let carriage = Carriage { bytes: 1 << 29, stored_at: NOW - 86_400, tariff_version: 1, relayed_in: true };
    let mut lines = vec![];
    add_message(&mut lines, |_| Some(tariff), &carriage, NOW, true).unwrap();
    let base = Amount::from_base_units(7).unwrap();
    let total = total(base, &lines).unwrap();
    assert_eq!(total.base_units(), 7 + 1_500_000 + 500_000 + 35_000);
    Statement { number: 3, wallet: recipient(), through: 12, at: NOW, base, lines, total }
}

fn commands() -> Vec<(&'static str, CommandBody)> {
    let units = |units| Amount::from_base_units(units).unwrap();
    let domain = escrow_domain(31337, Address::repeat_byte(0xee));
    let voucher =
        SignedVoucher::sign(sender().address(), Address::repeat_byte(0x77), units(2_035_007), &domain, &sender());
    let consent = Some([0x88; 65]);
    vec![
        ("command_entrust", CommandBody::Entrust { payer: sender().address(), base: units(7), consent }),
        ("command_subscribe", CommandBody::Subscribe { resume_after: 11 }),
        ("command_acknowledge", CommandBody::Acknowledge { statement: 3, voucher }),
        ("command_statement", CommandBody::Statement),
        ("command_open_peer_session", CommandBody::OpenPeerSession),
        ("command_request_voucher", CommandBody::RequestVoucher { inbound_bytes: 1 << 80, outbound_bytes: 1_000 }),
    ]
}

fn frames(packet: &Packet) -> Vec<(&'static str, Frame)> {
    let message = Frame::Message {
        seq: 12,
        stored_at: NOW - 86_400,
        tariff_version: 1,
        relayed: true,
        packet: packet.clone().into_bytes(),
    };
    vec![
        ("stream_1_message", message),
        ("stream_2_keep_alive", Frame::KeepAlive),
        ("stream_3_statement", Frame::Statement(statement())),
    ]
}

fn bundle(packet: &Packet) -> Bundle {
    let mut bundle = Bundle::default();
    assert!(bundle.push(packet) && bundle.push(packet));
    bundle
}

/// One stored, one whose recipient cannot pay, one to be brought by itself.
fn judgements(packet: &Packet) -> Vec<Judgement> {
    let metered = u64::try_from(packet.len()).unwrap();
    let body = |text: &'static str| text.as_bytes().into();
    vec![
        Judgement::Answered { status: Status::Stored, metered, body: body(r#"{"stored":"new"}"#) },
        Judgement::Answered { status: Status::Spent, metered: 0, body: body("spent") },
        Judgement::Alone,
    ]
}

/// All vectors; the two that hold fresh randomness are taken as given.
fn vectors(packet: &Packet, sealed_reply: &[u8]) -> BTreeMap<String, String> {
    let mut vectors = BTreeMap::new();
    let mut put = |name: &str, value: String| assert_eq!(vectors.insert(name.to_owned(), value), None, "{name}");
    put("sealing_key", hex::encode(secret().public().as_bytes()));
    put("packet", hex::encode(packet.as_bytes()));
    put("packet_id", hex::encode(packet.id()));
    put("reply_refused", hex::encode(sealed_reply));
    for (name, body) in commands() {
        put(name, hex::encode(Command { session: session(), body }.encode()));
    }
    put("bundle", hex::encode(bundle(packet).as_bytes()));
    put("bundle_answers", hex::encode(join_answers(&judgements(packet))));
    let mut sealer = StreamSealer::new(&session(), [0x66; 32]);
    put("stream_0_salt", sealer.opening_event().replace('\n', "\\n"));
    for (name, frame) in frames(packet) {
        put(name, sealer.seal(&frame).replace('\n', "\\n"));
    }
    vectors
}

fn committed() -> BTreeMap<String, String> {
    let text = fs::read_to_string(FILE).unwrap_or_default();
    let lines = text.lines().filter(|line| !line.starts_with('#') && !line.is_empty());
    lines.map(|line| line.split_once(" = ").map(|(name, value)| (name.to_owned(), value.to_owned())).unwrap()).collect()
}

fn committed_bytes(name: &str) -> Vec<u8> {
    hex::decode(&committed()[name]).unwrap()
}

#[test]
fn the_wire_is_what_is_committed() {
    if env::var_os("MINUS_WRITE_VECTORS").is_some() {
        let vectors = vectors(&fresh_packet(), &seal_reply(&session(), &reply()));
        let lines: Vec<_> = vectors.iter().map(|(name, value)| format!("{name} = {value}\n")).collect();
        fs::write(FILE, format!("{HEAD}\n{}", lines.concat())).unwrap();
    }
    let packet = Packet::parse(committed_bytes("packet")).unwrap();
    let now = vectors(&packet, &committed_bytes("reply_refused"));
    for (name, value) in committed() {
        assert_eq!(now.get(&name), Some(&value), "{name}");
    }
    assert_eq!(now.len(), committed().len());
}

#[test]
fn the_committed_packet_opens() {
    let packet = Packet::parse(committed_bytes("packet")).unwrap();
    assert_eq!(packet.recipient(), recipient());
    let opened = open(&packet, &secret(), &routing_domain(31337, Address::repeat_byte(0x44))).unwrap();
    let expected =
        Opened { sender: sender().address(), id: [0x1d; 16], sent_at_ms: SENT_AT_MS, body: b"hello".to_vec() };
    assert_eq!(opened, expected);
}

#[test]
fn the_committed_reply_opens() {
    assert_eq!(open_reply(&session(), &committed_bytes("reply_refused")), Ok(reply()));
}

#[test]
fn the_committed_commands_decode() {
    for (name, body) in commands() {
        let command = Command::decode(&committed_bytes(name)).unwrap();
        assert_eq!(command.body, body, "{name}");
        assert_eq!(command.session.expose(), session().expose(), "{name}");
    }
}

#[test]
fn the_committed_bundle_comes_apart() {
    let packet = Packet::parse(committed_bytes("packet")).unwrap();
    assert_eq!(split(&committed_bytes("bundle")).unwrap(), [packet.as_bytes(); 2]);
    let answers = split_answers(committed_bytes("bundle_answers").into(), 3).unwrap();
    assert_eq!(answers, judgements(&packet));
}

#[test]
fn the_committed_stream_opens_and_is_counted() {
    let committed = committed();
    let names = ["stream_0_salt", "stream_1_message", "stream_2_keep_alive", "stream_3_statement"];
    let text = names.map(|name| committed[name].replace("\\n", "\n")).concat();
    let mut opener = StreamOpener::new(&session());
    let events = SseParser::new().push(text.as_bytes()).unwrap();
    let opened: Vec<_> = events.iter().filter_map(|event| opener.open(event).unwrap()).collect();

    let packet = Packet::parse(committed_bytes("packet")).unwrap();
    let expected: Vec<_> = frames(&packet).into_iter().map(|(_, frame)| frame).collect();
    assert_eq!(opened, expected);
    let packet_bytes = u64::try_from(packet.len()).unwrap();
    assert_eq!(RelayCounter::new().push(text.as_bytes()), packet_bytes);
}
