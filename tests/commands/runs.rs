//! `rotate runs`: what was practised and what was an incident, and how fast each was.

use serde_json::json;

use crate::host::{Host, each};

#[test]
fn nothing_is_listed_and_nothing_made_where_nothing_ran() {
    let host = Host::new();
    let ran = host.rotate(&["runs"]);
    assert_eq!((ran.code, ran.stdout.as_str()), (0, "no run is known here\n"));
    assert_eq!(host.rotate(&["runs", "--format", "json"]).json(), json!([]));
    assert!(!host.path("state").exists());
}

#[test]
fn who_asks_for_a_run_where_nothing_ran_makes_nothing() {
    let host = Host::new();
    let unknown = "20260101-000000-abcd";
    for arguments in [
        &["report"][..],
        &["verify"],
        &["resume"],
        &["report", unknown],
        &["verify", unknown],
        &["resume", unknown],
        &["done", unknown, "mail/inbox"],
    ] {
        let ran = host.rotate(arguments);
        assert_eq!(ran.code, 2, "{arguments:?}: {}", ran.stderr);
        assert!(!host.path("state").exists(), "{arguments:?}");
    }
}

#[test]
fn every_run_with_its_time_to_contain() {
    let host = Host::new();
    host.report(&["rehearse", "--role", "calendar"]);
    host.report(&["--role", "calendar"]);
    insta::assert_snapshot!(narrow(&host.rotate(&["runs"]).transcript(&host)), @r#"
    RUN  MODE  ROLES  STARTED  FIRST REVOKED  LAST DEAD  DEAD  ENDED
    RUN  contain  calendar  TIME  N s  N s  1 of 1  exit code 3
    RUN  rehearse  calendar  TIME  N s  N s  1 of 1  exit code 3
    [exit 0]
    "#);
    let json = host.rotate(&["runs", "--format", "json"]).json();
    assert_eq!(each(&json, "mode"), ["contain", "rehearse"], "newest first");
    assert_eq!(each(&json, "state"), ["closed", "closed"]);
    let contain = &json[0];
    assert!(contain["first_revoke_ms"].as_u64() < contain["last_dead_ms"].as_u64(), "{contain}");
    assert_eq!((contain["dead"].as_u64(), contain["credentials"].as_u64()), (Some(1), Some(1)));
    insta::assert_snapshot!(host.rotate(&["runs", "--format", "markdown"]).transcript(&host), @r#"
    | run | mode | roles | started | first revoked | last dead | dead | ended |
    |---|---|---|---|---|---|---|---|
    | `RUN` | contain | calendar | `TIME` | N s | N s | 1 of 1 | exit code 3 |
    | `RUN` | rehearse | calendar | `TIME` | N s | N s | 1 of 1 | exit code 3 |
    [exit 0]
    "#);
}

#[test]
fn a_run_that_was_killed_is_open_and_one_that_runs_says_who_drives_it() {
    let host = Host::new();
    host.acme.treat("GET /v1/keys", crate::acme::Manners::Silence);
    let mut run = host.start(&["--role", "calendar"]);
    let begun = std::time::Instant::now();
    while !host.acme.seen().iter().any(|line| line == "GET /v1/keys") {
        assert!(begun.elapsed() < std::time::Duration::from_secs(30));
        std::thread::sleep(std::time::Duration::from_millis(5));
    }
    let running = host.rotate(&["runs", "--format", "json"]).json();
    assert_eq!(each(&running, "state"), ["running"]);
    assert!(running[0]["held_by"].as_str().unwrap().contains(&run.id().to_string()));
    run.kill().unwrap();
    run.wait().unwrap();
    let ran = host.rotate(&["runs"]);
    assert!(ran.stdout.contains("open: rotate resume "), "{}", ran.stdout);
    assert_eq!(ran.code, 0);
}

#[test]
fn each_role_over_time() {
    let host = Host::new();
    host.report(&["rehearse", "--role", "calendar"]);
    host.report(&["rehearse", "--role", "calendar", "--role", "rooms"]);
    let trend = host.rotate(&["runs", "--trend", "--format", "json"]).json();
    assert_eq!(each(&trend, "role"), ["calendar", "rooms"]);
    let calendar = trend[0]["runs"].as_array().unwrap();
    assert!(calendar[0]["change_ms"].is_null() && calendar[1]["change_ms"].is_i64());
    let page = host.rotate(&["runs", "--trend"]).stdout;
    assert!(page.starts_with("calendar\nSTARTED"), "{page}");
    assert!(page.contains("\nrooms\nSTARTED"), "{page}");
}

/// Columns as wide as what was taken out of them say nothing.
fn narrow(text: &str) -> String {
    regex::Regex::new(" {2,}").unwrap().replace_all(text, "  ").into_owned()
}
