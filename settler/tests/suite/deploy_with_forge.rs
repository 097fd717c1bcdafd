//! `scripts/Deploy.s.sol` and `settler deploy` do the same: whichever comes first, the other finds its work and writes
//! the same file.

use std::path::PathBuf;
use std::process::{Command, Output};
use std::sync::OnceLock;

use alloy::hex;
use minus_bindings::Deployment;
use minus_bindings::create2::creations;
use tempfile::TempDir;

use super::anvil::{foundry, root};
use super::deploy::{Ground, answer, sent};

/// Where forge may write, by foundry.toml.
fn folder() -> TempDir {
    let place = root().join("target/forge");
    std::fs::create_dir_all(&place).unwrap();
    tempfile::tempdir_in(place).unwrap()
}

fn forge() -> Command {
    let mut command = Command::new(foundry("forge"));
    command
        .current_dir(root())
        .env("FOUNDRY_OUT", "target/settler-tests/script/out")
        .env("FOUNDRY_CACHE_PATH", "target/settler-tests/script/cache");
    command
}

/// Runs the script on this ground; it is compiled once for all tests.
fn script(ground: &Ground, file: &PathBuf, arguments: &[&str]) -> Output {
    static BUILT: OnceLock<()> = OnceLock::new();
    BUILT.get_or_init(|| {
        let built = forge().args(["build", "scripts/Deploy.s.sol"]).output().unwrap();
        assert!(built.status.success(), "{}", String::from_utf8_lossy(&built.stderr));
    });
    forge()
        .args(["script", "scripts/Deploy.s.sol", "--rpc-url", ground.anvil.url.as_str()])
        .args(["--private-key", &hex::encode_prefixed(ground.key.to_bytes())])
        .args(arguments)
        .env("RESERVE", ground.reserve.to_string())
        .env("SETTLER_DEPLOYMENT", file)
        .env("FOUNDRY_BROADCAST", file.with_extension("broadcast"))
        .output()
        .unwrap()
}

fn said(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr)
}

fn broadcast(ground: &Ground, file: &PathBuf) -> String {
    let output = script(ground, file, &["--broadcast"]);
    assert!(output.status.success(), "{}", said(&output));
    std::fs::read_to_string(file).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn the_settler_finds_what_forge_deployed() {
    let ground = Ground::new().await;
    let folder = folder();
    let file = folder.path().join("forge.json");
    let tried = script(&ground, &file, &[]);
    assert!(tried.status.success(), "{}", said(&tried));
    assert!(!file.exists(), "what was not broadcast is not written");

    let before = ground.anvil.head().await;
    let written = broadcast(&ground, &file);
    assert_eq!(written, Deployment::predicted(31_337, ground.reserve, before).to_json());
    assert_eq!(broadcast(&ground, &file), written, "and again");

    let found = answer(&ground.run(&["--out", "settler.json"]));
    assert_eq!(sent(&found), [false; 3]);
    assert_eq!(ground.deployment("settler.json").block, before + 1);
    answer(&ground.run(&["--out", file.to_str().unwrap()]));
    assert_eq!(std::fs::read_to_string(&file).unwrap(), written, "the settler keeps what forge wrote");
}

#[tokio::test(flavor = "multi_thread")]
async fn forge_finds_what_the_settler_deployed_and_completes_what_lacks() {
    let folder = folder();
    let ground = Ground::new().await;
    let file = folder.path().join("settler.json");
    ground.deploy(file.to_str().unwrap());
    let written = std::fs::read_to_string(&file).unwrap();
    let head = ground.anvil.head().await;
    assert_eq!(broadcast(&ground, &file), written, "the block is kept, too");
    let elsewhere = broadcast(&ground, &folder.path().join("elsewhere.json"));
    assert_eq!(elsewhere, Deployment::predicted(31_337, ground.reserve, 0).to_json(), "the block is not known");
    assert_eq!(ground.anvil.head().await, head, "nothing was sent");

    let ground = Ground::new().await;
    ground.create(&creations(ground.reserve)[1]).await;
    broadcast(&ground, &folder.path().join("begun.json"));
    assert_eq!(sent(&answer(&ground.run(&[]))), [false; 3]);
}

#[tokio::test(flavor = "multi_thread")]
async fn forge_refuses_foreign_code_and_a_coarse_reserve() {
    let ground = Ground::new().await;
    let folder = folder();
    let file = folder.path().join("none.json");
    let escrow = creations(ground.reserve)[1].address;
    ground.set_code(escrow, "0x601260005260206000f3").await;
    let refused = script(&ground, &file, &["--broadcast"]);
    assert!(!refused.status.success() && said(&refused).contains("ForeignCode"), "{}", said(&refused));
    ground.set_code(escrow, "0x").await;

    ground.set_code(ground.reserve, "0x601260005260206000f3").await;
    let refused = script(&ground, &file, &["--broadcast"]);
    assert!(!refused.status.success() && said(&refused).contains("ReserveDecimals(18, 6)"), "{}", said(&refused));
    assert!(!file.exists());
}
