//! `rotate demo`: a contain and a restore against servers that it starts itself on loopback.

use std::process::ExitCode;

use clap::Args;

use super::args::Output;
use super::failure::Failure;
use super::session;

/// Contain and restore a role of servers started here on loopback; one of them lies
#[derive(Args, Clone, Copy, Debug)]
pub(crate) struct Demo {
    #[command(flatten)]
    pub(crate) output: Output,
}

impl Demo {
    /// Runs it.
    pub(crate) async fn run(self) -> Result<ExitCode, Failure> {
        session::demo(self.output.format).await
    }
}
