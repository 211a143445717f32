use jiff::tz::TimeZone;

use super::*;
use crate::engine::call::{PlaceState, Wall};
use crate::engine::report::{
    Delivered, EvidenceState, Mode, NotDelivered, Residual, Revoke, StopState, Stranger,
    StrangerClass, Unlisted,
};

fn look(width: usize, colour: bool) -> Look {
    Look { width, colour, terminal: colour, zone: TimeZone::fixed(jiff::tz::offset(1)) }
}

fn stamp(second: i64) -> Stamp {
    Stamp(Wall(1_795_339_800_000 + second * 1000))
}

fn credential(name: &str, verdict: Verdict, state: NewState) -> CredentialReport {
    let mut one = CredentialReport {
        id: format!("mail-agent/{name}"),
        provider: name.to_owned(),
        ..CredentialReport::default()
    };
    one.old.handle = Some("key_a".to_owned());
    one.old.verdict = verdict;
    one.old.revoke = Revoke::Accepted;
    one.new.state = state;
    one
}

/// One credential of each kind of trouble.
fn troubled() -> Report {
    let mut openai = credential("openai", Verdict::Dead, NewState::Held);
    openai.new.handle = Some("key_b".to_owned());
    openai.residual =
        Some(vec![Residual { what: "session tokens".to_owned(), until: Until::At(stamp(3600)) }]);
    let mut slack = credential("slack", Verdict::Alive, NewState::Escrowed);
    slack.old.why = "accepted 40 s after the revocation was".to_owned();
    slack.new.fingerprint = Some("0123456789abcdef0123".to_owned());
    slack.new.not_delivered = vec![NotDelivered {
        to: "dotenv:/srv/mail/.env#SLACK".to_owned(),
        why: "the place cannot be written".to_owned(),
    }];
    slack.strangers = vec![Stranger {
        handle: "xapp-9".to_owned(),
        label: Some("backup\u{1b}[2J".to_owned()),
        created: Some("2026-11-21".to_owned()),
        used: None,
        class: StrangerClass::Since,
    }];
    slack.todo = vec![Todo {
        what: "the old one still works".to_owned(),
        at: Some("https://api.slack.com/apps".to_owned()),
        action: "Revoke all tokens of the app".to_owned(),
    }];
    Report {
        run: "7f3a".to_owned(),
        mode: Mode::Contain,
        roles: vec!["mail-agent".to_owned()],
        case: Some("INC-7".to_owned()),
        started: stamp(0),
        finished: Some(stamp(49)),
        as_of: stamp(49),
        journal_head: Some("sha256:abcd".to_owned()),
        timings: Timings {
            first_revoke_ms: Some(41),
            last_revoke_ms: Some(2207),
            last_dead_ms: Some(75_000),
        },
        role_details: vec![RoleDetail {
            role: "mail-agent".to_owned(),
            owner: Some("support-platform@example.com".to_owned()),
            stopped: Stopped { state: StopState::Reported, at: Some(stamp(1)), why: None },
            evidence: Evidence {
                state: EvidenceState::Partial,
                archive: Some("/state/7f3a.tar.age".to_owned()),
                sha256: Some("beef".to_owned()),
                gaps: vec!["/srv/mail/logs/today.log".to_owned()],
            },
            ..RoleDetail::default()
        }],
        credentials: vec![openai, slack],
        unlisted: vec![Unlisted {
            place: "dotenv:/srv/mail/.env#OTHER".to_owned(),
            provider: Some("stripe".to_owned()),
            kind: None,
            fingerprint: "feedfacefeedface".to_owned(),
        }],
        ..Report::default()
    }
    .summed()
}

#[test]
fn a_report_says_what_lives_and_what_is_left() {
    insta::assert_snapshot!(page(&troubled(), &look(100, false)), @r#"
    contain of mail-agent, run 7f3a, case INC-7
    begun 2026-11-22 10:30:00 +01:00, finished 2026-11-22 10:30:49 +01:00
    owner support-platform@example.com

    CREDENTIAL         PROVIDER  VERDICT  OLD    NEW
    mail-agent/openai  openai    dead     key_a  held key_b
    mail-agent/slack   slack     alive    key_a  escrowed #0123456789ab
        accepted 40 s after the revocation was
        new one NOT in dotenv:/srv/mail/.env#SLACK: the place cannot be written

    agent: its stop command exited 0; nothing checked that it is gone (2026-11-22 10:30:01 +01:00)
    evidence: saved in part in /state/7f3a.tar.age
        sha256 beef
        not saved: /srv/mail/logs/today.log

    first revocation accepted after 41 ms, last after 2.2 s, last one proved dead after 1 min 15 s

    What the old ones minted, and may still live:
      mail-agent/openai: session tokens, until 2026-11-22 11:30:00 +01:00

    Unrecognised at the provider, untouched:
      mail-agent/slack: xapp-9, label backup�[2J, created 2026-11-21 (made since --since)

    Not in the inventory, burned and untouched:
      dotenv:/srv/mail/.env#OTHER (stripe, #feedfacefeed)

    Left for a person:
      1. mail-agent/slack: the old one still works
         Revoke all tokens of the app
         https://api.slack.com/apps

    1 dead, 1 alive; 1 replaced; 1 left to do
    journal sha256:abcd
    exit code 4: an old credential still works
    "#);
}

#[test]
fn a_quiet_report_is_short() {
    let mut one = credential("openai", Verdict::Dead, NewState::Delivered);
    one.new.handle = Some("key_b".to_owned());
    one.new.delivered = vec![Delivered {
        to: "dotenv:/srv/mail/.env#OPENAI".to_owned(),
        state: PlaceState::ReadBack,
    }];
    let report = Report { credentials: vec![one], ..troubled() };
    let report = Report {
        unlisted: Vec::new(),
        role_details: vec![RoleDetail::default()],
        case: None,
        timings: Timings::default(),
        ..report
    };
    insta::assert_snapshot!(page(&report.summed(), &look(100, false)), @r#"
    contain of mail-agent, run 7f3a
    begun 2026-11-22 10:30:00 +01:00, finished 2026-11-22 10:30:49 +01:00

    CREDENTIAL         PROVIDER  VERDICT  OLD    NEW
    mail-agent/openai  openai    dead     key_a  delivered key_b
        new one in dotenv:/srv/mail/.env#OPENAI (read-back)

    agent: not stopped by this run
    evidence: none saved by this run

    1 dead; 1 replaced; 0 left to do
    journal sha256:abcd
    exit code 0: nothing is left for anyone
    "#);
}

#[test]
fn a_narrow_terminal_gets_blocks_and_whole_names() {
    let page = page(&troubled(), &look(50, false));
    assert!(page.contains("mail-agent/slack (slack): alive\n    old key_a\n    new escrowed"));
    assert!(!page.contains("PROVIDER"));
}

#[test]
fn colour_is_for_terminals_and_marks_the_verdict_alone() {
    let plain = page(&troubled(), &look(100, false));
    let coloured = page(&troubled(), &look(100, true));
    assert!(!plain.contains('\u{1b}'));
    assert!(coloured.contains("\u{1b}[1;31malive\u{1b}[0m"));
    let stripped = coloured
        .replace("\u{1b}[1;31m", "")
        .replace("\u{1b}[32m", "")
        .replace("\u{1b}[33m", "")
        .replace("\u{1b}[0m", "");
    assert_eq!(stripped, plain);
}

#[test]
fn a_provider_cannot_write_to_the_terminal() {
    let mut report = troubled();
    let evil = "\u{1b}]0;owned\u{7}\n0. all is well".to_owned();
    report.run.clone_from(&evil);
    report.failed = Some(evil.clone());
    report.warnings.push(evil.clone());
    report.other_keys.push(evil.clone());
    for one in &mut report.credentials {
        one.id.clone_from(&evil);
        one.old.why.clone_from(&evil);
        one.new.why = Some(evil.clone());
        one.collateral.push(evil.clone());
        for todo in &mut one.todo {
            todo.what.clone_from(&evil);
            todo.action.clone_from(&evil);
            todo.at = Some(evil.clone());
        }
    }
    let page = page(&report, &look(100, false));
    assert!(!page.contains('\u{1b}') && !page.contains('\u{7}'));
    assert!(!page.contains("\n0. all is well"));
}
