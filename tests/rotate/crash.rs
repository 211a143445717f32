//! Killed in the middle, then taken up: it ends as an undisturbed run does. Of verdicts, exit
//! codes, live credentials at each server, and places.

use std::time::{Duration, Instant};

use crate::fleet::{Fleet, Truth};
use crate::lab::Manners;
use crate::outcome::Outcome;

pub(crate) const CONTAIN: [&str; 3] = ["--role", "mail-agent", "--deliver"];

/// How an undisturbed run ends.
pub(crate) const UNDISTURBED: &str = "\
contain exit 0
mail-agent/cache: dead, revoke accepted, control new, made-up refused; new delivered
  in dotenv:~/agent.env#REDIS_URL::url.password (in-use)
mail-agent/model: dead, revoke accepted, control new, made-up refused; new delivered
  in dotenv:~/agent.env#OPENAI_API_KEY (in-use)";

pub(crate) const REPLACED: Truth = Truth { old_alive: 0, replaced: 2, passwords: 1, keys: 2 };

/// What a crash may leave in the report, and an undisturbed run does not: an orphan, named and
/// ended.
fn without_orphans(outcome: &Outcome) -> String {
    let table = outcome.table();
    let lines = table.lines().filter(|line| *line != "  orphan, revoked true");
    lines.collect::<Vec<_>>().join("\n")
}

/// Begins a contain, kills it so long after stderr said `text`, and takes it up.
fn killed_after(text: &str, later_ms: u64) {
    let Some(fleet) = Fleet::new() else { return };
    let mut run = fleet.host.start(&CONTAIN);
    run.hear(text);
    std::thread::sleep(Duration::from_millis(later_ms));
    run.kill();
    let outcome = fleet.host.rotate(&["resume"]);
    let point = format!("killed {later_ms} ms after \"{text}\"");
    assert_eq!(without_orphans(&outcome), UNDISTURBED, "{point}\n{}", outcome.stderr);
    assert_eq!(fleet.truth(), REPLACED, "{point}");
    let again = fleet.host.rotate(&["resume"]);
    assert_eq!((again.code, again.stderr.lines().next()), (Some(2), Some("error: no run is open")));
}

#[test]
fn undisturbed() {
    let Some(fleet) = Fleet::new() else { return };
    let outcome = fleet.host.rotate(&CONTAIN);
    assert_eq!(outcome.table(), UNDISTURBED);
    assert_eq!(fleet.truth(), REPLACED);
}

#[test]
fn killed_before_it_revoked() {
    killed_after("run 2", 0);
    killed_after("use the old one  accepted", 0);
}

#[test]
fn killed_while_it_revoked() {
    killed_after("revoke  accepted", 0);
    killed_after("evict  accepted", 3);
}

#[test]
fn killed_while_it_issued() {
    killed_after("generate  held", 0);
    killed_after("issue  issued, sealed", 0);
    killed_after("issue  issued, sealed", 5);
}

#[test]
fn killed_while_it_delivered_and_proved() {
    killed_after("use the new one  accepted", 0);
    killed_after("deliver  written", 0);
    killed_after("use the old one  refused", 0);
    killed_after("use the old one  refused", 700);
}

/// Waits until the server has heard a request that begins so.
fn heard(fleet: &Fleet, request: &str) {
    let begun = Instant::now();
    while !fleet.openai.seen().iter().any(|seen| seen.request.starts_with(request)) {
        assert!(begun.elapsed() < Duration::from_secs(30), "never asked: {request}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// The server has done what was asked, and nobody was there to hear it.
fn killed_before_the_answer(request: &str) -> Option<(Fleet, Outcome)> {
    let fleet = Fleet::new()?;
    fleet.openai.misbehave(request, Manners::AnswerLost);
    let run = fleet.host.start(&CONTAIN);
    heard(&fleet, request);
    run.kill();
    fleet.openai.behave();
    let outcome = fleet.host.rotate(&["resume"]);
    Some((fleet, outcome))
}

#[test]
fn killed_before_the_answer_to_a_revocation() {
    let Some((fleet, outcome)) = killed_before_the_answer("DELETE ") else { return };
    assert_eq!(outcome.table(), UNDISTURBED, "{}", outcome.stderr);
    assert_eq!(fleet.truth(), REPLACED);
}

/// What was issued has no bytes here: it is found by its label, ended, and issued anew.
#[test]
fn killed_before_the_answer_to_an_issue() {
    let Some((fleet, outcome)) = killed_before_the_answer("POST ") else { return };
    assert_eq!(outcome.table(), format!("{UNDISTURBED}\n  orphan, revoked true"));
    assert_eq!(fleet.truth(), REPLACED);
}

/// The place is written, and its user was being told.
#[test]
fn killed_while_a_place_was_reloaded() {
    let Some(fleet) = Fleet::new() else { return };
    // The first time it takes longer than the run lives.
    fleet.host.put("reload.sh", "if [ ! -e DIR/reloading ]; then : >DIR/reloading; sleep 3; fi\n");
    fleet.inventory("reload   = [\"sh\", \"DIR/reload.sh\"]\n");
    let run = fleet.host.start(&CONTAIN);
    let begun = Instant::now();
    while !fleet.host.path("reloading").exists() {
        assert!(begun.elapsed() < Duration::from_secs(30), "never reloaded");
        std::thread::sleep(Duration::from_millis(5));
    }
    run.kill();
    let outcome = fleet.host.rotate(&["resume"]);
    let wanted = UNDISTURBED.replace("OPENAI_API_KEY (in-use)", "OPENAI_API_KEY (reloaded)");
    assert_eq!(outcome.table(), wanted, "{}", outcome.stderr);
    assert_eq!(fleet.truth(), REPLACED);
}
