//! Inventories that are wrong: told before anything is touched where there is time for it, and no
//! reason for a contain to leave what can be ended alive.

use crate::bench::{Bench, INVENTORY};

const CONTAIN: &[&str] = &["--role", "mail-agent", "--format", "json"];

/// The lines of the inventory that belong to `mail` and tell it from the others.
const MAIL: &str = "provider = \"acme\"\nkind     = \"api-key\"\n\
                    secret   = \"dotenv:DIR/agent/.env#MAIL\"\nadmin    = \"acme-admin\"\n";

/// The same of a credential of another role.
const EVENTS: &str = "provider = \"acme\"\nkind     = \"api-key\"\n\
                      secret   = \"dotenv:DIR/calendar/.env#EVENTS\"\nadmin    = \"acme-admin\"\n";

/// The error of a dry run, and the outcome of a contain, with `from` as `to` in one entry.
fn wrong(entry: &str, from: &str, to: &str) -> (String, String) {
    assert!(entry.contains(from), "{from}");
    let bench = Bench::with(entry, &entry.replace(from, to));
    let dry = bench.rotate(&["--role", "mail-agent", "--dry-run"]).transcript(&bench);
    assert_eq!(bench.acme.seen(), [""; 0]);
    let rehearsal = bench.rotate(&["rehearse", "--role", "mail-agent"]);
    assert_eq!(rehearsal.code, Some(2), "{}", rehearsal.stderr);
    assert_eq!(bench.acme.seen(), [""; 0]);
    (dry, bench.rotate(CONTAIN).outcome(&bench))
}

#[test]
fn an_unknown_role() {
    let bench = Bench::new();
    let ran = bench.rotate(&["--role", "mail-agnt"]);
    insta::assert_snapshot!(ran.transcript(&bench), @r#"
    $ rotate --role mail-agnt
    [stderr]
    error: no role mail-agnt in the inventory; did you mean mail-agent?
    hint: write the role as the inventory does: [role.NAME]
    [exit 2]
    "#);
    assert_eq!(bench.acme.seen(), [""; 0]);
    assert!(!bench.path("state/rotate/evidence").join("x").exists());
}

#[test]
fn no_toml() {
    let bench = Bench::with("[role.calendar-agent]", "[role.calendar-agent");
    insta::assert_snapshot!(bench.rotate(CONTAIN).transcript(&bench), @r#"
    $ rotate --role mail-agent --format json
    [stderr]
    error: unclosed table, expected `]`
      --> DIR/inventory.toml:23:21
       |
    23 | [role.calendar-agent
       |                     ^
       |
       = hint: mend the TOML: until then nothing in this file can be used

    hint: mend the file; nothing was touched
    [exit 2]
    "#);
    assert_eq!(bench.acme.seen(), [""; 0]);
}

/// A secret in it is no text either: where it begins is told, and no byte of it.
#[test]
fn no_text() {
    let bench = Bench::new();
    let text =
        bench.filled(&INVENTORY.replace("dotenv:DIR/agent/.env#MAIL", "hunter-M\u{fc}ller-2"));
    let latin: Vec<u8> = text.chars().map(|c| u8::try_from(c).unwrap()).collect();
    std::fs::write(bench.path("inventory.toml"), latin).unwrap();
    insta::assert_snapshot!(bench.rotate(CONTAIN).transcript(&bench), @r"
    $ rotate --role mail-agent --format json
    [stderr]
    error: byte 187 is no UTF-8
      --> DIR/inventory.toml:10:21
       |
    10 | secret   = •••••••••
       |                     ^
       |
       = hint: save the file as UTF-8: until then nothing in it can be used

    hint: mend the file; nothing was touched
    [exit 2]
    ");
    assert_eq!(bench.acme.seen(), [""; 0]);
}

/// A scheme that is kept for later: a dry run tells it, and not the night on which it is needed.
#[test]
fn a_store_that_is_not_there() {
    let (dry, contain) = wrong(MAIL, "dotenv:DIR/agent/.env#MAIL", "vault:secret/mail#key");
    insta::assert_snapshot!(dry, @r#"
    $ rotate --role mail-agent --dry-run
    [stderr]
    error: mail-agent/mail: nothing here reads or writes `vault:`
      --> DIR/inventory.toml:10:12
       |
    10 | secret   = "vault:secret/mail#key"
       |            ^^^^^^^^^^^^^^^^^^^^^^^
       |
       = hint: let a command reach it: [cmd.NAME], and cmd:NAME in its place

    hint: mend the inventory; nothing was touched
    [exit 2]
    "#);
    insta::assert_snapshot!(contain, @r"
    $ rotate --role mail-agent --format json
    mail-agent/mail: revoke accepted, unproven, new held
    mail-agent/search: revoke accepted, dead, new held
    [exit 3]
    mail dead, its place holds the old one
    search dead, its place holds the old one
    events lives
    2 issued live
    ");
}

#[test]
fn an_unknown_provider() {
    let (dry, contain) = wrong(MAIL, "\"acme\"", "\"acne\"");
    insta::assert_snapshot!(dry, @r#"
    $ rotate --role mail-agent --dry-run
    [stderr]
    error: mail-agent/mail: unknown provider `acne`
     --> DIR/inventory.toml:8:12
      |
    8 | provider = "acne"
      |            ^^^^^^
      |
      = hint: did you mean `acme`?

    hint: mend the inventory; nothing was touched
    [exit 2]
    "#);
    insta::assert_snapshot!(contain, @r#"
    $ rotate --role mail-agent --format json
    mail-agent/search: revoke accepted, dead, new held
        stranger: mail
    mail-agent/mail: revoke none, unproven, new not-issued
        left: mail-agent/mail was left out: inventory line 8: unknown provider `acne`
    [exit 3]
    mail lives, its place holds the old one
    search dead, its place holds the old one
    events lives
    1 issued live
    "#);
}

#[test]
fn an_unknown_kind() {
    let (dry, contain) = wrong(MAIL, "api-key", "api-kee");
    insta::assert_snapshot!(dry, @r#"
    $ rotate --role mail-agent --dry-run
    [stderr]
    error: mail-agent/mail: acme has no kind `api-kee`
     --> DIR/inventory.toml:9:12
      |
    9 | kind     = "api-kee"
      |            ^^^^^^^^^
      |
      = hint: did you mean `api-key`?

    hint: mend the inventory; nothing was touched
    [exit 2]
    "#);
    insta::assert_snapshot!(contain, @r#"
    $ rotate --role mail-agent --format json
    mail-agent/search: revoke accepted, dead, new held
    mail-agent/mail: revoke none, unproven, new not-issued
        left: mail-agent/mail was left out: inventory line 9: acme has no kind `api-kee`
    [exit 3]
    mail lives, its place holds the old one
    search dead, its place holds the old one
    events lives
    1 issued live
    "#);
}

#[test]
fn an_unknown_var() {
    let (dry, contain) = wrong(MAIL, "kind ", "vars = { projekt = \"x\" }\nkind ");
    insta::assert_snapshot!(dry, @r#"
    $ rotate --role mail-agent --dry-run
    [stderr]
    error: mail-agent/mail: acme asks for no var `projekt`
     --> DIR/inventory.toml:9:20
      |
    9 | vars = { projekt = "x" }
      |                    ^^^
      |
      = hint: leave it out: this provider asks for none

    hint: mend the inventory; nothing was touched
    [exit 2]
    "#);
    insta::assert_snapshot!(contain, @r#"
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
fn an_unknown_part() {
    let (dry, contain) =
        wrong(MAIL, "\"dotenv:DIR/agent/.env#MAIL\"", "{ key = \"dotenv:DIR/agent/.env#MAIL\" }");
    insta::assert_snapshot!(dry, @r#"
    $ rotate --role mail-agent --dry-run
    [stderr]
    error: mail-agent/mail: the kind has no part `key`
      --> DIR/inventory.toml:10:20
       |
    10 | secret   = { key = "dotenv:DIR/agent/.env#MAIL" }
       |                    ^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^
       |
       = hint: use one of: secret

    hint: mend the inventory; nothing was touched
    [exit 2]
    "#);
    insta::assert_snapshot!(contain, @r#"
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

#[test]
fn an_unknown_key() {
    let (dry, contain) = wrong(MAIL, "kind ", "sekret = \"x\"\nkind ");
    insta::assert_snapshot!(dry, @r#"
    $ rotate --role mail-agent --dry-run
    [stderr]
    error: mail-agent/mail: unknown key `sekret` in a credential
     --> DIR/inventory.toml:9:1
      |
    9 | sekret = •••
      | ^^^^^^
      |
      = hint: did you mean `secret`?

    hint: mend the inventory; nothing was touched
    [exit 2]
    "#);
    insta::assert_snapshot!(contain, @r#"
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
fn an_admin_that_is_not_there() {
    let (dry, contain) = wrong(MAIL, "acme-admin", "acme-admim");
    insta::assert_snapshot!(dry, @r#"
    $ rotate --role mail-agent --dry-run
    [stderr]
    error: mail-agent/mail: `admin` names an unknown admin, `acme-admim`
      --> DIR/inventory.toml:11:12
       |
    11 | admin    = "acme-admim"
       |            ^^^^^^^^^^^^
       |
       = hint: did you mean `acme-admin`?

    hint: mend the inventory; nothing was touched
    [exit 2]
    "#);
    insta::assert_snapshot!(contain, @r#"
    $ rotate --role mail-agent --format json
    mail-agent/mail: revoke accepted, refused, new not-issued
        left: issue a new mail-agent/mail
        left: look for unrecognised credentials beside mail-agent/mail
    mail-agent/search: revoke accepted, dead, new held
    [exit 3]
    mail dead, its place holds the old one
    search dead, its place holds the old one
    events lives
    1 issued live
    "#);
}

#[test]
fn a_circle() {
    let admin = "secret   = \"file:DIR/responder/acme.key\"\n";
    let (dry, contain) = wrong(admin, "secret", "admin = \"acme-admin\"\nsecret");
    insta::assert_snapshot!(dry, @r#"
    $ rotate --role mail-agent --dry-run
    [stderr]
    error: admin acme-admin: needs itself to be rotated: acme-admin -> acme-admin
      --> DIR/inventory.toml:42:9
       |
    42 | admin = "acme-admin"
       |         ^^^^^^^^^^^^
       |
       = hint: name an admin or client outside of the circle

    hint: mend the inventory; nothing was touched
    [exit 2]
    "#);
    insta::assert_snapshot!(contain, @r#"
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
fn a_name_given_twice() {
    let (dry, contain) = wrong("name     = \"search\"\n", "search", "mail");
    insta::assert_snapshot!(dry, @r#"
    $ rotate --role mail-agent --dry-run
    [stderr]
    error: mail-agent/mail@line-14: `mail` is the name of the credential in line 5
      --> DIR/inventory.toml:14:1
       |
    14 | [[role.mail-agent.credential]]
       | ^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^
       |
       = hint: give it another name

    hint: mend the inventory; nothing was touched
    [exit 2]
    "#);
    insta::assert_snapshot!(contain, @r#"
    $ rotate --role mail-agent --format json
    mail-agent/mail: revoke accepted, dead, new held
    mail-agent/mail@line-14: revoke accepted, dead, new held
    [exit 0]
    mail dead, its place holds the old one
    search dead, its place holds the old one
    events lives
    2 issued live
    "#);
}

#[test]
fn a_role_given_twice() {
    let (dry, contain) = wrong("[role.calendar-agent]\n", "calendar", "mail");
    insta::assert_snapshot!(dry, @r#"
    $ rotate --role mail-agent --dry-run
    [stderr]
    error: mail-agent: `mail-agent` is given twice
      --> DIR/inventory.toml:23:7
       |
    23 | [role.mail-agent]
       |       ^^^^^^^^^^
       |
       = hint: keep one of them: the first value counts, tables are joined

    error: mail-agent: `owner` is given twice
      --> DIR/inventory.toml:24:1
       |
    24 | owner = •••••••••••••••••••••
       | ^^^^^
       |
       = hint: keep one of them: the first value counts, tables are joined

    hint: mend the inventory; nothing was touched
    [exit 2]
    "#);
    insta::assert_snapshot!(contain, @r#"
    $ rotate --role mail-agent --format json
    mail-agent/mail: revoke accepted, dead, new held
    mail-agent/search: revoke accepted, dead, new held
    left: mail-agent is not marked as contained in the inventory: the inventory is no TOML
    [exit 3]
    mail dead, its place holds the old one
    search dead, its place holds the old one
    events lives
    2 issued live
    "#);
}

/// It is burned like any other, and what is printed shows where it stands, not what it is.
#[test]
fn a_secret_written_into_it() {
    let bench = Bench::new();
    let mail = MAIL.replace("dotenv:DIR/agent/.env#MAIL", &bench.mail.secret);
    let events = EVENTS.replace("dotenv:DIR/calendar/.env#EVENTS", &bench.events.secret);
    bench.inventory(&INVENTORY.replace(MAIL, &mail).replace(EVENTS, &events));
    let dry = bench.rotate(&["--role", "mail-agent", "--dry-run"]);
    insta::assert_snapshot!(dry.transcript(&bench), @r#"
    $ rotate --role mail-agent --dry-run
    [stderr]
    error: mail-agent/mail: `secret`: a secret stands where a reference to one belongs
      --> DIR/inventory.toml:10:12
       |
    10 | secret   = •••••••••••••••••••••••••••••••••••••••
       |            ^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^
       |
       = hint: keep the secret in a store and write its reference; this one is burned

    error: calendar-agent/events: `secret`: a secret stands where a reference to one belongs
      --> DIR/inventory.toml:31:12
       |
    31 | secret   = •••••••••••••••••••••••••••••••••••••••
       |            ^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^
       |
       = hint: keep the secret in a store and write its reference; this one is burned

    hint: mend the inventory; nothing was touched
    [exit 2]
    "#);
    let contain = bench.rotate(CONTAIN);
    insta::assert_snapshot!(contain.outcome(&bench), @r#"
    $ rotate --role mail-agent --format json
    mail-agent/mail: revoke accepted, dead, new held
    mail-agent/search: revoke accepted, dead, new held
    [exit 0]
    mail dead, its place holds the old one
    search dead, its place holds the old one
    events lives
    2 issued live
    "#);
    let again = bench.rotate(&["report"]);
    for ran in [dry, contain, again] {
        let printed = format!("{}{}", ran.stdout, ran.stderr);
        assert!(!printed.contains(&bench.mail.secret), "{printed}");
        assert!(!printed.contains(&bench.events.secret), "{printed}");
    }
}

/// Each of these in another role is a warning.
#[test]
fn mistakes_in_another_role() {
    for (from, to) in [
        ("\"acme\"", "\"acne\""),
        ("api-key", "api-kee"),
        ("kind ", "vars = { projekt = \"x\" }\nkind "),
        ("kind ", "sekret = \"x\"\nkind "),
        ("\"dotenv:DIR/calendar/.env#EVENTS\"", "{ key = \"dotenv:DIR/calendar/.env#EVENTS\" }"),
        ("acme-admin", "acme-admim"),
        ("dotenv:DIR/calendar/.env#EVENTS", "dotenv:calendar/.env"),
        ("dotenv:DIR/calendar/.env#EVENTS", "acme_5dLq0ZvX3nYt8RwPj2KcBm7HsFg4UaEo"),
    ] {
        let bench = Bench::with(EVENTS, &EVENTS.replace(from, to));
        let ran = bench.rotate(CONTAIN);
        assert!(ran.stderr.contains("warning: inventory line "), "{to}: {}", ran.stderr);
        let report = ran.report();
        for one in report["credentials"].as_array().unwrap() {
            assert_eq!(one["old"]["verdict"], "dead", "{to}: {one:#}");
            assert_eq!(one["new"]["state"], "held", "{to}: {one:#}");
        }
        assert!(bench.acme.is_alive(&bench.events.secret));
        // Where its entry cannot be understood, the other role's key is a stranger here.
        let stranger = to == "\"acne\"";
        assert_eq!(ran.code, Some(if stranger { 3 } else { 0 }), "{to}: {}", ran.outcome(&bench));
    }
}

/// A hundred thousand credentials, of which the role holds two.
#[test]
fn a_very_long_one() {
    let bench = Bench::new();
    let mut text = INVENTORY.to_owned();
    for n in 0..100_000 {
        let role = n / 10;
        text.push_str(&format!(
            "\n[[role.agent-{role}.credential]]\nname = \"c{n}\"\nprovider = \"acme\"\n\
             kind = \"api-key\"\nhandle = \"key_{n}\"\n\
             secret = \"dotenv:DIR/agent-{role}/.env#K{n}\"\nadmin = \"acme-admin\"\n"
        ));
    }
    bench.inventory(&text);
    let dry = bench.rotate(&["--role", "mail-agent", "--dry-run"]);
    assert_eq!(dry.code, Some(0), "{}", dry.stderr);
    let ran = bench.rotate(CONTAIN);
    assert_eq!(ran.code, Some(0), "{}", ran.outcome(&bench));
    for ran in [dry, ran] {
        // Ten times what it takes; what grows with the square takes hours.
        assert!(ran.took.as_secs() < 120, "{:?}", ran.took);
        // Ten kilobytes a credential.
        assert!(ran.peak_kib < 1_000_000, "{} KiB", ran.peak_kib);
    }
}
