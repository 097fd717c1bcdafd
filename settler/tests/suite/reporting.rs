//! The commands that report: lanes, claims, export, doctor.

use std::process::{Command, Output, Stdio};

use alloy::signers::k256::elliptic_curve::rand_core::OsRng;
use alloy::signers::local::PrivateKeySigner;
use serde_json::{Value, json};

use super::world::{Settler, World, until};

const PASSWORD: &str = "correct horse";

async fn settler(world: &World, arguments: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_settler"));
    command
        .args(arguments)
        .current_dir(world.dir.path())
        .env("SETTLER_PASSWORD", PASSWORD)
        .env_remove("SETTLER_CONFIG")
        .stdin(Stdio::null());
    // The settler that it asks lives in this process.
    tokio::task::spawn_blocking(move || command.output().unwrap()).await.unwrap()
}

fn json_of(output: &Output) -> Value {
    serde_json::from_slice(&output.stdout).unwrap_or_else(|error| {
        panic!("{error}: {} {}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
    })
}

fn text_of(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned()
}

fn url(settler: &Settler<'_>) -> String {
    format!("http://{}", settler.handle.admin_addr)
}

#[tokio::test(flavor = "multi_thread")]
async fn tells_people_and_programs_the_same() {
    let world = World::new().await;
    let mut config = world.config();
    config.value_over_gas = 1_000_000;
    let running = world.settler_with(config).await;
    let payers = [world.payer("10").await, world.payer("10").await];
    for (payer, amount) in payers.iter().zip(["1.5", "2.25"]) {
        running.record(world.voucher(payer, amount)).await;
    }
    running.claim_now().await;
    for (payer, amount) in payers.iter().zip(["2", "4.25"]) {
        running.record(world.voucher(payer, amount)).await;
    }
    let url = url(&running);

    let lanes = json_of(&settler(&world, &["lanes", "--json", "--limit", "1", "--url", &url]).await);
    assert_eq!((&lanes["total"], &lanes["lanes"][0]["exposure"]), (&json!(2), &json!("2000000")));
    assert_eq!(lanes["lanes"][0]["payer"], json!(payers[1].address()));
    let shown = text_of(&settler(&world, &["lanes", "--sort", "time-left", "--url", &url]).await);
    assert!(shown.contains(&payers[0].address().to_string()) && shown.contains("0.5"), "{shown}");
    assert!(shown.contains("1-2 of 2 lanes"), "{shown}");
    let begins = &payers[0].address().to_string()[..8];
    let one = json_of(&settler(&world, &["lanes", "--payer", begins, "--json", "--url", &url]).await);
    assert_eq!(one["total"], 1);

    let claims = json_of(&settler(&world, &["claims", "--since", "1h", "--json", "--url", &url]).await);
    assert_eq!((&claims["total"], &claims["claims"][0]["paid"]), (&json!(1), &json!("3750000")));
    let shown = text_of(&settler(&world, &["claims", "--state", "confirmed", "--url", &url]).await);
    assert!(shown.contains("3.75") && shown.contains(claims["claims"][0]["hash"].as_str().unwrap()), "{shown}");
    let none = text_of(&settler(&world, &["claims", "--state", "lost", "--url", &url]).await);
    assert_eq!(none, "there are no such claims\n");

    let dry = json_of(&settler(&world, &["simulate", "--json", "--url", &url]).await);
    assert_eq!((&dry["total"], &dry["claims"], &dry["above_cap"]), (&json!(2), &json!(0), &json!(false)), "{dry:#}");
    let explanation = &dry["explanations"][0];
    assert_eq!((&explanation["verdict"], &explanation["why"]), (&json!("hold"), &json!("not_worth_yet")));
    assert!(explanation["threshold"].as_str().unwrap().parse::<u128>().unwrap() > 2_000_000, "{dry:#}");
    let shown = text_of(&settler(&world, &["simulate", "--url", &url]).await);
    assert!(shown.contains("0 of 2 waiting vouchers would be claimed now"), "{shown}");
    assert!(shown.contains("it is not worth its gas yet"), "{shown}");
    let payer = payers[1].address().to_string();
    let one = json_of(&settler(&world, &["simulate", "--payer", &payer, "--json", "--url", &url]).await);
    assert_eq!((&one["total"], &one["explanations"][0]["claimable"]), (&json!(1), &json!("2000000")));
    assert_eq!(world.gas_transactions().await, 1, "it sends nothing");

    for wrong in [
        vec!["claims", "--state", "paid"],
        vec!["claims", "--since", "yesterday"],
        vec!["lanes", "--sort", "size"],
        vec!["lanes", "--payer", "0x&sort=age"],
        vec!["lanes", "--limit", "0"],
    ] {
        assert_eq!(settler(&world, &wrong).await.status.code(), Some(2), "{wrong:?}");
    }
    running.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_is_replaced_by_a_whole_export_or_not_at_all() {
    let world = World::new().await;
    let running = world.settler().await;
    let payer = world.payer("10").await;
    running.record(world.voucher(&payer, "1.5")).await;
    running.claim_now().await;
    let url = url(&running);
    let export = ["export", "--what", "claims", "--format", "csv", "--url", &url];

    let out = settler(&world, &[&export[..], &["--out", "claims.csv"]].concat()).await;
    assert!(out.status.success() && out.stdout.is_empty(), "{}", String::from_utf8_lossy(&out.stderr));
    let written = std::fs::read_to_string(world.path("claims.csv")).unwrap();
    assert_eq!(written, text_of(&settler(&world, &export).await));
    assert!(written.starts_with("id,sender,nonce,") && written.lines().nth(1).unwrap().contains(",1500000,"));
    let lanes = ["export", "--what", "lanes", "--format", "json", "--url", &url];
    assert_eq!(json_of(&settler(&world, &lanes).await), json!([]));

    running.end().await;
    let gone = settler(&world, &[&export[..], &["--out", "claims.csv"]].concat()).await;
    assert_eq!(gone.status.code(), Some(4));
    assert_eq!(std::fs::read_to_string(world.path("claims.csv")).unwrap(), written);
    let nowhere = settler(&world, &[&export[..], &["--out", "missing/claims.csv"]].concat()).await;
    assert_ne!(nowhere.status.code(), Some(0));
    let strays = std::fs::read_dir(world.dir.path())
        .unwrap()
        .filter(|entry| entry.as_ref().unwrap().file_name().to_string_lossy().starts_with(".claims"));
    assert_eq!(strays.count(), 0);
}

/// The verdict of each check.
fn verdicts(answer: &Value, check: &str) -> Vec<String> {
    let findings = answer["findings"].as_array().unwrap().iter();
    findings
        .filter(|finding| finding["check"] == check)
        .map(|finding| finding["verdict"].as_str().unwrap().to_owned())
        .collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn the_doctor_tells_what_is_wrong_and_what_to_do() {
    let world = World::new().await;
    let key = &world.gas_key;
    PrivateKeySigner::encrypt_keystore(world.dir.path(), &mut OsRng, key.to_bytes(), PASSWORD, Some("gas-key.json"))
        .unwrap();
    let config = |extra: &str| {
        let rpc = &world.anvil.url;
        let text = format!(
            "rpc_urls = [\"{rpc}\", \"{rpc}\"]\npayees = [\"{}\"]\nlisten = \"127.0.0.1:0\"\n\
             admin_listen = \"127.0.0.1:0\"\nconfirmations = 1\n{extra}",
            world.payee()
        );
        std::fs::write(world.path("settler.toml"), text).unwrap();
    };
    let doctor = ["doctor", "--config", "settler.toml", "--json"];
    config("");
    let well = settler(&world, &doctor).await;
    let answer = json_of(&well);
    assert_eq!((well.status.code(), &answer["ok"]), (Some(0), &json!(true)), "{answer:#}");
    for check in ["configuration", "gas key", "database", "deployment", "agreement", "contracts", "fee", "gas balance"]
    {
        assert_eq!(verdicts(&answer, check), ["ok"], "{check}: {answer:#}");
    }
    assert_eq!(verdicts(&answer, "endpoint"), ["ok", "ok"]);
    assert!(!world.path("settler.db").exists(), "it changes nothing");

    // A port that is taken, a cap below the fee, a gas key without gas, an endpoint that is nobody's.
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    world.anvil.give_gas(key.address(), 1).await;
    config("fee_cap_gwei = 1\n");
    let listen = taken.local_addr().unwrap().to_string();
    let ill =
        settler(&world, &[&doctor[..], &["--listen", &listen, "--rpc-url", "http://127.0.0.1:9/secret-key"]].concat())
            .await;
    let answer = json_of(&ill);
    assert_eq!((ill.status.code(), &answer["ok"]), (Some(1), &json!(false)));
    assert_eq!(verdicts(&answer, "intake port"), ["failed"]);
    assert_eq!(verdicts(&answer, "endpoint"), ["failed"]);
    assert!(!answer.to_string().contains("secret-key"), "{answer}");
    let ill = settler(&world, &doctor).await;
    let answer = json_of(&ill);
    assert_eq!(
        (verdicts(&answer, "fee"), verdicts(&answer, "gas balance")),
        (vec!["failed".into()], vec!["failed".into()])
    );
    let failed = answer["findings"].as_array().unwrap().iter().filter(|finding| finding["verdict"] != "ok");
    assert!(failed.clone().count() >= 2 && failed.clone().all(|finding| finding["remedy"].is_string()));

    // A running settler is no stranger on its ports, and its database is in use and well.
    let mut running = world.config();
    world.anvil.give_gas(key.address(), super::world::COIN).await;
    running.admin_listen = "127.0.0.1:0".parse().unwrap();
    let running = world.settler_with(running).await;
    until("the log is there", async || world.path("settler.db").exists().then_some(())).await;
    config("");
    let (intake, admin) = (running.handle.addr.to_string(), running.handle.admin_addr.to_string());
    let beside = settler(&world, &[&doctor[..], &["--listen", &intake, "--admin-listen", &admin]].concat()).await;
    let answer = json_of(&beside);
    assert_eq!(verdicts(&answer, "intake port"), ["ok"], "{answer:#}");
    assert_eq!(verdicts(&answer, "database"), ["ok"], "{answer:#}");
    running.end().await;

    std::fs::remove_file(world.path("gas-key.json")).unwrap();
    let text = settler(&world, &["doctor", "--config", "settler.toml"]).await;
    assert_eq!(text.status.code(), Some(1));
    assert!(text_of(&text).contains("-> `settler new-key` makes one"), "{}", text_of(&text));
}
