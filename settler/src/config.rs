//! What the settler is told: a TOML file, over it the environment (`SETTLER_…`), over that the command line.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::time::Duration;

use alloy::primitives::Address;
use figment::Figment;
use figment::providers::{Env, Format, Serialized, Toml};
use minus_bindings::{Amount, Deployment, DeploymentError};
use serde::{Deserialize, Serialize};
use url::Url;

use crate::chunks::ROWS_OF_A_TRANSACTION_MAX;
use crate::fees::FeePolicy;
use crate::pace::WATCH_BLOCKS;
use crate::plan::Policy;
use crate::retention::{RETENTION_DEFAULT, RETENTION_MIN};

const WEI_PER_GWEI: u128 = 1_000_000_000;
/// Each look asks for the balance and the nonce of all of them.
const KEYS_MAX: usize = 16;

/// Everything `settler run` needs.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// The deployments file.
    pub deployment: PathBuf,
    /// The chain's endpoints.
    pub rpc_urls: Vec<Url>,
    /// How many of them have to say the same where money is decided on; 0 is more than half.
    pub rpc_quorum: usize,
    /// Key file of the gas key, which pays for transactions and should own nothing else.
    pub gas_keystore: PathBuf,
    /// More gas keys: all of them are used at once, and one that is out of gas or stuck stops no other.
    pub gas_keystores: Vec<PathBuf>,
    /// File with their password; else `SETTLER_PASSWORD`, else the terminal.
    pub gas_password_file: Option<PathBuf>,
    /// The intent log.
    pub database: String,
    /// Where nodes hand in vouchers. No authentication: a voucher speaks for itself. Keep it in the operator's network.
    pub listen: SocketAddr,
    /// Health, metrics, status and claims. Keep it to yourself.
    pub admin_listen: SocketAddr,
    /// The operators this settler collects for.
    pub payees: Vec<Address>,
    /// A claim must be worth this many times its gas.
    pub value_over_gas: u64,
    /// One native coin in settlement tokens, decimal ("3000").
    pub native_coin_price: String,
    /// A voucher that waited this long needs to be worth its gas only once.
    #[serde(with = "humantime_serde")]
    pub age_max: Duration,
    /// When one payer owes more tokens than this, all that it owes is claimed; 0 for no limit.
    pub exposure_max: String,
    /// Whether income is claimed early when the escrow does not cover what relays are owed.
    pub cover_debts: bool,
    /// A lane under notice is claimed this long before the notice ends, whatever it is worth; earlier if this chain
    /// needs longer.
    #[serde(with = "humantime_serde")]
    pub thaw_margin: Duration,
    /// Rows of one transaction at most; so many as fill their part of a block, if that is less.
    pub rows_per_batch: u64,
    /// The most to pay, 10^-9 of the native coin per gas. Exceeded only for a lane that closes, up to its value.
    pub fee_cap_gwei: u64,
    /// Of that, the most to pay a block's builder.
    pub tip_cap_gwei: u64,
    /// Blocks on top of a claim, its own included, before it counts.
    pub confirmations: u64,
    /// A transaction that is not mined after this many blocks is replaced with a higher fee.
    pub replace_after_blocks: u64,
    /// How often to look at the chain.
    #[serde(with = "humantime_serde")]
    pub poll_interval: Duration,
    /// How old the view of a waiting lane may get.
    #[serde(with = "humantime_serde")]
    pub lane_refresh: Duration,
    /// Lanes to keep at most.
    pub lanes_max: u64,
    /// How long finished history is kept in the log; zero is for ever.
    #[serde(with = "humantime_serde")]
    pub retention: Duration,
    /// Names, besides addresses and `localhost`, that the operator's port may be called by.
    pub admin_hosts: Vec<String>,
    /// A block explorer; the operator's page links each claim to `tx/{hash}` there.
    pub explorer_url: Option<Url>,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            deployment: PathBuf::from("deployment.json"),
            rpc_urls: Vec::new(),
            rpc_quorum: 0,
            gas_keystore: PathBuf::from("gas-key.json"),
            gas_keystores: Vec::new(),
            gas_password_file: None,
            database: "sqlite:settler.db".into(),
            listen: SocketAddr::from((Ipv4Addr::LOCALHOST, 7_300)),
            admin_listen: SocketAddr::from((Ipv4Addr::LOCALHOST, 7_301)),
            payees: Vec::new(),
            value_over_gas: 10,
            native_coin_price: "3000".into(),
            age_max: Duration::from_secs(7 * 86_400),
            exposure_max: "0".into(),
            cover_debts: true,
            thaw_margin: Duration::from_secs(12 * 3_600),
            rows_per_batch: ROWS_OF_A_TRANSACTION_MAX,
            fee_cap_gwei: 200,
            tip_cap_gwei: 10,
            confirmations: 2,
            replace_after_blocks: 5,
            poll_interval: Duration::from_secs(2),
            lane_refresh: Duration::from_secs(30),
            lanes_max: 1_000_000,
            retention: RETENTION_DEFAULT,
            admin_hosts: Vec::new(),
            explorer_url: None,
        }
    }
}

/// What is wrong with it.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// The file or a variable does not fit.
    #[error("{0}")]
    Figment(#[from] Box<figment::Error>),
    /// The deployments file cannot be read.
    #[error("{path}: {source}")]
    Unreadable {
        /// Which file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// The deployments file is not one.
    #[error("{path}: {source}")]
    Deployment {
        /// Which file.
        path: PathBuf,
        /// Why.
        source: DeploymentError,
    },
    /// A value that makes no sense.
    #[error("{field}: {problem}")]
    Value {
        /// Which setting.
        field: &'static str,
        /// What is wrong with it.
        problem: String,
    },
}

/// The settings that the environment may hold: every field, and none of the variables of other commands.
const FIELDS: &[&str] = &[
    "deployment",
    "rpc_urls",
    "rpc_quorum",
    "gas_keystore",
    "gas_keystores",
    "gas_password_file",
    "database",
    "listen",
    "admin_listen",
    "payees",
    "value_over_gas",
    "native_coin_price",
    "age_max",
    "exposure_max",
    "cover_debts",
    "thaw_margin",
    "rows_per_batch",
    "fee_cap_gwei",
    "tip_cap_gwei",
    "confirmations",
    "replace_after_blocks",
    "poll_interval",
    "lane_refresh",
    "lanes_max",
    "retention",
    "admin_hosts",
    "explorer_url",
];

impl Config {
    /// Reads the file, the environment and the command line's own settings, the later over the earlier.
    ///
    /// # Errors
    /// When a setting is unknown or does not fit its field.
    pub fn load(file: Option<&Path>, flags: &impl Serialize) -> Result<Self, ConfigError> {
        let mut figment = Figment::from(Serialized::defaults(Self::default()));
        if let Some(file) = file {
            figment = figment.merge(Toml::file_exact(file));
        }
        figment
            .merge(Env::prefixed("SETTLER_").only(FIELDS))
            .merge(Serialized::defaults(flags))
            .extract()
            .map_err(|error| ConfigError::Figment(Box::new(error)))
    }

    /// The policy, with its bounds checked.
    ///
    /// # Errors
    /// When a bound is crossed.
    pub fn policy(&self) -> Result<Policy, ConfigError> {
        let value = |field, problem: String| ConfigError::Value { field, problem };
        if self.rpc_urls.is_empty() {
            return Err(value("rpc_urls", "name at least one endpoint of the chain".into()));
        }
        if self.rpc_quorum > self.rpc_urls.len() {
            return Err(value("rpc_quorum", format!("only {} endpoints are named", self.rpc_urls.len())));
        }
        if self.payees.is_empty() {
            return Err(value("payees", "name at least one operator to collect for".into()));
        }
        let rows_max = ROWS_OF_A_TRANSACTION_MAX;
        if self.rows_per_batch == 0 || self.rows_per_batch > rows_max {
            return Err(value("rows_per_batch", format!("between 1 and {rows_max}, which fit one transaction")));
        }
        if !self.retention.is_zero() && self.retention < RETENTION_MIN {
            return Err(value(
                "retention",
                format!("at least {}days, or 0s for ever", RETENTION_MIN.as_secs() / 86_400),
            ));
        }
        if self.confirmations == 0 || self.confirmations > WATCH_BLOCKS {
            return Err(value("confirmations", format!("between 1 and {WATCH_BLOCKS}")));
        }
        if self.explorer_url.as_ref().is_some_and(|url| !["http", "https"].contains(&url.scheme())) {
            return Err(value("explorer_url", "begins with http:// or https://".into()));
        }
        let native_coin_price =
            self.native_coin_price.parse::<Amount>().map_err(|error| value("native_coin_price", error.to_string()))?;
        let exposure_max =
            self.exposure_max.parse::<Amount>().map_err(|error| value("exposure_max", error.to_string()))?;
        Ok(Policy {
            value_over_gas: self.value_over_gas,
            native_coin_price,
            age_max_s: self.age_max.as_secs(),
            thaw_margin_s: self.thaw_margin.as_secs(),
            exposure_max: (!exposure_max.is_zero()).then_some(exposure_max),
            cover_debts: self.cover_debts,
            rows_max: self.rows_per_batch,
        })
    }

    /// How many endpoints have to say the same.
    #[must_use]
    pub fn quorum(&self) -> usize {
        if self.rpc_quorum == 0 { self.rpc_urls.len() / 2 + 1 } else { self.rpc_quorum }
    }

    /// What to pay.
    #[must_use]
    pub fn fees(&self, policy: &Policy) -> FeePolicy {
        FeePolicy {
            cap: u128::from(self.fee_cap_gwei) * WEI_PER_GWEI,
            tip_cap: u128::from(self.tip_cap_gwei) * WEI_PER_GWEI,
            native_coin_price: policy.native_coin_price,
        }
    }

    /// All key files.
    #[must_use]
    pub fn keystores(&self) -> Vec<PathBuf> {
        std::iter::once(&self.gas_keystore).chain(&self.gas_keystores).cloned().collect()
    }
}

/// Each gas key has nonces of its own, so it must not be there twice.
///
/// # Errors
/// When one is, or there is none.
pub fn check_keys(keys: &[Address]) -> Result<(), ConfigError> {
    let problem = match keys.iter().enumerate().find(|(index, key)| keys[..*index].contains(key)) {
        Some((_, key)) => format!("{key} is there twice"),
        None if keys.is_empty() => "none is there".into(),
        None if keys.len() > KEYS_MAX => format!("more than {KEYS_MAX}"),
        None => return Ok(()),
    };
    Err(ConfigError::Value { field: "gas_keystores", problem })
}

/// Reads a deployments file.
///
/// # Errors
/// When it is not there or not one.
pub fn read_deployment(path: &Path) -> Result<Deployment, ConfigError> {
    let json =
        std::fs::read_to_string(path).map_err(|source| ConfigError::Unreadable { path: path.to_owned(), source })?;
    Deployment::from_json(&json).map_err(|source| ConfigError::Deployment { path: path.to_owned(), source })
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    fn usable() -> Config {
        Config {
            rpc_urls: vec!["http://localhost:8545".parse().unwrap()],
            payees: vec![Address::repeat_byte(1)],
            ..Config::default()
        }
    }

    #[test]
    fn every_field_may_come_from_the_environment() {
        let all = serde_json::to_value(Config::default()).unwrap();
        let names: Vec<_> = all.as_object().unwrap().keys().cloned().collect();
        let mut listed: Vec<_> = FIELDS.iter().map(ToString::to_string).collect();
        listed.sort();

        assert_eq!(names, listed);
    }

    #[test]
    fn refuses_what_cannot_work() {
        assert!(usable().policy().is_ok());
        for broken in [
            Config { rpc_urls: vec![], ..usable() },
            Config { payees: vec![], ..usable() },
            Config { rpc_quorum: 2, ..usable() },
            Config { rows_per_batch: 0, ..usable() },
            Config { rows_per_batch: ROWS_OF_A_TRANSACTION_MAX + 1, ..usable() },
            Config { confirmations: 0, ..usable() },
            Config { native_coin_price: "many".into(), ..usable() },
            Config { explorer_url: Some("javascript:alert(1)".parse().unwrap()), ..usable() },
        ] {
            assert!(matches!(broken.policy(), Err(ConfigError::Value { .. })));
        }
    }

    /// The settings of a file, those that are commented out included.
    fn shown(sample: &str) -> serde_json::Map<String, serde_json::Value> {
        let lines: Vec<&str> =
            sample.lines().filter(|line| line.contains(" = ")).map(|line| line.trim_start_matches("# ")).collect();
        Figment::from(Toml::string(&lines.join("\n"))).extract().unwrap()
    }

    fn with(sample: &str) -> Config {
        Figment::from(Serialized::defaults(Config::default())).merge(Toml::string(sample)).extract().unwrap()
    }

    #[test]
    fn the_sample_shows_every_setting_with_its_default() {
        let sample = include_str!("../packaging/settler.toml");
        let config = with(sample);
        let shown = shown(sample);
        let mut names: Vec<_> = shown.keys().map(String::as_str).collect();
        let mut fields = FIELDS.to_vec();
        names.sort_unstable();
        fields.sort_unstable();
        assert_eq!(names, fields);

        let required = Config { rpc_urls: config.rpc_urls.clone(), payees: config.payees.clone(), ..Config::default() };
        assert_eq!(serde_json::json!(config), serde_json::json!(required));
        assert!(config.policy().is_ok());
        let mut all = serde_json::json!(Config::default());
        all.as_object_mut().unwrap().extend(shown);
        let optional: Config = serde_json::from_value(all).unwrap();
        assert!(
            optional.explorer_url.is_some() && optional.gas_password_file.is_some(),
            "what is commented out fits, too"
        );
    }

    #[test]
    fn the_readme_shows_what_is_required() {
        let readme = include_str!("../README.md");
        let sample = readme.split("```toml").nth(1).and_then(|rest| rest.split("```").next()).unwrap();
        assert!(with(sample).policy().is_ok());
    }

    #[test]
    fn refuses_a_gas_key_that_is_there_twice() {
        let (one, other) = (Address::repeat_byte(1), Address::repeat_byte(2));
        assert!(check_keys(&[one, other]).is_ok());
        assert!(check_keys(&[one, other, one]).is_err());
        assert!(check_keys(&[]).is_err());
    }

    #[test]
    fn flags_go_over_the_file() {
        #[derive(Serialize)]
        struct Flags {
            confirmations: u64,
        }
        let file = std::env::temp_dir().join(format!("settler-config-{}.toml", std::process::id()));
        std::fs::write(&file, "confirmations = 3\nage_max = \"1h\"\n").unwrap();

        let config = Config::load(Some(&file), &Flags { confirmations: 4 }).unwrap();
        assert_eq!((config.confirmations, config.age_max), (4, Duration::from_secs(3_600)));

        std::fs::write(&file, "confirmation = 3\n").unwrap();
        assert!(Config::load(Some(&file), &serde_json::json!({})).is_err(), "a misspelt setting is not ignored");
        std::fs::remove_file(&file).unwrap();
    }
}
