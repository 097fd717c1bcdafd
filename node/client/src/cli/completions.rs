//! `minus completions`: a script for the shell.

use clap::{Args, CommandFactory};
use clap_complete::Shell;

use super::{Cli, Context};

/// Print a completion script for a shell.
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  minus completions bash > ~/.local/share/bash-completion/completions/minus")]
pub struct CompletionsArgs {
    /// Which shell
    shell: Shell,
}

pub(super) fn run(context: &Context, args: &CompletionsArgs) {
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut Cli::command(), "minus", &mut script);
    context.output.script(&script);
}
