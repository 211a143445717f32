//! `rotate escrow`: what is held under seal, and how a person gets at one of them.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::io::{self, IsTerminal as _};
use std::os::fd::AsFd as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::{Args, Subcommand, ValueEnum};
use serde::Serialize;

use super::args::{Format, Log, Output, State as StateDir};
use super::failure::Failure;
use super::line::{own, wall};
use super::session::Session;
use super::terminal;
use super::{exit, run, table};
use crate::drive::Past;
use crate::engine::call::{SecretId, Wall};
use crate::engine::plan::{Earlier, KnownSide};
use crate::engine::report::{Stamp, Verdict};
use crate::journal::{EscrowError, Holder, JournalError, Opening, Resealed, State};
use crate::seal::Identities;

/// List what is held under seal, or open one of them
#[derive(Args, Clone, Debug)]
pub(crate) struct Escrow {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand, Clone, Debug)]
enum Command {
    /// New ones that were not delivered, and old ones that are not proved dead
    List(List),
    /// Write one of them to a file of its owner alone, or into a pipe; the journal keeps who did
    Open(Open),
    /// Seal everything again, to the key and the recipients of today: after a key was lost, or a
    /// recipient came or went
    Reseal(Reseal),
}

#[derive(Args, Clone, Debug)]
struct List {
    #[command(flatten)]
    state: StateDir,
    #[command(flatten)]
    output: Output,
}

#[derive(Args, Clone, Debug)]
struct Open {
    /// The run that holds it
    #[arg(value_name = "RUN")]
    run: String,
    /// The credential, as the list names it: ROLE/NAME
    #[arg(value_name = "CREDENTIAL")]
    credential: String,
    /// Which of the two
    #[arg(long, value_enum, default_value_t)]
    side: Side,
    /// The part, where it has several
    #[arg(long, value_name = "NAME")]
    part: Option<String>,
    /// A file to be made for it, 0600; one that is there is never written over
    #[arg(long, value_name = "FILE")]
    to: Option<PathBuf>,
    #[command(flatten)]
    keys: PrivateKeys,
    #[command(flatten)]
    state: StateDir,
    #[command(flatten)]
    log: Log,
}

#[derive(Args, Clone, Debug)]
struct Reseal {
    #[command(flatten)]
    keys: PrivateKeys,
    #[command(flatten)]
    state: StateDir,
    #[command(flatten)]
    log: Log,
}

#[derive(Args, Clone, Debug)]
struct PrivateKeys {
    /// A recipient's private key, where this installation's does not open it: a file of
    /// age-keygen, or an ssh key; several, one each
    #[arg(short = 'i', long = "identity", value_name = "FILE")]
    identities: Vec<PathBuf>,
}

/// The old one or the new one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, ValueEnum)]
#[serde(rename_all = "lowercase")]
enum Side {
    /// What was issued.
    #[default]
    New,
    /// What was burned.
    Old,
}

/// One line of the list.
#[derive(Clone, Debug, Serialize)]
struct Line {
    run: String,
    credential: String,
    side: Side,
    fingerprint: String,
    handle: Option<String>,
    /// When its run began.
    since: Stamp,
    /// How often it was opened.
    opened: usize,
}

/// One that is held.
struct Held {
    line: Line,
    secrets: Vec<SecretId>,
}

/// All that is held.
#[derive(Default)]
struct Escrowed {
    held: Vec<Held>,
    /// Runs that hold something and cannot be read, and why.
    unread: BTreeMap<String, String>,
}

impl Escrow {
    /// Runs it.
    pub(crate) fn run(self) -> Result<ExitCode, Failure> {
        match self.command {
            Command::List(list) => list.run(),
            Command::Open(open) => open.run(),
            Command::Reseal(reseal) => reseal.run(),
        }
    }

    pub(crate) fn log(&self) -> Log {
        match &self.command {
            Command::List(list) => list.output.log,
            Command::Open(open) => open.log,
            Command::Reseal(reseal) => reseal.log,
        }
    }
}

impl List {
    fn run(self) -> Result<ExitCode, Failure> {
        let session = Session::of_state(&self.state)?;
        let Escrowed { held, unread } = match session.existing_state()? {
            Some(state) => escrowed(&state)?,
            None => Escrowed::default(),
        };
        let lines: Vec<Line> = held.into_iter().map(|held| held.line).collect();
        let text = match self.output.format {
            Format::Json => run::json(&lines)?,
            _ if lines.is_empty() => "nothing is held under seal\n".to_owned(),
            format => {
                let head = ["RUN", "CREDENTIAL", "WHICH", "HANDLE", "FINGERPRINT", "AGE", "OPENED"];
                let rows: Vec<Vec<String>> = lines.iter().map(|line| row(line, wall())).collect();
                table::of(format, &head, &rows)
            }
        };
        if unread.is_empty() {
            return Ok(run::shown(&text));
        }
        // What is known is listed all the same.
        if !lines.is_empty() {
            run::shown(&text);
        }
        Err(not_known(unread))
    }
}

/// Seals of runs that cannot be read: whose they are stands in their records.
fn not_known(unread: BTreeMap<String, String>) -> Failure {
    let why: Vec<String> = unread.into_values().collect();
    Failure::own(format!(
        "{}: it holds secrets under seal, and nothing tells whose",
        why.join("; ")
    ))
    .hint("save a copy of the state directory, and revoke what the run's report names by hand")
}

fn row(line: &Line, now: Wall) -> Vec<String> {
    /// As many as tell any two apart that one installation will ever hold.
    const SHOWN: usize = 12;
    vec![
        line.run.clone(),
        line.credential.clone(),
        name_of(line.side).to_owned(),
        line.handle.clone().unwrap_or_else(|| "-".to_owned()),
        line.fingerprint.chars().take(SHOWN).collect(),
        age(now.0.saturating_sub(line.since.0.0)),
        match line.opened {
            0 => "never".to_owned(),
            1 => "once".to_owned(),
            times => format!("{times} times"),
        },
    ]
}

fn age(ms: i64) -> String {
    const UNITS: [(i64, &str); 3] = [(86_400_000, "d"), (3_600_000, "h"), (60_000, "min")];
    let unit = UNITS.into_iter().find(|(unit, _)| ms >= *unit);
    unit.map_or_else(|| "under a minute".to_owned(), |(unit, name)| format!("{} {name}", ms / unit))
}

/// Everything under seal that belongs to a credential of a run. What a run needs of its admins
/// while it is open is nobody's to take.
fn escrowed(state: &State) -> Result<Escrowed, Failure> {
    let failed = |error: JournalError| own(&error).hint(error.hint());
    let sealed = state.sealed().map_err(failed)?;
    let openings = state.openings().map_err(failed)?;
    let mut all = Escrowed::default();
    // What a later run has delivered or seen dead: nobody needs the earlier seal of it.
    let mut settled: BTreeSet<String> = BTreeSet::new();
    for summary in state.runs().map_err(failed)? {
        let of_run: Vec<SecretId> =
            sealed.iter().filter(|(run, _)| *run == summary.run).map(|(_, id)| *id).collect();
        let Some(past) = Past::read(state, &summary.run) else {
            if !of_run.is_empty() {
                all.unread.insert(summary.run.clone(), Past::unread(state, &summary.run));
            }
            continue;
        };
        for (credential, facts) in past.run.facts() {
            settled.extend(settled_by(&facts));
            for (side, known) in [(Side::New, facts.new), (Side::Old, facts.old)] {
                let Some(known) = known else { continue };
                let secrets = still_sealed(&known, &of_run);
                if secrets.is_empty() || settled.contains(&known.fingerprint) {
                    continue;
                }
                let is_it = |opening: &&Opening| {
                    opening.run == summary.run
                        && opening.credential == credential
                        && opening.side == name_of(side)
                };
                let line = Line {
                    run: summary.run.clone(),
                    credential: credential.clone(),
                    side,
                    fingerprint: known.fingerprint,
                    handle: known.handle,
                    since: Stamp(summary.started),
                    opened: openings.iter().filter(is_it).count(),
                };
                all.held.push(Held { line, secrets });
            }
        }
    }
    Ok(all)
}

fn settled_by(facts: &Earlier) -> Vec<String> {
    let dead = matches!(&facts.verdict, Some((Verdict::Dead | Verdict::AlreadyDead, _)));
    let new = facts.new.as_ref().filter(|_| facts.delivered);
    let old = facts.old.as_ref().filter(|_| dead);
    new.into_iter().chain(old).map(|side| side.fingerprint.clone()).collect()
}

fn still_sealed(known: &KnownSide, sealed: &[SecretId]) -> Vec<SecretId> {
    known.secrets.iter().filter(|id| sealed.contains(id)).copied().collect()
}

fn name_of(side: Side) -> &'static str {
    match side {
        Side::New => "new",
        Side::Old => "old",
    }
}

impl Open {
    fn run(self) -> Result<ExitCode, Failure> {
        if self.to.is_none() && io::stdout().is_terminal() {
            return Err(Failure::input("a secret is not shown on a terminal")
                .hint("name a file that is to be made: --to FILE, or pipe it into a program"));
        }
        let state = self.keys.state(&self.state)?.ok_or_else(nothing)?;
        let Escrowed { held, mut unread } = escrowed(&state)?;
        let found = held.into_iter().find(|held| {
            held.line.run == self.run
                && held.line.credential == self.credential
                && held.line.side == self.side
        });
        let Held { line, secrets } = found.ok_or_else(|| match unread.remove_entry(&self.run) {
            Some(it) => not_known([it].into()),
            None => nothing(),
        })?;
        let part = state
            .part_of(&line.run, &secrets, self.part.as_deref())
            .map_err(|error| failure(&error))?;
        let me = Holder::here(&line.run, "escrow", wall());
        let opening = Opening {
            run: line.run,
            credential: line.credential,
            side: name_of(line.side).to_owned(),
            part,
            to: self.to.as_ref().map_or("stdout".to_owned(), |path| path.display().to_string()),
            at: me.since,
            user: rustix::process::getuid().as_raw(),
            host: me.host,
        };
        let mut out = out(self.to.as_deref())?;
        if let Err(error) = state.hand_over(&secrets, &opening, &mut out) {
            if let Some(path) = &self.to {
                // Made a moment ago, by us, and perhaps half written.
                let _ = std::fs::remove_file(path);
            }
            return Err(failure(&error));
        }
        if let Some(path) = &self.to {
            let whose = format!("{} {} of run {}", opening.credential, opening.part, opening.run);
            terminal::say(&format!("{} written to {}", terminal::clean(&whose), path.display()));
        }
        Ok(ExitCode::from(exit::NOTHING_LEFT))
    }
}

impl Reseal {
    fn run(self) -> Result<ExitCode, Failure> {
        let done = match self.keys.state(&self.state)? {
            Some(state) => {
                state.reseal().map_err(|error| own(&error).hint(error.hint())).map(|done| {
                    let keys = state.seal().recipients();
                    (done, keys)
                })?
            }
            None => (Resealed::default(), 1),
        };
        let (Resealed { again, closed }, keys) = done;
        terminal::say(&format!("{again} sealed again, to {}", keys_of(keys)));
        if closed > 0 {
            let hint = "name the key of another recipient: --identity FILE, or bring the \
                        installation's own back from a backup";
            return Err(Failure::own(format!("{closed} not opened by any key at hand")).hint(hint));
        }
        Ok(ExitCode::from(exit::NOTHING_LEFT))
    }
}

/// Whose keys open what is sealed, of so many: this installation's is always one of them.
pub(super) fn keys_of(all: usize) -> String {
    match all.saturating_sub(1) {
        0 => "this installation's key alone".to_owned(),
        1 => "this installation's key and one recipient".to_owned(),
        some => format!("this installation's key and {some} recipients"),
    }
}

impl PrivateKeys {
    /// The state directory, opened by these keys too; none where there is none.
    fn state(&self, of: &StateDir) -> Result<Option<State>, Failure> {
        let session = Session::of_state(of)?;
        let mut all = Vec::with_capacity(self.identities.len());
        for path in &self.identities {
            // The terminal of the person who has the key, whatever stdin is.
            let read = Identities::read(path, terminal::passphrase);
            all.push(read.map_err(|error| Failure::input(error.to_string()).hint(error.hint()))?);
        }
        if !session.state.exists() {
            return Ok(None);
        }
        let open = State::open(&session.state);
        let state = open.map_err(|error| own(&error).hint(error.hint()))?;
        Ok(Some(all.iter().fold(state, State::opened_by)))
    }
}

/// Where the bytes go, without a buffer that would keep a copy of them.
fn out(to: Option<&Path>) -> Result<File, Failure> {
    let Some(path) = to else {
        let fd = io::stdout().as_fd().try_clone_to_owned();
        return fd
            .map(File::from)
            .map_err(|error| Failure::own(format!("stdout cannot be written: {error}")));
    };
    File::options().write(true).create_new(true).mode(0o600).open(path).map_err(|error| {
        let failure = Failure::input(format!("{} cannot be made: {error}", path.display()));
        match error.kind() {
            io::ErrorKind::AlreadyExists => failure.hint("name a file that is not there yet"),
            _ => failure.hint("name a file in a folder of your own"),
        }
    })
}

/// What was asked for may be a secret pasted by mistake, and is not repeated.
fn nothing() -> Failure {
    Failure::input("nothing of that name is held under seal").hint("list it: rotate escrow list")
}

fn failure(error: &EscrowError) -> Failure {
    match error {
        EscrowError::NotHeld => nothing(),
        EscrowError::Parts(names) => Failure::input("it has no such part, or several")
            .hint(format!("name one: --part {}", names.join(", or --part "))),
        EscrowError::Journal(inner) => own(inner).hint(inner.hint()),
        EscrowError::Write(_) => own(error).hint("name a file in a folder of your own: --to FILE"),
    }
}
