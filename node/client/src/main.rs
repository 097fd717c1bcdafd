//! The command line of a Layer Minus customer: parses, starts tracing and runs.

fn main() -> std::process::ExitCode {
    minus_client::cli::main()
}
