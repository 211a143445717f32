//! `rotate resume`: an interrupted run goes on where its journal ends.

use std::process::ExitCode;

use clap::Args;

use super::args::{Output, Pace, Person, State};
use super::failure::Failure;
use super::run;
use super::session::{Errand, Session};

/// Go on with a run that was stopped or killed
///
/// Everything but these options stands in the run's journal.
#[derive(Args, Clone, Debug)]
pub(crate) struct Resume {
    /// The run to go on with [default: the last one that is open]
    #[arg(value_name = "RUN")]
    run: Option<String>,
    #[command(flatten)]
    state: State,
    #[command(flatten)]
    pace: Pace,
    #[command(flatten)]
    person: Person,
    #[command(flatten)]
    pub(crate) output: Output,
}

impl Resume {
    /// Runs it.
    pub(crate) async fn run(self) -> Result<ExitCode, Failure> {
        let session = Session::of_state(&self.state)?.asking(self.person, self.output);
        let errand = Errand::Resume { run: self.run, wait: self.pace.wait };
        run::follow(&session, errand, self.output.format).await
    }
}
