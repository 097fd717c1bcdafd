//! The log at its most talkative, over a whole journey: what it needs is there, and no sender, key, token, password or
//! address with credentials.

use std::path::Path;

use alloy::signers::local::PrivateKeySigner;
use minus_protocol::{CommandBody, Outgoing, SealingSecret, headers::encode_token, random_bytes, seal};
use serde_json::Value;
use url::Url;

use crate::{
    customer::{command_at, customer, now_ms, post_status, subscribe, voucher},
    program::{Program, read},
    settler::Settler,
    world::{Operator, PASSWORD, TOKEN, World, until},
};

/// As a name and a password in the addresses of RPC endpoint and settler.
const USER: &str = "planted-user";
const CREDENTIAL: &str = "planted-credential";
/// As the body of a message.
const BODY: &[u8] = b"planted body: the cows are in the corn";

fn with_credentials(url: &Url) -> Url {
    let mut url = url.clone();
    url.set_username(USER).unwrap();
    url.set_password(Some(CREDENTIAL)).unwrap();
    url
}

/// Bytes in the forms a log could show them in: hexadecimal, a list, base64.
fn shapes(bytes: &[u8]) -> [String; 3] {
    let listed: Vec<_> = bytes.iter().map(u8::to_string).collect();
    let mut start = [0; 32];
    let length = bytes.len().min(start.len());
    start[..length].copy_from_slice(&bytes[..length]);
    // As many letters as are settled by the first 18 bytes.
    [alloy::hex::encode(bytes), listed.join(", "), encode_token(&start)[..24].to_owned()]
}

fn secrets(sender: &PrivateKeySigner, wallet: &PrivateKeySigner, passwords: &[[u8; 32]]) -> Vec<(String, String)> {
    let mut secrets = vec![
        ("credentials".to_owned(), CREDENTIAL.to_owned()),
        ("user name".to_owned(), USER.to_owned()),
        ("password of the key".to_owned(), PASSWORD.to_owned()),
        ("text of the body".to_owned(), String::from_utf8(BODY.to_vec()).unwrap()),
    ];
    let mut add = |name: &str, bytes: &[u8]| {
        secrets.extend(shapes(bytes).into_iter().map(|shape| (name.to_owned(), shape)));
    };
    add("sender", sender.address().as_slice());
    add("sender's key", &sender.to_bytes().0);
    add("wallet's key", &wallet.to_bytes().0);
    add("body", BODY);
    for password in passwords {
        add("session password", password);
    }
    secrets
}

fn start(operator: &Operator, log: &Path, format: &str) -> Program {
    Program::start(operator, log, |command| {
        command.env("MINUS_NODE_LOG", "trace").args(["--log-format", format]);
    })
}

#[tokio::test(flavor = "multi_thread")]
async fn at_trace_the_log_holds_no_secret_and_no_sender() {
    let world = World::new().await;
    let settler = Settler::new().await;
    let mut agent = world.operator(|_| ()).await;
    let mut relay = world.operator(|_| ()).await;
    let wallet = customer(&world, &agent, 900 * TOKEN).await;
    let (agent_url, relay_url) = (agent.url(), relay.url());
    let mut logs = Vec::new();
    let mut programs = Vec::new();
    for (operator, format) in [(&mut agent, "json"), (&mut relay, "text")] {
        operator.config.admin_listen = operator.admin_addr();
        operator.stop().await;
        operator.config.rpc_urls = vec![with_credentials(&world.rpc_url)];
        operator.config.settler_url = Some(with_credentials(&settler.url));
        let log = world.folder.path().join(format);
        programs.push(start(operator, &log, format));
        logs.push(log);
    }
    for program in &programs {
        program.wait_ready().await;
    }

    // A message through the relay, a subscription through it, a voucher each way, a refused command.
    let sender = PrivateKeySigner::random();
    let outgoing = Outgoing { id: random_bytes(), sent_at_ms: now_ms(), body: BODY };
    let key = SealingSecret::derive(&wallet.to_bytes().0).public();
    let packet = seal(&outgoing, wallet.address(), &key, &sender, &world.deployment.routing_domain()).unwrap();
    assert_eq!(post_status(&relay_url, &packet).await, 202);
    let mut stream = subscribe(&world, &wallet, &agent, &relay_url, 0).await;
    assert_eq!(stream.message().await.1, BODY);
    let statement = stream.statement().await;
    let voucher = voucher(&world, &wallet, agent.address, statement.total);
    let body = CommandBody::Acknowledge { statement: statement.number, voucher };
    let (paid, password) = command_at(&world, &wallet, &agent, body, now_ms());
    assert_eq!(post_status(&agent_url, &paid).await, 200);
    let (refused, other_password) = command_at(&world, &sender, &agent, CommandBody::Statement, now_ms());
    assert_eq!(post_status(&agent_url, &refused).await, 421);
    until("the settlers hold vouchers", async || settler.vouchers().len() >= 2).await;
    for (program, log) in programs.iter_mut().zip(&logs) {
        program.signal("-TERM");
        let ended = program.ended_within(std::time::Duration::from_secs(60)).expect("it ends");
        assert_eq!(ended.code(), Some(0), "{}", read(log));
    }

    let passwords = [password, other_password].map(|password| *password.expose());
    let recipient = wallet.address().to_string();
    for log in &logs {
        let text = read(log);
        let lower = text.to_lowercase();
        for (name, secret) in secrets(&sender, &wallet, &passwords) {
            let found = lower.find(&secret.to_lowercase()).map(|at| &text[at.saturating_sub(200)..at]);
            assert!(found.is_none(), "{}: the {name} after {found:?}", log.display());
        }
        assert!(lower.contains("debug"), "the log says too little to hold anything");
        assert!(lower.contains(&recipient.to_lowercase()), "the search does not find what is there");
    }
    for line in read(&logs[0]).lines() {
        let line: Value = serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}"));
        assert!(line["timestamp"].is_string() && line["level"].is_string() && line["message"].is_string(), "{line}");
    }
}
