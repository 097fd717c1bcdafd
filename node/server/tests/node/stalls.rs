//! Peers that are gone or do nothing, on real sockets: each loses its place in time, and none takes more than its own.

use std::{net::Ipv4Addr, process::Command, time::Duration};

use alloy::signers::local::PrivateKeySigner;
use minus_protocol::CommandBody;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpSocket, TcpStream},
};

use crate::{
    customer::{command_at, customer, message, now_ms, post_status, subscribe},
    world::{Operator, TOKEN, World, until},
};

/// Messages that together are more than kernels keep for a reader that does not read.
const LARGE: usize = 8;
const LARGE_BYTES: usize = 1_000_000;

/// Subscribes with a tiny receive buffer, reads the status, and then nothing.
async fn unread(world: &World, wallet: &PrivateKeySigner, agent: &Operator) -> (u16, TcpStream) {
    let socket = TcpSocket::new_v4().unwrap();
    socket.set_recv_buffer_size(4_096).unwrap();
    let mut stream = socket.connect(agent.url().strip_prefix("http://").unwrap().parse().unwrap()).await.unwrap();
    let (packet, _) = command_at(world, wallet, agent, CommandBody::Subscribe { resume_after: 0 }, now_ms());
    let head = format!("POST / HTTP/1.1\r\nhost: agent\r\ncontent-length: {}\r\n\r\n", packet.len());
    stream.write_all(&[head.as_bytes(), packet.as_bytes()].concat()).await.unwrap();
    let mut line = [0; 12];
    stream.read_exact(&mut line).await.unwrap();
    (std::str::from_utf8(&line[9..]).unwrap().parse().unwrap(), stream)
}

async fn customer_with_much_waiting(world: &World, agent: &Operator) -> PrivateKeySigner {
    let wallet = customer(world, agent, 900 * TOKEN).await;
    for _ in 0..LARGE {
        assert_eq!(post_status(&agent.url(), &message(world, &wallet, &[7; LARGE_BYTES])).await, 202);
    }
    wallet
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reader_that_stops_reading_loses_its_place() {
    let world = World::new().await;
    let agent = world.operator(|config| config.stall_timeout = Duration::from_secs(3)).await;
    let wallet = customer_with_much_waiting(&world, &agent).await;
    let (status, _held) = unread(&world, &wallet, &agent).await;
    assert_eq!(status, 200);
    until("its place is free", async || agent.metric("minus_streams_open").await == 0.0).await;
    assert!(agent.metric("minus_bytes_pushed_total").await > 0.0);
    let mut stream = subscribe(&world, &wallet, &agent, &agent.url(), 0).await;
    assert_eq!(stream.message().await.0, 1, "nothing is lost for the next");
}

#[tokio::test(flavor = "multi_thread")]
async fn streams_that_nobody_reads_are_refused_at_their_bound() {
    let world = World::new().await;
    let agent = world.operator(|_| ()).await;
    let wallet = customer_with_much_waiting(&world, &agent).await;
    let other = customer(&world, &agent, TOKEN).await;
    let mut held = Vec::new();
    // One that was displaced before it was stuck ends by itself, so there may be a few more.
    let refused = loop {
        let (status, stream) = unread(&world, &wallet, &agent).await;
        held.push(stream);
        assert!(held.len() < 100, "never refused");
        if status != 200 {
            break status;
        }
        let mut before = 0.0;
        until("it is stuck", async || {
            tokio::time::sleep(Duration::from_millis(80)).await;
            let pushed = agent.metric("minus_bytes_pushed_total").await;
            std::mem::replace(&mut before, pushed) == pushed
        })
        .await;
    };
    assert_eq!(refused, 429);
    assert_eq!(agent.metric("minus_streams_open").await, 16.0);
    subscribe(&world, &other, &agent, &agent.url(), 0).await;
    held.clear();
    until("they have ended", async || agent.metric("minus_streams_open").await == 0.0).await;
    assert_eq!(subscribe(&world, &wallet, &agent, &agent.url(), 0).await.message().await.0, 1);
}

/// A host of its own, connected by a cable that can be cut: a network namespace.
struct Host {
    name: String,
    cable: String,
    /// Of this side.
    address: Ipv4Addr,
}

impl Host {
    /// None where the system does not let us.
    fn new() -> Option<Self> {
        let id = std::process::id() % 100_000;
        // A block of four of its own, so that several such tests can run on one machine.
        let block = u32::from(Ipv4Addr::new(10, 213, 0, 0)) + id % 16_000 * 4;
        let (address, neighbour) = (Ipv4Addr::from(block + 1), Ipv4Addr::from(block + 2));
        let host = Self { name: format!("minus{id}"), cable: format!("minus{id}"), address };
        let (name, cable, far) = (host.name.as_str(), host.cable.as_str(), format!("far{id}"));
        let made = ip(&["netns", "add", name])
            && ip(&["link", "add", cable, "type", "veth", "peer", "name", &far])
            && ip(&["link", "set", &far, "netns", name])
            && ip(&["addr", "add", &format!("{address}/30"), "dev", cable])
            && ip(&["link", "set", cable, "up"])
            && ip(&["-n", name, "addr", "add", &format!("{neighbour}/30"), "dev", &far])
            && ip(&["-n", name, "link", "set", &far, "up"]);
        made.then_some(host)
    }
}

impl Drop for Host {
    fn drop(&mut self) {
        ip(&["link", "del", &self.cable]);
        ip(&["netns", "del", &self.name]);
    }
}

fn ip(arguments: &[&str]) -> bool {
    Command::new("ip").args(arguments).output().is_ok_and(|output| output.status.success())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_host_that_vanished_loses_its_place() {
    let Some(host) = Host::new() else {
        assert!(std::env::var_os("MINUS_FORBID_SKIPS").is_none(), "no network namespace can be made here");
        println!("skipped: a host that vanished needs a network namespace");
        return;
    };
    let world = World::new().await;
    let agent = world
        .operator(|config| {
            config.listen = (host.address, 0).into();
            config.stall_timeout = Duration::from_secs(2);
            config.keep_alive = Duration::from_millis(200);
        })
        .await;
    let wallet = customer(&world, &agent, TOKEN).await;
    let (packet, _) = command_at(&world, &wallet, &agent, CommandBody::Subscribe { resume_after: 0 }, now_ms());
    let query = minus_protocol::headers::encode_packet_query(&packet);
    let at = agent.url().strip_prefix("http://").unwrap().replace(':', "/");
    let script = format!(
        "exec 3<>/dev/tcp/{at}; printf 'GET /?packet={query} HTTP/1.1\\r\\nhost: agent\\r\\n\\r\\n' >&3; exec cat <&3"
    );
    let mut listener = Command::new("ip")
        .args(["netns", "exec", &host.name, "bash", "-c", &script])
        .stdout(std::process::Stdio::null())
        .spawn()
        .unwrap();
    until("it listens", async || agent.metric("minus_streams_open").await == 1.0).await;
    assert!(ip(&["link", "set", &host.cable, "down"]), "the cable is cut");
    until("it is missed", async || agent.metric("minus_streams_open").await == 0.0).await;
    assert!(listener.try_wait().unwrap().is_none(), "the other side has heard of nothing");
    listener.kill().unwrap();
    listener.wait().unwrap();
}
