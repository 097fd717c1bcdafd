//! `settler retire-node`: takes a node out of the routing table, for ever. Its authority to sign vouchers to relays is
//! taken back as well; it lasts until the notice ends, so that relays can collect.

use alloy::primitives::Address;
use clap::Args;
use serde::Serialize;

use super::arguments::OperatorArguments;
use super::operator::{Operator, Step, done, tell};
use super::outcome::{CommandError, say, say_json};

/// Which node.
#[derive(Debug, Args)]
pub struct RetireNode {
    /// The node's address.
    node: Address,
    #[command(flatten)]
    operator: OperatorArguments,
}

#[derive(Serialize)]
struct Answer {
    node: Address,
    operator: Address,
    steps: Vec<Step>,
}

impl RetireNode {
    /// Does what is missing.
    ///
    /// # Errors
    /// When the node is not this operator's, or the chain refuses.
    pub async fn execute(self) -> Result<(), CommandError> {
        let operator = Operator::connect(&self.operator).await?;
        let known = operator.routing_table().node(self.node).call().await?;
        if known.operator != operator.address {
            return Err(CommandError::Refused(format!("{} is not registered by {}", self.node, operator.address)));
        }
        let mut steps = Vec::new();
        if known.retiredAt == 0 {
            steps.push(done("retire the node", &operator.send(operator.routing_table().retire(self.node)).await?));
        } else {
            steps.push(Step::already("retire the node"));
        }
        const REVOKE: &str = "take back its authority to sign";
        if operator.escrow().delegate(operator.address, self.node).call().await?.authorized {
            steps.push(done(REVOKE, &operator.send(operator.escrow().revoke(self.node)).await?));
        } else {
            steps.push(Step::already(REVOKE));
        }

        if self.operator.json {
            return say_json(&Answer { node: self.node, operator: operator.address, steps });
        }
        tell(&steps)?;
        say(&format!("{} is retired", self.node))
    }
}
