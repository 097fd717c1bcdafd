//! Where the client finds the chain and keeps its things: file (TOML), then `MINUS_*` variables, then flags.

use std::path::{Path, PathBuf};

use figment::Figment;
use figment::providers::{Env, Format, Serialized, Toml};
use minus_bindings::Deployment;
use serde::{Deserialize, Deserializer, Serialize};
use url::Url;

/// The variables that are settings; other `MINUS_*` variables belong to other programs or hold passwords.
const VARIABLES: [&str; 4] = ["deployment", "rpc_urls", "data_dir", "allow_private_endpoints"];

/// The client's settings.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// The deployments file: which contracts, on which chain.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub deployment: Option<PathBuf>,
    /// RPC endpoints of the chain, tried in this order. In a variable: separated by commas.
    #[serde(default, deserialize_with = "urls")]
    pub rpc_urls: Vec<Url>,
    /// Wallets and the client's database.
    #[serde(default = "default_data_dir")]
    pub data_dir: PathBuf,
    /// Connect to nodes at loopback and private addresses too. Only for test networks of one's own.
    #[serde(default)]
    pub allow_private_endpoints: bool,
}

impl Default for Config {
    fn default() -> Self {
        Self { deployment: None, rpc_urls: Vec::new(), data_dir: default_data_dir(), allow_private_endpoints: false }
    }
}

/// Settings given as flags; what is `None` or empty was not given.
#[derive(Debug, Clone, Default, Serialize)]
pub struct Overrides {
    /// See [`Config::deployment`].
    #[serde(skip_serializing_if = "Option::is_none")]
    pub deployment: Option<PathBuf>,
    /// See [`Config::rpc_urls`].
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub rpc_urls: Vec<Url>,
    /// See [`Config::data_dir`].
    #[serde(skip_serializing_if = "Option::is_none")]
    pub data_dir: Option<PathBuf>,
    /// See [`Config::allow_private_endpoints`].
    #[serde(skip_serializing_if = "Option::is_none")]
    pub allow_private_endpoints: Option<bool>,
}

/// Why there are no settings. All of these are the user's to repair.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// A value that does not fit, with where it came from.
    #[error("the settings cannot be read: {0}")]
    Settings(Box<figment::Error>),
    /// The file named with `--config` is not there.
    #[error("there is no settings file at {0}")]
    NoFile(PathBuf),
    /// No deployments file was named.
    #[error("name the deployments file: --deployment FILE, MINUS_DEPLOYMENT, or `deployment` in the settings file")]
    NoDeployment,
    /// No RPC endpoint was named.
    #[error("name an RPC endpoint of the chain: --rpc-url URL, MINUS_RPC_URLS, or `rpc_urls` in the settings file")]
    NoRpcUrl,
    /// The deployments file cannot be read.
    #[error("the deployments file {path} cannot be read: {reason}")]
    Deployment {
        /// Which file.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
}

impl Config {
    /// Gathers the settings. `file` must exist when it is named; the default file may be missing.
    pub fn load(file: Option<&Path>, overrides: &Overrides) -> Result<Self, ConfigError> {
        let mut figment = Figment::new();
        match file {
            Some(path) if !path.is_file() => return Err(ConfigError::NoFile(path.to_owned())),
            Some(path) => figment = figment.merge(Toml::file_exact(path)),
            None => {
                if let Some(path) = default_file().filter(|path| path.is_file()) {
                    figment = figment.merge(Toml::file_exact(path));
                }
            }
        }
        figment
            .merge(Env::prefixed("MINUS_").only(&VARIABLES))
            .merge(Serialized::defaults(overrides))
            .extract()
            .map_err(|error| ConfigError::Settings(Box::new(error)))
    }

    /// Reads the deployments file.
    pub fn read_deployment(&self) -> Result<Deployment, ConfigError> {
        let path = self.deployment.clone().ok_or(ConfigError::NoDeployment)?;
        let failed = |reason: String| ConfigError::Deployment { path: path.clone(), reason };
        let text = std::fs::read_to_string(&path).map_err(|error| failed(error.to_string()))?;
        Deployment::from_json(&text).map_err(|error| failed(error.to_string()))
    }
}

/// `layer-minus/minus.toml` in the user's configuration directory.
pub fn default_file() -> Option<PathBuf> {
    dirs::config_dir().map(|directory| directory.join("layer-minus").join("minus.toml"))
}

fn default_data_dir() -> PathBuf {
    dirs::data_dir().unwrap_or_else(|| PathBuf::from(".")).join("layer-minus")
}

/// A list of URLs, or one string with commas (what a variable can say).
fn urls<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<Url>, D::Error> {
    #[derive(Deserialize)]
    #[serde(untagged)]
    enum Form {
        List(Vec<Url>),
        Text(String),
    }
    match Form::deserialize(deserializer)? {
        Form::List(list) => Ok(list),
        Form::Text(text) => text
            .split(',')
            .map(str::trim)
            .filter(|part| !part.is_empty())
            .map(|part| Url::parse(part).map_err(serde::de::Error::custom))
            .collect(),
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a test fails by panicking")]
    use super::*;

    fn in_file(text: &str, overrides: &Overrides) -> Result<Config, ConfigError> {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("minus.toml");
        std::fs::write(&path, text).unwrap();
        Config::load(Some(&path), overrides)
    }

    #[test]
    fn refuses_unknown_settings_and_missing_files() {
        assert!(matches!(in_file("colour = 'red'", &Overrides::default()), Err(ConfigError::Settings(_))));
        assert!(matches!(in_file("rpc_urls = 'nonsense'", &Overrides::default()), Err(ConfigError::Settings(_))));
        let missing = Config::load(Some(Path::new("/nowhere/minus.toml")), &Overrides::default());
        assert!(matches!(missing, Err(ConfigError::NoFile(_))));
        assert!(matches!(Config::default().read_deployment(), Err(ConfigError::NoDeployment)));
    }

    #[test]
    fn flags_win_over_the_file() {
        let text = "data_dir = '/from/file'\nrpc_urls = ['http://file/']\nallow_private_endpoints = true";
        let config = in_file(text, &Overrides::default()).unwrap();
        assert_eq!(config.data_dir, PathBuf::from("/from/file"));
        assert!(config.allow_private_endpoints);

        let overrides = Overrides { data_dir: Some("/from/flag".into()), ..Overrides::default() };
        let config = in_file(text, &overrides).unwrap();
        assert_eq!(config.data_dir, PathBuf::from("/from/flag"));
        assert_eq!(config.rpc_urls, vec![Url::parse("http://file/").unwrap()]);
    }

    #[test]
    fn urls_may_be_one_string_with_commas() {
        let config = in_file("rpc_urls = 'http://a/, http://b/'", &Overrides::default()).unwrap();
        assert_eq!(config.rpc_urls, vec![Url::parse("http://a/").unwrap(), Url::parse("http://b/").unwrap()]);
    }
}
