//! Keys that nobody knows.

use std::time::{Duration, Instant};

use crate::acme::Manners;
use crate::host::{Host, Ran};

/// A key that an attacker makes once the run has seen what was there.
fn minted_meanwhile(host: &Host, arguments: &[&str]) -> (String, serde_json::Value) {
    host.acme.treat("DELETE /v1/keys", Manners::Late(Duration::from_millis(300)));
    let run = host.start(&[arguments, &["--format", "json"]].concat());
    let begun = Instant::now();
    while !host.acme.seen().iter().any(|line| line.starts_with("DELETE")) {
        assert!(begun.elapsed() < Duration::from_secs(30), "nothing was revoked");
        std::thread::sleep(Duration::from_millis(2));
    }
    let key = host.acme.mint("backup");
    (key.secret, Ran::of(run).json())
}

#[test]
fn a_key_that_was_made_meanwhile_is_revoked_where_that_was_asked_for() {
    let host = Host::new();
    let older = host.acme.seed("older");
    let (secret, report) = minted_meanwhile(&host, &["--role", "calendar", "--revoke-strangers"]);
    assert!(!host.acme.is_alive(&secret) && host.acme.is_alive(&older.secret));
    let strangers = report["credentials"][0]["strangers"].as_array().unwrap();
    let state = |label: &str| {
        let one = strangers.iter().find(|it| it["label"] == label).unwrap();
        (one["class"].as_str().unwrap().to_owned(), one["state"].as_str().unwrap().to_owned())
    };
    assert_eq!(state("older").1, "untouched");
    assert_eq!(state("mail").1, "untouched");
    assert_eq!(state("backup"), ("minted-during-run".to_owned(), "gone".to_owned()));
    assert_eq!(report["exit_code"], 3);
}

#[test]
fn unasked_it_lives_and_is_named() {
    let host = Host::new();
    let (secret, report) = minted_meanwhile(&host, &["--role", "calendar"]);
    assert!(host.acme.is_alive(&secret));
    let text = report["credentials"][0]["strangers"].to_string();
    assert!(text.contains("\"untouched\"") && !text.contains("\"gone\""), "{text}");
}
