//! A contain takes a role from a rehearsal that stands at one of its steps: its call is on the way
//! and not answered. It is told to stop, and ended where it does not; or it was killed before.
//! Everything it had made is burned too, and nothing lives in the end but what the contain holds.

use std::time::{Duration, Instant};

use crate::cell::{Ran, nameless, todo_of};
use crate::fault::Blow;
use crate::site::{Cell, Site};

/// A rehearsal comes to its last verb within a fraction of this on a machine with nothing to spare.
const PATIENCE: Duration = Duration::from_secs(40);

/// Stands a rehearsal still at the first call that this blow strikes and contains the role, after
/// the rehearsal was killed or while it stands there. None where it never makes such a call.
pub(crate) fn run(site: &dyn Site, number: usize, blow: Blow, killed: bool) -> Option<Ran> {
    let cell = site.open(number, Some(blow));
    let mut rehearsal = cell.host.start(&["rehearse", "--role", "mail-agent", "--wait", "30s"]);
    let begun = Instant::now();
    while !cell.seen().iter().any(|exchange| exchange.struck.is_some()) {
        if rehearsal.is_over() || begun.elapsed() > PATIENCE {
            return None;
        }
        std::thread::sleep(Duration::from_millis(10));
    }
    // The server has done it by then, where it is to be done.
    std::thread::sleep(Duration::from_millis(200));
    let rehearsal = match killed {
        true => {
            rehearsal.kill();
            None
        }
        false => Some(rehearsal),
    };
    let contain = cell.host.start(&["--role", "mail-agent", "--wait", "30s"]).end();
    let mut ran = Ran::of(&contain, &cell.seen());
    let mut said = contain.report.to_string();
    let mut must = |holds: bool, what: &str| {
        if !holds {
            ran.violations.push(what.to_owned());
        }
    };
    if let Some(rehearsal) = rehearsal {
        let rehearsed = rehearsal.end();
        let gave_way = matches!(rehearsed.code, Some(130) | None);
        must(gave_way, "the rehearsal went on to its end");
        let taken = contain.stderr.contains("taking mail-agent over from run ");
        must(taken && contain.stderr.contains("(rehearse), process "), "nobody is told from whom");
        said += &rehearsed.report.to_string();
        must(
            !rehearsed.report.is_null() || rehearsed.code.is_none(),
            "a rehearsal that stopped has no report",
        );
    }
    let was_held = contain.stderr.contains("is held by");
    must(!was_held, "a lock has outlived its process, or whoever had it gave no way");
    judge(site, &cell, &contain.report, &said, &mut must);
    Some(ran)
}

fn judge(
    site: &dyn Site,
    cell: &Cell,
    report: &serde_json::Value,
    said: &str,
    must: &mut impl FnMut(bool, &str),
) {
    must(!site.accepts(cell, &cell.old), "the old one is taken");
    let placed = site.placed(cell);
    must(!site.accepts(cell, &placed), "what lies in the place of a contained role is taken");
    let credentials = report["credentials"].as_array().map_or(&[][..], Vec::as_slice);
    let alive = credentials.iter().any(|one| one["old"]["verdict"] == "alive");
    must(!alive, "something is said to be alive, and nothing is");
    let held = credentials.first().is_some_and(|one| one["new"]["state"] == "held");
    let left = credentials.iter().flat_map(|one| todo_of(one)).count();
    // A grant that the rehearsal has spent brings no other: a person is told to consent anew.
    must(held || left > 0, "no new one is held, and nobody is told");
    let live = site.live(cell);
    let unnamed = live.iter().filter(|name| !said.contains(name.as_str())).count();
    let without_name = live.iter().any(|name| name.ends_with("without a name"));
    let told = credentials.iter().flat_map(|one| todo_of(one)).any(|todo| {
        todo.contains("may have been") || todo.starts_with("look for unrecognised credentials")
    });
    let told = told || said.contains("may have been");
    let strangers: usize = credentials.iter().map(nameless).sum();
    let one_is_held = without_name && unnamed <= usize::from(held) + strangers;
    must(unnamed == 0 || one_is_held || told, "something lives that nobody names");
}
