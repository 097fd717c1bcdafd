//! A wire in front of a node that can be cut: at once, or in the middle of what it carries.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};

use anyhow::{Context, Result};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinHandle;

/// Carries connections from a port of its own to a node. Dropped, it ends.
#[derive(Debug)]
pub struct Wire {
    endpoint: String,
    inside: Arc<Inside>,
    accepting: JoinHandle<()>,
}

#[derive(Debug)]
struct Inside {
    to: SocketAddr,
    /// How often it was cut; each change ends every connection.
    cuts: watch::Sender<u64>,
    /// Bytes towards the caller until the next cut.
    until_cut: Mutex<Option<usize>>,
}

impl Wire {
    /// A wire to the node at `endpoint`, an `http://address:port`.
    pub async fn to(endpoint: &str) -> Result<Self> {
        let to = endpoint.strip_prefix("http://").context("a test node speaks plain HTTP")?.parse()?;
        let listener = TcpListener::bind(("127.0.0.1", 0)).await?;
        let endpoint = format!("http://{}", listener.local_addr()?);
        let inside = Arc::new(Inside { to, cuts: watch::Sender::new(0), until_cut: Mutex::new(None) });
        let accepting = tokio::spawn({
            let inside = Arc::clone(&inside);
            async move {
                while let Ok((caller, _)) = listener.accept().await {
                    tokio::spawn(Arc::clone(&inside).carry(caller));
                }
            }
        });
        Ok(Self { endpoint, inside, accepting })
    }

    /// Where it begins.
    pub fn endpoint(&self) -> &str {
        &self.endpoint
    }

    /// Ends every connection at once; new ones stand.
    pub fn cut(&self) {
        self.inside.cut();
    }

    /// Ends every connection once so many more bytes have gone to the caller.
    pub fn cut_after(&self, bytes: usize) {
        *self.inside.until_cut() = Some(bytes);
    }

    /// How often it was cut.
    pub fn cuts(&self) -> u64 {
        *self.inside.cuts.borrow()
    }
}

impl Drop for Wire {
    fn drop(&mut self) {
        self.accepting.abort();
        self.cut();
    }
}

impl Inside {
    fn cut(&self) {
        self.cuts.send_modify(|cuts| *cuts += 1);
    }

    fn until_cut(&self) -> std::sync::MutexGuard<'_, Option<usize>> {
        self.until_cut.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn carry(self: Arc<Self>, caller: TcpStream) {
        let mut cut = self.cuts.subscribe();
        // A node that is down refuses, and so does the wire: it drops the caller.
        let Ok(node) = TcpStream::connect(self.to).await else { return };
        let ((mut from_caller, to_caller), (from_node, mut to_node)) = (caller.into_split(), node.into_split());
        tokio::select! {
            _ = cut.changed() => {}
            _ = tokio::io::copy(&mut from_caller, &mut to_node) => {}
            _ = self.carry_back(from_node, to_caller) => {}
        }
    }

    async fn carry_back(&self, mut from: OwnedReadHalf, mut to: OwnedWriteHalf) -> std::io::Result<()> {
        let mut buffer = vec![0; 16 << 10];
        loop {
            let read = from.read(&mut buffer).await?;
            if read == 0 {
                return Ok(());
            }
            let (len, is_end) = self.take(read);
            to.write_all(&buffer[..len]).await?;
            if is_end {
                self.cut();
            }
        }
    }

    /// How many of these bytes still pass, and whether they are the last.
    fn take(&self, read: usize) -> (usize, bool) {
        let mut until_cut = self.until_cut();
        let Some(left) = until_cut.as_mut() else { return (read, false) };
        let len = read.min(*left);
        *left -= len;
        let is_end = *left == 0;
        if is_end {
            *until_cut = None;
        }
        (len, is_end)
    }
}
