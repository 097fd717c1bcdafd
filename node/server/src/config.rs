//! What an operator may set, with the reason of each default. File < environment (`MINUS_NODE_*`) < flags.

use std::{net::SocketAddr, path::PathBuf, time::Duration};

use minus_bindings::Amount;
use serde::{Deserialize, Serialize};
use url::Url;

/// Everything a node needs to start.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// The deployments file that says which chain and which contracts.
    pub deployment: PathBuf,
    /// JSON-RPC endpoints of that chain, tried in this order.
    pub rpc_urls: Vec<Url>,
    /// The node key, a web3 keystore file.
    pub keystore: PathBuf,
    /// File that holds the keystore's password. Without it: `MINUS_NODE_PASSWORD`, else a prompt.
    #[serde(default)]
    pub password_file: Option<PathBuf>,
    /// Where the store lives. Created if absent.
    pub data_dir: PathBuf,
    /// The PostgreSQL database to keep the store in, instead of an SQLite file in `data_dir`.
    #[serde(default, skip_serializing)]
    pub database_url: Option<DatabaseUrl>,
    /// Where packets are accepted.
    #[serde(default = "defaults::listen")]
    pub listen: SocketAddr,
    /// Where health, metrics and meters are answered. Not for the public.
    #[serde(default = "defaults::admin_listen")]
    pub admin_listen: SocketAddr,
    /// The operator's settler. Without it, vouchers stay in the outbox.
    #[serde(default)]
    pub settler_url: Option<Url>,
    /// Whether to connect to loopback and private addresses. For development.
    #[serde(default)]
    pub allow_private_endpoints: bool,
    /// How long a packet waits for its receiver, and what its reserve is computed over.
    #[serde(default = "defaults::retention", with = "humantime_serde")]
    pub retention: Duration,
    /// Bytes pushed to a subscription beyond what it acknowledged.
    #[serde(default = "defaults::window_bytes")]
    pub window_bytes: u64,
    /// What this node, as an agent, pays relays in advance for one payer's packets. Base units.
    #[serde(default = "defaults::customer_credit", with = "base_units")]
    pub customer_credit: Amount,
    /// Bytes that wait for one payer's wallets at most.
    #[serde(default = "defaults::customer_quota")]
    pub customer_quota: u64,
    /// What an agent may owe this node, as a relay, without a voucher. Base units.
    #[serde(default = "defaults::relay_credit", with = "base_units")]
    pub relay_credit: Amount,
    /// What this node, as a relay, carries for an agent in vain before that counts as owed: streams that break before they
    /// are acknowledged, and duplicates that somebody else had brought. A share of what the agent paid for comes on top.
    #[serde(default = "defaults::relay_write_off_bytes")]
    pub relay_write_off_bytes: u64,
    /// How often a voucher is asked for while an agent owes something.
    #[serde(default = "defaults::voucher_interval", with = "humantime_serde")]
    pub voucher_interval: Duration,
    /// After how many bytes a voucher is asked for without waiting.
    #[serde(default = "defaults::voucher_bytes")]
    pub voucher_bytes: u64,
    /// How long a payer has to be silent before its standing mandate is charged, and how long between two charges.
    #[serde(default = "defaults::mandate_interval", with = "humantime_serde")]
    pub mandate_interval: Duration,
    /// How often a silent stream is given a sign of life.
    #[serde(default = "defaults::keep_alive", with = "humantime_serde")]
    pub keep_alive: Duration,
    /// After how long a peer that takes none of what is sent to it has lost its connection.
    #[serde(default = "defaults::stall_timeout", with = "humantime_serde")]
    pub stall_timeout: Duration,
    /// How often the chain is asked for news.
    #[serde(default = "defaults::poll_interval", with = "humantime_serde")]
    pub poll_interval: Duration,
    /// How old the last news may be before the node answers 503 rather than guess.
    #[serde(default = "defaults::view_stale_after", with = "humantime_serde")]
    pub view_stale_after: Duration,
    /// How many blocks deep a block must be before it is believed. 0 suits a chain of one's own.
    #[serde(default)]
    pub confirmations: u64,
    /// Connections of the public surface at a time. The system has to allow as many descriptors, and some more.
    #[serde(default = "defaults::connections_max")]
    pub connections_max: usize,
    /// The same from one remote address. Behind a reverse proxy, give it all.
    #[serde(default = "defaults::connections_per_address_max")]
    pub connections_per_address_max: usize,
    /// How long running requests may take to end after a shutdown was asked for.
    #[serde(default = "defaults::drain_max", with = "humantime_serde")]
    pub drain_max: Duration,
    /// How the log is written.
    #[serde(default)]
    pub log_format: LogFormat,
}

/// How the log is written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LogFormat {
    /// For a person.
    #[default]
    Text,
    /// One JSON object a line, for a program.
    Json,
}

impl Config {
    /// A configuration with everything but these at its default.
    pub fn new(deployment: PathBuf, rpc_urls: Vec<Url>, keystore: PathBuf, data_dir: PathBuf) -> Self {
        Self {
            deployment,
            rpc_urls,
            keystore,
            password_file: None,
            data_dir,
            database_url: None,
            listen: defaults::listen(),
            admin_listen: defaults::admin_listen(),
            settler_url: None,
            allow_private_endpoints: false,
            retention: defaults::retention(),
            window_bytes: defaults::window_bytes(),
            customer_credit: defaults::customer_credit(),
            customer_quota: defaults::customer_quota(),
            relay_credit: defaults::relay_credit(),
            relay_write_off_bytes: defaults::relay_write_off_bytes(),
            voucher_interval: defaults::voucher_interval(),
            voucher_bytes: defaults::voucher_bytes(),
            mandate_interval: defaults::mandate_interval(),
            keep_alive: defaults::keep_alive(),
            stall_timeout: defaults::stall_timeout(),
            poll_interval: defaults::poll_interval(),
            view_stale_after: defaults::view_stale_after(),
            confirmations: 0,
            connections_max: defaults::connections_max(),
            connections_per_address_max: defaults::connections_per_address_max(),
            drain_max: defaults::drain_max(),
            log_format: LogFormat::default(),
        }
    }
}

/// `postgres://user:password@host/database`. What it holds is shown to nobody but the database.
#[derive(Clone)]
pub struct DatabaseUrl(Url);

impl DatabaseUrl {
    pub(crate) const fn reveal(&self) -> &Url {
        &self.0
    }
}

impl std::fmt::Debug for DatabaseUrl {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("DatabaseUrl")
    }
}

impl std::str::FromStr for DatabaseUrl {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match Url::parse(text) {
            Ok(url) if matches!(url.scheme(), "postgres" | "postgresql") => Ok(Self(url)),
            _ => Err("database_url is not of the form postgres://user:password@host/database"),
        }
    }
}

impl<'de> Deserialize<'de> for DatabaseUrl {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}

/// Base units as a whole number, in quotes or not: a variable of the environment has none.
mod base_units {
    use minus_bindings::Amount;
    use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error};

    #[derive(Deserialize)]
    #[serde(untagged)]
    enum Written {
        Number(u64),
        Text(Amount),
    }

    pub(super) fn serialize<S: Serializer>(amount: &Amount, serializer: S) -> Result<S::Ok, S::Error> {
        amount.serialize(serializer)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Amount, D::Error> {
        match Written::deserialize(deserializer)? {
            Written::Number(units) => Amount::from_base_units(units.into()).map_err(D::Error::custom),
            Written::Text(amount) => Ok(amount),
        }
    }
}

mod defaults {
    use std::{
        net::{Ipv4Addr, SocketAddr},
        time::Duration,
    };

    use minus_bindings::Amount;

    pub(super) fn listen() -> SocketAddr {
        (Ipv4Addr::UNSPECIFIED, 8402).into()
    }

    /// Loopback, because who reads the meters knows the customers.
    pub(super) fn admin_listen() -> SocketAddr {
        (Ipv4Addr::LOCALHOST, 8403).into()
    }

    /// A week: a customer may be on holiday, and the reserve of a packet stays small.
    pub(super) fn retention() -> Duration {
        Duration::from_secs(7 * 86_400)
    }

    /// Eight of the largest packets: enough to fill a line of 100 Mbit/s at half a second of round trip.
    pub(super) fn window_bytes() -> u64 {
        8 << 20
    }

    /// One token: a customer that costs so much without ever paying is worth losing.
    pub(super) fn customer_credit() -> Amount {
        Amount::from_base_units(1_000_000).unwrap_or(Amount::ZERO)
    }

    /// A gibibyte: a thousand of the largest packets for a customer on holiday, and a disk of a terabyte holds a thousand
    /// such customers.
    pub(super) fn customer_quota() -> u64 {
        1 << 30
    }

    /// One token.
    pub(super) fn relay_credit() -> Amount {
        Amount::from_base_units(1_000_000).unwrap_or(Amount::ZERO)
    }

    /// A few broken streams with their windows full.
    pub(super) fn relay_write_off_bytes() -> u64 {
        64 << 20
    }

    pub(super) fn voucher_interval() -> Duration {
        Duration::from_secs(10)
    }

    pub(super) fn voucher_bytes() -> u64 {
        64 << 20
    }

    /// A day: who acknowledges daily is never charged, and a charge is worth its gas.
    pub(super) fn mandate_interval() -> Duration {
        Duration::from_secs(86_400)
    }

    /// Below the 30 to 60 seconds after which routers and proxies forget a silent connection.
    pub(super) fn keep_alive() -> Duration {
        Duration::from_secs(15)
    }

    /// Each costs a descriptor and some kilobytes.
    pub(super) fn connections_max() -> usize {
        16_384
    }

    /// Half of all: a relay with all the streams it may pipe from one agent (4,096) fits twice, and nobody takes everything.
    pub(super) fn connections_per_address_max() -> usize {
        8_192
    }

    /// With `keep_alive` before it, a minute: phones change networks within seconds, and come back by a new connection.
    pub(super) fn stall_timeout() -> Duration {
        Duration::from_secs(45)
    }

    /// What `docker stop` and others wait before they kill.
    pub(super) fn drain_max() -> Duration {
        Duration::from_secs(10)
    }

    pub(super) fn poll_interval() -> Duration {
        Duration::from_secs(1)
    }

    pub(super) fn view_stale_after() -> Duration {
        Duration::from_secs(30)
    }
}
