//! `settler export`: everything of one kind, to a file or onward.

use std::io::{ErrorKind, Write};
use std::path::PathBuf;

use anyhow::{Context, anyhow};
use clap::{Args, ValueEnum};
use futures_util::TryStreamExt;
use indicatif::{ProgressBar, ProgressStyle};
use tokio::io::AsyncWriteExt;
use url::Url;

use super::admin_client::AdminClient;
use super::outcome::{CommandError, complain};

/// What to write.
#[derive(Debug, Clone, Copy, ValueEnum)]
enum What {
    /// Lanes whose vouchers the chain has not paid yet.
    Lanes,
    /// The transactions that claim.
    Claims,
    /// Earnings over time, from the first claim on.
    Earnings,
}

/// How to write it.
#[derive(Debug, Clone, Copy, ValueEnum)]
enum Format {
    /// Comma-separated values, for a spreadsheet.
    Csv,
    /// An array of objects, for a program.
    Json,
}

/// What to export, and where to.
#[derive(Debug, Args)]
pub struct Export {
    /// Of which kind.
    #[arg(long, value_enum)]
    what: What,
    /// In which form.
    #[arg(long, value_enum, default_value = "csv")]
    format: Format,
    /// The file to make or replace; without it, standard output.
    #[arg(long)]
    out: Option<PathBuf>,
    /// The settler's admin address.
    #[arg(long, env = "SETTLER_URL", default_value = "http://127.0.0.1:7301")]
    url: Url,
}

impl Export {
    /// Asks and writes.
    ///
    /// # Errors
    /// When no settler answers, the answer breaks off, or the file cannot be written; then no file is touched.
    pub async fn execute(self) -> Result<(), CommandError> {
        let what = match self.what {
            What::Lanes => "lanes",
            What::Claims => "claims",
            What::Earnings => "earnings",
        };
        let format = match self.format {
            Format::Csv => "csv",
            Format::Json => "json",
        };
        let response = AdminClient::new(self.url)?.stream(&format!("export/{what}.{format}")).await?;
        let mut pieces = response.bytes_stream().map_err(|error| anyhow!("the export broke off: {error}"));
        let Some(out) = self.out else {
            while let Some(piece) = pieces.try_next().await? {
                match std::io::stdout().lock().write_all(&piece) {
                    Err(error) if error.kind() == ErrorKind::BrokenPipe => return Ok(()),
                    written => written.context("standard output")?,
                }
            }
            return Ok(());
        };

        // Beside its place, so that it can be put there at once when it is whole.
        let name = out.file_name().ok_or_else(|| CommandError::Usage(format!("{} is no file name", out.display())))?;
        let draft = out.with_file_name(format!(".{}.{}", name.to_string_lossy(), std::process::id()));
        let bar = ProgressBar::no_length();
        if let Ok(style) = ProgressStyle::with_template("{spinner} {bytes} ({bytes_per_sec})") {
            bar.set_style(style);
        }
        let written = async {
            let mut file = tokio::fs::File::create(&draft).await?;
            while let Some(piece) = pieces.try_next().await? {
                file.write_all(&piece).await?;
                bar.inc(u64::try_from(piece.len()).unwrap_or(0));
            }
            file.flush().await?;
            file.sync_all().await?;
            tokio::fs::rename(&draft, &out).await?;
            anyhow::Ok(())
        }
        .await;
        let bytes = bar.position();
        bar.finish_and_clear();
        if let Err(error) = written {
            // It may never have been made.
            let _ = tokio::fs::remove_file(&draft).await;
            return Err(CommandError::Failed(error.context(out.display().to_string())));
        }
        complain(&format!("{}: {bytes} bytes", out.display()));
        Ok(())
    }
}
