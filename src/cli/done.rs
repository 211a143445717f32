//! `rotate done`: a person says that a step left to them is done; the next probe checks it.

use std::process::ExitCode;

use clap::Args;

use super::args::{Output, State};
use super::failure::Failure;
use super::run;
use super::session::{Errand, Session};

/// Say that what was left to you is done; it is then proved
#[derive(Args, Clone, Debug)]
pub(crate) struct Done {
    /// The run that left it
    #[arg(value_name = "RUN")]
    run: String,
    /// The credential, as the report names it: ROLE/NAME
    #[arg(value_name = "CREDENTIAL")]
    credential: String,
    #[command(flatten)]
    state: State,
    #[command(flatten)]
    pub(crate) output: Output,
}

impl Done {
    /// Runs it.
    pub(crate) async fn run(self) -> Result<ExitCode, Failure> {
        let session = Session::of_state(&self.state)?;
        let errand = Errand::Done { run: self.run, credential: self.credential };
        run::follow(&session, errand, self.output.format).await
    }
}
