//! `rotate report`: the report of a run, folded from its journal again, as of now.

use std::process::ExitCode;

use clap::Args;
use jiff::Timestamp;

use super::args::{Output, State};
use super::failure::Failure;
use super::run;
use super::session::Session;
use crate::engine::call::Wall;
use crate::engine::report::Stamp;

/// Print the report of a run again
#[derive(Args, Clone, Debug)]
pub(crate) struct Report {
    /// The run [default: the last one]
    #[arg(value_name = "RUN")]
    run: Option<String>,
    #[command(flatten)]
    state: State,
    #[command(flatten)]
    pub(crate) output: Output,
}

impl Report {
    /// Runs it. Residual lifetimes that have passed since no longer count.
    pub(crate) async fn run(self) -> Result<ExitCode, Failure> {
        let session = Session::of_state(&self.state)?;
        let mut report = session.report(self.run.as_deref())?;
        report.as_of = Stamp(Wall(Timestamp::now().as_millisecond()));
        run::publish(&report.summed(), self.output.format)
    }
}
