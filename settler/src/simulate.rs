//! Asking the chain what a batch would do before paying for it. Rows that would move nothing are left out; if the whole
//! batch would fail, it is bisected until the row is found that does it (law 5). What simulation did not foresee comes
//! back as a receipt, see [`crate::sender`].

use minus_bindings::RowResult;

use crate::chain::{Calldata, Chain, ChainError, Head};
use crate::chunks::gas_limit;
use crate::plan::{Batch, TRANSACTION_GAS_MAX};
use crate::store::{Hold, Instrument, PlannedRow, Reason};

/// A batch that would pay in every row.
#[derive(Debug, Clone, Default)]
pub struct Simulated {
    /// What is left of it.
    pub rows: Vec<PlannedRow>,
    /// What was left out, and why.
    pub holds: Vec<(i64, Hold)>,
    /// The gas of what is left.
    pub gas: u64,
    /// Gas limit for it.
    pub gas_limit: u64,
}

/// Simulates a batch, leaves out what would not pay, and makes it fit one transaction. What does not fit any more stays
/// recorded and comes with the next plan.
///
/// # Errors
/// When the chain gives no answer.
pub async fn simulate(
    chain: &Chain,
    head: &Head,
    instrument: Instrument,
    batch: &Batch,
) -> Result<Simulated, ChainError> {
    let mut simulated = Simulated::default();
    let mut parts = vec![batch.rows.clone()];
    while let Some(part) = parts.pop() {
        match chain.simulate(head, &Calldata::new(instrument, batch.payee, &part)).await {
            Ok(trial) => {
                for (row, result) in part.into_iter().zip(trial.results) {
                    match verdict(result) {
                        None => simulated.rows.push(row),
                        Some(hold) => simulated.holds.push((row.id, hold)),
                    }
                }
                simulated.gas = trial.gas;
            }
            Err(ChainError::Answered(reason)) => {
                tracing::warn!(rows = part.len(), %reason, "a simulated batch failed as a whole");
                bisect(part, &mut parts, &mut simulated.holds);
            }
            Err(error) => return Err(error),
        }
    }
    let whole = simulated.rows.len() == batch.rows.len();
    let calldata = |rows: &[PlannedRow]| Calldata::new(instrument, batch.payee, rows);
    fit(chain, head, calldata, &mut simulated, whole).await?;
    Ok(simulated)
}

/// Finds a gas limit, halving the batch until it is below the cap. What was simulated as a whole is not simulated again.
async fn fit(
    chain: &Chain,
    head: &Head,
    calldata: impl Fn(&[PlannedRow]) -> Calldata,
    simulated: &mut Simulated,
    mut is_known: bool,
) -> Result<(), ChainError> {
    while !simulated.rows.is_empty() {
        let gas = match is_known {
            true => Ok(simulated.gas),
            false => chain.simulate(head, &calldata(&simulated.rows)).await.map(|trial| trial.gas),
        };
        is_known = false;
        match gas {
            Ok(gas) => {
                let limit = limit(gas, &simulated.rows);
                if limit <= TRANSACTION_GAS_MAX {
                    (simulated.gas, simulated.gas_limit) = (gas, limit);
                    return Ok(());
                }
            }
            Err(ChainError::Answered(reason)) => {
                tracing::warn!(rows = simulated.rows.len(), %reason, "a batch cannot be simulated");
            }
            Err(error) => return Err(error),
        }
        if let [row] = simulated.rows.as_slice() {
            simulated.holds.push((row.id, Hold::Failed));
        }
        simulated.rows.truncate(simulated.rows.len() / 2);
    }
    Ok(())
}

/// A lane under notice may be withdrawn in front of its claim, which then writes it anew and takes from a cold open
/// balance: each such row gets its worst.
fn limit(gas: u64, rows: &[PlannedRow]) -> u64 {
    let closing = rows.iter().filter(|row| row.reason == Reason::Thawing).count();
    gas_limit(gas, u64::try_from(closing).unwrap_or(u64::MAX))
}

fn bisect(mut part: Vec<PlannedRow>, parts: &mut Vec<Vec<PlannedRow>>, holds: &mut Vec<(i64, Hold)>) {
    if let [row] = part.as_slice() {
        holds.push((row.id, Hold::Failed));
    } else {
        let rest = part.split_off(part.len() / 2);
        parts.extend([rest, part]);
    }
}

/// Why a row is not worth its gas; none if it is.
pub(crate) fn verdict(result: RowResult) -> Option<Hold> {
    match result {
        RowResult::Paid | RowResult::PartlyPaid => None,
        RowResult::NothingNew => Some(Hold::Settled),
        // The latter two answer charges, and no claim: the mandate bears nothing now, and may later.
        RowResult::Unfunded | RowResult::NoMandate | RowResult::NothingAccrued => Some(Hold::Unfunded),
        RowResult::BadSignature | RowResult::BadPayer => Some(Hold::BadSignature),
    }
}

#[cfg(test)]
mod tests {
    use alloy::primitives::Address;
    use minus_bindings::{Amount, SignedVoucher};

    use super::*;

    fn row(id: i64) -> PlannedRow {
        let voucher =
            SignedVoucher { payer: Address::ZERO, payee: Address::ZERO, cumulative: Amount::ZERO, signature: [0; 65] };
        PlannedRow { id, voucher, signer: Address::ZERO, reason: Reason::Worth, failures: 0, debt: None }
    }

    #[test]
    fn bisection_finds_the_row_that_fails() {
        const POISONED: i64 = 5;
        let (mut good, mut holds) = (Vec::new(), Vec::new());
        let mut parts = vec![(0..7).map(row).collect::<Vec<_>>()];
        while let Some(part) = parts.pop() {
            if part.iter().any(|row| row.id == POISONED) {
                bisect(part, &mut parts, &mut holds);
            } else {
                good.extend(part.into_iter().map(|row| row.id));
            }
        }

        assert_eq!(good, [0, 1, 2, 3, 4, 6]);
        assert_eq!(holds, [(POISONED, Hold::Failed)]);
    }

    #[test]
    fn only_rows_that_pay_are_worth_gas() {
        for result in RowResult::ALL {
            assert_eq!(verdict(result).is_none(), result.is_paid());
        }
    }
}
