//! What a finding is, and the order of looking.

use serde::Serialize;

use super::{machine, network};
use crate::Config;
use crate::config::read_deployment;

/// How it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    /// As it should be.
    Ok,
    /// It works, but look after it.
    Warning,
    /// It will not work, or money is in danger.
    Failed,
}

impl Verdict {
    /// The word of it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Warning => "warning",
            Self::Failed => "failed",
        }
    }
}

/// What one look found.
#[derive(Debug, Clone, Serialize)]
pub struct Finding {
    /// What was looked at.
    pub check: &'static str,
    /// How it is.
    pub verdict: Verdict,
    /// What was seen.
    pub seen: String,
    /// What to do about it.
    pub remedy: Option<String>,
}

impl Finding {
    /// As it should be.
    pub(super) fn ok(check: &'static str, seen: impl Into<String>) -> Self {
        Self { check, verdict: Verdict::Ok, seen: seen.into(), remedy: None }
    }

    /// It works, but look after it.
    pub(super) fn warning(check: &'static str, seen: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self { check, verdict: Verdict::Warning, seen: seen.into(), remedy: Some(remedy.into()) }
    }

    /// It will not work.
    pub(super) fn failed(check: &'static str, seen: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self { check, verdict: Verdict::Failed, seen: seen.into(), remedy: Some(remedy.into()) }
    }
}

/// Looks at everything. `told` hears of each finding as it is made.
pub async fn examine(config: &Config, mut told: impl FnMut(&Finding)) -> Vec<Finding> {
    let mut findings = Vec::new();
    let mut note = |finding: Finding| {
        told(&finding);
        findings.push(finding);
    };
    match config.policy() {
        Ok(_) => note(Finding::ok("configuration", "every setting fits")),
        Err(error) => {
            note(Finding::failed("configuration", error.to_string(), "packaging/settler.toml explains every setting"))
        }
    }
    let mut gas_keys = Vec::new();
    for keystore in config.keystores() {
        match machine::gas_key(config, keystore).await {
            Ok((address, finding)) => {
                gas_keys.push(address);
                note(finding);
            }
            Err(finding) => note(finding),
        }
    }
    machine::secrets(config).into_iter().for_each(&mut note);
    note(machine::database(config).await);
    for finding in machine::ports(config).await {
        note(finding);
    }
    let deployment = match read_deployment(&config.deployment) {
        Ok(deployment) => {
            note(Finding::ok("deployment", format!("escrow {} on chain {}", deployment.escrow, deployment.chain_id)));
            deployment
        }
        Err(error) => {
            note(Finding::failed("deployment", error.to_string(), "`settler deploy` writes it"));
            return findings;
        }
    };
    for finding in network::look(config, &deployment, &gas_keys).await {
        note(finding);
    }
    findings
}
