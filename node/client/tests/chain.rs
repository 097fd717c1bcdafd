//! What the client does on a real chain: prepay, withdraw, balance, routes, nodes.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

#[expect(dead_code, reason = "the world is shared by several suites")]
mod world;

use alloy::primitives::Address;
use minus_bindings::Amount;
use minus_client::{
    Client, EntrustOptions, Error, ExitCode, Identity, MandateOptions, PrepayOptions, WithdrawOptions, WithdrawReport,
    silent,
};
use world::agent::Agent;
use world::{World, key};

const WEEK: u64 = 7 * 24 * 3600;

fn tokens(text: &str) -> Amount {
    text.parse().unwrap()
}

fn withdrawal(payee: Address) -> WithdrawOptions {
    WithdrawOptions { payee, amount: None, to: None, cancel: false, to_reserve: false }
}

async fn prepay(client: &Client, payer: u8, payee: Address, amount: &str, from_reserve: bool) -> Result<Amount, Error> {
    let options = PrepayOptions { payee, amount: tokens(amount), from_reserve };
    Ok(client.prepay(&key(payer), &options, &silent()).await?.lane.deposit)
}

#[tokio::test]
async fn prepays_and_withdraws_after_the_notice() {
    let world = World::new().await;
    let client = world.client("alice").await;
    let (payer, payee) = (key(1).address(), key(2).address());

    let error = prepay(&client, 1, payee, "1", false).await.unwrap_err();
    assert_eq!(error.exit_code(), ExitCode::Refused, "no gas: {error}");
    world.fund(payer, 100).await;
    let error = prepay(&client, 1, payee, "1", false).await.unwrap_err();
    assert!(error.to_string().contains("--from-reserve"), "{error}");
    let error = prepay(&client, 1, payee, "101", true).await.unwrap_err();
    assert_eq!(error.exit_code(), ExitCode::Refused, "too little: {error}");
    let error = prepay(&client, 1, payee, "0", true).await.unwrap_err();
    assert_eq!(error.exit_code(), ExitCode::Usage);
    let error = prepay(&client, 1, payer, "1", true).await.unwrap_err();
    assert_eq!(error.exit_code(), ExitCode::Usage, "a lane to oneself");

    assert_eq!(prepay(&client, 1, payee, "10.5", true).await.unwrap(), tokens("10.5"));
    assert_eq!(prepay(&client, 1, payee, "0.000001", true).await.unwrap(), tokens("10.500001"));
    let balance = client.balance(payer).await.unwrap();
    assert_eq!((balance.tokens, balance.reserve), (Amount::ZERO, tokens("89.499999")));
    assert!(balance.lanes.is_empty(), "an operator without nodes is not looked for");

    let error = client.withdraw(&key(1), &WithdrawOptions { cancel: true, ..withdrawal(payee) }, &silent()).await;
    assert_eq!(error.unwrap_err().exit_code(), ExitCode::Refused, "nothing is thawing");
    let too_much = WithdrawOptions { amount: Some(tokens("11")), ..withdrawal(payee) };
    let error = client.withdraw(&key(1), &too_much, &silent()).await.unwrap_err();
    assert_eq!(error.exit_code(), ExitCode::Refused, "more than is there");

    let part = WithdrawOptions { amount: Some(tokens("4")), to_reserve: true, ..withdrawal(payee) };
    let report = client.withdraw(&key(1), &part, &silent()).await.unwrap();
    assert!(matches!(&report, WithdrawReport::Thawing { amount, .. } if *amount == tokens("4")), "{report:?}");
    let report = client.withdraw(&key(1), &part, &silent()).await.unwrap();
    assert!(matches!(&report, WithdrawReport::Thawing { transactions, .. } if transactions.is_empty()), "{report:?}");

    world.warp(WEEK + 1).await;
    let report = client.withdraw(&key(1), &part, &silent()).await.unwrap();
    assert!(matches!(&report, WithdrawReport::Withdrawn { amount, .. } if *amount == tokens("4")), "{report:?}");
    let balance = client.balance(payer).await.unwrap();
    assert_eq!((balance.tokens, balance.reserve), (Amount::ZERO, tokens("93.499999")));
    let lane = client.chain().lane(payer, payee).await.unwrap();
    assert_eq!((lane.deposit, lane.thawing), (tokens("6.500001"), Amount::ZERO));
}

#[tokio::test]
async fn a_mandate_is_given_raised_and_taken_back() {
    let world = World::new().await;
    let client = world.client("alice").await;
    let (payer, payee) = (key(1).address(), key(2).address());
    let mandate = MandateOptions { payee, daily_cap: tokens("1"), accrual_cap: tokens("3"), valid_for_s: 90 * WEEK };
    let refused = async |given: &MandateOptions| client.set_mandate(&key(1), given, &silent()).await.unwrap_err();

    assert_eq!(refused(&mandate).await.exit_code(), ExitCode::Refused, "no gas");
    world.fund(payer, 10).await;
    assert_eq!(refused(&MandateOptions { daily_cap: Amount::ZERO, ..mandate }).await.exit_code(), ExitCode::Usage);
    let error = client.revoke_mandate(&key(1), payee, &silent()).await.unwrap_err();
    assert_eq!(error.exit_code(), ExitCode::Refused, "there is none");
    assert_eq!(client.mandate(payer, payee).await.unwrap().mandate.valid_until, 0);

    let given = client.set_mandate(&key(1), &mandate, &silent()).await.unwrap();
    assert_eq!((given.mandate.daily_cap, given.mandate.accrual_cap), (tokens("1"), tokens("3")));
    assert_eq!((given.transactions.len(), given.paid_ahead), (1, Amount::ZERO));
    let lower = refused(&MandateOptions { daily_cap: tokens("0.5"), ..mandate }).await;
    assert!(lower.to_string().contains("only be raised"), "{lower}");
    world.warp(WEEK).await;
    let seen = client.mandate(payer, payee).await.unwrap();
    assert_eq!((seen.mandate.chargeable, seen.transactions.len()), (tokens("3"), 0));

    let ended = client.revoke_mandate(&key(1), payee, &silent()).await.unwrap();
    assert!(ended.mandate.valid_until < given.mandate.valid_until);
    world.warp(2 * WEEK).await;
    assert_eq!(client.mandate(payer, payee).await.unwrap().mandate.chargeable, Amount::ZERO);
}

#[tokio::test]
async fn a_notice_can_be_taken_back() {
    let world = World::new().await;
    let client = world.client("alice").await;
    world.fund(key(1).address(), 10).await;
    let payee = key(2).address();
    prepay(&client, 1, payee, "5", true).await.unwrap();
    client.withdraw(&key(1), &withdrawal(payee), &silent()).await.unwrap();
    assert_eq!(client.chain().lane(key(1).address(), payee).await.unwrap().thawing, tokens("5"));
    let cancel = WithdrawOptions { cancel: true, ..withdrawal(payee) };
    let report = client.withdraw(&key(1), &cancel, &silent()).await.unwrap();
    assert!(matches!(report, WithdrawReport::Cancelled { .. }));
    assert_eq!(client.chain().lane(key(1).address(), payee).await.unwrap().thawing, Amount::ZERO);
}

#[tokio::test]
async fn entrusts_by_signature_and_the_payer_carries_it() {
    let world = World::new().await;
    let client = world.client("alice").await;
    let (wallet, payer, operator, node) = (key(1), key(2), key(3), key(4));
    let agent = Agent::start(node.clone(), world.deployment).await;
    world.register(&operator, &node, &agent.endpoint).await;
    let identity = Identity::paid_by(wallet.clone(), payer.clone());
    let options = EntrustOptions { agent: node.address(), via: None };

    let error = client.entrust(&identity, &options, &silent()).await.unwrap_err();
    assert!(error.to_string().contains("minus prepay"), "{error}");
    assert!(client.chain().route(wallet.address()).await.unwrap().agent.is_zero(), "and nothing was sent");
    let stranger = EntrustOptions { agent: key(9).address(), via: None };
    let error = client.entrust(&identity, &stranger, &silent()).await.unwrap_err();
    assert_eq!(error.exit_code(), ExitCode::Refused, "{error}");

    // The wallet itself holds nothing at all: no gas, no tokens.
    world.fund(payer.address(), 10).await;
    prepay(&client, 2, operator.address(), "10", true).await.unwrap();
    let report = client.entrust(&identity, &options, &silent()).await.unwrap();
    assert_eq!((report.wallet, report.payer, report.agent), (wallet.address(), payer.address(), node.address()));
    assert_eq!((report.operator, report.base), (operator.address(), Amount::ZERO));
    assert!(report.transaction.is_some());
    let route = client.chain().route(wallet.address()).await.unwrap();
    assert_eq!((route.agent, route.nonce), (node.address(), 1));
    let (_, resolved) = client.chain().resolve(wallet.address()).await.unwrap();
    assert_eq!((resolved.endpoint, resolved.operator), (agent.endpoint.clone(), operator.address()));

    let again = client.entrust(&identity, &options, &silent()).await.unwrap();
    assert_eq!((again.transaction, again.base), (None, Amount::ZERO), "the route stood already");
    let balance = client.balance(payer.address()).await.unwrap();
    assert_eq!(balance.lanes.len(), 1);
    assert_eq!((balance.lanes[0].operator, balance.lanes[0].lane.deposit), (operator.address(), tokens("10")));
    assert_eq!(balance.lanes[0].nodes, vec![node.address()]);
}

#[tokio::test]
async fn refuses_an_account_that_opens_higher_than_known() {
    let world = World::new().await;
    let client = world.client("alice").await;
    let (wallet, operator, node) = (key(1), key(3), key(4));
    let agent = Agent::start(node.clone(), world.deployment).await;
    world.register(&operator, &node, &agent.endpoint).await;
    world.fund(wallet.address(), 10).await;
    prepay(&client, 1, operator.address(), "10", true).await.unwrap();
    agent.with(|books| books.orders.base_extra = 1);
    let options = EntrustOptions { agent: node.address(), via: None };
    let error = client.entrust(&Identity::own(wallet.clone()), &options, &silent()).await.unwrap_err();
    assert_eq!(error.exit_code(), ExitCode::Refused, "{error}");
    assert!(client.store().account(wallet.address(), node.address()).await.unwrap().is_none());
}

/// Runs the program itself; its exit code and what it printed as JSON.
fn minus(world: &World, args: &[&str]) -> (i32, serde_json::Value) {
    let output = std::process::Command::new(env!("CARGO_BIN_EXE_minus"))
        .env("MINUS_PASSWORD", "correct horse")
        .args(["--json", "--rpc-url", world.rpc.as_str(), "--allow-private-endpoints"])
        .args(["--deployment", world.deployment_file.to_str().unwrap()])
        .args(["--data-dir", world.directory.path().join("cli").to_str().unwrap()])
        .args(args)
        .output()
        .unwrap();
    let json = serde_json::from_slice(&output.stdout).unwrap_or_default();
    (output.status.code().unwrap(), json)
}

#[tokio::test(flavor = "multi_thread")]
async fn the_command_line_says_it_in_json() {
    let world = World::new().await;
    let (operator, node) = (key(3), key(4));
    let agent = Agent::start(node.clone(), world.deployment).await;
    world.register(&operator, &node, &agent.endpoint).await;
    let (node, lower) = (node.address().to_string(), |address: Address| address.to_string().to_lowercase());

    let (code, nodes) = minus(&world, &["nodes"]);
    assert_eq!((code, nodes.as_array().unwrap().len()), (0, 1));
    assert_eq!(nodes[0]["operator"], lower(operator.address()));
    assert_eq!(nodes[0]["tariff"]["delivery"], "900000000000");

    let (_, wallet) = minus(&world, &["wallet", "new", "alice"]);
    let address = wallet["address"].as_str().unwrap();
    assert_eq!(minus(&world, &["prepay", "--agent", &node, "1"]).0, 3, "no gas, no tokens");
    world.fund(address.parse().unwrap(), 50).await;
    let (code, prepaid) = minus(&world, &["prepay", "--agent", &node, "--from-reserve", "10"]);
    assert_eq!((code, &prepaid["amount"], &prepaid["lane"]["deposit"]), (0, &"10000000".into(), &"10000000".into()));
    let (code, balance) = minus(&world, &["balance"]);
    assert_eq!((code, &balance["reserve"], &balance["tokens"]), (0, &"40000000".into(), &"0".into()));
    assert_eq!(balance["lanes"][0]["deposit"], "10000000");
    assert_eq!(balance["lanes"][0]["nodes"][0], node.to_lowercase());

    let (code, entrusted) = minus(&world, &["entrust", "--agent", &node]);
    assert_eq!((code, &entrusted["base"], &entrusted["wallet"]), (0, &"0".into(), &address.into()));
    let file = world.directory.path().join("a.txt");
    std::fs::write(&file, "hello").unwrap();
    let (code, sent) = minus(&world, &["send", "--anonymous", address, file.to_str().unwrap(), "--text", "hi"]);
    assert_eq!((code, &sent["packets"]), (0, &2.into()), "{sent}");
    let sha256 = "2cf24dba5fb0a30e26e83b2ac5b9e29e1b161e5c1fa7425e73043362938b9824";
    assert_eq!((&sent["items"][1]["sha256"], &sent["items"][1]["name"]), (&sha256.into(), &"a.txt".into()));
    assert!(sent["items"][1]["wire_bytes"].as_u64().unwrap() > 256);

    let inbox = world.directory.path().join("inbox");
    let listen = ["listen", "--files", "1", "--output", inbox.to_str().unwrap()];
    assert_eq!(minus(&world, &listen).0, 0);
    assert_eq!(std::fs::read_to_string(inbox.join("a.txt")).unwrap(), "hello");
    let (code, statement) = minus(&world, &["statement"]);
    assert_eq!((code, &statement["agrees"], &statement["waiting_messages"]), (0, &true.into(), &0.into()));
    let (code, thawing) = minus(&world, &["withdraw", "--agent", &node, "5"]);
    assert_eq!((code, &thawing["state"], &thawing["amount"]), (0, &"thawing".into(), &"5000000".into()));

    agent.with(|books| books.orders.delivered_extra = 1);
    assert_eq!(minus(&world, &["send", "--anonymous", address, "--text", "hi"]).0, 0);
    assert_eq!(minus(&world, &["listen", "--until-idle", "1"]).0, 3, "a disagreement");
    let nobody = key(9).address().to_string();
    assert_eq!(minus(&world, &["send", "--anonymous", &nobody, "--text", "hi"]).0, 3, "no route");
}

#[tokio::test]
async fn refuses_another_chain_and_missing_contracts() {
    let world = World::new().await;
    let mut deployment = world.deployment;
    deployment.chain_id = 1;
    std::fs::write(&world.deployment_file, deployment.to_json()).unwrap();
    let error = Client::open(world.config("alice")).await.unwrap_err();
    assert_eq!(error.exit_code(), ExitCode::Usage, "{error}");
    deployment.chain_id = 31_337;
    deployment.routing_table = Address::repeat_byte(0x77);
    std::fs::write(&world.deployment_file, deployment.to_json()).unwrap();
    let error = world.client("alice").await.nodes().await.unwrap_err();
    assert_eq!(error.exit_code(), ExitCode::Usage, "{error}");
}
