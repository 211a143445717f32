//! `rotate completions`: what a shell needs to complete this command line.

use std::process::ExitCode;

use clap::{Args, CommandFactory as _};
use clap_complete::Shell;

use super::args::Log;
use super::failure::Failure;
use super::{Cli, run};

/// Print the completions for a shell
///
/// For this user's bash:
///
///   rotate completions bash > ~/.local/share/bash-completion/completions/rotate
///
/// `rotate man` prints the manual page, `rotate man COMMAND` that of a command.
#[derive(Args, Clone, Copy, Debug)]
#[command(verbatim_doc_comment)]
pub(crate) struct Completions {
    /// The shell
    #[arg(value_name = "SHELL", value_enum)]
    shell: Shell,
    #[command(flatten)]
    pub(crate) log: Log,
}

impl Completions {
    /// Runs it.
    pub(crate) fn run(self) -> Result<ExitCode, Failure> {
        let mut out = Vec::new();
        clap_complete::generate(self.shell, &mut Cli::command(), "rotate", &mut out);
        Ok(run::shown(&String::from_utf8_lossy(&out)))
    }
}
