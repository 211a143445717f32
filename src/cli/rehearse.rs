//! `rotate rehearse`: the same line, practised: never an instant without a working credential.

use std::process::ExitCode;

use clap::Args;

use super::args::{self, Only, Output, Pace, Person, Places, Start};
use super::failure::Failure;
use super::run;
use super::session::{Intent, Session};
use crate::engine::capability::Radius;
use crate::engine::report::Mode;

/// Replace everything a role holds without an instant that has no working credential
#[derive(Args, Clone, Debug)]
pub(crate) struct Rehearse {
    /// The role to rehearse; several in one run
    #[arg(long = "role", value_name = "ROLE", required = true, value_parser = args::role)]
    roles: Vec<String>,
    /// Your case number, for the report
    #[arg(long, value_name = "ID", value_parser = args::said)]
    case: Option<String>,
    /// Only these credentials
    #[arg(long, value_name = "PROVIDER[/NAME]")]
    only: Vec<Only>,
    /// Take a revocation that kills as much as this, outside the run too [default: nothing outside]
    #[arg(long, value_name = "WIDTH", value_parser = args::radius())]
    max_blast: Option<Radius>,
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

impl Rehearse {
    /// Runs it.
    pub(crate) async fn run(self) -> Result<ExitCode, Failure> {
        let session = Session::open(&self.places)?.asking(self.person, self.output);
        let intent = Intent {
            roles: self.roles,
            case: self.case,
            only: self.only,
            max_blast: self.max_blast,
            wait: self.pace.wait,
            ..Intent::new(Mode::Rehearse)
        };
        run::carry_out(&session, intent, self.start, self.output.format).await
    }
}
