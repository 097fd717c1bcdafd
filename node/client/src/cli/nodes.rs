//! `minus nodes`: who can be an agent, and at what price.

use clap::Args;
use minus_bindings::Amount;
use minus_protocol::Tariff;
use serde_json::{Value, json};

use super::Context;
use super::output::{printable, table};
use crate::chain::NodeRecord;
use crate::error::Error;

/// List the nodes and their prices.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  minus nodes
  minus nodes --all --json

Prices are tokens per GiB delivered and relayed, and per GiB and day stored.")]
pub struct NodesArgs {
    /// Retired nodes too
    #[arg(long)]
    all: bool,
}

pub(super) async fn run(context: &Context, args: &NodesArgs) -> Result<(), Error> {
    let mut nodes = context.client().await?.nodes().await?;
    nodes.retain(|node| args.all || node.is_live());
    let json: Vec<Value> = nodes.iter().map(to_json).collect();
    context.output.result(&json, |_| {
        if nodes.is_empty() {
            return "no live nodes; `minus nodes --all` shows the retired ones".to_owned();
        }
        let rows = nodes.iter().map(|node| {
            [
                node.address.to_string(),
                node.operator.to_string(),
                price(node.tariff.delivery),
                price(node.tariff.relay),
                price(node.tariff.storing),
                remark(node),
                printable(&node.endpoint),
            ]
        });
        table(["NODE", "OPERATOR", "DELIVERY", "RELAY", "STORAGE", "REMARK", "ENDPOINT"], rows)
    });
    Ok(())
}

fn to_json(node: &NodeRecord) -> Value {
    json!({
        "node": node.address,
        "operator": node.operator,
        "endpoint": node.endpoint,
        "sealing_key": node.sealing_key.to_string(),
        "tariff_version": node.tariff_version,
        "tariff": tariff(&node.tariff),
        "next": node.next.as_ref().map(|(next, from)| json!({ "tariff": tariff(next), "from": from })),
        "registered_at": node.registered_at,
        "retired_at": (!node.is_live()).then_some(node.retired_at),
    })
}

/// Prices as strings of base units, like all amounts.
fn tariff(tariff: &Tariff) -> Value {
    json!({
        "delivery": tariff.delivery.to_string(),
        "relay": tariff.relay.to_string(),
        "storing": tariff.storing.to_string(),
    })
}

fn price(base_units: u64) -> String {
    Amount::from_base_units(u128::from(base_units)).map_or_else(|_| "?".to_owned(), |amount| amount.to_string())
}

fn remark(node: &NodeRecord) -> String {
    match (&node.next, node.is_live()) {
        (_, false) => format!("retired at {}", node.retired_at),
        (Some((_, from)), true) => format!("new prices at {from}"),
        (None, true) => String::new(),
    }
}
