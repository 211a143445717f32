//! `rotate verify`: a new run that proves again what an earlier one left open.

use std::process::ExitCode;

use clap::Args;

use super::args::{Output, Pace, Places};
use super::failure::Failure;
use super::run;
use super::session::{Errand, Session};

/// Prove again: use the old credentials of a run once more
#[derive(Args, Clone, Debug)]
pub(crate) struct Verify {
    /// The run to prove again [default: the last one]
    #[arg(value_name = "RUN")]
    run: Option<String>,
    #[command(flatten)]
    places: Places,
    #[command(flatten)]
    pace: Pace,
    #[command(flatten)]
    pub(crate) output: Output,
}

impl Verify {
    /// Runs it.
    pub(crate) async fn run(self) -> Result<ExitCode, Failure> {
        let session = Session::open(&self.places)?;
        let errand = Errand::Verify { run: self.run, wait: self.pace.wait };
        run::follow(&session, errand, self.output.format).await
    }
}
