//! Places that cannot be read, or cannot be written.

use crate::bench::{Bench, INVENTORY};

const CONTAIN: &[&str] = &["--role", "mail-agent", "--format", "json"];

const MAIL: &str = "secret   = \"dotenv:DIR/agent/.env#MAIL\"\n";

fn bench(to: &str) -> Bench {
    Bench::with(MAIL, to)
}

#[test]
fn a_secret_that_cannot_be_read_is_revoked_by_its_handle() {
    for place in ["dotenv:DIR/agent/gone/.env#MAIL", "dotenv:DIR/agent/.env#NONE", "file:/"] {
        let bench = bench(&format!("secret   = \"{place}\"\n"));
        insta::allow_duplicates! {
            insta::assert_snapshot!(bench.rotate(CONTAIN).outcome(&bench), @r#"
            $ rotate --role mail-agent --format json
            mail-agent/mail: revoke accepted, unproven, new held
            mail-agent/search: revoke accepted, dead, new held
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
fn an_empty_secret_is_no_secret() {
    let bench = bench(MAIL);
    bench.write("agent/.env", &format!("MAIL=\nSEARCH={}\n", bench.search.secret));
    insta::assert_snapshot!(bench.rotate(CONTAIN).outcome(&bench), @r#"
    $ rotate --role mail-agent --format json
    mail-agent/mail: revoke accepted, unproven, new held
    mail-agent/search: revoke accepted, dead, new held
    [exit 3]
    mail dead, its place holds nothing that lives
    search dead, its place holds the old one
    events lives
    2 issued live
    "#);
}

/// Neither value nor handle: a person must, and is told.
#[test]
fn nothing_to_end_it_by() {
    let bench = Bench::new();
    let text = INVENTORY.replace("handle   = \"MAIL_ID\"\n", "");
    bench.inventory(&text.replace(MAIL, "secret   = \"dotenv:DIR/agent/gone/.env#MAIL\"\n"));
    insta::assert_snapshot!(bench.rotate(CONTAIN).outcome(&bench), @r#"
    $ rotate --role mail-agent --format json
    mail-agent/mail: revoke by-hand, unproven, new held
        stranger: mail
        left: revoke the old mail-agent/mail
    mail-agent/search: revoke accepted, dead, new held
    [exit 3]
    mail lives, its place holds the old one
    search dead, its place holds the old one
    events lives
    2 issued live
    "#);
}

#[test]
fn an_admin_secret_that_cannot_be_read() {
    let bench = Bench::with("file:DIR/responder/acme.key", "file:DIR/responder/gone.key");
    insta::assert_snapshot!(bench.rotate(CONTAIN).outcome(&bench), @r#"
    $ rotate --role mail-agent --format json
    mail-agent/mail: revoke accepted, refused, new not-issued
        left: issue a new mail-agent/mail
        left: look for unrecognised credentials beside mail-agent/mail
    mail-agent/search: revoke accepted, refused, new not-issued
        left: issue a new mail-agent/search
    [exit 3]
    mail dead, its place holds the old one
    search dead, its place holds the old one
    events lives
    0 issued live
    "#);
}

/// What could not be written everywhere stays under seal; the places that could have it.
#[test]
fn a_place_that_cannot_be_written_is_left_and_the_new_one_kept() {
    let bench = bench(&format!("{MAIL}deliver  = [\"file:DIR/agent/gone/mail.key\"]\n"));
    let ran = bench.rotate(&[CONTAIN, &["--deliver"]].concat());
    insta::assert_snapshot!(ran.outcome(&bench), @r#"
    $ rotate --role mail-agent --format json --deliver
    mail-agent/mail: revoke accepted, dead, new escrowed
        left: deliver the new mail-agent/mail to file:DIR/agent/gone/mail.key: its place cannot be written (not-found)
    mail-agent/search: revoke accepted, dead, new delivered
    [exit 3]
    mail dead, its place holds a live new one
    search dead, its place holds a live new one
    events lives
    2 issued live
    "#);

    bench.write("agent/gone/made", "");
    let restored = ["restore", "--role", "mail-agent", "--because", "mended", "--format", "json"];
    insta::assert_snapshot!(bench.rotate(&restored).outcome(&bench), @r#"
    $ rotate restore --role mail-agent --because mended --format json
    mail-agent/mail: revoke accepted, dead, new delivered
    [exit 0]
    mail dead, its place holds a live new one
    search dead, its place holds a live new one
    events lives
    2 issued live
    "#);
    assert!(bench.acme.is_alive(&bench.read("agent/gone/mail.key")));
}

/// Nobody writes into a line of a log or into an environment: the plan says so, the report says so,
/// and once a person has put it there a restore sees it.
#[test]
fn a_place_that_is_only_read_is_said_to_be_that() {
    for place in ["line:DIR/agent/session.log#2", "env:MAIL_KEY"] {
        let bench = bench(&format!("secret   = \"{place}\"\n"));
        let place = bench.redacted(&bench.filled(place));
        let rotate = |key: &str, words: &[&str]| {
            bench.write("agent/session.log", &format!("begun\nkey {key}\n"));
            bench.behind(&format!("export MAIL_KEY={key}; exec \"$@\""), words)
        };
        let said = |text: &str| bench.redacted(text).replace(&place, "PLACE");
        let old = &bench.mail.secret;
        let contain = [CONTAIN, &["--deliver"]].concat();
        let plan = rotate(old, &["--role", "mail-agent", "--deliver", "--dry-run"]).stdout;
        let warned = plan.lines().filter(|line| line.starts_with("warning")).collect::<Vec<_>>();
        let told = "warning: mail-agent/mail: PLACE is read only: the new one stays under seal until a \
                    person puts it there";
        assert_eq!(said(&warned.join("\n")), told);
        let held = rotate(old, &["--role", "mail-agent", "--dry-run"]).stdout;
        assert!(!held.contains("read only"), "what is held is put nowhere: {held}");
        let ran = rotate(old, &contain);
        insta::allow_duplicates! {
            insta::assert_snapshot!(said(&ran.outcome(&bench)), @r"
            $ rotate --role mail-agent --format json --deliver
            mail-agent/mail: revoke accepted, dead, new escrowed
                left: deliver the new mail-agent/mail to PLACE: its place is read only
            mail-agent/search: revoke accepted, dead, new delivered
            warning: mail-agent/mail: PLACE is read only: the new one stays under seal until a person puts it there
            [exit 3]
            mail dead, its place holds the old one
            search dead, its place holds a live new one
            events lives
            2 issued live
            ");
        }
        let report = ran.report();
        let left = report["credentials"][0]["todo"][0]["do"].as_str().unwrap();
        assert!(left.starts_with("put it there by hand (rotate escrow open RUN"), "{left}");

        let (run, to) = (report["run"].as_str().unwrap(), bench.path("key"));
        let to = to.to_str().unwrap();
        let opened = rotate(old, &["escrow", "open", run, "mail-agent/mail", "--to", to]);
        assert_eq!(opened.code, Some(0), "{}", opened.stderr);
        let restore = ["restore", "--role", "mail-agent", "--because", "put there by hand"];
        let restored =
            rotate(bench.read("key").trim(), &[&restore[..], &["--format", "json"]].concat());
        insta::allow_duplicates! {
            insta::assert_snapshot!(said(&restored.outcome(&bench)), @r"
            $ rotate restore --role mail-agent --because put there by hand --format json
            mail-agent/mail: revoke accepted, dead, new delivered
            warning: mail-agent/mail: PLACE is read only: the new one stays under seal until a person puts it there
            [exit 0]
            mail dead, its place holds the old one
            search dead, its place holds a live new one
            events lives
            2 issued live
            ");
        }
    }
}

#[test]
fn a_rehearsal_refuses_it_before_anything_is_touched() {
    let bench = bench(&format!("{MAIL}deliver  = [\"file:DIR/agent/gone/mail.key\"]\n"));
    let before = bench.read("agent/.env");
    let ran = bench.rotate(&["rehearse", "--role", "mail-agent"]);
    insta::assert_snapshot!(ran.transcript(&bench), @r#"
    $ rotate rehearse --role mail-agent
    [stderr]
    error: mail-agent/mail: file:DIR/agent/gone/mail.key: its place cannot be written (not-found)
    hint: make each place one that can be written; nothing was touched
    [exit 2]
    "#);
    assert_eq!(bench.read("agent/.env"), before);
    assert_eq!(bench.acme.seen(), [""; 0]);
}

#[test]
fn a_rehearsal_of_what_is_in_order() {
    let bench = Bench::new();
    let ran = bench.rotate(&["rehearse", "--role", "mail-agent", "--format", "json"]);
    insta::assert_snapshot!(ran.outcome(&bench), @r#"
    $ rotate rehearse --role mail-agent --format json
    mail-agent/mail: revoke accepted, dead, new delivered
    mail-agent/search: revoke accepted, dead, new delivered
    [exit 0]
    mail dead, its place holds a live new one
    search dead, its place holds a live new one
    events lives
    2 issued live
    "#);
}
