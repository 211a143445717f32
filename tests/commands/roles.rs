//! Several roles in one run: named, found by what passed through, or delegated to.

use std::time::{Duration, Instant};

use crate::acme::Manners;
use crate::host::{Host, Ran, each};

#[test]
fn one_role_leaves_its_delegates_alive_and_says_so() {
    let host = Host::new();
    let report = host.report(&["--role", "mail"]);
    assert_eq!(each(&report["credentials"], "id"), ["mail/inbox", "rooms/booking"]);
    assert_eq!(host.alive(), [false, true, false]);
    let left = each(&report["todo"], "what");
    assert!(left[0].starts_with("calendar stays alive"), "{left:?}");
    assert!(left[1].starts_with("rooms stays alive"), "{left:?}");
    assert_eq!(report["exit_code"], 3);
}

#[test]
fn with_delegates_everybody_in_the_circle_is_contained_and_what_is_shared_goes_once() {
    let host = Host::new();
    let report = host.report(&["--role", "mail", "--with-delegates"]);
    assert_eq!(report["roles"], serde_json::json!(["mail", "calendar", "rooms"]));
    let ids = each(&report["credentials"], "id");
    assert_eq!(ids, ["mail/inbox", "rooms/booking", "calendar/events"]);
    assert_eq!(host.alive(), [false; 3]);
    assert_eq!(host.acme.issued().len(), 3, "each is issued once");
    let revoked = host.acme.seen().into_iter().filter(|line| line.starts_with("DELETE"));
    assert_eq!(revoked.count(), 3, "each is revoked once");
    let because = each(&report["role_details"], "because");
    assert_eq!(because, ["-", "mail delegates to it", "calendar delegates to it"]);
    assert_eq!(report["exit_code"], 0, "{report:#}");
    for role in ["mail", "calendar", "rooms"] {
        let refused = host.rotate(&["rehearse", "--role", role]);
        assert_eq!(refused.code, 2, "{role} stays contained: {}", refused.stderr);
    }
    let restored =
        host.report(&["restore", "--role", "mail", "--role", "rooms", "--because", "ok"]);
    assert_eq!(each(&restored["credentials"], "id"), ["mail/inbox", "rooms/booking"]);
    assert_eq!(restored["exit_code"], 0, "{restored:#}");
    assert!(host.acme.is_alive(&host.placed("mail")) && host.acme.is_alive(&host.placed("rooms")));
    assert!(!host.acme.is_alive(&host.placed("calendar")));
}

#[test]
fn what_passed_through_a_server_takes_its_roles_along() {
    let host = Host::new();
    let report = host.report(&["--through", "mcp:notion"]);
    assert_eq!(report["roles"], serde_json::json!(["mail", "rooms"]));
    assert_eq!(host.alive(), [false, true, false]);

    let unknown = host.rotate(&["--through", "mcp:notoin"]);
    insta::assert_snapshot!(unknown.transcript(&host), @r#"
    error: no credential of the inventory passed through mcp:notoin; did you mean mcp:notion?
    hint: write it as the inventory marks it: through = ["mcp:notion"]
    [exit 2]
    "#);
}

#[test]
fn the_plan_says_who_is_in_it_and_why() {
    let host = Host::new();
    let plan = host.rotate(&[
        "--through",
        "mcp:notion",
        "--with-delegates",
        "--dry-run",
        "--format",
        "json",
    ]);
    let plan = plan.json();
    let warnings: Vec<_> =
        plan["warnings"].as_array().unwrap().iter().map(|it| it.as_str().unwrap()).collect();
    assert_eq!(
        warnings[..3],
        [
            "mail is in it: inbox passed through mcp:notion",
            "rooms is in it: booking passed through mcp:notion",
            "calendar is in it: mail delegates to it",
        ]
    );
    assert_eq!(host.alive(), [true; 3]);
}

/// Another responder contains one of the roles at that moment: the others do not wait.
#[test]
fn a_role_that_another_run_has_keeps_no_other_alive() {
    let host = Host::new();
    host.acme.treat("GET /v1/me", Manners::Late(Duration::from_secs(2)));
    let first = host.start(&["--role", "calendar"]);
    until(|| !host.alive()[1]);
    let report = host.report(&["--role", "mail", "--role", "calendar"]);
    assert_eq!(report["roles"], serde_json::json!(["mail"]));
    assert!(!host.alive()[0]);
    let left = each(&report["todo"], "what");
    assert!(left.iter().any(|it| it.starts_with("calendar is contained by run")), "{left:?}");
    assert_eq!(report["exit_code"], 3);
    assert_eq!(Ran::of(first).code, 3);
}

fn until(done: impl Fn() -> bool) {
    let begun = Instant::now();
    while !done() {
        assert!(begun.elapsed() < Duration::from_secs(30));
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// What the first run was not asked for is in nobody's hand: the second one ends it.
#[test]
fn who_asks_for_more_than_the_run_that_is_followed_did_gets_it() {
    let host = Host::new();
    host.acme.treat("GET /v1/me", Manners::Late(Duration::from_secs(2)));
    let first = host.start(&["--role", "mail", "--only", "acme/inbox"]);
    until(|| !host.alive()[0]);
    let second = host.rotate(&["--role", "mail", "--format", "json"]);
    assert!(second.stderr.contains("; following it"), "{}", second.stderr);
    let report = second.json();
    let ids = each(&report["credentials"], "id");
    assert_eq!(ids[..2], ["mail/inbox", "rooms/booking"], "{}", second.stderr);
    assert_eq!(host.alive(), [false, true, false]);
    assert!(Ran::of(first).stdout.contains("mail/inbox"));
    // Those of the first are ended, too.
    let living = host.acme.issued().len();
    assert_eq!(living, 2, "{report:#}");
}

/// Each of two others has a role: neither speaks for both.
#[test]
fn roles_that_two_others_have_are_both_followed_and_told_by_one_report() {
    let host = Host::new();
    // Long enough that both are under way when the third one comes.
    let inventory = std::fs::read_to_string(host.path("inventory.toml")).unwrap();
    host.put("inventory.toml", &inventory.replace("\"3s\"", "\"6s\""));
    host.acme.treat("GET /v1/me", Manners::Late(Duration::from_secs(1)));
    host.acme.treat_times(1, "DELETE", Manners::Lie);
    let rooms = host.start(&["--role", "rooms"]);
    until(|| host.acme.seen().iter().any(|line| line.starts_with("DELETE")));
    let calendar = host.start(&["--role", "calendar"]);
    until(|| !host.alive()[1]);
    host.acme.treat("DELETE", Manners::Lie);
    let both = host.rotate(&["--role", "calendar", "--role", "rooms", "--format", "json"]);
    for role in ["calendar", "rooms"] {
        let follows = format!("role {role} is held by run ");
        assert!(both.stderr.contains(&follows), "{}", both.stderr);
    }
    assert!(host.alive()[2]);
    let report = both.json();
    assert_eq!(report["roles"], serde_json::json!(["calendar", "rooms"]));
    assert_eq!((both.code, &report["exit_code"]), (4, &serde_json::json!(4)), "{}", both.stderr);
    assert_eq!((Ran::of(calendar).code, Ran::of(rooms).code), (3, 4));
}

/// A run that issues nothing is no answer to who asks for a new one in its place.
#[test]
fn who_asks_for_a_delivery_beside_a_run_that_revokes_only_gets_one() {
    let host = Host::new();
    host.acme.treat("GET /v1/me", Manners::Late(Duration::from_secs(2)));
    let first = host.start(&["--role", "calendar", "--revoke-only"]);
    until(|| !host.alive()[1]);
    let report = host.report(&["--role", "calendar", "--deliver"]);
    assert_eq!(report["credentials"][0]["new"]["state"], "delivered", "{report:#}");
    assert!(host.acme.is_alive(&host.placed("calendar")));
    assert!(!Ran::of(first).stdout.contains(report["run"].as_str().unwrap()));
}

/// A contain of two roles, then of one of them, then of both: what was held in between is ended
/// once, by the run that is its last word.
#[test]
fn roles_that_were_contained_together_and_apart() {
    let host = Host::new();
    host.report(&["--role", "mail", "--role", "calendar"]);
    host.report(&["--role", "mail"]);
    let report = host.report(&["--role", "mail", "--role", "calendar"]);
    assert_eq!(host.acme.issued().len(), 3, "one live new one each\n{report:#}");
    let leftovers = each(&report["credentials"], "id");
    let leftovers: Vec<_> = leftovers.into_iter().filter(|id| id.contains('@')).collect();
    assert_eq!(leftovers.len(), 2, "{leftovers:?}");
    assert_eq!(each(&report["credentials"], "id").len(), 5);
}
