//! Somebody makes a credential of the same account in the middle of a contain, while the server's
//! answer to the revocation is on its way. It is told in its class; asked for, it is ended; and
//! what bears the label of another run is left alone.

use std::time::{Duration, Instant};

use serde_json::Value;

use crate::cell::Ran;
use crate::fault::{Blow, Fault, Times};
use crate::site::{Cell, REVOKE, Site};

/// As a run on another host names what it issues.
const ANOTHER_RUN: &str = "rotate-0a1b2c-20261122-031415-abcd-1-1";

/// Longer than a run takes to its first revocation on a machine with nothing to spare.
const PATIENCE: Duration = Duration::from_secs(40);

/// None where nobody can make one beside the run.
pub(crate) fn run(site: &dyn Site, number: usize, ends: bool) -> Option<Ran> {
    let blow = Blow { verb: REVOKE, fault: Fault::Late, times: Times::Once };
    let cell = site.open(number, Some(blow));
    let mut arguments = vec!["--role", "mail-agent", "--wait", "40s"];
    if ends {
        arguments.push("--revoke-strangers");
    }
    let contain = cell.host.start(&arguments);
    wait_for_the_revocation(&cell);
    let theirs = site.mint(&cell, "backup")?;
    let another = site.mint(&cell, ANOTHER_RUN).filter(|_| site.shows_labels());
    let outcome = contain.end();
    let mut ran = Ran::of(&outcome, &cell.seen());
    let mut must = |holds: bool, what: &str| {
        if !holds {
            ran.violations.push(what.to_owned());
        }
    };
    let told = |name: &str| stranger(&outcome.report, name);
    let (class, state) = told(&theirs.name);
    must(class == "minted-during-run", "it is not told in its class");
    let ended = ends && site.ends_by_handle();
    let became = match (ends, ended) {
        (_, true) => "gone",
        (true, false) => "not-revoked",
        (false, false) => "untouched",
    };
    must(state == became, "what became of it is not told");
    must(site.accepts(&cell, &theirs.value) != ended, "what is told of it is not so");
    if let Some(another) = another {
        let left = if ends { "not-revoked" } else { "untouched" };
        must(told(&another.name).1 == left, "another run's is not told to be left");
        must(site.accepts(&cell, &another.value), "another run's is gone");
    }
    must(outcome.code == Some(3), "3 is for whom nobody knows");
    must(!site.accepts(&cell, &cell.old), "the old one is taken");
    Some(ran)
}

fn wait_for_the_revocation(cell: &Cell) {
    let begun = Instant::now();
    while !cell.seen().iter().any(|exchange| exchange.answer.is_some() && exchange.verb == REVOKE) {
        assert!(begun.elapsed() < PATIENCE, "nothing was revoked");
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// Class and state of what the report calls so.
fn stranger(report: &Value, name: &str) -> (String, String) {
    let strangers = report["credentials"][0]["strangers"].as_array();
    let one = strangers.into_iter().flatten().find(|one| one["handle"] == name);
    let word = |key: &str| one.and_then(|one| one[key].as_str()).unwrap_or_default().to_owned();
    (word("class"), word("state"))
}
