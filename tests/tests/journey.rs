//! The demo's road with real processes: once in peace, and once for each thing that must not go unnoticed.

use std::path::Path;
use std::process::Output;
use std::time::Duration;

use anyhow::{Context, Result};
use minus_bindings::Amount;
use minus_tests::journey::{PREPAID_TOKENS, Travellers, random_file};
use minus_tests::world::books::node_meters;
use minus_tests::world::command::Call;
use minus_tests::world::network::{Network, Operator};
use minus_tests::world::{binaries, eventually};
use serde_json::Value;

/// How long a node may take to tell its settler, on a busy machine.
const TOLD_WITHIN: Duration = Duration::from_secs(120);

fn demo(folder: &Path, arguments: &[&str]) -> Output {
    let file = folder.join("a file.bin");
    random_file(&file, 700_000, 1).expect("the folder can be written");
    std::process::Command::new(binaries::program("demo"))
        .args(arguments)
        .arg(&file)
        .arg(minus_tests::compile::root().join("LICENSE"))
        .output()
        .expect("the demo can be run")
}

#[test]
fn ends_with_equal_books() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let output = demo(folder.path(), &[]);
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{text}");
    assert!(text.contains("are equal to the base unit"), "{text}");
}

#[test]
fn notices_one_flipped_byte_in_the_store() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let output = demo(folder.path(), &["--sabotage", "stored-byte"]);
    let text = String::from_utf8_lossy(&output.stdout);
    assert_eq!(output.status.code(), Some(1), "{text}");
    assert!(text.contains("FAILED"), "{text}");
    assert!(!text.contains("are equal"), "{text}");
}

#[test]
fn notices_an_altered_voucher() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let output = demo(folder.path(), &["--sabotage", "voucher"]);
    let text = String::from_utf8_lossy(&output.stdout);
    assert_eq!(output.status.code(), Some(1), "{text}");
    assert!(text.contains("the books differ"), "{text}");
    assert!(!text.contains("are equal"), "{text}");
}

/// Running totals that an operator's settler says are promised to a relay's operator, and what of all is not covered.
async fn promised(operator: &Operator, relay: &Operator) -> Result<Option<(Amount, Amount)>> {
    let debts: Value = Call::new(&binaries::program("settler"))
        .arguments(["debts", "--json", "--url", &operator.settler_admin])
        .json()
        .await?;
    let lanes = debts["debts"].as_array().context("a list of debts")?;
    let Some(lane) = lanes.iter().find(|lane| lane["payee"] == serde_json::json!(relay.address)) else {
        return Ok(None);
    };
    let amount = |value: &Value| serde_json::from_value::<Amount>(value.clone());
    Ok(Some((amount(&lane["cumulative"])?, amount(&debts["operators"][0]["uncovered"])?)))
}

/// What a node promises a relay while its own settler is dead, and before it dies itself, its settler still hears of.
#[tokio::test(flavor = "multi_thread")]
async fn what_a_node_promised_a_relay_reaches_its_own_settler_through_two_kills() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let network = Network::start(folder.path(), |_| {}).await?;
    let (agent, relay) = (network.agent(), network.relay_in());
    let travellers = Travellers::prepare(&network, PREPAID_TOKENS, false).await?;
    let file = folder.path().join("a file.bin");
    random_file(&file, 300_000, 2)?;
    agent.settler.lock().kill();
    travellers.send(&network, &[file]).await?;
    let total = eventually("the relay to hold a voucher for all it carried", TOLD_WITHIN, || async {
        let owed = node_meters(&agent.node_admin).await?.owed;
        let earned = node_meters(&relay.node_admin).await?.earned;
        let (Some(owed), Some(earned)) = (owed.first(), earned.first()) else { return Ok(None) };
        Ok((owed.total > Amount::ZERO && earned.vouchered == owed.total).then_some(owed.total))
    })
    .await?;
    agent.node.lock().kill();
    agent.settler.lock().start()?;
    agent.node.lock().start()?;
    network.ready().await?;
    let told = eventually("the agent's settler to know", TOLD_WITHIN, || promised(agent, relay)).await?;
    anyhow::ensure!(told == (total, Amount::ZERO), "{told:?} of {total}: the bond covers it");
    Ok(())
}
