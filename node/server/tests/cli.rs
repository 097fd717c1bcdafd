//! The binary as an operator uses it: what it says when something is wrong, and its exit codes.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::process::{Command, Output, Stdio};

struct Desk {
    directory: tempfile::TempDir,
}

impl Desk {
    fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        std::fs::write(directory.path().join("password"), "correct horse\n").unwrap();
        std::fs::write(directory.path().join("wrong"), "battery staple\n").unwrap();
        Self { directory }
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_minus-node"));
        for (name, _) in std::env::vars().filter(|(name, _)| name.starts_with("MINUS_NODE_")) {
            command.env_remove(name);
        }
        command.current_dir(self.directory.path()).env("RUST_BACKTRACE", "1").stdin(Stdio::null()).args(arguments);
        command
    }

    fn run(&self, arguments: &[&str]) -> Output {
        self.command(arguments).output().unwrap()
    }

    fn refused(&self, arguments: &[&str], code: i32, words: &str) {
        let output = self.run(arguments);
        let text = String::from_utf8(output.stderr).unwrap();
        assert!(output.status.code() == Some(code) && text.contains(words), "{arguments:?}: {text}");
        assert!(!text.contains("backtrace") && text.lines().count() == 1, "{arguments:?}: {text}");
    }
}

#[test]
fn says_in_one_line_what_is_missing() {
    let desk = Desk::new();

    desk.refused(&["run"], 2, "--deployment");
    desk.refused(&["run", "--config", "node.toml"], 2, "no file node.toml");
    desk.refused(&["init"], 2, "--keystore");
    desk.refused(&["address", "--keystore", "key.json", "--password-file", "nowhere"], 2, "--password-file");
    desk.refused(&["address", "--keystore", "key.json", "--password-file", "password"], 1, "minus-node init");
}

#[test]
fn a_key_is_made_once_and_opens_with_its_password_only() {
    let desk = Desk::new();

    let made = desk.run(&["init", "--keystore", "key.json", "--password-file", "password", "--json"]);
    assert!(made.status.success());
    let shown = desk.run(&["address", "--keystore", "key.json", "--password-file", "password", "--json"]);
    assert_eq!(made.stdout, shown.stdout);

    desk.refused(&["init", "--keystore", "key.json", "--password-file", "password"], 1, "never overwritten");
    desk.refused(&["address", "--keystore", "key.json", "--password-file", "wrong"], 1, "does not open key.json");
    let consent =
        ["consent", "--keystore", "key.json", "--password-file", "password", "--operator", &format!("0x{:040x}", 1)];
    desk.refused(&consent, 2, "--deployment");
}

#[test]
fn a_reader_that_goes_away_is_no_error() {
    let desk = Desk::new();

    let mut child =
        desk.command(&["completions", "bash"]).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    drop(child.stdout.take());
    let output = child.wait_with_output().unwrap();

    assert!(output.status.success() && output.stderr.is_empty(), "{}", String::from_utf8_lossy(&output.stderr));
}

#[test]
fn every_help_has_an_example() {
    for command in ["run", "init", "address", "consent", "completions"] {
        let help = String::from_utf8(Desk::new().run(&[command, "--help"]).stdout).unwrap();
        assert!(help.contains("Example"), "{command}");
    }
}
