//! `minus-node`: reads flags, environment and file, starts tracing, and runs.

mod logging;
mod run_args;

use std::{
    fs::{File, TryLockError},
    io::{self, Write},
    path::{Path, PathBuf},
    process::ExitCode,
    time::Duration,
};

use alloy::primitives::Address;
use clap::{Args, CommandFactory, Parser, Subcommand};
use clap_complete::Shell;
use figment::{
    Figment,
    error::Kind,
    providers::{Env, Format, Serialized, Toml},
};
use minus_bindings::Deployment;
use minus_node::{
    Config, StartError,
    keys::{self, KeyError, Password},
};
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use tokio::signal::unix::{Signal, SignalKind, signal};

use crate::run_args::{RunArgs, duration};

/// Holds the password of the node key.
const PASSWORD_VARIABLE: &str = "MINUS_NODE_PASSWORD";

/// What the keystore library says of a password that is not the right one.
const WRONG_PASSWORD: &str = "Mac Mismatch";

const AFTER_HELP: &str = "\
Examples:
  minus-node init --config node.toml
  minus-node consent --config node.toml --operator 0x7099… > consent.json
  minus-node run --config node.toml

Settings come from flags, then MINUS_NODE_<SETTING>, then the file; a list in a variable is written
MINUS_NODE_RPC_URLS='[\"http://127.0.0.1:8545\"]'. The password comes from the password file, then
MINUS_NODE_PASSWORD, then the terminal. MINUS_NODE_LOG sets what is logged, as in `debug`.

Exit codes: 0 done, 1 failed, 2 wrong usage or settings";

/// Carries packets to wallet addresses, stores them while the wallet is offline, and is paid per byte.
#[derive(Parser)]
#[command(name = "minus-node", version, arg_required_else_help = true, after_help = AFTER_HELP, max_term_width = 100)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Run the node until SIGTERM or Ctrl-C; a second one ends it at once.
    #[command(after_help = "Example:\n  minus-node run --config node.toml\n  \
        MINUS_NODE_PASSWORD=… minus-node run --deployment dev.json --rpc-url http://127.0.0.1:8545 \\\n    \
        --keystore node.key --data-dir data --allow-private-endpoints")]
    Run(Box<RunArgs>),
    /// Make a node key and write it, encrypted.
    #[command(after_help = "Example:\n  minus-node init --keystore node.key --password-file password")]
    Init(KeyArgs),
    /// Print the node's address and sealing key.
    #[command(after_help = "Example:\n  minus-node address --config node.toml --json")]
    Address(KeyArgs),
    /// Sign the node's consent to be registered by an operator; prints the JSON that `settler register-node` takes.
    #[command(after_help = "Example:\n  minus-node consent --config node.toml \\\n    \
        --operator 0x70997970C51812dc3A010C7d01b50e0d17dc79C8 > consent.json")]
    Consent {
        #[command(flatten)]
        key: KeyArgs,
        /// The deployments file.
        #[arg(long)]
        deployment: Option<PathBuf>,
        /// For whom the node works.
        #[arg(long)]
        operator: Address,
        /// How long the consent may be used.
        #[arg(long, default_value = "1day", value_parser = duration)]
        valid_for: Duration,
    },
    /// Print a completion script.
    #[command(after_help = "Example:\n  minus-node completions bash > /etc/bash_completion.d/minus-node")]
    Completions {
        /// For which shell.
        shell: Shell,
    },
}

/// Which key. A flag wins over `MINUS_NODE_*`, which wins over the file.
#[derive(Args, Serialize)]
struct KeyArgs {
    /// TOML file with the settings of `run`, of which key, password file and deployment are taken.
    #[arg(long, env = "MINUS_NODE_CONFIG")]
    #[serde(skip)]
    config: Option<PathBuf>,
    /// The node key, a web3 keystore file.
    #[arg(long)]
    #[serde(skip_serializing_if = "Option::is_none")]
    keystore: Option<PathBuf>,
    /// File with its password; otherwise MINUS_NODE_PASSWORD, otherwise a prompt.
    #[arg(long)]
    #[serde(skip_serializing_if = "Option::is_none")]
    password_file: Option<PathBuf>,
    /// Print JSON.
    #[arg(long)]
    #[serde(skip)]
    json: bool,
}

/// The settings that `init`, `address` and `consent` need.
#[derive(Deserialize)]
struct KeySettings {
    keystore: PathBuf,
    #[serde(default)]
    password_file: Option<PathBuf>,
    #[serde(default)]
    deployment: Option<PathBuf>,
}

impl KeyArgs {
    fn settings(&self) -> Result<KeySettings, Problem> {
        settings(self.config.as_deref(), self)
    }
}

impl KeySettings {
    fn password(&self) -> Result<Password, KeyError> {
        Password::obtain(self.password_file.as_deref())
    }

    /// Typed blind, a new password is asked for twice; a key that opens with another one is not kept.
    fn create(&self) -> Result<keys::PublicKeys, Problem> {
        let keys = keys::create(&self.keystore, &self.password()?)?;
        let is_typed = self.password_file.is_none() && std::env::var_os(PASSWORD_VARIABLE).is_none();
        if is_typed && self.password().and_then(|again| keys::show(&self.keystore, &again)).is_err() {
            std::fs::remove_file(&self.keystore).map_err(file_problem(&self.keystore))?;
            return Err(Problem::Usage("the two passwords differ; nothing was made".to_owned()));
        }
        Ok(keys)
    }
}

/// File, environment and flags. The password is no setting: it is read where it is used and stays out of every value
/// that can be printed.
fn settings<T: DeserializeOwned>(file: Option<&Path>, flags: &impl Serialize) -> Result<T, Problem> {
    let figment = match file {
        Some(file) if !file.is_file() => return Err(Problem::Usage(format!("there is no file {}", file.display()))),
        Some(file) => Figment::from(Toml::file_exact(file)),
        None => Figment::new(),
    };
    let environment = Env::prefixed("MINUS_NODE_").ignore(&["password", "log", "config"]);
    figment.merge(environment).merge(Serialized::defaults(flags)).extract().map_err(|error| match &error.kind {
        Kind::MissingField(name) => missing(name),
        _ => Problem::Usage(error.to_string()),
    })
}

fn missing(name: &str) -> Problem {
    let flag = if name == "rpc_urls" { "rpc-url".to_owned() } else { name.replace('_', "-") };
    let variable = name.to_uppercase();
    Problem::Usage(format!(
        "`{name}` is missing: give --{flag}, MINUS_NODE_{variable}, or `{name}` in the --config file"
    ))
}

/// How a command ends other than well.
enum Problem {
    /// Something did not work.
    Failed(String),
    /// The command or the settings are wrong.
    Usage(String),
}

impl From<KeyError> for Problem {
    fn from(error: KeyError) -> Self {
        match &error {
            KeyError::Password(source) => {
                Self::Usage(format!("no password ({source}): give --password-file, {PASSWORD_VARIABLE}, or a terminal"))
            }
            KeyError::Keystore { path, source } if source.to_string() == WRONG_PASSWORD => {
                Self::Failed(format!("the password does not open {path}"))
            }
            KeyError::Keystore { path, .. } if !Path::new(path).exists() => {
                Self::Failed(format!("there is no key file {path}; `minus-node init` makes one"))
            }
            _ => Self::Failed(error.to_string()),
        }
    }
}

impl From<StartError> for Problem {
    fn from(error: StartError) -> Self {
        match error {
            StartError::Setting(_) | StartError::Deployment(_) => Self::Usage(error.to_string()),
            StartError::Key(error) => error.into(),
            other => Self::Failed(other.to_string()),
        }
    }
}

impl From<io::Error> for Problem {
    fn from(error: io::Error) -> Self {
        Self::Failed(error.to_string())
    }
}

fn file_problem(path: &Path) -> impl FnOnce(io::Error) -> Problem + use<'_> {
    move |error| Problem::Failed(format!("{}: {error}", path.display()))
}

fn main() -> ExitCode {
    let (code, problem) = match execute(Cli::parse().command) {
        Ok(()) => return ExitCode::SUCCESS,
        Err(Problem::Failed(problem)) => (1, problem),
        Err(Problem::Usage(problem)) => (2, problem),
    };
    let _ = writeln!(io::stderr().lock(), "minus-node: {problem}");
    ExitCode::from(code)
}

fn execute(command: Command) -> Result<(), Problem> {
    match command {
        Command::Run(args) => run(settings(args.config.as_deref(), &args)?),
        Command::Init(key) => show(&key.settings()?.create()?, key.json),
        Command::Address(key) => {
            let settings = key.settings()?;
            show(&keys::show(&settings.keystore, &settings.password()?)?, key.json)
        }
        Command::Consent { key, deployment, operator, valid_for } => {
            let settings = key.settings()?;
            let path = deployment.as_ref().or(settings.deployment.as_ref()).ok_or_else(|| missing("deployment"))?;
            let text = std::fs::read_to_string(path).map_err(file_problem(path))?;
            let deployment =
                Deployment::from_json(&text).map_err(|error| Problem::Usage(format!("{}: {error}", path.display())))?;
            let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
            let valid_until = now.saturating_add(valid_for).as_secs();
            let password = settings.password()?;
            print_json(&keys::consent(&settings.keystore, &password, &deployment, operator, valid_until)?)
        }
        Command::Completions { shell } => {
            let mut script = Vec::new();
            clap_complete::generate(shell, &mut Cli::command(), "minus-node", &mut script);
            print(&script)
        }
    }
}

fn show(keys: &keys::PublicKeys, json: bool) -> Result<(), Problem> {
    if json {
        return print_json(keys);
    }
    let (x, y) = (keys.sealing_key_x, keys.sealing_key_y);
    print(format!("node          {}\nsealing key x {x:#066x}\nsealing key y {y:#066x}\n", keys.node).as_bytes())
}

fn print_json(answer: &impl Serialize) -> Result<(), Problem> {
    let json = serde_json::to_string_pretty(answer).map_err(|error| Problem::Failed(error.to_string()))?;
    print(format!("{json}\n").as_bytes())
}

/// A reader that went away is no error.
fn print(text: &[u8]) -> Result<(), Problem> {
    let mut stdout = io::stdout().lock();
    match stdout.write_all(text).and_then(|()| stdout.flush()) {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => Err(error.into()),
        _ => Ok(()),
    }
}

/// Two processes on one store would keep two minds about it. The system lets go of the lock however a process ends.
fn lock(folder: &Path) -> Result<File, Problem> {
    std::fs::create_dir_all(folder).map_err(file_problem(folder))?;
    let path = folder.join("lock");
    let file = File::options().create(true).truncate(false).write(true).open(&path).map_err(file_problem(&path))?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => {
            let folder = folder.display();
            Err(Problem::Failed(format!("another minus-node works in {folder}; stop it, or choose another --data-dir")))
        }
        Err(TryLockError::Error(error)) => Err(file_problem(&path)(error)),
    }
}

fn run(config: Config) -> Result<(), Problem> {
    logging::start(config.log_format);
    let _lock = lock(&config.data_dir)?;
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let ended = runtime.block_on(async {
        let mut signals = Signals::new()?;
        let node = minus_node::spawn(config).await?;
        signals.next().await;
        tokio::select! {
            () = node.shutdown() => Ok(()),
            () = signals.next() => Err(Problem::Failed("told to stop twice; ended at once".to_owned())),
        }
    });
    // What still runs has had its time.
    runtime.shutdown_background();
    ended
}

/// What asks this program to end.
struct Signals {
    terminate: Signal,
    interrupt: Signal,
}

impl Signals {
    fn new() -> io::Result<Self> {
        Ok(Self { terminate: signal(SignalKind::terminate())?, interrupt: signal(SignalKind::interrupt())? })
    }

    async fn next(&mut self) {
        tokio::select! {
            _ = self.terminate.recv() => {}
            _ = self.interrupt.recv() => {}
        }
    }
}
