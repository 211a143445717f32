//! What a verify saw of a run is what is known of it from then on, whoever asks.

use std::fs;
use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::time::Duration;

use serde_json::{Value, json};

use crate::acme::Manners;
use crate::host::{Host, each};

const PROBE: &str = "GET /v1/me";

/// A contain of `calendar` whose old one lived on, for its provider said what was not so.
fn contained(host: &Host) -> Value {
    contained_with(host, &[])
}

fn contained_with(host: &Host, more: &[&str]) -> Value {
    host.acme.treat_times(1, "DELETE", Manners::Lie);
    let report = host.report(&[&["--role", "calendar"], more].concat());
    assert_eq!((verdict(&report), &report["exit_code"]), ("alive", &json!(4)));
    report
}

fn verdict(report: &Value) -> &str {
    report["credentials"][0]["old"]["verdict"].as_str().unwrap()
}

fn todo(report: &Value) -> Vec<&str> {
    each(&report["credentials"][0]["todo"], "what")
}

fn run(report: &Value) -> &str {
    report["run"].as_str().unwrap()
}

/// A person ends the old one of `calendar` at the provider.
fn end_by_hand(host: &Host) {
    end(host, &host.keys[1].id);
    assert!(!host.alive()[1]);
}

fn end(host: &Host, id: &str) {
    let (base, admin) = (host.acme.base.strip_prefix("http://").unwrap(), host.acme.admin());
    let mut stream = TcpStream::connect(base).unwrap();
    let line = format!("DELETE /v1/keys/{id} HTTP/1.1\r\nhost: {base}\r\n");
    let rest = format!("authorization: Bearer {admin}\r\nconnection: close\r\n\r\n");
    stream.write_all(format!("{line}{rest}").as_bytes()).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    assert!(answer.starts_with("HTTP/1.1 204"), "{answer}");
}

#[test]
fn what_a_person_ended_is_dead_to_a_restore_and_to_the_next_contain() {
    let host = Host::new();
    let first = contained(&host);
    end_by_hand(&host);
    let done = host.report(&["done", run(&first), "calendar/events"]);
    assert_eq!((verdict(&done), &done["exit_code"]), ("dead", &json!(0)));
    let restored = host.report(&["restore", "--role", "calendar", "--because", "mended"]);
    for report in [&restored, &host.report(&["report", run(&first)])] {
        let old = &report["credentials"][0]["old"];
        assert_eq!((&old["verdict"], &old["revoke"]), (&json!("dead"), &json!("by-hand")));
        assert_eq!(todo(report), Vec::<&str>::new(), "{report:#}");
    }
    assert_eq!((&restored["of"]["run"], &restored["exit_code"]), (&first["run"], &json!(0)));
    let next = host.report(&["--role", "calendar"]);
    assert_eq!(each(&next["credentials"], "id"), ["calendar/events"]);
}

/// A restore repeats what its contain said, and a verify of that speaks of both.
#[test]
fn what_is_proved_after_a_first_restore_is_known_to_it_and_to_the_next() {
    let host = Host::new();
    let first = contained(&host);
    let place = host.path("calendar.env");
    let held = fs::read_to_string(&place).unwrap();
    host.put("calendar.env", "KEY=somebody else's\n");
    let restore = ["restore", "--role", "calendar", "--because", "mended"];
    let stuck = host.report(&restore);
    assert_eq!((verdict(&stuck), &stuck["exit_code"]), ("alive", &json!(4)));
    end_by_hand(&host);
    host.report(&["done", run(&first), "calendar/events"]);
    assert_eq!(verdict(&host.report(&["report", run(&stuck)])), "dead");
    host.put("calendar.env", &held);
    assert_eq!(verdict(&host.report(&restore)), "dead");
}

#[test]
fn a_verify_that_got_no_answer_undoes_nothing() {
    let host = Host::new();
    // No place holds the old one from then on.
    let first = contained_with(&host, &["--deliver"]);
    host.acme.treat(PROBE, Manners::Silence);
    let verified = host.report(&["verify", "--wait", "1s"]);
    assert_eq!(verdict(&verified), "unproven");
    host.acme.treat(PROBE, Manners::Late(Duration::ZERO));
    let report = host.report(&["report", run(&first)]);
    assert_eq!((verdict(&report), &report["exit_code"]), ("alive", &json!(4)));
    let next = host.report(&["--role", "calendar"]);
    assert!(!host.alive()[1], "{next:#}");
}

/// A verify of a verify is one of the run beneath.
#[test]
fn a_person_may_name_the_verify_that_found_it_alive() {
    let host = Host::new();
    let first = contained(&host);
    let verified = host.report(&["verify"]);
    assert_eq!(verdict(&verified), "alive");
    end_by_hand(&host);
    let done = host.report(&["done", run(&verified), "calendar/events"]);
    assert_eq!((verdict(&done), &done["of"]), ("dead", &verified["of"]));
    assert_eq!(verdict(&host.report(&["report", run(&first)])), "dead");
    let restored = host.report(&["restore", "--role", "calendar", "--because", "mended"]);
    assert_eq!(verdict(&restored), "dead");
}

#[test]
fn what_a_verify_cannot_settle_is_left_as_it_was() {
    let host = Host::new();
    host.acme.treat("POST /v1/keys", Manners::Status(403));
    let first = contained(&host);
    assert_eq!(todo(&first), ["revoke the old calendar/events", "issue a new calendar/events"]);
    end_by_hand(&host);
    host.report(&["verify"]);
    let report = host.report(&["report", run(&first)]);
    assert_eq!(todo(&report), ["issue a new calendar/events"]);
}

/// What the last contain holds is ended by the next, whichever run was proved again between them.
#[test]
fn a_verify_of_an_older_run_hides_nothing_that_is_held() {
    let host = Host::new();
    let first = host.report(&["--role", "calendar"]);
    host.report(&["--role", "calendar"]);
    host.report(&["verify", run(&first)]);
    host.report(&["--role", "calendar"]);
    assert_eq!(host.acme.issued().len(), 1, "the one that is held now");
}

#[test]
fn what_a_damaged_verify_saw_is_not_known() {
    let host = Host::new();
    let first = contained(&host);
    end_by_hand(&host);
    let verified = host.report(&["verify"]);
    let change =
        format!("UPDATE record SET json = json || ' ' WHERE n = 3 AND run = '{}'", run(&verified));
    assert_eq!(host.journal().execute(&change, []).unwrap(), 1);
    let report = host.report(&["report", run(&first)]);
    assert_eq!(verdict(&report), "alive");
    let breaks = format!("the journal of run {} breaks at record 3", run(&verified));
    assert!(report["failed"].as_str().unwrap().contains(&breaks), "{report:#}");
    let restored = host.report(&["restore", "--role", "calendar", "--because", "mended"]);
    assert!(restored["warnings"].to_string().contains(&breaks), "{restored:#}");
    assert_eq!(verdict(&restored), "alive");
}

/// What a verify cannot look at stays as the run left it, also in its own report and exit code.
#[test]
fn a_verify_of_a_run_that_left_work_leaves_it_too() {
    let host = Host::new();
    host.acme.treat("POST /v1/keys", Manners::Status(403));
    let first = host.report(&["--role", "calendar"]);
    assert_eq!((verdict(&first), &first["exit_code"]), ("dead", &json!(3)));
    for verified in [host.report(&["verify", run(&first)]), host.report(&["verify"])] {
        assert_eq!(todo(&verified), ["issue a new calendar/events"], "{verified:#}");
        let credential = &verified["credentials"][0];
        assert_eq!(credential["new"], first["credentials"][0]["new"]);
        assert_eq!((verdict(&verified), &verified["exit_code"]), ("dead", &json!(3)));
    }
}

#[test]
fn a_verify_of_a_clean_run_is_clean() {
    let host = Host::new();
    let first = host.report(&["--role", "rooms", "--deliver"]);
    assert_eq!(verdict(&first), "dead");
    for report in [&first, &host.report(&["verify", run(&first)]), &host.report(&["verify"])] {
        let new = &report["credentials"][0]["new"];
        assert_eq!((&new["state"], todo(report)), (&json!("delivered"), Vec::new()), "{report:#}");
        assert_eq!(verdict(report), "dead");
        assert_eq!(report["credentials"][0]["todo"], json!([]));
    }
}

/// The runbook's way: what was alive is ended by a person, who says so, and asks again.
#[test]
fn what_was_done_is_clean_from_then_on() {
    let host = Host::new();
    let first = contained(&host);
    end_by_hand(&host);
    let done = host.report(&["done", run(&first), "calendar/events"]);
    assert_eq!(done["exit_code"], json!(0), "{done:#}");
    for verify in [&["verify"][..], &["verify", run(&first)], &["verify", run(&done)]] {
        let verified = host.report(verify);
        let new = &verified["credentials"][0]["new"];
        assert_eq!((&new["state"], verdict(&verified)), (&json!("held"), "dead"), "{verified:#}");
        assert_eq!(verified["exit_code"], json!(0), "{verified:#}");
    }
}

/// What a verify uses it speaks of: a new one that is refused since is of no use to anybody.
#[test]
fn a_new_one_that_a_verify_saw_refused_is_to_be_issued_anew() {
    let host = Host::new();
    let first = contained(&host);
    let held = host.acme.keys().into_iter().find(|key| key.name.starts_with("rotate-")).unwrap();
    end(&host, &held.id);
    let verified = host.report(&["verify", run(&first), "--wait", "2s"]);
    assert_eq!(verified["credentials"][0]["new"]["state"], json!("unproven"), "{verified:#}");
    let anew = "issue a new calendar/events: what was issued is refused";
    assert!(todo(&verified).contains(&anew), "{verified:#}");
}
