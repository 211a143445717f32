//! `rotate man`: the manual pages, for packagers and for `rotate man | man -l -`.

use std::process::ExitCode;

use clap::{Args, CommandFactory as _};
use clap_mangen::Man as Page;

use super::args::Log;
use super::failure::Failure;
use super::{Cli, run};

/// Print the manual page of rotate, or of one of its commands
#[derive(Args, Clone, Debug)]
pub(crate) struct Man {
    /// The command; the whole program where none is named
    #[arg(value_name = "COMMAND")]
    command: Option<String>,
    #[command(flatten)]
    pub(crate) log: Log,
}

impl Man {
    /// Runs it.
    pub(crate) fn run(self) -> Result<ExitCode, Failure> {
        let mut whole = Cli::command();
        whole.build();
        let page = match &self.command {
            None => Page::new(whole),
            Some(name) => Page::new(whole.find_subcommand(name).cloned().ok_or_else(|| {
                // It may be anything that was pasted here, and is not repeated.
                Failure::input("there is no such command").hint("list them: rotate --help")
            })?),
        };
        let page = page.source(concat!("rotate ", env!("CARGO_PKG_VERSION")));
        let mut out = Vec::new();
        page.render(&mut out)
            .map_err(|error| Failure::own(format!("the page cannot be made: {error}")))?;
        Ok(run::shown(&String::from_utf8_lossy(&out)))
    }
}
