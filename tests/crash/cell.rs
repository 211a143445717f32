//! One cell: a run that is killed at its point, and perhaps once more, taken up, and held against a
//! run that nobody disturbed.

use std::fmt;
use std::time::{Duration, Instant};

use crate::bench::Running;
use crate::gate::{Crossing, Side, end};
use crate::journal::{self, Kept, Write};
use crate::outcome::Outcome;
use crate::site::{Role, Site};

pub(crate) const CONTAIN: [&str; 3] = ["--role", "mail-agent", "--deliver"];

/// Where a process dies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Point {
    /// At that turn of its talk with the servers.
    Turn(usize, Side),
    /// In the middle of that write of its journal.
    Write(Write),
    /// So long after it began.
    Instant(Duration),
}

impl fmt::Display for Point {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Turn(n, Side::Before) => write!(f, "before call {n}"),
            Self::Turn(n, Side::After) => write!(f, "after call {n}"),
            Self::Write(Write::Record(n)) => write!(f, "while it wrote record {n}"),
            Self::Write(Write::Close) => write!(f, "while it wrote its end"),
            Self::Instant(at) => write!(f, "after {} ms", at.as_millis()),
        }
    }
}

/// How it ended, in a report's words and at the server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct End {
    /// Without orphans that were revoked: they are of the crash alone.
    pub(crate) table: String,
    pub(crate) old_alive: bool,
    pub(crate) placed_alive: bool,
    pub(crate) live: Option<usize>,
    /// The role is marked in the inventory.
    marked: bool,
}

/// What an undisturbed run is like.
pub(crate) struct Undisturbed {
    pub(crate) end: End,
    pub(crate) turns: usize,
    pub(crate) records: usize,
    pub(crate) took: Duration,
}

/// What became of a cell.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Became {
    /// Killed there, taken up, and the same.
    Same,
    /// Nothing lives that should not; what the server lets nobody find is left to a person, who is
    /// told.
    Told,
    /// It was over before.
    Late,
    /// Not the same.
    Other(String),
}

pub(crate) fn undisturbed(site: &dyn Site, crossing: &Crossing) -> Undisturbed {
    let role = site.role(0);
    crossing.begin(None);
    let begun = Instant::now();
    let outcome = role.host.rotate(&CONTAIN);
    let (took, turns) = (begun.elapsed(), crossing.turns());
    let Kept::Closed(records) = journal::kept(&role.host) else {
        panic!("{}: it was not closed\n{}", site.name(), outcome.stderr)
    };
    let end = end_of(site, &role, &outcome);
    assert!(!end.old_alive && end.placed_alive && end.live.is_none_or(|live| live == 1), "{end:?}");
    Undisturbed { end, turns, records, took }
}

/// Kills it there, takes it up, kills that, and so on; then it is left in peace.
pub(crate) fn cell(
    site: &dyn Site,
    crossing: &Crossing,
    undisturbed: &Undisturbed,
    number: usize,
    points: &[Point],
) -> Became {
    let role = site.role(number);
    let mut done = None;
    for point in points {
        // Of whatever was killed before anything was written, nothing is taken up.
        let arguments = match journal::kept(&role.host) {
            Kept::Nothing => &CONTAIN[..],
            Kept::Open(_) => &["resume"],
            Kept::Closed(_) => break,
        };
        done = killed(&role, crossing, arguments, *point);
        if done.is_some() {
            break;
        }
    }
    crossing.begin(None);
    let late = done.is_some() && points.len() == 1;
    let outcome = done.unwrap_or_else(|| taken_up(&role));
    match end_of(site, &role, &outcome) == undisturbed.end {
        true if late => Became::Late,
        true => Became::Same,
        false => other(site, &role, &outcome, undisturbed),
    }
}

/// What was cut short goes on to its end.
pub(crate) fn taken_up(role: &Role) -> Outcome {
    match journal::kept(&role.host) {
        Kept::Nothing => role.host.rotate(&CONTAIN),
        Kept::Open(_) => role.host.rotate(&["resume"]),
        // It was over, and nobody had read its report.
        Kept::Closed(_) => role.host.rotate(&["report"]),
    }
}

fn other(site: &dyn Site, role: &Role, outcome: &Outcome, wanted: &Undisturbed) -> Became {
    let found = end_of(site, role, outcome);
    // No list, no label: an answer to an issue that was lost is never asked for again.
    let told = found.table.contains("new not-issued") && found.table.contains("todo: issue a new");
    if site.live(role).is_none() && !found.old_alive && told && outcome.code == Some(3) {
        return Became::Told;
    }
    // Done by a server that took its time, after the list was read: named, and left to a person.
    let named = found.table.contains("minted-during-run") && outcome.code == Some(3);
    if named
        && !found.old_alive
        && found.placed_alive
        && found.live == wanted.end.live.map(|n| n + 1)
    {
        return Became::Told;
    }
    Became::Other(format!("{found:#?}\nwanted {:#?}\n{}", wanted.end, outcome.stderr))
}

/// Runs it into its trap. How it ended, where it ended by itself.
pub(crate) fn killed(
    role: &Role,
    crossing: &Crossing,
    arguments: &[&str],
    point: Point,
) -> Option<Outcome> {
    crossing.begin(match point {
        Point::Turn(turn, side) => Some((turn, side)),
        _ => None,
    });
    if let Point::Write(at) = point {
        journal::set_trap(&role.host, at);
    }
    let begun = Instant::now();
    let mut run = role.host.start(arguments);
    let pid = run.pid();
    crossing.is(pid);
    match point {
        Point::Turn(..) => {}
        Point::Write(_) => {
            journal::spring(&role.host, pid, || run.is_over());
        }
        Point::Instant(at) => {
            std::thread::sleep(at.saturating_sub(begun.elapsed()));
            if !run.is_over() {
                end(pid);
            }
        }
    }
    let outcome = Running::end(run);
    journal::remove_trap_of(&role.host, point);
    outcome.code.is_some().then_some(outcome)
}

pub(crate) fn end_of(site: &dyn Site, role: &Role, outcome: &Outcome) -> End {
    let table = outcome.table();
    let lines = table.lines().filter(|line| *line != "  orphan, revoked true");
    let placed = site.placed(role);
    End {
        table: lines.collect::<Vec<_>>().join("\n"),
        old_alive: site.accepts(role, &role.old),
        placed_alive: placed != role.old && site.accepts(role, &placed),
        live: site.live(role),
        marked: role.host.read("inventory.toml").contains("contained = {"),
    }
}
