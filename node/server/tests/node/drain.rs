//! SIGTERM under load: nothing acknowledged is lost, nothing reaches the application twice, no answer is half an answer.

use std::{
    collections::BTreeSet,
    path::PathBuf,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use alloy::signers::local::PrivateKeySigner;
use serde_json::Value;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    task::JoinSet,
};

use crate::{
    customer::{Said, customer, message, subscribe},
    program::{Program, read},
    world::{Operator, TOKEN, World, until},
};

/// How often the node is told to stop under load.
const ROUNDS: usize = 3;
/// How long a debug build on a busy machine may take to end.
const PATIENCE: Duration = Duration::from_secs(60);

/// A customer of an operator whose addresses are fixed and whose node does not run in this process.
struct Scene {
    world: World,
    agent: Operator,
    wallet: PrivateKeySigner,
    url: String,
    log: PathBuf,
}

impl Scene {
    async fn new() -> Self {
        let world = World::new().await;
        let mut agent = world.operator(|_| ()).await;
        let wallet = customer(&world, &agent, 900 * TOKEN).await;
        let url = agent.url();
        agent.config.admin_listen = agent.admin_addr();
        agent.stop().await;
        let log = world.folder.path().join("log");
        Self { world, agent, wallet, url, log }
    }

    async fn program(&self, arguments: &[&str]) -> Program {
        let program = Program::start(&self.agent, &self.log, |command| {
            command.args(arguments);
        });
        program.wait_ready().await;
        program
    }
}

/// Sends packet after packet until the node is gone; gives the numbers that were acknowledged.
async fn send_until_gone(scene: Arc<Scene>, numbers: Arc<AtomicU64>) -> BTreeSet<u64> {
    let client = reqwest::Client::new();
    let mut acknowledged = BTreeSet::new();
    loop {
        let number = numbers.fetch_add(1, Ordering::Relaxed);
        let packet = message(&scene.world, &scene.wallet, &number.to_be_bytes());
        // Nobody there, or a connection that was closed while it was idle: nothing was acknowledged.
        let Ok(answer) = client.post(&scene.url).body(packet.as_bytes().to_vec()).send().await else { break };
        match answer.status().as_u16() {
            202 => {
                let receipt: Value = answer.json().await.expect("an answer that began is whole");
                assert_eq!(receipt["stored"], "new");
                acknowledged.insert(number);
            }
            503 => break,
            other => panic!("answered {other}"),
        }
    }
    acknowledged
}

#[tokio::test(flavor = "multi_thread")]
async fn sigterm_under_load_loses_nothing_and_ends_with_0() {
    let scene = Arc::new(Scene::new().await);
    let numbers = Arc::new(AtomicU64::new(0));
    let (mut acknowledged, mut received, mut last) = (BTreeSet::new(), BTreeSet::new(), 0);
    for round in 0..=ROUNDS {
        let mut program = scene.program(&[]).await;
        let mut stream = subscribe(&scene.world, &scene.wallet, &scene.agent, &scene.url, last).await;
        let mut senders = JoinSet::new();
        if round < ROUNDS {
            for _ in 0..4 {
                senders.spawn(send_until_gone(Arc::clone(&scene), Arc::clone(&numbers)));
            }
        }
        let mut told = false;
        loop {
            if !told && received.len() >= 15 * (round + 1) && round < ROUNDS {
                program.signal("-TERM");
                told = true;
            }
            if round == ROUNDS && acknowledged.is_subset(&received) {
                break;
            }
            match stream.next().await {
                Said::Message { seq, body, .. } => {
                    let number = u64::from_be_bytes(body.try_into().unwrap());
                    assert!(received.insert(number) && seq > last, "{number} came twice");
                    last = seq;
                }
                Said::Statement(_) | Said::KeepAlive => {}
                Said::End => break,
            }
        }
        if !told {
            program.signal("-TERM");
        }
        let ended = program.ended_within(PATIENCE).expect("it ends");
        assert_eq!(ended.code(), Some(0), "{}", read(&scene.log));
        while let Some(sent) = senders.join_next().await {
            acknowledged.extend(sent.unwrap());
        }
    }
    assert!(acknowledged.len() > 20, "only {} were acknowledged", acknowledged.len());
    let lost: Vec<_> = acknowledged.difference(&received).collect();
    assert!(lost.is_empty(), "acknowledged and lost: {lost:?}");
    assert!(!read(&scene.log).contains("did not end in time"));
}

/// A request whose body never comes whole keeps a node from ending until its time is up, or it is told again.
#[tokio::test(flavor = "multi_thread")]
async fn while_it_drains_it_is_not_ready_and_a_second_signal_ends_it_at_once() {
    let scene = Scene::new().await;
    for (signal, drain_max, code) in [("-TERM", "300s", 1), ("-INT", "300s", 1), ("", "500ms", 0)] {
        let mut program = scene.program(&["--drain-max", drain_max]).await;
        let mut half = TcpStream::connect(scene.agent.config.listen).await.unwrap();
        half.write_all(b"POST / HTTP/1.1\r\nhost: x\r\nexpect: 100-continue\r\ncontent-length: 900\r\n\r\n")
            .await
            .unwrap();
        // Its body is being waited for once the node says so.
        let mut said = [0; 25];
        half.read_exact(&mut said).await.unwrap();
        assert!(said.starts_with(b"HTTP/1.1 100"));

        program.signal("-TERM");
        if !signal.is_empty() {
            until("it says that it drains", async || {
                program.ready().await.is_some_and(|(status, ready)| {
                    assert!(status == 503 || ready["ready"] == true);
                    ready["reasons"][0]["reason"] == "draining"
                })
            })
            .await;
            until("nobody listens", async || TcpStream::connect(scene.agent.config.listen).await.is_err()).await;
            program.signal(signal);
        }
        let ended = program.ended_within(PATIENCE).expect("it ends, long before the time that it has");
        assert_eq!(ended.code(), Some(code), "{}", read(&scene.log));
    }
}
