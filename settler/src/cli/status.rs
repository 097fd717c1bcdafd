//! `settler status`: what a running settler has and does.

use super::admin_client::AdminClient;
use super::arguments::Running;
use super::outcome::{CommandError, say, say_json};
use super::table::{right, table};
use crate::api::Status;

/// Asks and prints.
///
/// # Errors
/// When no settler answers.
pub async fn execute(command: Running) -> Result<(), CommandError> {
    let status: Status = AdminClient::new(command.url)?.get("status").await?;
    if command.json {
        return say_json(&status);
    }

    say(&format!("chain {} at block {}, escrow {}", status.chain_id, status.head, status.escrow))?;
    for key in &status.gas_keys {
        say(&format!("gas key {} with {} wei", key.address, key.balance_wei))?;
        if key.balance_wei == "0" {
            say("TROUBLE: this gas key cannot pay for a claim; send it some of the chain's own coin")?;
        }
    }
    for endpoint in status.endpoints.iter().filter(|endpoint| endpoint.trouble.is_some() || endpoint.disagreements > 0)
    {
        let trouble = endpoint.trouble.as_deref().unwrap_or("answers");
        say(&format!("endpoint {}: {trouble}; contradicted others {} times", endpoint.name, endpoint.disagreements))?;
    }
    if let Some(trouble) = &status.trouble {
        say(&format!("TROUBLE: {trouble}"))?;
    }
    let counts: Vec<String> =
        status.summary.vouchers.iter().map(|(state, vouchers)| format!("{} {state}", vouchers.count)).collect();
    let paid = status.summary.vouchers.values().map(|vouchers| vouchers.paid);
    let paid = minus_bindings::Amount::checked_sum(paid).unwrap_or(minus_bindings::Amount::MAX);
    say(&format!("vouchers: {}; {paid} tokens claimed", counts.join(", ")))?;
    if status.summary.at_risk > 0 {
        say(&format!("AT RISK: {} vouchers that the chain would not pay now", status.summary.at_risk))?;
    }
    if !status.lanes.is_empty() {
        say(&lanes(&status))?;
    }
    if !status.transactions.is_empty() {
        say(&transactions(&status))?;
    }
    Ok(())
}

fn lanes(status: &Status) -> String {
    let mut table = table(&["payer", "payee", "voucher", "paid", "claimable", "state", "why"]);
    for lane in &status.lanes {
        let why = lane.held.map(|hold| hold.to_string()).or_else(|| lane.reason.map(|reason| reason.to_string()));
        table.add_row(vec![
            lane.payer.to_string(),
            lane.payee.to_string(),
            lane.cumulative.to_string(),
            lane.paid.to_string(),
            lane.claimable.to_string(),
            lane.state.to_string(),
            why.unwrap_or_default(),
        ]);
    }
    right(&mut table, &[2, 3, 4]);
    table.to_string()
}

fn transactions(status: &Status) -> String {
    let mut table = table(&["transaction", "nonce", "block", "rows", "paid", "gas", "state"]);
    for transaction in &status.transactions {
        table.add_row(vec![
            transaction.hash.map(|hash| hash.to_string()).unwrap_or_default(),
            transaction.nonce.to_string(),
            transaction.block.map(|block| block.to_string()).unwrap_or_default(),
            transaction.rows.to_string(),
            transaction.paid.to_string(),
            transaction.gas_used.map(|gas| gas.to_string()).unwrap_or_default(),
            transaction.state.to_string(),
        ]);
    }
    right(&mut table, &[1, 2, 3, 4, 5]);
    table.to_string()
}
