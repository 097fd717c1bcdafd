//! The real program, killed at random moments while strangers send: whatever was answered 202 is delivered, once, and
//! the bill is exactly what the customer counts.

use std::{
    collections::{BTreeMap, BTreeSet},
    process::{Child, Command, Stdio},
    time::Duration,
};

use minus_bindings::Amount;
use minus_protocol::Carriage;

use crate::{
    customer::{Said, acknowledge, agree, customer, message, subscribe},
    world::{Operator, TOKEN, World, until},
};

const KILLS: u64 = 12;

fn run(operator: &Operator) -> Child {
    let config = &operator.config;
    Command::new(env!("CARGO_BIN_EXE_minus-node"))
        .args(["run", "--allow-private-endpoints", "--poll-interval", "50ms", "--rpc-url"])
        .arg(config.rpc_urls[0].as_str())
        .arg("--deployment")
        .arg(&config.deployment)
        .arg("--keystore")
        .arg(&config.keystore)
        .arg("--password-file")
        .arg(config.password_file.as_ref().unwrap())
        .arg("--data-dir")
        .arg(&config.data_dir)
        .args(["--listen", &config.listen.to_string(), "--admin-listen", &config.admin_listen.to_string()])
        .stderr(Stdio::null())
        .spawn()
        .unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn killed_at_any_moment_it_keeps_what_it_acknowledged_and_charges_it_once() {
    let world = World::new().await;
    let mut agent = world.operator(|_| ()).await;
    let wallet = customer(&world, &agent, 900 * TOKEN).await;
    agent.config.admin_listen = agent.admin_addr();
    let (url, admin) = (agent.url(), format!("http://{}/health/ready", agent.config.admin_listen));
    agent.stop().await;

    let mut acknowledged = BTreeSet::new();
    let mut number = 0_u64;
    let client = reqwest::Client::new();
    for round in 0..KILLS {
        let mut child = run(&agent);
        until("the node is ready", async || {
            client.get(&admin).send().await.is_ok_and(|ready| ready.status().is_success())
        })
        .await;
        // Several senders, and a killer that comes at another moment each time.
        let mut senders = tokio::task::JoinSet::new();
        for _ in 0..4 {
            let packets: Vec<_> = (0..64)
                .map(|_| {
                    number += 1;
                    (number, message(&world, &wallet, &number.to_be_bytes()))
                })
                .collect();
            let (client, url) = (client.clone(), url.clone());
            senders.spawn(async move {
                let mut stored = Vec::new();
                for (number, packet) in packets {
                    match client.post(&url).body(packet.as_bytes().to_vec()).send().await {
                        Ok(answer) if answer.status().as_u16() == 202 => stored.push(number),
                        Ok(answer) => panic!("answered {}", answer.status()),
                        Err(_) => break,
                    }
                }
                stored
            });
        }
        tokio::time::sleep(Duration::from_millis(15 + 23 * round)).await;
        child.kill().unwrap();
        child.wait().unwrap();
        while let Some(stored) = senders.join_next().await {
            acknowledged.extend(stored.unwrap());
        }
    }
    assert!(acknowledged.len() > 20, "only {} were stored", acknowledged.len());

    agent.start().await;
    let mut received = BTreeMap::<u64, Carriage>::new();
    let mut stream = subscribe(&world, &wallet, &agent, &agent.url(), 0).await;
    let statement = loop {
        match stream.next().await {
            Said::Message { body, carriage, .. } => {
                let number = u64::from_be_bytes(body.try_into().unwrap());
                assert!(received.insert(number, carriage).is_none(), "delivered twice");
            }
            Said::Statement(statement) => break statement,
            Said::KeepAlive => {}
            Said::End => panic!("the stream ended"),
        }
    };
    let missing: Vec<_> = acknowledged.iter().filter(|number| !received.contains_key(number)).collect();
    assert!(missing.is_empty(), "answered 202 and lost: {missing:?}");
    let carriages: Vec<_> = received.into_values().collect();
    agree(&statement, Amount::ZERO, &carriages, false);
    assert_eq!(acknowledge(&world, &wallet, &agent, &statement).await.0, 200);
    let account = &agent.meters().await["customers"][0];
    assert_eq!(account["total"], statement.total.base_units().to_string());
    assert_eq!(account["reserved"], "0");
}
