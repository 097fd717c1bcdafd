//! What the network says: each endpoint by itself, then all of them held against each other.

use std::time::Duration;

use alloy::eips::BlockNumberOrTag;
use alloy::primitives::{Address, B256};
use alloy::providers::{DynProvider, Provider};
use alloy::transports::TransportError;
use minus_bindings::Deployment;

use super::Finding;
use crate::Config;
use crate::chain::provider;
use crate::clock::now_s;
use crate::plan::TRANSACTION_GAS_MAX;

/// An endpoint that needs longer is of no use.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(15);
/// A chain that made no block for so long stands still, or the endpoint does, or the clock is ahead.
const HEAD_AGE_MAX_S: u64 = 300;
/// A block's time may be a little ahead; more, and the clock is behind.
const HEAD_AHEAD_MAX_S: u64 = 30;
/// Endpoints may be so many blocks apart.
const HEADS_APART_MAX: u64 = 5;
/// A gas key should last for so many full claims.
const CLAIMS_AHEAD: u128 = 10;
const WEI_PER_GWEI: u128 = 1_000_000_000;

/// What one endpoint showed.
struct Sight {
    host: String,
    provider: DynProvider,
    number: u64,
    base_fee: u128,
}

/// Looks at each endpoint, and at the network through the first that is well.
pub(super) async fn look(config: &Config, deployment: &Deployment, gas_keys: &[Address]) -> Vec<Finding> {
    let mut findings = Vec::new();
    let mut sights = Vec::new();
    for url in &config.rpc_urls {
        // The rest of the URL often holds an access key.
        let host = url.host_str().unwrap_or("endpoint").to_owned();
        let provider = provider(url);
        match tokio::time::timeout(ANSWER_TIMEOUT, endpoint(&provider, &host, deployment)).await {
            Ok(Ok((head, finding))) => {
                findings.push(finding);
                if let Some((number, base_fee)) = head {
                    sights.push(Sight { host, provider, number, base_fee });
                }
            }
            Ok(Err(error)) => {
                let seen = error.to_string().replace(url.as_str(), &host);
                findings.push(Finding::failed(
                    "endpoint",
                    format!("{host}: {seen}"),
                    "check its address and access key",
                ));
            }
            Err(_) => findings.push(Finding::failed(
                "endpoint",
                format!("{host} does not answer within {ANSWER_TIMEOUT:?}"),
                "check its address, or use another",
            )),
        }
    }
    findings.extend(agreement(&sights).await);
    let Some(sight) = sights.first() else { return findings };
    match through(config, deployment, gas_keys, sight).await {
        Ok(more) => findings.extend(more),
        Err(error) => findings.push(Finding::failed(
            "network",
            format!("{}: {error}", sight.host),
            "the endpoint breaks off; use another",
        )),
    }
    findings
}

type Head = Option<(u64, u128)>;

async fn endpoint(
    provider: &DynProvider,
    host: &str,
    deployment: &Deployment,
) -> Result<(Head, Finding), TransportError> {
    const CHECK: &str = "endpoint";
    let chain_id = provider.get_chain_id().await?;
    if chain_id != deployment.chain_id {
        let seen = format!("{host} is of chain {chain_id}, the deployment of {}", deployment.chain_id);
        return Ok((None, Finding::failed(CHECK, seen, "name an endpoint of the deployment's chain")));
    }
    let Some(block) = provider.get_block_by_number(BlockNumberOrTag::Latest).await? else {
        return Ok((None, Finding::failed(CHECK, format!("{host} knows no block"), "wait until it has synchronised")));
    };
    let (number, time, now) = (block.header.number, block.header.timestamp, now_s());
    let head = Some((number, u128::from(block.header.base_fee_per_gas.unwrap_or(0))));
    let finding = if time > now.saturating_add(HEAD_AHEAD_MAX_S) {
        let seen = format!("{host}: block {number} is {} s ahead of this machine's clock", time - now);
        Finding::failed(CHECK, seen, "set this machine's clock (timedatectl set-ntp true)")
    } else if now.saturating_sub(time) > HEAD_AGE_MAX_S {
        let seen = format!("{host}: block {number} is {} s old", now - time);
        let remedy = "the endpoint lags, or this machine's clock is ahead; compare it with another";
        Finding::warning(CHECK, seen, remedy)
    } else {
        Finding::ok(CHECK, format!("{host} is at block {number}, {} s old", now.saturating_sub(time)))
    };
    Ok((head, finding))
}

/// Do they tell of the same chain?
async fn agreement(sights: &[Sight]) -> Option<Finding> {
    const CHECK: &str = "agreement";
    let lowest = sights.iter().map(|sight| sight.number).min()?;
    let highest = sights.iter().map(|sight| sight.number).max()?;
    if sights.len() < 2 {
        let remedy = "name a second endpoint of somebody else in rpc_urls: one alone can lie, lag or be away";
        return Some(Finding::warning(CHECK, "there is only one endpoint", remedy));
    }
    // Behind the lowest head, lest a block that is just being replaced counts as a lie.
    let common = lowest.saturating_sub(HEADS_APART_MAX);
    let mut hashes: Vec<(&str, B256)> = Vec::new();
    for sight in sights {
        if let Ok(Some(block)) = sight.provider.get_block_by_number(BlockNumberOrTag::Number(common)).await {
            hashes.push((&sight.host, block.header.hash));
        }
    }
    if let Some((host, _)) = hashes.iter().find(|(_, hash)| Some(hash) != hashes.first().map(|(_, hash)| hash)) {
        let seen = format!("{host} has another block {common} than {}", sights.first()?.host);
        return Some(Finding::failed(CHECK, seen, "one of them is of another network or lies; ask a third"));
    }
    Some(if highest - lowest > HEADS_APART_MAX {
        let behind = sights.iter().find(|sight| sight.number == lowest)?;
        let seen = format!("{} is {} blocks behind", behind.host, highest - lowest);
        Finding::warning(CHECK, seen, "put it last in rpc_urls, or replace it")
    } else {
        Finding::ok(CHECK, format!("{} endpoints have the same block {common}", hashes.len()))
    })
}

async fn through(
    config: &Config,
    deployment: &Deployment,
    gas_keys: &[Address],
    sight: &Sight,
) -> Result<Vec<Finding>, TransportError> {
    let mut findings = Vec::new();
    let contracts =
        [("token", deployment.token), ("escrow", deployment.escrow), ("routing table", deployment.routing_table)];
    let mut missing = Vec::new();
    for (name, address) in contracts {
        if sight.provider.get_code_at(address).await?.is_empty() {
            missing.push(format!("{name} {address}"));
        }
    }
    findings.push(if missing.is_empty() {
        Finding::ok("contracts", "token, escrow and routing table stand")
    } else {
        let seen = format!("there is no code at {}", missing.join(", "));
        Finding::failed("contracts", seen, "use the deployments file of this chain, or `settler deploy`")
    });

    let tip = sight.provider.get_max_priority_fee_per_gas().await.unwrap_or(WEI_PER_GWEI);
    let fee = sight.base_fee.saturating_add(tip);
    let cap = u128::from(config.fee_cap_gwei) * WEI_PER_GWEI;
    let in_gwei = |wei: u128| wei.div_ceil(WEI_PER_GWEI);
    let seen = format!("{} gwei now, the cap is {}", in_gwei(fee), config.fee_cap_gwei);
    findings.push(if fee > cap {
        Finding::failed(
            "fee",
            seen,
            "raise fee_cap_gwei: while the fee is above it, only what is about to be lost is claimed",
        )
    } else if fee.saturating_mul(2) > cap {
        Finding::warning("fee", seen, "the base fee doubles within six full blocks; raise fee_cap_gwei")
    } else {
        Finding::ok("fee", seen)
    });

    for gas_key in gas_keys {
        let balance = u128::try_from(sight.provider.get_balance(*gas_key).await?).unwrap_or(u128::MAX);
        let claim = u128::from(TRANSACTION_GAS_MAX).saturating_mul(fee.max(1));
        let claims = balance / claim;
        let seen = format!("{gas_key} has {balance} wei, enough for {claims} full claims at this fee");
        let remedy = format!("send it some of the chain's own coin, {claim} wei a claim");
        findings.push(match claims {
            0 => Finding::failed("gas balance", seen, remedy),
            few if few < CLAIMS_AHEAD => Finding::warning("gas balance", seen, "send it more before it runs out"),
            _ => Finding::ok("gas balance", seen),
        });
    }
    Ok(findings)
}
