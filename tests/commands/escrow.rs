//! `rotate escrow`: what is held, and who had it opened.

use serde_json::json;

use crate::host::{Host, Ran, each, mode_of};

#[test]
fn what_is_held_is_listed_opened_once_and_written_down() {
    let host = Host::new();
    assert_eq!(host.rotate(&["escrow", "list"]).stdout, "nothing is held under seal\n");
    host.report(&["--role", "calendar"]);
    insta::assert_snapshot!(host.rotate(&["escrow", "list"]).transcript(&host), @r#"
    RUN                   CREDENTIAL       WHICH  HANDLE          FINGERPRINT   AGE             OPENED
    RUN  calendar/events  new    KEY  FINGERPRINT  under a minute  never
    [exit 0]
    "#);
    let list = host.rotate(&["escrow", "list", "--format", "json"]).json();
    let run = each(&list, "run")[0].to_owned();
    assert_eq!(
        (each(&list, "credential"), each(&list, "side")),
        (vec!["calendar/events"], vec!["new"])
    );

    let file = host.path("out");
    let open =
        |to: &str| -> Ran { host.rotate(&["escrow", "open", &run, "calendar/events", "--to", to]) };
    let opened = open(file.to_str().unwrap());
    assert_eq!(opened.code, 0, "{}", opened.stderr);
    let secret = std::fs::read_to_string(&file).unwrap();
    assert!(host.acme.is_alive(&secret) && mode_of(&file) == 0o600);
    assert!(!opened.transcript(&host).contains(&secret), "never on a stream");

    let piped = host.rotate(&["escrow", "open", &run, "calendar/events"]);
    assert_eq!((piped.stdout.as_str(), piped.stderr.as_str()), (secret.as_str(), ""));
    let list = host.rotate(&["escrow", "list", "--format", "json"]).json();
    assert_eq!(list[0]["opened"], json!(2));
    let journal = std::fs::read(host.path("state/rotate/journal.sqlite")).unwrap();
    assert!(!journal.windows(secret.len()).any(|bytes| bytes == secret.as_bytes()));
}

#[test]
fn nothing_is_written_over_and_nothing_is_repeated() {
    let host = Host::new();
    host.report(&["--role", "calendar"]);
    let list = host.rotate(&["escrow", "list", "--format", "json"]).json();
    let run = each(&list, "run")[0].to_owned();
    host.put("kept", "mine");
    let kept = host.path("kept");
    let ran =
        host.rotate(&["escrow", "open", &run, "calendar/events", "--to", kept.to_str().unwrap()]);
    insta::assert_snapshot!(ran.transcript(&host), @r#"
    error: DIR/kept cannot be made: File exists (os error 17)
    hint: name a file that is not there yet
    [exit 2]
    "#);
    assert_eq!(std::fs::read_to_string(&kept).unwrap(), "mine");
    let part = host.rotate(&["escrow", "open", &run, "calendar/events", "--part", "sid"]);
    insta::assert_snapshot!(part.transcript(&host), @r#"
    error: it has no such part, or several
    hint: name one: --part secret
    [exit 2]
    "#);
    let wrong = host.rotate(&["escrow", "open", &run, "sk-canary-4f9a"]);
    insta::assert_snapshot!(wrong.transcript(&host), @r#"
    error: nothing of that name is held under seal
    hint: list it: rotate escrow list
    [exit 2]
    "#);
    let list = host.rotate(&["escrow", "list", "--format", "json"]).json();
    assert_eq!(list[0]["opened"], json!(0), "what was not opened is not written down");
}

#[test]
fn what_was_delivered_is_held_no_more() {
    let host = Host::new();
    host.report(&["--role", "calendar", "--deliver"]);
    let held = || host.rotate(&["escrow", "list"]).stdout;
    assert_eq!(held(), "nothing is held under seal\n");
    host.report(&["--role", "calendar"]);
    host.report(&["--role", "calendar"]);
    assert_eq!(held().lines().count(), 2, "the last one alone: the one before it is dead");
    host.report(&["restore", "--role", "calendar", "--because", "mended"]);
    assert_eq!(held(), "nothing is held under seal\n");
}

/// One record of the only run is no longer what was written.
fn damaged(host: &Host) -> String {
    let journal = host.journal();
    let changed = "UPDATE record SET json = json || ' ' WHERE n = 3";
    assert_eq!(journal.execute(changed, []).unwrap(), 1);
    journal.query_row("SELECT run FROM run", [], |row| row.get(0)).unwrap()
}

#[test]
fn what_a_damaged_run_holds_is_not_denied() {
    let host = Host::new();
    host.report(&["--role", "calendar"]);
    let run = damaged(&host);
    insta::assert_snapshot!(host.rotate(&["escrow", "list"]).transcript(&host), @r"
    error: the journal of run RUN breaks at record 3: it holds secrets under seal, and nothing tells whose
    hint: save a copy of the state directory, and revoke what the run's report names by hand
    [exit 1]
    ");
    let open = host.rotate(&["escrow", "open", &run, "calendar/events"]);
    insta::assert_snapshot!(open.transcript(&host), @r"
    error: the journal of run RUN breaks at record 3: it holds secrets under seal, and nothing tells whose
    hint: save a copy of the state directory, and revoke what the run's report names by hand
    [exit 1]
    ");
    let restore = host.rotate(&["restore", "--role", "calendar", "--because", "over"]);
    insta::assert_snapshot!(restore.transcript(&host), @r"
    error: what is held for calendar cannot be told: the journal of run RUN breaks at record 3
    hint: look at what it reported, then contain anew: rotate report RUN
    [exit 1]
    ");
    // What another run holds is listed all the same.
    host.report(&["--role", "rooms"]);
    let list = host.rotate(&["escrow", "list"]);
    assert!(list.stdout.contains("rooms/booking") && list.stderr.contains(&run), "{}", list.stdout);
    assert_eq!(list.code, 1);
}

#[test]
fn what_a_damaged_run_issued_is_no_longer_taken_as_ours() {
    let host = Host::new();
    let held = host.report(&["--role", "calendar"])["credentials"][0]["new"].clone();
    let run = damaged(&host);
    // Once it is another run's successor, and once more.
    for _ in 0..2 {
        let report = host.report(&["--role", "calendar"]);
        let strangers = each(&report["credentials"][0]["strangers"], "handle");
        assert!(strangers.contains(&held["handle"].as_str().unwrap()), "{report:#}");
        let warnings = report["warnings"].to_string();
        assert!(warnings.contains(&format!("the journal of run {run} breaks at record 3")));
        assert_eq!(report["exit_code"], 3);
    }
    let dry = host.rotate(&["--role", "calendar", "--dry-run"]);
    assert!(dry.transcript(&host).contains("breaks at record 3"), "{}", dry.stdout);
}
