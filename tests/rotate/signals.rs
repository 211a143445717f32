//! Ctrl-C stops in good order and can be taken up; a lost terminal changes nothing.

use rustix::process::Signal;

use crate::crash::{CONTAIN, REPLACED, UNDISTURBED};
use crate::fleet::Fleet;

#[test]
fn ctrl_c_stops_with_130_and_resume_goes_on() {
    let Some(fleet) = Fleet::new() else { return };
    let mut run = fleet.host.start(&CONTAIN);
    run.hear("use the old one  refused");
    run.signal(Signal::INT);
    let stopped = run.end();
    assert_eq!(stopped.code, Some(130), "{}", stopped.stderr);
    assert_eq!(stopped.report["stopped_early"], true);
    stopped.table();
    assert_eq!(fleet.truth().old_alive, 0, "what was begun is done");

    let outcome = fleet.host.rotate(&["resume"]);
    assert_eq!(outcome.table(), UNDISTURBED, "{}", outcome.stderr);
    assert_eq!(outcome.run(), stopped.run());
    assert_eq!(fleet.truth(), REPLACED);
}

#[test]
fn ctrl_c_at_the_start_can_be_taken_up() {
    let Some(fleet) = Fleet::new() else { return };
    let mut run = fleet.host.start(&CONTAIN);
    run.hear("revoke  accepted");
    run.signal(Signal::INT);
    let stopped = run.end();
    assert_eq!(stopped.code, Some(130), "{}", stopped.stderr);
    let resumed = fleet.host.rotate(&["resume"]);
    assert_eq!(resumed.table(), UNDISTURBED, "{}\n--\n{}", stopped.stderr, resumed.stderr);
    assert_eq!(fleet.truth(), REPLACED);
}

#[test]
fn a_lost_terminal_changes_nothing() {
    let Some(fleet) = Fleet::new() else { return };
    let mut run = fleet.host.start(&CONTAIN);
    run.hear("revoke  accepted");
    run.signal(Signal::HUP);
    let outcome = run.end();
    assert_eq!(outcome.code, Some(0), "{}", outcome.stderr);
    assert_eq!(fleet.truth(), REPLACED);
}
