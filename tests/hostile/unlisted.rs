//! What lies in the files of a role and stands in no entry: told, never repeated, and ended only
//! when asked.

use std::fs::{Permissions, set_permissions};
use std::os::unix::fs::{PermissionsExt as _, symlink};

use serde_json::Value;

use crate::acme::Key;
use crate::bench::Bench;

const CONTAIN: &[&str] = &["--role", "mail-agent", "--format", "json"];

/// A home with a key in each of its corners.
fn bench() -> (Bench, Key, Key) {
    let home = "platform = { name = \"openclaw\", home = \"DIR/agent\" }\nowner = \"support@example.com\"\n\n\
                [[role.mail-agent.credential]]\nname     = \"mail\"";
    let bench = Bench::with(
        "owner = \"support@example.com\"\n\n[[role.mail-agent.credential]]\nname     = \"mail\"",
        home,
    );
    let (beside, deep) = (bench.acme.seed("beside"), bench.acme.seed("deep"));
    let env = bench.read("agent/.env");
    bench.write("agent/.env", &format!("{env}DEBUG=1\nBESIDE={}\n", beside.secret));
    bench.write("agent/sessions/a/log.jsonl", &format!("{{}}\n{{\"k\":\"{}\"}}\n", deep.secret));
    // The same as an entry's, and the same as what was told already.
    bench.write("agent/history", &format!("use {}\nuse {}\n", bench.mail.secret, beside.secret));
    (bench, beside, deep)
}

fn places(report: &Value) -> Vec<&str> {
    let all = report["unlisted"].as_array().unwrap().iter();
    all.map(|it| it["place"].as_str().unwrap()).collect()
}

#[test]
fn what_no_entry_names_is_told_and_left() {
    let (bench, beside, deep) = bench();
    let ran = bench.rotate(CONTAIN);
    let report = ran.report();
    let dir = bench.folder().display();
    let expected = [
        format!("dotenv:{dir}/agent/.env#BESIDE"),
        format!("line:{dir}/agent/sessions/a/log.jsonl#2"),
    ];
    assert_eq!(places(&report), expected);
    for found in report["unlisted"].as_array().unwrap() {
        assert_eq!((&found["provider"], &found["kind"]), (&"acme".into(), &"api-key".into()));
        assert_eq!(found["fingerprint"].as_str().unwrap().len(), 24);
    }
    assert_eq!(report["other_keys"], serde_json::json!([format!("dotenv:{dir}/agent/.env#DEBUG")]));
    assert_eq!(ran.code, Some(3));
    for key in [beside, deep] {
        assert!(bench.acme.is_alive(&key.secret), "untouched");
        assert!(!format!("{}{}", ran.stdout, ran.stderr).contains(&key.secret));
    }
    let human = bench.rotate(&["report"]).stdout;
    assert!(human.contains("Not in the inventory, burned and untouched:\n  dotenv:"), "{human}");
}

#[test]
fn a_home_cannot_lead_or_hold_anybody() {
    let (bench, ..) = bench();
    let outside = bench.acme.seed("outside");
    bench.write("elsewhere/key", &outside.secret);
    symlink(bench.path("elsewhere"), bench.path("agent/way-out")).unwrap();
    symlink(bench.path("elsewhere/key"), bench.path("agent/link")).unwrap();
    let (kind, mode) = (rustix::fs::FileType::Fifo, 0o600.into());
    rustix::fs::mknodat(rustix::fs::CWD, bench.path("agent/fifo"), kind, mode, 0).unwrap();
    bench.write("agent/huge", &format!("{}\n{}", outside.secret, "x".repeat(9 << 20)));
    bench.write("agent/program", &format!("\0ELF {}", outside.secret));
    bench.write(&format!("agent/{}", outside.secret), "named after a token");
    let ran = bench.rotate(CONTAIN);
    let report = ran.report();
    assert_eq!(places(&report).len(), 2, "{report:#}");
    let warnings = report["warnings"].to_string();
    assert!(warnings.contains("agent/huge: it is longer than 8 MiB"), "{warnings}");
    assert!(!ran.stdout.contains(&outside.secret));
}

#[test]
fn on_demand_it_is_taken_into_the_run() {
    let (bench, beside, deep) = bench();
    let ran = bench.rotate(&[CONTAIN, &["--include-unlisted"]].concat());
    let report = ran.report();
    assert_eq!(places(&report), [""; 0], "{report:#}");
    let taken: Vec<_> = report["credentials"].as_array().unwrap().iter().skip(2).collect();
    assert_eq!(taken.len(), 2, "{report:#}");
    for one in taken {
        assert!(one["id"].as_str().unwrap().starts_with("mail-agent/unlisted-"));
        assert_eq!(one["old"]["verdict"], "dead", "{one:#}");
        assert_eq!(one["new"]["planned"], false, "{one:#}");
    }
    for key in [beside, deep] {
        assert!(!bench.acme.is_alive(&key.secret));
    }
    assert_eq!(bench.acme.issued().len(), 2, "only what an entry names is replaced");
}

#[test]
fn a_dry_run_lists_it() {
    let (bench, ..) = bench();
    let ran = bench.rotate(&["--role", "mail-agent", "--dry-run"]);
    assert_eq!(ran.code, Some(0), "{}", ran.stderr);
    assert_eq!(ran.stdout.matches("not in the inventory: ").count(), 2, "{}", ran.stdout);
    let with = bench.rotate(&["--role", "mail-agent", "--include-unlisted", "--dry-run"]);
    assert!(with.stdout.contains("mail-agent/unlisted-3 (acme api-key"), "{}", with.stdout);
    assert_eq!(bench.acme.seen(), [""; 0]);
}

/// A role whose one file holds two entries of its own, one of another role, and a key that no entry
/// names.
fn shared() -> (Bench, Key) {
    let bench = Bench::with("dotenv:DIR/calendar/.env#EVENTS", "dotenv:DIR/agent/.env#EVENTS");
    let beside = bench.acme.seed("beside");
    let env = bench.read("agent/.env");
    let events = &bench.events.secret;
    bench.write("agent/.env", &format!("{env}EVENTS={events}\nBESIDE={}\n", beside.secret));
    (bench, beside)
}

#[test]
fn what_any_entry_names_is_no_news() {
    for only in [&[][..], &["--only", "acme/mail"]] {
        let (bench, beside) = shared();
        let ran = bench.rotate(&[CONTAIN, only].concat());
        let place = format!("dotenv:{}/agent/.env#BESIDE", bench.folder().display());
        assert_eq!(places(&ran.report()), [place], "{only:?}");
        assert!(bench.acme.is_alive(&bench.events.secret) && bench.acme.is_alive(&beside.secret));
    }
}

#[test]
fn a_copy_of_what_another_role_has_elsewhere_is_no_news() {
    let bench = Bench::new();
    let env = bench.read("agent/.env");
    bench.write("agent/.env", &format!("{env}COPY={}\n", bench.events.secret));
    let ran = bench.rotate(CONTAIN);
    assert_eq!(places(&ran.report()), [""; 0]);
    assert_eq!(ran.code, Some(0), "{}", ran.stderr);
}

#[test]
fn what_was_left_out_is_told_as_that_alone() {
    let bench = Bench::new();
    let anybody = Permissions::from_mode(0o666);
    set_permissions(bench.path("inventory.toml"), anybody).unwrap();
    let ran = bench.rotate(CONTAIN);
    let report = ran.report();
    let told = report["credentials"][0]["todo"][0]["what"].as_str().unwrap();
    assert!(told.starts_with("mail-agent/mail was left out"), "{told}");
    assert_eq!(places(&report), [""; 0]);
}
