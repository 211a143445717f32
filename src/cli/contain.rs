//! `rotate --role R`: revoke everything the role holds, replace it, prove the old ones dead.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{ArgGroup, Args};
use jiff::Timestamp;

use super::args::{self, Only, Output, Pace, Person, Places, Start};
use super::run;
use super::session::{Intent, Session};
use super::when::{self, Since};
use crate::cli::failure::Failure;
use crate::engine::capability::Radius;
use crate::engine::report::Mode;

/// Revokes and replaces everything that a role holds.
#[derive(Args, Clone, Debug)]
#[command(group = ArgGroup::new("whom").args(["roles", "through"]).required(true).multiple(true))]
pub(crate) struct Contain {
    /// The role to contain; several in one run
    #[arg(long = "role", value_name = "ROLE", value_parser = args::role)]
    roles: Vec<String>,
    /// Contain every role with a credential that passed through this, as the inventory marks it:
    /// mcp:notion
    #[arg(long, value_name = "NAME", value_parser = args::said)]
    through: Vec<String>,
    /// Contain the roles that these delegate to as well, directly or by way of others
    #[arg(long)]
    with_delegates: bool,
    /// Your case number, for the report
    #[arg(long, value_name = "ID", value_parser = args::said)]
    case: Option<String>,
    /// The agent's session that started it, for the report
    #[arg(long, value_name = "ID", value_parser = args::said)]
    session: Option<String>,
    /// When it began: what the provider says was made since then is reported apart; 2h, or an
    /// instant
    #[arg(long, value_name = "WHEN", value_parser = when::since)]
    since: Option<Since>,
    /// Only these credentials
    #[arg(long, value_name = "PROVIDER[/NAME]")]
    only: Vec<Only>,
    /// Issue nothing
    #[arg(long, conflicts_with = "deliver")]
    revoke_only: bool,
    /// Deliver the new ones in this run, once the agent is stopped and the evidence saved
    #[arg(long)]
    deliver: bool,
    /// Look through the role's files first, and end what no entry names too, where its shape tells
    /// what it is
    #[arg(long)]
    include_unlisted: bool,
    /// Revoke unrecognised credentials that came while the run was under way, and with --since
    /// those the provider dates since then; never older ones
    #[arg(long)]
    revoke_strangers: bool,
    /// Take a revocation that kills as much as this [default: project]
    #[arg(long, value_name = "WIDTH", value_parser = args::radius())]
    max_blast: Option<Radius>,
    /// Read the role's places under this directory, and deliver nothing
    #[arg(long, value_name = "DIR", conflicts_with = "deliver")]
    root: Option<PathBuf>,
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

impl Contain {
    /// Runs it.
    pub(crate) async fn run(self) -> Result<ExitCode, Failure> {
        let session = Session::open(&self.places)?.asking(self.person, self.output);
        let (start, format) = (self.start, self.output.format);
        run::carry_out(&session, self.intent(Timestamp::now()), start, format).await
    }

    fn intent(self, now: Timestamp) -> Intent {
        Intent {
            mode: if self.revoke_only { Mode::RevokeOnly } else { Mode::Contain },
            roles: self.roles,
            through: self.through,
            with_delegates: self.with_delegates,
            case: self.case,
            session: self.session,
            because: None,
            since: self.since.map(|since| since.before(now)),
            only: self.only,
            deliver: self.deliver,
            include_unlisted: self.include_unlisted,
            revoke_strangers: self.revoke_strangers,
            max_blast: self.max_blast,
            wait: self.pace.wait,
            root: self.root,
            run: None,
        }
    }
}
