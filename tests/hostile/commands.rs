//! Commands that print what is known: the plan, the report, the demonstration.

use std::sync::OnceLock;
use std::time::Duration;

use jsonschema::Validator;
use serde_json::Value;

use crate::bench::Bench;

const CONTAIN: &[&str] = &["--role", "mail-agent", "--format", "json"];

/// Every report of these tests is held to the published schema.
pub(crate) fn fits_the_schema(report: &Value) {
    static SCHEMA: OnceLock<Validator> = OnceLock::new();
    let schema = SCHEMA.get_or_init(|| {
        let text = include_str!("../../schema/report.schema.json");
        jsonschema::validator_for(&serde_json::from_str(text).unwrap()).unwrap()
    });
    let wrong: Vec<_> = schema.iter_errors(report).map(|error| error.to_string()).collect();
    assert!(wrong.is_empty(), "{wrong:#?}\n{report:#}");
}

#[test]
fn a_dry_run_touches_nothing() {
    let bench = Bench::new();
    let before = (bench.read("agent/.env"), bench.read("inventory.toml"));
    let ran = bench.rotate(&["--role", "mail-agent", "--dry-run"]);
    insta::assert_snapshot!(ran.transcript(&bench), @r#"
    $ rotate --role mail-agent --dry-run
    contain of mail-agent
    owner       support@example.com
    inventory   sha256:HASH
    hosts       127.0.0.1:PORT (named by the inventory)
    collateral  none

    mail-agent/mail (acme api-key, full, self)
      revoked by: itself, else admin.acme-admin
       1. look at the old one
       2. revoke the old one
       3. issue a new one
       4. use the new one
       5. hold it under seal
       6. prove the old one dead by using it
       7. list what is left

    mail-agent/search (acme api-key, full, self)
      revoked by: itself, else admin.acme-admin
       1. look at the old one
       2. revoke the old one
       3. issue a new one
       4. use the new one
       5. hold it under seal
       6. prove the old one dead by using it
       7. list what is left

    nothing was touched
    [exit 0]
    "#);
    assert_eq!(bench.acme.seen(), [""; 0]);
    assert!(!bench.path("state").exists());
    assert_eq!((bench.read("agent/.env"), bench.read("inventory.toml")), before);
    let json = bench.rotate(&["--role", "mail-agent", "--dry-run", "--format", "json"]);
    let plan: Value = serde_json::from_str(&json.stdout).unwrap();
    assert_eq!(plan["credentials"][1]["id"], "mail-agent/search");
}

#[test]
fn a_contain_and_its_report() {
    let bench = Bench::new();
    let ran = bench.rotate(&["--role", "mail-agent", "--case", "INC-7"]);
    assert_eq!(ran.code, Some(0), "{}", ran.stderr);
    let again = bench.rotate(&["report"]);
    assert_eq!((again.code, again.stderr.as_str()), (Some(0), ""));
    assert_eq!(again.stdout, ran.stdout, "the same page");
    insta::assert_snapshot!(again.transcript(&bench), @r#"
    $ rotate report
    contain of mail-agent, run RUN, case INC-7
    begun TIME, finished TIME
    owner support@example.com

    CREDENTIAL         PROVIDER  VERDICT  OLD             NEW
    mail-agent/mail    acme      dead     KEY  held KEY
    mail-agent/search  acme      dead     KEY  held KEY

    agent: not stopped by this run
    evidence: none saved by this run

    first revocation accepted after N ms, last after N ms, last one proved dead after N ms

    2 dead; 2 replaced; 0 left to do
    journal sha256:HASH
    exit code 0: nothing is left for anyone
    [exit 0]
    "#);
    let mut json = bench.rotate(&["report", "--format", "json"]).report();
    let run = json["run"].as_str().unwrap();
    let mut named = bench.rotate(&["report", run, "--format", "json"]).report();
    for report in [&mut json, &mut named] {
        assert!(report["as_of"].as_str() > report["finished"].as_str(), "it speaks of now");
        report["as_of"].take();
    }
    assert_eq!(named, json);
}

/// A restore revokes nothing, and says nothing of who would.
#[test]
fn the_plan_of_a_restore() {
    let bench = Bench::new();
    assert_eq!(bench.rotate(&[CONTAIN, &["--only", "acme/mail"]].concat()).code, Some(0));
    let restore = ["restore", "--role", "mail-agent", "--because", "mended", "--dry-run"];
    insta::assert_snapshot!(bench.rotate(&restore).transcript(&bench), @r"
    $ rotate restore --role mail-agent --because mended --dry-run
    restore of mail-agent
    owner       support@example.com
    inventory   sha256:HASH
    hosts       127.0.0.1:PORT (named by the inventory)
    collateral  none

    mail-agent/mail (acme api-key, full, self)
       1. look at the old one
       2. use the new one
       3. deliver it

    nothing was touched
    [exit 0]
    ");
    let json = bench.rotate(&[&restore[..], &["--format", "json"]].concat());
    let plan: Value = serde_json::from_str(&json.stdout).unwrap();
    assert_eq!(plan["credentials"][0]["revoke"], Value::Null);
    let ticket = bench.rotate(&[&restore[..], &["--format", "markdown"]].concat()).stdout;
    assert!(ticket.contains("| full, self | not revoked |"), "{ticket}");
}

/// What nobody is at hand for is not in the plan: no admin, no list and no new one.
#[test]
fn the_plan_of_what_has_no_admin() {
    let bench = Bench::with(
        "secret   = \"dotenv:DIR/agent/.env#MAIL\"\nadmin    = \"acme-admin\"\n",
        "secret   = \"dotenv:DIR/agent/.env#MAIL\"\n",
    );
    let dry = ["--role", "mail-agent", "--only", "acme/mail", "--dry-run"];
    insta::assert_snapshot!(bench.rotate(&dry).transcript(&bench), @r"
    $ rotate --role mail-agent --only acme/mail --dry-run
    contain of mail-agent
    owner       support@example.com
    inventory   sha256:HASH
    hosts       127.0.0.1:PORT (named by the inventory)
    collateral  none

    mail-agent/mail (acme api-key, full, self)
      revoked by: itself
       1. look at the old one
       2. revoke the old one
       3. prove the old one dead by using it

    nothing was touched
    [exit 0]
    ");
}

#[test]
fn runs_that_nobody_knows() {
    let bench = Bench::new();
    insta::assert_snapshot!(bench.rotate(&["report"]).transcript(&bench), @r#"
    $ rotate report
    [stderr]
    error: no run is known here
    hint: name the state directory: --state DIR
    [exit 2]
    "#);
    insta::assert_snapshot!(bench.rotate(&["resume"]).transcript(&bench), @r#"
    $ rotate resume
    [stderr]
    error: no run is open
    hint: begin one: rotate --role ROLE
    [exit 2]
    "#);
    insta::assert_snapshot!(bench.rotate(&["verify", "x"]).transcript(&bench), @r#"
    $ rotate verify x
    [stderr]
    error: no such run is known here
    hint: name the state directory: --state DIR
    [exit 2]
    "#);
    insta::assert_snapshot!(bench.rotate(&["done", "x", "mail-agent/mail"]).transcript(&bench), @r#"
    $ rotate done x mail-agent/mail
    [stderr]
    error: no such run is known here
    hint: name the state directory: --state DIR
    [exit 2]
    "#);
    let restore = ["restore", "--role", "mail-agent", "--because", "mended"];
    insta::assert_snapshot!(bench.rotate(&restore).transcript(&bench), @r#"
    $ rotate restore --role mail-agent --because mended
    [stderr]
    error: nothing is held for mail-agent
    hint: contain it first: rotate --role ROLE
    [exit 2]
    "#);
    assert_eq!(bench.acme.seen(), [""; 0]);
}

#[test]
fn what_is_over_is_not_resumed_and_what_is_not_there_is_not_done() {
    let bench = Bench::new();
    let run = bench.rotate(CONTAIN).report()["run"].as_str().unwrap().to_owned();
    insta::assert_snapshot!(bench.rotate(&["resume", &run]).transcript(&bench), @r#"
    $ rotate resume RUN
    [stderr]
    error: run RUN is over
    hint: prove it again: rotate verify RUN
    [exit 2]
    "#);
    insta::assert_snapshot!(bench.rotate(&["done", &run, "mail-agent/mial"]).transcript(&bench), @r#"
    $ rotate done RUN mail-agent/mial
    [stderr]
    error: run RUN has no such credential
    hint: look at its report: rotate report RUN
    [exit 2]
    "#);
}

#[test]
fn a_run_that_is_not_there_is_told_alike_by_all_and_what_was_pasted_by_none() {
    let bench = Bench::new();
    let run = bench.rotate(CONTAIN).report()["run"].as_str().unwrap().to_owned();
    let (mistyped, pasted) = ("20260101-000000-abcd", "7hunter2pass");
    for command in ["resume", "report", "verify", "done"] {
        let ask = |run: &str| match command {
            "done" => bench.rotate(&["done", run, "mail-agent/mail"]),
            _ => bench.rotate(&[command, run]),
        };
        let hint = "hint: name the state directory: --state DIR";
        let (known, unknown) = (ask(mistyped), ask(pasted));
        assert_eq!((known.code, unknown.code), (Some(2), Some(2)), "{command}");
        let told = format!("error: no run {mistyped} is known here\n{hint}\n");
        assert_eq!(known.stderr, told, "{command}");
        let told = format!("error: no such run is known here\n{hint}\n");
        assert_eq!(unknown.stderr, told, "{command}");
    }
    let done = bench.rotate(&["done", &run, &bench.mail.secret]);
    assert_eq!(done.code, Some(2));
    assert!(!done.stderr.contains(&bench.mail.secret), "{}", done.stderr);
}

/// It lies to us on purpose, and says so: that is what it should do.
#[test]
fn the_demonstration() {
    let bench = Bench::new();
    std::fs::create_dir(bench.path("tmp")).unwrap();
    let tmp = bench.path("tmp").display().to_string();
    let ran =
        bench.behind(&format!("export TMPDIR={tmp}; exec \"$@\""), &["demo", "--format", "json"]);
    assert_eq!(ran.code, Some(0), "{}", ran.stderr);
    assert!(ran.took < Duration::from_secs(60), "{:?}", ran.took);
    let both: Value = serde_json::from_str(&ran.stdout).unwrap();
    for mode in ["contain", "restore"] {
        assert_eq!(both[mode]["mode"], mode);
        assert_eq!(both[mode]["exit_code"], 4);
        fits_the_schema(&both[mode]);
    }
    let left: Vec<_> = std::fs::read_dir(tmp).unwrap().collect();
    assert!(left.is_empty(), "{left:?}");
    assert!(!bench.path("state").exists());
}
