//! `settler register-node`: bonds, authorises and registers a node. The node's own consent comes from `minus-node
//! consent`, so its key stays where it is; the operator's stays here.

use std::path::PathBuf;

use alloy::primitives::{Address, U256};
use anyhow::Context;
use clap::Args;
use minus_bindings::contracts::IRoutingTable;
use minus_bindings::voucher::signature_bytes;
use minus_bindings::{Amount, NodeConsent, SIGNATURE_BYTES, recover};
use serde::{Deserialize, Serialize};

use super::arguments::OperatorArguments;
use super::operator::{Operator, Step, done, tell};
use super::outcome::{CommandError, say, say_json};

/// Which node, at what price.
#[derive(Debug, Args)]
pub struct RegisterNode {
    /// The node's consent, as `minus-node consent` printed it.
    #[arg(long)]
    consent: PathBuf,
    /// Where the node is reached, as in `https://node.example.org`.
    #[arg(long)]
    endpoint: String,
    /// Tokens per GiB delivered.
    #[arg(long)]
    delivery: Amount,
    /// Tokens per GiB relayed, passed on to the relay.
    #[arg(long)]
    relay: Amount,
    /// Tokens per GiB stored for a day.
    #[arg(long)]
    storage: Amount,
    /// Make sure that so much is in the open balance; else the routing table's minimum.
    #[arg(long)]
    bond: Option<Amount>,
    /// Wrap the reserve asset if settlement tokens are lacking.
    #[arg(long)]
    from_reserve: bool,
    #[command(flatten)]
    operator: OperatorArguments,
}

/// A node's consent to an operator. What else its file says is for people: the signature covers all that counts.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Consent {
    /// The node's address.
    pub node: Address,
    /// Whom it was given to. The signature says so too; this makes for a clearer complaint.
    #[serde(default)]
    pub operator: Option<Address>,
    /// Its sealing key, affine, 0x-hex.
    pub sealing_key_x: U256,
    /// The other half.
    pub sealing_key_y: U256,
    /// Until when the consent may be used, unix seconds, as a number or a decimal string.
    #[serde(deserialize_with = "number_or_text")]
    pub valid_until: u64,
    /// The node's signature, 65 bytes of 0x-hex.
    #[serde(with = "signature_bytes")]
    pub signature: [u8; SIGNATURE_BYTES],
}

fn number_or_text<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<u64, D::Error> {
    #[derive(Deserialize)]
    #[serde(untagged)]
    enum NumberOrText {
        Number(u64),
        Text(String),
    }
    match NumberOrText::deserialize(deserializer)? {
        NumberOrText::Number(number) => Ok(number),
        NumberOrText::Text(text) => text.parse().map_err(serde::de::Error::custom),
    }
}

impl Consent {
    fn sealing_key(&self) -> IRoutingTable::SealingKey {
        IRoutingTable::SealingKey { x: self.sealing_key_x, y: self.sealing_key_y }
    }

    /// Says what is wrong before the chain does, and in plainer words.
    fn check(&self, operator: &Operator) -> Result<(), CommandError> {
        let consent = NodeConsent {
            node: self.node,
            operator: operator.address,
            sealingKeyX: self.sealing_key_x,
            sealingKeyY: self.sealing_key_y,
            validUntil: self.valid_until,
        };
        if recover(&consent, &operator.deployment.routing_domain(), &self.signature) == Ok(self.node) {
            return Ok(());
        }
        let given_to = self.operator.map_or_else(String::new, |given_to| format!(" (it was given to {given_to})"));
        Err(CommandError::Refused(format!(
            "the consent of {} is not for operator {} in this network{given_to}; make a new one with `minus-node consent \
             --operator {}`",
            self.node, operator.address, operator.address
        )))
    }
}

#[derive(Serialize)]
struct Answer {
    node: Address,
    operator: Address,
    steps: Vec<Step>,
}

impl RegisterNode {
    /// Does what is missing.
    ///
    /// # Errors
    /// When something is wrong with the consent, or the chain refuses.
    pub async fn execute(self) -> Result<(), CommandError> {
        let json = std::fs::read(&self.consent).with_context(|| self.consent.display().to_string())?;
        let consent: Consent = serde_json::from_slice(&json)
            .map_err(|error| CommandError::Usage(format!("{}: {error}", self.consent.display())))?;
        let tariff = IRoutingTable::Tariff {
            delivery: price("--delivery", self.delivery)?,
            relay: price("--relay", self.relay)?,
            storing: price("--storage", self.storage)?,
        };
        let operator = Operator::connect(&self.operator).await?;
        let known = operator.routing_table().node(consent.node).call().await?;
        check_known(consent.node, &known, operator.address)?;

        if known.operator.is_zero() {
            consent.check(&operator)?;
        }

        let mut steps = self.bond(&operator).await?;
        steps.push(authorize(&operator, consent.node).await?);
        if known.operator.is_zero() {
            let table = operator.routing_table();
            let call = table.register(
                consent.node,
                consent.sealing_key(),
                self.endpoint.clone(),
                tariff,
                consent.valid_until,
                consent.signature.to_vec().into(),
            );
            steps.push(done("register the node", &operator.send(call).await?));
        } else {
            steps.push(Step::already("register the node"));
            steps.extend(self.update(&operator, consent.node, &known, tariff).await?);
        }

        if self.operator.json {
            return say_json(&Answer { node: consent.node, operator: operator.address, steps });
        }
        tell(&steps)?;
        say(&format!("{} is registered at {} by {}", consent.node, self.endpoint, operator.address))
    }

    async fn bond(&self, operator: &Operator) -> Result<Vec<Step>, CommandError> {
        const STEP: &str = "bond";
        let minimum: Amount = operator.routing_table().MINIMUM_BOND().call().await?.into();
        let wanted = self.bond.unwrap_or(minimum);
        if wanted < minimum {
            return Err(CommandError::Refused(format!("--bond {wanted} is below the minimum of {minimum}")));
        }
        let bonded = operator.open_balance().await?.bonded();
        match wanted.checked_sub(bonded) {
            Some(missing) if !missing.is_zero() => operator.deposit(missing, self.from_reserve).await,
            _ => Ok(vec![Step::already(STEP)]),
        }
    }

    /// A node that is registered already gets the endpoint and the tariff that are asked for.
    async fn update(
        &self,
        operator: &Operator,
        node: Address,
        known: &IRoutingTable::Node,
        tariff: IRoutingTable::Tariff,
    ) -> Result<Vec<Step>, CommandError> {
        let table = operator.routing_table();
        let mut steps = Vec::new();
        if known.endpoint != self.endpoint {
            let call = table.setEndpoint(node, self.endpoint.clone());
            steps.push(done("change the endpoint", &operator.send(call).await?));
        }
        let announced = if known.nextFrom == 0 { &known.tariff } else { &known.next };
        if *announced != tariff {
            let call = table.announceTariff(node, tariff);
            steps.push(done("announce the tariff, in force after its notice", &operator.send(call).await?));
        }
        Ok(steps)
    }
}

fn check_known(node: Address, known: &IRoutingTable::Node, operator: Address) -> Result<(), CommandError> {
    if known.operator.is_zero() {
        return Ok(());
    }
    if known.operator != operator {
        return Err(CommandError::Refused(format!("{node} is registered by another operator, {}", known.operator)));
    }
    if known.retiredAt != 0 {
        return Err(CommandError::Refused(format!("{node} was retired, which is final; make a new node key")));
    }
    Ok(())
}

/// The node signs the vouchers to relays, as a delegate of its operator.
async fn authorize(operator: &Operator, node: Address) -> Result<Step, CommandError> {
    const STEP: &str = "authorise the node to sign for the operator";
    if operator.escrow().delegate(operator.address, node).call().await?.authorized {
        return Ok(Step::already(STEP));
    }
    Ok(done(STEP, &operator.send(operator.escrow().authorize(node)).await?))
}

/// A price as the routing table keeps it.
fn price(flag: &str, amount: Amount) -> Result<u64, CommandError> {
    u64::try_from(amount.base_units()).map_err(|_| CommandError::Usage(format!("{flag} {amount} is too much")))
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    #[test]
    fn reads_a_consent_with_either_form_of_time() {
        for valid_until in [serde_json::json!(1_700_000_000), serde_json::json!("1700000000")] {
            let consent: Consent = serde_json::from_value(serde_json::json!({
                "node": Address::repeat_byte(1),
                "operator": Address::repeat_byte(2),
                "sealing_key_x": "0x02",
                "sealing_key_y": "0x03",
                "valid_until": valid_until,
                "signature": format!("0x{}", "11".repeat(65)),
            }))
            .unwrap();

            assert_eq!(consent.valid_until, 1_700_000_000);
            assert_eq!(consent.sealing_key().y, U256::from(3));
        }
    }

    #[test]
    fn refuses_a_strangers_or_retired_node() {
        let node = Address::repeat_byte(1);
        let mine = IRoutingTable::Node { operator: Address::repeat_byte(2), ..IRoutingTable::Node::default() };

        assert!(check_known(node, &IRoutingTable::Node::default(), mine.operator).is_ok());
        assert!(check_known(node, &mine, mine.operator).is_ok());
        assert!(check_known(node, &mine, node).is_err());
        assert!(check_known(node, &IRoutingTable::Node { retiredAt: 1, ..mine.clone() }, mine.operator).is_err());
    }
}
