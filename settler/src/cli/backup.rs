//! `settler backup`: a copy of the log while it is in use.

use std::path::PathBuf;

use clap::Args;
use serde_json::json;

use super::outcome::{CommandError, say, say_json};
use crate::store::open::backup;

/// What to copy, and where to.
#[derive(Debug, Args)]
pub struct Backup {
    /// The copy. It must not be there yet.
    pub file: PathBuf,
    /// The log, as in the configuration.
    #[arg(long, env = "SETTLER_DATABASE", default_value = "sqlite:settler.db")]
    pub database: String,
    /// Print JSON.
    #[arg(long)]
    pub json: bool,
}

/// Copies, and says when the copy is on the disk.
///
/// # Errors
/// When the log is no file of SQLite, or the copy is there already or cannot be written.
pub async fn execute(command: Backup) -> Result<(), CommandError> {
    let bytes = async {
        anyhow::ensure!(!command.file.exists(), "{} is there already", command.file.display());
        backup(&command.database, &command.file).await?;
        Ok(std::fs::metadata(&command.file)?.len())
    }
    .await
    .map_err(CommandError::Failed)?;
    match command.json {
        true => say_json(&json!({ "file": command.file, "bytes": bytes })),
        false => say(&format!("{bytes} bytes in {}", command.file.display())),
    }
}
