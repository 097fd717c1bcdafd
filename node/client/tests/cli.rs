//! The command line as scripts see it: wallets, JSON, usage errors, exit codes, and the help as a snapshot.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use serde_json::Value;

struct Desk {
    directory: tempfile::TempDir,
}

impl Desk {
    fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        std::fs::write(directory.path().join("password"), "correct horse\n").unwrap();
        Self { directory }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    fn minus(&self, args: &[&str]) -> Output {
        let mut command = Command::new(env!("CARGO_BIN_EXE_minus"));
        for (name, _) in std::env::vars().filter(|(name, _)| name.starts_with("MINUS_")) {
            command.env_remove(name);
        }
        command
            .env("HOME", self.directory.path())
            .env("XDG_CONFIG_HOME", self.path("config"))
            .args(["--data-dir", self.path("data").to_str().unwrap()])
            .args(["--password-file", self.path("password").to_str().unwrap()])
            .args(args)
            .output()
            .unwrap()
    }

    fn deployment(&self) -> String {
        let address = |byte: &str| format!("0x{}", byte.repeat(20));
        let json = serde_json::json!({
            "chain_id": 31337, "reserve": address("11"), "token": address("22"), "escrow": address("33"),
            "routing_table": address("44"), "block": 0,
        });
        let path = self.path("deployment.json");
        std::fs::write(&path, json.to_string()).unwrap();
        path.to_str().unwrap().to_owned()
    }
}

fn code(output: &Output) -> i32 {
    output.status.code().unwrap()
}

fn json(output: &Output) -> Value {
    assert_eq!(code(output), 0, "{}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).unwrap()
}

fn stderr(output: &Output) -> String {
    String::from_utf8(output.stderr.clone()).unwrap()
}

#[test]
fn wallets_live() {
    let desk = Desk::new();
    assert_eq!(json(&desk.minus(&["wallet", "list", "--json"])), serde_json::json!([]));
    let alice = json(&desk.minus(&["wallet", "new", "alice", "--json"]));
    assert_eq!(alice["name"], "alice");
    let address = alice["address"].as_str().unwrap().to_owned();
    assert!(address.starts_with("0x") && address.len() == 42);
    assert!(Path::new(alice["path"].as_str().unwrap()).is_file());

    let again = desk.minus(&["wallet", "new", "alice"]);
    assert_eq!(code(&again), 2);
    assert!(stderr(&again).contains("already"), "{}", stderr(&again));

    // The only wallet needs no name.
    assert_eq!(json(&desk.minus(&["wallet", "address", "--json"]))["address"].as_str().unwrap(), address);
    let shown = String::from_utf8(desk.minus(&["wallet", "address", "alice"]).stdout).unwrap();
    assert_eq!(shown.trim().to_lowercase(), address);

    std::fs::write(desk.path("key"), format!("{:064x}", 1)).unwrap();
    let bob =
        json(&desk.minus(&["wallet", "import", "bob", "--key-file", desk.path("key").to_str().unwrap(), "--json"]));
    assert_eq!(bob["address"], "0x7e5f4552091a69125d5dfcb7b8c2659029395bdf");
    let listed = json(&desk.minus(&["wallet", "list", "--json"]));
    assert_eq!(listed.as_array().unwrap().len(), 2);
    assert_eq!(code(&desk.minus(&["wallet", "address"])), 2, "two wallets need a name");
}

#[test]
fn refuses_bad_keys_names_and_passwords() {
    let desk = Desk::new();
    std::fs::write(desk.path("key"), "not a key").unwrap();
    let key = desk.path("key");
    assert_eq!(code(&desk.minus(&["wallet", "import", "bob", "--key-file", key.to_str().unwrap()])), 2);
    assert_eq!(code(&desk.minus(&["wallet", "new", "../bob"])), 2);
    assert_eq!(code(&desk.minus(&["wallet", "address", "nobody"])), 2);

    json(&desk.minus(&["wallet", "new", "alice", "--json"]));
    std::fs::write(desk.path("password"), "wrong").unwrap();
    let deployment = desk.deployment();
    let prepay = ["prepay", "--wallet", "alice", "--operator", "0x1111111111111111111111111111111111111111", "1"];
    let locked =
        desk.minus(&[&prepay[..], &["--deployment", &deployment, "--rpc-url", "http://127.0.0.1:1/"]].concat());
    assert_eq!(code(&locked), 1);
    assert!(stderr(&locked).contains("does not open"), "{}", stderr(&locked));
}

#[test]
fn usage_errors_are_2() {
    let desk = Desk::new();
    let address = "0x1111111111111111111111111111111111111111";
    for args in [
        &["nonsense"][..],
        &[],
        &["prepay", "1"],
        &["prepay", "--agent", "nobody", "1"],
        &["prepay", "--agent", address, "1.0000001"],
        &["prepay", "--agent", address, "-1"],
        &["send", address],
        &["send", "0x12", "file"],
        &["nodes", "--colour"],
        &["nodes"],
        &["nodes", "--deployment", "/nowhere.json"],
        &["nodes", "--config", "/nowhere.toml"],
    ] {
        assert_eq!(code(&desk.minus(args)), 2, "{args:?}");
    }
}

#[test]
fn an_unreachable_chain_is_4_and_says_so_in_json_too() {
    let desk = Desk::new();
    let deployment = desk.deployment();
    let nodes = desk.minus(&["nodes", "--deployment", &deployment, "--rpc-url", "http://127.0.0.1:1/", "--json"]);
    assert_eq!(code(&nodes), 4, "{}", stderr(&nodes));
    let error: Value = serde_json::from_slice(&nodes.stderr).unwrap();
    assert_eq!(error["exit_code"], 4);
    assert!(error["error"].as_str().unwrap().contains("--rpc-url"));
    assert!(nodes.stdout.is_empty());
}

#[test]
fn completions_are_scripts() {
    let desk = Desk::new();
    for shell in ["bash", "zsh", "fish"] {
        let script = desk.minus(&["completions", shell]);
        assert_eq!(code(&script), 0);
        assert!(String::from_utf8(script.stdout).unwrap().contains("entrust"));
    }
}

#[test]
fn a_reader_that_goes_away_is_no_error() {
    let mut command = Command::new(env!("CARGO_BIN_EXE_minus"));
    command.args(["completions", "bash"]).stdout(std::process::Stdio::piped()).stderr(std::process::Stdio::piped());
    let mut child = command.spawn().unwrap();
    drop(child.stdout.take());
    let output = child.wait_with_output().unwrap();

    assert!(output.status.success() && output.stderr.is_empty(), "{}", String::from_utf8_lossy(&output.stderr));
}

#[test]
fn refuses_what_cannot_be_meant() {
    let desk = Desk::new();
    let none = desk.minus(&["wallet", "address"]);
    std::fs::write(desk.path("password"), "\n").unwrap();
    let unprotected = desk.minus(&["wallet", "new", "alice"]);
    let no_directory = desk.minus(&["listen", "--output", desk.path("password").to_str().unwrap()]);

    for (output, words) in
        [(none, "minus wallet new"), (unprotected, "empty password"), (no_directory, "not a directory")]
    {
        let text = String::from_utf8(output.stderr.clone()).unwrap();
        assert!(code(&output) == 2 && text.contains(words), "{text}");
    }
    assert!(!desk.path("data").join("wallets/alice.json").exists());
}

/// Write the snapshot anew with `UPDATE_SNAPSHOTS=1 cargo test -p minus-client --test cli`.
#[test]
fn the_help_is_as_it_was() {
    let desk = Desk::new();
    let mut help = String::new();
    let commands: [&[&str]; 19] = [
        &[],
        &["wallet"],
        &["wallet", "new"],
        &["wallet", "list"],
        &["wallet", "address"],
        &["wallet", "import"],
        &["prepay"],
        &["withdraw"],
        &["mandate"],
        &["mandate", "set"],
        &["mandate", "show"],
        &["mandate", "revoke"],
        &["balance"],
        &["entrust"],
        &["nodes"],
        &["send"],
        &["listen"],
        &["statement"],
        &["completions"],
    ];
    for command in commands {
        let output = desk.minus(&[command, &["--help"]].concat());
        assert_eq!(code(&output), 0);
        let text = String::from_utf8(output.stdout).unwrap();
        assert!(text.contains("Example"), "{command:?} has no example");
        help += &format!("$ minus {} --help\n{text}\n", command.join(" ")).replace("minus  --help", "minus --help");
    }
    let snapshot = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/help.txt");
    if std::env::var_os("UPDATE_SNAPSHOTS").is_some() {
        std::fs::write(&snapshot, &help).unwrap();
    }
    let before = std::fs::read_to_string(&snapshot).unwrap_or_default();
    let changed = before.lines().zip(help.lines()).find(|(before, now)| before != now);
    assert!(before == help, "the help changed, first here: {changed:?}; see above how to update the snapshot");
}
