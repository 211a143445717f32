//! Providers that misbehave. The verdict is what was seen, the kill is not late, and no new key
//! stays behind unnamed.

use std::thread;
use std::time::Duration;

use crate::acme::{Acme, Manners};
use crate::bench::Bench;

const CONTAIN: &[&str] = &["--role", "mail-agent", "--format", "json"];

/// A contain while requests that begin so are treated so.
fn contain(request: &str, manners: Manners) -> String {
    let bench = Bench::new();
    bench.acme.treat(request, manners);
    bench.rotate(CONTAIN).outcome(&bench)
}

#[test]
fn nothing_out_of_the_ordinary() {
    let bench = Bench::new();
    insta::assert_snapshot!(bench.rotate(CONTAIN).outcome(&bench), @r#"
    $ rotate --role mail-agent --format json
    mail-agent/mail: revoke accepted, dead, new held
    mail-agent/search: revoke accepted, dead, new held
    [exit 0]
    mail dead, its place holds the old one
    search dead, its place holds the old one
    events lives
    2 issued live
    "#);
}

#[test]
fn a_revocation_that_is_a_lie() {
    insta::assert_snapshot!(contain("DELETE", Manners::Lie), @r#"
    $ rotate --role mail-agent --format json
    mail-agent/mail: revoke accepted, alive, new held
        left: revoke the old mail-agent/mail
    mail-agent/search: revoke accepted, alive, new held
        left: revoke the old mail-agent/search
    [exit 4]
    mail lives, its place holds the old one
    search lives, its place holds the old one
    events lives
    2 issued live
    "#);
}

#[test]
fn a_redirect_is_not_followed() {
    let elsewhere = Acme::start();
    let to = format!("{}/v1/me", elsewhere.base);
    insta::assert_snapshot!(contain("DELETE", Manners::Redirect(to.clone())), @r#"
    $ rotate --role mail-agent --format json
    mail-agent/mail: revoke rejected, alive, new held
        left: revoke the old mail-agent/mail
    mail-agent/search: revoke rejected, alive, new held
        left: revoke the old mail-agent/search
    [exit 4]
    mail lives, its place holds the old one
    search lives, its place holds the old one
    events lives
    2 issued live
    "#);
    insta::assert_snapshot!(contain("GET /v1/me", Manners::Redirect(to)), @r#"
    $ rotate --role mail-agent --format json
    mail-agent/mail: revoke accepted, unproven, new unproven
    mail-agent/search: revoke accepted, unproven, new unproven
    [exit 3]
    mail dead, its place holds the old one
    search dead, its place holds the old one
    events lives
    2 issued live
    "#);
    assert_eq!(elsewhere.seen(), [""; 0]);
}

#[test]
fn revocations_end_in_500_for_ever() {
    insta::assert_snapshot!(contain("DELETE", Manners::Status(500)), @r#"
    $ rotate --role mail-agent --format json
    mail-agent/mail: revoke lost, alive, new held
        left: revoke the old mail-agent/mail
    mail-agent/search: revoke lost, alive, new held
        left: revoke the old mail-agent/search
    [exit 4]
    mail lives, its place holds the old one
    search lives, its place holds the old one
    events lives
    2 issued live
    "#);
}

fn everything_ends_in_500_for_ever() {
    insta::assert_snapshot!(contain("", Manners::Status(500)), @r#"
    $ rotate --role mail-agent --format json
    mail-agent/mail: revoke lost, unproven, new not-issued
        left: revoke the old mail-agent/mail
        left: issue a new mail-agent/mail
        left: a new mail-agent/mail may have been made and lost (1 lost answers)
        left: look for unrecognised credentials beside mail-agent/mail
    mail-agent/search: revoke lost, unproven, new not-issued
        left: revoke the old mail-agent/search
        left: issue a new mail-agent/search
        left: a new mail-agent/search may have been made and lost (1 lost answers)
    [exit 3]
    mail lives, its place holds the old one
    search lives, its place holds the old one
    events lives
    0 issued live
    "#);
}

/// Nobody knows what a 500 did: the list says that it made nothing, it is tried again for as long as
/// the provider's `give_up` says, and no faster than a server in trouble can bear.
fn the_new_one_ends_in_500_for_ever() {
    let bench = Bench::new();
    bench.acme.treat("POST", Manners::Status(500));
    insta::assert_snapshot!(bench.rotate(CONTAIN).outcome(&bench), @r#"
    $ rotate --role mail-agent --format json
    mail-agent/mail: revoke accepted, dead, new not-issued
        left: issue a new mail-agent/mail
    mail-agent/search: revoke accepted, dead, new not-issued
        left: issue a new mail-agent/search
    [exit 3]
    mail dead, its place holds the old one
    search dead, its place holds the old one
    events lives
    0 issued live
    "#);
    let issues = bench.acme.seen().iter().filter(|line| line.starts_with("POST")).count();
    assert!(issues <= 20, "{issues}");
}

fn told_to_wait_with_and_without_for_how_long() {
    for retry_after in [None, Some(1)] {
        let bench = Bench::with("\"1500ms\"", "\"10s\"");
        bench.acme.treat_times(2, "DELETE", Manners::Throttled { retry_after });
        bench.acme.treat_times(2, "POST", Manners::Throttled { retry_after });
        insta::allow_duplicates! {
            insta::assert_snapshot!(bench.rotate(CONTAIN).outcome(&bench), @r#"
            $ rotate --role mail-agent --format json
            mail-agent/mail: revoke accepted, dead, new held
            mail-agent/search: revoke accepted, dead, new held
            [exit 0]
            mail dead, its place holds the old one
            search dead, its place holds the old one
            events lives
            2 issued live
            "#);
        }
    }
}

/// Told to come back tomorrow, a contain says today what is left.
#[test]
fn told_to_wait_for_ever() {
    let bench = Bench::new();
    bench.acme.treat("DELETE", Manners::Throttled { retry_after: Some(86_400) });
    let ran = bench.rotate(CONTAIN);
    assert_eq!(ran.code, Some(4), "{}", ran.outcome(&bench));
}

#[test]
fn a_list_that_is_no_json() {
    insta::assert_snapshot!(contain("GET /v1/keys", Manners::NotJson), @r#"
    $ rotate --role mail-agent --format json
    mail-agent/mail: revoke accepted, dead, new held
        left: look for unrecognised credentials beside mail-agent/mail
    mail-agent/search: revoke accepted, dead, new held
    [exit 3]
    mail dead, its place holds the old one
    search dead, its place holds the old one
    events lives
    2 issued live
    "#);
}

#[test]
fn a_probe_that_is_no_json() {
    insta::assert_snapshot!(contain("GET /v1/me", Manners::NotJson), @r#"
    $ rotate --role mail-agent --format json
    mail-agent/mail: revoke accepted, unproven, new unproven
    mail-agent/search: revoke accepted, unproven, new unproven
    [exit 3]
    mail dead, its place holds the old one
    search dead, its place holds the old one
    events lives
    2 issued live
    "#);
}

#[test]
fn a_new_one_that_is_no_json() {
    insta::assert_snapshot!(contain("POST", Manners::NotJson), @r#"
    $ rotate --role mail-agent --format json
    mail-agent/mail: revoke accepted, dead, new not-issued
        left: issue a new mail-agent/mail
    mail-agent/search: revoke accepted, dead, new not-issued
        left: issue a new mail-agent/search
    [exit 3]
    mail dead, its place holds the old one
    search dead, its place holds the old one
    events lives
    0 issued live
    "#);
}

/// 1 GB is not read, and half a megabyte that becomes 80 is not unpacked.
#[test]
fn bodies_that_are_too_long() {
    for manners in [Manners::Huge, Manners::Bomb] {
        let bench = Bench::new();
        bench.acme.treat("GET /v1/me", manners);
        let ran = bench.rotate(CONTAIN);
        // Six answers of four megabytes at a time, over what it holds anyway.
        assert!(ran.peak_kib < 200 * 1024, "{} KiB", ran.peak_kib);
        insta::allow_duplicates! {
            insta::assert_snapshot!(ran.outcome(&bench), @r#"
            $ rotate --role mail-agent --format json
            mail-agent/mail: revoke accepted, unproven, new unproven
            mail-agent/search: revoke accepted, unproven, new unproven
            [exit 3]
            mail dead, its place holds the old one
            search dead, its place holds the old one
            events lives
            2 issued live
            "#);
        }
    }
}

#[test]
fn a_secret_echoed_in_a_public_field_is_not_written_down() {
    let bench = Bench::new();
    bench.acme.treat("", Manners::Echo);
    let ran = bench.rotate(CONTAIN);
    let printed = format!("{}{}", ran.stdout, ran.stderr);
    let admin = bench.acme.admin().to_owned();
    for secret in bench.acme.keys().into_iter().map(|key| key.secret).chain([admin]) {
        assert!(!printed.contains(&secret), "{printed}");
    }
    insta::assert_snapshot!(ran.outcome(&bench), @r#"
    $ rotate --role mail-agent --format json
    mail-agent/mail: revoke accepted, unproven, new unproven
        left: look for unrecognised credentials beside mail-agent/mail
    mail-agent/search: revoke accepted, unproven, new unproven
    [exit 3]
    mail dead, its place holds the old one
    search dead, its place holds the old one
    events lives
    2 issued live
    "#);
}

/// An answer is waited for 20 s, and a server in trouble is left in peace between two tries: these
/// wait side by side.
#[test]
fn what_takes_its_time() {
    thread::scope(|scope| {
        scope.spawn(everything_ends_in_500_for_ever);
        scope.spawn(the_new_one_ends_in_500_for_ever);
        scope.spawn(told_to_wait_with_and_without_for_how_long);
        scope.spawn(new_ones_whose_answers_are_always_lost);
        scope.spawn(a_new_one_that_is_lost_when_the_wait_is_over_is_named);
        scope.spawn(a_revocation_whose_answer_is_lost_is_proved_by_use);
    });
}

/// However often it is tried, no key stays behind that the report does not name.
fn new_ones_whose_answers_are_always_lost() {
    let bench = Bench::new();
    bench.acme.treat("POST", Manners::AnswerLost);
    let ran = bench.rotate(&[CONTAIN, &["--only", "acme/mail"]].concat());
    assert_eq!(ran.code, Some(3), "{}", ran.outcome(&bench));
    assert_eq!(bench.acme.issued(), [""; 0]);
}

/// The wait is over while a new one is being made: its answer is waited for, and where it is lost
/// a person is told to look.
fn a_new_one_that_is_lost_when_the_wait_is_over_is_named() {
    let bench = Bench::new();
    bench.acme.treat("POST", Manners::AnswerLost);
    let ran = bench.rotate(&[CONTAIN, &["--only", "acme/mail", "--wait", "3s"]].concat());
    let report = ran.report();
    let one = &report["credentials"][0];
    assert_eq!(bench.acme.issued().len(), 1, "{one:#}");
    assert!(one["new"]["why"].as_str().unwrap().contains("an answer was lost"), "{one:#}");
    let left = one["todo"].as_array().unwrap().iter().map(|todo| todo["what"].as_str().unwrap());
    let look = "a new mail-agent/mail may have been made and lost (1 lost answers)";
    assert!(left.into_iter().any(|what| what == look), "{one:#}");
    assert_eq!(ran.code, Some(3));
}

/// Nothing is believed of an answer that never came; the use of the old one tells.
fn a_revocation_whose_answer_is_lost_is_proved_by_use() {
    insta::assert_snapshot!(contain("DELETE", Manners::AnswerLost), @r#"
    $ rotate --role mail-agent --format json
    mail-agent/mail: revoke lost, dead, new held
    mail-agent/search: revoke lost, dead, new held
    [exit 0]
    mail dead, its place holds the old one
    search dead, its place holds the old one
    events lives
    2 issued live
    "#);
}

/// A person who gave it three seconds has the report a moment later, and it claims nothing.
#[test]
fn a_server_that_never_answers_is_left() {
    let bench = Bench::new();
    bench.acme.treat("", Manners::Silence);
    let ran = bench.rotate(&[CONTAIN, &["--wait", "3s"]].concat());
    assert!(ran.took < Duration::from_secs(10), "{:?}", ran.took);
    assert_eq!(ran.code, Some(3), "{}", ran.stdout);
    for one in ran.report()["credentials"].as_array().unwrap() {
        assert_eq!(one["old"]["verdict"], "unproven", "{one:#}");
        assert_eq!(one["new"]["state"], "not-issued", "{one:#}");
        assert_ne!(one["todo"][0]["what"], serde_json::Value::Null, "{one:#}");
    }
}

/// It was sent, and nobody knows what became of it: neither `none` nor, for what was accepted
/// before and never asked again, `alive`.
#[test]
fn a_revocation_under_way_when_the_wait_is_over_is_lost() {
    let bench = Bench::new();
    bench.acme.treat("DELETE", Manners::AnswerLost);
    let ran = bench.rotate(&[CONTAIN, &["--wait", "3s"]].concat());
    assert!(ran.took < Duration::from_secs(10), "{:?}", ran.took);
    for one in ran.report()["credentials"].as_array().unwrap() {
        assert_eq!(one["old"]["revoke"], "lost", "{one:#}");
        assert!(["dead", "unproven"].contains(&one["old"]["verdict"].as_str().unwrap()), "{one:#}");
    }
}

/// A wait shorter than the look at the old one is no reason not to kill.
#[test]
fn a_short_wait_does_not_keep_the_revocation_from_being_sent() {
    let bench = Bench::new();
    bench.acme.treat("GET /v1/me", Manners::Silence);
    bench.rotate(&[CONTAIN, &["--wait", "1s"]].concat());
    assert!(!bench.acme.is_alive(&bench.mail.secret));
}

#[test]
fn a_server_that_takes_its_time() {
    insta::assert_snapshot!(contain("", Manners::Late(Duration::from_millis(300))), @r#"
    $ rotate --role mail-agent --format json
    mail-agent/mail: revoke accepted, dead, new held
    mail-agent/search: revoke accepted, dead, new held
    [exit 0]
    mail dead, its place holds the old one
    search dead, its place holds the old one
    events lives
    2 issued live
    "#);
}
