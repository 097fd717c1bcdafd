//! The binary `settler`: parses, starts tracing and runs. Everything else stands in the library.

use std::io::IsTerminal;
use std::process::ExitCode;

use clap::Parser;
use minus_settler::cli::{Arguments, run};
use tracing_subscriber::EnvFilter;

#[tokio::main]
async fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let filter = EnvFilter::try_from_env("SETTLER_LOG").unwrap_or_else(|_| EnvFilter::new(arguments.log_default()));
    let colours = std::io::stderr().is_terminal();
    tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).with_ansi(colours).init();
    run(arguments).await
}
