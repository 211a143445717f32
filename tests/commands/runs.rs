//! `rotate runs`: what was practised and what was an incident, and how fast each was.

use std::fs::{DirBuilder, File};
use std::os::unix::fs::DirBuilderExt as _;
use std::time::{Duration, Instant};

use serde_json::json;

use crate::acme::Manners;
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
    host.acme.treat("GET /v1/keys", Manners::Silence);
    let mut run = host.start(&["--role", "calendar"]);
    until(|| host.acme.seen().iter().any(|line| line == "GET /v1/keys"));
    let running = host.rotate(&["runs", "--format", "json"]).json();
    assert_eq!(each(&running, "state"), ["running"]);
    assert!(running[0]["held_by"].as_str().unwrap().contains(&run.id().to_string()));
    run.kill().unwrap();
    run.wait().unwrap();
    let ran = host.rotate(&["runs"]);
    assert!(ran.stdout.contains("open: rotate resume "), "{}", ran.stdout);
    assert_eq!(ran.code, 0);
}

/// A run of what stdin held is of no role, and a verification holds none; their journals have one
/// writer all the same.
#[test]
fn a_run_that_holds_no_role_is_driven_by_one_process() {
    for arguments in [&["verify"][..], &["revoke", "-", "--providers", "PROVIDERS"]] {
        let host = Host::new();
        host.acme.treat("DELETE", Manners::Lie);
        host.report(&["--role", "calendar"]);
        let providers = providers(&host);
        host.put("stdin", &host.keys[0].secret);
        host.acme.treat("", Manners::Silence);
        let before = host.acme.seen().len();
        let arguments: Vec<_> = arguments
            .iter()
            .map(|word| if *word == "PROVIDERS" { providers.as_str() } else { word })
            .collect();
        let mut command = host.command(&arguments);
        command.stdin(File::open(host.path("stdin")).unwrap());
        let mut driver = command.spawn().unwrap();
        until(|| host.acme.seen().len() > before);

        let runs = host.rotate(&["runs", "--format", "json"]).json();
        let run = runs[0]["run"].as_str().unwrap();
        assert_eq!(runs[0]["state"], "running");
        let process = format!("process {} on ", driver.id());
        assert!(runs[0]["held_by"].as_str().unwrap().starts_with(&process), "{runs:#}");

        let second = host.rotate(&["resume", run]);
        assert_eq!(second.code, 1, "{}", second.stderr);
        let held = format!("error: run {run} is held by {process}");
        assert!(second.stderr.starts_with(&held), "{}", second.stderr);
        let hint = format!("hint: follow it: rotate report {run}\n");
        assert!(second.stderr.ends_with(&hint), "{}", second.stderr);
        insta::allow_duplicates! {
            insta::assert_snapshot!(host.rotate(&["resume"]).transcript(&host), @r#"
            error: every run that is open is under way
            hint: look who drives it: rotate runs
            [exit 2]
            "#);
        }
        assert!(driver.try_wait().unwrap().is_none(), "it goes on");

        driver.kill().unwrap();
        driver.wait().unwrap();
        let runs = host.rotate(&["runs", "--format", "json"]).json();
        assert_eq!(runs[0]["state"], "open", "the lock died with its process");
    }
}

/// A folder with the built-in file at this host's address.
fn providers(host: &Host) -> String {
    let moved = format!("replaces = \"acme\"\nbase = {:?}", host.acme.base);
    let file = include_str!("../../providers/acme.toml");
    let file = file.replace("base    = \"inventory\"", &moved);
    let folder = host.path("providers");
    DirBuilder::new().mode(0o700).create(&folder).unwrap();
    host.put("providers/acme.toml", &file);
    folder.display().to_string()
}

#[test]
fn a_run_that_was_killed_is_taken_up_and_leaves_no_lock() {
    let host = Host::new();
    host.acme.treat_times(1, "GET /v1/keys", Manners::Silence);
    let mut run = host.start(&["--role", "calendar"]);
    until(|| host.acme.seen().iter().any(|line| line == "GET /v1/keys"));
    run.kill().unwrap();
    run.wait().unwrap();
    let resumed = host.rotate(&["resume"]);
    assert_eq!(resumed.code, 3, "{}", resumed.stderr);
    let locks = std::fs::read_dir(host.path("state/rotate/locks")).unwrap();
    let mut names: Vec<_> = locks.map(|one| one.unwrap().file_name()).collect();
    names.sort();
    assert_eq!(names, [".set-up", "calendar.lock"]);
}

/// What a killed run asked the provider for may be unanswered: nothing is built on it before it was
/// gone on with.
#[test]
fn a_contain_that_was_killed_is_gone_on_with_before_a_restore_or_a_verify() {
    let host = Host::new();
    host.acme.treat_times(1, "POST /v1/keys", Manners::AnswerLost);
    let mut run = host.start(&["--role", "calendar"]);
    until(|| host.acme.issued().len() == 1);
    let id =
        host.rotate(&["runs", "--format", "json"]).json()[0]["run"].as_str().unwrap().to_owned();
    let restore = ["restore", "--role", "calendar", "--because", "mended"];
    for arguments in [&restore[..], &["verify", &id]] {
        let held = host.rotate(arguments);
        assert_eq!(held.code, 1, "{}", held.stderr);
        assert!(held.stderr.starts_with(&format!("error: run {id} is held by process ")));
    }
    run.kill().unwrap();
    run.wait().unwrap();
    for arguments in [&restore[..], &["verify"], &["verify", &id]] {
        insta::allow_duplicates! {
            insta::assert_snapshot!(host.rotate(arguments).transcript(&host), @r#"
            error: run RUN (contain) was cut short and is open
            hint: go on with it first: rotate resume RUN
            [exit 2]
            "#);
        }
    }
    assert_eq!(host.acme.issued().len(), 1, "nothing was made besides");
    host.report(&["resume", &id]);
    let restored = host.report(&restore);
    assert_eq!(restored["credentials"][0]["new"]["state"], "delivered", "{restored:#}");
    assert!(host.acme.is_alive(&host.placed("calendar")));
    assert_eq!(host.acme.issued().len(), 1, "the lost one is ended");
}

/// The disk that a role was contained from is not the disk of whoever restores it.
#[test]
fn what_was_contained_under_a_root_is_not_restored_beside_it() {
    let host = Host::new();
    let (place, root) = (host.path("calendar.env"), host.path("disk"));
    let there = root.join(place.strip_prefix("/").unwrap());
    std::fs::create_dir_all(there.parent().unwrap()).unwrap();
    std::fs::rename(&place, &there).unwrap();
    host.report(&["--role", "calendar", "--root", root.to_str().unwrap()]);
    assert!(!host.alive()[1]);
    let before = std::fs::read(&there).unwrap();
    let restore = host.rotate(&["restore", "--role", "calendar", "--because", "mended"]);
    insta::assert_snapshot!(restore.transcript(&host), @r#"
    error: calendar was contained under --root DIR/disk; its places are not on this host
    hint: put the new ones in place by hand: rotate escrow open RUN CREDENTIAL; or contain it anew where its places are, and restore it there: rotate --role calendar
    [exit 2]
    "#);
    assert!(!place.exists() && std::fs::read(&there).unwrap() == before);
}

fn until(done: impl Fn() -> bool) {
    let begun = Instant::now();
    while !done() {
        assert!(begun.elapsed() < Duration::from_secs(30));
        std::thread::sleep(Duration::from_millis(5));
    }
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

/// One record is no longer what was written, or the last one is missing.
#[test]
fn a_closed_run_whose_journal_is_damaged_is_not_taken_at_its_word() {
    for (change, where_) in [
        ("UPDATE record SET json = json || ' ' WHERE n = 3", "breaks at record 3"),
        ("DELETE FROM record WHERE n = LAST", "had more records"),
        ("UPDATE record SET hash = x'00' WHERE n = LAST", "was damaged"),
    ] {
        let host = Host::new();
        assert_eq!(host.report(&["--role", "calendar"])["exit_code"], 3);
        host.report(&["--role", "rooms"]);
        let newest = &host.rotate(&["runs", "--format", "json"]).json()[0];
        let run = newest["run"].as_str().unwrap();
        let last = format!("(SELECT max(n) FROM record WHERE run = '{run}')");
        let of_run = format!("{} AND run = '{run}'", change.replace("LAST", &last));
        assert_eq!(host.journal().execute(&of_run, []).unwrap(), 1);

        let listed = host.rotate(&["runs"]);
        assert_eq!(listed.code, 1, "{}", listed.stdout);
        for told in [&listed.stdout, &listed.stderr] {
            assert!(told.lines().any(|line| line.contains(where_)), "{told}");
        }
        assert!(listed.stdout.contains("exit code 3"), "the other run: {}", listed.stdout);
        let [of_rooms, of_calendar] = <[_; 2]>::try_from(
            host.rotate(&["runs", "--format", "json"]).json().as_array().unwrap().clone(),
        )
        .unwrap();
        assert!(of_rooms["damaged"].as_str().unwrap().contains(where_), "{of_rooms:#}");
        assert_eq!((&of_rooms["exit_code"], &of_rooms["dead"]), (&json!(1), &json!(0)));
        assert_eq!((&of_calendar["damaged"], &of_calendar["dead"]), (&json!(null), &json!(1)));

        let report = host.report(&["report"]);
        assert!(report["failed"].as_str().unwrap().contains(where_), "{report:#}");
        assert_eq!((&report["exit_code"], &report["run"]), (&json!(1), &json!(run)));
        let page = host.rotate(&["report", run]);
        assert!(page.stdout.contains("unproved") && page.code == 1, "{}", page.stdout);
    }
}
