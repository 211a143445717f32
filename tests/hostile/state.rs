//! State directories that cannot be used, disks that are full, runs that were there before.

use rusqlite::Connection;

use crate::bench::{Bench, Ran};

const CONTAIN: &[&str] = &["--role", "mail-agent", "--format", "json"];

/// Revoked and proved, nothing issued that could not be sealed, and said.
fn has_revoked_without_a_journal(bench: &Bench, ran: &Ran) {
    let report = ran.report();
    for one in report["credentials"].as_array().unwrap() {
        assert_eq!(one["old"]["revoke"], "accepted", "{one:#}");
        assert_eq!(one["new"]["state"], "not-issued", "{one:#}");
    }
    assert_ne!(report["journal_lost_at"], serde_json::Value::Null);
    assert!(!bench.acme.is_alive(&bench.mail.secret) && !bench.acme.is_alive(&bench.search.secret));
    assert_eq!(bench.acme.issued(), [""; 0]);
    assert_eq!(ran.code, Some(1), "{}", ran.stdout);
}

#[test]
fn a_state_directory_that_is_a_file() {
    let bench = Bench::new();
    bench.write("state", "");
    let rehearsal = bench.rotate(&["rehearse", "--role", "mail-agent"]);
    insta::assert_snapshot!(rehearsal.transcript(&bench), @r#"
    $ rotate rehearse --role mail-agent
    [stderr]
    error: state: DIR/state/rotate cannot be used: Not a directory (os error 20)
    hint: name another directory: --state DIR
    [exit 1]
    "#);
    assert_eq!(bench.acme.seen(), [""; 0]);
    let ran = bench.rotate(CONTAIN);
    assert!(ran.stderr.contains("warning: nothing is issued; what can be revoked is revoked"));
    has_revoked_without_a_journal(&bench, &ran);
}

#[test]
fn a_state_directory_that_nobody_can_make() {
    let bench = Bench::new();
    let ran = bench.rotate(&[CONTAIN, &["--state", "/proc/rotate"]].concat());
    has_revoked_without_a_journal(&bench, &ran);
}

/// The disk is full when the journal is made, when it is begun, and when the first event is
/// written: 512-byte blocks, and 4 KiB a page.
#[test]
fn a_disk_that_is_full_from_the_start() {
    for blocks in [0, 8, 100, 200] {
        let bench = Bench::new();
        let ran = bench.behind(&format!("ulimit -f {blocks}; exec \"$@\""), CONTAIN);
        has_revoked_without_a_journal(&bench, &ran);
    }
}

/// It fills up on the way, wherever that is: what was issued and could not be sealed is ended, what
/// is said to be held can be delivered.
#[test]
fn a_disk_that_fills_up() {
    for blocks in (208..400).step_by(32) {
        let bench = Bench::new();
        let ran = bench.behind(&format!("ulimit -f {blocks}; exec \"$@\""), CONTAIN);
        let report = ran.report();
        assert!(!bench.acme.is_alive(&bench.mail.secret), "{blocks}");
        assert!(!bench.acme.is_alive(&bench.search.secret), "{blocks}");
        if ran.code == Some(0) {
            // It was enough; the smallest was not.
            assert_ne!(blocks, 208);
            break;
        }
        assert_eq!(ran.code, Some(1), "{blocks}: {}\n{}", ran.stderr, ran.stdout);
        let said = report["journal_lost_at"].is_string() || report["failed"].is_string();
        assert!(said, "{blocks}: {report:#}");
        let held = report["credentials"].as_array().unwrap().iter();
        let held = held.filter(|one| one["new"]["state"] == "held").count();
        assert_eq!(bench.acme.issued().len(), held, "{blocks}: {report:#}");
        if held < 2 {
            continue;
        }
        // Open where its end could not be written, and then it is taken up first.
        bench.rotate(&["resume"]);
        let because = ["restore", "--role", "mail-agent", "--because", "the disk has room"];
        let restored = bench.rotate(&because);
        assert!(bench.acme.is_alive(&bench.value("agent/.env", "MAIL")), "{}", restored.stderr);
        assert!(bench.acme.is_alive(&bench.value("agent/.env", "SEARCH")), "{blocks}");
        assert_eq!(bench.acme.issued().len(), 2, "{blocks}");
    }
}

#[test]
fn a_second_run_of_the_same_role() {
    let bench = Bench::new();
    assert_eq!(bench.rotate(&[CONTAIN, &["--deliver"]].concat()).code, Some(0));
    insta::assert_snapshot!(bench.rotate(CONTAIN).outcome(&bench), @r#"
    $ rotate --role mail-agent --format json
    mail-agent/mail: revoke accepted, dead, new held
    mail-agent/search: revoke accepted, dead, new held
    [exit 0]
    mail dead, its place holds nothing that lives
    search dead, its place holds nothing that lives
    events lives
    2 issued live
    "#);
}

/// What the first run held and nobody delivered is delivered, ended or named: it is not forgotten.
#[test]
fn a_second_run_beside_what_is_held() {
    let bench = Bench::new();
    assert_eq!(bench.rotate(CONTAIN).code, Some(0));
    let first: Vec<_> = bench.acme.keys().into_iter().skip(3).collect();
    let ran = bench.rotate(CONTAIN);
    for key in first.iter().filter(|key| bench.acme.is_alive(&key.secret)) {
        assert!(ran.stdout.contains(&key.id), "{} lives\n{}", key.name, ran.outcome(&bench));
    }
}

/// The end of the run could not be written, and everything before it was: what was proved stays so.
#[test]
fn a_run_that_only_was_not_closed() {
    let bench = Bench::new();
    assert_eq!(bench.rotate(&["init"]).code, Some(0));
    let journal = Connection::open(bench.path("state/rotate/journal.sqlite")).unwrap();
    let full = "CREATE TRIGGER full BEFORE UPDATE OF closed ON run
                BEGIN SELECT RAISE(FAIL, 'the disk is full'); END";
    journal.execute(full, []).unwrap();
    let ran = bench.rotate(CONTAIN);
    assert_eq!(ran.code, Some(1), "{}", ran.outcome(&bench));
    assert!(ran.report()["journal_lost_at"].is_null(), "everything before was written");
    journal.execute("DROP TRIGGER full", []).unwrap();
    drop(journal);
    let resumed = bench.rotate(&["resume", "--format", "json"]);
    assert_eq!(resumed.code, Some(0), "{}", resumed.outcome(&bench));
}

/// The run of another release is not taken up, and keeps nobody from beginning anew.
#[test]
fn a_journal_of_another_format() {
    let bench = Bench::new();
    let only = [CONTAIN, &["--only", "acme/mail"]].concat();
    bench.killed_at("issued, sealed", &only);
    let journal = Connection::open(bench.path("state/rotate/journal.sqlite")).unwrap();
    assert_eq!(journal.execute("UPDATE run SET format = 999", []).unwrap(), 1);
    drop(journal);
    insta::assert_snapshot!(bench.rotate(&["resume"]).transcript(&bench), @r#"
    $ rotate resume
    [stderr]
    error: run RUN has journal format 999, this release reads format 1
    hint: use the release that wrote it
    [exit 1]
    "#);
    insta::assert_snapshot!(bench.rotate(&["report"]).transcript(&bench), @r#"
    $ rotate report
    [stderr]
    error: run RUN has journal format 999, this release reads format 1
    hint: use the release that wrote it
    [exit 1]
    "#);
    insta::assert_snapshot!(bench.rotate(&only).outcome(&bench), @r#"
    $ rotate --role mail-agent --format json --only acme/mail
    mail-agent/mail: revoke accepted, unproven, new held
        stranger: rotate-INSTALLATION-RUN-0
    warning: run RUN has journal format 999, this release reads format 1: what it holds is not known here; look at its report: rotate report RUN
    [exit 3]
    mail dead, its place holds the old one
    search lives, its place holds the old one
    events lives
    2 issued live
    "#);
}

#[test]
fn a_state_directory_of_another_format() {
    let bench = Bench::new();
    assert_eq!(bench.rotate(CONTAIN).code, Some(0));
    let journal = Connection::open(bench.path("state/rotate/journal.sqlite")).unwrap();
    journal.pragma_update(None, "user_version", 999).unwrap();
    drop(journal);
    insta::assert_snapshot!(bench.rotate(&["report"]).transcript(&bench), @r#"
    $ rotate report
    [stderr]
    error: state: journal of format 999, this release reads format 1
    hint: use the release that wrote it, or name another: --state DIR
    [exit 1]
    "#);
    let ran = bench.rotate(CONTAIN);
    assert_eq!(ran.code, Some(1), "{}", ran.stdout);
    assert!(ran.stderr.contains("warning: no journal can be kept"), "{}", ran.stderr);
}

#[test]
fn a_journal_that_is_no_database() {
    let bench = Bench::new();
    assert_eq!(bench.rotate(CONTAIN).code, Some(0));
    for name in ["journal.sqlite-wal", "journal.sqlite-shm"] {
        let _ = std::fs::remove_file(bench.path(&format!("state/rotate/{name}")));
    }
    bench.write("state/rotate/journal.sqlite", "no database at all, not in the least");
    insta::assert_snapshot!(bench.rotate(&["report"]).transcript(&bench), @r#"
    $ rotate report
    [stderr]
    error: state: journal DIR/state/rotate/journal.sqlite cannot be opened: file is not a database: Error code 26: file is not a database
    hint: name another directory: --state DIR
    [exit 1]
    "#);
    let ran = bench.rotate(CONTAIN);
    assert_eq!(ran.code, Some(1), "{}", ran.stdout);
}

/// No key to open it with, so nobody may be told that it was saved.
#[test]
fn evidence_without_a_state_directory() {
    let bench =
        Bench::with("[role.mail-agent]\n", "[role.mail-agent]\nevidence = [\"DIR/agent/*\"]\n");
    bench.write("state", "");
    let ran = bench.rotate(CONTAIN);
    let report = ran.report();
    assert_eq!(report["evidence"]["state"], "failed", "{report:#}");
    assert!(!bench.acme.is_alive(&bench.mail.secret));
}
