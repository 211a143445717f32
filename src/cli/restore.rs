//! `rotate restore`: a contained role gets what was held for it, and may run again.

use std::process::ExitCode;

use clap::Args;

use super::args::{self, Output, Pace, Person, Places, Start};
use super::failure::Failure;
use super::run;
use super::session::{Intent, Session};
use crate::engine::report::Mode;

/// Deliver what a contain held, and let the role run again
#[derive(Args, Clone, Debug)]
pub(crate) struct Restore {
    /// The role to restore; several in one run
    #[arg(long = "role", value_name = "ROLE", required = true, value_parser = args::role)]
    roles: Vec<String>,
    /// Why it may run again: it stands in the report and the journal
    #[arg(long, value_name = "TEXT", required = true, value_parser = args::said)]
    because: String,
    /// Your case number, for the report
    #[arg(long, value_name = "ID", value_parser = args::said)]
    case: Option<String>,
    #[command(flatten)]
    places: Places,
    #[command(flatten)]
    pace: Pace,
    #[command(flatten)]
    person: Person,
    #[command(flatten)]
    start: Start,
    #[command(flatten)]
    pub(crate) output: Output,
}

impl Restore {
    /// Runs it.
    pub(crate) async fn run(self) -> Result<ExitCode, Failure> {
        let session = Session::open(&self.places)?.asking(self.person, self.output);
        let intent = Intent {
            roles: self.roles,
            because: Some(self.because),
            case: self.case,
            wait: self.pace.wait,
            ..Intent::new(Mode::Restore)
        };
        run::carry_out(&session, intent, self.start, self.output.format).await
    }
}
