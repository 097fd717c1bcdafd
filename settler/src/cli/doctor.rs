//! `settler doctor`: is everything there that `run` needs?

use clap::Args;
use serde::Serialize;

use super::outcome::{CommandError, say, say_json};
use super::run::Settings;
use crate::doctor::{Finding, Verdict, examine};

/// With which settings.
#[derive(Debug, Args)]
pub struct Doctor {
    #[command(flatten)]
    settings: Settings,
    /// Print JSON.
    #[arg(long)]
    json: bool,
}

#[derive(Serialize)]
struct Answer {
    ok: bool,
    findings: Vec<Finding>,
}

impl Doctor {
    /// Looks and tells.
    ///
    /// # Errors
    /// When something is wrong.
    pub async fn execute(self) -> Result<(), CommandError> {
        let config = self.settings.load()?;
        let mut broken = Ok(());
        let findings = examine(&config, |finding| {
            if !self.json && broken.is_ok() {
                broken = tell(finding);
            }
        })
        .await;
        broken?;
        let failed = findings.iter().filter(|finding| finding.verdict == Verdict::Failed).count();
        if self.json {
            say_json(&Answer { ok: failed == 0, findings })?;
        }
        match failed {
            0 => Ok(()),
            1 => Err(CommandError::Failed(anyhow::anyhow!("1 thing is to be mended"))),
            many => Err(CommandError::Failed(anyhow::anyhow!("{many} things are to be mended"))),
        }
    }
}

fn tell(finding: &Finding) -> Result<(), CommandError> {
    say(&format!("{:<8} {:<14} {}", finding.verdict.as_str(), finding.check, finding.seen))?;
    match &finding.remedy {
        Some(remedy) => say(&format!("{:<23} -> {remedy}", "")),
        None => Ok(()),
    }
}
