//! Canary secrets in every position, through every command, with everything logged: they are in
//! their places and, sealed, in the journal, and nowhere else in any form.

#![cfg(test)]

#[expect(dead_code, reason = "each test binary treats the provider as it needs")]
#[path = "../hostile/acme.rs"]
mod acme;
mod host;
mod issuer;
#[path = "../lab/mod.rs"]
mod lab;
mod search;
mod watch;

use acme::Manners;
use host::Host;

const CONTAIN: &[&str] = &["--role", "mail-agent"];

fn nothing_is_found(host: &Host) {
    let findings = host.findings();
    assert!(findings.is_empty(), "{findings:#?}");
}

/// Runs these one after the other; each begins with the code that it must end with.
fn rotate_all(host: &mut Host, commands: &[(i32, &[&str])]) {
    for (code, arguments) in commands {
        let ended = host.rotate(arguments);
        assert_eq!(ended, Some(*code), "{arguments:?}\n{}", host.stderr());
    }
}

/// The test of the tests: what is planted on such a host is found.
#[test]
fn a_leak_is_found() {
    let mut host = Host::new(false);
    host.rotate(&["report"]);
    nothing_is_found(&host);
    let admin = host.acme.admin().to_owned();
    host.write("state/rotate/evidence/x.tar", &format!("\0tar{admin}\0"));
    host.write("tmp/.env.tmp", "MAIL=");
    host.show(&admin);
    assert_eq!(host.rotate(&["report", &admin]), Some(2));
    let findings = host.findings().join("\n");
    for place in ["state/rotate/evidence/x.tar, at byte ", "environments, at byte"] {
        assert!(findings.contains(place), "{place}\n{findings}");
    }
    assert!(!findings.contains("std"), "repeated: {findings}");
    assert!(findings.contains("tmp/.env.tmp is left over"), "{findings}");
}

#[test]
fn contain_report_verify_done_restore() {
    let mut host = Host::new(true);
    rotate_all(&mut host, &[(2, &[CONTAIN, &["--dry-run"]].concat()), (3, CONTAIN)]);
    assert!(host.processes().contains("sleep\0"), "the agent was not seen to be stopped");
    let run = host.first_run();
    let because = ["restore", "--role", "mail-agent", "--because", "mended", "--format", "json"];
    rotate_all(
        &mut host,
        &[
            (3, &["report"]),
            (3, &["report", "--format", "json", "--log-format", "json"]),
            (3, &["verify", "--wait", "5s"]),
            (3, &["done", &run, "mail-agent/cloud"]),
            (3, &because),
        ],
    );
    nothing_is_found(&host);
}

#[test]
fn rehearse_and_contain_with_delivery() {
    let mut host = Host::new(false);
    let deliver = ["--deliver", "--format", "json", "--log-format", "json"];
    rotate_all(
        &mut host,
        &[
            (0, &["rehearse", "--role", "mail-agent", "--dry-run", "--format", "json"]),
            (3, &["rehearse", "--role", "mail-agent"]),
            (3, &[CONTAIN, &deliver].concat()),
            (3, &["report"]),
        ],
    );
    nothing_is_found(&host);
}

#[test]
fn runs_that_fail() {
    let commands: &[&[&str]] = &[
        &["--role", "mail-agent", "--log-format", "json", "--wait", "5s"],
        &["--role", "mail-agent", "--state", "/proc/rotate"],
        &["rehearse", "--role", "mail-agent", "--state", "/proc/rotate"],
        &["verify"],
        &["restore", "--role", "mail-agent", "--because", "mended"],
    ];
    for manners in [Manners::Echo, Manners::NotJson, Manners::Status(500)] {
        let mut host = Host::new(true);
        host.acme.treat("", manners);
        for arguments in commands {
            host.rotate(arguments);
        }
        nothing_is_found(&host);
    }
}

#[test]
fn killed_and_resumed() {
    for at in ["use the old one", "revoke  accepted", "issued, sealed", "deliver  written"] {
        let mut host = Host::new(false);
        let contain = [CONTAIN, &["--deliver"]].concat();
        assert_eq!(host.rotate_until(&contain, Some(at)), None, "{at}");
        host.rotate(&["report"]);
        let resumed = host.rotate(&["resume", "--format", "json"]);
        assert!(matches!(resumed, Some(0 | 3)), "{at}: {resumed:?}");
        nothing_is_found(&host);
    }
}

#[test]
fn secrets_on_stdin() {
    for killed_at in [None, Some("use the old one"), Some("revoke  accepted")] {
        let mut host = Host::new(false);
        let (folder, stdin) = host.handed_over();
        let providers = folder.path().to_str().unwrap().to_owned();
        let revoke = ["revoke", "-", "--providers", &providers, "--log-format", "json"];
        let expected = if killed_at.is_some() { None } else { Some(3) };
        assert_eq!(host.fed(stdin.into(), &revoke, killed_at), expected, "{}", host.stderr());
        if killed_at.is_some() {
            assert_eq!(host.rotate(&["resume"]), Some(3), "{}", host.stderr());
        }
        host.rotate(&["report", "--format", "json"]);
        host.rotate(&["verify", "--wait", "2s"]);
        nothing_is_found(&host);
    }
}
