//! What lies in the files of a role and stands in no entry: told, never repeated, and ended only
//! when asked.

use std::fs::{Permissions, set_permissions};
use std::os::unix::fs::{PermissionsExt as _, symlink};

use serde_json::Value;

use crate::acme::{Acme, Key};
use crate::bench::{Bench, INVENTORY};

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
    assert!(warnings.contains("agent/program: it is binary"), "{warnings}");
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

/// The places without the folder, in order.
fn sorted(bench: &Bench, report: &Value) -> Vec<String> {
    let folder = format!("{}/", bench.folder().display());
    let mut all: Vec<_> = places(report).iter().map(|it| it.replace(&folder, "")).collect();
    all.sort_unstable();
    all
}

/// A home that holds what its entries name, and nothing else.
fn home() -> Bench {
    let owner =
        "owner = \"support@example.com\"\n\n[[role.mail-agent.credential]]\nname     = \"mail\"";
    let platform = "platform = { name = \"openclaw\", home = \"DIR/agent\" }\n";
    Bench::with(owner, &format!("{platform}{owner}"))
}

#[test]
fn an_escape_hides_nothing_behind_it() {
    let bench = home();
    let [json, url, terminal] = ["json", "url", "terminal"].map(|name| bench.acme.seed(name));
    let lines = format!(
        "{{\"role\":\"tool\",\"content\":\"$ cat token.txt\\n{}\\n\"}}\nGET /?q=%20{}%20\n\
         \u{1b}[1;31m{}\u{1b}[0m\n",
        json.secret, url.secret, terminal.secret
    );
    bench.write("agent/session.jsonl", &lines);
    let ran = bench.rotate(CONTAIN);
    let expected = [1, 2, 3].map(|line| format!("line:agent/session.jsonl#{line}"));
    assert_eq!(sorted(&bench, &ran.report()), expected);
    assert_eq!(ran.code, Some(3));
    let ran = bench.rotate(&[CONTAIN, &["--include-unlisted"]].concat());
    assert_eq!(places(&ran.report()), [""; 0]);
    assert!([json, url, terminal].iter().all(|key| !bench.acme.is_alive(&key.secret)));
}

#[test]
fn what_stands_under_a_named_key_is_named_by_its_value_alone() {
    let bench = Bench::new();
    let first = bench.acme.seed("first");
    bench.write("agent/.env", &format!("MAIL={}\n{}", first.secret, bench.read("agent/.env")));
    let ran = bench.rotate(CONTAIN);
    assert_eq!(sorted(&bench, &ran.report()), ["line:agent/.env#1"], "the last line counts");

    let bench = Bench::with("agent/.env#MAIL", "agent/.env#CONF::json/a");
    let beside = bench.acme.seed("beside");
    let (mail, search) = (&bench.mail.secret, &bench.search.secret);
    let conf = format!("CONF='{{\"a\":\"{mail}\",\"b\":\"{}\"}}'", beside.secret);
    bench.write("agent/.env", &format!("{conf}\nSEARCH={search}\n"));
    let ran = bench.rotate(CONTAIN);
    assert_eq!(sorted(&bench, &ran.report()), ["line:agent/.env#1"]);
    assert_eq!(ran.code, Some(3));
}

#[test]
fn every_file_that_an_entry_of_the_role_speaks_of_is_looked_through() {
    let bench = Bench::new();
    let read = "\"line:DIR/agent/log#1\"\ndeliver  = [\"dotenv:DIR/second.env#MAIL\"]";
    let inventory = INVENTORY.replace("\"dotenv:DIR/agent/.env#MAIL\"", read);
    let uses = "[role.mail-agent]\nuses = [\"calendar-agent/events\"]";
    bench.inventory(&inventory.replace("[role.mail-agent]", uses));
    let [log, used, second] = ["log", "used", "second"].map(|name| bench.acme.seed(name));
    bench.write("agent/log", &format!("{}\n{}\n", bench.mail.secret, log.secret));
    bench.write("agent/.env", &format!("SEARCH={}\n", bench.search.secret));
    let events = bench.read("calendar/.env");
    bench.write("calendar/.env", &format!("{events}OTHER={}\n", used.secret));
    bench.write("second.env", &format!("OTHER={}\n", second.secret));
    let ran = bench.rotate(CONTAIN);
    let expected = ["dotenv:calendar/.env#OTHER", "dotenv:second.env#OTHER", "line:agent/log#2"];
    assert_eq!(sorted(&bench, &ran.report()), expected);
    assert_eq!(ran.code, Some(3));
}

#[test]
fn a_byte_that_is_no_text_hides_no_value_and_binary_files_are_told() {
    let bench = home();
    let key = bench.acme.seed("latin");
    let line = [b"caf\xe9 ", key.secret.as_bytes(), b"\xff\n"].concat();
    std::fs::write(bench.path("agent/log"), line).unwrap();
    for name in ["agent/a.png", "agent/b.png", "agent/c.png"] {
        bench.write(name, "\0PNG");
    }
    let ran = bench.rotate(CONTAIN);
    let report = ran.report();
    assert_eq!(sorted(&bench, &report), ["line:agent/log#1"]);
    let warnings = report["warnings"].to_string();
    assert!(warnings.contains("agent/a.png: one of 3 binary files"), "{warnings}");
    assert!(!warnings.contains("b.png"), "{warnings}");
    let ran = bench.rotate(&[CONTAIN, &["--include-unlisted"]].concat());
    assert_eq!(places(&ran.report()), [""; 0]);
    assert!(!bench.acme.is_alive(&key.secret), "{}", ran.stdout);
}

#[test]
fn what_could_be_of_another_server_is_shown_to_none() {
    let bench = Bench::new();
    let other = Acme::start();
    let theirs = other.seed("theirs");
    let at = format!("\n[provider.other]\nfile = \"acme\"\nbase = \"{}\"\n", other.base);
    bench.inventory(&format!("{INVENTORY}{at}"));
    let env = bench.read("agent/.env");
    bench.write("agent/.env", &format!("{env}THEIRS={}\n", theirs.secret));
    let ran = bench.rotate(&[CONTAIN, &["--include-unlisted"]].concat());
    let report = ran.report();
    assert_eq!(sorted(&bench, &report), ["dotenv:agent/.env#THEIRS"]);
    let warnings = report["warnings"].to_string();
    assert!(warnings.contains("not taken in: it could be of any of: acme, other"), "{warnings}");
    assert_eq!(report["credentials"].as_array().unwrap().len(), 2, "{report:#}");
    assert_eq!((ran.code, other.seen().len()), (Some(3), 0));
    assert!(other.is_alive(&theirs.secret));
}

#[test]
fn what_shares_its_line_with_another_stays_listed() {
    let bench = home();
    let [one, two, three] = ["one", "two", "three"].map(|name| bench.acme.seed(name));
    bench.write("agent/min.json", &format!("[\"{}\",\"{}\"]", one.secret, two.secret));
    bench.write("agent/more", &format!("{} {}", bench.mail.secret, three.secret));
    let ran = bench.rotate(&[CONTAIN, &["--include-unlisted"]].concat());
    let report = ran.report();
    let expected = ["line:agent/min.json#1", "line:agent/min.json#1", "line:agent/more#1"];
    assert_eq!(sorted(&bench, &report), expected);
    let warnings = report["warnings"].to_string();
    assert_eq!(warnings.matches("not taken in: its line holds several").count(), 3, "{warnings}");
    assert_eq!(ran.code, Some(3));
}
