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
