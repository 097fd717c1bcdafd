//! The real program, killed at random moments while strangers send: whatever was answered 202 is delivered, once, and
//! the bill is exactly what the customer counts.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use minus_bindings::Amount;
use minus_protocol::Carriage;

use crate::{
    customer::{Said, acknowledge, agree, customer, message, subscribe},
    program::Program,
    world::{TOKEN, World},
};

const KILLS: u64 = 12;

#[tokio::test(flavor = "multi_thread")]
async fn killed_at_any_moment_it_keeps_what_it_acknowledged_and_charges_it_once() {
    let world = World::new().await;
    let mut agent = world.operator(|_| ()).await;
    let wallet = customer(&world, &agent, 900 * TOKEN).await;
    agent.config.admin_listen = agent.admin_addr();
    let (url, log) = (agent.url(), world.folder.path().join("log"));
    agent.stop().await;

    let mut acknowledged = BTreeSet::new();
    let mut number = 0_u64;
    let client = reqwest::Client::new();
    for round in 0..KILLS {
        let program = Program::start(&agent, &log, |_| ());
        program.wait_ready().await;
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
        drop(program);
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
