//! What the client signs and what it keeps, against an agent that does as it is told.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

#[expect(dead_code, reason = "the world is shared by several suites")]
mod world;

use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use minus_client::content::Content;
use minus_client::{
    Client, Config, EntrustOptions, Error, ExitCode, Identity, Item, ListenEvent, ListenOptions, ListenSink,
    ListenSummary, PrepayOptions, SendOptions, Stop, silent,
};
use minus_protocol::{Refusal, total};
use tokio_util::sync::CancellationToken;
use world::agent::Agent;
use world::{World, key};

struct Scene {
    world: World,
    client: Client,
    agent: Agent,
    identity: Identity,
    output: PathBuf,
    events: Arc<Mutex<Vec<ListenEvent>>>,
}

impl Scene {
    /// A wallet with 10 tokens on its lane, entrusted to the agent.
    async fn new() -> Self {
        let world = World::new().await;
        let client = world.client("alice").await;
        let (wallet, operator, node) = (key(1), key(3), key(4));
        let agent = Agent::start(node.clone(), world.deployment).await;
        world.register(&operator, &node, &agent.endpoint).await;
        world.fund(wallet.address(), 10).await;
        let prepay = PrepayOptions { payee: operator.address(), amount: "10".parse().unwrap(), from_reserve: true };
        client.prepay(&wallet, &prepay, &silent()).await.unwrap();
        let identity = Identity::own(wallet);
        let options = EntrustOptions { agent: node.address(), via: None };
        client.entrust(&identity, &options, &silent()).await.unwrap();
        let output = world.directory.path().join("inbox");
        Self { world, client, agent, identity, output, events: Arc::default() }
    }

    fn text(&self, number: u8, text: &str) {
        let body = Content::text(text).unwrap().encode();
        self.agent.store_body(&key(50), &self.identity.wallet, [number; 16], &body);
    }

    async fn listen_with(&self, keep_going: bool) -> Result<ListenSummary, Error> {
        let stop = Stop { files: None, idle: Some(Duration::from_millis(300)) };
        let options = ListenOptions { output: self.output.clone(), via: None, stop, keep_going };
        let events = Arc::clone(&self.events);
        let sink: ListenSink = Arc::new(move |event| events.lock().unwrap().push(event));
        let listening = self.client.listen(&self.identity, &options, &sink, CancellationToken::new());
        tokio::time::timeout(Duration::from_secs(60), listening).await.unwrap()
    }

    async fn listen(&self) -> Result<ListenSummary, Error> {
        self.listen_with(false).await
    }

    fn texts(&self) -> Vec<String> {
        let events = self.events.lock().unwrap();
        let text = |event: &ListenEvent| match event {
            ListenEvent::Text { text, .. } => Some(text.clone()),
            _ => None,
        };
        events.iter().filter_map(text).collect()
    }

    /// Both sides have booked the same.
    async fn assert_settled(&self) {
        let account = self.client.store().account(key(1).address(), key(4).address()).await.unwrap().unwrap();
        let lines = self.agent.with(|books| books.lines.clone());
        assert_eq!(account.lines, lines);
        let signed = self.client.store().signed(key(1).address(), key(3).address()).await.unwrap();
        assert_eq!(signed, total(account.base, &lines).unwrap());
        let last = self.agent.with(|books| books.vouchers.last().map(|voucher| voucher.cumulative));
        assert_eq!(last, Some(signed));
        let waiting = self.client.store().waiting_messages(key(1).address(), key(4).address()).await.unwrap();
        assert_eq!(waiting, 0);
    }
}

#[tokio::test]
async fn refuses_a_statement_that_says_more_and_loses_nothing() {
    let scene = Scene::new().await;
    scene.text(1, "one");
    scene.agent.with(|books| books.orders.delivered_extra = 1);
    let error = scene.listen().await.unwrap_err();
    assert!(matches!(&error, Error::Disagreement { objection, .. } if objection.line() == "delivered"), "{error}");
    assert_eq!(error.exit_code(), ExitCode::Refused);
    assert!(scene.agent.with(|books| books.vouchers.is_empty()), "nothing was signed");
    assert_eq!(scene.texts(), ["one"], "and nothing is lost");

    // With keep-going it receives on, still signing nothing.
    scene.text(2, "two");
    let summary = scene.listen_with(true).await.unwrap();
    assert!(summary.disagreements >= 1);
    assert!(scene.agent.with(|books| books.vouchers.is_empty()));
    assert_eq!(scene.texts(), ["one", "two"]);

    // An agent that comes to its senses is paid.
    scene.agent.with(|books| books.orders.delivered_extra = 0);
    let summary = scene.listen().await.unwrap();
    assert_eq!((summary.disagreements, summary.statements), (0, 1));
    scene.assert_settled().await;
    assert_eq!(scene.texts(), ["one", "two"]);
}

#[tokio::test]
async fn refuses_messages_dated_before_the_entrustment() {
    let scene = Scene::new().await;
    scene.agent.with(|books| books.orders.backdate = 3600);
    scene.text(1, "one");
    let error = scene.listen().await.unwrap_err();
    assert!(matches!(&error, Error::Disagreement { objection, .. } if objection.line() == "stored-at"), "{error}");
    let events = scene.events.lock().unwrap();
    assert!(events.iter().any(|event| matches!(event, ListenEvent::Doubt { .. })));
}

#[tokio::test]
async fn a_refused_voucher_is_said_and_kept() {
    let scene = Scene::new().await;
    scene.text(1, "one");
    scene.agent.with(|books| books.orders.refuse = Some(Refusal::VoucherAboveLane));
    let error = scene.listen().await.unwrap_err();
    assert!(error.to_string().contains("minus prepay"), "{error}");
    assert_eq!(error.exit_code(), ExitCode::Refused);
    scene.agent.with(|books| books.orders.refuse = None);
    scene.listen().await.unwrap();
    scene.assert_settled().await;
}

#[tokio::test]
async fn lost_acknowledgements_and_lost_answers_end_in_the_same_books() {
    let scene = Scene::new().await;
    for round in 0..4_u8 {
        scene.text(round * 2, "a");
        scene.text(round * 2 + 1, "b");
        scene.agent.with(|books| match round {
            0 => books.orders.lose_answers = 1,
            1 => books.orders.lose_acknowledgements = 4,
            2 => books.orders.lose_answers = 4,
            _ => {}
        });
        scene.listen().await.unwrap();
        scene.assert_settled().await;
    }
    assert_eq!(scene.texts().len(), 8);
    let vouchers = scene.agent.with(|books| books.vouchers.clone());
    assert!(vouchers.windows(2).all(|pair| pair[0].cumulative <= pair[1].cumulative), "never less than before");
}

#[tokio::test]
async fn a_crash_after_signing_is_made_good_by_the_next_run() {
    for booked in [true, false] {
        let scene = Scene::new().await;
        scene.text(1, "one");
        scene.agent.with(|books| {
            if booked { books.orders.lose_answers = 1000 } else { books.orders.lose_acknowledgements = 1000 }
        });
        // The client dies while it waits for the answer that never comes.
        let _ = tokio::time::timeout(Duration::from_millis(900), scene.listen()).await;
        let signed = scene.client.store().signed(key(1).address(), key(3).address()).await.unwrap();
        assert!(!signed.is_zero(), "it was on disk before it was sent");
        scene.agent.with(|books| (books.orders.lose_answers, books.orders.lose_acknowledgements) = (0, 0));
        scene.text(2, "two");

        // Another process with the same data directory.
        let again = Scene { client: scene.world.client("alice").await, ..scene };
        again.listen().await.unwrap();
        again.assert_settled().await;
        assert_eq!(again.texts(), ["one", "two"]);
    }
}

#[tokio::test]
async fn counts_once_and_delivers_once() {
    let scene = Scene::new().await;
    scene.agent.with(|books| books.orders.push_twice = true);
    scene.text(1, "one");
    scene.text(1, "one"); // Another packet with the same message id: paid for, delivered once.
    scene.agent.store(vec![7; 400].into(), true); // What does not even parse is paid for and discarded.
    let body = b"no content".to_vec();
    scene.agent.store_body(&key(51), &scene.identity.wallet, [9; 16], &body);
    let summary = scene.listen().await.unwrap();
    assert_eq!((summary.messages, summary.discarded, summary.texts), (4, 2, 1));
    assert_eq!(scene.texts(), ["one"]);
    scene.assert_settled().await;
}

#[tokio::test]
async fn resumes_after_what_it_holds() {
    let scene = Scene::new().await;
    scene.agent.with(|books| books.orders.delivered_extra = 1);
    scene.text(1, "one");
    scene.listen().await.unwrap_err();
    scene.agent.with(|books| books.orders.delivered_extra = 0);
    scene.listen().await.unwrap();
    assert_eq!(scene.agent.with(|books| books.resumed_after.clone()), [0, 1]);
}

#[tokio::test]
async fn files_arrive_whole() {
    let scene = Scene::new().await;
    let path = scene.world.directory.path().join("sent.bin");
    let bytes: Vec<u8> = (0..700_000_u32).map(|n| n.to_le_bytes()[0] ^ n.to_le_bytes()[1]).collect();
    std::fs::write(&path, &bytes).unwrap();
    let empty = scene.world.directory.path().join("empty");
    std::fs::write(&empty, "").unwrap();
    let options = SendOptions {
        recipient: scene.identity.wallet.address(),
        via: None,
        items: vec![Item::File(path), Item::File(empty), Item::Text("with love".into())],
    };
    let report = scene.client.send(&key(60), &options, &silent()).await.unwrap();
    assert_eq!((report.packets, report.items.len()), (5, 3));
    let summary = scene.listen().await.unwrap();
    assert_eq!((summary.files, summary.texts, summary.bytes), (2, 1, report.wire_bytes));
    assert_eq!(std::fs::read(scene.output.join("sent.bin")).unwrap(), bytes);
    assert_eq!(std::fs::read(scene.output.join("empty")).unwrap(), b"");
    scene.assert_settled().await;
}

#[tokio::test]
async fn refuses_private_endpoints_unless_allowed() {
    let scene = Scene::new().await;
    let config = Config { allow_private_endpoints: false, ..scene.world.config("alice") };
    let careful = Client::open(config).await.unwrap();
    let options =
        SendOptions { recipient: scene.identity.wallet.address(), via: None, items: vec![Item::Text("hello".into())] };
    let error = careful.send(&key(60), &options, &silent()).await.unwrap_err();
    assert!(error.to_string().contains("--allow-private-endpoints"), "{error}");
    assert_eq!(error.exit_code(), ExitCode::Unreachable);
    let error = careful.statement(&scene.identity, None).await.unwrap_err();
    assert_eq!(error.exit_code(), ExitCode::Unreachable, "{error}");
    let listening = Scene { client: careful, ..scene };
    let error = listening.listen().await.unwrap_err();
    assert_eq!(error.exit_code(), ExitCode::Unreachable, "{error}");
}

#[tokio::test]
async fn both_sides_of_the_account_are_shown() {
    let scene = Scene::new().await;
    scene.text(1, "one");
    scene.listen().await.unwrap();
    let report = scene.client.statement(&scene.identity, None).await.unwrap();
    assert!(report.agrees && report.waiting_messages == 0, "{report:?}");
    assert_eq!(report.own.total, Some(report.signed));
    scene.agent.with(|books| books.lines[0].meter.relayed += 1);
    let report = scene.client.statement(&scene.identity, None).await.unwrap();
    assert!(!report.agrees);
}

#[tokio::test]
async fn lost_books_are_taken_over_only_when_paid_for() {
    let scene = Scene::new().await;
    scene.text(1, "one");
    scene.listen().await.unwrap();
    // Another data directory knows of no signature, and nothing was claimed: the agent's word is not enough.
    let amnesiac = scene.world.client("amnesiac").await;
    let options = EntrustOptions { agent: key(4).address(), via: None };
    let error = amnesiac.entrust(&scene.identity, &options, &silent()).await.unwrap_err();
    assert!(error.to_string().contains("data directory"), "{error}");

    // Once the voucher is claimed, the chain itself says that it was signed.
    let voucher = scene.agent.with(|books| books.vouchers[0]);
    let provider = scene.world.provider(&key(3));
    let escrow = minus_bindings::PrepaymentEscrow::new(scene.world.deployment.escrow, &provider);
    let claim = escrow.claim(key(3).address(), voucher.to_row().to_vec().into());
    assert!(claim.send().await.unwrap().get_receipt().await.unwrap().status());
    amnesiac.entrust(&scene.identity, &options, &silent()).await.unwrap();
    scene.text(2, "two");
    let scene = Scene { client: amnesiac, ..scene };
    scene.listen().await.unwrap();
    scene.assert_settled().await;
}
