//! nginx as a peer: with nchan as what people push events with, with Redis behind it where the events must last, and as
//! a plain reverse proxy.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result};
use tokio::net::TcpStream;

use super::machine::family;
use super::side::{Bodies, Side, post_head};
use crate::packages::{Package, debian};
use crate::world::eventually;
use crate::world::process::{Process, free_port};

/// Where Debian puts nginx.
const NGINX: &str = "/usr/sbin/nginx";
/// Where Debian puts Redis.
const REDIS: &str = "/usr/bin/redis-server";
/// Where Debian puts nchan.
const NCHAN: &str = "/usr/lib/nginx/modules/ngx_nchan_module.so";

/// Connections per worker: listeners of the largest comparison on one worker, if the kernel deals that unevenly.
const CONNECTIONS: u32 = 16_384;

/// How long a peer may take until it accepts connections.
const READY_WITHIN: Duration = Duration::from_secs(20);

/// Whether nginx is there, and, where they are needed, nchan in it and Redis. Installs what is missing; what cannot be had is
/// named on standard output.
pub fn installed(nchan: bool, redis: bool) -> bool {
    let wanted = [("nginx", NGINX, true), ("libnginx-mod-nchan", NCHAN, nchan), ("redis-server", REDIS, redis)];
    let is_there = |(package, file, _)| debian(package, file) != Package::Skipped;
    wanted.into_iter().filter(|(_, _, needed)| *needed).all(is_there)
}

/// A running nginx. Dropped, it ends.
pub struct Nginx {
    process: Process,
    /// Where it listens.
    pub address: SocketAddr,
}

impl Nginx {
    /// As a push server with so many workers; `redis` makes it store there.
    pub async fn push_server(folder: &Path, workers: usize, redis: Option<&Redis>) -> Result<Self> {
        // More messages are kept per channel than can be under way, so that none is dropped before it is delivered.
        let mut locations = "
            location ~ ^/pub/(\\w+)$ { nchan_publisher; nchan_channel_id $1; nchan_message_timeout 10m; \
             nchan_message_buffer_length 256; STORE }
            location ~ ^/sub/(\\w+)$ { nchan_subscriber eventsource; nchan_channel_id $1; \
             nchan_subscriber_first_message newest; nchan_message_timeout 10m; STORE }"
            .to_owned();
        let mut http = "nchan_shared_memory_size 2048M;".to_owned();
        if let Some(redis) = redis {
            http += &format!(" upstream store {{ nchan_redis_server redis://{}/; }}", redis.address);
            locations = locations.replace("STORE", "nchan_redis_pass store;");
        } else {
            locations = locations.replace("STORE", "");
        }
        let load = format!("load_module {NCHAN};");
        Self::start(folder, "nchan", workers, &load, &http, &locations).await
    }

    /// As a reverse proxy before `upstream`, with connections that are kept.
    pub async fn proxy(folder: &Path, workers: usize, upstream: SocketAddr) -> Result<Self> {
        let http = format!("upstream agent {{ server {upstream}; keepalive 128; keepalive_requests 100000000; }}");
        let locations =
            "location / { proxy_pass http://agent; proxy_http_version 1.1; proxy_set_header Connection \"\"; }";
        Self::start(folder, &format!("proxy-{workers}"), workers, "", &http, locations).await
    }

    async fn start(folder: &Path, name: &str, workers: usize, load: &str, http: &str, locations: &str) -> Result<Self> {
        let folder = folder.join(format!("nginx-{name}-{}", free_port()?));
        std::fs::create_dir_all(&folder)?;
        let address = SocketAddr::from(([127, 0, 0, 1], free_port()?));
        let shown = folder.display();
        let temporary: String = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"]
            .map(|kind| format!("{kind}_temp_path {shown}/{kind};\n"))
            .concat();
        let text = format!(
            "{load}\ndaemon off; user root; worker_processes {workers}; pid {shown}/pid; error_log {shown}/error.log;\n\
             events {{ worker_connections {CONNECTIONS}; }}\n\
             http {{ access_log off; {temporary} client_body_buffer_size 16k; keepalive_requests 100000000; tcp_nodelay on;\n\
             {http}\nserver {{ listen {address} backlog=4096; {locations} }} }}\n"
        );
        let file = folder.join("nginx.conf");
        std::fs::write(&file, text)?;
        let mut process = Process::new(name, PathBuf::from(NGINX), folder.join("log"))
            .arguments([file.as_os_str().to_owned()].into_iter().flat_map(|file| ["-c".into(), file]));
        process.start()?;
        accepts(name, address).await?;
        let nginx = Self { process, address };
        // The socket is there before they are, and their time would not be counted.
        let forked = || async { Ok((nginx.processes().len() > workers).then_some(())) };
        eventually("nginx's workers", READY_WITHIN, forked).await?;
        Ok(nginx)
    }

    /// Master and workers.
    pub fn processes(&self) -> Vec<u32> {
        self.process.pid().map(family).unwrap_or_default()
    }
}

impl Drop for Nginx {
    /// The workers outlive a master that is killed.
    fn drop(&mut self) {
        let processes = self.processes().into_iter().map(|process| process.to_string());
        let _ = Command::new("kill").args(processes).status();
    }
}

/// A running Redis that writes each command to its file, and the file to the disk, before it answers.
pub struct Redis {
    process: Process,
    address: SocketAddr,
}

impl Redis {
    /// Starts it in a folder.
    pub async fn start(folder: &Path) -> Result<Self> {
        let folder = folder.join("redis");
        std::fs::create_dir_all(&folder)?;
        let address = SocketAddr::from(([127, 0, 0, 1], free_port()?));
        let port = address.port().to_string();
        let mut process = Process::new("redis", PathBuf::from(REDIS), folder.join("log")).arguments([
            "--port",
            &port,
            "--bind",
            "127.0.0.1",
            "--dir",
            folder.to_str().context("a path of text")?,
            "--appendonly",
            "yes",
            "--appendfsync",
            "always",
            // A rewrite of the file in the midst of a measurement would only cost it time.
            "--auto-aof-rewrite-percentage",
            "0",
            "--save",
            "",
        ]);
        process.start()?;
        accepts("redis", address).await?;
        Ok(Self { process, address })
    }

    /// Bytes in the file that survives a power cut.
    pub fn persisted(&self) -> Result<u64> {
        let port = self.address.port().to_string();
        let output = std::process::Command::new("redis-cli").args(["-p", &port, "info", "persistence"]).output()?;
        let text = String::from_utf8(output.stdout)?;
        let value = |name: &str| text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
        anyhow::ensure!(value("aof_enabled") == Some("1"), "redis does not persist");
        Ok(value("aof_current_size").context("redis tells no size")?.trim().parse()?)
    }

    /// Its process.
    pub fn processes(&self) -> Vec<u32> {
        self.process.pid().into_iter().collect()
    }
}

async fn accepts(name: &str, address: SocketAddr) -> Result<()> {
    let connect = || async { Ok(TcpStream::connect(address).await.ok().map(drop)) };
    eventually(&format!("{name} to accept connections"), READY_WITHIN, connect).await
}

/// nchan as a side: one channel per listener.
pub struct Nchan {
    name: String,
    address: SocketAddr,
    processes: Vec<u32>,
    bodies: Bodies,
    heads: Vec<Vec<u8>>,
}

impl Nchan {
    /// So many channels of a running push server; `others` work for it.
    pub fn new(name: &str, nginx: &Nginx, others: &[u32], channels: usize) -> Self {
        let address = nginx.address;
        Self {
            name: name.to_owned(),
            address,
            processes: [&nginx.processes(), others].concat(),
            bodies: Bodies::printable(),
            heads: (0..channels).map(|channel| post_head(&format!("/pub/c{channel}"), address)).collect(),
        }
    }
}

impl Side for Nchan {
    fn name(&self) -> &str {
        &self.name
    }

    fn address(&self) -> SocketAddr {
        self.address
    }

    fn channels(&self) -> usize {
        self.heads.len()
    }

    fn post(&self, channel: usize, message: u64, request: &mut Vec<u8>) {
        request.extend_from_slice(&self.heads[channel]);
        self.bodies.write(b"", message, request);
    }

    fn listen(&self, channel: usize) -> Result<Vec<u8>> {
        let head =
            format!("GET /sub/c{channel} HTTP/1.1\r\nhost: {}\r\naccept: text/event-stream\r\n\r\n", self.address);
        Ok(head.into_bytes())
    }

    fn processes(&self) -> Vec<u32> {
        self.processes.clone()
    }
}
