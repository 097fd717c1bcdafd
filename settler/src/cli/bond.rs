//! `settler bond`: the operator's open balance, which is its bond, backs its vouchers to relays, and receives what the
//! settler claims. Adding takes effect at once; taking needs a notice first, and then a second call.

use alloy::primitives::Address;
use clap::Args;
use minus_bindings::Amount;
use serde::Serialize;

use super::arguments::OperatorArguments;
use super::operator::{OpenBalance, Operator, Step, done, tell};
use super::outcome::{CommandError, say, say_json};

/// What to do with the open balance; nothing given only shows it.
#[derive(Debug, Args)]
pub struct Bond {
    /// Tokens to add.
    amount: Option<Amount>,
    /// Wrap the reserve asset if settlement tokens are lacking.
    #[arg(long, requires = "amount")]
    from_reserve: bool,
    /// Start the notice for taking out so many tokens; 0 takes the notice back.
    #[arg(long, conflicts_with = "amount", value_name = "AMOUNT")]
    thaw: Option<Amount>,
    /// Take out what was thawed, once its notice has ended.
    #[arg(long, conflicts_with_all = ["amount", "thaw"])]
    withdraw: bool,
    /// Where to; else to the operator itself.
    #[arg(long, requires = "withdraw")]
    to: Option<Address>,
    #[command(flatten)]
    operator: OperatorArguments,
}

#[derive(Serialize)]
struct Answer {
    operator: Address,
    #[serde(flatten)]
    balance: OpenBalance,
    thaw_ends_at: u64,
    minimum_bond: Amount,
    steps: Vec<Step>,
}

impl Bond {
    /// Does it and shows what is there afterwards.
    ///
    /// # Errors
    /// When the operator has too little, or the chain refuses.
    pub async fn execute(self) -> Result<(), CommandError> {
        let operator = Operator::connect(&self.operator).await?;
        let mut steps = Vec::new();
        if let Some(amount) = self.amount {
            steps = operator.deposit(amount, self.from_reserve).await?;
        } else if let Some(amount) = self.thaw {
            let receipt = operator.send(operator.escrow().thaw(Address::ZERO, amount.to_u96())).await?;
            steps.push(done("start the notice", &receipt));
        } else if self.withdraw {
            let to = self.to.unwrap_or(operator.address);
            let receipt = operator.send(operator.escrow().withdraw(Address::ZERO, to)).await?;
            steps.push(done("withdraw from the open balance", &receipt));
        }

        let balance = operator.open_balance().await?;
        let lane = operator.escrow().lane(operator.address, Address::ZERO).call().await?;
        let minimum_bond = operator.routing_table().MINIMUM_BOND().call().await?.into();
        let thaw_ends_at = if balance.thawing.is_zero() { 0 } else { lane._1.endsAt };
        if self.operator.json {
            return say_json(&Answer { operator: operator.address, balance, thaw_ends_at, minimum_bond, steps });
        }
        tell(&steps)?;
        say(&format!("{} has {} tokens in its open balance", operator.address, balance.amount))?;
        if !balance.thawing.is_zero() {
            say(&format!("{} of them are under notice until unix second {thaw_ends_at}", balance.thawing))?;
        }
        say(&format!("a node needs {minimum_bond} that are not under notice"))
    }
}
