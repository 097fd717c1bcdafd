//! Creates what lacks. Anybody may create the very same contracts at the very same addresses at the very same time, so
//! only what stands in the end counts: a creation that came too late reverts, and is no failure.

use std::time::{Duration, Instant};

use alloy::eips::BlockId;
use alloy::primitives::{Address, B256, U256};
use alloy::providers::{DynProvider, PendingTransactionError, Provider, WatchTxError};

use super::error::DeployError;
use super::site::{Place, Site};

/// How long a transaction may take into a block before somebody should look at its fee.
const MINED_WITHIN: Duration = Duration::from_secs(600);

/// How often a creation is sent. Another program with the same key may have taken the nonce, and did the same.
const TRIES: usize = 3;

/// Between two tries, and between two looks at an endpoint that lags behind its own receipt.
const PAUSE: Duration = Duration::from_secs(1);

/// How often an endpoint is asked for code that a receipt says is there.
const LOOKS: usize = 30;

/// The gas of each creation that lacks, in the order of the places. No constructor calls the contract before it, so
/// all can be told before any is sent. Asked of the last block: on top of what waits, somebody else's creation of the
/// same would make ours revert.
///
/// # Errors
/// When the endpoint does not answer, or the creation would fail.
pub async fn estimate(provider: &DynProvider, site: &Site) -> Result<[Option<u64>; 3], DeployError> {
    let mut gas = [None; 3];
    for (gas, place) in gas.iter_mut().zip(&site.places) {
        if place.stands {
            continue;
        }
        match provider.estimate_gas(place.transaction()).block(BlockId::latest()).await {
            Ok(estimate) => *gas = Some(estimate),
            // Somebody may have created it since.
            Err(error) if error.as_error_resp().is_some() && place.look(provider).await? => {}
            Err(error) => return Err(error.into()),
        }
    }
    Ok(gas)
}

/// Makes sure that the account can pay for all that lacks before it pays for any of it.
///
/// # Errors
/// When it cannot, or the endpoint does not answer.
pub async fn check_money(provider: &DynProvider, account: Address, gas: &[Option<u64>; 3]) -> Result<(), DeployError> {
    let gas: U256 = gas.iter().flatten().map(|gas| U256::from(*gas)).sum();
    let needs = gas * U256::from(provider.estimate_eip1559_fees().await?.max_fee_per_gas);
    let has = provider.get_balance(account).await?;
    if has < needs {
        return Err(DeployError::GasMoney { account, has, needs });
    }
    Ok(())
}

/// Creates one contract through a provider that signs. Returns the transaction that did it, or none when the contract
/// stood already or somebody else was faster.
///
/// # Errors
/// When the contract does not come to stand.
pub async fn create(provider: &DynProvider, place: &Place) -> Result<Option<B256>, DeployError> {
    let contract = place.creation.contract;
    let started = Instant::now();
    let mut tries = 0;
    let mut problem = "somebody else's transaction that creates it gets into no block".to_owned();
    while tries < TRIES && started.elapsed() < MINED_WITHIN {
        if place.look(provider).await? {
            return Ok(None);
        }
        if !is_coming(provider, place).await? {
            match send(provider, place).await? {
                Sent::Done(transaction) => return stands_at_last(provider, place).await.map(|()| Some(transaction)),
                Sent::Refused(reason) => problem = reason,
            }
            tries += 1;
        }
        tokio::time::sleep(PAUSE).await;
    }
    if place.look(provider).await? {
        return Ok(None);
    }
    Err(DeployError::NotCreated { contract, problem })
}

/// Whether a transaction that waits will create it; another one would only revert. An endpoint that shows nobody what
/// waits says no.
async fn is_coming(provider: &DynProvider, place: &Place) -> Result<bool, DeployError> {
    match provider.get_code_at(place.creation.address).pending().await {
        Ok(code) => Ok(!code.is_empty()),
        Err(error) if error.as_error_resp().is_some() => Ok(false),
        Err(error) => Err(error.into()),
    }
}

enum Sent {
    Done(B256),
    Refused(String),
}

async fn send(provider: &DynProvider, place: &Place) -> Result<Sent, DeployError> {
    let pending = match provider.send_transaction(place.transaction()).await {
        Ok(pending) => pending.with_timeout(Some(MINED_WITHIN)),
        Err(error) if error.as_error_resp().is_some() => return Ok(Sent::Refused(error.to_string())),
        Err(error) => return Err(error.into()),
    };
    let transaction = *pending.tx_hash();
    match pending.get_receipt().await {
        Ok(receipt) if receipt.status() => Ok(Sent::Done(transaction)),
        Ok(_) => Ok(Sent::Refused(format!("transaction {transaction} was reverted"))),
        Err(PendingTransactionError::TxWatcher(WatchTxError::Timeout)) => Err(DeployError::NotMined {
            contract: place.creation.contract,
            transaction,
            waited_s: MINED_WITHIN.as_secs(),
        }),
        Err(PendingTransactionError::TransportError(error)) => Err(error.into()),
        Err(error) => Ok(Sent::Refused(format!("transaction {transaction}: {error}"))),
    }
}

async fn stands_at_last(provider: &DynProvider, place: &Place) -> Result<(), DeployError> {
    for _ in 0..LOOKS {
        if place.look(provider).await? {
            return Ok(());
        }
        tokio::time::sleep(PAUSE).await;
    }
    let problem = "its transaction was mined, but there is no code".to_owned();
    Err(DeployError::NotCreated { contract: place.creation.contract, problem })
}
