//! `rotate revoke -`: secrets on stdin, ended by themselves where their providers allow it.
//!
//! No inventory and no admin is needed: each secret is known by its shape, and what can end itself
//! is ended and proved dead by the same plan, engine and journal as any other run. The rest is
//! named by line and fingerprint, with the page where a person ends it.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::io::{IsTerminal as _, Read as _};
use std::path::PathBuf;
use std::process::ExitCode;

use clap::Args;
use zeroize::Zeroizing;

use super::args::{Output, Pace, State};
use super::failure::Failure;
use super::prepare::{self, Context, Prepared};
use super::progress::Watch;
use super::session::Session;
use super::terminal::{self, Look};
use super::{outline, run, signals, when};
use crate::drive::History;
use crate::engine::plan::Options;
use crate::given;

/// What stdin may hold: thousands of secrets, and no file that was piped in by mistake.
const STDIN_MAX: usize = 1 << 20;

/// End secrets read from stdin, and prove them dead: one a line, or the lines of a .env file
///
/// No inventory and no admin is needed; each secret is known by its shape, and must be able to end
/// itself. The others are listed, with the page where a person ends them.
#[derive(Args, Clone, Debug)]
pub(crate) struct Revoke {
    /// A lone hyphen: stdin. A secret never stands on a command line, where others can read it
    #[arg(value_name = "-", required = true)]
    source: Vec<OsString>,
    /// More provider files; naming one like a built-in replaces it
    #[arg(long, value_name = "DIR")]
    providers: Option<PathBuf>,
    /// Print the whole plan and touch nothing
    #[arg(long)]
    dry_run: bool,
    #[command(flatten)]
    state: State,
    #[command(flatten)]
    pace: Pace,
    #[command(flatten)]
    pub(crate) output: Output,
}

impl Revoke {
    /// Runs it.
    pub(crate) async fn run(self) -> Result<ExitCode, Failure> {
        if self.source != ["-"] {
            return Err(Failure::input(
                "secrets are read from stdin alone; what stood on the command line was not used, \
                 and others may have read it there",
            )
            .hint("write them to stdin: rotate revoke - < FILE"));
        }
        let text = read_stdin()?;
        let session =
            Session { providers: self.providers.clone(), ..Session::of_state(&self.state)? };
        let state = session.state_for_contain(self.dry_run)?;
        let resolved = prepare::resolve(self.providers.as_deref(), &BTreeMap::new(), None)?;
        let wait_ms = self.pace.wait.map(when::milliseconds);
        let options = Options { wait_ms, ..state.options(&[]) };
        let planned = given::plan(&text, &resolved, &state.fingerprints(), &options)
            .map_err(|error| Failure::own(error.to_string()))?;
        drop(text);
        let (plan, kept) = planned.ok_or_else(|| {
            Failure::input("no secret on stdin")
                .hint("write one a line, or the lines of a .env file")
        })?;
        let brief = outline::of(&plan);
        if self.dry_run {
            return run::show_plan(&brief, self.output.format);
        }
        terminal::say(&outline::brief(&brief));
        let context = Context { providers: self.providers, trusted: true, ..Context::default() };
        let (history, warnings) = (History::default(), Vec::new());
        let prepared = Prepared { plan, context, history, looked: Vec::new(), warnings };
        let told = signals::listen()?;
        let watch = Watch::new(&Look::of_stderr());
        let report = session.begin(state, prepared, Some(kept), told, &watch).await;
        watch.end();
        run::publish(&report?, self.output.format)
    }
}

fn read_stdin() -> Result<Zeroizing<String>, Failure> {
    if std::io::stdin().is_terminal() {
        terminal::say("secrets, one a line; Ctrl-D ends");
    }
    // Room from the start: a buffer that grows leaves copies behind. A reader wants some of it
    // free before it believes that the end has come.
    let mut bytes = Zeroizing::new(Vec::with_capacity(STDIN_MAX + 64));
    std::io::stdin()
        .take(STDIN_MAX as u64 + 1)
        .read_to_end(&mut bytes)
        .map_err(|error| Failure::input(format!("stdin cannot be read: {}", error.kind())))?;
    if bytes.len() > STDIN_MAX {
        return Err(Failure::input("stdin holds more than 1 MiB").hint("write the secrets alone"));
    }
    match String::from_utf8(std::mem::take(&mut *bytes)) {
        Ok(text) => Ok(Zeroizing::new(text)),
        Err(error) => {
            drop(Zeroizing::new(error.into_bytes()));
            Err(Failure::input("stdin holds no text").hint("write the secrets alone"))
        }
    }
}
