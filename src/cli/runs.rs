//! `rotate runs`: every run of this installation, rehearsals and incidents alike: how it ended, how
//! fast it was, and whether it can be taken up.

use std::process::ExitCode;

use clap::Args;
use serde::Serialize;

use super::args::{Format, Output, State as StateDir};
use super::exit;
use super::failure::Failure;
use super::line::own;
use super::locking::driver;
use super::run;
use super::session::Session;
use super::table;
use super::terminal::Look;
use crate::drive::Past;
use crate::engine::report::{Report, Stamp, Timings};
use crate::journal::{RunSummary, State};

/// List every run, with its time to contain
///
/// Runs are listed newest first. `open` runs can be taken up with `rotate resume RUN`.
#[derive(Args, Clone, Debug)]
pub(crate) struct Runs {
    /// Each role over time: how fast its rehearsals and incidents were contained
    #[arg(long)]
    trend: bool,
    #[command(flatten)]
    state: StateDir,
    #[command(flatten)]
    pub(crate) output: Output,
}

/// One run.
#[derive(Clone, Debug, Serialize)]
struct Line {
    run: String,
    mode: String,
    roles: Vec<String>,
    started: Stamp,
    finished: Option<Stamp>,
    state: Standing,
    /// Why its journal is not to be relied on: nothing is said of what it came to.
    damaged: Option<String>,
    /// Who drives it.
    held_by: Option<String>,
    exit_code: Option<u8>,
    credentials: usize,
    dead: u32,
    #[serde(flatten)]
    timings: Timings,
}

/// Whether anything is to be done about a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
enum Standing {
    /// A process drives it.
    Running,
    /// It was stopped or killed: `rotate resume` takes it up.
    Open,
    /// It came to its end.
    Closed,
}

/// One role over time.
#[derive(Clone, Debug, Serialize)]
struct Trend {
    role: String,
    /// Oldest first.
    runs: Vec<Point>,
}

/// One run of a trend.
#[derive(Clone, Debug, Serialize)]
struct Point {
    #[serde(flatten)]
    line: Line,
    /// Against the run of the same mode before: how much later the last one was dead, milliseconds.
    change_ms: Option<i64>,
}

impl Runs {
    /// Runs it.
    pub(crate) fn run(self) -> Result<ExitCode, Failure> {
        let session = Session::of_state(&self.state)?;
        let lines = match session.existing_state()? {
            Some(state) => lines(&state)?,
            None => Vec::new(),
        };
        let zone = Look::of_stdout().zone;
        let local = |stamp: Stamp| {
            stamp.timestamp().to_zoned(zone.clone()).strftime("%Y-%m-%d %H:%M:%S").to_string()
        };
        let format = self.output.format;
        let text = match (self.trend, format) {
            (false, Format::Json) => run::json(&lines)?,
            (true, Format::Json) => run::json(&trends(&lines))?,
            _ if lines.is_empty() => "no run is known here\n".to_owned(),
            (false, _) => table::of(format, &HEAD, &rows(&lines, local)),
            (true, _) => {
                let trends = trends(&lines);
                let pages = trends.iter().map(|trend| page(trend, &local, format));
                pages.collect::<Vec<_>>().join("\n")
            }
        };
        let shown = run::shown(&text);
        let damaged: Vec<&str> = lines.iter().filter_map(|line| line.damaged.as_deref()).collect();
        if damaged.is_empty() {
            return Ok(shown);
        }
        Err(Failure::own(damaged.join("; ")).hint(
            "save a copy of the state directory as evidence; what was reported: rotate report RUN",
        ))
    }
}

const HEAD: [&str; 8] =
    ["RUN", "MODE", "ROLES", "STARTED", "FIRST REVOKED", "LAST DEAD", "DEAD", "ENDED"];

const TREND: [&str; 6] = ["STARTED", "MODE", "FIRST REVOKED", "LAST DEAD", "CHANGE", "DEAD"];

fn rows(lines: &[Line], local: impl Fn(Stamp) -> String) -> Vec<Vec<String>> {
    let row = |line: &Line| {
        let ended = || match (line.state, line.exit_code, &line.held_by) {
            (Standing::Running, _, Some(holder)) => format!("running: {holder}"),
            (Standing::Running, ..) => "running".to_owned(),
            (Standing::Open, ..) => format!("open: rotate resume {}", line.run),
            (Standing::Closed, Some(code), _) => format!("exit code {code}"),
            (Standing::Closed, None, _) => "closed".to_owned(),
        };
        vec![
            line.run.clone(),
            line.mode.clone(),
            line.roles.join(", "),
            local(line.started),
            seconds(line.timings.first_revoke_ms),
            seconds(line.timings.last_dead_ms),
            format!("{} of {}", line.dead, line.credentials),
            line.damaged.clone().unwrap_or_else(ended),
        ]
    };
    lines.iter().map(row).collect()
}

fn page(trend: &Trend, local: &impl Fn(Stamp) -> String, format: Format) -> String {
    let row = |point: &Point| {
        let change = point.change_ms.map_or("-".to_owned(), |ms| {
            let sign = if ms < 0 { "-" } else { "+" };
            format!("{sign}{}", seconds(Some(ms.unsigned_abs())))
        });
        vec![
            local(point.line.started),
            point.line.mode.clone(),
            seconds(point.line.timings.first_revoke_ms),
            seconds(point.line.timings.last_dead_ms),
            change,
            format!("{} of {}", point.line.dead, point.line.credentials),
        ]
    };
    let rows: Vec<_> = trend.runs.iter().map(row).collect();
    let role = super::terminal::clean(&trend.role);
    let heading = match format {
        Format::Markdown => format!("### {}\n\n", super::markdown::cell_of(&role)),
        Format::Human | Format::Json => format!("{role}\n"),
    };
    format!("{heading}{}", table::of(format, &TREND, &rows))
}

/// Seconds with a tenth: what two runs differ by is not in the milliseconds.
fn seconds(ms: Option<u64>) -> String {
    match ms {
        None => "-".to_owned(),
        Some(ms) if ms < 1_000 => format!("{ms} ms"),
        Some(ms) => format!("{}.{} s", ms / 1_000, ms % 1_000 / 100),
    }
}

fn lines(state: &State) -> Result<Vec<Line>, Failure> {
    let runs = state.runs().map_err(|error| own(&error).hint(error.hint()))?;
    Ok(runs.into_iter().map(|summary| line(state, summary)).collect())
}

fn line(state: &State, summary: RunSummary) -> Line {
    let holder = match summary.closed {
        Some(_) => None,
        None => driver(state, &summary),
    };
    let damaged = state.damage(&summary.run);
    // What cannot be read is listed all the same, without figures.
    let report = match summary.closed {
        _ if damaged.is_some() => None,
        Some(_) => state.report_of(&summary.run).ok().flatten().and_then(|json| read(&json)),
        None => Past::read(state, &summary.run).map(|past| past.run.report()),
    };
    let report = report.unwrap_or_default();
    Line {
        state: match (&summary.closed, &holder) {
            (Some(_), _) => Standing::Closed,
            (None, Some(_)) => Standing::Running,
            (None, None) => Standing::Open,
        },
        held_by: holder.map(|holder| format!("process {} on {}", holder.pid, holder.host)),
        run: summary.run,
        mode: summary.mode,
        roles: summary.roles,
        started: Stamp(summary.started),
        finished: summary.closed.map(Stamp),
        exit_code: match &damaged {
            Some(_) => summary.exit_code.map(exit::unshown),
            None => summary.exit_code,
        },
        damaged,
        credentials: report.credentials.len(),
        dead: report.summary.dead.saturating_add(report.summary.already_dead),
        timings: report.timings,
    }
}

fn read(json: &str) -> Option<Report> {
    serde_json::from_str(json).ok()
}

/// Runs that revoke something, by role, each against the one before of the same mode.
fn trends(lines: &[Line]) -> Vec<Trend> {
    let mut roles: Vec<&String> = lines.iter().flat_map(|line| &line.roles).collect();
    roles.sort();
    roles.dedup();
    let trend = |role: &String| {
        let mut runs: Vec<Point> = Vec::new();
        let of_role = lines.iter().rev().filter(|line| line.roles.contains(role));
        for line in of_role.filter(|line| REVOKING.contains(&line.mode.as_str())) {
            let before = runs.iter().rev().find(|point| point.line.mode == line.mode);
            let before = before.and_then(|point| point.line.timings.last_dead_ms);
            let change = line.timings.last_dead_ms.zip(before).map(|(now, before)| {
                i64::try_from(now).unwrap_or(i64::MAX) - i64::try_from(before).unwrap_or(i64::MAX)
            });
            runs.push(Point { line: line.clone(), change_ms: change });
        }
        Trend { role: role.clone(), runs }
    };
    roles.into_iter().map(trend).filter(|trend| !trend.runs.is_empty()).collect()
}

/// Modes with a time to contain.
const REVOKING: [&str; 3] = ["contain", "revoke-only", "rehearse"];
